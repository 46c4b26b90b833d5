"""`humanoid doctor`: checks the installation, a line for each part, with the remedy."""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from humanoid_control.errors import HumanoidControlError
from humanoid_control.installation import share_folder
from humanoid_control.ros.environment import environment_for_children, is_installed_from_wheels

OK, WARNING, FAILURE = "ok", "warning", "failure"

_SUPPORTED_PYTHON = ((3, 10), (3, 12))
_INTERFACE_PACKAGES = ("humanoid_interfaces", "tf2_msgs", "vision_msgs")
_FREE_DISK_GB = 2.0
_FREE_SHARED_MEMORY_MB = 64.0
_PROBE_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: of what was checked.
        level: `ok`, `warning` (works, but) or `failure`.
        detail: what was found.
        remedy: what to do; empty when all is well.
    """

    name: str
    level: str
    detail: str
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the findings to a file")


def run(args: argparse.Namespace) -> int:
    """Carries out the command; 0 only if nothing failed."""
    findings = []
    for check in CHECKS:
        finding = _carry_out(check)
        findings.append(finding)
        remedy = f"; {finding.remedy}" if finding.remedy else ""
        print(f"{finding.level:8s} {finding.name:18s} {finding.detail}{remedy}", flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(finding) for finding in findings], indent=1) + "\n")
    return 1 if any(finding.level == FAILURE for finding in findings) else 0


def _carry_out(check: Callable[[], Finding]) -> Finding:
    """What a check finds; a broken installation may fail in any way, and the other checks must still be made."""
    try:
        return check()
    except Exception as error:
        name = check.__name__.removeprefix("check_").replace("_", " ")
        return Finding(name, FAILURE, f"{type(error).__name__}: {' '.join(str(error).split())}", "run: make setup")


def check_python() -> Finding:
    """Whether this Python is one that we support."""
    detail = f"{platform.python_version()} in {sys.prefix}"
    lowest, highest = (".".join(map(str, version)) for version in _SUPPORTED_PYTHON)
    if _SUPPORTED_PYTHON[0] <= sys.version_info[:2] <= _SUPPORTED_PYTHON[1]:
        return Finding("Python", OK, detail)
    return Finding("Python", FAILURE, detail, f"Python {lowest} to {highest} is wanted: make setup PYTHON=python3.11")


def check_wheels() -> Finding:
    """Whether the wheels are those of constraints.txt."""
    constraints = share_folder() / "constraints.txt"
    if not constraints.is_file():
        return Finding("wheels", OK, "not checked: this is no checkout")
    wanted = _read_pins(constraints)
    installed = {
        _normalise(package.metadata["Name"]): package.version
        for package in importlib.metadata.distributions()
        if package.metadata["Name"]
    }
    others = [
        f"{name} {installed[name]}, not {version}"
        for name, version in sorted(wanted.items())
        if name in installed and installed[name] != version
    ]
    missing = sorted(name for name in _direct_requirements() if name not in installed)
    if missing:
        return Finding("wheels", FAILURE, f"missing: {', '.join(missing)}", "run: make setup")
    if others:
        return Finding("wheels", WARNING, f"other versions than were tested: {', '.join(others)}", "run: make setup")
    return Finding("wheels", OK, f"{len(wanted.keys() & installed.keys())} as in constraints.txt")


def check_ros() -> Finding:
    """Whether ROS 2 carries a message from one node to another."""
    distribution = "from wheels" if is_installed_from_wheels() else os.environ.get("ROS_DISTRO", "")
    code, out = _probe("humanoid_control.ros.self_test")
    if code == 0:
        return Finding("ROS 2", OK, f"{distribution}, {out}")
    remedy = (
        "run: make setup, or source ROS 2's setup.bash"
        if "No module named" in out
        else ("check ROS_DOMAIN_ID, RMW_IMPLEMENTATION and the firewall")
    )
    return Finding("ROS 2", FAILURE, out, remedy)


def check_interfaces() -> Finding:
    """Whether the message packages load."""
    imports = "; ".join(
        f"import {package}.msg as p; [getattr(p, n).__class__.__import_type_support__() "
        "for n in dir(p) if n[0].isupper()]"
        for package in _INTERFACE_PACKAGES
    )
    code, out = _run_python("-c", imports)
    if code == 0:
        return Finding("message packages", OK, ", ".join(_INTERFACE_PACKAGES))
    remedy = "make setup" if is_installed_from_wheels() else "colcon build --base-paths . humanoid_interfaces"
    return Finding("message packages", FAILURE, out, f"run: {remedy}")


def check_gl() -> Finding:
    """Whether a small image can be drawn without a screen."""
    code, out = _probe("humanoid_control.gl_self_test")
    if code == 0:
        return Finding("GL", OK, out)
    from humanoid_control.simulation.gl_backend import REMEDY

    return Finding("GL", FAILURE, f"no image can be rendered: {out}", REMEDY)


def check_model() -> Finding:
    """Whether the robot's description is read."""
    try:
        from humanoid_control.robot_model import RobotModel, default_urdf_path

        model = RobotModel.load()
    except (HumanoidControlError, ImportError, OSError) as error:
        return Finding("robot model", FAILURE, str(error), "run: make setup, or git checkout -- urdf")
    return Finding(
        "robot model", OK, f"{default_urdf_path()}: {len(model.joint_names)} joints, {model.total_mass:.1f} kg"
    )


