"""How a tote is pulled to the edge of its surface by its near lip."""

from __future__ import annotations

import math

import numpy as np

from policies.scripted.navigation import CARRYING, velocity_to

LIP_LIFT, LIP_LIFT_SPEED = 0.02, 0.04  # m, m/s
SPEED, WITHIN_S = 0.10, 1.0  # m/s, and s in which it is reached


class Pull:
    """Walks backwards with the tote by its near lip, which is raised a little: it drags on its far feet alone.

    Flat, it would tip over its near feet wherever friction is above 0.6, as the lip is that much higher than half the
    feet are apart; and all of its weight would drag. Hands go straight while the body sways over its steps.
    """

    def __init__(self, pose: np.ndarray, hands: tuple[np.ndarray, np.ndarray], distance: float) -> None:
        """Begins a pull.

        Args:
            pose: (3,) x, y in m and heading of the base in `odom`.
            hands: (4, 4) each, as wanted in `odom`.
            distance: m to pull.
        """
        self._start, self._hands, self._distance = pose.copy(), hands, distance
        self._back = np.array([-math.cos(pose[2]), -math.sin(pose[2]), 0.0])
        self._gone = self._raised = self._rate = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it has been pulled, and lowered again."""
        return self._gone >= self._distance and self._raised <= 0.0

    def step(self, pose: np.ndarray, dt: float) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
        """Goes on for a moment.

        Args:
            pose: (3,) of the base now.
            dt: s since the last one.

        Returns:
            velocity (3,) to walk with, hands (4, 4) in `odom`, and their velocities (2, 6).
        """
        is_there = self._gone >= self._distance
        self._rate = 0.0 if is_there else min(self._rate + SPEED / WITHIN_S * dt, SPEED)
        self._gone += self._rate * dt
        self._raised = max(self._raised - LIP_LIFT_SPEED * dt, 0.0) if is_there else min(self._raised + LIP_LIFT_SPEED * dt, LIP_LIFT)
        by = self._gone * self._back + [0.0, 0.0, self._raised]
        hands = tuple(hand.copy() for hand in self._hands)
        for hand in hands:
            hand[:3, 3] += by
        velocities, velocity = np.zeros((2, 6)), np.zeros(3)
        velocities[:, :3] = self._rate * self._back
        if not is_there:
            velocity = velocity_to(pose, self._start + [*(self._gone * self._back[:2]), 0.0], CARRYING) - [self._rate, 0.0, 0.0]
        return velocity, hands, velocities
