"""Retargeting: nothing moves unless it is held, nothing jumps, and what comes late or not at all is no danger."""

import dataclasses
import math

import numpy as np
import pytest

from humanoid_control.control_loop import ControlLoop, check_target
from humanoid_control.errors import TargetError
from humanoid_control.mission.factory import load_factory
from humanoid_control.nodes.factory_file import find_factory_file
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from humanoid_control.teleoperation.operator_input import HandInput, OperatorInput
from humanoid_control.teleoperation.retargeting import RAMP_S, TIMEOUT_S, Retargeting, TeleoperationLimits
from humanoid_control.transforms import from_pose, planar, rotation_vector
from humanoid_control.types import BaseEstimate, ImuSample, RobotState
from humanoid_control.whole_body_control.controller import standing_posture

PERIOD_S = 0.02
AHEAD = (0.25, 0.0, 0.0)


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


@pytest.fixture
def retargeting(model):
    made = Retargeting(model)
    made.begin(*standing(model))
    return made


def standing(model):
    imu = ImuSample(np.array([0.0, 0, 0, 1]), np.zeros(3), np.array([0, 0, 9.81]))
    posture = standing_posture(model)
    posture[[model.joint_names.index(f"{side}_elbow_joint") for side in ("left", "right")]] = 0.3
    state = RobotState(0.0, posture, np.zeros(29), np.zeros(29), imu, np.full(2, 0.08), np.zeros(2))
    estimate = BaseEstimate(0.0, np.array([1.0, 2.0, 0.72]), np.array([0.0, 0, 0, 1]), np.zeros(3), np.zeros(3), np.eye(6), np.ones(2, bool), np.zeros(2))
    return state, estimate


def hands(offset=(0.0, 0.0, 0.0), *, clutch=True, grip=0.0, turn=0.0):
    poses = [planar(0.3 + offset[0], 0.2 * side + offset[1], turn, 1.2 + offset[2]) for side in (1, -1)]
    return tuple(HandInput(pose, clutch, grip) for pose in poses)


def play(retargeting, seconds, given, *, begin_s=0.0, arrives=lambda now: True):
    """Asks for targets while `given(now)` comes in; returns them."""
    targets = []
    for tick in range(round(seconds / PERIOD_S)):
        now = begin_s + tick * PERIOD_S
        if arrives(now):
            retargeting.take(dataclasses.replace(given(now), stamp_s=now))
        targets.append(retargeting.target(now))
    return targets


def positions(targets):
    return np.array([target.hand_poses[:, :3] for target in targets])


def test_nothing_moves_unless_it_is_held(retargeting):
    waved = play(retargeting, 2.0, lambda now: OperatorInput(0.0, hands((0.3 * math.sin(5 * now), 0.1, 0.2), clutch=False), walk=np.ones(3)))
    assert np.ptp(positions(waved[10:]), axis=0).max() < 0.002
    assert all(not target.base_velocity.any() for target in waved)


def test_a_held_hand_goes_as_far_as_the_operators_times_the_scale_from_wherever_it_was_taken(model, retargeting):
    for scale in (1.0, 0.5):
        made = Retargeting(model, TeleoperationLimits(scale=scale))
        made.begin(*standing(model))
        before = play(made, 0.5, lambda now: OperatorInput(0.0, hands()))[-1]
        after = play(made, 3.0, lambda now: OperatorInput(0.0, hands((0.10, 0.04, 0.08))), begin_s=0.5)[-1]
        np.testing.assert_allclose(after.hand_poses[:, :3] - before.hand_poses[:, :3], np.tile(scale * np.array([0.10, 0.04, 0.08]), (2, 1)), atol=0.025)
    turned = play(made, 3.0, lambda now: OperatorInput(0.0, hands((0.10, 0.04, 0.08), turn=0.3)), begin_s=3.5)[-1]
    for side in (0, 1):
        turn = rotation_vector(from_pose(turned.hand_poses[side])[:3, :3] @ from_pose(after.hand_poses[side])[:3, :3].T)
        assert turn[2] == pytest.approx(0.3, abs=0.05)


def test_a_clutch_that_is_closed_elsewhere_moves_nothing(retargeting):
    play(retargeting, 1.0, lambda now: OperatorInput(0.0, hands()))
    first = play(retargeting, 0.5, lambda now: OperatorInput(0.0, hands(clutch=False)), begin_s=1.0)[-1]
    again = play(retargeting, 1.0, lambda now: OperatorInput(0.0, hands((0.0, 0.3, 0.3))), begin_s=1.5)[-1]
    np.testing.assert_allclose(again.hand_poses[:, :3], first.hand_poses[:, :3], atol=0.003)