def check_checkpoints() -> Finding:
    """Which trained networks there are."""
    folder = share_folder() / "checkpoints"
    if not folder.is_dir():
        return Finding("checkpoints", OK, "none, and none is needed by the scripted policy")
    count = sum(1 for path in folder.rglob("*") if path.is_file())
    return Finding("checkpoints", OK, f"{count} files in {folder}")


def check_disk() -> Finding:
    """Whether there is room for records and videos."""
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    detail = f"{free_gb:.1f} GB free in {Path.cwd()}"
    if free_gb >= _FREE_DISK_GB:
        return Finding("disk", OK, detail)
    return Finding("disk", WARNING, detail, f"videos and records want {_FREE_DISK_GB:g} GB: make room")


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    """Whether DDS has shared memory to carry images in."""
    if not folder.is_dir():
        return Finding("shared memory", WARNING, f"no {folder}", "DDS falls back to the network: images will be slow")
    free_mb = shutil.disk_usage(folder).free / 1e6
    leftovers = len(list(folder.glob("fastdds_*")))
    detail = f"{free_mb:.0f} MB free, {leftovers} segments of DDS"
    if free_mb >= _FREE_SHARED_MEMORY_MB:
        return Finding("shared memory", OK, detail)
    return Finding(
        "shared memory",
        WARNING,
        detail,
        "with no ROS process running: rm /dev/shm/fastdds_* /dev/shm/sem.fastdds_*"
        if leftovers
        else "in a container, start it with --shm-size=512m",
    )


def check_clock() -> Finding:
    """Whether the clock is steady, and kept in time with other machines."""
    before, wall_before = time.monotonic(), time.time()
    time.sleep(0.05)
    drift_s = (time.time() - wall_before) - (time.monotonic() - before)
    if abs(drift_s) > 0.01:
        return Finding("clock", WARNING, f"it jumped by {drift_s:.3f} s while being watched", "stop what sets it")
    if _is_clock_synchronised():
        return Finding("clock", OK, "steady, synchronised")
    return Finding("clock", OK, "steady; not synchronised, which matters only between machines")


def check_cores() -> Finding:
    """Whether there are cores enough for control beside everything else."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    detail = f"{cores} usable, load {load:.1f}"
    if cores < 2:
        return Finding("cores", WARNING, detail, "simulation beside control wants two: expect less than real time")
    if load > cores:
        return Finding("cores", WARNING, detail, "other programs are busy: expect late control ticks")
    return Finding("cores", OK, detail)


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_python,
    check_wheels,
    check_ros,
    check_interfaces,
    check_gl,
    check_model,
    check_checkpoints,
    check_disk,
    check_shared_memory,
    check_clock,
    check_cores,
)


def _probe(module: str) -> tuple[int, str]:
    """Runs a module that tries something in a process of its own: what it tries may crash or hang."""
    return _run_python("-m", module)


def _run_python(*arguments: str) -> tuple[int, str]:
    """Exit code and last line of output of a Python process."""
    try:
        # Somewhere else: MuJoCo writes a log file where it runs.
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, *arguments],
                cwd=folder,
                env=environment_for_children(),
                capture_output=True,
                text=True,
                timeout=_PROBE_TIMEOUT_S,
                check=False,
            )
    except subprocess.TimeoutExpired:
        return 1, f"no answer within {_PROBE_TIMEOUT_S:g} s"
    lines = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).strip().splitlines()
    return done.returncode, lines[-1] if lines else f"exit code {done.returncode}"


def _read_pins(constraints: Path) -> dict[str, str]:
    """Versions by name that hold for this Python."""
    from packaging.requirements import Requirement

    pins = {}
    for line in constraints.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate():
                pins[_normalise(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return pins


def _direct_requirements() -> set[str]:
    """What this package asks for without any extra."""
    requirements = importlib.metadata.requires("humanoid_control") or ()
    return {_normalise(re.split(r"[\[<>=!~; ]", text)[0]) for text in requirements if "extra ==" not in text}


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_clock_synchronised() -> bool:
    """What the kernel's clock discipline says (adjtimex(2) returns TIME_ERROR, 5, when it is not synchronised)."""
    buffer = ctypes.create_string_buffer(512)  # struct timex, all zero: ask, change nothing
    return ctypes.CDLL(None).adjtimex(buffer) not in (5, -1)
