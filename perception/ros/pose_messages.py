"""Between what was seen and its message, which says tote, surface or person as the class of each detection."""

from __future__ import annotations

import math

import numpy as np
from std_msgs.msg import Header
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesis, ObjectHypothesisWithPose

from humanoid_control.ros import conversions
from humanoid_control.transforms import to_pose
from perception.poses import PoseSet
from perception.ros.poses_from_messages import FRAME, PERSON, SURFACE, TOTE, poses_from_message  # noqa: F401 - both directions are had from here

NEVER_S = 0.0  # the stamp in a message of what was not seen yet, and is told where it should be


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
