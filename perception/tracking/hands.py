"""Whether the hands hold a tote, and the frame that it moves with while they do."""

from __future__ import annotations

import numpy as np

from humanoid_control.mission.load_carriers import LoadCarrier
from humanoid_control.transforms import transform
from perception.camera_rig import CameraRig, RobotSnapshot

GRIPPERS = ("l_gripper", "r_gripper")
HOLD_FORCE, LET_GO_FORCE = 6.0, 2.0  # N on each hand
CLOSED_OPENING, WIDEST_OPENING = 0.006, 0.040  # m between which the fingers have a lip between them
GRIP_TOLERANCE = 0.09  # m between a hand and the lip it grips, as far as the tote's place was known before
NEAR = 0.25  # m from a hand to the tote's middle, nearer than which it may push the tote


def odom_from_hands(rig: CameraRig, at: RobotSnapshot) -> np.ndarray:
    """Returns (4, 4) the frame of both hands: in the middle between them, y to the left hand, z up as far as y allows."""
    left, right = (at.odom_from_base @ rig.frame_pose(name, at.joint_positions) for name in GRIPPERS)
    y = left[:3, 3] - right[:3, 3]
    y /= max(np.linalg.norm(y), 1e-9)
    # Tilt of the tote about the line between the hands is the hands' own.
    forward = left[:3, 0] + right[:3, 0]
    z = np.cross(forward, y)
    norm = np.linalg.norm(z)
    z = z / norm if norm > 1e-6 else np.array([0.0, 0.0, 1.0])
    return transform(np.column_stack([np.cross(y, z), y, z]), 0.5 * (left[:3, 3] + right[:3, 3]))


def grips_something(at: RobotSnapshot, *, already: bool) -> bool:
    """Returns whether both hands have something between their fingers.

    Args:
        at: the robot's state.
        already: whether they had before; then less force will do.
    """
    force = LET_GO_FORCE if already else HOLD_FORCE
    openings = at.gripper_openings
    return bool((at.gripper_forces > force).all() and (openings > CLOSED_OPENING).all() and (openings < WIDEST_OPENING).all())


def grip_distance(rig: CameraRig, at: RobotSnapshot, odom_from_tote: np.ndarray, carrier: LoadCarrier) -> float:
    """Returns how far (m) the hands are from the grips of a tote, the farther of both, whichever way round it stands."""
    hands = [(at.odom_from_base @ rig.frame_pose(name, at.joint_positions))[:3, 3] for name in GRIPPERS]
    grips = [(odom_from_tote @ [0.0, sign * carrier.length / 2, carrier.grip_height, 1.0])[:3] for sign in (1, -1)]
    return min(max(float(np.linalg.norm(hand - grip)) for hand, grip in zip(hands, order, strict=True))
               for order in (grips, grips[::-1]))  # fmt: skip


def nearest_hand(rig: CameraRig, at: RobotSnapshot, odom_from_tote: np.ndarray) -> float:
    """Returns the distance (m) from a tote's middle to the hand nearest to it."""
    middle = odom_from_tote[:3, 3]
    return min(float(np.linalg.norm((at.odom_from_base @ rig.frame_pose(name, at.joint_positions))[:3, 3] - middle))
               for name in GRIPPERS)  # fmt: skip
