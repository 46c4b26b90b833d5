"""Whether legs keep off stations: what the table of their reach says, against a robot that walks."""

from __future__ import annotations

import math
from pathlib import Path

import mujoco
import numpy as np
import pytest

from humanoid_control.control_loop import ControlLoop
from humanoid_control.mission import reach
from humanoid_control.mission.factory import Conveyor, Rack, Table, load_factory
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from humanoid_control.types import WholeBodyTarget

FACTORIES = Path(__file__).resolve().parents[2] / "config" / "factories"
TABLE = Table(name="table", kind="table", pose=(1.0, 0.0, 0.0), size=(0.5, 1.4), height=0.70)
RACK = Rack(name="rack", kind="rack", pose=(1.0, 0.0, 0.0), size=(0.45, 1.2), shelves=(0.45, 0.85))
BELT = Conveyor(name="belt", kind="conveyor", pose=(1.0, 0.0, 0.0), size=(0.5, 1.6), height=0.65, speed=0.1)
SAMPLES = np.linspace(-1.0, 1.0, 9)  # along a capsule


def leg_points(model, data):
    """(N, 5): x, y, z in the base's planar frame, radius of the capsules of both legs, sampled along their axes."""
    base = data.body("pelvis")
    yaw = math.atan2(base.xmat[3], base.xmat[0])
    c, s = math.cos(yaw), math.sin(yaw)
    points = []
    for geom in range(model.ngeom):
        link = model.body(model.geom_bodyid[geom]).name
        if not model.geom_contype[geom] or not any(part in link for part in ("hip", "knee", "ankle")):
            continue
        half = model.geom_size[geom, 1] if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE else 0.0
        axis = data.geom_xmat[geom].reshape(3, 3)[:, 2]
        for at in data.geom_xpos[geom] + half * SAMPLES[:, None] * axis:
            dx, dy = at[:2] - base.xpos[:2]
            points.append((c * dx + s * dy, -s * dx + c * dy, at[2], model.geom_size[geom, 0]))
    return np.array(points)


@pytest.mark.parametrize("pelvis_height", [reach.UPRIGHT_HEIGHT, reach.SQUAT_HEIGHT])
@pytest.mark.parametrize("velocity", [reach.SLOW, -reach.SLOW])
def test_walking_legs_stay_within_the_table(pelvis_height, velocity):
    floor = SimulatedFactory(RobotModel.load(), draw_episode(load_factory(FACTORIES / "line_side.yaml"), 7))
    robot = floor.robot
    robot.data.qpos[:2] = 0.0, -2.6  # far from all stations
    robot.data.qpos[3:7] = 1.0, 0.0, 0.0, 0.0
    robot.connect()
    loop = ControlLoop(robot)
    worst = {"front": -1.0, "side": -1.0}
    while robot.data.time < 6.0:
        walks = robot.data.time > 2.0
        loop.submit(WholeBodyTarget(robot.data.time, base_velocity=np.array([velocity * walks, 0.0, 0.0]), pelvis_height=pelvis_height))
        loop.step()
        robot.wait_next_tick()
        if walks:
            points = leg_points(floor.scene, robot.data)
            for x, y, z, radius in points:
                allowed = reach.leg_reach(max(z - 0.01, 0.0), z + 0.01, pelvis_height)
                worst["front"] = max(worst["front"], x + radius - allowed)
                worst["side"] = max(worst["side"], abs(y) + radius - reach.LEG_HALF_WIDTH)
    assert not loop.safety.is_stopped
    assert worst["front"] < 0.5 * reach.LEG_MARGIN
    assert worst["side"] < 0.01


def test_leg_distance_follows_the_shape():
    free = reach.leg_distance(TABLE, 0.0)
    assert free == reach.BODY_DISTANCE  # only a top, above the knees
    assert reach.leg_distance(TABLE, 0.6) > free + 0.05  # before a leg of the table
    assert reach.leg_distance(RACK, 0.0) > free + 0.03  # a low shelf
    assert reach.leg_distance(RACK, 0.0, raised=-0.06) > reach.leg_distance(RACK, 0.0)  # nearer to the knees
    assert free < reach.leg_distance(BELT, 0.0) < reach.leg_distance(BELT, 0.7)


