"""Noise in the expert stays within what was asked for, and spares what must not be disturbed."""

from dataclasses import replace

import numpy as np
import pytest

from humanoid_control.control_loop import check_target
from humanoid_control.errors import ConfigurationError
from humanoid_control.types import FRAME_ODOM, WholeBodyTarget
from policies.data.expert_noise import BURST_S, ExpertNoise

PERIOD_S = 0.02
TARGET = WholeBodyTarget(
    0.0, FRAME_ODOM, np.array([0.3, 0.0, 0.1]), np.array([[0.4, 0.2, 0.8, 0, 0, 0, 1], [0.4, -0.2, 0.8, 0, 0, 0, 1]]),
    np.ones(2, bool), np.zeros((2, 6)), 0.1, 0.7, np.full(2, 0.09), np.full(2, 20.0),
)  # fmt: skip


def followed(seed, share, *, seconds=60.0, target=TARGET, subtask="carry"):
    noise = ExpertNoise(np.random.default_rng(seed), share)
    noise.begin(0.0)
    return [(noise.disturbed(target, subtask, k * PERIOD_S), noise.is_active()) for k in range(int(seconds / PERIOD_S))]


def test_without_noise_the_target_is_the_experts_own():
    assert all(sent is TARGET and not active for sent, active in followed(1, 0.0))


def test_the_same_seed_is_the_same_noise_and_another_is_not():
    one, same, other = (np.array([s.hand_poses for s, _ in followed(seed, 0.3)]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


def test_bursts_take_about_the_share_that_was_asked_for():
    active = np.array([active for _, active in followed(3, 0.3, seconds=1500.0)])
    assert active.mean() == pytest.approx(0.3, abs=0.04)
    edges = np.diff(active.astype(int))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    lengths = PERIOD_S * (ends[: len(begins)] - begins[: len(ends)])
    assert BURST_S[0] - PERIOD_S <= lengths.min() and lengths.max() <= BURST_S[1] + PERIOD_S


def test_outside_bursts_nothing_is_changed():
    sent = followed(4, 0.2)
    assert any(active for _, active in sent)
    assert all(target is TARGET for target, active in sent if not active)


def test_noise_is_smooth_and_its_velocity_is_told():
    sent = [target for target, _ in followed(5, 0.5, seconds=120.0)]
    places = np.array([target.hand_poses[:, :3] for target in sent])
    steps = np.diff(places, axis=0)
    assert 0.01 < np.abs(places - TARGET.hand_poses[:, :3]).max() < 0.12
    assert np.abs(steps).max() / PERIOD_S < 1.0
    told = np.array([target.hand_velocities[:, :3] for target in sent])[1:]
    within = np.abs(told).max(axis=(1, 2)) > 0
    np.testing.assert_allclose(told[within], steps[within] / PERIOD_S, atol=1e-9)


@pytest.mark.parametrize("subtask", ["carry", "reach", "grip", "set_down", "let_go"])
@pytest.mark.parametrize("extreme", [{}, {"base_velocity": np.array([0.6, 0.3, -1.2])}, {"torso_pitch": 1.2, "pelvis_height": 0.80}])
def test_what_is_sent_is_always_a_target_that_control_takes(subtask, extreme):
    for sent, _ in followed(6, 0.5, target=replace(TARGET, **extreme), subtask=subtask):
        check_target(sent, base_position=np.array([0.0, 0.0, 0.7]))
        np.testing.assert_array_equal(sent.gripper_openings, TARGET.gripper_openings)
        np.testing.assert_array_equal(sent.gripper_forces, TARGET.gripper_forces)


def test_hands_that_hold_a_tote_keep_their_distance_and_turn():
    closed = replace(TARGET, gripper_openings=np.zeros(2))
    for sent, _ in followed(7, 0.5, target=closed):
        np.testing.assert_allclose(sent.hand_poses[0, :3] - sent.hand_poses[1, :3], [0.0, 0.4, 0.0], atol=1e-12)
        np.testing.assert_allclose(sent.hand_poses[:, 3:], closed.hand_poses[:, 3:], atol=1e-12)


def test_fingers_that_close_within_a_burst_end_what_moves_hands_apart():
    noise = ExpertNoise(np.random.default_rng(8), 0.5)
    noise.begin(0.0)
    now, apart = 0.0, []
    while not noise.is_active():
        noise.disturbed(TARGET, "carry", now)
        now += PERIOD_S
    closed = replace(TARGET, gripper_openings=np.zeros(2))
    while noise.is_active():
        sent = noise.disturbed(closed, "carry", now)
        apart.append(np.linalg.norm(sent.hand_poses[0, :3] - sent.hand_poses[1, :3] - [0.0, 0.4, 0.0]))
        now += PERIOD_S
    assert apart[-1] < 1e-3 and max(apart) < 0.02


def test_who_stands_is_left_standing_and_idle_hands_idle():
    still = replace(TARGET, base_velocity=np.zeros(3), hand_active=np.zeros(2, bool))
    for sent, _ in followed(9, 0.5, target=still):
        assert not sent.base_velocity.any()
        np.testing.assert_array_equal(sent.hand_poses, still.hand_poses)


@pytest.mark.parametrize("share", [-0.1, 0.51, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ConfigurationError, match="--noise is .*; a share from 0 to 0.5"):
        ExpertNoise(np.random.default_rng(0), share)
