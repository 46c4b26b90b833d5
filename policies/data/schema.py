"""What a frame of a demonstration holds: one table of every column, which writer, reader and documentation share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from humanoid_control.robot_model import RobotModel
from policies.learned.action_space import ACTION_NAMES
from policies.learned.observation_space import GOAL_NAMES, state_names
from policies.learned.rotations import AXES
from policies.learned.sight_space import SIGHTINGS_NAMES
from policies.learned.way_sense import WAY_NAMES

STATE, GOAL, WAY = "observation.state", "observation.goal", "observation.way"
ACTION, ACTION_SENT = "action", "action_sent"
IMAGES = "observation.images."
IMAGE_AGE = "observation.image_age"
SUBTASK, SUBTASK_INDEX = "subtask", "subtask_index"
REASON, NEXT_SUBTASK, PROBLEM, PROGRESS = "reason", "next_subtask", "problem", "progress"
CLEAN_STEPS, NOISE, EXPERT = "clean_steps", "noise", "expert"
PRIVILEGED = "privileged."  # what a robot does not know of itself
TOTE_POSE, TOTE_VELOCITY, GOAL_POSE = "privileged.tote_pose", "privileged.tote_velocity", "privileged.goal_pose"
BASE_POSE, BASE_VELOCITY = "privileged.base_pose", "privileged.base_velocity"
MASS, FRICTION, HAND_FORCES, LACKING = (f"privileged.{name}" for name in ("tote_mass", "friction", "hand_forces", "lacking"))
INTERVENTION, AGES, JOINT_COMMAND = "intervention", "age", "joint_command"  # these, and the next two, of recorded episodes alone
SEEN_TOTE, BASE_ESTIMATE = "observation.tote_pose", "observation.base_pose"
SIGHTINGS = "observation.sightings"  # of the student's eyes, as `policies.learned.sight_space` has them
AGED, AGED_WITH_ORDER = ("state", "estimate", "control", "policy", "action", "command"), ("poses", "tote")  # what has an age in them

_XYZ = ("x", "y", "z")
_TWIST = (*_XYZ, "turning_x", "turning_y", "turning_z")
_POSE, _BASE = (*_XYZ, *AXES), (*_XYZ, "qx", "qy", "qz", "qw")


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


def frame_columns(model: RobotModel, *, sightings: bool = False) -> tuple[Column, ...]:
    """The columns of a frame beside images and indices; sub-tasks as text.

    Args:
        model: the robot.
        sightings: whether what the student's eyes see is kept, and where the robot believes to be.
    """
    eyes = (_numbers(SIGHTINGS, SIGHTINGS_NAMES), _numbers(BASE_ESTIMATE, _BASE)) if sightings else ()
    return (
        _numbers(STATE, state_names(model)),
        _numbers(GOAL, GOAL_NAMES),
        _numbers(WAY, WAY_NAMES),
        _numbers(ACTION, ACTION_NAMES),
        _numbers(ACTION_SENT, ACTION_NAMES),
        _text(SUBTASK), _text(REASON), _text(NEXT_SUBTASK), _text(PROBLEM), _numbers(PROGRESS, (PROGRESS,)),
        _numbers(CLEAN_STEPS, (CLEAN_STEPS,), "int64"),
        _numbers(NOISE, (NOISE,), "bool"),
        _numbers(EXPERT, (EXPERT,), "bool"),
        _numbers(TOTE_POSE, _POSE), _numbers(TOTE_VELOCITY, _TWIST), _numbers(GOAL_POSE, _POSE),
        _numbers(BASE_POSE, _BASE), _numbers(BASE_VELOCITY, _TWIST),
        _numbers(MASS, (MASS,)), _numbers(FRICTION, (FRICTION,)), _numbers(HAND_FORCES, ("left", "right")), _text(LACKING), *eyes,
    )  # fmt: skip


def recorded_columns(model: RobotModel, cameras: Sequence[str], *, with_order: bool) -> tuple[Column, ...]:
    """The columns of a recorded episode's frame: those of a demonstration that a robot can know, and what only a record tells.

    Args:
        model: the robot.
        cameras: whose images there are.
        with_order: whether it is known which order was carried out.
    """
    unknown = () if with_order else (GOAL, WAY)
    known = (column for column in frame_columns(model) if not column.name.startswith(PRIVILEGED) and column.name not in unknown)
    return (
        *known, *((_numbers(SEEN_TOTE, _POSE),) if with_order else ()), _numbers(BASE_ESTIMATE, _BASE),
        _numbers(INTERVENTION, (INTERVENTION,), "bool"), _numbers(JOINT_COMMAND, model.joint_names),
        _numbers(AGES, (*AGED, *(AGED_WITH_ORDER if with_order else ()), *cameras)),
    )  # fmt: skip


def first_there(features: Mapping[str, object], *names: str) -> str:
    """The first of some columns that a data set has; the last, if it has none of them.

    Args:
        features: of the data set.
        names: the better first, such as what is true before what was seen.
    """
    return next((name for name in names if name in features), names[-1])


def _numbers(name: str, names: Sequence[str], dtype: str = "float32") -> Column:
    return Column(name, dtype, tuple(names))


def _text(name: str) -> Column:
    return Column(name, "string", (name,))


def image_column(camera: str) -> str:
    """The column of a camera's images."""
    return IMAGES + camera