@pytest.mark.parametrize("offset", [(2.0, 0.0, 0.0), (0.0, 3.0, 0.0), (0.0, 0.0, -2.0), (-1.0, 0.0, 0.0), (0.3, 0.0, 1.5)])
def test_whatever_is_asked_speeds_stay_bounded_and_control_takes_it(model, retargeting, offset):
    targets = play(retargeting, 4.0, lambda now: OperatorInput(0.0, hands(offset if now > 0.5 else (0.0, 0.0, 0.0), turn=2.0 if now > 0.5 else 0.0)))
    for target in targets:
        check_target(target, model=model)
    speeds = np.linalg.norm(np.diff(positions(targets), axis=0), axis=-1) / PERIOD_S
    assert speeds.max() < 1.4 * TeleoperationLimits().hand_speed  # the body's own motion included
    assert np.linalg.norm(np.diff(speeds, axis=0), axis=-1).max() / PERIOD_S < 6 * TeleoperationLimits().hand_acceleration


def test_hands_that_are_sent_through_each_other_stay_apart(retargeting):
    def crossing(now):
        away = min(0.2 * now, 0.5)
        poses = [planar(0.3, side * (0.2 - away), 0.0, 1.2) for side in (1, -1)]
        return OperatorInput(0.0, tuple(HandInput(pose, True) for pose in poses))

    targets = play(retargeting, 4.0, crossing)
    assert np.linalg.norm(positions(targets)[:, 0] - positions(targets)[:, 1], axis=-1).min() > 0.06


def test_torso_and_squat_follow_a_low_reach(retargeting):
    before = play(retargeting, 0.5, lambda now: OperatorInput(0.0, hands()))[-1]
    low = play(retargeting, 5.0, lambda now: OperatorInput(0.0, hands((0.15, 0.0, -0.5))), begin_s=0.5)[-1]
    assert low.hand_poses[:, 2].max() < before.hand_poses[:, 2].min() - 0.35
    assert low.pelvis_height < before.pelvis_height - 0.04 and low.torso_pitch > before.torso_pitch + 0.15


def test_without_input_it_holds_within_the_time_out_and_says_why(retargeting):
    moving = lambda now: OperatorInput(0.0, hands((0.1 * now, 0.0, 0.0)), drive=True, walk=np.array([1.0, 0.0, 0.0]))  # noqa: E731
    play(retargeting, 2.0, moving)
    targets = play(retargeting, 1.0, moving, begin_s=2.0, arrives=lambda now: False)
    assert "nothing came for" in retargeting.holds
    held = positions(targets)[round((TIMEOUT_S + 0.15) / PERIOD_S) :]
    assert np.ptp(held, axis=0).max() < 0.004
    assert all(not target.base_velocity.any() for target in targets[round((TIMEOUT_S + 0.3) / PERIOD_S) :])


def test_when_input_comes_again_it_begins_slowly_and_catches_up_with_nothing(retargeting):
    play(retargeting, 1.0, lambda now: OperatorInput(0.0, hands()))
    last = play(retargeting, 0.5, lambda now: OperatorInput(0.0, hands()), begin_s=1.0, arrives=lambda now: False)[-1]
    again = play(retargeting, 0.5, lambda now: OperatorInput(0.0, hands((0.3, 0.2, 0.1))), begin_s=1.5)
    np.testing.assert_allclose(again[-1].hand_poses[:, :3], last.hand_poses[:, :3], atol=0.003)
    moved = play(retargeting, RAMP_S, lambda now: OperatorInput(0.0, hands((0.5, 0.2, 0.1))), begin_s=2.0)
    assert np.linalg.norm(np.diff(positions(moved), axis=0), axis=-1).max() / PERIOD_S < 1.4 * TeleoperationLimits().hand_speed


def test_another_clock_or_a_pause_in_asking_begins_from_standing(retargeting):
    walking = lambda now: OperatorInput(0.0, hands(), drive=True, walk=np.array([1.0, 0.0, 0.0]))  # noqa: E731
    for begin_s in (2.0, -50.0):  # nobody asked for a while; the robot's clock began anew
        retargeting.begin(*standing(RobotModel.load()))
        last = play(retargeting, 1.5, walking)[-1]
        assert last.base_velocity[0] > 0.2
        first = play(retargeting, 0.1, walking, begin_s=begin_s, arrives=lambda now: False)
        assert all(not target.base_velocity.any() for target in first) and retargeting.holds
        again = play(retargeting, 0.1, walking, begin_s=begin_s + 0.1)
        assert 0.0 < again[-1].base_velocity[0] < 0.15


