"""Where totes stand while orders are carried out, and where there is room for another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from shapely.geometry import Polygon, box

from humanoid_control.mission.factory import (
    TOLERANCE,
    Conveyor,
    Factory,
    Order,
    Station,
    rectangle,
    tote_footprint,
)
from humanoid_control.mission.load_carriers import LoadCarrier
from humanoid_control.mission.reach import LEG_HALF_WIDTH, comfortable_depth, is_comfortable, pullable_depth, reachable_depth
from humanoid_control.mission.station_shapes import LEG

BELT_STOP = 0.03  # m at the far end of a belt, taken by the stop that keeps totes on it
BESIDE_LEG = LEG + LEG_HALF_WIDTH + 0.03  # m from a belt's upstream end, where its frame's leg is in the way of no knee
COMFORTABLE_GAP = 0.12  # m between totes that hands pass with ease
PULL_GAP = 0.03  # m beside the way on which a tote is pulled
PULL_SLACK = 0.03  # m before what is comfortable ends, and beyond what can be pulled, within which a tote is pulled to the edge
TIGHT_GAP = 0.02  # m between totes that is left when there is no room for more


@dataclass(frozen=True)
class Placement:
    """Where a tote stands: `pose` (x, y, yaw) in its station's frame, on a shelf, or `on` another tote."""

    station: str
    shelf: int
    pose: tuple[float, float, float]
    on: str | None = None


def initial_placements(factory: Factory) -> dict[str, Placement]:
    """Returns where every tote stands at the start, by name."""
    placements = {}
    for tote in factory.totes:
        base = factory.base_of(tote.name)
        placements[tote.name] = Placement(base.station, base.shelf or 0, base.at, tote.on)
    return placements


def ordered_placement(factory: Factory, order: Order, placements: Mapping[str, Placement]) -> Placement | None:
    """Returns where `order` brings its tote, with the others as in `placements`; None if there is no room."""
    if order.on is not None:
        below = placements[order.on]
        return Placement(below.station, below.shelf, below.pose, order.on)
    shelf = order.shelf or 0
    if order.at is not None:
        return Placement(order.to, shelf, (*order.at, 0.0))
    occupied = footprints_on(factory, order.to, shelf, placements, without=order.tote)
    pose = free_place(factory.station(order.to), shelf, factory.tote(order.tote).carrier, occupied)
    return None if pose is None else Placement(order.to, shelf, pose)


def footprints_on(
    factory: Factory, station: str, shelf: int, placements: Mapping[str, Placement], *, without: str
) -> list[Polygon]:
    """Returns the outside rectangles, in the station's frame, of the totes there except tote `without`."""
    return [
        tote_footprint(factory.tote(name).carrier, place.pose)
        for name, place in placements.items()
        if name != without and place.station == station and place.shelf == shelf
    ]


def usable_surface(station: Station) -> Polygon:
    """Returns the rectangle of the station's top, in its frame, on which totes can stand."""
    half_x, half_y = station.size[0] / 2, station.size[1] / 2
    far_end = half_y - (BELT_STOP if isinstance(station, Conveyor) and station.speed > 0 else 0.0)
    return box(-half_x, -half_y, half_x, far_end)


def fits_on(station: Station, carrier: LoadCarrier, pose: Iterable[float]) -> bool:
    """Returns whether a tote at `pose` in the station's frame stands wholly on it."""
    return usable_surface(station).buffer(TOLERANCE, join_style="mitre").covers(tote_footprint(carrier, pose))


