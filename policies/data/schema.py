"""What a frame of a demonstration holds: one table of every column, which writer, reader and documentation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from humanoid_control.robot_model import RobotModel
from policies.learned.action_space import ACTION_NAMES
from policies.learned.observation_space import GOAL_NAMES, state_names
from policies.learned.rotations import AXES
from policies.learned.way_sense import WAY_NAMES

STATE, GOAL, WAY = "observation.state", "observation.goal", "observation.way"
ACTION, ACTION_SENT = "action", "action_sent"
IMAGES = "observation.images."
IMAGE_AGE = "observation.image_age"
SUBTASK, SUBTASK_INDEX = "subtask", "subtask_index"
REASON, NEXT_SUBTASK, PROBLEM, PROGRESS = "reason", "next_subtask", "problem", "progress"
CLEAN_STEPS, NOISE, EXPERT = "clean_steps", "noise", "expert"
TOTE_POSE, TOTE_VELOCITY, GOAL_POSE = "privileged.tote_pose", "privileged.tote_velocity", "privileged.goal_pose"
BASE_POSE, BASE_VELOCITY = "privileged.base_pose", "privileged.base_velocity"
MASS, FRICTION, HAND_FORCES, LACKING = (f"privileged.{name}" for name in ("tote_mass", "friction", "hand_forces", "lacking"))

_XYZ = ("x", "y", "z")
_TWIST = (*_XYZ, "turning_x", "turning_y", "turning_z")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: of the column.
        dtype: of its numbers, or `string`.
        names: of its elements; one of them is a plain number.
    """

    name: str
    dtype: str
    names: tuple[str, ...]

    @property
    def feature(self) -> dict:
        """As info.json has it."""
        names = None if len(self.names) == 1 else list(self.names)
        return {"dtype": self.dtype, "shape": [len(self.names)], "names": names}


def frame_columns(model: RobotModel) -> tuple[Column, ...]:
    """The columns of a frame beside images and indices; sub-tasks as text."""

    def numbers(name: str, names: Sequence[str], dtype: str = "float32") -> Column:
        return Column(name, dtype, tuple(names))

    def text(name: str) -> Column:
        return Column(name, "string", (name,))

    pose = (*_XYZ, *AXES)
    return (
        numbers(STATE, state_names(model)),
        numbers(GOAL, GOAL_NAMES),
        numbers(WAY, WAY_NAMES),
        numbers(ACTION, ACTION_NAMES),
        numbers(ACTION_SENT, ACTION_NAMES),
        text(SUBTASK), text(REASON), text(NEXT_SUBTASK), text(PROBLEM), numbers(PROGRESS, (PROGRESS,)),
        numbers(CLEAN_STEPS, (CLEAN_STEPS,), "int64"),
        numbers(NOISE, (NOISE,), "bool"),
        numbers(EXPERT, (EXPERT,), "bool"),
        numbers(TOTE_POSE, pose), numbers(TOTE_VELOCITY, _TWIST), numbers(GOAL_POSE, pose),
        numbers(BASE_POSE, (*_XYZ, "qx", "qy", "qz", "qw")), numbers(BASE_VELOCITY, _TWIST),
        numbers(MASS, (MASS,)), numbers(FRICTION, (FRICTION,)), numbers(HAND_FORCES, ("left", "right")), text(LACKING),
    )  # fmt: skip


def image_column(camera: str) -> str:
    """The column of a camera's images."""
    return IMAGES + camera
