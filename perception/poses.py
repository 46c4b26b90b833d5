"""The `poses` interface: what a policy knows of the things around the robot, whoever saw them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from humanoid_control.types import BaseEstimate, RobotState


@dataclass(frozen=True)
class ObjectPose:
    """One thing seen.

    Attributes:
        name: the tote's, or the surface's as `surface_name` gives it.
        base_from_object: (4, 4) pose in `base_link`. A tote's origin is the middle of its bottom, x along its short side;
            a surface's is the middle of its station's footprint at the height of the surface, x away from its front.
        covariance: (6, 6) of translation (m) and rotation vector (rad), in `base_link`.
        stamp_s: when it was seen, on the robot's clock; -inf if it never was, and is told where it should be.
    """

    name: str
    base_from_object: np.ndarray
    covariance: np.ndarray
    stamp_s: float


@dataclass(frozen=True)
class PoseSet:
    """All that was seen at one instant.

    Attributes:
        stamp_s: the images' time, on the robot's clock.
        totes: by name.
        surfaces: tops, belts and shelves, by `surface_name`.
        people: (2,) m position in `base_link` of the people seen, by name.
    """

    stamp_s: float
    totes: dict[str, ObjectPose] = field(default_factory=dict)
    surfaces: dict[str, ObjectPose] = field(default_factory=dict)
    people: dict[str, np.ndarray] = field(default_factory=dict)


RUNGS = ("oracle", "fiducial", "detector", "tracker")
"""Of perception, by how little help they need."""


class PoseSource(Protocol):
    """A rung of perception."""

    def update(self, state: RobotState, estimate: BaseEstimate) -> None:
        """Takes in what the robot knows of itself, before each `read` at least."""

    def read(self) -> PoseSet:
        """What is seen now."""


def surface_name(station: str, shelf: int) -> str:
    """Name of a station's top, belt or shelf among the surfaces."""
    return f"{station}/{shelf}"


def carried_along(poses: PoseSet, now_from_then: np.ndarray) -> PoseSet:
    """Poses as seen from a base that has moved since.

    Args:
        poses: as seen.
        now_from_then: (4, 4) of `base_link`.
    """
    def moved(things: dict) -> dict:
        return {name: replace(thing, base_from_object=now_from_then @ thing.base_from_object) for name, thing in things.items()}

    people = {name: (now_from_then @ np.array([*place, 0.0, 1.0]))[:2] for name, place in poses.people.items()}
    return PoseSet(poses.stamp_s, moved(poses.totes), moved(poses.surfaces), people)
