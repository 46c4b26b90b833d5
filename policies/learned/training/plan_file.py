"""What is trained, as a YAML file over its defaults: checked key by key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from humanoid_control.errors import ConfigurationError
from humanoid_control.installation import share_folder
from humanoid_control.nodes.factory_file import find_factory_file
from perception.training.plan_file import read_plan_file

PlanT = TypeVar("PlanT", bound=BaseModel)


class DemonstrationPlan(BaseModel):
    """What all plans say that demonstrate tasks, and train on that."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    data: str = Field(min_length=1)
    out: str = Field(min_length=1)
    workers: int = Field(ge=1, le=256)
    device: Literal["auto", "cpu", "cuda"]
    factories: list[str] = Field(min_length=1)
    noise: float = Field(ge=0.0, le=0.5)
    seed: int = Field(ge=0, lt=2**31)
    minutes: float = Field(gt=0.0, le=100_000.0)


def load_plan_file(kind: type[PlanT], defaults: str, path: Path | None, given: dict[str, Any]) -> PlanT:
    """The plan of a file, over the defaults.

    Args:
        kind: of plan.
        defaults: its file, below what is installed.
        path: of a YAML file; None for the defaults alone.
        given: values of the command line, which win over the file; those that are None do not count.

    Raises:
        ConfigurationError: the file cannot be read, or a key or value in it cannot be; named, with what is allowed.
    """
    values = read_plan_file(share_folder() / defaults, defaults=defaults) | (read_plan_file(path, defaults=defaults) if path is not None else {})
    values |= {key: value for key, value in given.items() if value is not None}
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigurationError(f"{path}: there is no key '{key}'; allowed: {', '.join(kind.model_fields)}.") from None
        if not key:
            raise ConfigurationError(f"{path or 'the command line'}: {first['msg'].removeprefix('Value error, ')}.") from None
        raise ConfigurationError(f"{path or 'the command line'}: {key} is {first['input']!r}: {first['msg'].lower()}.") from None


def demonstrations_arguments(plan: DemonstrationPlan, *, factories: Sequence[str], episodes: int, folder: Path, seed: int) -> list[str]:
    """The arguments of `humanoid generate` that make a data set of the scripted policy's demonstrations, without images.

    Args:
        plan: what all its data sets have in common.
        factories: names or paths, taken in turn.
        episodes: of all factories together.
        folder: of the data set.
        seed: of the first episode.
    """
    files = [str(find_factory_file(name)) for name in factories]
    return ["--factory", *files, "--episodes", str(episodes), "--out", str(folder), "--seed", str(seed), "--workers", str(plan.workers), "--no-images",
            "--layouts", "--noise", f"{plan.noise:g}"]  # fmt: skip
