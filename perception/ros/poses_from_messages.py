"""What a message of detections says was seen: as a subscription hands it out, or as a record is decoded without ROS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from humanoid_control.errors import ConfigurationError
from humanoid_control.ros.from_messages import pose_from_message, time_from_message
from humanoid_control.transforms import from_pose
from perception.poses import ObjectPose, PoseSet

if TYPE_CHECKING:  # records are read where no ROS is installed
    from vision_msgs.msg import Detection3DArray

FRAME = "base_link"
TOTE, SURFACE, PERSON = "tote", "surface", "person"


def poses_from_message(message: Detection3DArray) -> PoseSet:
    """What was seen, of a message.

    Raises:
        ConfigurationError: it is not in base_link.
    """
    if message.header.frame_id != FRAME:
        raise ConfigurationError(f"detections are in frame '{message.header.frame_id}'; they must be in '{FRAME}'")
    found: dict[str, dict] = {TOTE: {}, SURFACE: {}, PERSON: {}}
    for detection in message.detections:
        result = detection.results[0] if detection.results else None
        if result is None or result.hypothesis.class_id not in found:
            continue
        pose = pose_from_message(result.pose.pose)
        if not np.isfinite(pose).all():
            continue
        kind = result.hypothesis.class_id
        stamp_s = time_from_message(detection.header.stamp) if result.hypothesis.score > 0 else -math.inf
        found[kind][detection.id] = pose[:2] if kind == PERSON else ObjectPose(
            detection.id, from_pose(pose), np.reshape(result.pose.covariance, (6, 6)), stamp_s)  # fmt: skip
    return PoseSet(time_from_message(message.header.stamp), found[TOTE], found[SURFACE], found[PERSON])
