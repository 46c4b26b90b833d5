"""Messages for stock tools say the same as our own values, in the conventions of ROS."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from humanoid_control.errors import RobotError
from humanoid_control.ros import standard_messages
from humanoid_control.types import BaseEstimate, ImuSample, RobotState


def make_estimate(rotation):
    covariance = np.diag([0.1, 0.2, 0.3, 1.0, 2.0, 3.0])
    return BaseEstimate(
        2.5,
        np.array([1.0, 2.0, 0.7]),
        rotation.as_quat(),
        np.array([0.3, -0.2, 0.1]),
        np.array([0.0, 0.1, 0.5]),
        covariance,
        np.ones(2, bool),
        np.full(2, 170.0),
    )


ROTATION = Rotation.from_euler("ZYX", [0.8, -0.2, 0.1])


def test_odometry_has_its_velocity_in_the_child_frame():
    estimate = make_estimate(ROTATION)
    message = standard_messages.odometry(estimate)
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
    linear = message.twist.twist.linear
    np.testing.assert_allclose([linear.x, linear.y, linear.z], ROTATION.inv().apply(estimate.linear_velocity))
    covariance = np.reshape(message.twist.covariance, (6, 6))[:3, :3]
    assert np.trace(covariance) == pytest.approx(6.0)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)


def test_footprint_lies_on_the_floor_below_the_base_with_its_heading():
    estimate = make_estimate(ROTATION)
    transforms = standard_messages.base_transforms(estimate)
    odom_from_base, base_from_footprint = map(matrix_of, transforms)
    assert [t.header.frame_id for t in transforms] == ["odom", "base_link"]
    odom_from_footprint = odom_from_base @ base_from_footprint
    np.testing.assert_allclose(odom_from_footprint[:3, 3], [1.0, 2.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(odom_from_footprint[:3, :3], Rotation.from_euler("z", 0.8).as_matrix(), atol=1e-12)


def matrix_of(message):
    translation, rotation = message.transform.translation, message.transform.rotation
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat([rotation.x, rotation.y, rotation.z, rotation.w]).as_matrix()
    matrix[:3, 3] = translation.x, translation.y, translation.z
    return matrix


def test_joint_states_are_named_fingers_included():
    state = RobotState(
        1.0,
        np.arange(29.0),
        np.ones(29),
        np.zeros(29),
        ImuSample(np.array([0.0, 0, 0, 1]), np.zeros(3), np.array([0, 0, 9.81])),
        np.zeros(2),
        np.zeros(2),
    )
    names = [f"joint_{index}" for index in range(29)]
    message = standard_messages.joint_state(state, names, {"left_finger_joint": 0.01})
    assert dict(zip(message.name, message.position)) == {**dict(zip(names, range(29))), "left_finger_joint": 0.01}
    assert len(message.velocity) == len(message.effort) == 30
    assert standard_messages.imu(state).linear_acceleration.z == 9.81


@pytest.mark.parametrize(
    ("shape", "dtype", "encoding"),
    [
        ((12, 16, 3), np.uint8, "rgb8"),
        ((12, 16), np.uint8, "mono8"),
        ((12, 16), np.float32, "32FC1"),
        ((12, 16), np.uint16, "16UC1"),
    ],
)
def test_image_comes_back_as_it_was(shape, dtype, encoding):
    pixels = (np.random.default_rng(1).random(shape) * 200).astype(dtype)
    message = standard_messages.image(pixels, 1.0, "head_camera_optical")
    assert message.encoding == encoding
    np.testing.assert_array_equal(standard_messages.pixels_of(message), pixels)


def test_rows_with_padding_are_read():
    message = standard_messages.image(np.arange(12, dtype=np.uint8).reshape(3, 4), 0.0, "f")
    padded = np.zeros((3, 6), np.uint8)
    padded[:, :4] = standard_messages.pixels_of(message)
    message.step, message.data = 6, padded.tobytes()
    np.testing.assert_array_equal(standard_messages.pixels_of(message), padded[:, :4])


def test_image_of_unknown_kind_or_wrong_size_is_refused():
    with pytest.raises(RobotError, match="float64 has no encoding; there is 16UC1, 32FC1, mono8, rgb8"):
        standard_messages.image(np.zeros((2, 2)), 0.0, "f")
    message = standard_messages.image(np.zeros((2, 2), np.uint8), 0.0, "f")
    message.encoding = "yuv422"
    with pytest.raises(RobotError, match="encoding 'yuv422' must be one of"):
        standard_messages.pixels_of(message)
    message.encoding, message.width = "mono8", 5
    with pytest.raises(RobotError, match="cannot have 4 bytes"):
        standard_messages.pixels_of(message)


def test_camera_info_projects_like_the_camera_matrix():
    intrinsics = np.array([[100.0, 0, 64], [0, 110, 48], [0, 0, 1]])
    message = standard_messages.camera_info(intrinsics, 128, 96, 1.0, "f")
    point = np.array([0.1, -0.2, 1.5, 1.0])
    np.testing.assert_allclose(np.reshape(message.p, (3, 4)) @ point, intrinsics @ point[:3])


def test_diagnostics_carry_level_reason_and_figures():
    status = standard_messages.diagnostics(1.0, "control", "warn", "target is stale", {"age_s": 0.3}).status[0]
    assert status.level == standard_messages.DIAGNOSTIC_LEVELS["warn"]
    assert (status.name, status.message) == ("control", "target is stale")
    assert [(value.key, value.value) for value in status.values] == [("age_s", "0.3")]
