"""The command `humanoid`.

Each subcommand is a module with `add_arguments(parser)` and `run(args) -> int`, imported only when it is wanted.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from humanoid_control.errors import HumanoidControlError
from humanoid_control.ros.environment import prepare_environment

# Subcommand: its module, and what it does.
COMMANDS = {
    "doctor": ("humanoid_control.doctor", "check the installation, a line each, with the remedy"),
    "launch": ("humanoid_control.ros.launch_runner", "run launch/NAME.launch.py"),
    "evaluate": ("policies.evaluate", "run orders without ROS, as fast as the machine can, and count successes"),
    "generate": ("policies.data.generate", "make demonstrations of the scripted policy, as a LeRobotDataset"),
    "train": ("policies.train", "train what is learned: perception"),
    "bench": ("humanoid_control.bench", "measure, side by side with the peers"),
    "calibrate": ("perception.calibrate", "find out how the robot's cameras really sit, with its own hands as target"),
    "episodes": ("humanoid_control.recording.episodes", "recorded episodes: list, show, check, label, export, segment, replay, report"),
    "demo": ("humanoid_control.demo", "carry out a factory's orders through ROS 2, and report"),
}

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Carries out a command; returns 0 only on success, 2 on wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    prepare_environment()
    try:
        parser, module = _make_parser(given)
        args = parser.parse_args(given)
        return module.run(args)
    except HumanoidControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR


def _make_parser(given: Sequence[str]) -> tuple[argparse.ArgumentParser, object]:
    """A parser that knows all subcommands by name, and the one that is given in full."""
    parser = argparse.ArgumentParser(
        prog="humanoid", description="A humanoid that carries totes: run it, measure it, check the installation."
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = next((argument for argument in given if not argument.startswith("-")), None)
    module = None
    for name, (module_name, text) in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == wanted:
            module = importlib.import_module(module_name)
            module.add_arguments(subparser)
    return parser, module


if __name__ == "__main__":
    sys.exit(main())
