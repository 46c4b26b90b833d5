"""A robot for tests: it does at once what it is told, knows no physics, and fails on request."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from humanoid_control.errors import RobotError
from humanoid_control.robot_model import RobotModel
from humanoid_control.robots.command_checks import damping_command, limited_command, opening_range
from humanoid_control.types import ImuSample, JointCommand, RobotState

UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


class FakeRobot:
    """Follows every command within one tick.

    Its faults are attributes, to be set by a test at any time and unset again.

    Attributes:
        model: the robot's description.
        period_s: time between ticks.
        positions: (29,) rad, where its joints are; a test may move them.
        orientation: (4,) quaternion xyzw of its base; a test may tilt it.
        is_connected: between `connect` and `close`.
        is_stopped: whether the last thing it heard was a stop.
        is_stale: states stay as they were (the link has died, the last state is read again).
        is_silent: reading fails.
        is_deaf: writing fails.
        next_state: replaces fields of every state read, by name.
        late_ticks: ticks that the next wait takes in addition.
        sent: all commands as sent, oldest first.
    """

    def __init__(self, model: RobotModel, *, period_s: float = 0.004, positions: np.ndarray | None = None) -> None:
        """A fake at rest.

        Args:
            model: whose limits and joints it has.
            period_s: time between ticks.
            positions: (29,) rad to start at; as near to zero as the limits allow by default.
        """
        self.model = model
        self.period_s = period_s
        start = np.zeros(len(model.joint_names)) if positions is None else positions
        self.positions = np.clip(start, model.position_lower, model.position_upper)
        self.orientation = UPRIGHT.copy()
        self.is_connected = self.is_stopped = self.is_stale = self.is_silent = self.is_deaf = False
        self.next_state: dict[str, object] = {}
        self.late_ticks = 0
        self.sent: list[JointCommand] = []
        self._velocities = np.zeros(len(start))
        self._torques = np.zeros(len(start))
        self._openings = np.full(2, opening_range(model)[1])
        self._ticks = 0
        self._state: RobotState | None = None

    def connect(self) -> None:
        """See `Robot.connect`."""
        if self.is_silent:
            raise RobotError("The fake robot does not answer; it was told to be silent.")
        self.is_connected = True

    def _require_connection(self) -> None:
        if not self.is_connected:
            raise RobotError("The fake robot is not connected; call connect() first.")

    def read(self) -> RobotState:
        """See `Robot.read`."""
        self._require_connection()
        if self.is_silent:
            raise RobotError("The fake robot does not answer; it was told to be silent.")
        if not self.is_stale or self._state is None:
            imu = ImuSample(self.orientation.copy(), np.zeros(3), np.array([0.0, 0.0, 9.81]))
            self._state = RobotState(self._ticks * self.period_s, self.positions.copy(), self._velocities.copy(),
                                     self._torques.copy(), imu, self._openings.copy(), np.zeros(2))  # fmt: skip
        return replace(self._state, **self.next_state) if self.next_state else self._state

    def write(self, command: JointCommand) -> JointCommand:
        """See `Robot.write`."""
        self._require_connection()
        if self.is_deaf:
            raise RobotError("The fake robot does not listen; it was told to be deaf.")
        sent = limited_command(command, self.model)
        self.sent.append(sent)
        self.is_stopped = False
        return sent

    def wait_next_tick(self) -> None:
        """Does what it was told, and lets a period pass (and `late_ticks` once)."""
        self._ticks += 1 + self.late_ticks
        self.late_ticks = 0
        if not self.sent or self.is_stopped:
            self._velocities[:] = 0.0
            return
        command = self.sent[-1]
        led = command.kp > 0.0  # a joint without stiffness stays where it is
        self._velocities = np.where(led, command.velocities, 0.0)
        self.positions = np.where(led, command.positions, self.positions)
        self._torques = command.torques
        self._openings = command.gripper_openings

    def stop(self) -> None:
        """See `Robot.stop`."""
        self.is_stopped = True
        self.sent.append(damping_command(self._ticks * self.period_s, self.positions, self._openings))

    def close(self) -> None:
        """See `Robot.close`."""
        if self.is_connected:
            self.stop()
        self.is_connected = False
