"""Pulling a tote to the edge: hands go straight, however the body sways, and come down again."""

import numpy as np
import pytest

from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.mission.reach import PULLED_TO, pull_distance
from humanoid_control.transforms import planar
from policies.scripted.pulling import LIP_LIFT, SPEED, Pull

DT = 0.02


def pulled(distance, pose=(0.3, -0.2, 0.5), sway=0.04):
    """Hands on the way of a pull, and the velocity to walk with."""
    start = np.array(pose)
    hands = tuple(planar(0.8, side, 0.5, 0.9) for side in (0.2, -0.2))
    pull, ways, walks = Pull(start, hands, distance), [], []
    for tick in range(1000):
        if pull.is_over:
            return hands, np.array(ways), np.array(walks)
        velocity, now, _ = pull.step(start + [0.0, sway * np.sin(0.1 * tick), 0.0], DT)
        ways.append([hand[:3, 3] for hand in now])
        walks.append(velocity)
    raise AssertionError("it does not end")


def test_hands_go_straight_back_by_the_distance_raised_on_their_way():
    hands, ways, walks = pulled(0.15)
    back = -np.array([np.cos(0.5), np.sin(0.5)])
    for side in (0, 1):
        moved = ways[:, side] - hands[side][:3, 3]
        np.testing.assert_allclose(moved[-1], [*(0.15 * back), 0.0], atol=SPEED * DT)
        np.testing.assert_allclose(moved[:, :2] @ [-back[1], back[0]], 0.0, atol=1e-12)
        assert moved[:, 2].max() == pytest.approx(LIP_LIFT)
    assert np.abs(np.diff(ways, axis=0)[..., :2]).max() <= SPEED * DT + 1e-9
    assert walks[:, 0].min() < -0.5 * SPEED and not walks[-1].any()


def test_it_stands_before_its_edge_as_far_as_the_waist_bears():
    tote = next(iter(LOAD_CARRIERS.values()))
    for reach, gap in ((0.0, PULLED_TO[0]), (2.0, PULLED_TO[1])):
        assert 0.5 - pull_distance(0.5, tote.width, 0.2, reach) == pytest.approx(0.5 * tote.width + gap)
