"""The mirror of training: what stands in it is what the robot would be and do with left and right changed."""

import numpy as np
import pytest

from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.robot_model import RobotModel
from humanoid_control.standing_body import LimbKinematics
from humanoid_control.transforms import planar, to_pose
from humanoid_control.types import FRAME_BASE_FOOTPRINT, WholeBodyTarget
from policies.learned.action_space import encode_target
from policies.learned.observation_space import state_names
from policies.learned.pose_space import HANDS, STEPS, encode_chunk, tote_numbers
from policies.learned.rotations import to_columns
from policies.learned.training.mirror import mirrors
from policies.scripted.grips import hand_in_tote

ACROSS = np.diag([1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


def in_mirror(pose):
    return ACROSS @ pose @ ACROSS


def numbers(hands):
    return np.concatenate([np.concatenate([hand[:3, 3], to_columns(hand)]) for hand in hands])


def test_twice_in_the_mirror_is_as_before(model):
    rng = np.random.default_rng(1)
    for mirror in mirrors(model).values():
        vectors = rng.normal(size=(3, len(mirror.order)))
        np.testing.assert_allclose(mirror(mirror(vectors)), vectors)


def test_hands_in_the_mirror_are_those_of_the_joints_in_the_mirror(model):
    state, limbs = mirrors(model)["state"], LimbKinematics(model)
    vector = np.zeros(len(state_names(model)))
    joints = np.random.default_rng(2).uniform(-0.4, 0.4, len(model.joint_names))
    vector[: len(joints)], vector[HANDS] = joints, numbers(limbs.base_from_hands(joints))
    mirrored = state(vector)
    np.testing.assert_allclose(numbers(limbs.base_from_hands(mirrored[: len(joints)])), mirrored[HANDS], atol=1e-4)


def test_grips_on_a_tote_in_the_mirror_are_grips_on_it(model):
    of, tote = mirrors(model), planar(0.5, 0.12, 0.3, 0.7)
    for carrier in LOAD_CARRIERS.values():
        grips = [numbers([pose @ hand_in_tote(carrier, side) for side in (0, 1)]) for pose in (tote, in_mirror(tote))]
        np.testing.assert_allclose(of["reference"](grips[0]), grips[1], atol=1e-9)
    np.testing.assert_allclose(of["tote"](tote_numbers(np.eye(4), tote)), tote_numbers(np.eye(4), in_mirror(tote)), atol=1e-9)


def test_a_chunk_in_the_mirror_is_the_chunk_of_the_motion_in_the_mirror(model):
    rng, of = np.random.default_rng(3), mirrors(model)
    begin = [planar(0.4, sign * 0.2, 0.3 * sign, 0.8) @ planar(*rng.normal(0.0, 0.05, 3)) for sign in (1, -1)]
    footprints = np.cumsum(rng.normal(0.0, 0.02, (STEPS, 3)), axis=0)

    def chunk(hands, floor, sign):
        targets = [WholeBodyTarget(0.0, FRAME_BASE_FOOTPRINT, np.array([0.1, 0.05 * sign, 0.2 * sign * (k % 2)]) * (k > 5),
                                   np.array([to_pose(hand @ planar(0.01 * k, 0.0, 0.02 * k * sign)) for hand in hands]),
                                   np.ones(2, bool), gripper_openings=np.array([0.02, 0.05])[::sign]) for k in range(STEPS)]  # fmt: skip
        return encode_chunk(np.array([encode_target(target, np.eye(4)) for target in targets]), floor, numbers(hands))

    mirrored = chunk([in_mirror(hand) for hand in begin[::-1]], footprints * [1.0, -1.0, -1.0], -1)
    np.testing.assert_allclose(of["chunk"](chunk(begin, footprints, 1)), mirrored, atol=1e-6)