def free_place(
    station: Station, shelf: int, carrier: LoadCarrier, occupied: Iterable[Polygon]
) -> tuple[float, float, float] | None:
    """Returns a pose in the frame of a station's shelf where a tote has room and is within reach, or None.

    The middle of the station comes first, on a running belt its upstream end; near the front before far from it; and
    room for the hands at both sides before none.
    """
    occupied = list(occupied)
    half_width, half_length = carrier.width / 2, carrier.length / 2
    min_x, min_y, max_x, max_y = usable_surface(station).bounds
    low_x, high_x = min_x + half_width, max_x - half_width
    low_y, high_y = min_y + half_length, max_y - half_length
    if low_x > high_x + TOLERANCE or low_y > high_y + TOLERANCE:
        return None
    xs = np.linspace(low_x, high_x, max(2, int((high_x - low_x) / 0.02) + 1))
    xs = xs[np.argsort(np.abs(xs - min(low_x + 0.07, high_x)), kind="stable")]  # 7 cm behind the front edge is at ease
    ys = np.linspace(low_y, high_y, max(3, 2 * int((high_y - low_y) / 0.04) + 1))
    if isinstance(station, Conveyor) and station.speed > 0:
        ys = ys[np.argsort(np.where(ys >= min_y + BESIDE_LEG, ys, max_y + (min_y - ys)), kind="stable")]
    else:
        ys = ys[np.argsort(np.abs(ys - (low_y + high_y) / 2), kind="stable")]
    height = station.surface_height(shelf)
    deepest = {y: station.front_x + reachable_depth(station, carrier, height, y) for y in ys}
    places = [(float(x), float(y)) for x in xs for y in ys if x <= deepest[y] + TOLERANCE]
    easy = [place for place in places if is_comfortable(station, carrier, height, place)]
    for gap, among in ((COMFORTABLE_GAP, easy), (COMFORTABLE_GAP, places), (TIGHT_GAP, places)):
        for x, y in among:
            footprint = tote_footprint(carrier, (x, y, 0.0))
            if all(footprint.distance(other) >= gap for other in occupied):
                return x, y, 0.0
    return None


def is_to_be_pulled(factory: Factory, tote: str, placements: Mapping[str, Placement]) -> bool:
    """Returns whether a tote stands too far back to be handled with ease where it can be pulled to the edge of its surface."""
    place = placements[tote]
    station, carrier = factory.station(place.station), factory.tote(tote).carrier
    bottom, depth = station.surface_height(place.shelf), place.pose[0] - station.front_x
    too_deep = depth > comfortable_depth(station, carrier, bottom, place.pose[1]) - PULL_SLACK
    return too_deep and depth <= pullable_depth(station, carrier, bottom, place.pose[1]) + PULL_SLACK and (
        pull_obstacle(factory, tote, placements) is None)  # fmt: skip


def pull_obstacle(factory: Factory, tote: str, placements: Mapping[str, Placement]) -> str | None:
    """Returns which tote keeps `tote` from being pulled straight to the edge: what is in its way, or one that it stands on."""
    place = placements[tote]
    if place.on is not None:
        return place.on
    way = way_to_edge(factory.station(place.station), factory.tote(tote).carrier, place.pose)
    others = {name: other for name, other in placements.items() if name != tote}
    return next((name for name, other in others.items() if (other.station, other.shelf) == (place.station, place.shelf)
                 and tote_footprint(factory.tote(name).carrier, other.pose).intersects(way)), None)  # fmt: skip


def way_to_edge(station: Station, carrier: LoadCarrier, pose: tuple[float, float, float]) -> Polygon:
    """Returns the strip, in the station's frame, over which a tote at `pose` is pulled to the front edge along its own x."""
    x, y, yaw = pose
    ahead = 1.0 if math.cos(yaw) >= 0.0 else -1.0  # of its two equal orientations the one that faces as the station does
    direction = ahead * np.array([math.cos(yaw), math.sin(yaw)])
    length = (x - station.front_x) / max(direction[0], 0.5)
    middle = np.array([x, y]) - 0.5 * length * direction
    return rectangle((*middle, yaw), (length + carrier.width, carrier.length + 2 * PULL_GAP))


def handled_heights(factory: Factory) -> dict[str, float]:
    """Returns, by station, how far above its top surface the highest tote that orders move there stands, in m."""
    placements = initial_placements(factory)
    heights = dict.fromkeys((station.name for station in factory.stations), 0.0)

    def note(name: str) -> None:
        place = placements[name]
        station = factory.station(place.station)
        height, below = station.surface_height(place.shelf) - station.surfaces[-1], place.on
        while below is not None:
            height += factory.tote(below).carrier.stacking_height
            below = placements[below].on
        heights[place.station] = max(heights[place.station], height)

    for order in factory.orders:
        note(order.tote)
        placements[order.tote] = ordered_placement(factory, order, placements)
        note(order.tote)
    return heights
