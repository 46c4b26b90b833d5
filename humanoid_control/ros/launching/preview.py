"""Carries out a launch on paper: which arguments it takes, and what it would start."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from humanoid_control.ros.launching.actions import DeclareLaunchArgument
from humanoid_control.ros.launching.context import LaunchContext, ProcessRequest
from humanoid_control.ros.launching.substitutions import perform


class Preview:
    """The `Runtime` that starts nothing; every process ends well.

    Attributes:
        arguments: the launch arguments by name, in the order of their declaration, each with its default as text;
            None where there is none.
        lines: what would happen, a line each.
    """

    def __init__(self, *, fill_missing: bool = False) -> None:
        self._fill_missing = fill_missing
        self.arguments: dict[str, tuple[DeclareLaunchArgument, str | None]] = {}
        self.lines: list[str] = []
        self._when = ""
        self._names: dict[int, str] = {}

    def declare(self, argument: DeclareLaunchArgument, context: LaunchContext) -> None:
        default = None if argument.default_value is None else perform(argument.default_value, context)
        self.arguments.setdefault(argument.name, (argument, default))
        if self._fill_missing and default is None:
            made_up = argument.choices[0] if argument.choices else ""
            context.launch_configurations.setdefault(argument.name, made_up)

    def start(self, request: ProcessRequest, action: object, on_exit: Callable[[int], None] | None) -> None:
        self._names[id(action)] = request.name
        variables = "".join(f"{name}={shlex.quote(value)} " for name, value in request.environment.items())
        self.lines.append(f"{self._when}{request.name}: {variables}{shlex.join(request.command)}")
        if on_exit is not None:
            self._under(f"when {request.name} ends: ", lambda: on_exit(0))

    def call_when_exited(self, action: object | None, callback: Callable[[int], None]) -> None:
        self._under(f"when {self._names.get(id(action), 'any process')} ends: ", lambda: callback(0))

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self._under(f"after {delay_s:g} s: ", callback)

    def shut_down(self, reason: str) -> None:
        self.lines.append(f"{self._when}shut down: {reason}")

    def log(self, text: str) -> None:
        self.lines.append(f"{self._when}log: {text}")

    def _under(self, condition: str, callback: Callable[[], None]) -> None:
        outer, self._when = self._when, self._when + condition
        callback()
        self._when = outer
