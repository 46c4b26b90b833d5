"""What a launch file can ask for, processes apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from humanoid_control.ros.launching.context import LaunchContext, LaunchError, ProcessExited, WrongValueError
from humanoid_control.ros.launching.substitutions import perform


class Condition:
    """Decides whether an action is carried out."""

    def evaluate(self, context: LaunchContext) -> bool:
        """Whether it is."""
        raise NotImplementedError


class IfCondition(Condition):
    """True where a text says `true` or `1`."""

    def __init__(self, predicate_expression: Any) -> None:
        self._expression = predicate_expression

    def evaluate(self, context: LaunchContext) -> bool:
        text = perform(self._expression, context).strip().lower()
        if text not in ("true", "1", "false", "0"):
            raise LaunchError(f"a condition is '{text}'; it must be true or false")
        return text in ("true", "1")


class UnlessCondition(IfCondition):
    """True where a text says `false` or `0`."""

    def evaluate(self, context: LaunchContext) -> bool:
        return not super().evaluate(context)


class Action:
    """One thing a launch file asks for."""

    def __init__(self, *, condition: Condition | None = None, **unknown: Any) -> None:
        if unknown:
            raise LaunchError(
                f"{type(self).__name__}({next(iter(unknown))}=...) is not known to the project's launch "
                "runner; leave it out or install ROS 2's launch_ros"
            )
        self._condition = condition

    def visit(self, context: LaunchContext) -> None:
        """Carries it out, unless its condition is false."""
        if self._condition is None or self._condition.evaluate(context):
            self.execute(context)

    def execute(self, context: LaunchContext) -> None:
        """Carries it out."""
        raise NotImplementedError


class LaunchDescription:
    """The actions of a launch file."""

    def __init__(self, initial_entities: Iterable[Any] | None = None) -> None:
        self.entities = list(initial_entities or ())

    def add_action(self, action: Any) -> None:
        """Appends one."""
        self.entities.append(action)

    def visit(self, context: LaunchContext) -> None:
        """Carries out all of them."""
        context.execute(self.entities)


class DeclareLaunchArgument(Action):
    """An argument that the user may give, `name:=value`."""

    def __init__(
        self, name: str, *, default_value: Any = None, description: str = "", choices: Iterable[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.default_value = default_value
        self.description = description
        self.choices = tuple(choices or ())

    def execute(self, context: LaunchContext) -> None:
        context.runtime.declare(self, context)
        if self.name not in context.launch_configurations:
            if self.default_value is None:
                raise LaunchError(f"launch argument '{self.name}' must be given: {self.name}:=... ({self.description})")
            context.launch_configurations[self.name] = perform(self.default_value, context)
        value = context.launch_configurations[self.name]
        if self.choices and value not in self.choices:
            raise WrongValueError(f"launch argument {self.name}:={value} must be one of: {', '.join(self.choices)}")


class GroupAction(Action):
    """Actions whose changes to namespace and configurations stay among themselves."""

    def __init__(self, actions: Iterable[Any], *, scoped: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._actions = tuple(actions)
        self._scoped = scoped

    def execute(self, context: LaunchContext) -> None:
        (context.scoped() if self._scoped else context).execute(self._actions)


class PushRosNamespace(Action):
    """Starts the nodes that follow in a namespace below the present one."""

    def __init__(self, namespace: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._namespace = namespace

    def execute(self, context: LaunchContext) -> None:
        context.namespace = join_namespace(context.namespace, perform(self._namespace, context))


def join_namespace(outer: str, inner: str) -> str:
    """One namespace below another; an inner one that begins with a slash stands for itself."""
    if inner.startswith("/"):
        return inner.rstrip("/")
    return f"{outer}/{inner.strip('/')}" if inner.strip("/") else outer


class PythonLaunchDescriptionSource:
    """A launch file written in Python."""

    def __init__(self, launch_file_path: Any) -> None:
        self._path = launch_file_path

    def load(self, context: LaunchContext) -> tuple[Path, LaunchDescription]:
        """The file and what it describes."""
        path = Path(perform(self._path, context))
        return path, load_launch_file(path)


class IncludeLaunchDescription(Action):
    """The actions of another launch file, with arguments for it."""

    def __init__(
        self,
        launch_description_source: PythonLaunchDescriptionSource,
        *,
        launch_arguments: Iterable[tuple[Any, Any]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._source = launch_description_source
        self._arguments = tuple(launch_arguments or ())

    def execute(self, context: LaunchContext) -> None:
        for name, value in self._arguments:
            context.launch_configurations[perform(name, context)] = perform(value, context)
        path, description = self._source.load(context)
        if str(path) in context.files:
            raise LaunchError(f"{path} includes itself")
        files, context.files = context.files, (*context.files, str(path))
        description.visit(context)
        context.files = files


class OpaqueFunction(Action):
    """Actions that a function decides on."""

    def __init__(
        self,
        *,
        function: Callable[..., Sequence[Any] | None],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        **further: Any,
    ) -> None:
        super().__init__(**further)
        self._call = lambda context: function(context, *args, **(kwargs or {}))

    def execute(self, context: LaunchContext) -> None:
        context.execute(self._call(context) or ())


class SetEnvironmentVariable(Action):
    """An environment variable for the processes that follow."""

    def __init__(self, name: Any, value: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._name = name
        self._value = value

    def execute(self, context: LaunchContext) -> None:
        context.environment[perform(self._name, context)] = perform(self._value, context)


class TimerAction(Action):
    """Actions that wait."""

    def __init__(self, *, period: Any, actions: Iterable[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._period = period
        self._actions = tuple(actions)

    def execute(self, context: LaunchContext) -> None:
        text = str(self._period) if isinstance(self._period, (int, float)) else perform(self._period, context)
        try:
            period_s = float(text)
        except ValueError:
            raise LaunchError(f"TimerAction(period={text!r}): a number of seconds is wanted") from None
        context.runtime.call_later(period_s, context.deferred(self._actions))


class OnProcessExit:
    """Actions for the moment when a process ends."""

    def __init__(self, *, target_action: Action | None = None, on_exit: Any) -> None:
        self._target = target_action
        self._on_exit = on_exit

    def register(self, context: LaunchContext) -> None:
        """Waits from now on."""
        context.runtime.call_when_exited(self._target, after_exit(self._on_exit, context))


class RegisterEventHandler(Action):
    """Waits for an event."""

    def __init__(self, event_handler: OnProcessExit, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._handler = event_handler

    def execute(self, context: LaunchContext) -> None:
        self._handler.register(context)


class Shutdown(Action):
    """Stops every process and ends the launch."""

    def __init__(self, *, reason: Any = "the launch file asks for it", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._reason = reason

    def execute(self, context: LaunchContext) -> None:
        context.runtime.shut_down(perform(self._reason, context))


class LogInfo(Action):
    """A line for the user."""

    def __init__(self, *, msg: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._message = msg

    def execute(self, context: LaunchContext) -> None:
        context.runtime.log(perform(self._message, context))


def after_exit(on_exit: Any, context: LaunchContext) -> Callable[[int], None]:
    """A callback, given an exit code, for actions or for a function of (event, context) that returns some."""
    if not callable(on_exit):
        deferred = context.deferred(as_actions(on_exit))
        return lambda exit_code: deferred()
    snapshot = context.scoped()
    return lambda exit_code: snapshot.execute(as_actions(on_exit(ProcessExited(exit_code), snapshot)))


def as_actions(value: Any) -> tuple[Any, ...]:
    """One action or several, as a tuple."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def load_launch_file(path: Path) -> LaunchDescription:
    """What a launch file describes.

    Raises:
        LaunchError: there is no such file, or it is no launch file, or it fails.
    """
    if not path.is_file():
        raise LaunchError(f"no launch file {path}")
    # Not by import: that takes a cached version where size and second of the last change are the same.
    variables: dict[str, Any] = {"__name__": path.name.removesuffix(".py"), "__file__": str(path)}
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), variables)
        if "generate_launch_description" not in variables:
            raise LaunchError(f"{path} has no function generate_launch_description")
        description = variables["generate_launch_description"]()
    except LaunchError:
        raise
    except ImportError as error:
        raise LaunchError(
            f"{path}: {error}; the project's launch runner knows a part of launch and launch_ros only"
        ) from error
    except Exception as error:  # a launch file is a program: it can fail in any way
        raise LaunchError(f"{path}:{_line_of(error, path)}: {type(error).__name__}: {error}") from error
    if not isinstance(description, LaunchDescription):
        raise LaunchError(f"{path}: generate_launch_description() must return a LaunchDescription, not {description!r}")
    return description


def _line_of(error: BaseException, path: Path) -> int:
    """The last line of a file that an error came through."""
    line, traceback = 0, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line or getattr(error, "lineno", None) or 0