def test_squatting_needs_no_less_room_before_a_leg():
    heights = np.linspace(reach.SQUAT_HEIGHT, reach.UPRIGHT_HEIGHT, 7)
    distances = [reach.leg_distance(TABLE, 0.6, pelvis_height=h) for h in heights]
    assert (np.diff(distances) <= 1e-9).all()


def test_reachable_depth_shrinks_with_height_and_length():
    small, large = LOAD_CARRIERS["klt_3147"], LOAD_CARRIERS["klt_4147"]
    for station in (TABLE, RACK, BELT):
        depths = [reach.reachable_depth(station, small, z, 0.0) for z in (0.7, 0.85, 1.0)]
        assert sorted(depths, reverse=True) == depths and depths[-1] > 0.15
        assert reach.reachable_depth(station, large, 1.0, 0.0) < depths[-1]


def test_ease_ends_before_reach_does():
    for station, bottom in ((TABLE, 0.70), (RACK, 0.45), (RACK, 0.85), (BELT, 0.65)):
        for carrier in LOAD_CARRIERS.values():
            deepest = station.front_x + reach.reachable_depth(station, carrier, bottom, 0.0)
            assert reach.is_comfortable(station, carrier, bottom, (station.front_x + 0.13, 0.0))
            assert not reach.is_comfortable(station, carrier, bottom, (deepest + 0.01, 0.0))


def test_a_place_beside_a_post_is_not_easy():
    carrier = LOAD_CARRIERS["klt_3147"]
    beside = 0.5 * (RACK.size[1] - carrier.length)
    assert not reach.is_comfortable(RACK, carrier, 0.85, (RACK.front_x + 0.13, beside))
    assert reach.is_comfortable(TABLE, carrier, 0.70, (TABLE.front_x + 0.13, beside))


def test_a_heavy_or_a_low_tote_is_borne_only_nearer():
    carrier = LOAD_CARRIERS["klt_3147"]
    assert reach.bearable_reach(carrier.length, 3.0, 0.7) < reach.bearable_reach(carrier.length, 1.0, 0.7)
    assert reach.bearable_reach(carrier.length, 2.0, 0.45) < reach.bearable_reach(carrier.length, 2.0, 0.7)
    assert reach.bearable_reach(LOAD_CARRIERS["klt_4147"].length, 2.0, 0.7) < reach.bearable_reach(carrier.length, 2.0, 0.7)


def test_a_tote_is_pulled_from_further_back_than_it_is_gripped():
    for station in (TABLE, RACK):
        for carrier in LOAD_CARRIERS.values():
            bottom = station.surfaces[-1]
            depths = [limit(station, carrier, bottom, 0.0) for limit in (
                reach.comfortable_depth, reach.reachable_depth, reach.pullable_depth)]  # fmt: skip
            assert depths == sorted(depths) and depths[2] > depths[1] + 0.05


def test_nothing_is_pulled_from_under_a_shelf_off_a_running_belt_or_from_low_or_high_up():
    carrier = LOAD_CARRIERS["klt_3147"]
    assert reach.pullable_depth(BELT, carrier, 0.65, 0.0) == 0.0
    assert reach.pullable_depth(BELT.model_copy(update={"speed": 0.0}), carrier, 0.65, 0.0) > 0.0
    under = RACK.model_copy(update={"shelves": (0.65, 1.00)})
    assert reach.pullable_depth(under, carrier, 0.65, 0.0) == 0.0
    for height in (reach.PULL_HEIGHTS[0] - 0.01, reach.PULL_HEIGHTS[-1] + 0.01):
        assert reach.pullable_depth(TABLE.model_copy(update={"height": height}), carrier, height, 0.0) == 0.0
