"""Random orders that can be carried out, and a look at memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from humanoid_control.errors import ConfigurationError
from humanoid_control.mission.factory import load_factory, tote_footprint
from humanoid_control.mission.factory_checks import check_factory
from humanoid_control.mission.placement import Placement, initial_placements
from policies.evaluation.soak import draw_orders, memory_trend, resident_mib

FACTORIES = Path(__file__).resolve().parents[3] / "config" / "factories"


@pytest.mark.parametrize("name", ["line_side", "racks", "klt_4147", "stacks"])
def test_random_orders_can_be_carried_out_one_after_the_other(name):
    factory = load_factory(FACTORIES / f"{name}.yaml")
    orders = draw_orders(factory, 40, seed=1)
    assert len(orders) == 40
    check_factory(factory.model_copy(update={"orders": orders}))  # follows where each leaves its tote
    placements = initial_placements(factory)
    for order in orders:
        assert order.tote not in {place.on for place in placements.values()}, "something stands on it"
        placements[order.tote] = Placement(order.to, order.shelf or 0, (*order.at, 0.0))
        here = [n for n, p in placements.items() if n != order.tote and (p.station, p.shelf) == (order.to, order.shelf or 0)]
        footprint = tote_footprint(factory.tote(order.tote).carrier, placements[order.tote].pose)
        assert all(footprint.distance(tote_footprint(factory.tote(n).carrier, placements[n].pose)) > 0.05 for n in here)


def test_orders_depend_on_the_seed_alone():
    factory = load_factory(FACTORIES / "line_side.yaml")
    assert draw_orders(factory, 10, seed=1) == draw_orders(factory, 10, seed=1) != draw_orders(factory, 10, seed=2)
    assert draw_orders(factory, 20, seed=1)[:10] == draw_orders(factory, 10, seed=1)


def test_a_factory_without_a_second_place_is_refused():
    factory = load_factory(FACTORIES / "line_side.yaml")
    cramped = factory.model_copy(update={"stations": factory.stations[:1]})
    with pytest.raises(ConfigurationError, match="no tote has a free place"):
        draw_orders(cramped, 1, seed=0)


def test_memory_that_grows_is_seen_as_a_slope():
    rows = [{"simulated_s": 36.0 * k, "rss_mib": 300.0 + 0.5 * k} for k in range(100)]
    assert memory_trend(rows) == {"start": 301.0, "end": 349.5, "slope_per_hour": 50.0}
    assert memory_trend(rows[:2])["slope_per_hour"] is None
    assert 10 < resident_mib() < 100_000
