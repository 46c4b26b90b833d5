"""Values of a launch file that are known only when it is carried out."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from humanoid_control.ros.launching.context import LaunchContext, LaunchError


class Substitution:
    """Something that becomes text in a context."""

    def perform(self, context: LaunchContext) -> str:
        """The text."""
        raise NotImplementedError


def perform(value: Any, context: LaunchContext) -> str:
    """The text of a string, a substitution, or a sequence of these, joined."""
    if isinstance(value, Substitution):
        return value.perform(context)
    if isinstance(value, (list, tuple)):
        return "".join(perform(part, context) for part in value)
    if isinstance(value, (str, os.PathLike)):
        return str(value)
    raise LaunchError(f"a launch file wants text, a substitution or a list of these, got {value!r}")


def closest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the close matches, and all there is when that is little."""
    known = sorted(known)
    matches = difflib.get_close_matches(name, known, n=2)
    if matches:
        return f"did you mean {' or '.join(matches)}?"
    return f"there is {', '.join(known)}" if known else "there is none"


class TextSubstitution(Substitution):
    """Text as it stands."""

    def __init__(self, *, text: str) -> None:
        self._text = text

    def perform(self, context: LaunchContext) -> str:
        return self._text


class LaunchConfiguration(Substitution):
    """The value of a launch argument."""

    def __init__(self, variable_name: str, *, default: Any = None) -> None:
        self._name = variable_name
        self._default = default

    def perform(self, context: LaunchContext) -> str:
        if self._name in context.launch_configurations:
            return context.launch_configurations[self._name]
        if self._default is None:
            raise LaunchError(
                f"launch argument '{self._name}' is used but not declared; "
                f"{closest(self._name, context.launch_configurations)}"
            )
        return perform(self._default, context)


class EnvironmentVariable(Substitution):
    """The value of an environment variable."""

    def __init__(self, name: Any, *, default_value: Any = None) -> None:
        self._name = name
        self._default = default_value

    def perform(self, context: LaunchContext) -> str:
        name = perform(self._name, context)
        value = context.environment.get(name, os.environ.get(name))
        if value is not None:
            return value
        if self._default is None:
            raise LaunchError(f"environment variable {name} is not set")
        return perform(self._default, context)


class PathJoinSubstitution(Substitution):
    """Parts joined to a path."""

    def __init__(self, substitutions: Iterable[Any]) -> None:
        self._parts = tuple(substitutions)

    def perform(self, context: LaunchContext) -> str:
        return os.path.join(*(perform(part, context) for part in self._parts))


class FindPackageShare(Substitution):
    """The share folder of a package."""

    def __init__(self, package: Any) -> None:
        self._package = package

    def perform(self, context: LaunchContext) -> str:
        name = perform(self._package, context)
        return str(find_package_prefix(name) / "share" / name)


def find_package_prefix(package: str) -> Path:
    """Where a package is installed.

    Raises:
        LaunchError: it is not, or there is no ROS 2.
    """
    try:
        from ament_index_python import PackageNotFoundError, get_package_prefix, get_packages_with_prefixes
    except ImportError:
        raise LaunchError("no ROS 2 in this Python; run: make setup") from None
    try:
        return Path(get_package_prefix(package))
    except (PackageNotFoundError, ValueError):
        matches = difflib.get_close_matches(package, get_packages_with_prefixes(), n=1, cutoff=0.7)
        hint = f"; did you mean {matches[0]}?" if matches else ""
        raise LaunchError(f"package '{package}' is not installed{hint}") from None
