"""The plan of `humanoid train student`: demonstrations with what a student's eyes see, and the student that learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from policies.learned.pose_policy import DEFAULT
from policies.learned.training.plan_file import load_plan_file
from policies.learned.training.rounds import Round, RoundsPlan

DEFAULTS = "config/training/student.yaml"


class StudentPlan(RoundsPlan):
    """What is demonstrated and learnt; `DEFAULTS` has the defaults and says what each is."""

    generate_with: ClassVar[tuple[str, ...]] = ("--sightings",)
    teacher: str
    sight_minutes: float = Field(gt=0.0, le=100_000.0)
    round_sight_minutes: float = Field(gt=0.0, le=100_000.0)

    @property
    def teacher_file(self) -> Path:
        """ONNX file of the network that the student begins as."""
        return Path(self.teacher) if self.teacher else DEFAULT

    def sight_minutes_of(self, round_: Round) -> float:
        """Minutes of training the student's eyes in a round."""
        return self.sight_minutes if round_.before is None else self.round_sight_minutes


def load_student_plan(path: Path | None = None, **given: Any) -> StudentPlan:
    """The plan of a file, over the defaults. See `load_plan_file`."""
    return load_plan_file(StudentPlan, DEFAULTS, path, given)
