"""Ways over the floor: they keep off zones, stations and people, find a way where there is one, and are short."""

from __future__ import annotations

import heapq
import itertools
import math

import numpy as np
import pytest
from shapely.geometry import LineString, Point, Polygon
from shapely.ops import unary_union

from humanoid_control.errors import OrderError
from humanoid_control.mission.factory import Factory, parse_factory
from humanoid_control.mission.path_planning import BODY_RADIUS, CARRYING_RADIUS, CELL, KEEP_OUT_DISTANCE, FloorMap

BASE = """
version: 1
name: floor
floor: {size: [8.0, 8.0], friction: 0.9}
robot: {start: [-3.4, -3.0, 0.0]}
stations:
  - {name: infeed, kind: table, pose: [-3.3, 3.4, 1.5708], size: [0.5, 1.0], height: 0.70}
  - {name: outfeed, kind: table, pose: [3.3, 3.4, 1.5708], size: [0.5, 1.0], height: 0.70}
totes:
  - {name: t1, kind: klt_3147, station: infeed, at: [-0.08, 0.0, 0.0], mass: 1.5, colour: [0.1, 0.3, 0.8]}
orders:
  - {tote: t1, to: outfeed}
"""


def floor_with(*zones: tuple[str, list], stations: str = "") -> Factory:
    rows = "".join(f"  - {{name: z{i}, kind: {kind}, polygon: {polygon}}}\n" for i, (kind, polygon) in enumerate(zones))
    text = BASE.replace("totes:", f"{stations}totes:") + (f"zones:\n{rows}" if rows else "")
    return parse_factory(text)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def way(floor: FloorMap, start, goal, people=None) -> LineString:
    corners = floor.plan(np.array(start), np.array(goal), people)
    return LineString([start, *[tuple(c) for c in corners]])


MAZE = floor_with(
    ("keep_out", rectangle(-2.0, -3.9, -1.2, 1.0)),
    ("keep_out", rectangle(0.2, -1.5, 1.0, 2.4)),
    ("keep_out", [[1.8, -3.0], [3.2, -2.2], [2.2, -0.6]]),
    stations="  - {name: post, kind: table, pose: [-0.4, -2.4, 0.4], size: [0.6, 0.9], height: 0.7}\n",
)


def places(factory: Factory, count: int, seed: int) -> list[tuple[float, float]]:
    """Where the robot may stand with ease."""
    taken = unary_union([z.area.buffer(KEEP_OUT_DISTANCE + 2 * CELL) for z in factory.zones]
                        + [s.footprint.buffer(BODY_RADIUS + 2 * CELL) for s in factory.stations])  # fmt: skip
    random = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        point = tuple(random.uniform(-3.6, 3.6, 2))
        if not taken.covers(Point(point)):
            found.append(point)
    return found


def test_ways_never_come_near_a_keep_out_zone_or_through_a_station():
    floor, spots = FloorMap(MAZE), places(MAZE, 24, 1)
    for start, goal in zip(spots[::2], spots[1::2]):
        line = way(floor, start, goal)
        assert line.coords[-1] == pytest.approx(goal)
        for zone in MAZE.zones:
            assert line.distance(zone.area) > KEEP_OUT_DISTANCE - CELL
        for station in MAZE.stations:
            assert line.distance(station.footprint) > BODY_RADIUS - CELL


def shortest(obstacles: list[Polygon], start, goal) -> float:
    """Length of the shortest way around polygons, by their corners (visibility graph, Dijkstra)."""
    blocked = unary_union(obstacles)
    shrunk = blocked.buffer(-1e-6)
    nodes = [start, goal, *itertools.chain.from_iterable(p.exterior.coords[:-1] for p in obstacles)]
    nodes = [n for n in nodes if not shrunk.contains(Point(n)) and max(map(abs, n)) < 3.85]  # on the floor
    best, queue = {0: 0.0}, [(0.0, 0)]
    while queue:
        length, index = heapq.heappop(queue)
        if index == 1:
            return length
        if length > best[index]:
            continue
        for other, node in enumerate(nodes):
            longer = length + math.dist(nodes[index], node)
            if longer < best.get(other, math.inf) and not LineString([nodes[index], node]).intersects(shrunk):
                best[other] = longer
                heapq.heappush(queue, (longer, other))
    raise AssertionError("no way")


@pytest.mark.parametrize("goal", [(2.5, -3.0), (3.4, 0.0), (0.0, 1.5)])
def test_ways_around_zones_are_hardly_longer_than_the_shortest(goal):
    factory = floor_with(("keep_out", rectangle(-1.0, -3.9, -0.4, 0.6)), ("keep_out", rectangle(1.2, -2.0, 1.8, 3.0)))
    start = (-3.0, -2.5)
    line = way(FloorMap(factory), start, goal)
    exact = shortest([z.area.buffer(KEEP_OUT_DISTANCE, quad_segs=4) for z in factory.zones], start, goal)
    assert exact - 2 * CELL < line.length < 1.06 * exact + 2 * CELL


