"""Processes of a launch file: any command, and ROS nodes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from humanoid_control.ros.launching.actions import Action, after_exit, join_namespace
from humanoid_control.ros.launching.context import LaunchContext, LaunchError, ProcessRequest
from humanoid_control.ros.launching.substitutions import Substitution, closest, find_package_prefix, perform

# How the output goes to log files and terminal is ROS 2 launch's affair; the runner shows all of it.
_OUTPUTS = ("screen", "log", "both", "own_log", "full")


class ExecuteProcess(Action):
    """Any command."""

    def __init__(
        self,
        *,
        cmd: Iterable[Any],
        name: Any = None,
        output: str = "log",
        additional_env: Mapping[Any, Any] | None = None,
        on_exit: Any = None,
        respawn: Any = False,
        respawn_delay: float | None = None,
        sigterm_timeout: Any = "5",
        sigkill_timeout: Any = "5",
        emulate_tty: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if output not in _OUTPUTS:
            raise LaunchError(f"output='{output}' must be one of: {', '.join(_OUTPUTS)}")
        del emulate_tty  # output is read line by line either way
        self._cmd = tuple(cmd)
        self._name = name
        self._environment = dict(additional_env or {})
        self._on_exit = on_exit
        self._respawn = respawn
        self._respawn_delay_s = float(respawn_delay or 0.0)
        self._timeouts = (sigterm_timeout, sigkill_timeout)

    def execute(self, context: LaunchContext) -> None:
        command = self.make_command(context)
        own = {perform(key, context): perform(value, context) for key, value in self._environment.items()}
        sigterm_timeout_s, sigkill_timeout_s = (float(perform(value, context)) for value in self._timeouts)
        respawn = self._respawn if isinstance(self._respawn, bool) else perform(self._respawn, context) == "true"
        request = ProcessRequest(
            name=self.make_name(context, command),
            command=command,
            environment={**context.environment, **own},
            respawn=respawn,
            respawn_delay_s=self._respawn_delay_s,
            sigterm_timeout_s=sigterm_timeout_s,
            sigkill_timeout_s=sigkill_timeout_s,
        )
        context.runtime.start(request, self, after_exit(self._on_exit, context) if self._on_exit else None)

    def make_command(self, context: LaunchContext) -> tuple[str, ...]:
        """Executable and arguments."""
        return tuple(perform(part, context) for part in self._cmd)

    def make_name(self, context: LaunchContext, command: tuple[str, ...]) -> str:
        """What the process is called in the output."""
        return perform(self._name, context) if self._name is not None else Path(command[0]).name


class Node(ExecuteProcess):
    """A ROS node: an executable of a package, with name, namespace, parameters and remappings."""

    def __init__(
        self,
        *,
        package: Any,
        executable: Any,
        name: Any = None,
        namespace: Any = None,
        parameters: Iterable[Any] | None = None,
        remappings: Iterable[tuple[Any, Any]] | None = None,
        arguments: Iterable[Any] | None = None,
        ros_arguments: Iterable[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(cmd=(), **kwargs)
        self._package = package
        self._executable = executable
        self._node_name = name
        self._namespace = namespace
        self._parameters = tuple(parameters or ())
        self._remappings = tuple(remappings or ())
        self._arguments = tuple(arguments or ())
        self._ros_arguments = tuple(ros_arguments or ())

    def make_command(self, context: LaunchContext) -> tuple[str, ...]:
        ros = [perform(argument, context) for argument in self._ros_arguments]
        if self._node_name is not None:
            ros += ["-r", f"__node:={perform(self._node_name, context)}"]
        namespace = join_namespace(context.namespace, perform(self._namespace or "", context))
        if namespace:
            ros += ["-r", f"__ns:=/{namespace.lstrip('/')}"]
        for source, target in self._remappings:
            ros += ["-r", f"{perform(source, context)}:={perform(target, context)}"]
        for parameters in self._parameters:
            ros += _parameter_arguments(parameters, context)
        command = [self._find_executable(context), *(perform(argument, context) for argument in self._arguments)]
        return (*command, "--ros-args", *ros) if ros else tuple(command)

    def make_name(self, context: LaunchContext, command: tuple[str, ...]) -> str:
        return perform(self._node_name if self._node_name is not None else self._executable, context)

    def _find_executable(self, context: LaunchContext) -> str:
        package, executable = perform(self._package, context), perform(self._executable, context)
        folder = find_package_prefix(package) / "lib" / package
        path = folder / executable
        if not os.access(path, os.X_OK):
            known = [file.name for file in folder.glob("*") if os.access(file, os.X_OK) and file.is_file()]
            raise LaunchError(f"package '{package}' has no executable '{executable}'; {closest(executable, known)}")
        return str(path)


class LifecycleNode(Node):
    """A ROS node with a life cycle; launch_ros wants name and namespace for it."""

    def __init__(self, *, name: Any, namespace: Any, **kwargs: Any) -> None:
        super().__init__(name=name, namespace=namespace, **kwargs)


class ParameterValue:
    """A parameter's value with the type it shall have; text is kept as text with `value_type=str`."""

    def __init__(self, value: Any, *, value_type: Any = None) -> None:
        self._value = value
        self._type = value_type

    def as_yaml(self, context: LaunchContext) -> str:
        """The value as YAML."""
        text = perform(self._value, context) if not isinstance(self._value, (bool, int, float)) else str(self._value)
        return json.dumps(text) if self._type is str else text


def _parameter_arguments(parameters: Any, context: LaunchContext) -> list[str]:
    """Arguments for a parameter file, or for a dictionary of parameters."""
    if not isinstance(parameters, Mapping):
        path = perform(parameters, context)
        if not Path(path).is_file():
            raise LaunchError(f"no parameter file {path}")
        return ["--params-file", path]
    return [
        part
        for name, value in _flatten(parameters, "", context)
        for part in ("-p", f"{name}:={_as_yaml(value, name, context)}")
    ]


def _flatten(parameters: Mapping[Any, Any], prefix: str, context: LaunchContext) -> Iterable[tuple[str, Any]]:
    for key, value in parameters.items():
        name = prefix + perform(key, context)
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}.", context)
        else:
            yield name, value


def _as_yaml(value: Any, name: str, context: LaunchContext) -> str:
    """A value as YAML; like launch_ros, text from a substitution may become a number or a boolean, other text not."""
    if isinstance(value, ParameterValue):
        return value.as_yaml(context)
    if isinstance(value, Substitution):
        return value.perform(context)
    if isinstance(value, (list, tuple)):
        if (
            value
            and all(isinstance(part, (str, Substitution)) for part in value)
            and any(isinstance(part, Substitution) for part in value)
        ):
            return perform(value, context)
        return f"[{', '.join(_as_yaml(part, name, context) for part in value)}]"
    if isinstance(value, float) and not math.isfinite(value):
        raise LaunchError(f"parameter '{name}' is {value}; it must be finite")
    if isinstance(value, (bool, int, float, str)):
        return json.dumps(value)
    raise LaunchError(f"parameter '{name}' is {value!r}; it must be a boolean, number, text or a list of these")
