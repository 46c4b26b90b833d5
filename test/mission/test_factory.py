"""What a factory file may say, and how it is refused what it may not."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from shapely.geometry import Point

from humanoid_control.errors import FactoryError
from humanoid_control.mission.factory import (
    LOAD_CARRIERS,
    MAX_REACH_DEPTH,
    STATION_KINDS,
    build_factory,
    load_factory,
    parse_factory,
)
from humanoid_control.mission.placement import (
    fits_on,
    free_place,
    handled_heights,
    initial_placements,
    ordered_placement,
    tote_footprint,
)
from humanoid_control.mission.reach import pullable_depth, reachable_depth

ROOT = Path(__file__).resolve().parents[2]
FACTORIES = sorted((ROOT / "config" / "factories").glob("*.yaml"))
TOTE = {"kind": "klt_3147", "mass": 1.0, "colour": [0.1, 0.2, 0.3]}


def factory_data() -> dict:
    """A factory with one of everything; tests break one thing of it each."""
    return yaml.safe_load("""
        version: 1
        name: everything
        floor: {size: [8.0, 8.0], friction: 0.9}
        light: {ambient: 0.3, diffuse: 0.6, direction: [0.0, 0.1, -1.0]}
        robot: {start: [0.0, 0.0, 0.0]}
        stations:
          - {name: infeed, kind: table, pose: [0.8, 0.0, 0.0], size: [0.5, 1.0], height: 0.7}
          - {name: rack, kind: rack, pose: [0.0, 1.5, 1.5708], size: [0.45, 1.2], shelves: [0.45, 0.85]}
          - {name: outfeed, kind: conveyor, pose: [-1.0, 0.0, 3.1416], size: [0.5, 1.6], height: 0.65, speed: 0.1}
        totes:
          - {name: t1, kind: klt_3147, station: infeed, at: [-0.08, 0.0, 0.0], mass: 1.5, colour: [0.1, 0.3, 0.8]}
          - {name: t2, kind: klt_3147, station: rack, shelf: 0, at: [-0.08, 0.0, 0.0], mass: 1.0, colour: [1, 0, 0]}
          - {name: t3, kind: klt_3147, "on": t2, mass: 1.0, colour: [0, 1, 0]}
        zones:
          - {name: aisle, kind: keep_out, polygon: [[2.0, -2.0], [3.0, -2.0], [3.0, 2.0], [2.0, 2.0]]}
        people:
          - {name: p1, path: [[2.5, -1.0], [2.5, 1.0]], speed: 0.8}
        clutter: {count: 2}
        orders:
          - {tote: t1, to: rack, shelf: 1, at: [-0.08, 0.3]}
          - {tote: t3, to: infeed}
          - {tote: t2, to: infeed, "on": t3}
        randomise: {tote_pose: [0.03, 0.1, 0.2], friction: [0.6, 1.0], tote_mass: 0.3}
    """)


def broken(path: str, value: object) -> dict:
    """The factory with the value at `path`, such as `stations.0.height`, set; `...` removes it."""
    data = factory_data()
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    part = data
    for key in parents:
        part = part[key]
    if value is ...:
        del part[last]
    elif isinstance(last, int) and last == len(part):
        part.append(value)
    else:
        part[last] = value
    return data


def refusal(data: object) -> str:
    with pytest.raises(FactoryError) as caught:
        build_factory(data, source="some.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("some.yaml: ")
    return message.removeprefix("some.yaml: ")


@pytest.mark.parametrize("path", FACTORIES, ids=lambda path: path.stem)
def test_shipped_factories_are_valid(path):
    assert load_factory(path).name == path.stem


def test_everything_is_read():
    factory = build_factory(factory_data())
    assert [station.kind for station in factory.stations] == list(STATION_KINDS)
    assert factory.station("outfeed").speed == 0.1
    assert factory.randomise.friction.interval(0.8) == (0.6, 1.0)
    assert factory.randomise.tote_mass.interval(1.5) == pytest.approx((1.2, 1.8))
    assert factory.randomise.delay_ms is None


def test_optional_parts_may_be_absent():
    data = factory_data()
    for key in ("light", "zones", "people", "clutter", "randomise"):
        del data[key]
    factory = build_factory(data)
    assert factory.clutter.count == 0
    assert factory.light.ambient == 0.35


# One wrong value each: where it is, what it is, what the refusal has to say.
WRONG_VALUES = [
    ("version", 2, ["version", "1", "2"]),
    ("version", ..., ["version", "missing"]),
    ("name", "", ["name"]),
    ("floor", ..., ["floor", "missing"]),
    ("floor.size", [6.0], ["floor.size", "[6.0]"]),
    ("floor.size", [-1.0, 2.0], ["floor.size", "-1.0", "from 2 to 200"]),
    ("floor.friction", 9, ["floor.friction", "9", "0.1 to 2"]),
    ("floor.friction", "much", ["floor.friction", "'much'"]),
    ("floor.friction", True, ["floor.friction", "true"]),
    ("floor.friction", math.nan, ["floor.friction", "nan"]),
    ("light.direction", [0, 0, 1], ["light.direction", "z from -10 to -0.01"]),
    ("light.ambient", 1.5, ["light.ambient", "1.5", "0 to 1"]),
    ("robot.start", [0.0, 0.0], ["robot.start", "[x, y, yaw]"]),
    ("robot.start", ..., ["robot.start", "missing"]),
    ("stations", [], ["stations", "at least one"]),
    ("stations", 3, ["stations", "list", "3"]),
    ("stations.0.kind", "tabel", ["stations[0].kind", "'tabel'", "did you mean 'table'"]),
    ("stations.0.kind", ..., ["stations[0]", "kind", "table, rack, conveyor"]),
    ("stations.0.height", ..., ["stations[0].height", "missing"]),
    ("stations.0.heigth", 0.7, ["stations[0]", "'heigth'", "did you mean 'height'"]),
    ("stations.0.speed", 0.1, ["stations[0]", "'speed'", "allowed: name, pose, size, kind, height"]),
    ("stations.0.pose", [0, 0, "left"], ["stations[0].pose", "'left'"]),
    ("stations.0.size", [0.0, 1.0], ["stations[0].size", "0.1 to 20"]),
    ("stations.1.shelves", [], ["stations[1].shelves", "at least one"]),
    ("stations.1.shelves", [0.45, "top"], ["stations[1].shelves[1]", "'top'"]),
    ("stations.2.speed", -0.1, ["stations[2].speed", "-0.1", "0 to 0.5"]),
    ("stations.2.speed", ..., ["stations[2].speed", "missing"]),
    ("totes.0.kind", "klt_3148", ["totes[0].kind", "'klt_3148'", "did you mean 'klt_3147'"]),
    ("totes.0.mass", ..., ["totes[0].mass", "missing"]),
    ("totes.0.mass", 200, ["totes[0].mass", "200", "0 to 20"]),
    ("totes.0.colour", [0.1, 0.2, 3.0], ["totes[0].colour", "blue from 0 to 1"]),
    ("totes.0.name", "a/b", ["totes[0].name", "'a/b'"]),
    ("totes.0.shelf", -1, ["totes[0].shelf", "-1"]),
    ("zones.0.kind", "keepout", ["zones[0].kind", "'keepout'", "did you mean 'keep_out'"]),
    ("zones.0.polygon", [[0, 0], [1]], ["zones[0].polygon[1]"]),
    ("people.0.speed", 0.0, ["people[0].speed", "0.05 to 3"]),
    ("clutter.count", 1.5, ["clutter.count", "whole number"]),
    ("orders.0.when", "now", ["orders[0]", "'when'"]),
    ("orders.0.at", [0.0, 0.0, 0.0], ["orders[0].at", "[x, y]"]),
    ("orders", ..., ["orders", "missing"]),
    ("order", [], ["'order'", "did you mean 'orders'"]),
    ("randomise.tote_pose", [0.1, -0.1, 0.0], ["randomise.tote_pose", "-0.1"]),
    ("randomise.friction", [1.0, 0.6], ["randomise.friction", "[1.0, 0.6]", "lowest, highest"]),
    ("randomise.friction", -0.1, ["randomise.friction", "-0.1"]),
    ("randomise.colours", 1, ["randomise.colours", "true or false"]),
    ("randomise.color", True, ["randomise", "did you mean 'colours'"]),
    ("randomise.sensor_noise", [0, 1], ["randomise.sensor_noise"]),
]

# Values that are fine alone but cannot be together.
CONTRADICTIONS = [
    # names
    ("stations.1.name", "infeed", ["stations[1].name", "'infeed'", "stations[0]", "unique"]),
    ("totes.1.name", "t1", ["totes[1].name", "'t1'"]),
    ("zones.0.name", "t1", ["zones[0].name", "'t1'", "totes[0]"]),
    # stations
    ("stations.1.pose", [0.6, 0.4, 0.7], ["stations[1].pose", "rack", "overlaps", "infeed"]),
    ("stations.0.pose", [3.9, 0.0, 0.0], ["stations[0].pose", "not wholly on the floor", "-4 to 4"]),
    ("stations.0.height", 0.3, ["stations[0].height", "0.3", "reach", "0.40 to 1.00"]),
    ("stations.0.height", 1.2, ["stations[0].height", "1.2", "reach"]),
    ("stations.1.shelves", [0.45, 1.8], ["stations[1].shelves[1]", "1.8", "reach"]),
    ("stations.1.shelves", [0.45, 0.7], ["stations[1].shelves[1]", "0.25 m above", "0.35"]),
    ("stations.1.shelves", [0.85, 0.45], ["stations[1].shelves[1]", "lowest shelf first"]),
    # zones and people
    ("zones.0.polygon", [[0, 2], [1, 2]], ["zones[0].polygon", "at least 3"]),
    ("zones.0.polygon", [[2, 2], [3, 3], [2, 3], [3, 2]], ["zones[0].polygon", "no simple polygon"]),
    ("zones.0.polygon", [[2, 2], [3, 3], [4, 4]], ["zones[0].polygon"]),
    ("people.0.path", [[2.5, 0.0]], ["people[0].path", "at least 2"]),
    ("people.0.path", [[2.5, 0.0], [2.5, 9.0]], ["people[0].path[1]", "[2.5, 9.0]", "off the floor"]),
    ("people.0.path", [[2.5, 0.0], [2.5, 0.0]], ["people[0].path", "the same"]),
    ("people.0.path", [[0.8, -2.0], [0.8, 2.0]], ["people[0].path", "through station infeed"]),
    # robot
    ("robot.start", [0.8, 0.0, 0.0], ["robot.start", "inside station infeed"]),
    ("robot.start", [2.5, 0.0, 0.0], ["robot.start", "inside zone aisle"]),
    ("robot.start", [5.0, 0.0, 0.0], ["robot.start", "off the floor"]),
    # totes
    ("totes.0.mass", 0.5, ["totes[0].mass", "0.5", "empty klt_3147", "0.6"]),
    ("totes.0.station", "infed", ["totes[0].station", "'infed'", "did you mean 'infeed'"]),
    ("totes.0.station", ..., ["totes[0].station", "missing"]),
    ("totes.0.at", ..., ["totes[0].at", "missing"]),
    ("totes.0.at", [0.2, 0.0, 0.0], ["totes[0].at", "[0.2, 0.0, 0.0]", "not wholly on station infeed", "0.151"]),
    ("totes.0.at", [0.0, 0.0, 0.9], []),  # turned, but still on it: fine
    ("totes.0.shelf", 0, ["totes[0].shelf", "only racks"]),
    ("totes.1.shelf", ..., ["totes[1].shelf", "missing", "0 to 1"]),
    ("totes.1.shelf", 2, ["totes[1].shelf", "2", "0 to 1"]),
    ("totes.2.at", [0.0, 0.0, 0.0], ["totes[2].at", "only one of both"]),
    ("totes.2.on", "t9", ["totes[2].on", "'t9'", "t1, t2, t3"]),
    ("totes.2.on", "t3", ["totes[2].on", "circle"]),
    ("totes.2.station", "infeed", ["totes[2].station", "infeed", "rack"]),
    ("totes.2.shelf", 1, ["totes[2].shelf", "must be the same"]),
    (
        "totes.2",
        {"name": "t3", "on": "t2", **TOTE, "kind": "klt_4147", "mass": 2.0},
        ["totes[2].on", "klt_4147", "smaller klt_3147"],
    ),
    ("totes.3", {"name": "t4", "on": "t2", **TOTE}, ["totes[3].on", "already carries t3"]),
    (
        "totes.3",
        {"name": "t4", "station": "infeed", "at": [-0.08, 0.25, 0.3], **TOTE},
        ["totes[3].at", "overlap t1"],
    ),
    # orders
    ("orders.0.tote", "t11", ["orders[0].tote", "'t11'", "t1, t2, t3", "did you mean"]),
    ("orders.0.to", "outfed", ["orders[0].to", "'outfed'", "did you mean 'outfeed'"]),
    ("orders.0.shelf", ..., ["orders[0].shelf", "missing", "rack"]),
    ("orders.0.shelf", 2, ["orders[0].shelf", "2", "0 to 1"]),
    ("orders.1.shelf", 0, ["orders[1].shelf", "only racks"]),
    ("orders.0.at", [0.2, 0.0], ["orders[0].at", "[0.2, 0.0]", "does not fit"]),
    ("orders.0", {"tote": "t1", "to": "rack", "shelf": 0, "at": [-0.08, 0.1]}, ["orders[0].at", "taken by t2"]),
    ("orders.0.tote", "t2", ["orders[0].tote", "t3 stands on it"]),
    ("orders.2.on", "t1", ["orders[2].on", "t1", "rack", "not on infeed"]),
    ("orders.2.on", "t2", ["orders[2].on", "on itself"]),
    ("orders.2.on", "t5", ["orders[2].on", "'t5'"]),
    ("orders.2.at", [0.0, 0.0], ["orders[2].at", "only one of both"]),
    ("stations.0.size", [0.1, 0.2], ["totes[0].at", "too small"]),
    (
        "zones.0.polygon",
        [[0.2, -0.4], [0.4, -0.4], [0.4, 0.4], [0.2, 0.4]],
        ["orders[0].tote", "cannot stand", "aisle"],
    ),
]


@pytest.mark.parametrize(("path", "value", "says"), WRONG_VALUES + CONTRADICTIONS, ids=lambda part: str(part)[:40])
def test_wrong_value_is_refused_in_one_line(path, value, says):
    data = broken(path, value)
    if not says:
        build_factory(data)
        return
    message = refusal(data)
    for part in says:
        assert part in message


def test_tote_too_deep_to_reach_is_refused():
    data = factory_data()
    data["stations"][0].update(size=[1.0, 1.0], pose=[1.05, 0.0, 0.0])
    data["totes"][0]["at"] = [0.0, 0.0, 0.0]
    message = refusal(data)
    pullable = pullable_depth(build_factory(factory_data()).station("infeed"), LOAD_CARRIERS["klt_3147"], 0.7, 0.0)
    assert "0.50 m behind the front edge" in message and f"at most {pullable:.2f} m" in message


def far_back(**changes) -> dict:
    """The factory with t1 out of the hands' reach, and other things changed."""
    data = factory_data()
    data["stations"][0].update(size=[1.0, 1.0], pose=[1.05, 0.0, 0.0])
    data["totes"][0]["at"] = [MAX_REACH_DEPTH - 0.5 + 0.08, 0.0, 0.0]
    data["orders"] = [{"tote": "t1", "to": "rack", "shelf": 1}]
    for key, value in changes.items():
        data[key] = [*data[key], value]
    return data


