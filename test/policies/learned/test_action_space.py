"""Targets survive the way into an action and back."""

import numpy as np
import pytest

from humanoid_control.control_loop import check_target
from humanoid_control.transforms import from_pose, inverse, planar, rotation_of_vector, to_pose, transform
from humanoid_control.types import FRAME_BASE_FOOTPRINT, FRAME_ODOM, WholeBodyTarget
from policies.learned.action_space import ACTION_NAMES, ACTION_SIZE, HANDS, decode_action, encode_target
from policies.learned.rotations import from_columns, to_columns

FOOTPRINT = planar(1.3, -0.7, 2.1)


def drawn_target(rng: np.random.Generator, frame: str, active=(True, True)) -> WholeBodyTarget:
    hands = []
    for side in (1, -1):
        hand = transform(rotation_of_vector(rng.uniform(-2, 2, 3)), rng.uniform(-0.3, 0.3, 3) + [0.3, 0.2 * side, 0.8])
        hands.append(to_pose(FOOTPRINT @ hand if frame == FRAME_ODOM else hand))
    return WholeBodyTarget(3.5, frame, rng.uniform(-0.3, 0.3, 3), np.array(hands), np.array(active), np.zeros((2, 6)),
                           0.3, 0.66, rng.uniform(0, 0.09, 2), rng.uniform(0, 20, 2))  # fmt: skip


@pytest.mark.parametrize("frame", [FRAME_ODOM, FRAME_BASE_FOOTPRINT])
def test_a_target_comes_back_from_its_action(frame):
    rng = np.random.default_rng(1)
    for _ in range(50):
        target = drawn_target(rng, frame)
        back = decode_action(encode_target(target, FOOTPRINT), stamp_s=3.5, odom_from_footprint=FOOTPRINT if frame == FRAME_ODOM else None)
        assert back.frame == frame and back.stamp_s == target.stamp_s
        for name in ("base_velocity", "hand_active", "gripper_openings", "gripper_forces", "torso_pitch", "pelvis_height"):
            np.testing.assert_array_equal(getattr(back, name), getattr(target, name))
        for one, other in zip(back.hand_poses, target.hand_poses):
            np.testing.assert_allclose(from_pose(one), from_pose(other), atol=1e-12)
        check_target(back)


def test_an_action_comes_back_from_its_target_also_in_single_precision():
    rng = np.random.default_rng(2)
    for _ in range(50):
        action = encode_target(drawn_target(rng, FRAME_ODOM), FOOTPRINT)
        again = encode_target(decode_action(action.astype(np.float32), stamp_s=0.0), np.eye(4))
        np.testing.assert_allclose(again, action, atol=2e-6)


def test_the_same_motion_elsewhere_on_the_floor_is_the_same_action():
    target, moved = drawn_target(np.random.default_rng(3), FRAME_ODOM), planar(-4.0, 2.0, -1.0)
    elsewhere = np.array([to_pose(moved @ inverse(FOOTPRINT) @ from_pose(pose)) for pose in target.hand_poses])
    there = WholeBodyTarget(**{**target.__dict__, "hand_poses": elsewhere})
    np.testing.assert_allclose(encode_target(there, moved), encode_target(target, FOOTPRINT), atol=1e-12)


def test_a_hand_without_a_task_is_the_same_wherever_the_robot_is():
    target = drawn_target(np.random.default_rng(4), FRAME_ODOM, active=(False, True))
    action = encode_target(target, FOOTPRINT)
    np.testing.assert_array_equal(action[HANDS[0]], [0, 0, 0, 1, 0, 0, 0, 1, 0])
    assert decode_action(action, stamp_s=0.0).hand_active.tolist() == [False, True]


def test_what_a_network_says_becomes_a_proper_turn():
    rng = np.random.default_rng(5)
    for _ in range(50):
        rotation = from_columns(rng.standard_normal(6))
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        np.testing.assert_allclose(from_columns(1.7 * to_columns(rotation)), rotation, atol=1e-12)
    np.testing.assert_array_equal(from_columns(np.zeros(6)), np.eye(3))
    np.testing.assert_array_equal(from_columns(np.array([1.0, 0, 0, 2.0, 0, 0])), np.eye(3))


def test_every_number_has_a_name_of_its_own():
    assert len(ACTION_NAMES) == len(set(ACTION_NAMES)) == ACTION_SIZE
