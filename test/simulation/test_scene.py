"""The factory in MuJoCo: things stand, ride and lie as they should."""

from __future__ import annotations

import time
from pathlib import Path

import mujoco
import numpy as np
import pytest

from humanoid_control.errors import SimulationError
from humanoid_control.mission.factory import Clutter, Person, load_factory
from humanoid_control.mission.load_carriers import LOAD_CARRIERS, STACKING_PLAY
from humanoid_control.simulation.collision_groups import ROBOT_HAND, assign
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.load_carriers import add_tote, mass_properties, shell_blocks
from humanoid_control.simulation.people import WalkingPath
from humanoid_control.simulation.scene import FactoryWorld, build_scene

FACTORIES = sorted((Path(__file__).resolve().parents[2] / "config" / "factories").glob("*.yaml"))


def tilt(pose: np.ndarray) -> float:
    return float(np.arccos(np.clip(pose[2, 2], -1, 1)))


@pytest.mark.parametrize("path", FACTORIES, ids=lambda path: path.stem)
def test_totes_at_rest_stay_at_rest(path, running):
    for seed in (1, 2, 3):
        scene = running(load_factory(path), seed=seed)
        start = {name: scene.world.tote_pose(scene.data, name) for name in scene.world.tote_bodies}
        scene.step(2.0)
        for name, before in start.items():
            after = scene.world.tote_pose(scene.data, name)
            assert np.linalg.norm(after[:3, 3] - before[:3, 3]) < 1e-3
            assert tilt(after) < 1e-3
            assert np.abs(scene.world.tote_velocity(scene.data, name)).max() < 1e-3


def test_totes_start_where_the_file_says(factory, running):
    scene = running(factory)
    for tote in factory.totes:
        x, y, z, yaw = factory.tote_pose(tote.name)
        pose = scene.world.tote_pose(scene.data, tote.name)
        assert pose[:3, 3] == pytest.approx([x, y, z], abs=1e-3)
        assert pose[:2, 0] == pytest.approx([np.cos(yaw), np.sin(yaw)], abs=1e-6)
        assert scene.model.body(tote.name).mass[0] == pytest.approx(tote.mass)


def test_stack_holds_together_when_shaken(factory, running):
    scene = running(factory)
    scene.step(0.5)
    data, world = scene.data, scene.world
    address = world._tote_qvel["t2"]
    for push in (0.3, -0.3):
        data.qvel[address : address + 2] += push
        scene.step(0.5)
    offset = world.tote_pose(data, "t3")[:3, 3] - world.tote_pose(data, "t2")[:3, 3]
    assert np.abs(offset[:2]).max() < STACKING_PLAY + 0.004
    assert offset[2] == pytest.approx(LOAD_CARRIERS["klt_3147"].stacking_height, abs=2e-3)


@pytest.mark.parametrize("error", [(0.010, 0.0, 0.0), (-0.010, 0.010, 0.0), (0.0, -0.010, 0.04), (0.004, 0.004, np.pi)])
@pytest.mark.parametrize("kind", LOAD_CARRIERS)
def test_tote_set_down_a_centimetre_off_finds_its_place(kind, error, factory, running):
    carrier = LOAD_CARRIERS[kind]
    totes = [
        tote.model_copy(update={"kind": kind, "mass": 2.0}) if tote.name in ("t2", "t3") else tote
        for tote in factory.totes
        if tote.name != "t1"
    ]
    scene = running(factory.model_copy(update={"totes": tuple(totes), "orders": ()}))
    data, address = scene.data, scene.world._tote_qpos["t3"]
    data.qpos[address : address + 2] += error[:2]
    data.qpos[address + 2] += 0.01
    data.qpos[address + 3 : address + 7] = np.cos(error[2] / 2), 0, 0, np.sin(error[2] / 2)
    scene.step(1.5)
    upper, lower = (scene.world.tote_pose(data, name) for name in ("t3", "t2"))
    assert upper[2, 3] - lower[2, 3] == pytest.approx(carrier.stacking_height, abs=1.5e-3)
    assert tilt(upper) < 0.01
    assert np.abs(scene.world.tote_velocity(data, "t3")).max() < 1e-2


