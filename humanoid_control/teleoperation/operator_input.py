"""What an operator does at one instant, whatever they hold: a headset's controllers, a page's markers, a gamepad, a tracker."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from humanoid_control.errors import TargetError


@dataclass(frozen=True)
class HandInput:
    """One of the operator's hands.

    Attributes:
        pose: (4, 4) in axes that the operator faces: x ahead, y to the left, z up, m; None where it is not tracked.
        clutch: whether it is held: only then the robot's hand follows.
        grip: 0 open to 1 closed.
    """

    pose: np.ndarray | None = None
    clutch: bool = False
    grip: float = 0.0


@dataclass(frozen=True)
class OperatorInput:
    """Both hands, and where to walk.

    Attributes:
        stamp_s: when it came in, on the robot's clock.
        hands: left and right.
        drive: the dead man's button of walking: without it there is none.
        walk: (3,) forward, left and turning, each -1 to 1 of what is allowed.
    """

    stamp_s: float
    hands: tuple[HandInput, HandInput] = (HandInput(), HandInput())
    drive: bool = False
    walk: np.ndarray = field(default_factory=lambda: np.zeros(3))


def check_input(given: OperatorInput) -> None:
    """Refuses what is no input.

    Raises:
        TargetError: naming what is wrong.
    """
    walk = np.asarray(given.walk, float)
    if walk.shape != (3,) or not np.isfinite(walk).all() or np.abs(walk).max() > 1.0:
        raise TargetError(f"The operator's walk is {np.asarray(given.walk).tolist()}; three numbers from -1 to 1 are needed.")
    for side, hand in zip(("left", "right"), given.hands, strict=True):
        if not (np.isfinite(hand.grip) and 0.0 <= hand.grip <= 1.0):
            raise TargetError(f"The operator's {side} grip is {hand.grip}; a number from 0 to 1 is needed.")
        if hand.pose is None:
            continue
        pose = np.asarray(hand.pose, float)
        if pose.shape != (4, 4) or not np.isfinite(pose).all() or np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)).max() > 1e-3:
            raise TargetError(f"The operator's {side} hand has no pose: a finite 4 x 4 transform with a rotation is needed.")
