"""`humanoid launch`: runs `launch/NAME.launch.py` with ROS 2's launch, or with our own runner where that is missing."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from humanoid_control.installation import share_folder
from humanoid_control.ros.environment import check_domain, prepare_environment
from humanoid_control.ros.launching.actions import load_launch_file
from humanoid_control.ros.launching.context import LaunchContext, LaunchError, WrongValueError
from humanoid_control.ros.launching.preview import Preview
from humanoid_control.ros.launching.service import LaunchService
from humanoid_control.ros.launching.stand_in import is_launch_ros_installed, stand_in_for_launch
from humanoid_control.ros.launching.substitutions import closest

_SUFFIX = ".launch.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("name", metavar="NAME", help="a launch file: launch/NAME.launch.py, or a path to one")
    parser.add_argument("launch_arguments", metavar="key:=value", nargs="*", help="arguments of the launch file")
    parser.add_argument("-s", "--show-args", action="store_true", help="show the arguments it takes, start nothing")
    parser.add_argument("--dry-run", action="store_true", help="show every process's command, start nothing")


def run(args: argparse.Namespace) -> int:
    """Carries out the command; 0 only if every process ended well."""
    prepare_environment()
    check_domain()
    path = find_launch_file(args.name)
    given = parse_launch_arguments(args.launch_arguments)
    if is_launch_ros_installed():
        return _run_ros2_launch(path, args)
    with stand_in_for_launch():
        preview = _preview(path, given, fill_missing=args.show_args)
        if args.show_args:
            _write_lines(_describe_arguments(preview))
            return 0
        if args.dry_run:
            _write_lines(preview.lines)
            return 0
        # Loaded anew: no action shall remember the preview.
        description = load_launch_file(path)
        service = LaunchService(write_line=_write_line)
        return service.run(description, LaunchContext(service, given, files=(str(path),)))


def find_launch_file(name: str) -> Path:
    """The launch file of a name, or at a path.

    Raises:
        LaunchError: there is none; the text has the names that are alike.
    """
    if name.endswith(_SUFFIX) and Path(name).is_file():
        return Path(name).resolve()
    folder = share_folder() / "launch"
    path = folder / f"{name.removesuffix(_SUFFIX)}{_SUFFIX}"
    if not path.is_file():
        known = (file.name.removesuffix(_SUFFIX) for file in folder.glob(f"*{_SUFFIX}"))
        raise LaunchError(f"no launch file '{name}' in {folder}; {closest(name, known)}")
    return path


def parse_launch_arguments(texts: Sequence[str]) -> dict[str, str]:
    """Name and value of each `key:=value`.

    Raises:
        LaunchError: one is written otherwise, or given twice.
    """
    given: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition(":=")
        if not separator or not name:
            raise LaunchError(f"launch argument '{text}' must be written key:=value")
        if name in given:
            raise LaunchError(f"launch argument '{name}' is given twice: '{given[name]}' and '{value}'")
        given[name] = value
    return given


def _preview(path: Path, given: dict[str, str], *, fill_missing: bool) -> Preview:
    """Goes through a launch file without starting anything, so that what is wrong shows before anything runs.

    Args:
        path: the launch file.
        given: values of its arguments.
        fill_missing: whether arguments without a value are made up, to get to know all of them.
    """
    preview = Preview(fill_missing=fill_missing)
    description = load_launch_file(path)
    failure = None
    try:
        description.visit(LaunchContext(preview, dict(given), files=(str(path),)))
    except WrongValueError:
        raise  # arguments declared after it are not known yet
    except LaunchError as error:
        failure = error
    # A misspelt argument may be the very reason of a failure: it is named first.
    for name in given:
        if name not in preview.arguments and (failure is None or preview.arguments):
            raise LaunchError(f"{path.name} takes no argument '{name}'; {closest(name, preview.arguments)}")
    if failure is not None:
        raise failure
    return preview


def _describe_arguments(preview: Preview) -> list[str]:
    """A line for each argument."""
    lines = []
    for name, (argument, default) in preview.arguments.items():
        value = "must be given" if default is None else f"default: '{default}'"
        choices = f"; one of: {', '.join(argument.choices)}" if argument.choices else ""
        lines.append(f"{name}: {argument.description} ({value}{choices})")
    return lines or ["it takes no arguments"]


def _run_ros2_launch(path: Path, args: argparse.Namespace) -> int:
    """Hands over to `ros2 launch`; returns only when that is missing."""
    ros2 = shutil.which("ros2")
    if ros2 is None:
        raise LaunchError("launch_ros is installed but the command ros2 is not found; source ROS 2's setup.bash")
    options = [option for option, wanted in (("--show-args", args.show_args), ("--print", args.dry_run)) if wanted]
    sys.stdout.flush()
    os.execv(ros2, [ros2, "launch", *options, str(path), *args.launch_arguments])


def _write_lines(lines: Sequence[str]) -> None:
    for line in lines:
        _write_line(line)


def _write_line(line: str) -> None:
    """Writes at once and whole, whichever thread it comes from."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
