"""What every driver does with a command before it reaches a motor."""

from __future__ import annotations

import numba
import numpy as np

from humanoid_control.errors import TargetError
from humanoid_control.kernels import JIT
from humanoid_control.robot_model import RobotModel
from humanoid_control.types import JointCommand

DAMPING_STOP_KD = 8.0  # N m s/rad, the maker's figure for a damping stop


@numba.njit(**JIT)
def _limit(positions, velocities, torques, kp, kd, openings, forces, lower, upper, velocity, effort, opening_range,
           force_limit, joints, grippers):  # fmt: skip
    """Fills joints (3, 29) and grippers (2, 2) with what may be sent; False if something in the command may not."""
    total = 0.0
    lowest_gain = 0.0
    for j in range(positions.shape[0]):
        total += positions[j] + velocities[j] + torques[j] + kp[j] + kd[j]
        lowest_gain = min(lowest_gain, min(kp[j], kd[j]))
        joints[0, j] = min(max(positions[j], lower[j]), upper[j])
        joints[1, j] = min(max(velocities[j], -velocity[j]), velocity[j])
        joints[2, j] = min(max(torques[j], -effort[j]), effort[j])
    for side in range(2):
        total += openings[side] + forces[side]
        grippers[0, side] = min(max(openings[side], opening_range[0]), opening_range[1])
        grippers[1, side] = min(max(forces[side], 0.0), force_limit)
    # Not np.isfinite: it is compiled as value - value == 0, which the permitted reassociation turns into true.
    return abs(total) < np.inf and lowest_gain >= 0.0


def limited_command(command: JointCommand, model: RobotModel) -> JointCommand:
    """The command with positions, velocities, feed-forward torques and grippers within the robot's limits.

    Raises:
        TargetError: if any value is not finite, or a gain is negative and would drive the joint away.
    """
    joints, grippers = np.empty((3, len(command.positions))), np.empty((2, 2))
    fit = _limit(command.positions, command.velocities, command.torques, command.kp, command.kd, command.gripper_openings,
                 command.gripper_forces, model.position_lower, model.position_upper, model.velocity_limit, model.effort_limit,
                 opening_range(model), model.gripper_force_limit, joints, grippers)  # fmt: skip
    if not fit:
        for name in JointCommand.__dataclass_fields__:
            if not np.isfinite(getattr(command, name)).all():
                raise TargetError(f"The joint command's {name} are not finite; nothing was sent.")
        name = "kp" if np.min(command.kp) < 0 else "kd"
        raise TargetError(f"The joint command's {name} are as low as {np.min(getattr(command, name))}; gains are zero or more. "
                          "Nothing was sent.")  # fmt: skip
    return JointCommand(command.stamp_s, joints[0], joints[1], joints[2], command.kp, command.kd, grippers[0], grippers[1])


def opening_range(model: RobotModel) -> tuple[float, float]:
    """Smallest and largest gap (m) between the pads of a gripper."""
    return 2 * (model.finger_lower + model.pad_offset), 2 * (model.finger_upper + model.pad_offset)


def damping_command(stamp_s: float, positions: np.ndarray, gripper_openings: np.ndarray) -> JointCommand:
    """The command that lets every motor damp and keeps the grippers as they are."""
    zeros = np.zeros(len(positions))
    return JointCommand(stamp_s, positions.copy(), zeros, zeros.copy(), zeros.copy(),
                        np.full(len(positions), DAMPING_STOP_KD), gripper_openings.copy(), np.full(2, 20.0))  # fmt: skip


def warm_up() -> None:
    """Calls every kernel of this module once, so that it is compiled and cached."""
    limited_command(damping_command(0.0, np.zeros(29), np.zeros(2)), RobotModel.load())
