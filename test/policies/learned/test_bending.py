"""How far the torso leans with a tote: no further than the grip needs, and without a jerk."""

import pytest

from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import planar
from policies.learned.bending import MORE, Bending
from policies.scripted.grips import PosturePlanner
from policies.scripted.motions import BODY_TURN_SPEED

DT = 0.02


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


def hands(ahead=0.45, height=0.85):
    return tuple(planar(ahead, y, 0.0, height) for y in (0.17, -0.17))


def test_with_a_tote_it_leans_no_further_than_its_hands_need(model):
    most = PosturePlanner(model).plan(hands()).torso_pitch + MORE
    bending, wanted = Bending(model), most + 0.2
    bending.plan(hands())
    assert bending.pitch(wanted, DT, carries=False) == wanted
    before = wanted
    for _ in range(200):
        now = bending.pitch(wanted, DT, carries=True)
        assert abs(now - before) <= BODY_TURN_SPEED * DT + 1e-12
        before = now
    assert now == pytest.approx(most)
    assert bending.pitch(most - 0.05, 100.0, carries=True) == most - 0.05  # less is as the network wants it
    bending.pitch(wanted, 100.0, carries=True)
    assert most < bending.pitch(wanted, DT, carries=False) < wanted  # and it comes back as smoothly


def test_where_nothing_is_known_of_a_grip_the_network_leans_as_it_wants(model):
    bending = Bending(model)
    assert bending.pitch(0.9, 100.0, carries=True) == 0.9
    bending.plan(hands())
    bending.plan(hands(ahead=3.0))  # out of reach
    assert bending.pitch(0.9, 100.0, carries=True) == 0.9
    bending.plan(hands())
    bending.forget()
    assert bending.pitch(0.9, 100.0, carries=True) == 0.9
