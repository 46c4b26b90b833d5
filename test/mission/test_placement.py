"""Which totes are pulled to the edge before they are gripped, and what keeps them from it."""

from __future__ import annotations

import math

import pytest

from humanoid_control.mission.factory import Table
from humanoid_control.mission.factory import parse_factory
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.mission.placement import initial_placements, is_to_be_pulled, pull_obstacle, way_to_edge

CARRIER = LOAD_CARRIERS["klt_3147"]


def factory(far_x: float, *more_totes: str):
    """A deep table with tote `far` at x, in m in its frame, and more; no order, so that everything is allowed."""
    lines = "\n".join(f"  - {{{tote}, kind: klt_3147, mass: 1.0, colour: [0, 0, 1]}}" for tote in (
        f"name: far, station: deep, at: [{far_x}, 0.0, 0.0]", *more_totes))  # fmt: skip
    return parse_factory(f"""
version: 1
name: deep
floor: {{size: [6.0, 6.0], friction: 0.9}}
robot: {{start: [0.0, 0.0, 0.0]}}
stations:
  - {{name: deep, kind: table, pose: [1.2, 0.0, 0.0], size: [0.8, 1.4], height: 0.75}}
totes:
{lines}
orders: []
""")


@pytest.mark.parametrize("x, pulled", [(-0.25, False), (-0.16, False), (-0.12, True), (0.0, True), (0.08, True), (0.25, False)])
def test_a_tote_is_pulled_where_it_is_neither_near_nor_out_of_reach(x, pulled):
    floor = factory(x)
    assert is_to_be_pulled(floor, "far", initial_placements(floor)) == pulled


@pytest.mark.parametrize("tote, obstacle", [
    ("name: near, station: deep, at: [-0.25, 0.0, 0.0]", "near"),
    ("name: near, station: deep, at: [-0.25, 0.29, 0.0]", "near"),
    ("name: beside, station: deep, at: [-0.25, 0.40, 0.0]", None),
    ("name: behind, station: deep, at: [0.29, 0.0, 0.0]", None),
])  # fmt: skip
def test_what_is_in_front_of_it_is_in_its_way(tote, obstacle):
    floor = factory(0.05, tote)
    placements = initial_placements(floor)
    assert pull_obstacle(floor, "far", placements) == obstacle
    assert is_to_be_pulled(floor, "far", placements) == (obstacle is None)


def test_a_tote_on_another_is_not_pulled():
    floor = factory(0.05, "name: upper, on: far")
    placements = initial_placements(floor)
    assert pull_obstacle(floor, "upper", placements) == "far"
    assert not is_to_be_pulled(floor, "upper", placements)


@pytest.mark.parametrize("yaw", [0.0, 0.2, math.pi, math.pi - 0.2])
def test_the_way_leads_to_the_front_edge_along_the_totes_short_side(yaw):
    station = Table(name="deep", kind="table", pose=(0.0, 0.0, 0.0), size=(0.8, 1.4), height=0.75)
    way = way_to_edge(station, CARRIER, (0.1, 0.0, yaw))
    low_x, low_y, high_x, high_y = way.bounds
    assert low_x < station.front_x < 0.1 < high_x
    leans = math.sin(yaw) * math.cos(yaw)
    assert (low_y + high_y) / 2 == pytest.approx(-0.25 * leans / math.cos(yaw) ** 2, abs=0.02)
