"""Where AprilTags (family 36h11) are fixed: on totes, on stations, and on the cuffs that hands wear to calibrate cameras.

A tag's frame has its origin in the middle of the tag, x to its right, y to its top, z out of it. Around the black square
it needs a white margin as wide as one of its ten rows and columns.

Ids: totes have 6 each from 0 on in the order of the file, stations those from 240 on, cuffs from 560 on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from humanoid_control.errors import FactoryError
from humanoid_control.mission.factory import Conveyor, Factory, Station
from humanoid_control.mission.load_carriers import LoadCarrier
from humanoid_control.transforms import transform
from humanoid_control.types import SIDES

IDS = 587  # in the family
TOTE_IDS, TAGS_A_TOTE = 0, 6
STATION_IDS = 240
CUFF_IDS, TAGS_A_CUFF = 560, 3
PLATE_SHARE = 10 / 8  # of a plate's side over that of its black square
TOTE_TAG = 0.072  # m, the black square's side
TOTE_TAG_HEIGHT = 0.054  # m from a tote's bottom to the middle of a tag: the lip hides what is higher from above
FRONT_TAG = 0.064  # hangs at a surface's front edge
EDGE_TAG = 0.048  # lies on a surface along its front edge
CUFF_TAG = 0.048
STATION_PITCH = 0.33  # m between tags along a station's front, at most
SURFACE_GAP = 0.001  # m between a plate and what it is fixed to


@dataclass(frozen=True, eq=False)
class Tag:
    """One tag on something.

    Attributes:
        id: in the family.
        size: m, the side of its black square.
        parent_from_tag: (4, 4) in the frame of what it is fixed to.
    """

    id: int
    size: float
    parent_from_tag: np.ndarray

    @property
    def corners(self) -> np.ndarray:
        """(4, 3) m corners of the black square in the parent's frame: top left, top right, bottom right, bottom left."""
        half = self.size / 2
        corners = np.array([(-half, half, 0.0), (half, half, 0.0), (half, -half, 0.0), (-half, -half, 0.0)])
        return corners @ self.parent_from_tag[:3, :3].T + self.parent_from_tag[:3, 3]


@dataclass(frozen=True, eq=False)
class TagLayout:
    """All tags of a factory.

    Attributes:
        totes: tags by tote, in the tote's frame.
        surfaces: tags by station and shelf, in the frame of that surface: in the middle of the station's footprint at the
            surface's height, x away from the station's front.
    """

    totes: dict[str, tuple[Tag, ...]]
    surfaces: dict[tuple[str, int], tuple[Tag, ...]]


def lay_out_tags(factory: Factory) -> TagLayout:
    """Returns where a factory's tags are.

    Raises:
        FactoryError: it has more totes or stations than there are tags.
    """
    most = (STATION_IDS - TOTE_IDS) // TAGS_A_TOTE
    if len(factory.totes) > most:
        raise FactoryError(f"{factory.name}: {len(factory.totes)} totes; there are tags for {most}")
    totes = {tote.name: tote_tags(tote.carrier, TOTE_IDS + TAGS_A_TOTE * index) for index, tote in enumerate(factory.totes)}
    surfaces, next_id = {}, STATION_IDS
    for station in factory.stations:
        for shelf in range(len(station.surfaces)):
            surfaces[station.name, shelf] = tags = surface_tags(station, next_id)
            next_id += len(tags)
    if next_id > CUFF_IDS:
        raise FactoryError(f"{factory.name}: its stations need {next_id - STATION_IDS} tags; there are "
                           f"{CUFF_IDS - STATION_IDS}")  # fmt: skip
    return TagLayout(totes, surfaces)


def tote_tags(carrier: LoadCarrier, first_id: int) -> tuple[Tag, ...]:
    """Returns the tags of one tote: two on each long side, one on each short side."""
    wall_x, wall_y = (half + 0.003 for half in carrier.wall_half_extents)  # before the label
    aside = carrier.wall_half_extents[1] - PLATE_SHARE * TOTE_TAG / 2 - 0.004
    places = [(_facing((sign, 0)), (sign * wall_x, side * aside)) for sign in (-1, 1) for side in (-1, 1)]
    places += [(_facing((0, sign)), (0.0, sign * wall_y)) for sign in (-1, 1)]
    return tuple(Tag(first_id + index, TOTE_TAG, transform(rotation, np.array([x, y, TOTE_TAG_HEIGHT])))
                 for index, (rotation, (x, y)) in enumerate(places))  # fmt: skip


def surface_tags(station: Station, first_id: int) -> tuple[Tag, ...]:
    """Returns the tags of one surface: some hang at its front edge, and some lie along it where no belt runs."""
    half_width, front = station.size[1] / 2, station.front_x
    count = max(2, int(np.ceil(2 * half_width / STATION_PITCH)))
    ys = (np.arange(count) + 0.5) * 2 * half_width / count - half_width
    half_plate = PLATE_SHARE * FRONT_TAG / 2
    hanging = [(_facing((-1, 0)), (front - 0.003, y, -half_plate - 0.002), FRONT_TAG) for y in ys]
    lying = []
    if not isinstance(station, Conveyor):
        inset = PLATE_SHARE * EDGE_TAG / 2 + 0.004
        # Between the hanging ones, so that the front is seen at as many places as there are tags.
        between = np.concatenate([[-half_width + inset], (ys[1:] + ys[:-1]) / 2, [half_width - inset]])
        lying = [(_LYING, (front + inset, y, SURFACE_GAP), EDGE_TAG) for y in between]
    return tuple(Tag(first_id + index, size, transform(rotation, np.array(place)))
                 for index, (rotation, place, size) in enumerate(hanging + lying))  # fmt: skip


def cuff_tags(side: str) -> tuple[Tag, ...]:
    """Returns the tags of the cuff that one hand wears, in the frame `<side>_dex1_base_link`: on top and on both sides."""
    first = CUFF_IDS + TAGS_A_CUFF * SIDES.index(side)
    top = transform(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]).T, np.array([-0.036, 0.0, 0.052]))
    sides = [transform(_facing((0, sign)), np.array([-0.006, sign * 0.040, 0.0])) for sign in (-1, 1)]
    return tuple(Tag(first + index, CUFF_TAG, pose) for index, pose in enumerate([top, *sides]))


def cuff_frame(side: str) -> str:
    """Returns the frame of the URDF to which the cuff of one hand is fixed."""
    return f"{side}_dex1_base_link"


def iterate_tags(layout: TagLayout) -> Iterator[tuple[str, Tag]]:
    """Yields what each tag of a factory is fixed to, in words, and the tag."""
    for name, tags in layout.totes.items():
        yield from ((f"tote {name}", tag) for tag in tags)
    for (station, shelf), tags in layout.surfaces.items():
        yield from ((f"station {station}, shelf {shelf}", tag) for tag in tags)


# Image up points away from the robot that works at the front.
_LYING = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def _facing(direction: tuple[int, int]) -> np.ndarray:
    """(3, 3) parent_from_tag rotation of an upright tag that faces along a horizontal direction."""
    z = np.array([*direction, 0.0])
    y = np.array([0.0, 0.0, 1.0])
    return np.column_stack([np.cross(y, z), y, z])
