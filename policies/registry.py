"""Which policies there are, by their names on the command line and in launch files. Knows nothing of simulation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from humanoid_control.errors import ConfigurationError
from humanoid_control.robot_model import RobotModel
from policies.escalation.escalating import Escalating, Tier
from policies.escalation.person import NoOperator, Operator, Person
from policies.policy import Policy
from policies.scripted.carry_out_order import CarryOutOrder


def _scripted(model: RobotModel, _checkpoint: Path | None, operator: Operator | None) -> Policy:
    scripted = CarryOutOrder(model)
    return scripted if operator is None else _attended([Tier(scripted.name, scripted)], operator)


def _teacher(model: RobotModel, checkpoint: Path | None, operator: Operator | None) -> Policy:
    from policies.learned.pose_policy import PosePolicy  # with the networks' runtime, which the scripted one needs not

    teacher = PosePolicy(model, checkpoint)
    return teacher if operator is None else _attended([Tier(teacher.name, teacher, teacher.limit)], operator)


def _student(model: RobotModel, checkpoint: Path | None, operator: Operator | None) -> Policy:
    from policies.learned.student import make_student

    student = make_student(model, checkpoint)
    return student if operator is None else _attended([Tier(student.name, student, student.limit)], operator)


def _learned(model: RobotModel, checkpoint: Path | None, operator: Operator | None) -> Policy:
    make = _student if checkpoint is not None and _is_student(checkpoint) else _teacher
    small = make(model, checkpoint, None)
    tiers = [Tier("small", small, small.limit, takes_up=False), Tier("scripted", CarryOutOrder(model))]
    return _attended(tiers, operator if operator is not None else NoOperator(), name="learned")


def _is_student(checkpoint: Path) -> bool:
    from policies.learned.student import NAME

    return checkpoint.stem == NAME


def _attended(tiers: list[Tier], operator: Operator, *, name: str = "") -> Escalating:
    return Escalating([*tiers, Tier("person", Person(operator), gives_back=False)], name=name or tiers[0].name)


POLICIES: dict[str, Callable[[RobotModel, Path | None, Operator | None], Policy]] = {"scripted": _scripted, "teacher": _teacher, "student": _student,
                                                                                   "learned": _learned}  # fmt: skip
LEARNED = frozenset({"teacher", "student", "learned"})


def checkpoint_of(name: str, checkpoint: Path | None) -> Path | None:
    """The network's file of a learned policy: the one that is asked for, or the one that ships; None if it has none.

    Args:
        name: of a policy.
        checkpoint: what is asked for.
    """
    if checkpoint is not None or name not in LEARNED:
        return checkpoint
    from policies.learned import pose_policy, student

    return student.DEFAULT if name == "student" else pose_policy.DEFAULT


def needs_images(name: str, checkpoint: Path | None) -> bool:
    """Whether a policy of that name looks at the cameras' images itself: the student, and `learned` with one.

    Args:
        name: of a policy.
        checkpoint: what is asked for.
    """
    return name == "student" or (name == "learned" and checkpoint is not None and _is_student(checkpoint))


def check_policy(name: str, checkpoint: Path | None) -> None:
    """Refuses what cannot be made, before anything is loaded.

    Args:
        name: of a policy.
        checkpoint: of its parameters, if one is asked for.

    Raises:
        ConfigurationError: there is no such policy or file, or the policy has no parameters.
    """
    if name not in POLICIES:
        raise ConfigurationError(f"There is no policy '{name}'; allowed: {', '.join(POLICIES)}.")
    if checkpoint is not None and not checkpoint.is_file():
        raise ConfigurationError(f"There is no checkpoint {checkpoint}.")
    if checkpoint is not None and name not in LEARNED:
        raise ConfigurationError(f"The policy '{name}' has no parameters; leave --checkpoint away.")


def learner_of(checkpoint: Path) -> str:
    """The name of the policy that a checkpoint is of, by its file.

    Raises:
        ConfigurationError: it is of none that can drive by turns.
    """
    from policies.learned import pose_policy, student

    names = {pose_policy.NAME: "teacher", student.NAME: "student"}
    if checkpoint.stem not in names:
        raise ConfigurationError(f"{checkpoint} is no checkpoint of a learner; its file is called {' or '.join(f'{name}.onnx' for name in names)}.")
    return names[checkpoint.stem]


def make_policy(name: str, model: RobotModel, *, checkpoint: Path | None = None, operator: Operator | None = None) -> Policy:
    """A policy by its name.

    Args:
        name: one of `POLICIES`.
        model: the robot.
        checkpoint: ONNX file of a learned one; by default the one that ships.
        operator: a person who is asked where the policy fails, and may take over at any time; it is an `Escalating` then.

    Raises:
        ConfigurationError: there is none of that name, or its checkpoint is unfit.
    """
    check_policy(name, checkpoint)
    return POLICIES[name](model, checkpoint, operator)