def test_tote_that_can_be_pulled_to_the_edge_is_allowed():
    build_factory(far_back())


def test_tote_that_cannot_be_pulled_for_another_in_its_way_is_refused():
    near = TOTE | {"name": "near", "station": "infeed", "at": [-0.38, 0.1, 0.0]}
    message = refusal(far_back(totes=near))
    assert "orders[0].tote" in message and "near in its way" in message and f"at most {MAX_REACH_DEPTH} m" in message


def test_tote_far_back_on_another_is_refused():
    data = far_back(totes=TOTE | {"name": "t9", "on": "t1"})
    data["orders"] = [{"tote": "t9", "to": "rack", "shelf": 1}]
    assert "stands on t1" in refusal(data)


def test_tote_far_back_on_a_low_table_is_refused():
    data = far_back()
    data["stations"][0]["height"] = 0.5
    assert "out of the robot's reach" in refusal(data)


def test_destination_too_deep_to_reach_is_refused():
    data = factory_data()
    data["stations"][2].update(size=[1.2, 1.6], pose=[-1.5, 0.0, 3.1416])
    data["orders"] = [{"tote": "t1", "to": "outfeed", "at": [0.3, 0.0]}]
    assert "out of the robot's reach" in refusal(data)


def test_stack_too_high_to_reach_is_refused():
    data = factory_data()
    data["stations"][1]["shelves"] = [0.45, 0.90]
    data["totes"][1]["shelf"] = 1
    assert "1.04 m above the floor" in refusal(data)


