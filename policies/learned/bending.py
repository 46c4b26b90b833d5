"""How far a learned policy leans with a tote: no further than its waist bears.

Learnt, the torso leans 0.1 rad further for a lift than the expert's and follows where it sinks to, until a tote at arm's length
pulls the robot over.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from humanoid_control.errors import SolverError
from humanoid_control.robot_model import RobotModel
from policies.scripted.grips import PosturePlanner
from policies.scripted.motions import BODY_TURN_SPEED

MORE = 0.03  # rad beyond what hands need


class Bending:
    """Keeps the torso up.

    Args:
        model: the robot.
    """

    def __init__(self, model: RobotModel) -> None:
        self._planner = PosturePlanner(model)
        self.begin()

    def begin(self) -> None:
        """An order begins."""
        self._most: float | None = None
        self._less = 0.0

    def plan(self, footprint_from_hands: Sequence[np.ndarray]) -> None:
        """Hands will grip at these poses (4, 4), as seen from a base that stands upright; where they cannot get to, nothing is known."""
        try:
            self._most = self._planner.plan(tuple(footprint_from_hands)).torso_pitch + MORE
        except SolverError:
            self._most = None

    def forget(self) -> None:
        """The tote was let go."""
        self._most = None

    def pitch(self, wanted: float, dt: float, *, carries: bool) -> float:
        """The torso's pitch in rad for the next moment.

        Args:
            wanted: rad, by the network.
            dt: s since the last one.
            carries: whether it lifts a tote, or steps back with it.
        """
        less = max(wanted - self._most, 0.0) if carries and self._most is not None else 0.0
        change = BODY_TURN_SPEED * dt
        self._less = min(max(less, self._less - change), self._less + change)
        return wanted - self._less
