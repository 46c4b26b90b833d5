"""Benchmarks, side by side with the peers where they install: `humanoid bench WHAT`.

A benchmark is a module with the function `run(report, *, quick) -> None`, which adds rows to the
report. `python -m humanoid_control.bench WHAT` runs it too.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path

from humanoid_control.bench.report import Report
from humanoid_control.errors import ConfigurationError

# By module name: a benchmark that needs policies stands with them, as nothing here may import them.
BENCHES = {
    "ik": "humanoid_control.bench.ik",
    "control": "policies.bench.control",
    "sim": "policies.bench.sim",
    "push": "policies.bench.push",
    "gaze": "policies.bench.gaze",
    "perception": "policies.bench.perception",
    "policy": "policies.bench.policy",
    "recorder": "humanoid_control.ros.recorder_bench",
    "teleoperation": "humanoid_control.ros.teleoperation_bench",
}
OPTIONS = ("n", "seed", "workers", "case", "minutes")


def available() -> tuple[str, ...]:
    """The benchmarks this installation has."""
    return tuple(name for name, module in BENCHES.items() if importlib.util.find_spec(module))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `humanoid bench`."""
    parser.add_argument(
        "what", metavar="WHAT", choices=(*available(), "all"), help=f"one of {', '.join(available())}, all"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the rows to a file")
    parser.add_argument("--quick", action="store_true", help="fewer samples: to see that it runs, not to quote")
    parser.add_argument("--n", metavar="N", type=int, help="push: how many in each row; gaze: episodes of each factory; recorder: kills; teleoperation: events of a kind")
    parser.add_argument("--seed", metavar="S", type=int, help="push, gaze, recorder, teleoperation: of all that is drawn")
    parser.add_argument("--workers", metavar="W", type=int, help="push: processes (default: one for each core)")
    parser.add_argument("--minutes", metavar="M", type=float, help="recorder: under full load (default: 10)")
    parser.add_argument("--case", metavar="ROW", help="push, teleoperation: one row, or case, only")


def run(args: argparse.Namespace) -> int:
    """Runs what was asked and prints its table; 0 on success.

    Raises:
        ConfigurationError: if the JSON file cannot be written, `all` was asked together with `--json`, or an option is not
            one of the benchmark's or out of its range.
    """
    names = available() if args.what == "all" else (args.what,)
    if args.json and len(names) > 1:
        raise ConfigurationError("--json takes the rows of one benchmark; name it instead of 'all'.")
    for name in names:
        report = Report(name)
        bench = importlib.import_module(BENCHES[name])
        bench.run(report, quick=args.quick, **_options_for(bench.run, name, args))
        report.print()
        if args.json:
            report.write(args.json)
    return 0


def _options_for(call: Callable[..., None], name: str, args: argparse.Namespace) -> dict[str, object]:
    """The options that were given, if the benchmark takes them."""
    given = {option: getattr(args, option, None) for option in OPTIONS}
    given = {option: value for option, value in given.items() if value is not None}
    known = inspect.signature(call).parameters
    for option in given:
        if option not in known:
            raise ConfigurationError(f"bench {name} has no option --{option}.")
    return given
