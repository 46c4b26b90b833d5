"""What is drawn for an episode."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import yaml
from shapely.geometry import Point

from humanoid_control.mission.factory import (
    MAX_REACH_DEPTH,
    MAX_SURFACE_HEIGHT,
    MIN_SURFACE_HEIGHT,
    Randomise,
    build_factory,
    load_factory,
    parse_factory,
    tote_footprint,
)
from humanoid_control.mission.factory_checks import robot_start_problem
from humanoid_control.mission.placement import fits_on
from humanoid_control.mission.reach import pullable_depth, reachable_depth
from humanoid_control.simulation.episode import JOINT_COUNT, NOMINAL_FRICTION, draw_episode

LINE_SIDE = Path(__file__).resolve().parents[2] / "config" / "factories" / "line_side.yaml"
SEEDS = range(60)


def test_same_seed_gives_same_episode(random_factory):
    for seed in (0, 7, 123456789):
        assert draw_episode(random_factory, seed) == draw_episode(random_factory, seed)


def test_other_seed_gives_other_episode(random_factory):
    episodes = [draw_episode(random_factory, seed) for seed in SEEDS]
    for value in (
        lambda e: e.factory.tote("t1").at,
        lambda e: e.factory.tote("t1").mass,
        lambda e: e.factory.tote("t1").colour,
        lambda e: e.factory.station("infeed").height,
        lambda e: e.factory.robot.start,
        lambda e: (e.friction, e.light, e.delay_ms),
        lambda e: e.joint_friction,
        lambda e: tuple(e.camera_error("head_camera")),
        lambda e: e.floor_colour,
        lambda e: e.clutter,
    ):
        assert len({value(episode) for episode in episodes}) == len(episodes)


def test_without_randomise_the_file_is_kept(factory):
    episode = draw_episode(factory, 5)
    assert episode.factory == factory
    assert episode.friction == NOMINAL_FRICTION
    assert episode.joint_friction is None
    assert episode.delay_ms == episode.sensor_noise == 0.0
    assert not episode.camera_error("head_camera").any()


def test_one_more_entry_changes_no_other_draw(random_factory):
    data = yaml.safe_load(LINE_SIDE.read_text())
    before = draw_episode(build_factory(data), 3)
    less = {key: value for key, value in data["randomise"].items() if key not in ("station_height", "tote_mass")}
    after = draw_episode(build_factory({**data, "randomise": less}), 3)
    assert after.factory.tote("t1").at == before.factory.tote("t1").at
    assert after.factory.robot.start == before.factory.robot.start
    assert (after.friction, after.joint_friction, after.delay_ms) == (
        before.friction, before.joint_friction, before.delay_ms,
    )  # fmt: skip
    assert after.factory.tote("t1").mass == 1.5 != before.factory.tote("t1").mass


def test_one_more_tote_changes_no_other_draw():
    data = yaml.safe_load(LINE_SIDE.read_text())
    before = draw_episode(build_factory(data), 3).factory
    other = {"name": "t0", "kind": "klt_3147", "station": "rack_1", "shelf": 0, "at": [0.0, 0.0, 0.0], "mass": 1.0}
    more = build_factory({**data, "totes": [{**other, "colour": [0, 0, 0]}, *data["totes"]]})
    after = draw_episode(more, 3).factory
    assert after.tote("t1") == before.tote("t1")


def test_draws_keep_their_ranges_and_fill_them():
    factory = load_factory(LINE_SIDE)
    episodes = [draw_episode(factory, seed) for seed in range(200)]
    nominal = factory.tote("t1").at

    def spread(values, low, high):
        values = np.array(values)
        assert values.min() >= low and values.max() <= high
        assert np.ptp(values) > 0.9 * (high - low)

    for axis, width in enumerate((0.03, 0.10, 0.20)):
        spread([e.factory.tote("t1").at[axis] - nominal[axis] for e in episodes], -width, width)
    for axis, width in enumerate((0.10, 0.10, 0.15)):
        spread([e.factory.robot.start[axis] for e in episodes], -width, width)
    spread([e.factory.tote("t1").mass for e in episodes], 0.6, 3.0)  # from 0.5 on, but no tote is lighter than empty
    spread([e.factory.station("infeed").height for e in episodes], 0.65, 0.75)
    spread([e.friction for e in episodes], 0.6, 1.0)
    spread([e.delay_ms for e in episodes], 0.0, 8.0)
    spread([e.light for e in episodes], 0.5, 1.5)
    spread([value for e in episodes for value in e.joint_friction], 0.0, 0.5)
    spread([e.camera_error("head_camera")[:3] for e in episodes], -0.005, 0.005)
    spread([e.camera_error("head_camera")[3:] for e in episodes], -0.01, 0.01)
    assert all(len(e.joint_friction) == JOINT_COUNT and e.sensor_noise == 1.0 for e in episodes)


def test_joints_and_cameras_are_drawn_apart():
    episode = draw_episode(load_factory(LINE_SIDE), 1)
    assert len(set(episode.joint_friction)) == JOINT_COUNT
    assert not np.allclose(episode.camera_error("head_camera"), episode.camera_error("left_wrist_camera"))


def test_randomised_factory_is_still_possible(random_factory):
    for seed in SEEDS:
        factory = draw_episode(random_factory, seed).factory
        assert robot_start_problem(factory, factory.robot.start) is None
        standing = [tote for tote in factory.totes if tote.on is None]
        for tote in standing:
            assert fits_on(factory.station(tote.station), tote.carrier, tote.at)
        for first, second in combinations(standing, 2):
            if (first.station, first.shelf) == (second.station, second.shelf):
                assert not tote_footprint(first.carrier, first.at).intersects(tote_footprint(second.carrier, second.at))
        for station in factory.stations:
            assert MIN_SURFACE_HEIGHT - 1e-9 <= min(station.surfaces)
            assert max(station.surfaces) <= MAX_SURFACE_HEIGHT + 1e-9
        assert all(tote.mass >= tote.carrier.empty_mass for tote in factory.totes)


def test_crowded_totes_are_drawn_apart():
    totes = "\n".join(
        f"  - {{name: c{i}, kind: klt_3147, station: wide, at: [0.0, {0.31 * (i - 2):.2f}, 0.0], mass: 1.0, colour: [1, 0, 0]}}"
        for i in range(5)
    )
    factory = parse_factory(f"""
