"""What messages of `humanoid_interfaces` say, as the dataclasses of `humanoid_control.types`: as a subscription hands them out, or as a
record is decoded without ROS.

What comes in is checked here, once: frames, finiteness and quaternions.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from humanoid_control.errors import HumanoidControlError, OrderError, RobotError, TargetError
from humanoid_control.mission.factory import Order
from humanoid_control.types import (
    FRAME_ODOM,
    SIDES,
    TARGET_FRAMES,
    BaseEstimate,
    ControlStatus,
    ImuSample,
    JointCommand,
    RobotState,
    WholeBodyTarget,
)

if TYPE_CHECKING:  # records are read where no ROS is installed
    from builtin_interfaces.msg import Time
    from geometry_msgs.msg import Pose, Vector3
    from humanoid_interfaces import msg

STATE_FIELDS = ("joint_positions", "joint_velocities", "joint_torques", "gripper_openings", "gripper_forces")
IMU_FIELDS = ("orientation", "angular_velocity", "linear_acceleration")
COMMAND_FIELDS = ("positions", "velocities", "torques", "kp", "kd", "gripper_openings", "gripper_forces")
ESTIMATE_FIELDS = ("position", "orientation", "linear_velocity", "angular_velocity", "foot_forces")
# Senders round to float32 at worst; what is further off is no quaternion but a mistake.
_QUATERNION_NORM_TOLERANCE = 1e-3


def time_from_message(stamp: Time) -> float:
    """Seconds of a ROS time."""
    return stamp.sec + stamp.nanosec * 1e-9


def stamp_of_data(data: bytes) -> int:
    """Nanoseconds of the stamp of a message that begins with a header and was left as the bytes it came in."""
    # CDR: four bytes that say how it is written, then the header's stamp.
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return seconds * 1_000_000_000 + nanoseconds


def robot_state_from_message(message: msg.RobotState) -> RobotState:
    """The robot's state of a message.

    Raises:
        RobotError: something in it is not finite.
    """
    _check_finite(message, (*STATE_FIELDS, *(f"imu_{name}" for name in IMU_FIELDS)), RobotError)
    return RobotState(
        stamp_s=time_from_message(message.header.stamp),
        pelvis_imu=ImuSample(**{name: np.asarray(getattr(message, f"imu_{name}")) for name in IMU_FIELDS}),
        **{name: np.asarray(getattr(message, name)) for name in STATE_FIELDS},
    )


def joint_command_from_message(message: msg.JointCommand) -> JointCommand:
    """The command to the motors of a message.

    Raises:
        RobotError: something in it is not finite.
    """
    _check_finite(message, COMMAND_FIELDS, RobotError)
    return JointCommand(
        stamp_s=time_from_message(message.header.stamp), **{name: np.asarray(getattr(message, name)) for name in COMMAND_FIELDS}
    )


def base_estimate_from_message(message: msg.BaseEstimate) -> BaseEstimate:
    """The estimate of the base of a message.

    Raises:
        RobotError: something in it is not finite, or it is not in `odom`.
    """
    _check_finite(message, (*ESTIMATE_FIELDS, "covariance"), RobotError)
    if message.header.frame_id != FRAME_ODOM:
        raise RobotError(f"base estimate: its frame is '{message.header.frame_id}'; it must be '{FRAME_ODOM}'")
    return BaseEstimate(
        stamp_s=time_from_message(message.header.stamp),
        covariance=np.reshape(message.covariance, (6, 6)),
        contacts=np.array(message.contacts, bool),
        **{name: np.asarray(getattr(message, name)) for name in ESTIMATE_FIELDS},
    )


def control_status_from_message(message: msg.ControlStatus) -> ControlStatus:
    """What control is doing, of a message."""
    return ControlStatus(
        stamp_s=time_from_message(message.header.stamp),
        mode=message.mode,
        reason=message.reason,
        payload_masses=np.asarray(message.payload_masses),
        hand_errors=np.asarray(message.hand_errors),
        step_count=message.step_count,
    )


def whole_body_target_from_message(message: msg.WholeBodyTarget) -> WholeBodyTarget:
    """The target of a message.

    Raises:
        TargetError: its frame is unknown, something in it is not finite, or an active hand's orientation is no unit
            quaternion. What is out of the robot's reach or speed is for control to judge.
    """
    if message.header.frame_id not in TARGET_FRAMES:
        raise TargetError(
            f"whole-body target: header.frame_id is '{message.header.frame_id}'; "
            f"it must be {' or '.join(map(repr, TARGET_FRAMES))}"
        )
    target = WholeBodyTarget(
        stamp_s=time_from_message(message.header.stamp),
        frame=message.header.frame_id,
        base_velocity=_from_vector(message.base_velocity),
        hand_poses=np.array([pose_from_message(pose) for pose in message.hand_poses]),
        hand_active=np.array(message.hand_active, bool),
        hand_velocities=np.array(
            [[*_from_vector(twist.linear), *_from_vector(twist.angular)] for twist in message.hand_velocities]
        ),
        torso_pitch=message.torso_pitch,
        pelvis_height=message.pelvis_height,
        gripper_openings=np.asarray(message.gripper_openings),
        gripper_forces=np.asarray(message.gripper_forces),
    )
    _check_finite(
        target,
        (
            "base_velocity",
            "hand_poses",
            "hand_velocities",
            "torso_pitch",
            "pelvis_height",
            "gripper_openings",
            "gripper_forces",
        ),
        TargetError,
    )
    for side, pose, active in zip(SIDES, target.hand_poses, target.hand_active):
        norm = float(np.linalg.norm(pose[3:]))
        if active and abs(norm - 1.0) > _QUATERNION_NORM_TOLERANCE:
            raise TargetError(
                f"whole-body target: the {side} hand's orientation {pose[3:].tolist()} has norm "
                f"{norm:.4g}; normalise the quaternion (x, y, z, w)"
            )
    return target


def order_from_message(message: msg.Order) -> Order:
    """The order of a message; whether there is such a tote or station is for the mission to judge.

    Raises:
        OrderError: a value is none at all.
    """
    values = {
        "tote": message.tote,
        "to": message.to,
        "shelf": None if message.shelf == -1 else message.shelf,
        "on": message.on or None,
        "at": tuple(message.at) or None,
    }
    try:
        return Order(**values)
    except ValueError as error:  # pydantic's own error is one
        first = getattr(error, "errors", lambda: [{"loc": ("?",), "msg": str(error)}])()[0]
        name = first["loc"][0] if first["loc"] else "?"
        raise OrderError(f"order.{name}: is {values.get(name)!r}; {first['msg']}") from None


def pose_from_message(message: Pose) -> np.ndarray:
    """The (7,) pose of a message: position and quaternion xyzw."""
    position, orientation = message.position, message.orientation
    return np.array([position.x, position.y, position.z, orientation.x, orientation.y, orientation.z, orientation.w])


def _from_vector(message: Vector3) -> np.ndarray:
    return np.array([message.x, message.y, message.z])


def _check_finite(holder: object, names: tuple[str, ...], error: type[HumanoidControlError]) -> None:
    for name in names:
        values = getattr(holder, name)
        if not np.isfinite(values).all():
            kind = "whole-body target" if isinstance(holder, WholeBodyTarget) else type(holder).__name__
            shown = np.asarray(values).tolist()
            raise error(f"{kind}: {name} is {shown}; every number must be finite")
