"""The loop that owns the actuators: read, estimate, choose, solve, filter, write."""

from __future__ import annotations

import numpy as np

from humanoid_control.errors import TargetError
from humanoid_control.robots.robot import Robot
from humanoid_control.types import (
    TARGET_FRAMES, BaseEstimate, ControlStatus, JointCommand, RobotState, WholeBodyTarget,
)  # fmt: skip
from humanoid_control.whole_body_control import dynamics_qp, walking
from humanoid_control.whole_body_control.controller import WholeBodyController

STALE_TARGET_S = 0.2
MODES = ("standing", "walking", "holding", "stopped")


def check_target(target: WholeBodyTarget) -> None:
    """Refuses a target that is malformed.

    Raises:
        TargetError: naming the field, its value and what is allowed.
    """
    if target.frame not in TARGET_FRAMES:
        raise TargetError(f"The target's frame is '{target.frame}'; allowed are {' and '.join(TARGET_FRAMES)}.")
    shapes = {"base_velocity": (3,), "hand_poses": (2, 7), "hand_active": (2,), "hand_velocities": (2, 6),
              "gripper_openings": (2,), "gripper_forces": (2,), "torso_pitch": (), "pelvis_height": (), "stamp_s": ()}  # fmt: skip
    for name, shape in shapes.items():
        value = np.asarray(getattr(target, name))
        if value.shape != shape:
            raise TargetError(f"The target's {name} has shape {value.shape}; {shape} is needed.")
        if not np.isfinite(value).all():
            raise TargetError(f"The target's {name} is not finite: {value.tolist()}.")
    norms = np.linalg.norm(target.hand_poses[:, 3:], axis=1)
    if np.abs(norms - 1.0).max() > 1e-3:
        raise TargetError(f"The target's hand quaternions have lengths {norms.round(4).tolist()}; unit quaternions are needed.")


class ControlLoop:
    """One robot's control, from states and targets to commands.

    Attributes:
        robot: the driver.
        controller: the whole-body controller.
        state: newest measurement, None before the first step.
        sent: newest command as really sent.
    """

    def __init__(self, robot: Robot, *, stale_target_s: float = STALE_TARGET_S) -> None:
        """Prepares a loop; the robot is to be connected by the caller.

        Args:
            robot: the driver.
            stale_target_s: age at which a target is no longer followed but held.
        """
        self.robot = robot
        self.controller = WholeBodyController(robot.model)
        self.state: RobotState | None = None
        self.sent: JointCommand | None = None
        self._stale_target_s = stale_target_s
        self._target: WholeBodyTarget | None = None
        self._reason = ""
        self._holding = True

    def submit(self, target: WholeBodyTarget) -> None:
        """Takes a new target over from the next step on.

        Raises:
            TargetError: if it is malformed; control then holds, and says why in its status.
        """
        try:
            check_target(target)
        except TargetError as error:
            self._target = None
            self._reason = str(error)
            raise
        self._target = target
        self._reason = ""

    def step(self) -> JointCommand:
        """One tick: the command as really sent."""
        state = self.robot.read()
        dt = self.robot.period_s
        self.controller.estimate(state, dt)
        target = self._target
        self._holding = target is None or state.stamp_s - target.stamp_s > self._stale_target_s
        if self._holding:
            self.controller.hold()
        else:
            self.controller.set_target(target)
        command, status = self.controller.step(state, dt)
        if status == dynamics_qp.FAILED:
            self.robot.stop()
            self._reason = "solver failed"
        self.state = state
        self.sent = self.robot.write(command)
        return self.sent

    def estimate(self) -> BaseEstimate:
        """Where the robot believes it is, as of the last step."""
        return self.controller.base_estimate(self.state)

    def status(self) -> ControlStatus:
        """What control is doing, as of the last step."""
        walk, memory = self.controller.walk, self.controller.memory
        mode = "standing" if walk["mode"] == walking.STANDING else "walking"
        reason = self._reason
        if self._holding:
            mode, reason = "holding", reason or "no fresh target"
        return ControlStatus(
            stamp_s=self.state.stamp_s, mode=mode, reason=reason, payload_masses=memory["payload"].copy(),
            hand_errors=memory["hand_error"].copy(), step_count=int(walk["steps"]),
        )  # fmt: skip
