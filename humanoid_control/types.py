"""The values that cross module boundaries: what the robot reports, what it is told, what is wanted of it.

All quantities are SI. Joint arrays hold the 29 body joints in the order of `RobotModel.joint_names`;
arrays over sides are always (left, right). Quaternions are xyzw. Frames follow REP-103, REP-105 and REP-120:
`odom` is the world of the state estimate, `base_link` the pelvis, `base_footprint` its projection on the floor
with the heading's yaw alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

SIDES = ("left", "right")
LEFT, RIGHT = 0, 1

FRAME_ODOM = "odom"
FRAME_BASE_FOOTPRINT = "base_footprint"
TARGET_FRAMES = (FRAME_ODOM, FRAME_BASE_FOOTPRINT)


@dataclass(frozen=True)
class ImuSample:
    """One reading of an inertial measurement unit.

    Attributes:
        orientation: (4,) world_from_imu quaternion xyzw; its yaw drifts.
        angular_velocity: (3,) rad/s in the IMU's frame.
        linear_acceleration: (3,) m/s^2 specific force in the IMU's frame (at rest: +9.81 upwards).
    """

    orientation: np.ndarray
    angular_velocity: np.ndarray
    linear_acceleration: np.ndarray


@dataclass(frozen=True)
class RobotState:
    """What the robot measured at one instant; nothing in it is privileged.

    Attributes:
        stamp_s: when it was measured, on the robot's clock.
        joint_positions: (29,) rad.
        joint_velocities: (29,) rad/s.
        joint_torques: (29,) N m, as the motors estimate them.
        pelvis_imu: the IMU at `imu_in_pelvis`.
        gripper_openings: (2,) m between the finger pads.
        gripper_forces: (2,) N with which the fingers close, as the motors estimate them.
    """

    stamp_s: float
    joint_positions: np.ndarray
    joint_velocities: np.ndarray
    joint_torques: np.ndarray
    pelvis_imu: ImuSample
    gripper_openings: np.ndarray
    gripper_forces: np.ndarray


@dataclass(frozen=True)
class JointCommand:
    """What the motors are told: torque = kp (positions - q) + kd (velocities - dq) + torques, clipped to the limits.

    Attributes:
        stamp_s: when it was computed, on the robot's clock.
        positions: (29,) rad.
        velocities: (29,) rad/s.
        torques: (29,) N m, feed-forward.
        kp: (29,) N m/rad.
        kd: (29,) N m s/rad.
        gripper_openings: (2,) m wanted between the pads.
        gripper_forces: (2,) N at most with which a finger presses.
    """

    stamp_s: float
    positions: np.ndarray
    velocities: np.ndarray
    torques: np.ndarray
    kp: np.ndarray
    kd: np.ndarray
    gripper_openings: np.ndarray
    gripper_forces: np.ndarray


@dataclass(frozen=True)
class BaseEstimate:
    """Where the robot believes it is, from IMU and leg kinematics.

    Attributes:
        stamp_s: time of the state it was computed from.
        position: (3,) m, odom_from_base translation of `base_link`.
        orientation: (4,) odom_from_base quaternion xyzw.
        linear_velocity: (3,) m/s of `base_link`, in `odom`.
        angular_velocity: (3,) rad/s, in `base_link`.
        covariance: (6, 6) of position and linear velocity.
        contacts: (2,) bool, which feet carry load.
        foot_forces: (2,) N, estimated vertical force on each foot.
    """

    stamp_s: float
    position: np.ndarray
    orientation: np.ndarray
    linear_velocity: np.ndarray
    angular_velocity: np.ndarray
    covariance: np.ndarray
    contacts: np.ndarray
    foot_forces: np.ndarray


@dataclass(frozen=True)
class WholeBodyTarget:
    """What a policy wants of the whole body; the one way into control.

    Attributes:
        stamp_s: when it was decided, on the robot's clock; control holds when it grows old.
        frame: frame of `hand_poses`: `odom` (fixed to the floor) or `base_footprint` (carried along).
        base_velocity: (3,) m/s, m/s, rad/s: forward, left and turning, in `base_footprint`. All zero: stand.
        hand_poses: (2, 7) position and quaternion xyzw of `l_gripper` and `r_gripper` (between the pads).
        hand_active: (2,) bool; an inactive hand swings freely with the posture.
        hand_velocities: (2, 6) linear and angular velocity of the targets in their frame (feed-forward).
        torso_pitch: rad, forward bend of the torso against the vertical.
        pelvis_height: m above the floor.
        gripper_openings: (2,) m between the pads.
        gripper_forces: (2,) N, the most a finger may press.
    """

    stamp_s: float
    frame: str = FRAME_BASE_FOOTPRINT
    base_velocity: np.ndarray = field(default_factory=lambda: np.zeros(3))
    hand_poses: np.ndarray = field(default_factory=lambda: np.tile([0.0, 0, 0, 0, 0, 0, 1], (2, 1)))
    hand_active: np.ndarray = field(default_factory=lambda: np.zeros(2, bool))
    hand_velocities: np.ndarray = field(default_factory=lambda: np.zeros((2, 6)))
    torso_pitch: float = 0.0
    pelvis_height: float = 0.72
    gripper_openings: np.ndarray = field(default_factory=lambda: np.full(2, 0.08))
    gripper_forces: np.ndarray = field(default_factory=lambda: np.full(2, 20.0))

    def still(self, stamp_s: float) -> WholeBodyTarget:
        """The same at another time, standing, with hands where they are wanted."""
        return replace(self, stamp_s=stamp_s, base_velocity=np.zeros(3), hand_velocities=np.zeros((2, 6)))


@dataclass(frozen=True)
class ControlStatus:
    """What control is doing, for the policy, the mission and the people who watch.

    Attributes:
        stamp_s: time of the state it describes.
        mode: `standing`, `walking`, `holding` (target stale or refused) or `stopped` (safe stop).
        reason: why it holds or stopped; empty otherwise.
        payload_masses: (2,) kg, estimated in each hand.
        hand_errors: (2,) m between each hand and its target; zero for an inactive hand.
        step_count: steps taken since the start.
    """

    stamp_s: float
    mode: str
    reason: str
    payload_masses: np.ndarray
    hand_errors: np.ndarray
    step_count: int
