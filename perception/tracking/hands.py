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


def gripper_poses(rig: CameraRig, at: RobotSnapshot) -> np.ndarray:
    """Returns (2, 4, 4) odom_from_gripper, left and right."""
    return np.array([at.odom_from_base @ rig.frame_pose(name, at.joint_positions) for name in GRIPPERS])


def frame_of_hands(grippers: np.ndarray) -> np.ndarray:
    """Returns (4, 4) the frame of both hands: in the middle between them, y to the left hand, z up as far as y allows.

    Args:
        grippers: (2, 4, 4), from `gripper_poses`.
    """
    left, right = grippers
    y = left[:3, 3] - right[:3, 3]
    y /= max(np.linalg.norm(y), 1e-9)
    # A tote tilts about the line between the hands as these do.
    z = np.cross(left[:3, 0] + right[:3, 0], y)
    norm = np.linalg.norm(z)
    z = z / norm if norm > 1e-6 else np.array([0.0, 0.0, 1.0])
    return transform(np.column_stack([np.cross(y, z), y, z]), 0.5 * (left[:3, 3] + right[:3, 3]))


def odom_from_hands(rig: CameraRig, at: RobotSnapshot) -> np.ndarray:
    """Returns (4, 4) `frame_of_hands` of a state of the robot."""
    return frame_of_hands(gripper_poses(rig, at))


def grips_something(at: RobotSnapshot, *, already: bool) -> bool:
    """Returns whether both hands have something between their fingers.

    Args:
        at: the robot's state.
        already: whether they had before; then less force will do.
    """
    force = LET_GO_FORCE if already else HOLD_FORCE
    openings = at.gripper_openings
    return bool((at.gripper_forces > force).all() and (openings > CLOSED_OPENING).all() and (openings < WIDEST_OPENING).all())


def grip_distance(grippers: np.ndarray, odom_from_tote: np.ndarray, carrier: LoadCarrier) -> float:
    """Returns how far (m) the hands (2, 4, 4) are from a tote's grips, the farther of both, whichever way round it stands."""
    hands = grippers[:, :3, 3]
    grips = np.array([(odom_from_tote @ [0.0, sign * carrier.length / 2, carrier.grip_height, 1.0])[:3] for sign in (1, -1)])
    return min(float(np.linalg.norm(hands - order, axis=1).max()) for order in (grips, grips[::-1]))


def nearest_hand(grippers: np.ndarray, position: np.ndarray) -> float:
    """Returns the distance (m) from a tote's middle (3,) to the nearer of the hands (2, 4, 4)."""
    return float(np.linalg.norm(grippers[:, :3, 3] - position, axis=1).min())
