"""Which postures of the arms tell most about how the cameras sit: each hand's cuff in view of others than its own camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from humanoid_control import rigid_body, self_collision
from humanoid_control.mission.tags import cuff_frame, cuff_tags
from humanoid_control.robot_model import SIDE_ARM_JOINTS
from humanoid_control.types import SIDES
from humanoid_control.whole_body_control.controller import standing_posture
from perception.camera_rig import CameraRig
from perception.errors import PerceptionError

SAMPLES = 30_000
LIMIT_SHARE = 0.85  # of the joints' ranges: further out arms move jerkily
REACH_LOW, REACH_HIGH = np.array([0.14, -0.45, -0.15]), np.array([0.50, 0.45, 0.45])  # m in `base_link`, of the hands
CLEARANCE = 0.03  # m between parts of the robot; cuffs stand off the hands
FACING = 0.5  # cosine between a tag's normal and the line of sight
NEAREST, FARTHEST = 0.15, 0.60  # m
IMAGE_MARGIN = 16.0  # px
VIEW_NOISE = np.repeat([1e-3, 3e-3], 3)  # m, rad: what one view of one tag tells of the pose, for choosing only


@dataclass(frozen=True, eq=False)
class Posture:
    """One posture.

    Attributes:
        joint_positions: (29,) rad.
        views: cameras and the sides of the cuffs they see.
    """

    joint_positions: np.ndarray
    views: tuple[tuple[str, str], ...]


def choose_postures(
    rig: CameraRig, count: int, *, seed: int = 0, on_sample: Callable[[int], None] | None = None
) -> list[Posture]:
    """Returns the postures that together tell most of all mounting errors, each further one what is known least.

    Args:
        rig: nominal mounting is good enough.
        count: how many.
        seed: of the random postures among which it chooses.
        on_sample: called with the number of postures tried so far.

    Raises:
        PerceptionError: no posture shows a cuff to some camera.
    """
    candidates = list(_candidates(rig, seed, on_sample))
    for camera in rig.cameras:
        if not any(camera == view[0] for candidate in candidates for view in candidate.views):
            raise PerceptionError(f"no posture was found in which {camera} sees a cuff")
    names = list(rig.cameras)
    gains = [_information(rig, names, candidate) for candidate in candidates]
    total = np.eye(6 * (len(names) + len(SIDES))) * 1e2
    chosen: list[Posture] = []
    for _ in range(min(count, len(candidates))):
        best = max(range(len(candidates)), key=lambda i: np.linalg.slogdet(total + gains[i])[1])
        total = total + gains[best]
        chosen.append(candidates.pop(best))
        gains.pop(best)
    return chosen


def _candidates(rig: CameraRig, seed: int, on_sample):
    model, random = rig.model, np.random.default_rng(seed)
    pairs = self_collision.pairs_record(model)
    tree, motion = rigid_body.tree_record(model.tree), rigid_body.motion_record()
    proximity = self_collision.proximity_record()
    standing = standing_posture(model)
    middle = (model.position_lower + model.position_upper) / 2
    half = LIMIT_SHARE * (model.position_upper - model.position_lower) / 2
    for sample in range(SAMPLES):
        if on_sample is not None and sample % 500 == 0:
            on_sample(sample)
        joints = standing.copy()
        for arm in SIDE_ARM_JOINTS:
            joints[arm] = middle[arm] + half[arm] * random.uniform(-1.0, 1.0, arm.stop - arm.start)
        hands = {side: rig.frame_pose(cuff_frame(side), joints) for side in SIDES}
        if any(((pose[:3, 3] < REACH_LOW) | (pose[:3, 3] > REACH_HIGH)).any() for pose in hands.values()):
            continue
        views = tuple((camera, side) for camera in rig.cameras for side in SIDES
                      if not camera.startswith(side) and _is_seen(rig, camera, joints, side, hands[side]))  # fmt: skip
        if not views:
            continue
        rigid_body.forward_kinematics(tree, np.eye(3), joints, motion)
        if self_collision.capsule_distances(pairs, motion, np.inf, proximity) > CLEARANCE:
            yield Posture(joints, views)


def _is_seen(rig: CameraRig, camera: str, joints: np.ndarray, side: str, base_from_hand: np.ndarray) -> bool:
    model = rig.cameras[camera]
    camera_from_hand = np.linalg.solve(rig.base_from_camera(camera, joints), base_from_hand)
    for tag in cuff_tags(side):
        corners = tag.corners @ camera_from_hand[:3, :3].T + camera_from_hand[:3, 3]
        middle = corners.mean(axis=0)
        distance = np.linalg.norm(middle)
        normal = camera_from_hand[:3, :3] @ tag.parent_from_tag[:3, 2]
        if (NEAREST < distance < FARTHEST and -(normal @ middle) > FACING * distance
                and model.inside(model.project(corners)[0], IMAGE_MARGIN).all()):  # fmt: skip
            return True
    return False


def _information(rig: CameraRig, names: list[str], posture: Posture) -> np.ndarray:
    """What a posture tells of all cameras and cuffs, were each view a pose with `VIEW_NOISE` in the camera's frame."""
    size = 6 * (len(names) + len(SIDES))
    total = np.zeros((size, size))
    for camera, side in posture.views:
        base_from_camera = rig.base_from_camera(camera, posture.joint_positions)
        camera_from_hand = np.linalg.solve(base_from_camera, rig.frame_pose(cuff_frame(side), posture.joint_positions))
        rotation, place = camera_from_hand[:3, :3], camera_from_hand[:3, 3]
        jacobian = np.zeros((6, size))
        at = 6 * names.index(camera)
        jacobian[:3, at : at + 3], jacobian[3:, at + 3 : at + 6] = -np.eye(3), -np.eye(3)
        x, y, z = place
        jacobian[:3, at + 3 : at + 6] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
        at = 6 * (len(names) + SIDES.index(side))
        jacobian[:3, at : at + 3] = jacobian[3:, at + 3 : at + 6] = rotation
        jacobian /= VIEW_NOISE[:, None]
        total += jacobian.T @ jacobian
    return total
