"""Repainted episodes: another look, the same world."""

import colorsys

import mujoco
import numpy as np
import pytest

from humanoid_control.errors import ConfigurationError
from humanoid_control.mission.factory import parse_factory
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.episode import draw_episode
from perception.evaluation.looks import TAG, painted_floor
from perception.training.scenes import LOOKS

FACTORY = """
version: 1
name: two_totes
floor: {size: [6.0, 6.0], friction: 0.9}
robot: {start: [0.0, 0.0, 0.0]}
stations:
  - {name: infeed, kind: table, pose: [0.8, 0.0, 0.0], size: [0.5, 1.0], height: 0.70}
totes:
  - {name: t1, kind: klt_3147, station: infeed, at: [-0.08, 0.2, 0.0], mass: 1.5, colour: [0.1, 0.8, 0.1]}
  - {name: t2, kind: klt_3147, station: infeed, at: [-0.08, -0.2, 0.0], mass: 1.5, colour: [0.1, 0.8, 0.1]}
orders: []
randomise: {light: 0.5, colours: true}
"""


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


@pytest.fixture(scope="module")
def factory():
    return parse_factory(FACTORY)


def hue_of(floor, tote: str) -> tuple[float, float]:
    return colorsys.rgb_to_hsv(*floor.episode.factory.tote(tote).colour)[:2]


def test_totes_have_hues_of_their_look(model, factory):
    for look in ("held_out", "training"):
        for seed in range(3):
            floor = painted_floor(model, draw_episode(factory, seed), look)
            for tote in ("t1", "t2"):
                hue, saturation = hue_of(floor, tote)
                assert saturation < 0.2 or any(low - 1e-6 <= hue <= high + 1e-6 for low, high in LOOKS[look].hues)


def test_a_seed_paints_the_same_every_time_and_another_otherwise(model, factory):
    scenes = [painted_floor(model, draw_episode(factory, seed), "held_out").scene for seed in (1, 1, 2)]
    assert np.array_equal(scenes[0].geom_rgba, scenes[1].geom_rgba) and np.array_equal(scenes[0].tex_data, scenes[1].tex_data)
    assert not np.array_equal(scenes[0].tex_data, scenes[2].tex_data)


def test_paint_changes_nothing_that_moves(model, factory):
    ends = []
    for look in ("plain", "held_out"):
        floor = painted_floor(model, draw_episode(factory, 4), look)
        for _ in range(40):
            mujoco.mj_step(floor.scene, floor.robot.data)
        ends.append(floor.robot.data.qpos.copy())
    assert np.array_equal(*ends)


def test_tags_stay_black_and_white_and_nothing_else_is_painted_with_them(model, factory):
    for seed in range(4):
        scene = painted_floor(model, draw_episode(factory, seed), "held_out", tags=True).scene
        names = [scene.geom(geom).name for geom in range(scene.ngeom)]
        assert any(name.startswith(TAG) for name in names)
        for geom, name in enumerate(names):
            material = int(scene.geom_matid[geom])
            painted_with_tag = material >= 0 and scene.mat(material).name.startswith(TAG)
            assert painted_with_tag == name.startswith(TAG)
            if name.startswith(TAG):
                assert scene.mat(material).name == name and scene.geom_rgba[geom, 3] > 0


def test_an_unknown_look_is_refused_by_name(model, factory):
    with pytest.raises(ConfigurationError, match="no look 'pink'; allowed: held_out, training, plain"):
        painted_floor(model, draw_episode(factory, 0), "pink")
