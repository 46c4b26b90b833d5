"""What of a station one image shows: a surface, with covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.transforms import transform
from perception.fiducial import SURFACE, TaggedObject
from perception.poses import surface_name

NETWORK_WHITE_SHARE = 0.25  # of a sighting's variance, how much is drawn anew in each image
TAG_WHITE_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class SurfaceSighting:
    """A surface with its name.

    Attributes:
        name: as `surface_name` gives it.
        camera: whose image it was.
        stamp_s: of the image, on the robot's clock.
        camera_from_surface: (4, 4) in optical axes.
        covariance: (6, 6) of translation (m) and rotation vector (rad), in camera axes.
        white_share: of the covariance, how much is drawn anew in each image.
    """

    name: str
    camera: str
    stamp_s: float
    camera_from_surface: np.ndarray
    covariance: np.ndarray
    white_share: float = TAG_WHITE_SHARE

    @classmethod
    def from_tags(cls, seen: TaggedObject) -> SurfaceSighting | None:
        """Returns what tags told; None where they were no surface's."""
        if seen.kind != SURFACE:
            return None
        return cls(seen.name, seen.camera, seen.stamp_s, seen.camera_from_object, seen.covariance)


@dataclass(frozen=True, eq=False)
class MapSurface:
    """A surface as the factory's file has it.

    Attributes:
        name: as `surface_name` gives it.
        map_from_surface: (4, 4), at its height in the file.
        half: (2,) m, half its size along x and y.
    """

    name: str
    map_from_surface: np.ndarray
    half: np.ndarray


def map_surfaces(factory: Factory) -> dict[str, MapSurface]:
    """Returns all surfaces of a factory's file by name."""
    surfaces = {}
    for station in factory.stations:
        for shelf, height in enumerate(station.surfaces):
            name = surface_name(station.name, shelf)
            lift = transform(np.eye(3), np.array([0.0, 0.0, height]))
            surfaces[name] = MapSurface(name, station.map_from_station @ lift, np.array(station.size) / 2)
    return surfaces
