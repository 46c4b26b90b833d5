"""A node's parameters: checked with errors that say what is allowed, and declared to ROS."""

import dataclasses
import sys

import pytest
import rclpy

from humanoid_control.errors import ConfigurationError
from humanoid_control.ros.parameters import NODE_OPTIONS, declare_parameters, from_mapping, parameter


@dataclasses.dataclass(frozen=True)
class ExampleParameters:
    rate_hz: float = parameter(250.0, "rate of the loop", minimum=50.0, maximum=1000.0)
    robot: str = parameter("mujoco", "driver", choices=("mujoco", "g1", "fake"))
    retries: int = parameter(3, "how often", minimum=0)
    start: tuple[float, ...] = parameter((0.0, 0.0), "where", minimum=-5.0, maximum=5.0)
    viewer: bool = parameter(False, "whether to show it")


@dataclasses.dataclass(frozen=True)
class NeedyParameters:
    factory: str = parameter(dataclasses.MISSING, "factory file")


def test_defaults_hold_where_nothing_is_given():
    assert from_mapping(ExampleParameters, {}, where="node") == ExampleParameters(250.0, "mujoco", 3, (0.0, 0.0), False)


def test_whole_number_is_taken_for_a_number():
    result = from_mapping(ExampleParameters, {"rate_hz": 500, "start": [1, 2.5]}, where="node")
    assert result.rate_hz == 500.0 and type(result.rate_hz) is float
    assert result.start == (1.0, 2.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1.0}, r"node: unknown parameter 'rate' \(1.0\); did you mean rate_hz\?"),
        ({"zzz": 1.0}, "unknown parameter 'zzz' .* there is rate_hz, robot, retries, start, viewer"),
        ({"rate_hz": 10.0}, "'rate_hz' is 10.0; it must be a number from 50 to 1000"),
        ({"rate_hz": float("nan")}, "'rate_hz' is nan; it must be a number"),
        ({"rate_hz": "fast"}, "'rate_hz' is 'fast'; it must be a number"),
        ({"rate_hz": True}, "'rate_hz' is True; it must be a number"),
        ({"robot": "mujocco"}, r"'robot' is 'mujocco'; it must be one of: mujoco, g1, fake; did you mean mujoco\?"),
        ({"retries": -1}, "'retries' is -1; it must be a whole number, at least 0"),
        ({"retries": 1.5}, "'retries' is 1.5; it must be a whole number"),
        ({"start": [0.0, 9.0]}, "'start' is 9.0; it must be a number from -5 to 5"),
        ({"start": 1.0}, "'start' is 1.0; it must be a list, each a number from -5 to 5"),
        ({"viewer": "yes"}, "'viewer' is 'yes'; it must be true or false"),
    ],
)
def test_wrong_value_is_named_with_what_is_allowed(values, message):
    with pytest.raises(ConfigurationError, match=message):
        from_mapping(ExampleParameters, values, where="node")


def test_missing_value_is_named():
    with pytest.raises(ConfigurationError, match="node: parameter 'factory' must be given: text"):
        from_mapping(NeedyParameters, {}, where="node")


@pytest.fixture
def make_node():
    def make(*arguments):
        rclpy.init(args=[sys.argv[0], "--ros-args", *arguments])
        return rclpy.create_node("example_node", **NODE_OPTIONS)

    yield make
    rclpy.try_shutdown()


def test_parameter_file_and_command_line_reach_the_node(make_node, tmp_path):
    file = tmp_path / "example_node.yaml"
    file.write_text("example_node:\n  ros__parameters:\n    rate_hz: 500\n    start: [1.0, 2.0]\n")
    node = make_node("--params-file", str(file), "-p", "robot:=fake", "-p", "use_sim_time:=true")
    parameters = declare_parameters(node, ExampleParameters)
    assert parameters == ExampleParameters(500.0, "fake", 3, (1.0, 2.0), False)
    assert node.get_parameter("rate_hz").value == 500.0
    assert node.get_parameter("viewer").value is False
    descriptor = node.describe_parameter("rate_hz")
    assert descriptor.read_only and descriptor.description == "rate of the loop"
    assert descriptor.floating_point_range[0].to_value == 1000.0


def test_misspelt_parameter_of_a_node_is_named(make_node):
    node = make_node("-p", "rate_khz:=1.0")
    with pytest.raises(
        ConfigurationError, match=r"example_node: unknown parameter 'rate_khz' .* did you mean rate_hz\?"
    ):
        declare_parameters(node, ExampleParameters)
