"""What launch actions see while a launch file is carried out, and whom they ask to act."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from humanoid_control.errors import HumanoidControlError

if TYPE_CHECKING:
    from humanoid_control.ros.launching.actions import DeclareLaunchArgument


class LaunchError(HumanoidControlError):
    """A launch file, or what it was given, is wrong; the text fits on one line."""


class WrongValueError(LaunchError):
    """An argument that there is was given a value that it cannot have."""


@dataclass(frozen=True)
class ProcessRequest:
    """A process that a launch file wants.

    Attributes:
        name: what its lines of output are marked with.
        command: executable and arguments.
        environment: variables besides the inherited ones.
        respawn: start it again whenever it ends.
        respawn_delay_s: and wait so long before.
        sigterm_timeout_s: after a SIGINT, how long until SIGTERM follows.
        sigkill_timeout_s: after a SIGTERM, how long until SIGKILL follows.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    respawn: bool = False
    respawn_delay_s: float = 0.0
    sigterm_timeout_s: float = 5.0
    sigkill_timeout_s: float = 5.0


@dataclass(frozen=True)
class ProcessExited:
    """What a function given as `on_exit` is told.

    Attributes:
        returncode: of the process, as `subprocess` has it.
    """

    returncode: int


class Runtime(Protocol):
    """Carries out what launch actions ask for: for real, or only on paper."""

    def declare(self, argument: DeclareLaunchArgument, context: LaunchContext) -> None:
        """Takes note of a launch argument."""

    def start(self, request: ProcessRequest, action: object, on_exit: Callable[[int], None] | None) -> None:
        """Starts a process for an action, and calls `on_exit` with its exit code when it has ended."""

    def call_when_exited(self, action: object | None, callback: Callable[[int], None]) -> None:
        """Calls back with the exit code when the process of an action has ended; of any action if it is None."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Calls back after a time."""

    def shut_down(self, reason: str) -> None:
        """Stops every process, then the launch."""

    def log(self, text: str) -> None:
        """Shows a line to the user."""


@dataclass
class LaunchContext:
    """The state that launch actions read and change.

    Attributes:
        runtime: whom actions ask to act.
        launch_configurations: values of the launch arguments.
        namespace: in which nodes are started.
        environment: variables that were set for the processes to come.
        files: the launch files that are being carried out, outermost first.
    """

    runtime: Runtime
    launch_configurations: dict[str, str]
    namespace: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def scoped(self) -> LaunchContext:
        """A copy whose changes stay in it."""
        result = copy.copy(self)
        result.launch_configurations = dict(self.launch_configurations)
        result.environment = dict(self.environment)
        return result

    def execute(self, entities: Sequence[Any]) -> None:
        """Carries out actions, one after the other."""
        for entity in entities:
            entity.visit(self)

    def deferred(self, entities: Sequence[Any]) -> Callable[[], None]:
        """A callback that carries out actions later, in the context as it is now."""
        snapshot = self.scoped()
        return lambda: snapshot.execute(entities)
