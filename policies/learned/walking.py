"""How a learned policy walks: what is known exactly is not learnt.

A far way is followed as it was planned, and the last steps up to a station lead to where a tote is handled from: the network says when
they begin. Back from a station, it goes as the scripted policy does. In between the velocity is the network's. Whatever it says, the robot
waits for people, is slow in slow zones, and does not walk into a station.
"""

from __future__ import annotations

import numpy as np

from humanoid_control.footprint import footprint_from_base, odom_from_footprint
from humanoid_control.mission.factory import Factory
from humanoid_control.mission.path_planning import FloorMap
from humanoid_control.mission.walking_fence import WalkingFence
from humanoid_control.transforms import inverse, planar, yaw_of
from humanoid_control.types import BaseEstimate
from perception.poses import PoseSet
from policies.learned.way_sense import footprint_from_map
from policies.scripted.navigation import CARRYING, EMPTY_HANDED, FACE_FORWARD_BEYOND, SLOW_ZONE_SHARE, STEPPING_UP, Tolerance, person_ahead, velocity_to

BLOCKED_S = 2.0  # s of wanting to walk into a station, after which it is in the way
CUT_SHARE, CUT_FROM = 0.5, 0.03  # of a velocity; m/s or rad/s: what a station in the way takes off, at least
ARRIVED, STANDS_S = Tolerance(0.02, 0.04), 0.3  # where steps up end, as the base sways; s until it stands
ON_LINE = Tolerance(0.10, 0.2)  # m beside the straight way to a stance, within which it is as clear of the station as the stance is
WAYS = {"approach": (slice(0, 3), EMPTY_HANDED), "carry": (slice(3, 6), CARRYING)}  # which way is walked, and how fast


class Walking:
    """Makes the velocity that is sent of the one that the network wants.

    Args:
        factory: as in its file.
        floor: of the same factory.

    Attributes:
        map_from_odom: (4, 4) as of the last look.
        steps_up: whether the last steps up to a station have begun.
    """

    def __init__(self, factory: Factory, floor: FloorMap) -> None:
        self._factory, self._floor, self._fence = factory, floor, WalkingFence(factory)
        self.begin()

    def begin(self) -> None:
        """An order begins."""
        self._blocked_since: float | None = None
        self._way, self._corners = np.zeros(6), np.zeros((2, 2))
        self.map_from_odom = np.eye(4)
        self._stance: np.ndarray | None = None
        self.steps_up, self._arrived_s = False, np.inf

    def look(self, poses: PoseSet, estimate: BaseEstimate, way: np.ndarray) -> None:
        """Ways (6,) of `WaySense`, and poses with a surface or more, of now."""
        footprint = odom_from_footprint(estimate)
        self._way = way
        self._corners = np.array([(footprint @ np.array([*way[first : first + 2], 0.0, 1.0]))[:2] for first in (0, 3)])
        self.map_from_odom = inverse(footprint @ footprint_from_map(self._factory, poses, estimate))

    def aim(self, stance: np.ndarray | None) -> None:
        """Where to step up to, as it is seen now: (3,) x, y in m and heading in `odom`; None where there is nothing to step up to."""
        self._stance = stance
        if stance is None:
            self.steps_up, self._arrived_s = False, np.inf

    def has_arrived(self, now: float) -> bool:
        """Whether it stands where it was to step up to."""
        return now - self._arrived_s >= STANDS_S

    def _step_up(self, footprint_from_stance: np.ndarray, now: float) -> np.ndarray:
        """(3,) velocity to a stance (4, 4); none once it was there."""
        self.steps_up = True
        goal = np.array([*footprint_from_stance[:2, 3], yaw_of(footprint_from_stance)])
        if np.linalg.norm(goal[:2]) < ARRIVED.position and abs(goal[2]) < ARRIVED.yaw:
            self._arrived_s = min(self._arrived_s, now)
        return velocity_to(np.zeros(3), goal, STEPPING_UP) if now < self._arrived_s else np.zeros(3)

    @staticmethod
    def _is_on_line(footprint_from_stance: np.ndarray) -> bool:
        beside = inverse(footprint_from_stance)[1, 3]
        return bool(abs(beside) < ON_LINE.position and abs(yaw_of(footprint_from_stance)) < ON_LINE.yaw)

    def velocity(self, wanted: np.ndarray, subtask: str, poses: PoseSet | None, estimate: BaseEstimate, now: float) -> tuple[np.ndarray, str, bool]:
        """The velocity (3,) to walk with, what is in the way of the wanted one, and whether that has been for too long.

        Args:
            wanted: (3,) by the network; not zero.
            subtask: that it is in.
            poses: newest, for people.
            estimate: where the robot believes it is.
            now: s on the robot's clock.
        """
        footprint = odom_from_footprint(estimate)
        velocity = wanted
        stance = inverse(footprint) @ planar(*self._stance) if self._stance is not None else None
        if stance is not None:
            velocity = self._step_up(stance, now)
        elif subtask in WAYS and self._way[WAYS[subtask][0]][2] > FACE_FORWARD_BEYOND:
            which, limits = WAYS[subtask]
            x, y = (inverse(footprint) @ np.array([*self._corners[which.start // 3], 0.0, 1.0]))[:2]
            velocity = velocity_to(np.zeros(3), np.array([x, y, np.arctan2(y, x)]), limits)
        map_from_footprint = self.map_from_odom @ footprint
        turn = footprint_from_base(estimate)
        people = [(turn @ np.array([*person, 0.0, 1.0]))[:2] for person in poses.people.values()] if poses is not None else []
        distance = person_ahead(velocity, people)
        if distance is not None:
            return np.zeros(3), f"a person {distance:.1f} m ahead: waiting", False
        if self._floor.is_slow(map_from_footprint[:2, 3]):
            velocity = SLOW_ZONE_SHARE * velocity
        if stance is not None and self._is_on_line(stance):
            self._blocked_since = None
            return velocity, "", False
        allowed, station = self._fence.limited(velocity, map_from_footprint, float(estimate.position[2]))
        if np.linalg.norm(velocity - allowed) < max(CUT_SHARE * np.linalg.norm(velocity), CUT_FROM):
            self._blocked_since = None
            return allowed, "", False
        self._blocked_since = now if self._blocked_since is None else self._blocked_since
        return allowed, f"{station} is in its way", now - self._blocked_since > BLOCKED_S
