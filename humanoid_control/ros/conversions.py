"""Between the dataclasses of `humanoid_control.types` and the messages of `humanoid_interfaces`, without loss.

What comes in is checked, once: frames, finiteness and quaternions (`from_messages.py`, which needs no ROS). What goes out is checked
for its shape alone: the messages themselves do not, and an array of another length would end the process in their C code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Quaternion, Twist, Vector3
from std_msgs.msg import Header

from humanoid_control.errors import HumanoidControlError, RobotError, TargetError
from humanoid_control.mission.factory import Order
from humanoid_control.ros.from_messages import (  # noqa: F401 - both directions are had from here
    COMMAND_FIELDS,
    ESTIMATE_FIELDS,
    IMU_FIELDS,
    STATE_FIELDS,
    base_estimate_from_message,
    control_status_from_message,
    joint_command_from_message,
    order_from_message,
    pose_from_message,
    robot_state_from_message,
    stamp_of_data,
    time_from_message,
    whole_body_target_from_message,
)
from humanoid_control.teleoperation.handover import PERSON
from humanoid_control.types import FRAME_ODOM, BaseEstimate, ControlStatus, JointCommand, RobotState, WholeBodyTarget
from humanoid_interfaces import msg


def time_to_message(stamp_s: float) -> Time:
    """A ROS time, rounded to the nanosecond."""
    nanoseconds = round(stamp_s * 1e9)
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def make_header(stamp_s: float, frame: str = "") -> Header:
    """A header with time and frame."""
    return Header(stamp=time_to_message(stamp_s), frame_id=frame)


def robot_state_to_message(state: RobotState) -> msg.RobotState:
    """The message of a robot's state.

    Raises:
        RobotError: an array has the wrong shape.
    """
    values = {f"imu_{name}": getattr(state.pelvis_imu, name) for name in IMU_FIELDS}
    values |= {name: getattr(state, name) for name in STATE_FIELDS}
    return _fill(msg.RobotState(header=make_header(state.stamp_s)), values, RobotError)


def joint_command_to_message(command: JointCommand) -> msg.JointCommand:
    """The message of a command to the motors.

    Raises:
        RobotError: an array has the wrong shape.
    """
    message = msg.JointCommand(header=make_header(command.stamp_s))
    return _fill(message, {name: getattr(command, name) for name in COMMAND_FIELDS}, RobotError)


def base_estimate_to_message(estimate: BaseEstimate) -> msg.BaseEstimate:
    """The message of an estimate of the base.

    Raises:
        RobotError: an array has the wrong shape.
    """
    message = msg.BaseEstimate(header=make_header(estimate.stamp_s, FRAME_ODOM), contacts=_to_flags(estimate.contacts))
    values = {name: getattr(estimate, name) for name in ESTIMATE_FIELDS}
    return _fill(message, {**values, "covariance": np.ravel(estimate.covariance)}, RobotError)


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


def tier_name(tier: int) -> str:
    """Who drives, of a `PolicyStatus`, in a word; the number where there is none."""
    status = msg.PolicyStatus
    return {status.TIER_SCRIPTED: "scripted", status.TIER_LEARNED: "learned", status.TIER_OPERATOR: PERSON}.get(tier, str(tier))


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


def pose_to_message(pose: np.ndarray) -> Pose:
    """The message of a (7,) pose: position and quaternion xyzw."""
    x, y, z, qx, qy, qz, qw = map(float, pose)
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


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
