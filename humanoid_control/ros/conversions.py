"""Between the dataclasses of `humanoid_control.types` and the messages of `humanoid_interfaces`, without loss.

What comes in is checked here, once: frames, finiteness and quaternions. What goes out is checked for its shape alone:
the messages themselves do not, and an array of another length would end the process in their C code.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Twist, Vector3
from std_msgs.msg import Header

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
from humanoid_interfaces import msg

# Senders round to float32 at worst; what is further off is no quaternion but a mistake.
_QUATERNION_NORM_TOLERANCE = 1e-3


def time_to_message(stamp_s: float) -> Time:
    """A ROS time, rounded to the nanosecond."""
    nanoseconds = round(stamp_s * 1e9)
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def time_from_message(stamp: Time) -> float:
    """Seconds of a ROS time."""
    return stamp.sec + stamp.nanosec * 1e-9


def stamp_of_data(data: bytes) -> int:
    """Nanoseconds of the stamp of a message that begins with a header and was left as the bytes it came in."""
    # CDR: four bytes that say how it is written, then the header's stamp.
    seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
    return seconds * 1_000_000_000 + nanoseconds


def make_header(stamp_s: float, frame: str = "") -> Header:
    """A header with time and frame."""
    return Header(stamp=time_to_message(stamp_s), frame_id=frame)


_STATE_FIELDS = ("joint_positions", "joint_velocities", "joint_torques", "gripper_openings", "gripper_forces")
_IMU_FIELDS = ("orientation", "angular_velocity", "linear_acceleration")


def robot_state_to_message(state: RobotState) -> msg.RobotState:
    """The message of a robot's state.

    Raises:
        RobotError: an array has the wrong shape.
    """
    values = {f"imu_{name}": getattr(state.pelvis_imu, name) for name in _IMU_FIELDS}
    values |= {name: getattr(state, name) for name in _STATE_FIELDS}
    return _fill(msg.RobotState(header=make_header(state.stamp_s)), values, RobotError)


def robot_state_from_message(message: msg.RobotState) -> RobotState:
    """The robot's state of a message.

    Raises:
        RobotError: something in it is not finite.
    """
    _check_finite(message, (*_STATE_FIELDS, *(f"imu_{name}" for name in _IMU_FIELDS)), RobotError)
    return RobotState(
        stamp_s=time_from_message(message.header.stamp),
        pelvis_imu=ImuSample(**{name: getattr(message, f"imu_{name}") for name in _IMU_FIELDS}),
        **{name: getattr(message, name) for name in _STATE_FIELDS},
    )


_COMMAND_FIELDS = ("positions", "velocities", "torques", "kp", "kd", "gripper_openings", "gripper_forces")


def joint_command_to_message(command: JointCommand) -> msg.JointCommand:
    """The message of a command to the motors.

    Raises:
        RobotError: an array has the wrong shape.
    """
    message = msg.JointCommand(header=make_header(command.stamp_s))
    return _fill(message, {name: getattr(command, name) for name in _COMMAND_FIELDS}, RobotError)


def joint_command_from_message(message: msg.JointCommand) -> JointCommand:
    """The command to the motors of a message.

    Raises:
        RobotError: something in it is not finite.
    """
    _check_finite(message, _COMMAND_FIELDS, RobotError)
    return JointCommand(
        stamp_s=time_from_message(message.header.stamp), **{name: getattr(message, name) for name in _COMMAND_FIELDS}
    )


_ESTIMATE_FIELDS = ("position", "orientation", "linear_velocity", "angular_velocity", "foot_forces")


def base_estimate_to_message(estimate: BaseEstimate) -> msg.BaseEstimate:
    """The message of an estimate of the base.

    Raises:
        RobotError: an array has the wrong shape.
    """
    message = msg.BaseEstimate(header=make_header(estimate.stamp_s, FRAME_ODOM), contacts=_to_flags(estimate.contacts))
    values = {name: getattr(estimate, name) for name in _ESTIMATE_FIELDS}
    return _fill(message, {**values, "covariance": np.ravel(estimate.covariance)}, RobotError)


def base_estimate_from_message(message: msg.BaseEstimate) -> BaseEstimate:
    """The estimate of the base of a message.

    Raises:
        RobotError: something in it is not finite, or it is not in `odom`.
    """
    _check_finite(message, (*_ESTIMATE_FIELDS, "covariance"), RobotError)
    if message.header.frame_id != FRAME_ODOM:
        raise RobotError(f"base estimate: its frame is '{message.header.frame_id}'; it must be '{FRAME_ODOM}'")
    return BaseEstimate(
        stamp_s=time_from_message(message.header.stamp),
        covariance=message.covariance.reshape(6, 6),
        contacts=np.array(message.contacts, bool),
        **{name: getattr(message, name) for name in _ESTIMATE_FIELDS},
    )


def control_status_to_message(status: ControlStatus, estimate: BaseEstimate) -> msg.ControlStatus:
    """The message of what control is doing, with a summary of the estimate it acts on.

    Raises:
        RobotError: an array has the wrong shape.
    """
    message = msg.ControlStatus(
        header=make_header(status.stamp_s),
        mode=status.mode,
        reason=status.reason,
        step_count=int(status.step_count),
        contacts=_to_flags(estimate.contacts),
        base_position_stddev=math.sqrt(max(0.0, np.linalg.eigvalsh(estimate.covariance[:3, :3])[-1])),
    )
    return _fill(message, {"payload_masses": status.payload_masses, "hand_errors": status.hand_errors}, RobotError)


def control_status_from_message(message: msg.ControlStatus) -> ControlStatus:
    """What control is doing, of a message."""
    return ControlStatus(
        stamp_s=time_from_message(message.header.stamp),
        mode=message.mode,
        reason=message.reason,
        payload_masses=message.payload_masses,
        hand_errors=message.hand_errors,
        step_count=message.step_count,
    )


def whole_body_target_to_message(target: WholeBodyTarget) -> msg.WholeBodyTarget:
    """The message of a target.

    Raises:
        TargetError: an array has the wrong shape.
    """
    for name, shape in _TARGET_SHAPES.items():
        if np.shape(getattr(target, name)) != shape:
            raise TargetError(
                f"whole-body target: {name} has shape {np.shape(getattr(target, name))}; it must be {shape}"
            )
    message = msg.WholeBodyTarget(
        header=make_header(target.stamp_s, target.frame),
        base_velocity=_to_vector(target.base_velocity),
        hand_poses=[pose_to_message(pose) for pose in target.hand_poses],
        hand_active=_to_flags(target.hand_active),
        hand_velocities=[
            Twist(linear=_to_vector(velocity[:3]), angular=_to_vector(velocity[3:]))
            for velocity in target.hand_velocities
        ],
        torso_pitch=float(target.torso_pitch),
        pelvis_height=float(target.pelvis_height),
    )
    return _fill(
        message, {"gripper_openings": target.gripper_openings, "gripper_forces": target.gripper_forces}, TargetError
    )


_TARGET_SHAPES = {"base_velocity": (3,), "hand_poses": (2, 7), "hand_active": (2,), "hand_velocities": (2, 6)}


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
        gripper_openings=message.gripper_openings,
        gripper_forces=message.gripper_forces,
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


def order_to_message(order: Order, order_id: str = "") -> msg.Order:
    """The message of an order."""
    return msg.Order(
        order_id=order_id,
        tote=order.tote,
        to=order.to,
        shelf=-1 if order.shelf is None else order.shelf,
        on=order.on or "",
        at=[] if order.at is None else list(map(float, order.at)),
    )


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


def pose_to_message(pose: np.ndarray) -> Pose:
    """The message of a (7,) pose: position and quaternion xyzw."""
    x, y, z, qx, qy, qz, qw = map(float, pose)
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def pose_from_message(message: Pose) -> np.ndarray:
    """The (7,) pose of a message: position and quaternion xyzw."""
    position, orientation = message.position, message.orientation
    return np.array([position.x, position.y, position.z, orientation.x, orientation.y, orientation.z, orientation.w])


def _fill(message: Any, values: Mapping[str, Any], error: type[HumanoidControlError]) -> Any:
    """Puts arrays into a message's fixed-size fields, once they are sure to fit."""
    for name, value in values.items():
        array = np.ascontiguousarray(value, np.float64)
        shape = getattr(message, name).shape
        if array.shape != shape:
            raise error(f"{type(message).__name__}: {name} has shape {array.shape}; it must be {shape}")
        setattr(message, name, array)
    return message


def _to_flags(values: Any) -> list[bool]:
    left, right = values
    return [bool(left), bool(right)]


def _to_vector(vector: np.ndarray) -> Vector3:
    x, y, z = map(float, vector)
    return Vector3(x=x, y=y, z=z)


def _from_vector(message: Vector3) -> np.ndarray:
    return np.array([message.x, message.y, message.z])


def _check_finite(holder: object, names: tuple[str, ...], error: type[HumanoidControlError]) -> None:
    for name in names:
        values = getattr(holder, name)
        if not np.isfinite(values).all():
            kind = "whole-body target" if isinstance(holder, WholeBodyTarget) else type(holder).__name__
            shown = np.asarray(values).tolist()
            raise error(f"{kind}: {name} is {shown}; every number must be finite")
