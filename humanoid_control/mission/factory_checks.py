"""Whether a factory can be: nothing overlaps, everything is within reach, every order has its tote and its place."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import NoReturn

from shapely.geometry import LineString, Point, Polygon, box
from shapely.validation import explain_validity

from humanoid_control.errors import FactoryError, OrderError
from humanoid_control.mission.factory import (
    MAX_SURFACE_HEIGHT,
    MIN_SHELF_CLEARANCE,
    MIN_SURFACE_HEIGHT,
    TOLERANCE,
    Factory,
    Order,
    Rack,
    Station,
    Tote,
    closest,
    tote_footprint,
)
from humanoid_control.mission.placement import Placement, fits_on, initial_placements, ordered_placement, pull_obstacle
from humanoid_control.mission.reach import pullable_depth, reachable_depth

ROBOT_RADIUS = 0.15  # m around the pelvis that must be free at the start: the feet stand within it
STANDING_DISTANCE = 0.25  # m in front of a station from which the robot works at least
OVERLAP_AREA = 1e-4  # m^2 by which rectangles may overlap, for sums of rounded numbers


def check_factory(factory: Factory, *, source: str = "factory") -> None:
    """Checks what a look at single values cannot.

    Raises:
        FactoryError: one line naming `source`, the key, the value and what is allowed.
    """
    try:
        _check_names(factory)
        _check_stations(factory)
        _check_zones_and_people(factory)
        _check_robot(factory)
        _check_totes(factory)
        _check_orders(factory)
    except _Problem as problem:
        raise FactoryError(f"{source}: {problem}") from None


def check_order(factory: Factory, order: Order, placements: dict[str, Placement]) -> Placement:
    """Returns where one more order brings its tote, with all totes as in `placements`.

    Raises:
        OrderError: one line naming what is wrong with the order and what is allowed.
    """
    try:
        return _check_order(factory, order, "order", placements)
    except _Problem as problem:
        raise OrderError(str(problem)) from None


class _Problem(Exception):
    pass


def _refuse(path: str, message: str) -> NoReturn:
    raise _Problem(f"{path}: {message}")


def _floor(factory: Factory) -> Polygon:
    half_x, half_y = factory.floor.size[0] / 2, factory.floor.size[1] / 2
    return box(-half_x, -half_y, half_x, half_y).buffer(TOLERANCE, join_style="mitre")


def _floor_text(factory: Factory) -> str:
    half_x, half_y = factory.floor.size[0] / 2, factory.floor.size[1] / 2
    return f"x from {-half_x:g} to {half_x:g}, y from {-half_y:g} to {half_y:g}"


def _known(name: str, names: Iterable[str], path: str, what: str) -> None:
    names = list(names)
    if name not in names:
        _refuse(path, f"unknown {what} '{name}'; known: {', '.join(names) or 'none'}{closest(name, names)}")


def _check_names(factory: Factory) -> None:
    seen: dict[str, str] = {}
    for key in ("stations", "totes", "zones", "people"):
        for index, thing in enumerate(getattr(factory, key)):
            path = f"{key}[{index}]"
            if thing.name in seen:
                _refuse(f"{path}.name", f"'{thing.name}' is the name of {seen[thing.name]} too; names must be unique")
            seen[thing.name] = path


# --- stations -----------------------------------------------------------------------------------------------------


def _check_stations(factory: Factory) -> None:
    floor = _floor(factory)
    if not factory.stations:
        _refuse("stations", "must have at least one station; got []")
    for index, station in enumerate(factory.stations):
        path = f"stations[{index}]"
        if not floor.covers(station.footprint):
            _refuse(
                f"{path}.pose",
                f"station {station.name} at {list(station.pose)} is not wholly on the floor; "
                f"allowed {_floor_text(factory)}",
            )
        if isinstance(station, Rack):
            _check_shelves(station, path)
        for shelf, height in enumerate(station.surfaces):
            key = f"{path}.shelves[{shelf}]" if isinstance(station, Rack) else f"{path}.height"
            if not MIN_SURFACE_HEIGHT - TOLERANCE <= height <= MAX_SURFACE_HEIGHT + TOLERANCE:
                _refuse(
                    key,
                    f"{height:g} is out of the robot's reach; "
                    f"allowed {MIN_SURFACE_HEIGHT:.2f} to {MAX_SURFACE_HEIGHT:.2f} m",
                )
    for (i, first), (j, second) in combinations(enumerate(factory.stations), 2):
        if first.footprint.intersection(second.footprint).area > OVERLAP_AREA:
            _refuse(
                f"stations[{j}].pose",
                f"station {second.name} at {list(second.pose)} overlaps station {first.name} (stations[{i}]); "
                "footprints must be apart",
            )


def _check_shelves(rack: Rack, path: str) -> None:
    if not rack.shelves:
        _refuse(f"{path}.shelves", "must have at least one height; got []")
    for shelf, (below, above) in enumerate(zip(rack.shelves, rack.shelves[1:])):
        if above - below < MIN_SHELF_CLEARANCE - TOLERANCE:
            _refuse(
                f"{path}.shelves[{shelf + 1}]",
                f"{above:g} leaves {above - below:.2f} m above the shelf at {below:g}; "
                f"allowed at least {MIN_SHELF_CLEARANCE} m, lowest shelf first",
            )


# --- zones, people, robot -----------------------------------------------------------------------------------------


def _check_zones_and_people(factory: Factory) -> None:
    for index, zone in enumerate(factory.zones):
        path = f"zones[{index}].polygon"
        if len(zone.polygon) < 3:
            _refuse(path, f"must have at least 3 corners; got {len(zone.polygon)}")
        if not zone.area.is_valid:
            _refuse(path, f"is no simple polygon: {explain_validity(zone.area)}; edges must not cross or coincide")
        if zone.area.area < 1e-4:
            _refuse(path, f"has no area; got {[list(corner) for corner in zone.polygon]}")
    floor = _floor(factory)
    for index, person in enumerate(factory.people):
        path = f"people[{index}].path"
        if len(person.path) < 2:
            _refuse(path, f"must have at least 2 points; got {len(person.path)}")
        for corner, point in enumerate(person.path):
            if not floor.covers(Point(point)):
                _refuse(f"{path}[{corner}]", f"{list(point)} is off the floor; allowed {_floor_text(factory)}")
        line = LineString(person.path)
        if line.length < 0.01:
            _refuse(path, "must lead somewhere; all its points are the same")
        for station in factory.stations:
            if line.intersection(station.footprint).length > 0.01:
                _refuse(path, f"leads through station {station.name}; must keep off stations")


def robot_start_problem(factory: Factory, start: Iterable[float]) -> str | None:
    """Returns why the robot cannot start at (x, y, yaw), or None if it can."""
    x, y, _ = start
    body = Point(x, y).buffer(ROBOT_RADIUS)
    if not _floor(factory).covers(body):
        return f"is off the floor; allowed {_floor_text(factory)}, {ROBOT_RADIUS} m from its edges"
    for station in factory.stations:
        if body.intersects(station.footprint):
            return f"is inside station {station.name}; must be {ROBOT_RADIUS} m away from stations"
    for zone in factory.zones:
        if zone.kind == "keep_out" and body.intersects(zone.area):
            return f"is inside zone {zone.name}; must be {ROBOT_RADIUS} m away from keep-out zones"
    return None


def _check_robot(factory: Factory) -> None:
    problem = robot_start_problem(factory, factory.robot.start)
    if problem:
        _refuse("robot.start", f"{list(factory.robot.start)} {problem}")


# --- totes --------------------------------------------------------------------------------------------------------


def _check_totes(factory: Factory) -> None:
    for index, tote in enumerate(factory.totes):
        path = f"totes[{index}]"
        if tote.mass < tote.carrier.empty_mass - TOLERANCE:
            _refuse(
                f"{path}.mass",
                f"{tote.mass:g} is less than an empty {tote.kind}; allowed {tote.carrier.empty_mass:g} kg or more",
            )
        if tote.on is None:
            _check_standing_tote(factory, tote, path)
        else:
            _check_stacked_tote(factory, tote, path)
    _check_stacks(factory)
    for index, tote in enumerate(factory.totes):
        if tote.on is not None:
            _check_stacked_place(factory, tote, f"totes[{index}]")
    _check_neighbours(factory)


def _check_standing_tote(factory: Factory, tote: Tote, path: str) -> None:
    for key in ("station", "at"):
        if getattr(tote, key) is None:
            _refuse(f"{path}.{key}", "missing, but required for a tote that stands on no other (`on`)")
    _known(tote.station, (station.name for station in factory.stations), f"{path}.station", "station")
    station = factory.station(tote.station)
    _check_shelf(station, tote.shelf, path)
    if not fits_on(station, tote.carrier, tote.at):
        _refuse(f"{path}.at", f"{list(tote.at)} is not wholly on station {station.name}; {_room(station, tote)}")


def _room(station: Station, tote: Tote) -> str:
    half_x = station.size[0] / 2 - tote.carrier.width / 2
    half_y = station.size[1] / 2 - tote.carrier.length / 2
    if half_x < 0 or half_y < 0:
        return f"it is too small for a {tote.kind} ({tote.carrier.width:g} x {tote.carrier.length:g} m)"
    return f"allowed x from {-half_x:.3f} to {half_x:.3f}, y from {-half_y:.3f} to {half_y:.3f} at yaw 0"


def _check_shelf(station: Station, shelf: int | None, path: str) -> None:
    if not isinstance(station, Rack):
        if shelf is not None:
            _refuse(
                f"{path}.shelf", f"{shelf}, but station {station.name} is a {station.kind}; only racks have shelves"
            )
        return
    if shelf is None:
        _refuse(f"{path}.shelf", f"missing, but required for rack {station.name}; {_shelves_text(station)}")
    if shelf >= len(station.shelves):
        _refuse(f"{path}.shelf", f"{shelf} is unknown to rack {station.name}; {_shelves_text(station)}")


def _shelves_text(rack: Rack) -> str:
    return f"allowed 0 to {len(rack.shelves) - 1}" if len(rack.shelves) > 1 else "allowed 0"


def _check_stacked_tote(factory: Factory, tote: Tote, path: str) -> None:
    if tote.at is not None:
        _refuse(f"{path}.at", f"{list(tote.at)}, but the tote stands `on` {tote.on}; only one of both is allowed")
    _known(tote.on, (other.name for other in factory.totes), f"{path}.on", "tote")
    if tote.station is not None:
        _known(tote.station, (station.name for station in factory.stations), f"{path}.station", "station")
    _check_sizes(tote, factory.tote(tote.on), path)


def _check_sizes(tote: Tote, below: Tote, path: str) -> None:
    if tote.kind != below.kind and (
        tote.carrier.length > below.carrier.length or tote.carrier.width > below.carrier.width
    ):
        _refuse(f"{path}.on", f"a {tote.kind} cannot stand on {below.name}, a smaller {below.kind}")
    if tote.kind != below.kind:
        _refuse(f"{path}.on", f"a {tote.kind} would fall into {below.name}, a {below.kind}; allowed the same kind")


def _check_stacks(factory: Factory) -> None:
    for index, tote in enumerate(factory.totes):
        chain, current = [tote.name], tote
        while current.on is not None:
            current = factory.tote(current.on)
            chain.append(current.name)
            if current.name == tote.name:
                _refuse(f"totes[{index}].on", f"goes round in a circle: {' on '.join(chain)}")
            if len(chain) > len(factory.totes):
                break
    standing_on: dict[str, str] = {}
    for index, tote in enumerate(factory.totes):
        if tote.on is None:
            continue
        if tote.on in standing_on:
            _refuse(
                f"totes[{index}].on", f"{tote.on} already carries {standing_on[tote.on]}; allowed one tote on a tote"
            )
        standing_on[tote.on] = tote.name


def _check_stacked_place(factory: Factory, tote: Tote, path: str) -> None:
    base = factory.base_of(tote.name)
    if tote.station is not None and tote.station != base.station:
        _refuse(f"{path}.station", f"{tote.station}, but {tote.on} stands on {base.station}; must be the same")
    if tote.shelf is not None and tote.shelf != (base.shelf or 0):
        _refuse(f"{path}.shelf", f"{tote.shelf}, but {tote.on} stands on shelf {base.shelf or 0}; must be the same")


def _check_neighbours(factory: Factory) -> None:
    standing = [(index, tote) for index, tote in enumerate(factory.totes) if tote.on is None]
    for (i, first), (j, second) in combinations(standing, 2):
        if first.station != second.station or (first.shelf or 0) != (second.shelf or 0):
            continue
        overlap = tote_footprint(first.carrier, first.at).intersection(tote_footprint(second.carrier, second.at))
        if overlap.area > OVERLAP_AREA:
            _refuse(
                f"totes[{j}].at",
                f"{list(second.at)} makes {second.name} overlap {first.name} (totes[{i}]); totes must be apart",
            )


# --- orders -------------------------------------------------------------------------------------------------------


def _check_orders(factory: Factory) -> None:
    """Follows the orders one after the other, since each needs room where those before it left things."""
    placements = initial_placements(factory)
    for index, order in enumerate(factory.orders):
        placements[order.tote] = _check_order(factory, order, f"orders[{index}]", placements)


def _check_order(factory: Factory, order: Order, path: str, placements: dict[str, Placement]) -> Placement:
    _known(order.tote, (tote.name for tote in factory.totes), f"{path}.tote", "tote")
    _known(order.to, (station.name for station in factory.stations), f"{path}.to", "station")
    tote, station = factory.tote(order.tote), factory.station(order.to)
    above = next((name for name, place in placements.items() if place.on == tote.name), None)
    if above is not None:
        _refuse(f"{path}.tote", f"{tote.name} cannot be taken: {above} stands on it; order {above} away first")
    _check_takeable(factory, tote, placements, f"{path}.tote")
    if order.on is not None:
        _check_order_onto(factory, order, path, placements)
    else:
        _check_shelf(station, order.shelf, path)
    if order.on is None and order.at is not None:
        _check_order_at(factory, order, path, placements)
    place = ordered_placement(factory, order, placements)
    if place is None:
        _refuse(f"{path}.to", f"no room for {tote.name} on station {station.name}; {_room(station, tote)}")
    _check_within_reach(factory, tote, place, placements, f"{path}.on" if order.on else f"{path}.to")
    return place


def _check_takeable(factory: Factory, tote: Tote, placements: dict[str, Placement], path: str) -> None:
    place = placements[tote.name]
    station = factory.station(place.station)
    depth, deepest = _depths(station, tote, place)
    if depth > deepest + TOLERANCE:
        _check_pullable(factory, tote, placements, path)
    _check_within_reach(factory, tote, place, placements, path)
    _check_standing_room(factory, station, place, path)


def _check_pullable(factory: Factory, tote: Tote, placements: dict[str, Placement], path: str) -> None:
    """Refuses a tote out of the hands' reach that cannot be pulled to the edge either."""
    place = placements[tote.name]
    station = factory.station(place.station)
    depth, reachable = _depths(station, tote, place)
    pullable = pullable_depth(station, tote.carrier, station.surface_height(place.shelf), place.pose[1])
    stands = f"{tote.name} stands {depth:.2f} m behind the front edge of {station.name}, out of the robot's reach"
    if depth > max(reachable, pullable) + TOLERANCE:
        _refuse(path, f"{stands}; allowed at most {max(reachable, pullable):.2f} m")
    obstacle = pull_obstacle(factory, tote.name, placements)
    if obstacle is not None:
        why = f"stands on {obstacle}" if place.on == obstacle else f"has {obstacle} in its way to the edge"
        _refuse(path, f"{stands}, and cannot be pulled nearer: it {why}; allowed at most {reachable:.2f} m")


