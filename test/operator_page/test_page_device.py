"""The page as a gamepad and two tracked hands."""

import numpy as np

from humanoid_control.operator_page.page_device import PageDevice
from humanoid_control.operator_page.protocol import Input
from humanoid_control.teleoperation.gamepad import GamepadLayout

LAYOUT = GamepadLayout()
POSE = (0.3, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0)


def given(*pressed, axes=(0.0, 0.0, 1.0, 0.0, 0.0, 1.0), hands=(None, None)):
    return Input(0.0, axes, tuple(int(button in pressed) for button in range(8)), hands)


def test_sticks_move_the_held_hand_and_then_nobody_walks():
    device = PageDevice()
    device.take(given(), 0.0)
    for tick in range(1, 51):
        driven = device.take(given(LAYOUT.drive, LAYOUT.clutches[0], axes=(0.0, 1.0, 1.0, 0.0, 0.0, 1.0)), 0.02 * tick)
    assert driven.hands[0][0] > 0.2 and driven.hands[1][0] == 0.0
    assert driven.buttons[LAYOUT.clutches[0]] and not driven.buttons[LAYOUT.drive] and driven.axes[LAYOUT.left_y] == 0.0
    driven = device.take(given(LAYOUT.drive, axes=(0.0, 1.0, 1.0, 0.0, 0.0, 1.0)), 1.02)
    assert driven.buttons[LAYOUT.drive] and driven.axes[LAYOUT.left_y] == 1.0 and not driven.buttons[LAYOUT.clutches[0]]


def test_a_dragged_hand_goes_out_as_it_is_while_the_sticks_walk():
    device = PageDevice()
    drive = given(LAYOUT.drive, LAYOUT.clutches[0], axes=(0.0, 0.5, 1.0, 0.0, 0.0, 1.0), hands=(POSE, None))
    device.take(drive, 0.0)
    driven = device.take(drive, 0.02)
    np.testing.assert_allclose(driven.hands[0], POSE)
    assert driven.buttons[LAYOUT.drive] and driven.buttons[LAYOUT.clutches[0]] and driven.axes[LAYOUT.left_y] == 0.5


def test_where_another_begins_to_tell_the_hand_the_clutch_opens_for_a_message():
    device = PageDevice()
    clutch = LAYOUT.clutches[1]
    assert device.take(given(clutch), 0.0).buttons[clutch]
    assert [device.take(given(clutch, hands=(None, POSE)), 0.02 * tick).buttons[clutch] for tick in (1, 2)] == [0, 1]
    assert [device.take(given(clutch), 0.02 * tick).buttons[clutch] for tick in (3, 4)] == [0, 1]


def test_after_a_pause_sticks_do_not_make_up_for_it():
    device = PageDevice()
    device.take(given(), 0.0)
    driven = device.take(given(LAYOUT.clutches[0], axes=(0.0, 1.0, 1.0, 0.0, 0.0, 1.0)), 30.0)
    assert 0.0 < driven.hands[0][0] < 0.05