def test_tote_rides_at_belt_speed_and_waits_at_the_end(factory, running):
    scene = running(factory)
    station = factory.station("belt")
    scene.step(1.0)
    before = station.in_station((*scene.world.tote_pose(scene.data, "t4")[:2, 3], 0.0))
    scene.step(5.0)
    after = station.in_station((*scene.world.tote_pose(scene.data, "t4")[:2, 3], 0.0))
    assert after[1] - before[1] == pytest.approx(5.0 * station.speed, rel=0.01)
    assert after[0] == pytest.approx(before[0], abs=1e-3)
    scene.step(16.0)
    end = scene.world.tote_pose(scene.data, "t4")
    y = station.in_station((*end[:2, 3], 0.0))[1]
    assert y + 0.297 / 2 <= station.size[1] / 2 + 1e-3
    assert tilt(end) < 0.02
    scene.step(1.0)  # it trembles where the belt slips along beneath it, but goes nowhere
    assert np.linalg.norm(scene.world.tote_pose(scene.data, "t4")[:3, 3] - end[:3, 3]) < 3e-3


def test_moving_tote_touches_its_station_with_few_points(factory, running):
    scene = running(factory)
    scene.step(0.5)
    bodies = scene.model.geom_bodyid[scene.data.contact.geom]
    tote = scene.world.tote_bodies["t1"]
    assert (bodies == tote).any(axis=1).sum() == 4


def test_tote_over_an_edge_is_carried_by_its_floor_and_tips_only_beyond_it(factory, running):
    station = factory.station("infeed")
    factory = factory.model_copy(update={"clutter": Clutter(count=0)})
    for over, stays in ((-0.03, True), (0.03, False)):
        scene = running(factory)
        address = scene.world._tote_qpos["t1"]
        x, y, _ = station.in_map((station.size[0] / 2 + over, -0.4, 0.0))
        scene.data.qpos[address : address + 2] = x, y
        scene.step(1.5)
        height = scene.world.tote_pose(scene.data, "t1")[2, 3]
        assert (height > 0.65) == stays


def test_fallen_tote_lies_on_the_floor_not_in_it(factory, running):
    scene = running(factory)
    address = scene.world._tote_qpos["t1"]
    scene.data.qpos[address : address + 3] = 0.0, -2.0, 0.4
    scene.data.qpos[address + 3 : address + 7] = np.cos(0.7), np.sin(0.7), 0.0, 0.0
    scene.step(2.0)
    corners = [
        block.centre + np.array(signs) * block.half
        for blocks in shell_blocks(LOAD_CARRIERS["klt_3147"]).values()
        for block in blocks
        for signs in np.ndindex(2, 2, 2)
        for signs in [2 * np.array(signs) - 1]
    ]
    pose = scene.world.tote_pose(scene.data, "t1")
    lowest = min((pose[:3, :3] @ corner + pose[:3, 3])[2] for corner in corners)
    assert -0.02 < lowest < 0.01


@pytest.mark.parametrize("kind", LOAD_CARRIERS)
def test_load_carrier_has_the_sizes_of_the_format(kind):
    carrier = LOAD_CARRIERS[kind]
    blocks = [block for part in shell_blocks(carrier).values() for block in part]
    top = np.max([block.centre + block.half for block in blocks], axis=0)
    assert top == pytest.approx([carrier.width / 2, carrier.length / 2, carrier.height])
    lips = shell_blocks(carrier)["lips"]
    wall_y = carrier.wall_half_extents[1]
    grips = [lip for lip in lips if lip.centre[1] + lip.half[1] > carrier.length / 2 - 1e-9]
    assert len(grips) == 1 and grips[0].half[0] == carrier.width / 2
    assert carrier.length / 2 - wall_y == pytest.approx(0.024)
    assert 2 * grips[0].half[2] == pytest.approx(0.018)


@pytest.mark.parametrize("kind", LOAD_CARRIERS)
def test_inertia_is_that_of_a_body_within_the_tote(kind):
    carrier = LOAD_CARRIERS[kind]
    for mass in (carrier.empty_mass, 2.0, 5.0):
        centre, inertia = mass_properties(carrier, mass)
        assert centre[:2] == pytest.approx([0, 0], abs=1e-9)
        assert 0.01 < centre[2] < carrier.height
        assert all(inertia[axis] < inertia.sum() - inertia[axis] for axis in range(3))
        solid = mass / 12 * (carrier.length**2 + carrier.height**2)
        assert 0.3 * solid < inertia[0] < 2.0 * solid