def _depths(station: Station, tote: Tote, place: Placement) -> tuple[float, float]:
    """Metres that a tote's middle is behind the station's front edge, and that it may be."""
    deepest = reachable_depth(station, tote.carrier, station.surface_height(place.shelf), place.pose[1])
    return place.pose[0] - station.front_x, deepest


def _check_within_reach(
    factory: Factory, tote: Tote, place: Placement, placements: dict[str, Placement], path: str
) -> None:
    height = factory.station(place.station).surface_height(place.shelf)
    below = place.on
    while below is not None:
        height += factory.tote(below).carrier.stacking_height
        below = placements[below].on
    if height > MAX_SURFACE_HEIGHT + TOLERANCE:
        _refuse(
            path,
            f"{tote.name} would stand {height:.2f} m above the floor, out of the robot's reach; "
            f"allowed {MIN_SURFACE_HEIGHT:.2f} to {MAX_SURFACE_HEIGHT:.2f} m",
        )


def _check_standing_room(factory: Factory, station: Station, place: Placement, path: str) -> None:
    """Refuses a place in front of which the robot cannot stand."""
    x, y, _ = station.in_map((station.front_x - STANDING_DISTANCE, place.pose[1], 0.0))
    where = Point(x, y)
    if not _floor(factory).covers(where):
        _refuse(path, f"the robot cannot stand before {station.name}: [{x:.2f}, {y:.2f}] is off the floor")
    for other in factory.stations:
        if other.name != station.name and other.footprint.covers(where):
            _refuse(path, f"the robot cannot stand before {station.name}: {other.name} is in its way")
    for zone in factory.zones:
        if zone.kind == "keep_out" and zone.area.covers(where):
            _refuse(path, f"the robot cannot stand before {station.name}: keep-out zone {zone.name} is in its way")


