"""Hours of random orders in one go: does memory stay flat, and the estimate good enough?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from humanoid_control.errors import ConfigurationError, FactoryError
from humanoid_control.mission.factory import Conveyor, Factory, Order
from humanoid_control.mission.factory_checks import check_factory
from humanoid_control.mission.placement import (
    COMFORTABLE_GAP,
    Placement,
    footprints_on,
    initial_placements,
    tote_footprint,
)  # fmt: skip
from humanoid_control.mission.reach import is_comfortable
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.episode import stream
from humanoid_control.transforms import from_pose, inverse
from policies.evaluation.campaign import Campaign, make_campaign_policy
from policies.evaluation.episode_record import record_episode

SHORTEST_ORDER_S = 12.0  # no order is carried out faster: so many must be at hand
DRAWS = 400  # of a place, before there is none
WARM_UP_ORDERS = 2  # before memory is measured: caches fill
EDGE = 0.02  # m that a drawn place keeps from a station's edges, for what is missed when setting down


def draw_orders(factory: Factory, count: int, seed: int) -> tuple[Order, ...]:
    """Random orders that can be carried out one after the other: any tote to any free place within easy reach.

    Running belts are left out: what rides on them is not where it was put.

    Args:
        factory: as loaded.
        count: how many.
        seed: of the draw.

    Raises:
        ConfigurationError: if there is nowhere to bring any tote.
    """
    random = stream(seed, "soak/orders")
    placements = initial_placements(factory)
    orders = []
    while len(orders) < count:
        drawn = _draw_order(factory, placements, random)
        if drawn is None:
            raise ConfigurationError(f"{factory.name}: no tote has a free place to go to after {len(orders)} random orders; "
                                     "--hours needs a factory with more room.")  # fmt: skip
        order, placements[order.tote] = drawn
        orders.append(order)
    return tuple(orders)


def _draw_order(factory: Factory, placements: dict[str, Placement], random) -> tuple[Order, Placement] | None:
    stations = [s for s in factory.stations if not (isinstance(s, Conveyor) and s.speed > 0)]
    covered = {place.on for place in placements.values()}
    free = [t for t in factory.totes if t.name not in covered and placements[t.name].station in {s.name for s in stations}]
    if not free or not stations:
        return None
    for _ in range(DRAWS):
        tote, station = free[random.integers(len(free))], stations[random.integers(len(stations))]
        shelf = int(random.integers(len(station.surfaces)))
        half = np.array(station.size) / 2 - np.array([tote.carrier.width, tote.carrier.length]) / 2 - EDGE
        if (half < 0).any():
            continue
        at = random.uniform(-half, half).round(3)
        place = Placement(station.name, shelf, (float(at[0]), float(at[1]), 0.0))
        footprint = tote_footprint(tote.carrier, place.pose)
        others = footprints_on(factory, station.name, shelf, placements, without=tote.name)
        was = placements[tote.name]
        if not is_comfortable(station, tote.carrier, station.surface_height(shelf), place.pose[:2]):
            continue
        if (was.station, was.shelf) == (station.name, shelf):
            continue
        if any(footprint.distance(other) < COMFORTABLE_GAP for other in others):
            continue
        order = Order(tote=tote.name, to=station.name, at=place.pose[:2], **({"shelf": shelf} if len(station.surfaces) > 1 else {}))
        if _is_possible(factory, placements, order):
            return order, place
    return None


def _is_possible(factory: Factory, placements: dict[str, Placement], order: Order) -> bool:
    """Whether the factory, with its totes where they are by now and this order alone, is one that can be."""
    totes = []
    for tote in factory.totes:
        place = placements[tote.name]
        where = {"station": place.station, "shelf": place.shelf, "at": place.pose, "on": None} if place.on is None else {
            "station": None, "shelf": None, "at": None, "on": place.on}  # fmt: skip
        if place.on is None and len(factory.station(place.station).surfaces) == 1:
            where["shelf"] = None
        totes.append(tote.model_copy(update=where))
    try:
        check_factory(factory.model_copy(update={"totes": tuple(totes), "orders": (order,)}))
    except FactoryError:
        return False
    return True


class TimeIsUp(Exception):
    """Ends an episode that has gone on for long enough."""


class SoakWatch:
    """Notes each order's end, drift and memory, and ends the episode when its time is up. A listener for `run_episode`.

    Attributes:
        rows: one dict per order done.
        walked_m: way of the base so far.
    """

    def __init__(self, end_s: float, send: Callable[[dict], None], *, before_s: float) -> None:
        """Starts to watch.

        Args:
            end_s: robot time at which to end.
            send: told of each order done.
            before_s: robot time of earlier episodes.
        """
        self.rows: list[dict] = []
        self.walked_m = 0.0
        self._end_s, self._send, self._before_s = end_s, send, before_s
        self._start: tuple[np.ndarray, np.ndarray] | None = None
        self._last: np.ndarray | None = None
        self._noted = False

    def __call__(self, floor, loop, output) -> None:
        """See `run_episode`."""
        data = floor.robot.data
        if output is None:
            return
        if self._start is None:
            self._start = floor.robot.true_base_pose(), _estimated(loop)
            self._last = data.qpos[:2].copy()
        step = float(np.linalg.norm(data.qpos[:2] - self._last))
        if step > 0.01:
            self.walked_m += step
            self._last = data.qpos[:2].copy()
        if floor.verdict is not None and floor.verdict.done and not self._noted:
            truth, estimate = (inverse(self._start[0]) @ floor.robot.true_base_pose(), inverse(self._start[1]) @ _estimated(loop))
            row = {
                "simulated_s": round(self._before_s + float(data.time), 3),
                "time_s": round(floor.verdict.time_s, 3),
                "walked_m": round(self.walked_m, 3),
                "drift_m": round(float(np.linalg.norm(truth[:2, 3] - estimate[:2, 3])), 4),
                "rss_mib": round(resident_mib(), 2),
            }
            self.rows.append(row)
            self._send(row)
        self._noted = floor.verdict is not None
        if data.time >= self._end_s:
            raise TimeIsUp


def _estimated(loop) -> np.ndarray:
    estimate = loop.estimate()
    return from_pose(np.concatenate([estimate.position, estimate.orientation]))


def resident_mib() -> float:
    """Memory of this process that is in use, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def make_soak_worker(campaign: Campaign, hours: float) -> Callable[..., dict]:
    """The function that soaks from a seed on, for `run_jobs`; it sends a row for each order done."""
    factory = campaign.check()
    model = RobotModel.load()

    def carry_out(seed: int, send: Callable[[dict], None]) -> dict:
        left, begun, rows, failures, walked = 3600.0 * hours, 0.0, [], [], 0.0
        episode = seed
        while left > 0:
            orders = draw_orders(factory, int(left / SHORTEST_ORDER_S) + 1, episode)
            watch = SoakWatch(left, send, before_s=begun)
            busy = factory.model_copy(update={"orders": orders})
            try:
                record = record_episode(model, busy, episode, policy=make_campaign_policy(campaign, model), poses=campaign.poses,
                                        listeners=(watch,))  # fmt: skip
            except TimeIsUp:
                record, lasted = None, left
            else:
                lasted = max(record["simulated_s"], 1.0)
            rows += watch.rows
            walked += watch.walked_m
            if record is not None:
                failures += [{"seed": episode, "simulated_s": begun + record["simulated_s"], **order}
                             for order in record["orders"] if not order["done"]]  # fmt: skip
            begun, left, episode = begun + lasted, left - lasted, episode + 1
        return {"rows": rows, "failures": failures, "walked_m": round(walked, 3), "simulated_s": round(begun, 3),
                "episodes": episode - seed}  # fmt: skip

    return carry_out


def memory_trend(rows: list[dict]) -> dict[str, float | None]:
    """Memory in MiB at the start (caches filled) and end, and its slope by least squares in MiB per simulated hour."""
    measured = rows[WARM_UP_ORDERS:]
    if len(measured) < 2:
        return {"start": None, "end": None, "slope_per_hour": None}
    hours = np.array([row["simulated_s"] for row in measured]) / 3600.0
    memory = np.array([row["rss_mib"] for row in measured])
    slope = float(np.polyfit(hours - hours[0], memory, 1)[0])
    return {"start": float(memory[0]), "end": float(memory[-1]), "slope_per_hour": round(slope, 2)}
