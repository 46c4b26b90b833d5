"""The body on feet that stand: hands by the encoders and in any configuration, and how low and bent it is."""

import math

import numpy as np
import pinocchio as pin
import pytest

from humanoid_control.robot_model import RobotModel
from humanoid_control.standing_body import LOWEST_SQUAT, SOLES_AHEAD, UPRIGHT, UPRIGHT_HEIGHT, BodyPosture, LimbKinematics, reaching_targets
from humanoid_control.transforms import planar, rotation_y, to_pose, transform
from humanoid_control.whole_body_control.controller import standing_posture


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


def test_postures_blend_from_one_to_the_other():
    there = type(UPRIGHT)(0.6, 0.8)
    assert UPRIGHT.towards(there, 0.0) == UPRIGHT
    halfway = UPRIGHT.towards(there, 0.5)
    assert halfway.pelvis_height == pytest.approx(0.66) and halfway.torso_pitch == pytest.approx(0.4)


def test_hands_by_the_encoders_are_pinocchios(model):
    kinematics = LimbKinematics(model)
    random = np.random.default_rng(3)
    data = model.pinocchio_model.createData()
    for _ in range(5):
        joints = standing_posture(model) + random.uniform(-0.2, 0.2, 29)
        hands = kinematics.base_from_hands(joints)
        pin.framesForwardKinematics(model.pinocchio_model, data, np.concatenate([[0, 0, 0, 0, 0, 0, 1.0], joints]))
        for hand, frame in zip(hands, ("l_gripper", "r_gripper")):
            np.testing.assert_allclose(hand, data.oMf[model.pinocchio_model.getFrameId(frame)].homogeneous, atol=1e-12)


def test_limbs_of_a_whole_configuration_are_those_at_the_base_moved_with_it(model):
    kinematics, joints = LimbKinematics(model), standing_posture(model)
    world_from_base = transform(rotation_y(0.3), np.array([1.0, 2.0, 0.7]))
    configuration = np.concatenate([to_pose(world_from_base), joints])
    for at_base, in_world in ((kinematics.base_from_hands(joints), kinematics.hands(configuration)),
                              (kinematics.base_from_soles(joints), kinematics.soles(configuration))):  # fmt: skip
        for base_from_limb, world_from_limb in zip(at_base, in_world):
            np.testing.assert_allclose(world_from_base @ base_from_limb, world_from_limb, atol=1e-12)


def test_low_hands_are_squatted_for_and_the_soles_stay(model):
    heights = []
    for height in (0.2, 0.5, 0.9, 1.4):
        targets = reaching_targets([planar(0.3, side, 0.0, height + rise) for side, rise in ((0.2, 0.0), (-0.2, 0.1))], standing_posture(model))
        heights.append(targets.frame_poses[5, 2])
        np.testing.assert_allclose(targets.frame_poses[2:4, :3], [[SOLES_AHEAD, 0.11, 0.0], [SOLES_AHEAD, -0.11, 0.0]])
    assert heights == sorted(heights) and (heights[0], heights[-1]) == (LOWEST_SQUAT, UPRIGHT_HEIGHT)


def test_a_posture_is_the_pelvis_height_and_how_the_torso_is_bent_against_the_vertical(model):
    joints = np.zeros(29)
    joints[model.joint_names.index("waist_pitch_joint")] = 0.2
    posture = BodyPosture.of(model, np.concatenate([to_pose(transform(rotation_y(0.3), np.array([0.0, 0.0, 0.65]))), joints]))
    assert posture.pelvis_height == pytest.approx(0.65) and posture.torso_pitch == pytest.approx(0.5)
    folded = BodyPosture.of(model, np.concatenate([to_pose(transform(rotation_y(math.pi / 2), np.zeros(3))), joints]))
    assert folded == BodyPosture(0.55, 1.15)  # no more than targets may ask for