def _check_order_onto(factory: Factory, order: Order, path: str, placements: dict[str, Placement]) -> None:
    if order.at is not None:
        _refuse(f"{path}.at", f"{list(order.at)}, but the tote goes `on` {order.on}; only one of both is allowed")
    _known(order.on, (tote.name for tote in factory.totes), f"{path}.on", "tote")
    if order.on == order.tote:
        _refuse(f"{path}.on", f"{order.on} cannot stand on itself")
    below = placements[order.on]
    if below.station != order.to:
        _refuse(f"{path}.on", f"{order.on} stands on {below.station} by then, not on {order.to}")
    if order.shelf is not None and order.shelf != below.shelf:
        _refuse(f"{path}.shelf", f"{order.shelf}, but {order.on} stands on shelf {below.shelf}; must be the same")
    above = next((name for name, place in placements.items() if place.on == order.on and name != order.tote), None)
    if above is not None:
        _refuse(f"{path}.on", f"{above} stands on {order.on} by then; allowed one tote on a tote")
    _check_sizes(factory.tote(order.tote), factory.tote(order.on), path)
    _check_standing_room(factory, factory.station(order.to), below, path)


def _check_order_at(factory: Factory, order: Order, path: str, placements: dict[str, Placement]) -> None:
    tote, station = factory.tote(order.tote), factory.station(order.to)
    pose = (*order.at, 0.0)
    if not fits_on(station, tote.carrier, pose):
        _refuse(
            f"{path}.at", f"{list(order.at)} does not fit {tote.name} wholly on {station.name}; {_room(station, tote)}"
        )
    shelf = order.shelf or 0
    depth, deepest = _depths(station, tote, Placement(station.name, shelf, pose))
    if depth > deepest + TOLERANCE:
        _refuse(
            f"{path}.at",
            f"{list(order.at)} is {depth:.2f} m behind the front edge of {station.name}, out of the robot's reach; "
            f"allowed x up to {station.front_x + deepest:.3f}",
        )
    footprint = tote_footprint(tote.carrier, pose)
    for name, place in placements.items():
        if name == tote.name or (place.station, place.shelf) != (station.name, shelf):
            continue
        if _rides(station):
            continue  # it will be elsewhere by then
        if tote_footprint(factory.tote(name).carrier, place.pose).intersection(footprint).area > OVERLAP_AREA:
            _refuse(f"{path}.at", f"{list(order.at)} is taken by {name} by then; allowed a free place")
    _check_standing_room(factory, station, Placement(station.name, shelf, pose), f"{path}.at")


def _rides(station: Station) -> bool:
    return getattr(station, "speed", 0.0) > 0.0
