"""Between what was seen and its message, which says tote, surface or person as the class of each detection."""

from __future__ import annotations

import math

import numpy as np
from std_msgs.msg import Header
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesis, ObjectHypothesisWithPose

from humanoid_control.errors import ConfigurationError
from humanoid_control.ros import conversions
from humanoid_control.transforms import from_pose, to_pose
from perception.poses import ObjectPose, PoseSet

FRAME = "base_link"
NEVER_S = 0.0  # the stamp in a message of what was not seen yet, and is told where it should be
TOTE, SURFACE, PERSON = "tote", "surface", "person"


def poses_to_message(poses: PoseSet) -> Detection3DArray:
    """The message of what was seen."""
    header = conversions.make_header(poses.stamp_s, FRAME)
    detections = []
    for kind, things in ((TOTE, poses.totes), (SURFACE, poses.surfaces)):
        for thing in things.values():
            was_seen = math.isfinite(thing.stamp_s)
            header_of_thing = conversions.make_header(thing.stamp_s if was_seen else NEVER_S, FRAME)
            detections.append(_detection(header_of_thing, kind, thing.name, to_pose(thing.base_from_object), thing.covariance,
                                         score=float(was_seen)))  # fmt: skip
    for name, position in poses.people.items():
        pose = np.array([position[0], position[1], 0.0, 0.0, 0.0, 0.0, 1.0])
        detections.append(_detection(header, PERSON, name, pose, np.zeros((6, 6))))
    return Detection3DArray(header=header, detections=detections)


def _detection(header: Header, kind: str, name: str, pose: np.ndarray, covariance: np.ndarray, *, score: float = 1.0) -> Detection3D:
    result = ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(class_id=kind, score=score))
    result.pose.pose = conversions.pose_to_message(pose)
    result.pose.covariance = covariance.ravel()
    detection = Detection3D(header=header, id=name, results=[result])
    detection.bbox.center = result.pose.pose
    return detection


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
        pose = conversions.pose_from_message(result.pose.pose)
        if not np.isfinite(pose).all():
            continue
        kind = result.hypothesis.class_id
        stamp_s = conversions.time_from_message(detection.header.stamp) if result.hypothesis.score > 0 else -math.inf
        found[kind][detection.id] = pose[:2] if kind == PERSON else ObjectPose(
            detection.id, from_pose(pose), np.reshape(result.pose.covariance, (6, 6)), stamp_s)  # fmt: skip
    return PoseSet(conversions.time_from_message(message.header.stamp), found[TOTE], found[SURFACE], found[PERSON])
