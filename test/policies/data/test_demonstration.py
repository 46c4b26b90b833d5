"""What is written down of an episode is what happened in it."""

import numpy as np
import pytest

from humanoid_control.errors import ConfigurationError
from policies.data import schema
from policies.data.demonstration import check_rate, clean_steps, demonstrate
from policies.learned.action_space import ACTION_NAMES, GRIPPER_OPENINGS, HANDS
from policies.learned.observation_space import GOAL_NAMES


@pytest.mark.parametrize(
    "disturbed, steps",
    [([0, 0, 0, 0], [4, 3, 2, 1]), ([0, 1, 0, 0], [2, 1, 2, 1]), ([1, 1, 1], [1, 1, 1]), ([0, 0, 1], [3, 2, 1]), ([0], [1])],
)  # fmt: skip
def test_clean_steps_end_where_noise_begins(disturbed, steps):
    assert clean_steps(np.array(disturbed, bool), np.ones(len(disturbed), bool)).tolist() == steps


def test_where_the_learner_drives_nothing_is_to_be_learnt():
    expert = np.array([0, 0, 1, 1, 1, 0, 1], bool)
    assert clean_steps(np.zeros(7, bool), expert).tolist() == [0, 0, 3, 2, 1, 0, 1]


def test_frames_last_a_whole_number_of_the_experts_periods():
    assert check_rate(10, 0.02) == 5 and check_rate(50, 0.02) == 1
    for rate in (0, 7, 100):
        with pytest.raises(ConfigurationError, match="--fps is .*; allowed: 1, 2, 5, 10, 25, 50"):
            check_rate(rate, 0.02)


@pytest.mark.slow
def test_an_order_is_carried_out_in_spite_of_the_noise(real):
    assert real.outcome == "success" and real.detail == "t1 stands on outfeed"
    assert real.frames == pytest.approx(10 * real.cycle_time_s, abs=2)
    order = list(dict.fromkeys(real.columns[schema.SUBTASK]))
    assert order[:5] == ["approach", "ready", "reach", "grip", "lift"] and "set_down" in order


@pytest.mark.slow
def test_every_column_is_there_finite_and_of_its_shape(real, columns):
    for column in columns:
        values = real.columns[column.name]
        assert len(values) == real.frames
        if column.dtype != "string":
            assert values.dtype == column.dtype and np.isfinite(values.astype(float)).all()
            assert values.shape[1:] == (() if len(column.names) == 1 else (len(column.names),))


@pytest.mark.slow
def test_label_and_what_was_sent_differ_in_noise_alone(real):
    differs = np.abs(real.columns[schema.ACTION] - real.columns[schema.ACTION_SENT]).max(axis=1) > 1e-7
    assert not (differs & ~real.columns[schema.NOISE]).any()
    assert differs.mean() > 0.1
    np.testing.assert_array_equal(real.columns[schema.ACTION][:, GRIPPER_OPENINGS], real.columns[schema.ACTION_SENT][:, GRIPPER_OPENINGS])
    assert (real.columns[schema.CLEAN_STEPS][real.columns[schema.NOISE]] == 1).all()


@pytest.mark.slow
def test_the_expert_follows_its_own_chunk_where_nothing_disturbed_it(real):
    """From a frame without noise the hands really come where the labels of its clean chunk say, and after bursts they return."""
    actions, states, clean = (real.columns[name] for name in (schema.ACTION, schema.STATE, schema.CLEAN_STEPS))
    active = actions[:, ACTION_NAMES.index("left_hand.active")] > 0.5
    hand = 29 + 29 + 2 + 2 + 3 + 3 + 1 + 3
    errors = np.linalg.norm(actions[:, HANDS[0]][:, :3] - states[:, hand : hand + 3], axis=1)
    calm = active & (clean > 1) & (np.roll(clean, 5) > 6)
    assert np.median(errors[calm]) < 0.02
    disturbed = active & real.columns[schema.NOISE]
    assert errors[disturbed].max() > 2 * np.median(errors[calm])


@pytest.mark.slow
def test_the_goal_of_localisation_is_the_true_goal(real):
    goal, true = real.columns[schema.GOAL], real.columns[schema.GOAL_POSE]
    place = [GOAL_NAMES.index(f"goal_place.{axis}") for axis in "xyz"]
    np.testing.assert_allclose(goal[:, place], true[:, :3], atol=0.03)


@pytest.mark.slow
def test_truth_tells_how_the_tote_goes_from_hand_to_goal(real):
    forces, tote, goal = (real.columns[name] for name in (schema.HAND_FORCES, schema.TOTE_POSE, schema.GOAL_POSE))
    subtasks = np.array(real.columns[schema.SUBTASK])
    assert (forces[subtasks == "carry"] > 1.0).all()
    assert not forces[subtasks == "approach"].any()
    assert np.linalg.norm(tote[-1, :2] - goal[-1, :2]) < 0.05
    assert real.columns[schema.LACKING][0]


@pytest.mark.slow
def test_images_are_as_late_as_real_ones(real):
    assert set(real.films) == {"head_camera"}
    np.testing.assert_allclose(real.image_age_s, 0.06, atol=0.005)
    histogram, images = real.histograms["head_camera"]
    assert images == -(-real.frames // 10) and (histogram.sum(axis=1) == images * 16 * 9).all()


def test_an_order_that_fails_is_told_with_its_reason(model, penned_in):
    (made,) = demonstrate(model, penned_in, 3, rate_hz=10, noise=0.0)
    assert made.outcome == "gave_up" and made.detail and made.frames >= 1


def test_an_order_that_cannot_even_begin_has_no_frames(model, penned_in):
    wrong = penned_in.orders[0].model_copy(update={"tote": "t9"})
    (made,) = demonstrate(model, penned_in.model_copy(update={"orders": (wrong,)}), 0, rate_hz=10, noise=0.0)
    assert made.outcome == "error" and "t9" in made.detail and made.frames == 0
