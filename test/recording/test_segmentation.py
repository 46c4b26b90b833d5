"""Sub-tasks told from what was done: as the policy had them, which says what it does."""

import numpy as np
import pytest

from humanoid_control.recording.card import CARD, Card, Segment
from humanoid_control.recording.reading import Recording
from humanoid_control.robot_model import RobotModel
from policies.segmentation import RATE_HZ, Motion, motion_of, segments_of, subtasks_of
from policies.subtasks import SUBTASKS

AGREES = 0.9  # share of the time


@pytest.fixture(scope="module")
def motion(real):
    return motion_of(Recording(real[0]), RobotModel.load())


def test_a_scripted_order_is_told_as_the_policy_had_it(motion, real):
    stamps, names = zip(*real[1].subtasks)
    true = np.array(names)[np.searchsorted(stamps, motion.times_s) - 1]
    found = subtasks_of(motion)
    told = np.array([next((name for begin, end, name in found if begin <= time_s < end), "") for time_s in motion.times_s])
    known = (motion.times_s >= stamps[0]) & (true != "start")
    assert (true == told)[known].mean() > AGREES
    assert set(told[known]) == set(true[known])
    assert {name for _, _, name in found} <= set(SUBTASKS)


def test_one_follows_on_the_other(motion):
    found = subtasks_of(motion)
    assert all(before[1] == after[0] and before[2] != after[2] for before, after in zip(found, found[1:]))


def test_a_missed_grip_is_no_lift(motion):
    empty = Motion(motion.times_s, motion.walking, motion.forward, motion.closed, np.zeros_like(motion.openings), motion.hands, motion.base, motion.tote)
    assert not {"lift", "carry", "set_down"} & {name for _, _, name in subtasks_of(empty)}
    afar = Motion(motion.times_s, motion.walking, motion.forward, motion.closed, motion.openings, motion.hands, motion.base, np.full_like(motion.tote, 2.0))
    assert "lift" not in {name for _, _, name in subtasks_of(afar)}  # something is between the pads, but no tote is near


def test_standing_still_is_told_too(motion):
    rows = slice(0, round(2 * RATE_HZ))
    still = Motion(motion.times_s[rows], np.zeros(rows.stop, bool), np.zeros(rows.stop), np.zeros(rows.stop, bool), np.full((rows.stop, 2), 0.08),
                   motion.hands[:1].repeat(rows.stop, axis=0), motion.base[:1].repeat(rows.stop, axis=0), np.full(rows.stop, np.nan))  # fmt: skip
    assert subtasks_of(still)


def test_only_where_a_person_drove(real, driven):
    model = RobotModel.load()
    assert segments_of(Recording(real[0]), model) == []
    segments = segments_of(Recording(driven), model)
    assert segments[0].begin_s > 0.5 and {"grip", "carry"} <= {segment.subtask for segment in segments}
    card = Card.read(driven / CARD)
    card.segments = segments
    assert all(isinstance(segment, Segment) for segment in card.segments) and Card(**vars(card)).segments == segments