def test_full_station_is_refused():
    data = factory_data()
    data["stations"][0]["size"] = [0.25, 0.35]
    data["totes"][0]["at"] = [0.0, 0.0, 0.0]
    data["orders"] = [{"tote": "t3", "to": "infeed"}]
    assert "no room for t3" in refusal(data)


def test_place_freed_by_an_earlier_order_may_be_used():
    data = factory_data()
    data["orders"] = [{"tote": "t1", "to": "outfeed"}, {"tote": "t3", "to": "infeed", "at": [-0.08, 0.0]}]
    build_factory(data)
    assert "taken by t1" in refusal({**data, "orders": data["orders"][::-1]})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1, 2\nb: 3", "line 2"),
        ("version: 1\nversion: 1", "'version' is there twice"),
        ("\tversion: 1", "line 1"),
        ("a: !!python/object:os.system x", "not valid YAML"),
        ("", "must be a mapping"),
        ("- 1", "must be a mapping"),
        ("3", "must be a mapping"),
    ],
)
def test_text_that_is_no_mapping_is_refused_with_its_line(text, says):
    with pytest.raises(FactoryError, match="some.yaml: ") as caught:
        parse_factory(text, source="some.yaml")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_key_on_needs_no_quotes():
    assert parse_factory(yaml.safe_dump(factory_data()).replace("'on'", "on")).tote("t3").on == "t2"


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(FactoryError, match="No such file"):
        load_factory(tmp_path / "none.yaml")


