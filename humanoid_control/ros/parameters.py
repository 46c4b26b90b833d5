"""A node's parameters: a frozen dataclass, checked, and declared to ROS with units and ranges.

@dataclass(frozen=True)
class ControlParameters:
    rate_hz: float = parameter(250.0, "rate of the control loop", minimum=50.0, maximum=1000.0)
    robot: str = parameter("mujoco", "driver", choices=("mujoco", "g1", "fake"))

node = Node("control_node", **NODE_OPTIONS)
parameters = declare_parameters(node, ControlParameters)
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from humanoid_control.errors import ConfigurationError

# Lets ROS take every value it was given, also misspelt ones: only then can we name them.
NODE_OPTIONS = {"automatically_declare_parameters_from_overrides": True}

# What rclpy itself declares for every node.
_ROS_OWN = ("use_sim_time", "start_type_description_service")
_ROS_OWN_PREFIXES = ("qos_overrides.",)

_SCALARS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_T = TypeVar("_T")


def parameter(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Iterable[Any] = (),
) -> Any:
    """A field of a parameter dataclass; `dataclasses.MISSING` as default means that it must be given."""
    metadata = {"description": description, "minimum": minimum, "maximum": maximum, "choices": tuple(choices)}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def from_mapping(parameters: type[_T], values: Mapping[str, Any], *, where: str) -> _T:
    """The parameters of a mapping.

    Args:
        parameters: a dataclass whose fields were made by `parameter`.
        values: by name.
        where: what errors begin with, such as the node's name.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value has the wrong type or is out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(parameters)}
    types = typing.get_type_hints(parameters)
    for name, value in values.items():
        if name not in fields:
            matches = difflib.get_close_matches(name, fields, n=2)
            hint = f"did you mean {' or '.join(matches)}?" if matches else f"there is {', '.join(fields)}"
            raise ConfigurationError(f"{where}: unknown parameter '{name}' ({value!r}); {hint}")
    checked = {
        name: _check(where, field, types[name], values[name]) for name, field in fields.items() if name in values
    }
    for name, field in fields.items():
        if name in checked:
            continue
        if field.default is dataclasses.MISSING:
            raise ConfigurationError(f"{where}: parameter '{name}' must be given: {_describe(field, types[name])}")
        checked[name] = _check(where, field, types[name], field.default)
    return parameters(**checked)


def declare_parameters(node: Any, parameters: type[_T]) -> _T:
    """Declares a node's parameters with the values it was started with, read-only, and returns them.

    Args:
        node: made with `NODE_OPTIONS`.
        parameters: a dataclass whose fields were made by `parameter`.

    Raises:
        ConfigurationError: as `from_mapping`.
    """
    given = {
        name: value.value
        for name, value in node.get_parameters_by_prefix("").items()
        if name not in _ROS_OWN and not name.startswith(_ROS_OWN_PREFIXES)
    }
    result = from_mapping(parameters, given, where=node.get_name())
    for field in dataclasses.fields(parameters):
        if node.has_parameter(field.name):
            node.undeclare_parameter(field.name)
        value = getattr(result, field.name)
        value = list(value) if isinstance(value, tuple) else value
        node.declare_parameter(field.name, value, _make_descriptor(field), ignore_override=True)
    return result


def _check(where: str, field: dataclasses.Field, kind: Any, value: Any) -> Any:
    """A value in the type of its field."""
    if typing.get_origin(kind) is tuple:
        element = typing.get_args(kind)[0]
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            raise _error(where, field, kind, value)
        return tuple(_check(where, field, element, part) for part in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise _error(where, field, kind, value)
    minimum, maximum, choices = (field.metadata[key] for key in ("minimum", "maximum", "choices"))
    if (
        (minimum is not None and value < minimum)
        or (maximum is not None and value > maximum)
        or (choices and value not in choices)
    ):
        raise _error(where, field, kind, value)
    return value


def _error(where: str, field: dataclasses.Field, kind: Any, value: Any) -> ConfigurationError:
    close = difflib.get_close_matches(value, field.metadata["choices"], n=1) if isinstance(value, str) else []
    hint = f"; did you mean {close[0]}?" if close else ""
    return ConfigurationError(
        f"{where}: parameter '{field.name}' is {value!r}; it must be {_describe(field, kind)}{hint}"
    )


def _describe(field: dataclasses.Field, kind: Any) -> str:
    """What is allowed, in words."""
    if typing.get_origin(kind) is tuple:
        return f"a list, each {_describe(field, typing.get_args(kind)[0])}"
    minimum, maximum, choices = (field.metadata[key] for key in ("minimum", "maximum", "choices"))
    if choices:
        return f"one of: {', '.join(map(str, choices))}"
    text = _SCALARS[kind]
    if minimum is not None and maximum is not None:
        return f"{text} from {minimum:g} to {maximum:g}"
    if minimum is not None:
        return f"{text}, at least {minimum:g}"
    return f"{text}, at most {maximum:g}" if maximum is not None else text


def _make_descriptor(field: dataclasses.Field) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    descriptor = ParameterDescriptor(description=field.metadata["description"], read_only=True)
    if field.metadata["choices"]:
        descriptor.additional_constraints = f"one of: {', '.join(map(str, field.metadata['choices']))}"
    minimum, maximum = field.metadata["minimum"], field.metadata["maximum"]
    if minimum is not None and maximum is not None:
        if field.type in (float, "float"):
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(minimum), to_value=float(maximum))]
        elif field.type in (int, "int"):
            descriptor.integer_range = [IntegerRange(from_value=int(minimum), to_value=int(maximum), step=1)]
    return descriptor