def test_a_free_way_is_straight():
    line = way(FloorMap(floor_with()), (-2.0, -2.0), (2.0, 1.0))
    assert line.length == pytest.approx(5.0, rel=0.01)


def test_who_carries_keeps_farther_off_a_corner_where_there_is_room():
    table = "  - {name: t, kind: table, pose: [0.0, 0.0, 0.0], size: [1.0, 1.4], height: 0.7}\n"
    factory, start, goal = floor_with(stations=table), np.array([-0.9, -0.9]), np.array([-0.9, 1.5])
    corner = factory.station("t").footprint
    off = {carrying: LineString([start, *FloorMap(factory).plan(start, goal, carrying=carrying)]).distance(corner) for carrying in (False, True)}
    assert off[True] > CARRYING_RADIUS - CELL > BODY_RADIUS
    assert off[True] >= off[False] - 1e-9


def test_who_carries_goes_through_a_narrow_place_where_there_is_no_other_way():
    width = 2 * 0.36
    walls = [f"  - {{name: w{k}, kind: table, pose: [{x}, 0.0, 0.0], size: [{size}, 0.5], height: 0.7}}\n"
             for k, (x, size) in enumerate(((-(4.0 + width / 2) / 2, 4.0 - width / 2), ((4.0 + width / 2) / 2, 4.0 - width / 2)))]  # fmt: skip
    floor = FloorMap(floor_with(stations="".join(walls)))
    points = floor.plan(np.array([0.0, -2.0]), np.array([0.0, 2.0]), carrying=True)
    assert points[-1] == pytest.approx([0.0, 2.0])


def test_a_person_in_the_way_is_walked_around():
    floor, person = FloorMap(floor_with()), np.array([0.0, -2.0])
    assert way(floor, (-2.0, -2.0), (2.0, -2.0)).distance(Point(person)) < 0.05
    around = way(floor, (-2.0, -2.0), (2.0, -2.0), [person])
    assert around.distance(Point(person)) > 0.4
    assert around.length < 5.0


def test_the_robot_may_work_close_to_a_station():
    floor = FloorMap(floor_with())
    station = floor.factory.station("infeed")
    stance = station.in_map((station.front_x - 0.20, 0.0, 0.0))[:2]
    line = way(floor, (0.0, 0.0), stance)
    assert line.coords[-1] == pytest.approx(stance)
    assert not line.intersects(station.footprint)


def test_impossible_ways_are_refused_with_the_reason():
    ring = [("keep_out", rectangle(*r)) for r in ((-1, -1, 1, -0.8), (-1, 0.8, 1, 1), (-1, -0.8, -0.8, 0.8), (0.8, -0.8, 1, 0.8))]
    floor = FloorMap(floor_with(*ring))
    with pytest.raises(OrderError, match="no way"):
        floor.plan(np.array([-3.0, -2.5]), np.array([0.0, 0.0]))
    with pytest.raises(OrderError, match="cannot stand there"):
        floor.plan(np.array([-3.0, -2.5]), np.array([0.9, 0.0]))
    with pytest.raises(OrderError, match="cannot stand there"):
        floor.plan(np.array([-3.0, -2.5]), np.array([3.3, 3.4]))


def test_slow_zones_are_crossed_and_known():
    floor = FloorMap(floor_with(("slow", rectangle(-1.0, -3.9, 1.0, 3.0))))
    assert way(floor, (-3.0, -2.0), (3.0, -2.0)).length == pytest.approx(6.0, rel=0.01)
    assert floor.is_slow(np.array([0.0, 0.0])) and not floor.is_slow(np.array([2.0, 0.0]))
    assert floor.keep_out_distance(np.array([0.0, 0.0])) == math.inf


def test_the_same_question_has_the_same_answer():
    start, goal = places(MAZE, 2, 5)
    assert way(FloorMap(MAZE), start, goal).equals(way(FloorMap(MAZE), start, goal))


def test_a_large_floor_is_planned_in_time():
    """A hall of 60 by 60 m is no reason to wait."""
    import time

    text = BASE.replace("[8.0, 8.0]", "[60.0, 60.0]")
    floor = FloorMap(parse_factory(text))
    began = time.process_time()
    line = way(floor, (-28.0, -28.0), (28.0, 28.0))
    assert line.length == pytest.approx(math.dist((-28, -28), (28, 28)), rel=0.03)
    assert time.process_time() - began < 15.0
