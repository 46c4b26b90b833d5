"""Where hands go on a tote, and how the body stands for it: properties of geometry and kinematics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from humanoid_control.errors import SolverError
from humanoid_control.mission.load_carriers import GRIP_LIP_DEPTH, LIP_THICKNESS, LOAD_CARRIERS, LONG_LIP_DEPTH
from humanoid_control.transforms import planar
from humanoid_control.mission.reach import STANCE_DISTANCE
from policies.scripted.grips import (
    GRIP_OPENING,
    LIP_OPENING,
    LIP_PITCH,
    PosturePlanner,
    hand_at_near_lip,
    hand_in_tote,
    tote_from_hands,
)  # fmt: skip

CARRIERS = list(LOAD_CARRIERS.values())
PAD_HALF_LENGTH = 0.033  # m, of the gripper's pads about the hand's frame (urdf/generate.py)
MIRROR = np.diag([1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def planner(model):
    return PosturePlanner(model)


def hands_for(carrier, tote_height: float, *, ahead: float = STANCE_DISTANCE):
    tote = planar(ahead, 0.0, 0.0, tote_height)
    return tuple(tote @ hand_in_tote(carrier, side) for side in (0, 1))


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda c: c.kind)
def test_hands_grip_both_lips_and_mirror_each_other(carrier):
    left, right = hand_in_tote(carrier, 0), hand_in_tote(carrier, 1)
    np.testing.assert_allclose(right[:3, 3], MIRROR @ left[:3, 3], atol=1e-12)
    for hand, sign in ((left, 1), (right, -1)):
        x, y, z = hand[:3, 3]
        assert carrier.height - LIP_THICKNESS < z < carrier.height  # between the lip's faces
        assert carrier.length / 2 - GRIP_LIP_DEPTH < sign * y < carrier.length / 2 + 0.02  # at the lip, off the wall
        assert abs(x) < carrier.width / 2  # on the side, not at a corner
        approach = hand[:3, 0]
        assert approach[0] > 0.5 and -sign * approach[1] > 0.5  # comes from the robot's side, towards the tote
        np.testing.assert_allclose(np.abs(hand[:3, 1]), [0, 0, 1], atol=1e-12)  # one finger above, one below
        np.testing.assert_allclose(hand[:3, :3].T @ hand[:3, :3], np.eye(3), atol=1e-12)
        assert np.linalg.det(hand[:3, :3]) == pytest.approx(1.0)


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda c: c.kind)
def test_hands_at_the_near_lip_have_it_between_their_pads_and_mirror_each_other(carrier):
    left, right = hand_at_near_lip(carrier, 0), hand_at_near_lip(carrier, 1)
    np.testing.assert_allclose(right[:3, 3], MIRROR @ left[:3, 3], atol=1e-12)
    edge, wall = -carrier.width / 2, -carrier.wall_half_extents[0]
    for hand in (left, right):
        lip = np.linalg.inv(hand) @ [0.5 * (edge + wall), hand[1, 3], carrier.grip_height, 1.0]
        assert abs(lip[1]) < 0.005 and 0.0 < lip[0] < PAD_HALF_LENGTH  # in the middle between the pads, along their length
        tip = hand @ [PAD_HALF_LENGTH, 0.0, 0.0, 1.0]
        assert edge < tip[0] < wall + 0.02 and tip[2] < carrier.grip_height  # over the lip, pointing down a little
        assert abs(hand[1, 3]) < carrier.length / 2  # within the tote's own width: nothing beside it is in the way


def test_the_near_lip_between_the_pads_is_told_from_a_closed_and_an_open_hand():
    low, high = LIP_OPENING
    thickness = LIP_THICKNESS * math.cos(LIP_PITCH) + LONG_LIP_DEPTH * math.sin(LIP_PITCH)
    assert 0.0 < low < LIP_THICKNESS < thickness < high < 0.05


def test_points_before_the_near_lip_lie_back_along_the_fingers():
    carrier = CARRIERS[0]
    there, before = hand_at_near_lip(carrier, 0), hand_at_near_lip(carrier, 0, off=0.1)
    np.testing.assert_allclose(before[:3, 3], there[:3, 3] - 0.1 * there[:3, 0], atol=1e-12)


def test_points_off_the_grip_lie_where_they_are_said_to():
    carrier = CARRIERS[0]
    for side, sign in ((0, 1.0), (1, -1.0)):
        off = hand_in_tote(carrier, side, outward=0.1, backward=0.2, up=0.05)[:3, 3] - hand_in_tote(carrier, side)[:3, 3]
        np.testing.assert_allclose(off, [-0.2, sign * 0.1, 0.05], atol=1e-12)


def test_a_lip_between_the_pads_is_told_from_a_closed_and_an_open_hand():
    low, high = GRIP_OPENING
    assert 0.002 < low < LIP_THICKNESS < high < 0.05


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda c: c.kind)
def test_every_height_totes_are_handled_at_has_a_posture(planner, carrier):
    for height in (0.40, 0.55, 0.70, 0.85, 1.00):
        posture = planner.plan(hands_for(carrier, height))
        assert 0.35 <= posture.pelvis_height <= 0.80 and -0.3 <= posture.torso_pitch <= 1.2


def test_low_totes_are_bent_and_squatted_for(planner):
    low, high = planner.plan(hands_for(CARRIERS[0], 0.42)), planner.plan(hands_for(CARRIERS[0], 0.85))
    assert low.pelvis_height < high.pelvis_height - 0.03
    assert low.torso_pitch > high.torso_pitch + 0.1


def test_a_tote_out_of_reach_is_refused(planner):
    with pytest.raises(SolverError):
        planner.plan(hands_for(CARRIERS[0], 0.7, ahead=1.5))


def test_a_posture_does_not_depend_on_what_was_planned_before(model, planner):
    for height in (0.45, 0.95):
        planner.plan(hands_for(CARRIERS[1], height))
    assert planner.plan(hands_for(CARRIERS[0], 0.7)) == PosturePlanner(model).plan(hands_for(CARRIERS[0], 0.7))


def test_a_held_tote_is_found_again_from_the_hands():
    tote = planar(0.4, 0.1, 0.3, 0.8)
    hands = hands_for(CARRIERS[0], 0.8)
    for held, hand in zip(tote_from_hands(tote, hands), hands):
        np.testing.assert_allclose(tote @ held, hand, atol=1e-12)
