"""A gamepad: sticks walk, or move the hands whose clutch is held."""

import numpy as np
import pytest

from humanoid_control.errors import TargetError
from humanoid_control.teleoperation.gamepad import HAND_SPEED, Gamepad

IDLE = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]


def buttons(*pressed):
    return [int(button in pressed) for button in range(8)]


def axes(**values):
    names = ("left_x", "left_y", "left_trigger", "right_x", "right_y", "right_trigger")
    return [values.get(name, idle) for name, idle in zip(names, IDLE)]


def test_sticks_walk_only_while_the_dead_mans_button_is_held():
    gamepad = Gamepad()
    _, drives, walk = gamepad.read(axes(left_y=1.0, right_x=-0.5), buttons(), 0.02)
    assert not drives and not walk.any()
    _, drives, walk = gamepad.read(axes(left_y=1.0, right_x=-0.5), buttons(0), 0.02)
    assert drives and walk[0] == 1.0 and -0.5 < walk[2] < -0.4 and walk[1] == 0.0


def test_a_shoulder_button_is_its_hands_clutch_and_sticks_move_that_hand_alone():
    gamepad = Gamepad()
    for _ in range(50):
        hands, drives, walk = gamepad.read(axes(left_y=1.0), buttons(0, 5), 0.02)
    assert not drives and not walk.any()
    assert (hands[0].clutch, hands[1].clutch) == (False, True)
    np.testing.assert_allclose(hands[1].pose[:3, 3], [HAND_SPEED, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(hands[0].pose, np.eye(4))
    hands, _, _ = gamepad.read(axes(), buttons(5, 3), 0.02)
    assert hands[1].pose[2, 3] > 0.0


def test_with_a_tracker_the_sticks_walk_while_its_hand_is_held():
    gamepad = Gamepad()
    hands, drives, walk = gamepad.read(axes(left_y=1.0), buttons(0, 4, 5), 0.02, (True, True))
    assert drives and walk[0] == 1.0 and hands[0].clutch
    np.testing.assert_allclose(hands[0].pose, np.eye(4))
    _, drives, _ = gamepad.read(axes(left_y=1.0), buttons(0, 4, 5), 0.02, (True, False))
    assert not drives


def test_triggers_close_and_count_only_once_touched():
    gamepad = Gamepad()
    hands, _, _ = gamepad.read(axes(left_trigger=0.0, right_trigger=0.0), buttons(), 0.02)
    assert hands[0].grip == hands[1].grip == 0.0  # as drivers tell triggers before they are touched
    hands, _, _ = gamepad.read(axes(left_trigger=-1.0), buttons(), 0.02)
    assert hands[0].grip == 1.0 and hands[1].grip == 0.0


def test_another_gamepad_and_what_is_no_number_are_refused():
    with pytest.raises(TargetError, match="has 2 axes and 8 buttons; 6 and 6 are needed"):
        Gamepad().read([0.0, 0.0], buttons(), 0.02)
    with pytest.raises(TargetError, match="numbers from -1 to 1"):
        Gamepad().read([7.0, *IDLE[1:]], buttons(), 0.02)
