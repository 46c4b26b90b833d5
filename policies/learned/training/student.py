"""`humanoid train student`: demonstrations with what a student's eyes see, and the student that learns from them. Resumable step by step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from policies.learned.pose_policy import DEFAULT
from policies.learned.student import NAME
from policies.learned.training.plan_file import DemonstrationPlan, demonstrations_arguments, load_plan_file

DEFAULTS = "config/training/student.yaml"


class StudentPlan(DemonstrationPlan):
    """What is demonstrated and learnt; `DEFAULTS` has the defaults and says what each is."""

    teacher: str
    episodes: int = Field(ge=1, le=10_000_000)
    sight_minutes: float = Field(gt=0.0, le=100_000.0)
    rounds: int = Field(ge=0, le=100)
    round_episodes: int = Field(ge=1, le=1_000_000)
    round_sight_minutes: float = Field(gt=0.0, le=100_000.0)
    round_minutes: float = Field(gt=0.0, le=100_000.0)

    @property
    def teacher_file(self) -> Path:
        """ONNX file of the network that the student begins as."""
        return Path(self.teacher) if self.teacher else DEFAULT


def load_student_plan(path: Path | None = None, **given: Any) -> StudentPlan:
    """The plan of a file, over the defaults.

    Args:
        path: of a YAML file; None for the defaults alone.
        given: values of the command line, which win over the file; those that are None do not count.

    Raises:
        ConfigurationError: the file cannot be read, or a key or value in it cannot be; named, with what is allowed.
    """
    return load_plan_file(StudentPlan, DEFAULTS, path, given)


@dataclass(frozen=True)
class StudentRound:
    """One round of demonstrating and learning.

    Attributes:
        data: folder of its demonstrations,
        out: of its networks.
        episodes: how many,
        seed: from which on.
        before: folder of the student that drives by turns with the expert, and that is gone on from; none in the first round.
        sight_minutes, minutes: of training its eyes, and what it does, on the demonstrations of this round and all before.
    """

    data: Path
    out: Path
    episodes: int
    seed: int
    before: Path | None
    sight_minutes: float
    minutes: float


def student_rounds(plan: StudentPlan) -> list[StudentRound]:
    """The rounds of a plan: the expert alone, then by turns with the student of the round before."""
    rounds = [StudentRound(Path(plan.data) / "expert", Path(plan.out) / "round_0", plan.episodes, plan.seed, None, plan.sight_minutes, plan.minutes)]
    for number in range(1, plan.rounds + 1):
        last = rounds[-1]
        rounds.append(StudentRound(Path(plan.data) / f"turns_{number}", Path(plan.out) / f"round_{number}", plan.round_episodes,
                                   last.seed + last.episodes, last.out, plan.round_sight_minutes, plan.round_minutes))  # fmt: skip
    return rounds


def student_demonstrations_command(plan: StudentPlan, round_: StudentRound) -> list[str]:
    """The arguments of `humanoid generate` that make a round's demonstrations."""
    learner = ["--learner", str(round_.before / f"{NAME}.onnx"), "--keep-failures"] if round_.before is not None else []
    arguments = demonstrations_arguments(plan, factories=plan.factories, episodes=round_.episodes, folder=round_.data, seed=round_.seed)
    return [*arguments, "--sightings", *learner]
