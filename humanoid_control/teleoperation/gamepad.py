"""A gamepad as an operator's hands and sticks: what `sensor_msgs/Joy` carries, with the usual layout of axes and buttons.

Held, a shoulder button is its hand's clutch: the sticks then move that hand (both hands, if both are held), and else walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from humanoid_control.errors import TargetError
from humanoid_control.teleoperation.operator_input import HandInput
from humanoid_control.transforms import rotation_z, transform

HAND_SPEED, TURN_SPEED = 0.25, 0.8  # m/s, rad/s at full stick
DEAD_ZONE = 0.08  # of a stick, around its middle


@dataclass(frozen=True)
class GamepadLayout:
    """Indices of axes and buttons; the defaults are those of the ROS package `joy` for common gamepads.

    Attributes:
        left_x, left_y, right_x, right_y: axes of the sticks, positive to the left and ahead.
        triggers: axes of the left and right trigger, 1 open to -1 pressed.
        clutches: buttons of the left and right shoulder.
        drive: button of walking, held.
        lift: buttons that lower and raise the hands whose clutch is held.
    """

    left_x: int = 0
    left_y: int = 1
    right_x: int = 3
    right_y: int = 4
    triggers: tuple[int, int] = (2, 5)
    clutches: tuple[int, int] = (4, 5)
    drive: int = 0
    lift: tuple[int, int] = (1, 3)


class Gamepad:
    """Keeps where the hands are that sticks move.

    Args:
        layout: of axes and buttons.
    """

    def __init__(self, layout: GamepadLayout | None = None) -> None:
        self._layout = layout or GamepadLayout()
        self._poses = [transform(np.eye(3), np.zeros(3)), transform(np.eye(3), np.zeros(3))]
        self._touched = [False, False]

    def read(self, axes: Sequence[float], buttons: Sequence[int], elapsed_s: float, tracked: tuple[bool, bool] = (False, False)) -> tuple[tuple[HandInput, HandInput], bool, np.ndarray]:
        """Hands, whether it drives, and (3,) walk, of one message.

        Args:
            axes, buttons: of `sensor_msgs/Joy`.
            elapsed_s: since the last one.
            tracked: whose hand is told by a tracker, and not by the sticks: with it they may walk.

        Raises:
            TargetError: there are too few axes or buttons, or an axis is no number from -1 to 1.
        """
        layout = self._layout
        most_axis = max(layout.left_x, layout.left_y, layout.right_x, layout.right_y, *layout.triggers)
        most_button = max(*layout.clutches, layout.drive, *layout.lift)
        if len(axes) <= most_axis or len(buttons) <= most_button:
            raise TargetError(f"The gamepad has {len(axes)} axes and {len(buttons)} buttons; {most_axis + 1} and {most_button + 1} are needed: "
                              "choose another layout.")  # fmt: skip
        values = np.asarray(axes, float)
        if not np.isfinite(values).all() or np.abs(values).max(initial=0.0) > 1.001:
            raise TargetError(f"The gamepad's axes are {values.tolist()}; numbers from -1 to 1 are needed.")
        ahead, left = _stick(values[layout.left_y]), _stick(values[layout.left_x])
        turning, tilt = _stick(values[layout.right_x]), _stick(values[layout.right_y])
        clutches = [bool(buttons[button]) for button in layout.clutches]
        up = float(bool(buttons[layout.lift[1]])) - float(bool(buttons[layout.lift[0]])) + tilt
        hands = []
        for side in (0, 1):
            if clutches[side] and not tracked[side]:
                self._poses[side][:3, 3] += elapsed_s * HAND_SPEED * np.array([ahead, left, np.clip(up, -1.0, 1.0)])
                self._poses[side][:3, :3] = rotation_z(elapsed_s * TURN_SPEED * turning) @ self._poses[side][:3, :3]
            trigger = float(values[layout.triggers[side]])
            # Drivers tell 0 for a trigger that was never touched.
            self._touched[side] |= trigger != 0.0
            grip = 0.5 * (1.0 - np.clip(trigger, -1.0, 1.0)) if self._touched[side] else 0.0
            hands.append(HandInput(self._poses[side].copy(), clutches[side], float(grip)))
        drives = bool(buttons[layout.drive]) and all(by_tracker or not clutch for clutch, by_tracker in zip(clutches, tracked))
        return tuple(hands), drives, np.array([ahead, left, turning]) if drives else np.zeros(3)


def _stick(value: float) -> float:
    """-1 to 1, nothing around the middle."""
    return float(np.sign(value) * np.clip((abs(value) - DEAD_ZONE) / (1.0 - DEAD_ZONE), 0.0, 1.0))
