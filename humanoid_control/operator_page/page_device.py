"""The page as a device: a gamepad and two tracked hands, as `teleop_node` hears them of any other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humanoid_control.operator_page.protocol import BUTTONS, Input
from humanoid_control.teleoperation.gamepad import Gamepad, GamepadLayout
from humanoid_control.transforms import to_pose

MOST_ELAPSED_S = 0.1  # between two messages, that sticks move hands for


@dataclass(frozen=True)
class Driven:
    """What goes out.

    Attributes:
        axes: (6,) of the gamepad.
        buttons: (8,) of the gamepad.
        hands: left and right (7,) m and quaternion xyzw.
    """

    axes: tuple[float, ...]
    buttons: tuple[int, ...]
    hands: tuple[np.ndarray, np.ndarray]


class PageDevice:
    """Hands are dragged, tracked by a headset, or moved by sticks: each time a pose goes out, so that whoever listens need
    not know which. Where that changes, the clutch is open for a message: nothing jumps.
    """

    def __init__(self) -> None:
        self._layout = GamepadLayout()
        self._gamepad = Gamepad(self._layout)
        self._was_told = (False, False)
        self._given_s = -np.inf

    def take(self, given: Input, now_s: float) -> Driven:
        """What goes out for an input.

        Args:
            given: checked.
            now_s: when it came.

        Raises:
            TargetError: it is no gamepad's.
        """
        layout, told = self._layout, tuple(hand is not None for hand in given.hands)
        elapsed_s = float(np.clip(now_s - self._given_s, 0.0, MOST_ELAPSED_S))
        self._given_s = now_s
        hands, drives, _ = self._gamepad.read(given.axes, given.buttons, elapsed_s, told)
        axes, buttons = list(given.axes), [0] * BUTTONS
        if not drives:  # the sticks have moved hands, or nothing
            axes[layout.left_x] = axes[layout.left_y] = axes[layout.right_x] = axes[layout.right_y] = 0.0
        buttons[layout.drive] = int(drives)
        for side, clutch in enumerate(layout.clutches):
            buttons[clutch] = int(hands[side].clutch and told[side] == self._was_told[side])
        self._was_told = told
        poses = tuple(to_pose(hand.pose) if pose is None else np.array(pose) for hand, pose in zip(hands, given.hands))
        return Driven(tuple(axes), tuple(buttons), poses)
