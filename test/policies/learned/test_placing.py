"""The last centimetres of setting a tote down: over its place, or not at all."""

import numpy as np
import pytest

from policies.learned.placing import FASTEST, LOW, PATIENCE_S, PLACED_WITHIN, RIM, STACKED_WITHIN, WITHIN, WITHIN_HELD, Placing, is_misplaced

DT = 0.02


def test_what_would_come_down_beside_its_place_is_misplaced():
    beside = 1.5 * STACKED_WITHIN
    assert is_misplaced(np.array([beside, 0.0, 0.5 * RIM]), is_stacked=True)
    assert is_misplaced(np.array([0.0, -1.5 * PLACED_WITHIN, 0.5 * LOW]), is_stacked=False)
    assert not is_misplaced(np.array([beside, 0.0, 2 * RIM]), is_stacked=True)  # still on its way
    assert not is_misplaced(np.array([0.0, -1.5 * PLACED_WITHIN, RIM]), is_stacked=False)  # a tote is carried in as low as that
    assert not is_misplaced(np.array([beside, 0.0, 0.0]), is_stacked=False)


def test_hands_bring_a_held_tote_over_its_place_and_no_faster_than_they_may():
    placing, off = Placing(), np.array([0.018, -0.012, 0.022])
    for _ in range(100):
        before = placing.shift.copy()
        placing.step(off + placing.shift, is_stacked=True, dt=DT)
        assert np.linalg.norm(placing.shift - before) <= FASTEST * DT + 1e-12
    assert np.hypot(*(off + placing.shift)[:2]) < 0.001 and placing.shift[2] == 0.0


@pytest.mark.parametrize("off", [(2 * WITHIN, 0.0, 0.02), (0.01, 0.0, 0.1), (0.01, 0.0, 0.0)])
def test_what_is_far_high_or_down_already_is_left_alone(off):
    placing = Placing()
    assert not placing.step(np.array(off), is_stacked=False, dt=DT)
    assert not placing.shift.any()


def test_what_is_held_up_over_a_surface_is_brought_over_its_place():
    placing, off = Placing(), np.array([0.6 * WITHIN_HELD, 0.0, 0.5 * LOW])
    for _ in range(250):
        there = off + placing.shift
        there[2] = 0.5 * LOW  # lowered again by who holds it
        assert not placing.step(there, is_stacked=False, dt=DT)
    assert np.hypot(*(off + placing.shift)[:2]) <= PLACED_WITHIN


def test_up_and_down_again_beside_its_place_is_held_up_too():
    placing, steps = Placing(), 0
    while not placing.step(np.array([1.5 * WITHIN_HELD, 0.0, (0.5, 1.5)[steps % 2] * LOW]), is_stacked=False, dt=DT):
        steps += 1
    assert steps * DT == pytest.approx(2 * PATIENCE_S, abs=4 * DT)


def test_a_tote_beside_its_place_is_held_up_and_given_up_after_a_while():
    placing, off = Placing(), np.array([2 * WITHIN, 0.0, 0.5 * RIM])
    placing.step(off, is_stacked=True, dt=DT)
    assert placing.shift[2] > 0.0 and not placing.shift[:2].any()
    steps = 1
    while not placing.step(off, is_stacked=True, dt=DT):
        steps += 1
    assert steps * DT == pytest.approx(PATIENCE_S, abs=2 * DT)
    placing.begin()
    assert not placing.shift.any() and not placing.step(off, is_stacked=True, dt=DT)
