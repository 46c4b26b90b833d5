"""A robot whose ticks pass as fast as the clock on the wall, whatever is behind it."""

from __future__ import annotations

import time

from humanoid_control.robot_model import RobotModel
from humanoid_control.robots.robot import Robot
from humanoid_control.types import JointCommand, RobotState

GIVE_UP_S = 2.0  # behind its deadlines, a robot forgets them
CATCH_UP = 0.8  # of its period a late tick takes at least: a robot that races leaves those behind who follow its clock


class PacedRobot:
    """Wraps a robot that would tick as fast as the processor can. See `Robot`.

    Deadlines are absolute: time lost in one tick is made up in those that follow, little by little.

    Attributes:
        model: the robot's description.
        period_s: time between ticks.
        late_s: how far behind its deadline the last tick came, negative while there was time to sleep.
        forgotten_s: time given up since the start because the machine is too slow.
    """

    def __init__(self, robot: Robot, *, rate_factor: float = 1.0) -> None:
        """Wraps a robot.

        Args:
            robot: to be paced.
            rate_factor: robot time over wall time; 0 does not pace at all.
        """
        self._robot = robot
        self.model: RobotModel = robot.model
        self.period_s = robot.period_s
        self._wall_period_s = robot.period_s / rate_factor if rate_factor > 0.0 else 0.0
        self._deadline: float | None = None
        self._woken = 0.0
        self.late_s = 0.0
        self.forgotten_s = 0.0

    def connect(self) -> None:
        """See `Robot.connect`."""
        self._robot.connect()

    def read(self) -> RobotState:
        """See `Robot.read`."""
        return self._robot.read()

    def write(self, command: JointCommand) -> JointCommand:
        """See `Robot.write`."""
        return self._robot.write(command)

    def wait_next_tick(self) -> None:
        """Lets the robot tick, then sleeps until the tick is due."""
        self._robot.wait_next_tick()
        period_s, now = self._wall_period_s, time.monotonic()
        if self._deadline is None:
            self._deadline = self._woken = now
        self._deadline += period_s
        self.late_s = now - self._deadline if period_s > 0.0 else 0.0
        if self.late_s > GIVE_UP_S:
            self.forgotten_s += self.late_s
            self._deadline = now
        wake = max(self._deadline, self._woken + CATCH_UP * period_s)
        if period_s > 0.0 and wake > now:
            time.sleep(wake - now)
        self._woken = max(wake, now)

    def stop(self) -> None:
        """See `Robot.stop`."""
        self._robot.stop()

    def close(self) -> None:
        """See `Robot.close`."""
        self._robot.close()
