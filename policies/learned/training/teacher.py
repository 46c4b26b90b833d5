"""`humanoid train teacher`: demonstrations of true poses, and the network that learns from them. Resumable step by step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from policies.learned.pose_policy import NAME
from policies.learned.training.plan_file import DemonstrationPlan, demonstrations_arguments, load_plan_file

DEFAULTS = "config/training/teacher.yaml"


class TeacherPlan(DemonstrationPlan):
    """What is demonstrated and learnt; `DEFAULTS` has the defaults and says what each is."""

    episodes: int = Field(ge=1, le=10_000_000)
    rounds: int = Field(ge=0, le=100)
    round_episodes: int = Field(ge=1, le=1_000_000)
    round_minutes: float = Field(gt=0.0, le=100_000.0)


def load_teacher_plan(path: Path | None = None, **given: Any) -> TeacherPlan:
    """The plan of a file, over the defaults.

    Args:
        path: of a YAML file; None for the defaults alone.
        given: values of the command line, which win over the file; those that are None do not count.

    Raises:
        ConfigurationError: the file cannot be read, or a key or value in it cannot be; named, with what is allowed.
    """
    return load_plan_file(TeacherPlan, DEFAULTS, path, given)


@dataclass(frozen=True)
class Round:
    """One round of demonstrating and learning.

    Attributes:
        data: folder of its demonstrations,
        out: of its network.
        episodes: how many,
        seed: from which on.
        learner: checkpoint that drives by turns with the expert; none in the first round.
        minutes: of training on the demonstrations of this round and all before.
    """

    data: Path
    out: Path
    episodes: int
    seed: int
    learner: Path | None
    minutes: float


def rounds_of(plan: TeacherPlan) -> list[Round]:
    """The rounds of a plan: the expert alone, then by turns with what was learnt before."""
    rounds = [Round(Path(plan.data) / "expert", Path(plan.out) / "round_0", plan.episodes, plan.seed, None, plan.minutes)]
    for number in range(1, plan.rounds + 1):
        last = rounds[-1]
        rounds.append(Round(Path(plan.data) / f"turns_{number}", Path(plan.out) / f"round_{number}", plan.round_episodes,
                            last.seed + last.episodes, last.out / f"{NAME}.onnx", plan.round_minutes))  # fmt: skip
    return rounds


def demonstrations_command(plan: TeacherPlan, round_: Round) -> list[str]:
    """The arguments of `humanoid generate` that make a round's demonstrations."""
    learner = ["--learner", str(round_.learner), "--keep-failures"] if round_.learner is not None else []
    arguments = demonstrations_arguments(plan, factories=plan.factories, episodes=round_.episodes, folder=round_.data, seed=round_.seed)
    return [*arguments, *learner]
