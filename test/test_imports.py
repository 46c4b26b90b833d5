"""The one-way rules between the packages, read from every import in their source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("humanoid_control", "perception", "policies")
FORBIDDEN = {"humanoid_control": ("perception", "policies"), "perception": ("policies",), "policies": ()}
ROS = re.compile(r"^(rclpy|rosidl_\w+|launch|launch_ros|lifecycle_msgs|builtin_interfaces|\w+_msgs|humanoid_interfaces)$")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str, module: str) -> set[str]:
    """Every module a source imports, wherever in it; for `from a import b` both `a` and `a.b`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def may_import_ros(path: Path) -> bool:
    folders = path.relative_to(ROOT).parts[:-1]
    return "ros" in folders or "nodes" in folders or path.name.endswith("_node.py")


@pytest.fixture(scope="module")
def imports() -> dict[Path, set[str]]:
    return {path: imports_of(path.read_text(), module_name(path)) for path in SOURCES}


def test_every_kind_of_import_is_found():
    source = "import a.b\nfrom c import d\ndef f():\n    from . import e\n    from ..g import h\n"
    assert {"a.b", "c.d", "x.y.e", "x.g.h"} <= imports_of(source, "x.y.z")


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_one_way(imports, package):
    wrong = [f"{path.relative_to(ROOT)} imports {name}" for path, names in imports.items() if path.is_relative_to(ROOT / package)
             for name in sorted(names) if name.split(".")[0] in FORBIDDEN[package]]  # fmt: skip
    assert not wrong


def test_only_ros_parts_import_ros(imports):
    wrong = [f"{path.relative_to(ROOT)} imports {name}" for path, names in imports.items() if not may_import_ros(path)
             for name in sorted(names) if ROS.match(name.split(".")[0])]  # fmt: skip
    assert not wrong


def reached_from(imports: dict[Path, set[str]], start) -> dict[str, set[str]]:
    """Every module of the three packages that those chosen by `start(path)` reach, with what it imports."""
    by_name = {module_name(path): names for path, names in imports.items()}
    open_list, reached = [module_name(path) for path in imports if start(path)], {}
    while open_list:
        module = open_list.pop()
        if module not in reached:
            reached[module] = by_name[module]
            open_list += [name for name in by_name[module] if name in by_name]
    return reached


def test_nothing_that_runs_on_the_robot_imports_torch(imports):
    reached = reached_from(imports, lambda p: p.name.endswith("_node.py") or p.name == "control_loop.py")
    assert "humanoid_control.whole_body_control.controller" in reached
    assert not [f"{module} imports {name}" for module, names in reached.items() for name in names
                if name.split(".")[0] in ("torch", "torchvision")]  # fmt: skip


@pytest.mark.parametrize("part", ["control_loop.py", "policies/scripted", "perception/vision.py",
                                  "perception/live_vision.py", "perception/ros/vision_rung.py"])  # fmt: skip
def test_the_truth_of_the_simulation_is_out_of_reach(imports, part):
    """Neither control nor the scripted policy nor what looks at images can import what only a simulation knows: depth too."""
    reached = reached_from(imports, lambda p: part in str(p.relative_to(ROOT)))
    assert len(reached) > 5
    assert not [f"{module} imports {name}" for module, names in reached.items() for name in names
                if name.startswith(("mujoco", "humanoid_control.simulation", "perception.oracle", "perception.true", "perception.simul"))]  # fmt: skip


def test_the_library_runs_without_ros_and_torch():
    code = ("import sys, policies.runtime, policies.evaluate\n"
            "print([m for m in ('rclpy', 'launch_ros', 'torch') if m in sys.modules])")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.stdout.strip() == "[]", done.stderr
