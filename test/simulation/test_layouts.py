"""Other floors of the same task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import Point

from humanoid_control.errors import FactoryError
from humanoid_control.mission.factory import Floor, load_factory
from humanoid_control.mission.factory_checks import check_factory
from humanoid_control.mission.path_planning import FloorMap
from humanoid_control.mission.placement import initial_placements, is_to_be_pulled, ordered_placement
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.layouts import HELD_OUT, SPLITS, TRAINING, draw_layout

FACTORIES = Path(__file__).resolve().parents[2] / "config" / "factories"
TASKS = ("table_to_conveyor", "conveyor_to_rack", "rack_to_table", "stack_to_stack", "pull_from_back")
SEEDS = range(12)


@pytest.fixture(scope="module", params=TASKS)
def task(request):
    return load_factory(FACTORIES / f"{request.param}.yaml")


@pytest.fixture(scope="module")
def layouts(task):
    return [draw_layout(task, seed) for seed in SEEDS]


def test_the_same_seed_gives_the_same_layout(task, layouts):
    assert [draw_layout(task, seed, split=TRAINING) for seed in SEEDS] == layouts


def test_no_layout_is_in_both_splits(task, layouts):
    def poses(drawn):
        return {station.pose for layout in drawn for station in layout.stations}

    held_out = [draw_layout(task, seed, split=HELD_OUT) for seed in SEEDS]
    assert len(poses(layouts)) == sum(len(layout.stations) for layout in layouts)
    assert not poses(layouts) & poses(held_out)


def test_what_varies_does(layouts):
    for value in (lambda f: f.stations[0].surfaces, lambda f: f.stations[0].size, lambda f: f.robot.start, lambda f: f.totes[0].at):
        assert len({value(layout) for layout in layouts}) == len(layouts)
    assert len({len(layout.stations) for layout in layouts}) > 1  # some have stations of which no order speaks
    ways = [np.subtract(layout.stations[1].pose, layout.stations[0].pose) for layout in layouts]
    turns = [np.sin(way[2]) for way in ways]
    assert min(turns) < -0.3 and max(turns) > 0.3  # to the left and to the right


def test_the_task_stays_the_same(task, layouts):
    def told(order):
        return order.tote, order.to, order.shelf, order.on, order.at is None

    def pulled(factory):
        placements = initial_placements(factory)
        return {order.tote for order in factory.orders if is_to_be_pulled(factory, order.tote, placements)}

    for layout in layouts:
        check_factory(layout)
        assert [told(order) for order in layout.orders] == [told(order) for order in task.orders]
        assert [s.kind for s in layout.stations[: len(task.stations)]] == [s.kind for s in task.stations]
        assert [(t.name, t.station, t.shelf, t.on) for t in layout.totes[: len(task.totes)]] == [
            (t.name, t.station, t.shelf, t.on) for t in task.totes]  # fmt: skip
        assert layout.randomise == task.randomise
        assert pulled(layout) == pulled(task)


def test_there_is_room_to_work_and_to_pass(layouts):
    for layout in layouts:
        for order in layout.orders:
            station = layout.tote_station(order.tote)
            behind = Point(station.in_map((station.front_x - 0.9, layout.base_of(order.tote).at[1], 0.0))[:2]).buffer(0.2)
            assert not any(other.footprint.intersects(behind) for other in layout.stations)
        for index, station in enumerate(layout.stations):
            assert all(station.footprint.distance(other.footprint) > 1.0 for other in layout.stations[:index])


@pytest.mark.parametrize("seed", [60000, 60022])  # of which one split each once had a place behind the person's aisle
@pytest.mark.parametrize("split", SPLITS)
def test_no_keep_out_zone_lies_where_the_robot_works(seed, split):
    layout = draw_layout(load_factory(FACTORIES / "line_side.yaml"), seed, split=split)
    order, placements, here = layout.orders[0], initial_placements(layout), np.array(layout.robot.start[:2])
    floor = FloorMap(layout)
    for place in (placements[order.tote], ordered_placement(layout, order, placements)):
        station = layout.station(place.station)
        there = np.array(station.in_map((station.front_x - 0.45, place.pose[1], 0.0))[:2])
        floor.plan(here, there)
        assert floor.keep_out_distance(there) > 0.3
        here = there


def test_an_episode_is_drawn_on_a_layout_as_on_a_file(layouts):
    first, again = (draw_episode(layouts[0], 5) for _ in range(2))
    assert first == again
    assert first.factory.stations[0].pose == layouts[0].stations[0].pose


def test_a_floor_without_room_is_refused():
    task = load_factory(FACTORIES / "rack_to_table.yaml")
    with pytest.raises(FactoryError, match="rack_to_table: no layout"):
        draw_layout(task.model_copy(update={"floor": Floor(size=(2.5, 2.5), friction=0.9)}), 0)


@pytest.mark.parametrize("seed, split", [(-1, SPLITS[0]), (0, "test")])
def test_a_wrong_seed_or_split_is_refused(seed, split):
    with pytest.raises(ValueError, match=f"got .*{seed if seed < 0 else split}"):
        draw_layout(load_factory(FACTORIES / "table_to_conveyor.yaml"), seed, split=split)
