"""How the robot steps back from a station, with a tote or without."""

from __future__ import annotations

import math

import numpy as np

from humanoid_control.mission.reach import SLOW
from humanoid_control.transforms import wrapped
from policies.scripted.navigation import CARRYING

TURN_SHARE = 0.9  # 1/s of what the heading is off, that it turns back
LONGEST_S = 12.0  # s, after which something holds it


class StepBack:
    """Walks straight backwards, no faster than legs have room for before the station.

    Args:
        pose: (3,) x, y in m and heading of the base in `odom`, now.
        distance: m to walk.
        now: s on the robot's clock.
    """

    def __init__(self, pose: np.ndarray, distance: float, now: float) -> None:
        self._start, self._distance, self._begin_s = pose.copy(), distance, now
        self._ahead = np.array([math.cos(pose[2]), math.sin(pose[2])])

    def velocity(self, pose: np.ndarray, now: float) -> np.ndarray | None:
        """(3,) to walk with at a pose (3,) of now; None once it is over."""
        gone = float((self._start[:2] - pose[:2]) @ self._ahead)
        if gone >= self._distance or now - self._begin_s >= LONGEST_S:
            return None
        return np.array([-min(SLOW + gone, CARRYING.backward), 0.0, TURN_SHARE * wrapped(self._start[2] - pose[2])])
