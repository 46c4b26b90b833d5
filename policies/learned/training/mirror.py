"""The same episode seen in a mirror: robot and totes are alike on both sides, so what is right on one is right on the other.

Left and right change places, and what points to the left, or turns about an upright or a forward axis, changes its sign. It
doubles the demonstrations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from humanoid_control.robot_model import RobotModel
from humanoid_control.types import SIDES
from policies.learned.observation_space import GOAL_NAMES, state_names
from policies.learned.pose_space import MOVES, OPENINGS, STEP_SIZE, TURNS, VELOCITY
from policies.learned.rotations import AXES
from policies.learned.way_sense import WAY_NAMES

_OTHER_SIDE = {"left": "right", "right": "left"}
_TO_THE_LEFT = ("y", "xy", "yx", "yz", "sin_yaw", "belt_speed", "yaw")  # what changes its sign; of a rotation's columns, half
_TURNING = ("angular_velocity.x", "angular_velocity.z")


@dataclass(frozen=True)
class Mirror:
    """How the numbers of a vector change places and signs.

    Attributes:
        order: (D,) where each comes from.
        signs: (D,).
    """

    order: np.ndarray
    signs: np.ndarray

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (..., D) in the mirror."""
        return vectors[..., self.order] * self.signs

    @classmethod
    def of_names(cls, names: Sequence[str]) -> Mirror:
        """By what each number is called: `left_…` is `right_…`'s, and the last part says which axis it is along."""
        places = {name: place for place, name in enumerate(names)}
        return cls(np.array([places[_mirrored(name)] for name in names]), np.array([_sign(name) for name in names], np.float32))


def _mirrored(name: str) -> str:
    side, _, rest = name.partition("_")
    return f"{_OTHER_SIDE[side]}_{rest}" if side in _OTHER_SIDE else name


def _sign(name: str) -> float:
    if name.startswith("angular_velocity"):
        return -1.0 if name in _TURNING else 1.0
    of, _, part = name.rpartition(".")
    return -1.0 if part in _TO_THE_LEFT or of.endswith(("_roll_joint", "_yaw_joint")) else 1.0


def _of_chunks() -> Mirror:
    order, signs = np.arange(STEP_SIZE), np.ones(STEP_SIZE, np.float32)
    signs[[VELOCITY.start + 1, VELOCITY.start + 2]] = -1.0
    for side in (0, 1):
        order[MOVES[side]], order[TURNS[side]] = np.arange(STEP_SIZE)[MOVES[1 - side]], np.arange(STEP_SIZE)[TURNS[1 - side]]
        signs[MOVES[side].start + 1] = -1.0
        signs[[TURNS[side].start, TURNS[side].stop - 1]] = -1.0
    order[OPENINGS] = np.arange(STEP_SIZE)[OPENINGS][::-1]
    return Mirror(order, signs)


def mirrors(model: RobotModel) -> dict[str, Mirror]:
    """Those of what a policy on poses is given and says, by the names of `pose_task.PoseFrames`."""
    hands = [f"{side}_hand.{part}" for side in SIDES for part in ("x", "y", "z", *AXES)]
    return {
        "state": Mirror.of_names(state_names(model)), "reference": Mirror.of_names(hands), "goal": Mirror.of_names(GOAL_NAMES),
        "way": Mirror.of_names(WAY_NAMES), "tote": Mirror.of_names([f"tote.{part}" for part in ("x", "y", "z", *AXES)]), "chunk": _of_chunks(),
    }  # fmt: skip