def test_nothing_may_be_changed_after_reading():
    factory = build_factory(factory_data())
    with pytest.raises(Exception, match="frozen"):
        factory.stations[0].height = 1.0


# --- geometry -----------------------------------------------------------------------------------------------------


def test_station_frame_and_map_are_inverse():
    station = build_factory(factory_data()).station("rack")
    at = (-0.1, 0.4, 0.3)
    pose = station.in_map(at)
    assert station.in_station(pose) == pytest.approx(at)
    point = station.map_from_station @ np.array([*at[:2], 0.0, 1.0])
    assert point[:2] == pytest.approx(pose[:2])


def test_robot_approaches_the_front_along_the_front_direction():
    for station in build_factory(factory_data()).stations:
        before = station.position - (station.size[0] / 2 + 0.3) * station.front_direction
        assert not station.footprint.covers(Point(before))
        assert station.footprint.covers(Point(before + 0.35 * station.front_direction))
        assert station.in_station((*before, 0.0))[0] == pytest.approx(station.front_x - 0.3)


def test_stacked_tote_stands_in_the_rim_of_the_one_below():
    factory = build_factory(factory_data())
    lower, upper = factory.tote_pose("t2"), factory.tote_pose("t3")
    assert lower[2] == 0.45
    assert upper[2] - lower[2] == pytest.approx(LOAD_CARRIERS["klt_3147"].stacking_height)
    assert upper[:2] == lower[:2]
    assert factory.tote_station("t3").name == "rack"


