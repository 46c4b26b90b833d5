"""One tote in one image, whichever rung saw it, and what it says of the tote's place in `odom`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.transforms import yaw_of
from perception.camera_rig import CameraRig, RobotSnapshot
from perception.detection import Detection
from perception.fiducial import TOTE, TaggedObject

# Of a sighting's variance, how much is drawn anew in each image; the rest stays while the camera looks from the same place.
NETWORK_WHITE_SHARE = 0.25
TAG_WHITE_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class ToteSighting:
    """One tote seen in one image.

    Attributes:
        kind: of the load carrier.
        name: where the tote carries it; else empty.
        camera: whose image it was.
        stamp_s: of the image, on the robot's clock.
        camera_from_tote: (4, 4) in optical axes.
        covariance: (6, 6) of translation (m) and rotation vector (rad), in camera axes.
        white_share: of the covariance, how much is drawn anew in each image.
    """

    kind: str
    name: str
    camera: str
    stamp_s: float
    camera_from_tote: np.ndarray
    covariance: np.ndarray
    white_share: float

    @classmethod
    def from_detection(cls, detection: Detection) -> ToteSighting:
        """Returns what a network saw."""
        return cls(detection.kind, "", detection.camera, detection.stamp_s, detection.camera_from_tote, detection.covariance,
                   NETWORK_WHITE_SHARE)  # fmt: skip

    @classmethod
    def from_tags(cls, seen: TaggedObject, factory: Factory) -> ToteSighting | None:
        """Returns what tags told; None where they were no tote's."""
        if seen.kind != TOTE:
            return None
        return cls(factory.tote(seen.name).kind, seen.name, seen.camera, seen.stamp_s, seen.camera_from_object, seen.covariance,
                   TAG_WHITE_SHARE)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ToteMeasurement:
    """A sighting as the filter takes it: of x, y, z (m) and yaw (rad) in `odom`; a tote stands upright.

    Attributes:
        sighting: where it comes from.
        value: (4,).
        covariance: (4, 4), without the mounting error's.
        by_mounting: (4, 6) derivative by the camera's mounting error.
        mounting_covariance: (6, 6).
        camera_position: (3,) m of the camera in `odom`.
    """

    sighting: ToteSighting
    value: np.ndarray
    covariance: np.ndarray
    by_mounting: np.ndarray
    mounting_covariance: np.ndarray
    camera_position: np.ndarray


def point_by_mounting(odom_from_camera: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Returns (3, 6) how a point (3,) in `odom` that a camera sees moves with the camera's mounting error."""
    rotation = odom_from_camera[:3, :3]
    x, y, z = rotation.T @ (point - odom_from_camera[:3, 3])
    # A turn r of the camera moves the point by r x (x, y, z).
    return np.hstack([rotation, rotation @ np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]])])


def yaw_by_mounting(odom_from_camera: np.ndarray) -> np.ndarray:
    """Returns (6,) how the heading of what a camera sees changes with the camera's mounting error."""
    return np.concatenate([np.zeros(3), odom_from_camera[2, :3]])


def pose_covariance(sighting: ToteSighting, frame_from_camera: np.ndarray, mounting_covariance: np.ndarray) -> np.ndarray:
    """Returns (6, 6) of a sighting's translation (m) and rotation vector (rad) in any frame: the image's error and the mounting's.

    Args:
        sighting: of one image.
        frame_from_camera: (4, 4), as calibrated.
        mounting_covariance: (6, 6) of the camera's mounting error, as `CameraRig` has it.
    """
    rotation = frame_from_camera[:3, :3]
    turn = np.kron(np.eye(2), rotation)
    point = (frame_from_camera @ sighting.camera_from_tote)[:3, 3]
    by_mounting = np.vstack([point_by_mounting(frame_from_camera, point), np.hstack([np.zeros((3, 3)), rotation])])
    return turn @ sighting.covariance @ turn.T + by_mounting @ mounting_covariance @ by_mounting.T


def measure(sighting: ToteSighting, rig: CameraRig, at: RobotSnapshot, *, moved: np.ndarray | None = None) -> ToteMeasurement:
    """Returns what a sighting says in `odom`.

    Args:
        sighting: of the image.
        rig: the cameras.
        at: the robot's state at the image's time.
        moved: (4, 4) how the tote was moved in `odom` since then, where hands carry it.
    """
    odom_from_camera = at.odom_from_base @ rig.base_from_camera(sighting.camera, at.joint_positions)
    if moved is not None:
        odom_from_camera = moved @ odom_from_camera
    rotation = odom_from_camera[:3, :3]
    odom_from_tote = odom_from_camera @ sighting.camera_from_tote
    # Rows of x, y, z and yaw, columns of translation and rotation vector in camera axes.
    select = np.zeros((4, 6))
    select[:3, :3] = rotation
    select[3, 3:] = rotation[2]
    by_mounting = np.vstack([point_by_mounting(odom_from_camera, odom_from_tote[:3, 3]), yaw_by_mounting(odom_from_camera)])
    return ToteMeasurement(
        sighting, np.append(odom_from_tote[:3, 3], yaw_of(odom_from_tote)), select @ sighting.covariance @ select.T, by_mounting,
        rig.mounting_covariance[sighting.camera], odom_from_camera[:3, 3])  # fmt: skip
