"""`humanoid train teacher`: demonstrations of true poses, and the network that learns from them. Resumable step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from humanoid_control.errors import ConfigurationError
from humanoid_control.installation import share_folder
from humanoid_control.nodes.factory_file import find_factory_file

DEFAULTS = "config/training/teacher.yaml"


class TeacherPlan(BaseModel):
    """What is demonstrated and learnt; `DEFAULTS` has the defaults and says what each is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    data: str = Field(min_length=1)
    out: str = Field(min_length=1)
    workers: int = Field(ge=1, le=256)
    device: Literal["auto", "cpu", "cuda"]
    factories: list[str] = Field(min_length=1)
    episodes: int = Field(ge=1, le=10_000_000)
    noise: float = Field(ge=0.0, le=0.5)
    seed: int = Field(ge=0, lt=2**31)
    minutes: float = Field(gt=0.0, le=100_000.0)


def load_teacher_plan(path: Path | None = None, **given: Any) -> TeacherPlan:
    """The plan of a file, over the defaults.

    Args:
        path: of a YAML file; None for the defaults alone.
        given: values of the command line, which win over the file; those that are None do not count.

    Raises:
        ConfigurationError: the file cannot be read, or a key or value in it cannot be; named, with what is allowed.
    """
    values = _read(share_folder() / DEFAULTS) | (_read(path) if path is not None else {})
    values |= {key: value for key, value in given.items() if value is not None}
    try:
        return TeacherPlan(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigurationError(f"{path}: there is no key '{key}'; allowed: {', '.join(TeacherPlan.model_fields)}.") from None
        raise ConfigurationError(f"{path or 'the command line'}: {key} is {first['input']!r}: {first['msg'].lower()}.") from None


def demonstrations_command(plan: TeacherPlan) -> list[str]:
    """The arguments of `humanoid generate` that make a plan's demonstrations."""
    factories = [str(find_factory_file(name)) for name in plan.factories]
    return ["--factory", *factories, "--episodes", str(plan.episodes), "--out", plan.data, "--seed", str(plan.seed), "--workers",
            str(plan.workers), "--no-images", "--layouts", "--noise", f"{plan.noise:g}"]  # fmt: skip


def _read(path: Path) -> dict:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds {type(content).__name__}; keys with values are needed, as in {DEFAULTS}.")
    return content