def test_unknown_names_are_refused_with_a_close_match():
    with pytest.raises(FactoryError, match="did you mean 'outfeed'"):
        build_factory(factory_data()).station("outfed")
    with pytest.raises(FactoryError, match="no shelf 5"):
        build_factory(factory_data()).station("rack").surface_height(5)


def test_free_place_is_on_the_station_and_clear_of_others():
    factory = build_factory(factory_data())
    carrier = LOAD_CARRIERS["klt_3147"]
    for station in factory.stations:
        occupied = []
        while (pose := free_place(station, 0, carrier, occupied)) is not None:
            footprint = tote_footprint(carrier, pose)
            assert fits_on(station, carrier, pose)
            assert pose[0] - station.front_x <= reachable_depth(station, carrier, station.surface_height(0), pose[1])
            assert not any(footprint.intersects(other) for other in occupied)
            occupied.append(footprint)
        assert len(occupied) >= 2


def test_orders_follow_one_another():
    factory = build_factory(factory_data())
    placements = initial_placements(factory)
    for order in factory.orders:
        placements[order.tote] = ordered_placement(factory, order, placements)
    assert placements["t1"].station == "rack" and placements["t1"].shelf == 1
    assert placements["t2"].on == "t3" and placements["t2"].station == "infeed"
    assert handled_heights(factory)["infeed"] == pytest.approx(LOAD_CARRIERS["klt_3147"].stacking_height)


def test_reading_a_factory_needs_no_simulator():
    code = (
        "import sys\n"
        "from humanoid_control.mission.factory import load_factory\n"
        f"load_factory({str(FACTORIES[0])!r})\n"
        "assert 'mujoco' not in sys.modules and 'humanoid_control.simulation' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert run.returncode == 0, run.stderr
