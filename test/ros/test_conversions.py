"""Conversions lose nothing, and refuse what would move the robot wrongly."""

import dataclasses

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message

from humanoid_control.errors import RobotError, TargetError
from humanoid_control.ros import conversions
from humanoid_control.types import BaseEstimate, ControlStatus, ImuSample, JointCommand, RobotState, WholeBodyTarget

STAMP_S = 1234.567891234


@pytest.fixture
def random():
    return np.random.default_rng(7)


def make_state(random):
    return RobotState(
        STAMP_S,
        *random.normal(size=(3, 29)),
        ImuSample(unit_quaternion(random), random.normal(size=3), random.normal(size=3)),
        *random.normal(size=(2, 2)),
    )


def make_command(random):
    return JointCommand(STAMP_S, *random.normal(size=(5, 29)), *random.normal(size=(2, 2)))


def make_estimate(random):
    root = random.normal(size=(6, 6))
    return BaseEstimate(
        STAMP_S,
        random.normal(size=3),
        unit_quaternion(random),
        *random.normal(size=(2, 3)),
        root @ root.T,
        np.array([True, False]),
        random.normal(size=2),
    )


def make_target(random, **changes):
    target = WholeBodyTarget(
        STAMP_S,
        "odom",
        random.normal(size=3),
        np.array([[*random.normal(size=3), *unit_quaternion(random)] for _ in range(2)]),
        np.array([True, False]),
        random.normal(size=(2, 6)),
        0.3,
        0.7,
        *random.uniform(size=(2, 2)),
    )
    return dataclasses.replace(target, **changes)


def unit_quaternion(random):
    quaternion = random.normal(size=4)
    return quaternion / np.linalg.norm(quaternion)


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


def assert_same(actual, expected):
    assert type(actual) is type(expected)
    for field in dataclasses.fields(expected):
        a, b = getattr(actual, field.name), getattr(expected, field.name)
        if dataclasses.is_dataclass(b):
            assert_same(a, b)
        elif field.name == "stamp_s":
            assert a == pytest.approx(b, abs=1e-9)
        elif isinstance(b, np.ndarray):
            assert a.shape == b.shape and a.dtype == b.dtype, field.name
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


@pytest.mark.parametrize(
    ("make", "to_message", "from_message"),
    [
        (make_state, conversions.robot_state_to_message, conversions.robot_state_from_message),
        (make_command, conversions.joint_command_to_message, conversions.joint_command_from_message),
        (make_estimate, conversions.base_estimate_to_message, conversions.base_estimate_from_message),
        (make_target, conversions.whole_body_target_to_message, conversions.whole_body_target_from_message),
    ],
)
def test_nothing_is_lost_over_the_wire(random, make, to_message, from_message):
    value = make(random)
    assert_same(from_message(over_the_wire(to_message(value))), value)


def test_control_status_comes_back_and_summarises_the_estimate(random):
    status = ControlStatus(STAMP_S, "holding", "target is 0.31 s old", np.array([0.0, 1.5]), np.array([0.01, 0.0]), 12)
    estimate = dataclasses.replace(make_estimate(random), covariance=np.diag([0.01, 0.04, 0.0, 1.0, 1.0, 1.0]))
    message = over_the_wire(conversions.control_status_to_message(status, estimate))
    assert_same(conversions.control_status_from_message(message), status)
    assert message.base_position_stddev == pytest.approx(0.2)
    assert list(message.contacts) == [True, False]


def test_default_target_is_accepted():
    target = WholeBodyTarget(STAMP_S)
    message = conversions.whole_body_target_to_message(target)
    assert_same(conversions.whole_body_target_from_message(message), target)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame": "map"}, "header.frame_id is 'map'; it must be 'odom' or 'base_footprint'"),
        ({"frame": ""}, "header.frame_id is ''"),
        (
            {"base_velocity": np.array([np.nan, 0, 0])},
            r"base_velocity is \[nan, 0.0, 0.0\]; every number must be finite",
        ),
        ({"pelvis_height": np.inf}, "pelvis_height is inf; every number must be finite"),
        ({"gripper_forces": np.array([1.0, -np.inf])}, "gripper_forces is"),
        ({"hand_poses": np.tile([0.0, 0, 0, 0, 0, 0, 2], (2, 1))}, r"left hand's orientation .* has norm 2; normalise"),
        ({"hand_poses": np.zeros((2, 7))}, "has norm 0; normalise"),
    ],
)
def test_wrong_target_is_refused_with_value_and_remedy(random, changes, message):
    wrong = conversions.whole_body_target_to_message(make_target(random, **changes))
    with pytest.raises(TargetError, match=message):
        conversions.whole_body_target_from_message(over_the_wire(wrong))


@pytest.mark.parametrize(
    ("make", "to_message", "name", "value", "error"),
    [
        (make_command, conversions.joint_command_to_message, "kp", np.zeros(28), RobotError),
        (make_state, conversions.robot_state_to_message, "gripper_forces", np.zeros(3), RobotError),
        (make_estimate, conversions.base_estimate_to_message, "covariance", np.eye(3), RobotError),
        (make_target, conversions.whole_body_target_to_message, "hand_poses", np.zeros((2, 6)), TargetError),
        (make_target, conversions.whole_body_target_to_message, "gripper_openings", 0.05, TargetError),
    ],
)
def test_array_of_wrong_shape_is_refused_before_it_reaches_the_message(random, make, to_message, name, value, error):
    with pytest.raises(error, match=f"{name} has shape"):
        to_message(dataclasses.replace(make(random), **{name: value}))


def test_single_precision_goes_out_as_double(random):
    command = dataclasses.replace(make_command(random), kp=np.full(29, 1.5, np.float32))
    back = conversions.joint_command_from_message(over_the_wire(conversions.joint_command_to_message(command)))
    assert back.kp.dtype == np.float64 and (back.kp == 1.5).all()


def test_orientation_of_a_hand_that_is_not_active_does_not_matter(random):
    target = make_target(random, hand_poses=np.zeros((2, 7)), hand_active=np.zeros(2, bool))
    conversions.whole_body_target_from_message(conversions.whole_body_target_to_message(target))


def test_state_that_is_not_finite_or_in_another_frame_is_refused(random):
    message = conversions.robot_state_to_message(make_state(random))
    message.joint_velocities[3] = np.nan
    with pytest.raises(RobotError, match="RobotState: joint_velocities is .*nan"):
        conversions.robot_state_from_message(message)
    message = conversions.base_estimate_to_message(make_estimate(random))
    message.header.frame_id = "map"
    with pytest.raises(RobotError, match="its frame is 'map'; it must be 'odom'"):
        conversions.base_estimate_from_message(message)


@pytest.mark.parametrize("stamp_s", [0.0, 0.999999999, 1.0, 1.7e9 + 0.25])
def test_time_keeps_the_nanosecond_as_far_as_a_float_holds_it(stamp_s):
    message = conversions.time_to_message(stamp_s)
    assert 0 <= message.nanosec < 1_000_000_000
    assert conversions.time_from_message(message) == pytest.approx(stamp_s, abs=5e-7)
