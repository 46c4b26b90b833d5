"""What control needs of a robot, be it simulated or real."""

from __future__ import annotations

from typing import Protocol

from humanoid_control.robot_model import RobotModel
from humanoid_control.types import JointCommand, RobotState


class Robot(Protocol):
    """A robot that can be read, commanded and waited for.

    `wait_next_tick` sleeps on hardware and steps physics in simulation, so that nothing above asks which it is. What every
    driver must do is tested by test/robots/test_robot_contract.py; a new driver is added to the list there.

    Attributes:
        model: the robot's description.
        period_s: time between ticks.
    """

    model: RobotModel
    period_s: float

    def connect(self) -> None:
        """Makes the robot ready to be read and commanded.

        Raises:
            RobotError: if it does not answer or reports a fault.
        """

    def read(self) -> RobotState:
        """The newest state; the same one again, old stamp included, if no newer one has come.

        Raises:
            RobotError: if not connected, no state has ever come, or the robot reports a fault.
        """

    def write(self, command: JointCommand) -> JointCommand:
        """Sends a command and returns it as really sent (limits applied).

        Raises:
            RobotError: if not connected.
            TargetError: if the command is not finite or a gain is negative.
        """

    def wait_next_tick(self) -> None:
        """Returns at the next tick: at an absolute deadline, so that delays do not add up."""

    def stop(self) -> None:
        """Lets all motors damp without driving; may be called at any time, any number of times."""

    def close(self) -> None:
        """Stops, and gives back what `connect` took; may be called more than once."""
