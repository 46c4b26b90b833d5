"""What a learned policy is told of its way over the floor: where to walk next for the tote, and for its place.

Planned on the factory's file around stations and zones, and placed by the surfaces that localisation finds: a learned
policy walks, it does not search for ways through a hall it has not seen.
"""

from __future__ import annotations

import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.mission.path_planning import FloorMap
from humanoid_control.mission.placement import Placement
from humanoid_control.transforms import inverse, planar, yaw_of
from humanoid_control.types import BaseEstimate
from perception.poses import PoseSet, surface_name
from policies.learned.observation_space import footprint_from_base

AHEAD = 0.8  # m along the way, where the point lies that is told
OFF_WAY = 0.35  # m from the way, beyond which another is planned
STAND_OFF = 0.67  # m before the middle of a tote, where ways end: what is left to go is straight
WAY_NAMES = tuple(f"way_to_{where}.{part}" for where in ("source", "goal") for part in ("x", "y", "left"))


class WaySense:
    """Makes the vector of where to walk.

    Args:
        factory: as in its file.
    """

    def __init__(self, factory: Factory) -> None:
        self._factory, self._floor = factory, FloorMap(factory)
        self._ends: tuple[np.ndarray, ...] = ()
        self._ways: list[np.ndarray | None] = []

    def begin(self, source: Placement, goal: Placement) -> None:
        """An order begins.

        Args:
            source, goal: where its tote stands and where it shall.
        """
        self._ends = tuple(self._before(placement) for placement in (source, goal))
        self._ways = [None, None]

    def way(self, poses: PoseSet, estimate: BaseEstimate) -> np.ndarray:
        """(6,) for the tote and for its place: the point `AHEAD` on the way, x and y in m in `base_footprint`, and m left to go.

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
            if way is None or _distance(way, here)[0] > OFF_WAY:
                way = self._ways[index] = np.array([here, *self._floor.plan(here, end)])
            point, left = _ahead(way, here)
            numbers += [*(map_from_footprint[:2, :2].T @ (point - here)), left]
        return np.array(numbers)

    def _before(self, placement: Placement) -> np.ndarray:
        """(2,) m in `map`."""
        station = self._factory.station(placement.station)
        return (station.map_from_station @ planar(*placement.pose) @ np.array([-STAND_OFF, 0.0, 0.0, 1.0]))[:2]


def footprint_from_map(factory: Factory, poses: PoseSet, estimate: BaseEstimate) -> np.ndarray:
    """(4, 4) by the nearest surface that is seen.

    Args:
        factory: as in its file.
        poses: with one or more of its surfaces.
        estimate: of the base's height and tilt.
    """
    footprint, best = footprint_from_base(estimate), (np.inf, np.eye(4))
    for station in factory.stations:
        for shelf in range(len(station.surfaces)):
            seen = poses.surfaces.get(surface_name(station.name, shelf))
            if seen is None:
                continue
            at = footprint @ seen.base_from_object
            distance = float(np.hypot(*at[:2, 3]))
            if distance < best[0]:
                best = distance, planar(*at[:2, 3], yaw_of(at)) @ inverse(station.map_from_station)
    return best[1]


def _distance(way: np.ndarray, here: np.ndarray) -> tuple[float, int, float]:
    """How far a point (2,) is from a way (N, 2), on which stretch it is nearest, and at which share of it."""
    starts, stretches = way[:-1], np.diff(way, axis=0)
    lengths = np.maximum((stretches**2).sum(axis=1), 1e-12)
    shares = np.clip(((here - starts) * stretches).sum(axis=1) / lengths, 0.0, 1.0)
    off = np.linalg.norm(starts + shares[:, None] * stretches - here, axis=1)
    nearest = int(off.argmin())
    return float(off[nearest]), nearest, float(shares[nearest])


def _ahead(way: np.ndarray, here: np.ndarray) -> tuple[np.ndarray, float]:
    """The point (2,) `AHEAD` on a way (N, 2), its end if that is nearer, and how much of the way is left."""
    _, stretch, share = _distance(way, here)
    lengths = np.linalg.norm(np.diff(way, axis=0), axis=1)
    gone = lengths[:stretch].sum() + share * lengths[stretch]
    along, ends = min(gone + AHEAD, lengths.sum()), np.cumsum(lengths)
    index = min(int(np.searchsorted(ends, along)), len(lengths) - 1)
    rest = 1.0 - (ends[index] - along) / max(lengths[index], 1e-12)
    return way[index] + rest * (way[index + 1] - way[index]), float(lengths.sum() - gone)
