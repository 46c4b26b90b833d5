"""Chunks of steps played smoothly: between steps, and from one chunk to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from humanoid_control.transforms import from_pose, interpolated, inverse, to_pose
from humanoid_control.types import FRAME_ODOM, WholeBodyTarget


@dataclass(frozen=True)
class Chunk:
    """Steps from a moment on.

    Attributes:
        begin_s: of the observation they follow from.
        step_s: between them.
        steps: (T, S).
        decode: makes the target of one step, or of what lies between two.
    """

    begin_s: float
    step_s: float
    steps: np.ndarray
    decode: Callable[[np.ndarray, float], WholeBodyTarget]

    def target(self, now_s: float) -> WholeBodyTarget:
        """What is wanted now; the last step where all are over."""
        at = min(max((now_s - self.begin_s) / self.step_s, 0.0), len(self.steps) - 1.0)
        first = min(int(at), len(self.steps) - 2)
        share = at - first
        return self.decode((1.0 - share) * self.steps[first] + share * self.steps[first + 1], now_s)

    def is_over(self, now_s: float) -> bool:
        """Whether no step is left."""
        return now_s > self.begin_s + self.step_s * (len(self.steps) - 1)


class ChunkPlayer:
    """Plays the newest chunk, and fades from the one before to it.

    Args:
        fade_s: that it takes.
    """

    def __init__(self, fade_s: float) -> None:
        self._fade_s = fade_s
        self._old: Chunk | None = None
        self._new: Chunk | None = None
        self._since_s = 0.0

    def take(self, chunk: Chunk, now_s: float) -> None:
        """From now on this one."""
        self._old, self._new, self._since_s = self._new, chunk, now_s

    def target(self, now_s: float, odom_from_footprint: np.ndarray) -> WholeBodyTarget | None:
        """What is wanted now; None if nothing is, or is any more.

        Args:
            now_s: on the robot's clock.
            odom_from_footprint: (4, 4) now: targets on the floor and targets carried along are faded into each other there.
        """
        if self._new is None or self._new.is_over(now_s):
            return None
        target = self._new.target(now_s)
        share = (now_s - self._since_s) / self._fade_s
        if self._old is None or share >= 1.0 or self._old.is_over(now_s):
            return target
        return faded(self._old.target(now_s), target, share, odom_from_footprint)


def faded(before: WholeBodyTarget, after: WholeBodyTarget, share: float, odom_from_footprint: np.ndarray) -> WholeBodyTarget:
    """Between two targets: what is discrete is the later one's, all else a share of the way to it.

    Args:
        before, after: in whatever frames.
        share: 0 to 1.
        odom_from_footprint: (4, 4) now.
    """
    poses = after.hand_poses.copy()
    for side in (0, 1):
        if before.hand_active[side] and after.hand_active[side]:
            pose = from_pose(before.hand_poses[side])
            if before.frame != after.frame:
                pose = (odom_from_footprint if after.frame == FRAME_ODOM else inverse(odom_from_footprint)) @ pose
            poses[side] = to_pose(interpolated(pose, from_pose(after.hand_poses[side]), share))
    stands = not after.base_velocity.any()

    def between(first, second):
        return first + share * (second - first)

    return replace(
        after,
        base_velocity=after.base_velocity if stands else between(before.base_velocity, after.base_velocity),
        hand_poses=poses,
        torso_pitch=between(before.torso_pitch, after.torso_pitch),
        pelvis_height=between(before.pelvis_height, after.pelvis_height),
        gripper_openings=between(before.gripper_openings, after.gripper_openings),
    )
