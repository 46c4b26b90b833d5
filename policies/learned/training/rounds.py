"""Training in rounds: first what the expert demonstrates alone, then by turns with what was learnt before. Resumable step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from policies.learned.training.plan_file import DemonstrationPlan, demonstrations_arguments

Report = Callable[[str, Any, dict], None]  # told what is trained, its progress and its latest figures


class RoundsPlan(DemonstrationPlan):
    """What is demonstrated and learnt; the plan's file of defaults says what each is.

    Attributes:
        generate_with: what else `humanoid generate` is told for all its demonstrations.
    """

    generate_with: ClassVar[tuple[str, ...]] = ()
    episodes: int = Field(ge=1, le=10_000_000)
    rounds: int = Field(ge=0, le=100)
    round_episodes: int = Field(ge=1, le=1_000_000)
    round_minutes: float = Field(gt=0.0, le=100_000.0)


@dataclass(frozen=True)
class Round:
    """One round of demonstrating and learning.

    Attributes:
        data: folder of its demonstrations,
        out: of its networks.
        episodes: how many,
        seed: from which on.
        before: folder of the networks that drive by turns with the expert, and that are gone on from; none in the first round.
        minutes: of training on the demonstrations of this round and all before.
    """

    data: Path
    out: Path
    episodes: int
    seed: int
    before: Path | None
    minutes: float


def rounds_of(plan: RoundsPlan) -> list[Round]:
    """The rounds of a plan: the expert alone, then by turns with what was learnt before."""
    rounds = [Round(Path(plan.data) / "expert", Path(plan.out) / "round_0", plan.episodes, plan.seed, None, plan.minutes)]
    for number in range(1, plan.rounds + 1):
        last = rounds[-1]
        rounds.append(Round(Path(plan.data) / f"turns_{number}", Path(plan.out) / f"round_{number}", plan.round_episodes,
                            last.seed + last.episodes, last.out, plan.round_minutes))  # fmt: skip
    return rounds


def demonstrations_command(plan: RoundsPlan, round_: Round, network: str) -> list[str]:
    """The arguments of `humanoid generate` that make a round's demonstrations.

    Args:
        plan: that the round is of.
        round_: the round.
        network: name of what is learnt, which drives by turns with the expert.
    """
    learner = ["--learner", str(round_.before / f"{network}.onnx"), "--keep-failures"] if round_.before is not None else []
    arguments = demonstrations_arguments(plan, factories=plan.factories, episodes=round_.episodes, folder=round_.data, seed=round_.seed)
    return [*arguments, *plan.generate_with, *learner]
