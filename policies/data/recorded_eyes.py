"""What a student's eyes would see while others drive: they look about where the tote truly is, as far off as a belief would be."""

from __future__ import annotations

import numpy as np

from humanoid_control.footprint import odom_from_footprint
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.transforms import planar, yaw_of
from policies.learned.eyes import Eyes
from policies.learned.sight_space import PRIOR, SEEN, Holding, Posture, kind_of, place_of
from policies.policy import Observation
from policies.scripted.grips import tote_facing

FIRST_LOOKS = 3  # that show the tote, after which it is known well
KNOWN = np.array([0.012, 0.012, 0.008, 0.03])  # m, m, m, rad that a belief is off by then
KEEP_S = 1.0  # between two draws of how far it is off
LOST_SHARE, LOST_TIMES = 0.05, 4.0  # of the draws, in which it is so much farther off
MOST = 2.0  # standard deviations


class RecordedEyes:
    """Makes the column `schema.SIGHTINGS`.

    Args:
        eyes: of the student.
        rng: how far off they look is drawn from it.
    """

    def __init__(self, eyes: Eyes, rng: np.random.Generator) -> None:
        self._eyes, self._rng = eyes, rng
        eyes.forget()

    def begin(self) -> None:
        """An order begins."""
        self._holding, self._looks, self._drawn_s = Holding(), 0, -np.inf
        self._heading: float | None = None

    def look(self, observation: Observation, footprint_from_tote: np.ndarray, goal: np.ndarray) -> None:
        """Looks at the images that have come.

        Args:
            observation: with images.
            footprint_from_tote: (4, 4) where the order's tote truly is.
            goal: (G,) of `OrderSense`.
        """
        footprint, now = odom_from_footprint(observation.estimate), observation.stamp_s
        self._eyes.feel(observation)
        if self._heading is None:
            self._heading, self._kind = yaw_of(place_of(goal, footprint)), kind_of(goal)
        self._odom_from_tote = tote_facing(footprint @ footprint_from_tote, self._heading)
        self._heading = yaw_of(self._odom_from_tote)
        is_unsure = self._looks < FIRST_LOOKS
        if now >= self._drawn_s + KEEP_S:
            self._drawn_s = now
            times = LOST_TIMES if self._rng.random() < LOST_SHARE else 1.0
            self._off = (PRIOR if is_unsure else times * KNOWN) * np.clip(self._rng.standard_normal(4), -MOST, MOST)
        x, y, z, yaw = self._off
        self._eyes.look(observation.images, observation.rig, self._odom_from_tote @ planar(x, y, yaw, z), tuple(LOAD_CARRIERS)[self._kind],
                        is_held=self._holding.is_held, is_unsure=is_unsure)  # fmt: skip

    def sightings(self, observation: Observation, state: np.ndarray) -> np.ndarray:
        """(C * S,) what was seen since the last frame.

        Args:
            observation: of the frame, that was looked at.
            state: (94,) of `BodySense`.
        """
        footprint = odom_from_footprint(observation.estimate)
        seen = self._eyes.sightings(footprint, observation.rig, is_held=self._holding.is_held)
        self._holding.step(Posture.of_state(state, footprint), self._odom_from_tote, self._kind)
        if seen[:, SEEN].any():
            self._looks += 1
        return seen.ravel()
