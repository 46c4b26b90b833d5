"""Fills numba's cache, so that nothing is compiled in a user's first run: `python -m humanoid_control.compile_kernels`.

A module with compiled kernels has a function `warm_up()` that calls each of them once, and its name in `MODULES`.
"""

from __future__ import annotations

import importlib
import sys
import time

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from humanoid_control import rigid_body
from humanoid_control.errors import HumanoidControlError
from humanoid_control.kernels import forget_old_kernels
from humanoid_control.robot_model import RobotModel

# In the order of what builds on what: a kernel compiles those it calls.
MODULES = (
    "humanoid_control.rigid_body",
    "humanoid_control.self_collision",
    "humanoid_control.inverse_kinematics",
    "humanoid_control.robots.command_checks",
    "humanoid_control.safety",
    "humanoid_control.control_loop",
    "humanoid_control.robots.mujoco_robot",
    "humanoid_control.simulation.judge",
    "perception.pnp",
)


def _warm_up_rigid_body() -> None:
    model = RobotModel.load()
    tree, motion = rigid_body.tree_record(model.tree), rigid_body.motion_record()
    identity, point = np.eye(3), np.zeros(3)
    rigid_body.rotation_from_quaternion(np.array([0.0, 0.0, 0.0, 1.0]), identity)
    rigid_body.rotation_error(identity, identity, point)
    rigid_body.forward_kinematics(tree, identity, np.zeros(rigid_body.JOINTS), motion)
    rigid_body.dynamics(tree, identity, np.zeros(rigid_body.JOINTS), np.zeros(rigid_body.VELOCITIES), motion)
    rigid_body.point_position(motion, 1, point, point)
    columns, jacobian = np.zeros(rigid_body.VELOCITIES, np.int64), np.zeros((rigid_body.VELOCITIES, 6))
    rigid_body.point_columns(tree, motion, 1, point, columns, jacobian)
    rigid_body.point_motion(motion, 1, point, np.zeros(6), np.zeros(6))


def compile_module(name: str) -> None:
    """Compiles and caches one module's kernels."""
    module = importlib.import_module(name)
    if hasattr(module, "warm_up"):
        module.warm_up()
    elif module is rigid_body:
        _warm_up_rigid_body()


def main() -> int:
    """Compiles all modules; 0 on success."""
    console = Console()
    start = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("compiling kernels", total=len(MODULES))
        for name in MODULES:
            progress.update(task, description=f"compiling {name.rpartition('.')[2].replace('_', ' ')}")
            try:
                compile_module(name)
            except HumanoidControlError as error:
                console.print(f"error: the kernels of {name} cannot be compiled: {error}", highlight=False)
                return 1
            progress.advance(task)
    forget_old_kernels()
    console.print(
        f"{len(MODULES)} modules of compiled kernels are ready ({time.monotonic() - start:.1f} s).", highlight=False
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
