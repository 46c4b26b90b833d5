"""What is to be trained, as a YAML file."""

from __future__ import annotations

from pathlib import Path

import yaml

from humanoid_control.errors import ConfigurationError


def read_plan_file(path: Path, *, defaults: str) -> dict:
    """The keys of a plan and their values.

    Args:
        path: of the file.
        defaults: the file that has all keys, for the error.

    Raises:
        ConfigurationError: it cannot be read, or holds no keys.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds {type(content).__name__}; keys with values are needed, as in {defaults}.")
    return content
