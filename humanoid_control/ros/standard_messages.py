"""Messages for stock ROS tools, such as RViz, made from our values."""

from __future__ import annotations

import array
from collections.abc import Mapping, Sequence

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Quaternion, Transform, TransformStamped, Vector3
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image, Imu, JointState

from humanoid_control import transforms
from humanoid_control.errors import RobotError
from humanoid_control.ros.conversions import make_header
from humanoid_control.types import FRAME_BASE_FOOTPRINT, FRAME_ODOM, BaseEstimate, RobotState

FRAME_BASE_LINK = "base_link"
FRAME_PELVIS_IMU = "imu_in_pelvis"

# Encoding of an image by its data type and channels; the depth one is metres.
_ENCODINGS = {("uint8", 3): "rgb8", ("uint8", 1): "mono8", ("uint16", 1): "16UC1", ("float32", 1): "32FC1"}
_IMAGE_TYPES = {encoding: key for key, encoding in _ENCODINGS.items()}


def joint_state(state: RobotState, joint_names: Sequence[str], finger_positions: Mapping[str, float]) -> JointState:
    """The joints, named in the order of the state's arrays, then the fingers.

    Args:
        state: what was measured.
        joint_names: of the 29 body joints.
        finger_positions: m, by joint name; how fast and strong a single finger is, is not measured (zero).
    """
    unmeasured = [0.0] * len(finger_positions)
    return JointState(
        header=make_header(state.stamp_s),
        name=[*joint_names, *finger_positions],
        position=[*state.joint_positions.tolist(), *finger_positions.values()],
        velocity=state.joint_velocities.tolist() + unmeasured,
        effort=state.joint_torques.tolist() + unmeasured,
    )


def imu(state: RobotState) -> Imu:
    """The pelvis IMU; covariances are left unknown (zero), as REP-145 has it."""
    sample = state.pelvis_imu
    return Imu(
        header=make_header(state.stamp_s, FRAME_PELVIS_IMU),
        orientation=_quaternion(sample.orientation),
        angular_velocity=_vector(sample.angular_velocity),
        linear_acceleration=_vector(sample.linear_acceleration),
    )


def odometry(estimate: BaseEstimate) -> Odometry:
    """The estimate of the base: pose in `odom`, velocity in `base_link`, as nav_msgs/Odometry wants it."""
    rotation = transforms.from_pose(np.concatenate([estimate.position, estimate.orientation]))[:3, :3]
    message = Odometry(header=make_header(estimate.stamp_s, FRAME_ODOM), child_frame_id=FRAME_BASE_LINK)
    x, y, z = map(float, estimate.position)
    message.pose.pose.position = Point(x=x, y=y, z=z)
    message.pose.pose.orientation = _quaternion(estimate.orientation)
    message.twist.twist.linear = _vector(rotation.T @ estimate.linear_velocity)
    message.twist.twist.angular = _vector(estimate.angular_velocity)
    message.pose.covariance = _covariance_of_translation(estimate.covariance[:3, :3])
    message.twist.covariance = _covariance_of_translation(rotation.T @ estimate.covariance[3:, 3:] @ rotation)
    return message


def base_transforms(estimate: BaseEstimate) -> list[TransformStamped]:
    """odom_from_base and base_from_footprint: the footprint is the base put on the floor with its heading alone."""
    odom_from_base = transforms.from_pose(np.concatenate([estimate.position, estimate.orientation]))
    odom_from_footprint = transforms.planar(*estimate.position[:2], transforms.yaw_of(odom_from_base))
    footprint = transforms.to_pose(transforms.inverse(odom_from_base) @ odom_from_footprint)
    return [
        transform(estimate.stamp_s, FRAME_ODOM, FRAME_BASE_LINK, estimate.position, estimate.orientation),
        transform(estimate.stamp_s, FRAME_BASE_LINK, FRAME_BASE_FOOTPRINT, footprint[:3], footprint[3:]),
    ]


