"""What a learned policy is told of its way over the floor: where to walk next for the tote, and for its place.

Planned on the factory's file around stations and zones, and placed by the surfaces that localisation finds: a learned
policy walks, it does not search for ways through a hall it has not seen.
"""

from __future__ import annotations

import numpy as np

from humanoid_control.footprint import footprint_from_base
from humanoid_control.mission.factory import Factory
from humanoid_control.mission.path_planning import FloorMap
from humanoid_control.mission.placement import Placement
from humanoid_control.transforms import inverse, planar
from humanoid_control.types import BaseEstimate
from perception.poses import PoseSet
from policies.scripted.navigation import CORNER_RADIUS, frame_from_map

OFF_WAY = 0.12  # m from the way, beyond which another is planned: after a step back from a station it leads around its posts
# m before the middle of a tote, or of its place, where ways end: what is left to go is straight. Carrying, the hands beside a tote are
# 0.46 m from the robot's middle as it turns to a station, and where that is, is known to centimetres.
STAND_OFFS = 0.67, 0.75
SOURCE, GOAL = range(2)
WAY_NAMES = tuple(f"way_to_{where}.{part}" for where in ("source", "goal") for part in ("x", "y", "left"))


class WaySense:
    """Makes the vector of where to walk.

    Args:
        factory: as in its file.

    Attributes:
        floor: ways are planned on.
    """

    def __init__(self, factory: Factory) -> None:
        self._factory, self.floor = factory, FloorMap(factory)
        self._ends: tuple[np.ndarray, ...] = ()
        self._ways: list[list[np.ndarray]] = []

    def begin(self, source: Placement, goal: Placement) -> None:
        """An order begins.

        Args:
            source, goal: where its tote stands and where it shall.
        """
        self._ends = tuple(self._before(placement, off) for placement, off in zip((source, goal), STAND_OFFS))
        self._ways = [[], []]

    def way(self, poses: PoseSet, estimate: BaseEstimate) -> np.ndarray:
        """(6,) for the tote and for its place: the next corner of the way, x and y in m in `base_footprint`, and m left to go.

        To be asked ten times a second or more while the robot walks, or it misses corners.

        Args:
            poses: with a surface or more; the nearest tells where the map is.
            estimate: where the robot believes it is.

        Raises:
            OrderError: there is no way.
        """
        map_from_footprint = inverse(footprint_from_map(self._factory, poses, estimate))
        here = map_from_footprint[:2, 3]
        numbers = []
        for index, end in enumerate(self._ends):
            way = self._ways[index]
            if not way or _distance(way[0], way[1], here) > OFF_WAY:
                way[:] = [here, *self.floor.plan(here, end, carrying=index == GOAL)]
            while len(way) > 2 and np.linalg.norm(way[1] - here) < CORNER_RADIUS:
                way.pop(0)
            left = np.linalg.norm(way[1] - here) + sum(np.linalg.norm(b - a) for a, b in zip(way[1:], way[2:]))
            numbers += [*(map_from_footprint[:2, :2].T @ (way[1] - here)), left]
        return np.array(numbers)

    def _before(self, placement: Placement, off: float) -> np.ndarray:
        """(2,) m in `map`, so many m before a place."""
        station = self._factory.station(placement.station)
        return (station.map_from_station @ planar(*placement.pose) @ np.array([-off, 0.0, 0.0, 1.0]))[:2]


def footprint_from_map(factory: Factory, poses: PoseSet, estimate: BaseEstimate) -> np.ndarray:
    """(4, 4) by the nearest surface that is seen.

    Args:
        factory: as in its file.
        poses: with one or more of its surfaces.
        estimate: of the base's height and tilt.
    """
    footprint = footprint_from_base(estimate)
    surfaces = {name: footprint @ seen.base_from_object for name, seen in poses.surfaces.items()}
    return frame_from_map(factory, surfaces, np.zeros(2))


def _distance(begin: np.ndarray, end: np.ndarray, here: np.ndarray) -> float:
    """Metres of a point (2,) from a stretch of the way."""
    stretch = end - begin
    share = np.clip((here - begin) @ stretch / max(stretch @ stretch, 1e-12), 0.0, 1.0)
    return float(np.linalg.norm(begin + share * stretch - here))
