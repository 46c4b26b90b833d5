"""Inputs and chunks of a policy on poses: the same motion is the same numbers, and comes back as it was."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from humanoid_control.control_loop import check_target
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import planar, to_pose, transform
from humanoid_control.types import FRAME_BASE_FOOTPRINT, FRAME_ODOM, WholeBodyTarget
from policies.learned.action_space import encode_target
from policies.learned.observation_space import GOAL_NAMES, GOAL_SIZE, state_names
from policies.learned.pose_space import (
    ACTIVE, FINGERS_FORCE, FINGERS_OPEN, GOAL_PLACE, GOAL_ROOM, GOAL_SURFACE, HAND_SIZE, HANDS, KIND, MASSES, MOVES, MOVING, SOURCE_PLACE, SOURCE_ROOM,
    SOURCE_SURFACE, STEP_SIZE, STEPS, TURNS, UPPER_VELOCITIES, WAIST, decode_step, encode_chunk, pose_inputs, reference_hands, tote_numbers,
)  # fmt: skip


def pose(rng):
    return transform(Rotation.random(random_state=int(rng.integers(1 << 30))).as_matrix(), rng.uniform(-0.5, 0.5, 3) + [0.4, 0, 0.8])


def state_with(hands):
    state = np.zeros(94)
    state[HANDS] = np.concatenate([np.concatenate([hand[:3, 3], hand[:3, :2].T.ravel()]) for hand in hands])
    return state


def wanted_at(hands):
    return state_with(hands)[HANDS]


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
    chunk = encode_chunk(actions, footprints, wanted_at(hands))
    for step in (0, STEPS - 1):
        back = decode_step(chunk[step], wanted_at(hands), planar(*footprints[0]), stamp_s=1.0, gripper_force=20.0)
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
    wanted = np.array([wanted_at((pose(rng), pose(rng))) for _ in range(5)])
    each = np.array([encode_chunk(a, f, s) for a, f, s in zip(actions, footprints, wanted)])
    np.testing.assert_allclose(encode_chunk(actions, footprints, wanted), each, atol=1e-12)


def test_hands_without_a_task_move_nowhere_and_are_told_so():
    idle = WholeBodyTarget(0.0)
    chunk = encode_chunk(np.array([encode_target(idle, np.eye(4))] * STEPS), np.zeros((STEPS, 3)), wanted_at((np.eye(4), np.eye(4))))
    assert not chunk[:, ACTIVE].any() and not chunk[:, MOVING].any() and not chunk[:, MOVES[0]].any()
    assert not decode_step(chunk[0], wanted_at((np.eye(4), np.eye(4))), np.eye(4), stamp_s=0.0, gripper_force=20.0).hand_active.any()


def test_a_tote_turned_by_half_is_the_same_tote():
    rng = np.random.default_rng(5)
    tote = planar(0.5, 0.1, 0.2, 0.7)
    given = dict(state=state_with((pose(rng), pose(rng))), goal=rng.normal(size=GOAL_SIZE), way=rng.normal(size=6))
    one, other = (pose_inputs(given["state"], given["state"][HANDS] + 0.01, given["goal"], given["way"], tote_numbers(np.eye(4), turned), np.array(2), np.array(0.3), subtasks=9)
                  for turned in (tote, tote @ planar(0.0, 0.0, np.pi)))  # fmt: skip
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.isfinite(one).all() and one.dtype == np.float32
    assert HAND_SIZE * 2 == HANDS.stop - HANDS.start


def test_whatever_a_network_says_control_can_take():
    rng, model = np.random.default_rng(6), RobotModel.load()
    for _ in range(50):
        step = rng.normal(0.0, 10.0, STEP_SIZE)
        wanted = wanted_at((pose(rng), pose(rng)))
        for moving in (0.0, 1.0):
            step[MOVING], step[ACTIVE] = moving, 1.0
            made = decode_step(step, wanted, np.eye(4), stamp_s=0.0, gripper_force=20.0)
            check_target(made, model=model, base_position=np.array([0.0, 0.0, made.pelvis_height]))


def test_slices_are_what_they_are_called():
    state, goal = state_names(RobotModel.load()), GOAL_NAMES
    assert state[HANDS][0] == "left_hand.x" and state[HANDS][-1] == "right_hand.yz"
    assert state[MASSES] == ("left_payload_mass", "right_payload_mass")
    assert state[WAIST] == tuple(f"waist_{axis}_joint.position" for axis in ("yaw", "roll", "pitch"))
    assert state[UPPER_VELOCITIES][0] == "waist_yaw_joint.velocity" and state[UPPER_VELOCITIES][-1] == "right_wrist_yaw_joint.velocity"
    assert (state[FINGERS_OPEN][0], state[FINGERS_FORCE][-1]) == ("left_gripper.opening", "right_gripper.force")
    for part, first, last in ((SOURCE_SURFACE, "source_surface.x", "source_surface.front_x"), (SOURCE_PLACE, "source_place.x", "source_place.sin_yaw"),
                              (GOAL_SURFACE, "goal_surface.x", "goal_surface.front_x"), (GOAL_PLACE, "goal_place.x", "goal_place.sin_yaw"),
                              (SOURCE_ROOM, "source_surface.free_height", "source_surface.leg_room"),
                              (GOAL_ROOM, "goal_surface.free_height", "goal_surface.leg_room")):  # fmt: skip
        assert (goal[part][0], goal[part][-1]) == (first, last)
    assert goal[KIND] == tuple(f"tote.{kind}" for kind in LOAD_CARRIERS)


def test_moves_are_told_from_where_hands_are_wanted_while_they_hold_and_else_from_where_they_are():
    rng = np.random.default_rng(7)
    hands, wanted = (pose(rng), pose(rng)), target(rng, FRAME_BASE_FOOTPRINT, walks=True)
    action, state = encode_target(wanted, np.eye(4)), state_with(hands)
    np.testing.assert_allclose(reference_hands(action, state)[:3], wanted.hand_poses[0, :3])
    np.testing.assert_allclose(reference_hands(encode_target(WholeBodyTarget(0.0), np.eye(4)), state), wanted_at(hands))
    state[FINGERS_OPEN] = 0.02, 0.08  # one holds nothing
    np.testing.assert_allclose(reference_hands(action, state), wanted_at(hands))


def test_who_holds_what_it_holds_moves_nothing():
    rng = np.random.default_rng(8)
    held = target(rng, FRAME_BASE_FOOTPRINT, walks=True)
    actions = np.array([encode_target(held, np.eye(4))] * STEPS)
    chunk = encode_chunk(actions, np.cumsum(rng.normal(0.0, 0.02, (STEPS, 3)), axis=0), reference_hands(actions[0], np.zeros(94)))
    np.testing.assert_allclose(chunk[:, MOVES[0].start : TURNS[1].stop], 0.0, atol=1e-9)
