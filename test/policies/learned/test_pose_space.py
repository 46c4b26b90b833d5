"""Inputs and chunks of a policy on poses: the same motion is the same numbers, and comes back as it was."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from humanoid_control.control_loop import check_target
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import planar, to_pose, transform
from humanoid_control.types import FRAME_BASE_FOOTPRINT, FRAME_ODOM, WholeBodyTarget
from policies.learned.action_space import encode_target
from policies.learned.observation_space import GOAL_SIZE
from policies.learned.pose_space import (
    ACTIVE, HAND_SIZE, HANDS, MOVES, MOVING, STEP_SIZE, STEPS, decode_step, encode_chunk, pose_inputs, tote_numbers,
)  # fmt: skip


def pose(rng):
    return transform(Rotation.random(random_state=int(rng.integers(1 << 30))).as_matrix(), rng.uniform(-0.5, 0.5, 3) + [0.4, 0, 0.8])


def state_with(hands):
    state = np.zeros(94)
    state[HANDS] = np.concatenate([np.concatenate([hand[:3, 3], hand[:3, :2].T.ravel()]) for hand in hands])
    return state


def target(rng, frame, *, walks):
    return WholeBodyTarget(
        0.0, frame, np.array([0.2, -0.05, 0.3]) if walks else np.zeros(3), np.array([to_pose(pose(rng)) for _ in (0, 1)]), np.ones(2, bool),
        torso_pitch=0.3, pelvis_height=0.66, gripper_openings=np.array([0.02, 0.03]),
    )  # fmt: skip


@pytest.mark.parametrize("frame,walks", [(FRAME_ODOM, False), (FRAME_BASE_FOOTPRINT, True)])
def test_a_target_comes_back_as_it_was_though_the_base_sways(frame, walks):
    rng = np.random.default_rng(3)
    wanted, hands = target(rng, frame, walks=walks), (pose(rng), pose(rng))
    footprints = np.array([[0.2, -0.1, 0.7]]) + np.cumsum(rng.normal(0.0, 0.01, (STEPS, 3)), axis=0)
    actions = np.array([encode_target(wanted, planar(*footprint)) for footprint in footprints])
    chunk = encode_chunk(actions, footprints, state_with(hands))
    for step in (0, STEPS - 1):
        back = decode_step(chunk[step], state_with(hands), planar(*footprints[0]), stamp_s=1.0, gripper_force=20.0)
        assert back.frame == frame and back.hand_active.all()
        np.testing.assert_allclose(back.base_velocity, wanted.base_velocity)
        np.testing.assert_allclose(back.hand_poses[:, :3], wanted.hand_poses[:, :3], atol=1e-9)
        assert (np.abs((back.hand_poses[:, 3:] * wanted.hand_poses[:, 3:]).sum(axis=1)) > 1 - 1e-9).all()
        assert (back.torso_pitch, back.pelvis_height) == pytest.approx((0.3, 0.66))
        np.testing.assert_allclose(back.gripper_openings, wanted.gripper_openings)


def test_many_chunks_at_once_are_those_of_each():
    rng = np.random.default_rng(4)
    footprints = rng.normal(0.0, 0.05, (5, STEPS, 3))
    actions = np.array([[encode_target(target(rng, FRAME_ODOM, walks=bool(k % 2)), planar(*f)) for k, f in enumerate(row)] for row in footprints])
    states = np.array([state_with((pose(rng), pose(rng))) for _ in range(5)])
    each = np.array([encode_chunk(a, f, s) for a, f, s in zip(actions, footprints, states)])
    np.testing.assert_allclose(encode_chunk(actions, footprints, states), each, atol=1e-12)


def test_hands_without_a_task_move_nowhere_and_are_told_so():
    idle = WholeBodyTarget(0.0)
    chunk = encode_chunk(np.array([encode_target(idle, np.eye(4))] * STEPS), np.zeros((STEPS, 3)), state_with((np.eye(4), np.eye(4))))
    assert not chunk[:, ACTIVE].any() and not chunk[:, MOVING].any() and not chunk[:, MOVES[0]].any()
    assert not decode_step(chunk[0], np.zeros(94), np.eye(4), stamp_s=0.0, gripper_force=20.0).hand_active.any()


def test_a_tote_turned_by_half_is_the_same_tote():
    rng = np.random.default_rng(5)
    tote = planar(0.5, 0.1, 0.2, 0.7)
    given = dict(state=state_with((pose(rng), pose(rng))), goal=rng.normal(size=GOAL_SIZE), way=rng.normal(size=6))
    one, other = (pose_inputs(given["state"], given["goal"], given["way"], tote_numbers(np.eye(4), turned), np.array(2), np.array(0.3), subtasks=9)
                  for turned in (tote, tote @ planar(0.0, 0.0, np.pi)))  # fmt: skip
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.isfinite(one).all() and one.dtype == np.float32
    assert HAND_SIZE * 2 == HANDS.stop - HANDS.start


def test_whatever_a_network_says_control_can_take():
    rng, model = np.random.default_rng(6), RobotModel.load()
    for _ in range(50):
        step = rng.normal(0.0, 10.0, STEP_SIZE)
        state = state_with((pose(rng), pose(rng)))
        for moving in (0.0, 1.0):
            step[MOVING], step[ACTIVE] = moving, 1.0
            made = decode_step(step, state, np.eye(4), stamp_s=0.0, gripper_force=20.0)
            check_target(made, model=model, base_position=np.array([0.0, 0.0, made.pelvis_height]))
