"""Other floors of the same task: where stations stand, how high and large they are, what totes, where from and where to.

A task is a factory file: its orders, and what its stations are. `draw_layout` keeps these and draws the rest. What varies
from episode to episode on one floor is drawn afterwards, by `episode.draw_episode`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from shapely.geometry import Point, Polygon

from humanoid_control.errors import FactoryError, OrderError
from humanoid_control.mission.factory import Conveyor, Factory, Order, Rack, RobotPlace, Station, Table, Tote, rectangle, tote_footprint
from humanoid_control.mission.factory_checks import check_factory
from humanoid_control.mission.load_carriers import LOAD_CARRIERS, LoadCarrier
from humanoid_control.mission.path_planning import FloorMap
from humanoid_control.mission.placement import PULL_SLACK, initial_placements, is_to_be_pulled
from humanoid_control.mission.reach import PULL_HEIGHTS, is_comfortable, pullable_depth, reachable_depth
from humanoid_control.simulation.episode import stream

TRAINING, HELD_OUT = "training", "held_out"
SPLITS = (TRAINING, HELD_OUT)
DRAWS = 100  # of a whole layout, before there is none
POSES_DRAWS, PART_DRAWS = 200, 40  # of all stations' poses, of a place or the start, before the whole is drawn again

# Sizes and heights in m that stations are drawn from, by kind: within what is handled with ease.
SIZES = {"table": ((0.50, 0.70), (1.0, 1.6)), "conveyor": ((0.45, 0.55), (1.4, 2.0)), "rack": ((0.42, 0.50), (1.2, 1.5))}
HEIGHTS = {"table": (0.60, 0.80), "conveyor": (0.60, 0.76)}
LOWEST_SHELF, SHELF_STEP = (0.45, 0.50), (0.36, 0.41)
DEEP = (0.60, 0.70)  # m, of a station on which a tote is to be pulled from the back
WORKPLACE_RADIUS = 1.5  # m from the floor's middle to where the robot works before a station
WORKPLACE = (1.1, 0.65)  # m before a front edge and to each side of a place that are kept free of other stations and of keep-out zones
STANDING = 0.45  # m from the robot to a front edge, about
PASSAGE = 1.2  # m between stations: wide enough to pass and to turn with a tote
START_RADIUS, START_ROOM = 1.2, 0.6  # m, of the start from the floor's middle, and free around it
GAP_BEHIND_EDGE = (0.04, 0.10)  # m from a front edge to a tote that is taken or set down
PULL_MARGIN = 0.02  # m that a tote at the back is off what can be pulled at most
BESIDE_TOTE = 0.30  # m between totes, for the hands
LARGE_SHARE = 0.25  # of layouts that have the larger load carrier
SPARE_OFF_WALL = 0.7  # m, of its middle from the floor's edge
SPARE_STATIONS, SPARE_TOTES = 2, 2  # at most, of which no order speaks


class _Impossible(Exception):
    """This draw leads nowhere."""


def draw_layout(factory: Factory, seed: int, *, split: str = TRAINING) -> Factory:
    """Returns the layout that `seed` makes of `factory`: another floor on which its orders are the same task.

    Drawn are poses, sizes and heights of stations, the kind of tote, where totes stand and are brought to, where the robot
    starts, and stations and totes of which no order speaks. Kept are the orders (which tote, to which station, shelf and
    tote), what kinds of stations there are, stacks, that a tote is to be pulled from the back, belts' speeds, zones, people,
    and `randomise`. What `check_factory` or the path planner refuses is drawn again.

    Args:
        factory: the task, as loaded.
        seed: 0 or more.
        split: `training` or `held_out`. They draw from different streams of random numbers, and poses from continuous
            ranges, so that no layout is in both.

    Raises:
        ValueError: `seed` is negative, or `split` is unknown.
        FactoryError: no possible layout was found.
    """
    if seed < 0:
        raise ValueError(f"seed must be 0 or more; got {seed}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    random = stream(seed, f"layout/{split}")
    for _ in range(DRAWS):
        try:
            layout = _Draw(factory, random).layout()
            check_factory(layout)
            _check_ways(layout)
        except (_Impossible, FactoryError, OrderError):
            continue
        return layout
    raise FactoryError(f"{factory.name}: no layout with room for all stations and orders was found in {DRAWS} draws "
                       f"(seed {seed}); a larger floor or fewer stations may help")  # fmt: skip


def _check_ways(layout: Factory) -> None:
    """Raises `OrderError` if the robot cannot walk to where it works."""
    floor, here = FloorMap(layout), np.array(layout.robot.start[:2])
    for order in layout.orders:
        for station in (layout.tote_station(order.tote), layout.station(order.to)):
            there = np.array(station.in_map((station.front_x - WORKPLACE[0] + 0.3, 0.0, 0.0))[:2])
            floor.plan(here, there)
            here = there


class _Draw:
    """One try."""

    def __init__(self, factory: Factory, random: np.random.Generator) -> None:
        self._factory, self._random = factory, random
        placements = initial_placements(factory)
        ordered = {order.tote for order in factory.orders}
        self._pulled = {name for name in ordered if is_to_be_pulled(factory, name, placements)}
        self._used = {factory.tote_station(name).name for name in ordered} | {order.to for order in factory.orders}
        kind = "klt_4147" if random.uniform() < LARGE_SHARE else "klt_3147"
        self._totes = {tote.name: _of_kind(tote, kind) for tote in factory.totes}
        self._taken: dict[tuple[str, int], list[Polygon]] = {}  # by station and shelf, in the station's frame

    def layout(self) -> Factory:
        spare = int(self._random.integers(SPARE_STATIONS + 1))
        stations = [self._resized(station) for station in self._factory.stations]
        stations += [self._resized(self._spare_station(index)) for index in range(spare)]
        stations = {station.name: station for station in stations}
        totes = {tote.name: self._placed(tote, stations) for tote in self._totes.values()}
        orders = tuple(self._addressed(order, stations) for order in self._factory.orders)
        totes |= {tote.name: tote for tote in self._spare_totes(stations)}
        work = self._workplaces(stations, totes, orders)
        placed = self._until_possible(lambda: self._arranged(stations, work), draws=POSES_DRAWS)
        return self._factory.model_copy(update={
            "stations": tuple(placed), "totes": tuple(totes.values()), "orders": orders,
            "robot": RobotPlace(start=self._until_possible(lambda: self._start(placed))),
        })  # fmt: skip

    def _until_possible(self, draw: Callable[[], Any], *, draws: int = PART_DRAWS) -> Any:
        for _ in range(draws):
            try:
                return draw()
            except _Impossible:
                pass
        raise _Impossible

    def _uniform(self, bounds: tuple[float, float]) -> float:
        return round(float(self._random.uniform(*bounds)), 4)

    # --- stations -----------------------------------------------------------------------------------------------------

    def _resized(self, station: Station) -> Station:
        pulled = any(self._factory.tote_station(name).name == station.name for name in self._pulled)
        depths, widths = SIZES[station.kind]
        update = {"size": (self._uniform(DEEP if pulled else depths), self._uniform(widths))}
        if isinstance(station, Rack):
            lowest = self._uniform(LOWEST_SHELF)
            steps = [self._uniform(SHELF_STEP) for _ in station.shelves[1:]]
            update["shelves"] = tuple(round(float(height), 4) for height in lowest + np.cumsum([0.0, *steps]))
        else:
            low, high = HEIGHTS[station.kind]
            update["height"] = self._uniform((max(low, PULL_HEIGHTS[0] + PULL_MARGIN), high) if pulled else (low, high))
        return station.model_copy(update=update)

    def _spare_station(self, index: int) -> Station:
        kind = (Table, Rack, Conveyor)[self._random.integers(3)]
        what = {Table: {"kind": "table", "height": 0.7}, Rack: {"kind": "rack", "shelves": (0.45, 0.85)},
                Conveyor: {"kind": "conveyor", "height": 0.7, "speed": 0.0}}[kind]  # fmt: skip
        return kind(name=f"spare_{index}", pose=(0.0, 0.0, 0.0), size=(0.5, 1.2), **what)

    def _workplaces(self, stations: dict[str, Station], totes: dict[str, Tote], orders: tuple[Order, ...]) -> dict[str, list[float]]:
        """By station, where along its front the robot works, in m to the left of its middle."""
        work: dict[str, list[float]] = {name: [] for name in stations}
        bases = {name: self._factory.base_of(name).name for name in self._totes}
        for order in orders:
            base = totes[bases[order.tote]]
            work[base.station].append(base.at[1])
            goal = order.at if order.at is not None else totes[bases[order.on]].at if order.on is not None else (0.0, 0.0)
            work[order.to].append(goal[1])
        return work

    def _arranged(self, stations: dict[str, Station], work: dict[str, list[float]]) -> list[Station]:
        """All stations with poses: apart from each other, and off where the robot works, which is in no keep-out zone."""
        placed: list[Station] = []
        areas: list[tuple[str, Polygon]] = []
        for name, station in stations.items():
            if name in self._used:
                x, y = self._in_disc(WORKPLACE_RADIUS)
                yaw = self._uniform((-math.pi, math.pi))
                ahead = STANDING + 0.5 * station.size[0]
                pose = (x + ahead * math.cos(yaw), y + ahead * math.sin(yaw), yaw)
            else:
                half = np.array(self._factory.floor.size) / 2 - SPARE_OFF_WALL
                pose = (self._uniform((-half[0], half[0])), self._uniform((-half[1], half[1])), self._uniform((-math.pi, math.pi)))
            station = station.model_copy(update={"pose": tuple(round(value, 4) for value in pose)})
            if any(station.footprint.distance(other.footprint) < PASSAGE for other in placed):
                raise _Impossible
            ahead, aside = WORKPLACE
            for y in work[name]:
                middle = station.in_map((station.front_x - 0.5 * ahead, y, 0.0))
                areas.append((name, rectangle(middle, (ahead, 2 * aside))))
            placed.append(station)
        if any(station.name != name and station.footprint.intersects(area) for name, area in areas for station in placed):
            raise _Impossible
        if any(zone.kind == "keep_out" and zone.area.intersects(area) for zone in self._factory.zones for _, area in areas):
            raise _Impossible
        half_x, half_y = np.array(self._factory.floor.size) / 2
        if any(abs(x) > half_x or abs(y) > half_y for _, area in areas for x, y in area.exterior.coords):
            raise _Impossible
        return placed

    def _in_disc(self, radius: float) -> tuple[float, float]:
        distance, angle = radius * math.sqrt(self._random.uniform()), self._random.uniform(-math.pi, math.pi)
        return distance * math.cos(angle), distance * math.sin(angle)

    def _start(self, placed: list[Station]) -> tuple[float, float, float]:
        x, y = self._in_disc(START_RADIUS)
        if any(station.footprint.distance(Point(x, y)) < START_ROOM for station in placed):
            raise _Impossible
        return round(x, 4), round(y, 4), self._uniform((-math.pi, math.pi))

    # --- totes and places ---------------------------------------------------------------------------------------------

    def _placed(self, tote: Tote, stations: dict[str, Station]) -> Tote:
        if tote.on is not None:
            return tote
        pulled = any(self._factory.base_of(name).name == tote.name for name in self._pulled)
        station, shelf = stations[tote.station], tote.shelf or 0
        varies = self._factory.randomise.tote_pose
        x, y = self._until_possible(lambda: self._place(station, shelf, tote.carrier, pulled=pulled, varies=varies))
        return tote.model_copy(update={"at": (x, y, 0.0)})

    def _addressed(self, order: Order, stations: dict[str, Station]) -> Order:
        if order.at is None:
            return order
        station, carrier = stations[order.to], self._totes[order.tote].carrier
        return order.model_copy(update={"at": self._until_possible(lambda: self._place(station, order.shelf or 0, carrier))})

    def _place(
        self, station: Station, shelf: int, carrier: LoadCarrier, *, pulled: bool = False, varies: tuple[float, ...] | None = None
    ) -> tuple[float, float]:
        """A place (x, y) in m in the station's frame, with room for hands beside it; takes it.

        Args:
            station, shelf: where.
            carrier: of the tote.
            pulled: it is to be pulled from there.
            varies: how far off an episode may have it, (x, y, ...) in m; all of that is handled with ease.
        """
        half = 0.5 * station.size[1] - 0.5 * carrier.length - 0.5 * BESIDE_TOTE
        if half < 0.0:
            raise _Impossible
        y = self._uniform((-half, half))
        bottom = station.surface_height(shelf)
        if pulled:
            nearest = reachable_depth(station, carrier, bottom, y)
            deepest = min(pullable_depth(station, carrier, bottom, y) - PULL_MARGIN, station.size[0] - 0.5 * carrier.width)
            if deepest < nearest:
                raise _Impossible
            x = station.front_x + self._uniform((nearest, deepest))
        else:
            x = station.front_x + 0.5 * carrier.width + self._uniform(GAP_BEHIND_EDGE)
            off_x, off_y = varies[:2] if varies else (0.0, 0.0)
            if pullable_depth(station, carrier, bottom, y) > 0.0:
                off_x += PULL_SLACK  # from there on it would be pulled
            if not all(is_comfortable(station, carrier, bottom, (x + off_x, y + sign * off_y)) for sign in (-1, 1)):
                raise _Impossible
        footprint, taken = tote_footprint(carrier, (x, y, 0.0)), self._taken.setdefault((station.name, shelf), [])
        if any(footprint.distance(other) < BESIDE_TOTE for other in taken):
            raise _Impossible
        taken.append(footprint)
        return round(x, 4), y

    def _spare_totes(self, stations: dict[str, Station]) -> list[Tote]:
        totes = []
        for index in range(int(self._random.integers(SPARE_TOTES + 1))):
            station = list(stations.values())[self._random.integers(len(stations))]
            if isinstance(station, Conveyor) and station.speed > 0.0:
                continue
            kind = list(LOAD_CARRIERS)[self._random.integers(len(LOAD_CARRIERS))]
            shelf = int(self._random.integers(len(station.surfaces)))
            try:
                x, y = self._until_possible(lambda: self._place(station, shelf, LOAD_CARRIERS[kind]))
            except _Impossible:
                continue  # no room: one less
            totes.append(Tote(
                name=f"other_{index}", kind=kind, station=station.name, shelf=shelf if isinstance(station, Rack) else None,
                at=(x, y, 0.0), mass=LOAD_CARRIERS[kind].empty_mass + 0.5,
                colour=tuple(round(float(x), 3) for x in self._random.uniform(0.1, 0.9, 3)),
            ))  # fmt: skip
        return totes


def _of_kind(tote: Tote, kind: str) -> Tote:
    return tote.model_copy(update={"kind": kind, "mass": max(tote.mass, LOAD_CARRIERS[kind].empty_mass)})
