"""A factory with one of everything, and a puppet for a robot that tests pose as they like."""

from __future__ import annotations

from types import SimpleNamespace

import mujoco
import numpy as np
import pytest

from humanoid_control.mission.factory import Factory, parse_factory
from humanoid_control.simulation.collision_groups import ROBOT_BODY, ROBOT_FOOT, ROBOT_HAND, assign
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.scene import FactoryWorld, build_scene

FACTORY = """
version: 1
name: everything
floor: {size: [8.0, 8.0], friction: 0.9}
robot: {start: [0.0, 0.0, 0.0]}
stations:
  - {name: infeed, kind: table, pose: [0.9, 0.0, 0.0], size: [0.6, 1.4], height: 0.70}
  - {name: rack, kind: rack, pose: [0.0, 1.6, 1.5708], size: [0.45, 1.2], shelves: [0.45, 0.85]}
  - {name: belt, kind: conveyor, pose: [-1.2, 0.0, 3.1416], size: [0.5, 2.4], height: 0.65, speed: 0.1}
totes:
  - {name: t1, kind: klt_3147, station: infeed, at: [-0.08, 0.0, 0.0], mass: 1.5, colour: [0.1, 0.3, 0.8]}
  - {name: t2, kind: klt_3147, station: infeed, at: [-0.08, 0.45, 0.0], mass: 1.0, colour: [0.8, 0.3, 0.1]}
  - {name: t3, kind: klt_3147, on: t2, mass: 1.2, colour: [0.1, 0.6, 0.2]}
  - {name: t4, kind: klt_3147, station: belt, at: [-0.08, -0.9, 0.0], mass: 1.0, colour: [0.5, 0.3, 0.8]}
  - {name: t5, kind: klt_4147, station: rack, shelf: 1, at: [-0.05, 0.0, 0.0], mass: 3.0, colour: [0.3, 0.3, 0.3]}
zones:
  - {name: aisle, kind: keep_out, polygon: [[2.0, -2.0], [3.0, -2.0], [3.0, 2.0], [2.0, 2.0]]}
  - {name: ramp, kind: slow, polygon: [[-0.5, -2.0], [0.5, -2.0], [0.5, -1.0], [-0.5, -1.0]]}
people:
  - {name: p1, path: [[2.5, -1.0], [2.5, 1.0], [3.5, 1.0]], speed: 0.8}
clutter: {count: 6}
orders:
  - {tote: t1, to: rack, shelf: 0, at: [-0.08, 0.0]}
"""

RANDOMISE = """
randomise:
  tote_pose: [0.03, 0.10, 0.20]
  tote_mass: [0.5, 3.0]
  station_height: 0.05
  robot_start: [0.10, 0.10, 0.15]
  friction: [0.6, 1.0]
  joint_friction: [0.0, 0.5]
  light: 0.5
  colours: true
  camera_pose: [0.005, 0.01]
  sensor_noise: 1.0
  delay_ms: [0, 8]
"""


def puppet_spec() -> mujoco.MjSpec:
    """A floating trunk on a wide pair of feet, a fist on rails in front of it, and a pair of fingers that close."""
    spec = mujoco.MjSpec()
    base = spec.worldbody.add_body(name="base_link", pos=[0, 0, 0.75])
    base.add_freejoint(name="floating_base")
    pelvis = base.add_body(name="pelvis")
    trunk = pelvis.add_geom(name="trunk", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.1, 0.1, 0.1], mass=30)
    assign(trunk, ROBOT_BODY)
    foot = base.add_body(name="foot", pos=[0, 0, -0.74])
    for index, (x, y) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        ball = foot.add_geom(
            name=f"sole{index}", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.01, 0, 0], pos=[0.2 * x, 0.2 * y, 0], mass=1
        )
        assign(ball, ROBOT_FOOT)
    fist = pelvis.add_body(name="fist", pos=[0, 0, 0.6], gravcomp=1)  # without weight it stays where it is put
    for axis, name in enumerate("xyz"):
        fist.add_joint(name=f"fist_{name}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=np.eye(3)[axis])
    assign(fist.add_geom(name="fist", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.03, 0, 0], mass=3), ROBOT_HAND)
    for name, z in (("upper", 0.02), ("lower", -0.02)):
        finger = fist.add_body(name=name, pos=[0.3, 0, z], gravcomp=1)
        finger.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, 1], range=[-0.02, 0.02], limited=True)
        pad = finger.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.02, 0.02, 0.008], mass=0.1)
        assign(pad, ROBOT_HAND)
    camera = pelvis.add_body(name="head", pos=[0.1, 0, 0.5])
    camera.add_camera(name="head_camera", quat=[0.5, 0.5, -0.5, -0.5], fovy=42.0)
    return spec


@pytest.fixture
def factory() -> Factory:
    return parse_factory(FACTORY)


@pytest.fixture
def random_factory() -> Factory:
    return parse_factory(FACTORY + RANDOMISE)


@pytest.fixture
def puppet() -> mujoco.MjSpec:
    return puppet_spec()


@pytest.fixture
def running():
    """Returns a function that starts the simulation of a factory: its model, data, world, and a way to step it."""

    def start(factory: Factory, *, seed: int = 0, robot: mujoco.MjSpec | None = None) -> SimpleNamespace:
        episode = draw_episode(factory, seed)
        model = build_scene(episode, robot)
        data = mujoco.MjData(model)
        world = FactoryWorld(model, episode)
        world.reset(data)
        mujoco.mj_forward(model, data)

        def step(seconds: float, *, each=None):
            for _ in range(round(seconds / model.opt.timestep)):
                world.step_actors(data, data.time)
                mujoco.mj_step(model, data)
                result = each(data) if each else None
                if result is not None:
                    return result
            return None

        return SimpleNamespace(model=model, data=data, world=world, episode=episode, step=step)

    return start