def test_fingers_above_and_below_the_lip_lift_a_tote():
    spec = mujoco.MjSpec()
    spec.option.timestep, spec.option.cone, spec.option.impratio = 0.002, mujoco.mjtCone.mjCONE_ELLIPTIC, 100
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    carrier = LOAD_CARRIERS["klt_3147"]
    add_tote(spec, "tote", carrier=carrier, mass=3.0, colour=(1, 0, 0), friction=0.6)
    for side in (-1, 1):
        hand = spec.worldbody.add_body(name=f"hand{side}", mocap=True, pos=[0, side * 0.16, carrier.grip_height])
        for finger, z in (("upper", 1), ("lower", -1)):
            body = spec.worldbody.add_body(
                name=f"{finger}{side}", pos=[0, side * (carrier.length / 2 - 0.012), carrier.grip_height + 0.02 * z]
            )
            body.add_joint(name=f"{finger}{side}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, 1])
            geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.02, 0.012, 0.008], mass=0.2)
            assign(geom, ROBOT_HAND)
        del hand
    model = spec.compile()
    data = mujoco.MjData(model)
    fingers = {name: model.joint(name).dofadr[0] for name in ("upper-1", "lower-1", "upper1", "lower1")}
    for _ in range(1000):
        for name, dof in fingers.items():  # close with 40 N, carry half of the tote each side
            weight = 9.81 * (0.2 + (0.5 * 3.0 if name.startswith("lower") else 0.0))
            data.qfrc_applied[dof] = (-40.0 if name.startswith("upper") else 40.0) + weight - 2.0 * data.qvel[dof]
        mujoco.mj_step(model, data)
    assert abs(data.body("tote").xpos[2]) < 0.01
    assert abs(data.body("tote").xpos[:2]).max() < 1e-3
    assert data.body("tote").xmat[8] > 0.999


# --- people, robot, speed -----------------------------------------------------------------------------------------


def test_person_walks_the_path_to_and_fro_at_its_speed():
    person = Person(name="p", path=((0.0, 0.0), (2.0, 0.0), (2.0, 1.0)), speed=0.5)
    path = WalkingPath(person)
    assert path.pose_at(0.0) == pytest.approx((0.0, 0.0, 0.0))
    assert path.pose_at(2.0)[:2] == pytest.approx((1.0, 0.0))
    assert path.pose_at(5.0) == pytest.approx((2.0, 0.5, np.pi / 2))
    assert path.pose_at(6.0)[:2] == pytest.approx((2.0, 1.0))
    assert path.pose_at(8.0)[:2] == pytest.approx((2.0, 0.0))
    assert np.cos(path.pose_at(10.0)[2]) == pytest.approx(-1.0)
    assert path.pose_at(12.0)[:2] == pytest.approx((0.0, 0.0), abs=1e-9)
    places = np.array([path.pose_at(t)[:2] for t in np.arange(0, 30, 0.01)])
    assert np.linalg.norm(np.diff(places, axis=0), axis=1).max() <= 0.5 * 0.01 + 1e-9


def test_figures_follow_their_paths(factory, running):
    scene = running(factory)
    scene.step(2.0)
    expected = scene.world.person_position("p1", scene.data.time)
    assert scene.data.body("p1").xpos[:2] == pytest.approx(expected, abs=0.03)
    assert scene.data.body("p1/left_leg").xpos[:2] == pytest.approx(expected, abs=0.03)


def test_robot_is_added_with_its_errors_and_left_unchanged(random_factory, puppet):
    episode = draw_episode(random_factory, 4)
    before = np.array(puppet.cameras[0].pos)
    model = build_scene(episode, puppet)
    assert np.array(puppet.cameras[0].pos) == pytest.approx(before)
    assert puppet.compile().ngeom < model.ngeom
    moved = np.linalg.norm(model.cam_pos[model.camera("head_camera").id] - before)
    assert moved == pytest.approx(np.linalg.norm(episode.camera_error("head_camera")[:3]))
    assert 0 < moved < 0.005 * np.sqrt(3)


def test_robot_without_pelvis_is_refused(factory):
    with pytest.raises(SimulationError, match="pelvis"):
        build_scene(draw_episode(factory, 0), mujoco.MjSpec())


def test_same_episode_runs_the_same(random_factory, running):
    ends = []
    for _ in range(2):
        scene = running(random_factory, seed=11)
        scene.step(0.5)
        ends.append(scene.data.qpos.copy())
    assert (ends[0] == ends[1]).all()


def test_reset_starts_anew(random_factory, running):
    scene = running(random_factory, seed=2)
    start = scene.data.qpos.copy()
    scene.step(1.0)
    mujoco.mj_resetData(scene.model, scene.data)
    scene.world.reset(scene.data)
    assert scene.data.qpos == pytest.approx(start)


def test_factory_alone_is_much_faster_than_real_time(running):
    scene = running(load_factory(FACTORIES[0]))
    scene.step(0.2)
    begin = time.perf_counter()
    scene.step(2.0)
    assert 2.0 / (time.perf_counter() - begin) > 12.0


def test_world_knows_stations(factory, running):
    pose = running(factory).world.station_pose("rack")
    assert pose[:2, 3] == pytest.approx([0.0, 1.6])
    assert pose[:2, 0] == pytest.approx([0.0, 1.0], abs=1e-4)
    assert isinstance(running(factory).world, FactoryWorld)