def transform(
    stamp_s: float, parent: str, child: str, position: np.ndarray, orientation: np.ndarray
) -> TransformStamped:
    """parent_from_child: (3,) m and a (4,) quaternion xyzw."""
    return TransformStamped(
        header=make_header(stamp_s, parent),
        child_frame_id=child,
        transform=Transform(translation=_vector(position), rotation=_quaternion(orientation)),
    )


def image(pixels: np.ndarray, stamp_s: float, frame: str) -> Image:
    """An image: (H, W, 3) uint8 colour, (H, W) float32 depth in m, or (H, W) uint8 or uint16.

    Raises:
        RobotError: it is something else.
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    encoding = _ENCODINGS.get((pixels.dtype.name, channels))
    if encoding is None or pixels.ndim not in (2, 3):
        raise RobotError(
            f"image of shape {pixels.shape} and type {pixels.dtype.name} has no encoding; "
            f"there is {', '.join(sorted(_IMAGE_TYPES))}"
        )
    height, width = pixels.shape[:2]
    # rosidl takes an `array.array` as it is; anything else it converts number by number.
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(pixels).tobytes())
    return Image(
        header=make_header(stamp_s, frame),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * channels * pixels.itemsize,
        data=data,
    )


def pixels_of(message: Image) -> np.ndarray:
    """The pixels of an image: (H, W, 3) or (H, W), not to be written to.

    Raises:
        RobotError: its encoding is unknown, or its size does not fit its data.
    """
    if message.encoding not in _IMAGE_TYPES:
        raise RobotError(f"image encoding '{message.encoding}' must be one of: {', '.join(sorted(_IMAGE_TYPES))}")
    type_name, channels = _IMAGE_TYPES[message.encoding]
    dtype = np.dtype(type_name).newbyteorder(">" if message.is_bigendian else "<")
    if len(message.data) != message.height * message.step or message.step < message.width * channels * dtype.itemsize:
        raise RobotError(
            f"image of {message.width}x{message.height} {message.encoding} with step {message.step} "
            f"cannot have {len(message.data)} bytes"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    pixels = rows[:, : message.width * channels * dtype.itemsize].copy().view(dtype)
    return pixels.reshape((message.height, message.width, 3) if channels == 3 else (message.height, message.width))


def camera_info(intrinsics: np.ndarray, width: int, height: int, stamp_s: float, frame: str) -> CameraInfo:
    """What a camera without distortion sees.

    Args:
        intrinsics: (3, 3) camera matrix in pixels.
        width: pixels.
        height: pixels.
        stamp_s: of the image it belongs to.
        frame: the camera's optical frame.
    """
    matrix = np.asarray(intrinsics, float)
    return CameraInfo(
        header=make_header(stamp_s, frame),
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=matrix.reshape(9),
        r=np.eye(3).reshape(9),
        p=np.hstack([matrix, np.zeros((3, 1))]).reshape(12),
    )


DIAGNOSTIC_LEVELS = {
    "ok": DiagnosticStatus.OK,
    "warn": DiagnosticStatus.WARN,
    "error": DiagnosticStatus.ERROR,
    "stale": DiagnosticStatus.STALE,
}


def diagnostics(stamp_s: float, name: str, level: str, text: str, values: Mapping[str, object]) -> DiagnosticArray:
    """One node's health: a level of `DIAGNOSTIC_LEVELS`, the reason in words, and figures."""
    status = DiagnosticStatus(
        level=DIAGNOSTIC_LEVELS[level],
        name=name,
        message=text,
        hardware_id="",
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
    return DiagnosticArray(header=make_header(stamp_s), status=[status])


def _covariance_of_translation(covariance: np.ndarray) -> np.ndarray:
    """A (36,) covariance of translation and rotation whose rotation is not known (zero)."""
    result = np.zeros((6, 6))
    result[:3, :3] = covariance
    return result.reshape(36)


def _vector(vector: np.ndarray) -> Vector3:
    x, y, z = map(float, vector)
    return Vector3(x=x, y=y, z=z)


def _quaternion(quaternion: np.ndarray) -> Quaternion:
    x, y, z, w = map(float, quaternion)
    return Quaternion(x=x, y=y, z=z, w=w)
