"""From a way on the floor to a walking velocity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.transforms import inverse, planar, wrapped, yaw_of
from perception.poses import surface_name


@dataclass(frozen=True)
class WalkingLimits:
    """How fast to walk.

    Attributes:
        forward, backward, sideways: m/s.
        turning: rad/s.
    """

    forward: float = 0.40
    backward: float = 0.20
    sideways: float = 0.14
    turning: float = 0.7

    def scaled(self, factor: float) -> WalkingLimits:
        """The same, slower or faster."""
        return WalkingLimits(*(factor * v for v in (self.forward, self.backward, self.sideways, self.turning)))


EMPTY_HANDED = WalkingLimits()
CARRYING = WalkingLimits(forward=0.32, backward=0.18, sideways=0.12, turning=0.55)
STEPPING_UP = WalkingLimits(forward=0.18, backward=0.15, sideways=0.10, turning=0.4)  # short, low steps before a station
FACE_FORWARD_BEYOND = 0.7  # m left to go: further away the robot turns to where it walks
CORNER_RADIUS = 0.15  # m
PERSON_STOP_DISTANCE = 0.9  # m
SLOW_ZONE_SHARE = 0.5  # of a velocity


@dataclass(frozen=True)
class Tolerance:
    """How near is near enough.

    Attributes:
        position: m.
        yaw: rad.
    """

    position: float
    yaw: float


def frame_from_map(factory: Factory, surfaces: Mapping[str, np.ndarray], here: np.ndarray) -> np.ndarray | None:
    """(4, 4) where the map of a factory's file lies, as the nearest of its surfaces that were seen tells; None where none was.

    Args:
        factory: as in its file.
        surfaces: (4, 4) in some upright frame, by `surface_name`.
        here: (2,) m, where the robot is in that frame.
    """
    nearest, best = None, math.inf
    for station in factory.stations:
        for shelf in range(len(station.surfaces)):
            seen = surfaces.get(surface_name(station.name, shelf))
            if seen is None:
                continue
            distance = float(np.linalg.norm(seen[:2, 3] - here))
            if distance < best:
                nearest, best = planar(*seen[:2, 3], yaw_of(seen)) @ inverse(station.map_from_station), distance
    return nearest


def velocity_to(pose: np.ndarray, goal: np.ndarray, limits: WalkingLimits) -> np.ndarray:
    """(3,) velocity in the robot's own axes that brings `pose` straight to `goal`, both (x, y, yaw)."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    dx, dy = goal[0] - pose[0], goal[1] - pose[1]
    x, y = c * dx + s * dy, -s * dx + c * dy
    turn = wrapped(goal[2] - pose[2])
    velocity = np.array([
        np.clip(0.9 * x, -limits.backward, limits.forward),
        np.clip(0.9 * y, -limits.sideways, limits.sideways),
        np.clip(0.9 * turn, -limits.turning, limits.turning),
    ])  # fmt: skip
    if abs(turn) > 0.5:  # turn first: walking sideways with a tote in the hands is slow
        velocity[:2] *= max(0.0, 1.0 - (abs(turn) - 0.5) / 0.5)
    return velocity


def person_ahead(velocity: np.ndarray, people: Iterable[np.ndarray]) -> float | None:
    """Metres to a person whom a walking velocity (3,) would come too near to; None if there is none.

    Args:
        velocity: in the robot's own axes.
        people: (2,) m in `base_footprint`, where they stand.
    """
    speed = float(np.linalg.norm(velocity[:2]))
    if speed < 0.02:
        return None
    for person in people:
        distance = float(np.linalg.norm(person))
        if distance < PERSON_STOP_DISTANCE and float(person @ velocity[:2]) > 0.3 * distance * speed:
            return distance
    return None


class WayFollower:
    """Follows corner points to a final pose, facing forward on the long stretches."""

    def __init__(self, points: list[np.ndarray], final_yaw: float) -> None:
        """Starts a way.

        Args:
            points: (2,) m corners, the goal last.
            final_yaw: rad, heading at the goal.
        """
        self._points = [np.asarray(p, float) for p in points]
        self._final_yaw = final_yaw

    def velocity(self, pose: np.ndarray, limits: WalkingLimits) -> np.ndarray:
        """(3,) velocity in the robot's own axes at `pose` (x, y, yaw)."""
        while len(self._points) > 1 and np.linalg.norm(self._points[0] - pose[:2]) < CORNER_RADIUS:
            self._points.pop(0)
        target = self._points[0]
        way = target - pose[:2]
        left = float(np.linalg.norm(way)) + sum(
            float(np.linalg.norm(b - a)) for a, b in zip(self._points, self._points[1:]))  # fmt: skip
        yaw = math.atan2(way[1], way[0]) if left > FACE_FORWARD_BEYOND else self._final_yaw
        return velocity_to(pose, np.array([target[0], target[1], yaw]), limits)

    def is_there(self, pose: np.ndarray, tolerance: Tolerance) -> bool:
        """Whether the pose (x, y, yaw) is at the way's end."""
        return (len(self._points) == 1 and bool(np.linalg.norm(self._points[0] - pose[:2]) < tolerance.position)
                and abs(wrapped(self._final_yaw - pose[2])) < tolerance.yaw)  # fmt: skip
