"""Ways over the floor: around stations and people, never into a keep-out zone.

A* on a grid whose cells cost more the closer they are to an obstacle, then shortened by line of sight. The robot may stand
closer to a station than it may pass one, as it works there; a keep-out zone keeps its whole distance.
"""

from __future__ import annotations

import heapq
import math

import numpy as np
import shapely
from scipy.ndimage import distance_transform_edt

from humanoid_control.errors import OrderError
from humanoid_control.mission.factory import Factory

CELL = 0.06  # m
KEEP_OUT_DISTANCE = 0.35  # m from the base's middle to a zone: half a robot with its elbows, and the estimate's error
BODY_RADIUS = 0.30  # m: closer than this its elbows would touch
CARRYING_RADIUS = 0.50  # m: wrists beside a tote that is carried reach 0.45 m; the rest is for where stations are not quite as believed
COMFORT_RADIUS = 0.60  # m: from here on closeness costs
PERSON_RADIUS = 0.45  # m a person takes, arms and next step included
LARGEST_CELLS = 400_000


class FloorMap:
    """Where on the floor of a factory the robot can be.

    Attributes:
        factory: whose floor it is.
    """

    def __init__(self, factory: Factory) -> None:
        """Rasters the factory's stations and zones.

        Args:
            factory: the layout; only stations, zones and the floor's size are read.
        """
        self.factory = factory
        size = np.array(factory.floor.size)
        self._cell = max(CELL, math.sqrt(size[0] * size[1] / LARGEST_CELLS))
        counts = np.maximum(np.ceil(size / self._cell).astype(int), 3)
        self._origin = -0.5 * size
        xs = self._origin[0] + (np.arange(counts[0]) + 0.5) * self._cell
        ys = self._origin[1] + (np.arange(counts[1]) + 0.5) * self._cell
        self._x, self._y = np.meshgrid(xs, ys, indexing="ij")
        self._solid = np.zeros(counts, bool)
        for station in factory.stations:
            self._solid |= shapely.contains_xy(station.footprint, self._x, self._y)
        self._forbidden = np.zeros(counts, bool)
        self._slow = [zone.area for zone in factory.zones if zone.kind == "slow"]
        self._keep_out = [zone.area for zone in factory.zones if zone.kind == "keep_out"]
        for area in self._keep_out:
            self._forbidden |= shapely.contains_xy(area.buffer(KEEP_OUT_DISTANCE), self._x, self._y)
        edge = np.minimum(0.5 * size[0] - np.abs(self._x), 0.5 * size[1] - np.abs(self._y))
        self._forbidden |= edge < 0.15

    def is_slow(self, point: np.ndarray) -> bool:
        """Whether a point (2,) in `map` lies in or right before a slow zone."""
        return any(shapely.distance(area, shapely.Point(point)) < 0.4 for area in self._slow)

    def keep_out_distance(self, point: np.ndarray) -> float:
        """Distance in m of a point (2,) in `map` from the nearest keep-out zone."""
        return min((shapely.distance(area, shapely.Point(point)) for area in self._keep_out), default=math.inf)

    def _index(self, point: np.ndarray) -> tuple[int, int]:
        cell = np.floor((np.asarray(point) - self._origin) / self._cell).astype(int)
        return tuple(np.clip(cell, 0, np.array(self._solid.shape) - 1))

    def plan(self, start: np.ndarray, goal: np.ndarray, people: list[np.ndarray] | None = None, *, carrying: bool = False) -> list[np.ndarray]:
        """Corner points of the way from start to goal, the goal last.

        Args:
            start, goal: (2,) m in `map`.
            people: (2,) m each, where people stand now.
            carrying: whether the robot has a tote before it, and needs room for it where there is some.

        Raises:
            OrderError: if there is no way.
        """
        if carrying:
            try:
                return self._planned(start, goal, people, CARRYING_RADIUS)
            except OrderError:
                pass  # only a narrower one
        return self._planned(start, goal, people, BODY_RADIUS)

    def _planned(self, start: np.ndarray, goal: np.ndarray, people: list[np.ndarray] | None, radius: float) -> list[np.ndarray]:
        solid = self._solid
        if people:
            solid = solid.copy()
            for person in people:
                if np.linalg.norm(np.asarray(person) - start) > PERSON_RADIUS + 0.1:
                    solid |= (self._x - person[0]) ** 2 + (self._y - person[1]) ** 2 < (PERSON_RADIUS - BODY_RADIUS) ** 2
        distance = distance_transform_edt(~solid) * self._cell
        blocked = self._forbidden | (distance < radius)
        # Where the robot stands and where it shall work may be closer to things than a passage may be.
        for point in (start, goal):
            near = (self._x - point[0]) ** 2 + (self._y - point[1]) ** 2 < 0.35**2
            blocked &= ~near | self._forbidden | solid
        cost = 1.0 + 6.0 * np.clip((COMFORT_RADIUS - distance) / COMFORT_RADIUS, 0.0, 1.0) ** 2
        first, last = self._index(start), self._index(goal)
        blocked[first] = False
        if blocked[last]:
            raise OrderError(f"The place [{goal[0]:.2f}, {goal[1]:.2f}] lies in a keep-out zone or in a station; "
                             "the robot cannot stand there.")  # fmt: skip
        cells = _a_star(blocked, cost, first, last)
        if cells is None:
            raise OrderError(f"There is no way on the floor from [{start[0]:.2f}, {start[1]:.2f}] to "
                             f"[{goal[0]:.2f}, {goal[1]:.2f}] around stations, zones and people.")  # fmt: skip
        return self._shortened(cells, blocked, cost, np.asarray(goal, float))

    def _shortened(self, cells, blocked, cost, goal) -> list[np.ndarray]:
        """Leaves out corners where the straight line is free and hardly costs more."""
        along = np.concatenate([[0.0], np.cumsum([_edge_cost(cost, a, b) for a, b in zip(cells, cells[1:])])])
        points, here = [], 0
        while here < len(cells) - 1:
            there = here + 1
            low, high = here + 1, len(cells) - 1
            while low <= high:  # the furthest cell in sight, by bisection: sight is nearly monotonous along the way
                middle = (low + high) // 2
                if _line_cost(blocked, cost, cells[here], cells[middle]) <= 1.05 * (along[middle] - along[here]) + 1e-9:
                    there, low = middle, middle + 1
                else:
                    high = middle - 1
            here = there
            i, j = cells[here]
            points.append(np.array([self._x[i, j], self._y[i, j]]))
        return [*points[:-1], goal]


