"""A whole-body target as the vector a network is taught and says, and back.

Everything is in `base_footprint` of the instant at which the target is decided, so that the same motion is the same
vector wherever on the floor it happens. What a hand without a task carries in its pose means nothing: it is written as
zero and no turn.
"""

from __future__ import annotations

import numpy as np

from humanoid_control.transforms import from_pose, inverse, to_pose, transform
from humanoid_control.types import FRAME_BASE_FOOTPRINT, FRAME_ODOM, SIDES, WholeBodyTarget
from policies.learned.rotations import AXES, from_columns, to_columns

BASE_VELOCITY = slice(0, 3)
HANDS = (slice(3, 12), slice(12, 21))
HANDS_ACTIVE = slice(21, 23)
TORSO_PITCH, PELVIS_HEIGHT = 23, 24
GRIPPER_OPENINGS = slice(25, 27)
GRIPPER_FORCES = slice(27, 29)
ACTION_SIZE = 29
ACTION_NAMES = (
    "base_velocity.x", "base_velocity.y", "base_velocity.yaw",
    *(f"{side}_hand.{part}" for side in SIDES for part in ("x", "y", "z", *AXES)),
    *(f"{side}_hand.active" for side in SIDES),
    "torso_pitch", "pelvis_height",
    *(f"{side}_gripper.opening" for side in SIDES),
    *(f"{side}_gripper.force" for side in SIDES),
)  # fmt: skip
ACTIVE_FROM = 0.5  # from here on a hand is active

_NO_HAND = np.array([0.0, 0, 0, 1, 0, 0, 0, 1, 0])


def encode_target(target: WholeBodyTarget, odom_from_footprint: np.ndarray) -> np.ndarray:
    """(29,) action of a target; what each number is, `ACTION_NAMES` says.

    Args:
        target: in either frame; its feed-forward velocities are not part of an action.
        odom_from_footprint: (4, 4) where the robot believes `base_footprint` is, at this instant.
    """
    action = np.empty(ACTION_SIZE)
    footprint_from_frame = inverse(odom_from_footprint) if target.frame == FRAME_ODOM else np.eye(4)
    action[BASE_VELOCITY] = target.base_velocity
    for side, where in enumerate(HANDS):
        if not target.hand_active[side]:
            action[where] = _NO_HAND
            continue
        hand = footprint_from_frame @ from_pose(target.hand_poses[side])
        action[where] = np.concatenate([hand[:3, 3], to_columns(hand)])
    action[HANDS_ACTIVE] = target.hand_active
    action[TORSO_PITCH], action[PELVIS_HEIGHT] = target.torso_pitch, target.pelvis_height
    action[GRIPPER_OPENINGS], action[GRIPPER_FORCES] = target.gripper_openings, target.gripper_forces
    return action


def decode_action(action: np.ndarray, *, stamp_s: float, odom_from_footprint: np.ndarray | None = None) -> WholeBodyTarget:
    """The target of an action (29,).

    Args:
        action: as `encode_target` makes it, or about so: turns are made proper ones.
        stamp_s: of the target.
        odom_from_footprint: (4, 4) where `base_footprint` was when the action was decided, for a target in `odom` that
            stays where it is on the floor; without it the target is in `base_footprint` and carried along.
    """
    poses, active = np.tile([0.0, 0, 0, 0, 0, 0, 1], (2, 1)), action[HANDS_ACTIVE] >= ACTIVE_FROM
    for side, where in enumerate(HANDS):
        if active[side]:
            hand = transform(from_columns(action[where][3:]), action[where][:3])
            poses[side] = to_pose(hand if odom_from_footprint is None else odom_from_footprint @ hand)
    return WholeBodyTarget(
        stamp_s=stamp_s,
        frame=FRAME_BASE_FOOTPRINT if odom_from_footprint is None else FRAME_ODOM,
        base_velocity=np.array(action[BASE_VELOCITY], float),
        hand_poses=poses,
        hand_active=active,
        torso_pitch=float(action[TORSO_PITCH]),
        pelvis_height=float(action[PELVIS_HEIGHT]),
        gripper_openings=np.array(action[GRIPPER_OPENINGS], float),
        gripper_forces=np.array(action[GRIPPER_FORCES], float),
    )
