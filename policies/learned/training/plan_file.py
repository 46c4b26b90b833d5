"""What is trained, as a YAML file over its defaults: checked key by key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from humanoid_control.errors import ConfigurationError
from humanoid_control.installation import share_folder

PlanT = TypeVar("PlanT", bound=BaseModel)


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
    values = _read(share_folder() / defaults, defaults) | (_read(path, defaults) if path is not None else {})
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


def _read(path: Path, defaults: str) -> dict:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds {type(content).__name__}; keys with values are needed, as in {defaults}.")
    return content
