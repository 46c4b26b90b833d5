"""The plan of `humanoid train teacher`: demonstrations of true poses, and the network that learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from policies.learned.training.plan_file import load_plan_file
from policies.learned.training.rounds import RoundsPlan

DEFAULTS = "config/training/teacher.yaml"


def load_teacher_plan(path: Path | None = None, **given: Any) -> RoundsPlan:
    """The plan of a file, over the defaults. See `load_plan_file`."""
    return load_plan_file(RoundsPlan, DEFAULTS, path, given)