def _edge_cost(cost, a, b) -> float:
    return math.dist(a, b) * 0.5 * (cost[a] + cost[b])


def _line_cost(blocked, cost, a, b) -> float:
    """Cost of the straight line between two cells; infinite if it is blocked."""
    steps = max(abs(b[0] - a[0]), abs(b[1] - a[1]), 1) * 2
    i = np.round(np.linspace(a[0], b[0], steps + 1)).astype(int)
    j = np.round(np.linspace(a[1], b[1], steps + 1)).astype(int)
    if blocked[i, j].any():
        return math.inf
    return float(cost[i, j].mean()) * math.dist(a, b)


def _a_star(blocked, cost, first, last) -> list[tuple[int, int]] | None:
    best = {first: 0.0}
    parent: dict[tuple[int, int], tuple[int, int]] = {}
    queue = [(math.dist(first, last), first)]
    closed = set()
    moves = [(di, dj, math.hypot(di, dj)) for di in (-1, 0, 1) for dj in (-1, 0, 1) if di or dj]
    while queue:
        _, cell = heapq.heappop(queue)
        if cell == last:
            way = [cell]
            while way[-1] in parent:
                way.append(parent[way[-1]])
            return way[::-1]
        if cell in closed:
            continue
        closed.add(cell)
        i, j = cell
        for di, dj, length in moves:
            a, b = i + di, j + dj
            if not (0 <= a < blocked.shape[0] and 0 <= b < blocked.shape[1]) or blocked[a, b] or (a, b) in closed:
                continue
            value = best[cell] + length * 0.5 * (cost[cell] + cost[a, b])
            if value < best.get((a, b), math.inf):
                best[(a, b)] = value
                parent[(a, b)] = cell
                heapq.heappush(queue, (value + math.dist((a, b), last), (a, b)))
    return None