def test_late_and_lost_packets_are_smoothed(model):
    rng = np.random.default_rng(0)
    stroke = lambda now: OperatorInput(0.0, hands((0.12 * math.sin(1.5 * now), 0.0, 0.1 * math.sin(1.1 * now))))  # noqa: E731
    tracks = []
    for arrives in (lambda now: True, lambda now: round(now / PERIOD_S) % 2 == 0 and rng.random() > 0.05):
        made = Retargeting(model)
        made.begin(*standing(model))
        tracks.append(positions(play(made, 8.0, stroke, arrives=arrives))[100:])
    assert np.linalg.norm(tracks[1] - tracks[0], axis=-1).max() < 0.03
    hardest = [np.linalg.norm(np.diff(track, 2, axis=0), axis=-1).max() / PERIOD_S**2 for track in tracks]
    assert hardest[1] < 2.5 * TeleoperationLimits().hand_acceleration


def test_a_gripper_stays_as_it_was_told_until_the_operators_grip_meets_that(model):
    made = Retargeting(model)
    made.begin(*standing(model), openings=np.zeros(2))  # it holds something: measured, its fingers are apart
    openings = lambda targets: np.array([target.gripper_openings for target in targets])  # noqa: E731
    assert not openings(play(made, 1.0, lambda now: OperatorInput(0.0, hands()))).any()
    assert not openings(play(made, 1.0, lambda now: OperatorInput(0.0, hands(grip=1.0)), begin_s=1.0)).any()
    released = openings(play(made, 1.0, lambda now: OperatorInput(0.0, hands(grip=0.0)), begin_s=2.0))
    assert (released[-1] == TeleoperationLimits().opening).all() and np.diff(released, axis=0).max() < 0.01
    play(made, 0.2, lambda now: OperatorInput(0.0, hands(clutch=False, grip=1.0)), begin_s=3.0)
    closing = openings(play(made, 1.0, lambda now: OperatorInput(0.0, hands(grip=1.0)), begin_s=3.2))
    assert (closing == TeleoperationLimits().opening).all()  # squeezed before the clutch was closed: not until it was let go once
    play(made, 0.3, lambda now: OperatorInput(0.0, hands(grip=0.0)), begin_s=4.2)
    half = openings(play(made, 0.1, lambda now: OperatorInput(0.0, hands(grip=1.0)), begin_s=4.5))[-1]
    play(made, 0.5, lambda now: OperatorInput(0.0, hands(grip=1.0)), begin_s=4.6, arrives=lambda now: False)
    assert (half > 0.0).all() and not openings(play(made, 1.0, lambda now: OperatorInput(0.0, hands(grip=1.0)), begin_s=5.1))[-1].any()


def test_what_is_no_input_is_refused_by_name(retargeting):
    for wrong, text in ((OperatorInput(0.0, walk=np.array([2.0, 0, 0])), "walk is"), (OperatorInput(0.0, (HandInput(grip=7.0), HandInput())), "left grip is 7.0"),
                        (OperatorInput(0.0, (HandInput(), HandInput(np.full((4, 4), np.nan)))), "right hand has no pose")):  # fmt: skip
        with pytest.raises(TargetError, match=text):
            retargeting.take(wrong)


def test_it_walks_while_both_hands_move_and_does_not_fall(model):
    factory = load_factory(find_factory_file("line_side"))
    floor = SimulatedFactory(model, draw_episode(factory, 1))
    robot, loop = floor.robot, ControlLoop(floor.robot)
    robot.connect()
    made, errors, begun = Retargeting(model), [], None
    every = round(PERIOD_S / robot.period_s)
    for tick in range(round(9.0 / robot.period_s)):
        now = tick * robot.period_s
        if now > 0.5 and tick % every == 0:
            state, estimate = loop.state, loop.estimate()
            if begun is None:
                made.begin(state, estimate)
                begun = estimate.position.copy()
            walk = np.array([-0.5, 0.0, 0.2]) if 3.0 < now < 7.0 else np.zeros(3)  # away from the station it stands before
            move = (0.15 + 0.05 * math.sin(2 * now), 0.0, 0.15 + 0.05 * math.cos(2 * now)) if now > 1.0 else (0.0, 0.0, 0.0)
            made.take(OperatorInput(state.stamp_s, hands(move), drive=True, walk=walk))
            loop.submit(made.target(state.stamp_s))
            errors.append(loop.status().hand_errors.max())
        loop.step()
        robot.wait_next_tick()
    assert loop.status().mode != "stopped" and robot.data.qpos[2] > 0.6
    assert np.linalg.norm(loop.estimate().position[:2] - begun[:2]) > 0.5 and loop.status().step_count > 5
    assert np.percentile(errors[100:], 90) < 0.04
    robot.close()