version: 1
name: crowded
floor: {{size: [8.0, 8.0], friction: 0.9}}
robot: {{start: [0.0, 0.0, 0.0]}}
stations:
  - {{name: wide, kind: table, pose: [0.9, 0.0, 0.0], size: [0.25, 1.6], height: 0.70}}
totes:
{totes}
orders: []
randomise: {{tote_pose: [0.2, 0.3, 0.6]}}
""")
    moved = 0.0
    for seed in SEEDS:
        drawn = draw_episode(factory, seed).factory
        footprints = [tote_footprint(tote.carrier, tote.at) for tote in drawn.totes]
        assert not any(first.intersects(second) for first, second in combinations(footprints, 2))
        moved = max(moved, max(abs(tote.at[2]) for tote in drawn.totes))
    assert moved > 0.01


def test_ordered_totes_stay_within_reach():
    data = yaml.safe_load(LINE_SIDE.read_text())
    data["stations"][0].update(size=[1.0, 1.0], pose=[1.0, 0.0, 0.0])
    data["totes"][0]["at"] = [-0.20, 0.0, 0.0]
    data["randomise"]["tote_pose"] = [0.2, 0.1, 0.2]
    factory = build_factory(data)
    depths = [draw_episode(factory, seed).factory.tote("t1").at[0] + 0.5 for seed in SEEDS]
    assert max(depths) <= MAX_REACH_DEPTH + 1e-6
    assert np.ptp(depths) > 0.1


def test_a_tote_to_be_pulled_stays_within_what_can_be_pulled():
    factory = load_factory(LINE_SIDE.parent / "pull_from_back.yaml")
    factory = factory.model_copy(update={"randomise": Randomise(tote_pose=(0.2, 0.1, 0.1))})
    rack, tote = factory.station("rack_1"), factory.tote("t1")
    for seed in SEEDS:
        x, y, _ = draw_episode(factory, seed).factory.tote("t1").at
        assert x - rack.front_x <= pullable_depth(rack, tote.carrier, rack.shelves[1], y) + 1e-6
    assert tote.at[0] - rack.front_x > reachable_depth(rack, tote.carrier, rack.shelves[1], 0.0)


def test_racks_keep_their_clear_heights(random_factory):
    for seed in SEEDS:
        low, high = draw_episode(random_factory, seed).factory.station("rack").shelves
        assert high - low == pytest.approx(0.40)


def test_clutter_lies_off_totes_and_ways(random_factory):
    seen = 0
    for seed in range(20):
        episode = draw_episode(random_factory, seed)
        factory = episode.factory
        seen += len(episode.clutter)
        for item in episode.clutter:
            spot = Point(item.position[:2]).buffer(max(item.size[:2]) / 2)
            assert spot.distance(Point(factory.robot.start[:2])) > 0.5
            if item.position[2] == 0:
                assert not any(spot.intersects(station.footprint) for station in factory.stations)
                continue
            station = next(s for s in factory.stations if s.footprint.contains(spot.centroid))
            assert item.position[2] in station.surfaces
            for tote in factory.totes:
                if tote.on is None and tote.station == station.name:
                    pose = station.in_map(tote.at)
                    assert not spot.intersects(tote_footprint(tote.carrier, pose))
    assert seen > 60


def test_negative_seed_is_refused(factory):
    with pytest.raises(ValueError, match="-1"):
        draw_episode(factory, -1)
