"""What every driver does with a command before it reaches a motor."""

from __future__ import annotations

import numpy as np

from humanoid_control.errors import TargetError
from humanoid_control.robot_model import RobotModel
from humanoid_control.types import JointCommand

DAMPING_STOP_KD = 8.0  # N m s/rad, the maker's figure for a damping stop


def limited_command(command: JointCommand, model: RobotModel) -> JointCommand:
    """The command with positions, feed-forward torques and grippers within the robot's limits.

    Raises:
        TargetError: if any value is not finite.
    """
    total = (command.positions.sum() + command.velocities.sum() + command.torques.sum() + command.kp.sum()
             + command.kd.sum() + command.gripper_openings.sum() + command.gripper_forces.sum())  # fmt: skip
    if not np.isfinite(total):
        bad = next(n for n in JointCommand.__dataclass_fields__ if not np.isfinite(getattr(command, n)).all())
        raise TargetError(f"The joint command's {bad} are not finite; nothing was sent.")
    return JointCommand(
        stamp_s=command.stamp_s,
        positions=np.minimum(np.maximum(command.positions, model.position_lower), model.position_upper),
        velocities=command.velocities,
        torques=np.minimum(np.maximum(command.torques, -model.effort_limit), model.effort_limit),
        kp=command.kp,
        kd=command.kd,
        gripper_openings=command.gripper_openings,
        gripper_forces=np.minimum(np.maximum(command.gripper_forces, 0.0), model.gripper_force_limit),
    )


def damping_command(stamp_s: float, positions: np.ndarray, gripper_openings: np.ndarray) -> JointCommand:
    """The command that lets every motor damp and keeps the grippers as they are."""
    zeros = np.zeros(len(positions))
    return JointCommand(stamp_s, positions.copy(), zeros, zeros.copy(), zeros.copy(),
                        np.full(len(positions), DAMPING_STOP_KD), gripper_openings.copy(), np.full(2, 20.0))  # fmt: skip
