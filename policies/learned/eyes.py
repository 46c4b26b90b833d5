"""The student's eyes: of each image the corners of the one tote it is about, as perception's own networks see them.

Each image is read with the posture of its own time. Nothing here makes a pose of the corners: that is learnt (`tote_sight.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.transforms import inverse
from perception.attention import box_before
from perception.camera_model import CameraModel
from perception.camera_rig import CameraRig, RobotSnapshot, StateBuffer
from perception.detector import SeenCorners, ToteDetector
from perception.errors import PerceptionError
from perception.frame import OVEREXPOSED, CameraFrame, FrameCheck
from perception.keypoints import HALF_TURN, tote_corners
from perception.tracking.hands import odom_from_hands
from perception.vision import LOST_CAMERA_S
from policies.learned.sight_space import AGE, CAMERA, CAMERAS, DEVIATIONS, INSIDE, PRESENCE, RAYS, SEEN, SIGHTING_SIZE, VISIBLE
from policies.policy import Observation

FARTHEST = 2.5  # m from a camera to a tote that is worth looking at
LEAST_PRESENCE = 0.2  # of a tote, below which what was seen is no sighting
LEAST_INSIDE = 3  # corners in the crop, for a sighting


@dataclass(frozen=True, eq=False)
class _Sighting:
    """One image's.

    Attributes:
        at: the robot's state when it was exposed.
        odom_from_camera: (4, 4) then.
        corners: as seen, in the order of the believed tote's.
        rays, deviations: (8, 2) of them, as `sight_space` has them.
    """

    at: RobotSnapshot
    odom_from_camera: np.ndarray
    corners: SeenCorners
    rays: np.ndarray
    deviations: np.ndarray


class Eyes:
    """Looks at images, one by one as they come, and hands over what they showed once a step.

    Args:
        detector: perception's networks.
    """

    def __init__(self, detector: ToteDetector) -> None:
        self._detector = detector
        self.forget()

    def forget(self) -> None:
        """Begins anew: another episode, or a clock that went back."""
        self._states = StateBuffer()
        self._checks: dict[str, tuple[CameraModel, FrameCheck]] = {}  # with the intrinsics that they are for
        self._sightings: dict[str, _Sighting] = {}
        self._used_s: dict[str, float] = {}  # when each camera's newest usable image was exposed
        self._dazzled_s: dict[str, float] = {}  # when its newest one that showed nothing for being too bright
        self._problems: dict[str, str] = {}
        self._began_s: float | None = None

    def feel(self, observation: Observation) -> None:
        """Takes in the robot's state, at each call of the policy: images are read with the posture of their own time."""
        if len(self._states) and observation.stamp_s < self._states.newest.stamp_s:
            self.forget()
        self._began_s = observation.stamp_s if self._began_s is None else self._began_s
        self._states.add(observation.state, observation.estimate)

    def look(self, frames: Iterable[CameraFrame], rig: CameraRig, odom_from_tote: np.ndarray, kind: str, *, is_held: bool, is_unsure: bool) -> None:
        """Looks at images for a tote.

        Args:
            frames: that have come since the last call.
            rig: the cameras.
            odom_from_tote: (4, 4) where the tote is believed to be now.
            kind: of the tote.
            is_held: whether both hands hold it, so that it was elsewhere when an image was exposed.
            is_unsure: whether the belief is too far off to look there alone.
        """
        for frame in frames:
            if frame.camera not in CAMERAS:
                continue
            problem = self._problem(frame, rig)
            self._problems[frame.camera] = problem
            if problem:
                if problem.startswith(OVEREXPOSED):
                    self._dazzled_s[frame.camera] = frame.stamp_s
                continue
            self._used_s[frame.camera] = frame.stamp_s
            self._look(frame, rig, odom_from_tote, kind, is_held, is_unsure)

    def missing(self, now: float, rig: CameraRig | None, *, is_known: bool) -> str:
        """Which camera has told nothing usable for too long, and why; empty if all do.

        Args:
            now: s.
            rig: the cameras.
            is_known: whether hands or other cameras tell where the tote is: then one may be dazzled, by a white tote before it, say.
        """
        if rig is None or self._began_s is None:
            return "any image: no cameras are known"
        for name in CAMERAS:
            if rig.cameras.get(name) is None:
                return f"an image of {name}: " + ("its camera info has not come yet" if name in rig.cameras else "there is no such camera")
            came_s = max(self._used_s.get(name, -np.inf), self._dazzled_s.get(name, -np.inf) if is_known else -np.inf)
            silent_s = now - max(came_s, self._began_s)
            if silent_s > LOST_CAMERA_S:
                return f"an image of {name}: {self._problems.get(name) or f'none came for {silent_s:.1f} s'}"
        return ""

    def sightings(self, odom_from_footprint: np.ndarray, rig: CameraRig, *, is_held: bool) -> np.ndarray:
        """(C, SIGHTING_SIZE) what was seen since the last call, as `sight_space` has it.

        Args:
            odom_from_footprint: (4, 4) now.
            rig: the cameras.
            is_held: whether both hands hold the tote: then cameras are told as seen from the tote as it lies in them now.
        """
        told = np.zeros((len(CAMERAS), SIGHTING_SIZE))
        if self._sightings:
            now = self._states.newest
            hands_now = odom_from_hands(rig, now) if is_held else None
            for name, seen in self._sightings.items():
                moved = hands_now @ inverse(odom_from_hands(rig, seen.at)) if is_held else np.eye(4)
                camera = inverse(odom_from_footprint) @ moved @ seen.odom_from_camera
                row = told[CAMERAS.index(name)]
                row[SEEN], row[AGE], row[PRESENCE] = 1.0, now.stamp_s - seen.at.stamp_s, seen.corners.presence
                row[CAMERA] = camera[:3].ravel()
                row[RAYS], row[DEVIATIONS] = seen.rays.ravel(), seen.deviations.ravel()
                row[VISIBLE], row[INSIDE] = seen.corners.visible, seen.corners.inside
            self._sightings.clear()
        return told

    def _problem(self, frame: CameraFrame, rig: CameraRig) -> str:
        camera = rig.cameras.get(frame.camera)
        if camera is None:
            return "its camera info has not come yet" if frame.camera in rig.cameras else "there is no such camera"
        try:
            self._states.at(frame.stamp_s)
        except PerceptionError as error:
            return str(error)
        known, check = self._checks.get(frame.camera, (None, None))
        if known is None or not known.matches(camera):
            check = FrameCheck(camera)
            self._checks[frame.camera] = camera, check
        return check.problem(frame)

    def _look(self, frame: CameraFrame, rig: CameraRig, odom_from_tote: np.ndarray, kind: str, is_held: bool, is_unsure: bool) -> None:
        at, camera = self._states.at(frame.stamp_s), rig.cameras[frame.camera]
        if is_held:
            odom_from_tote = odom_from_hands(rig, at) @ inverse(odom_from_hands(rig, self._states.newest)) @ odom_from_tote
        odom_from_camera = at.odom_from_base @ rig.base_from_camera(frame.camera, at.joint_positions)
        camera_from_tote = inverse(odom_from_camera) @ odom_from_tote
        if np.linalg.norm(camera_from_tote[:3, 3]) > FARTHEST:
            return
        corners = tote_corners(LOAD_CARRIERS[kind])
        box = box_before(camera, camera_from_tote, corners)
        if box is None:
            return
        up = rig.up_in_camera(frame.camera, at.joint_positions, at.odom_from_base)
        seen = self._detector.corners_at(frame, camera, box, up, search=is_unsure)
        if seen is None or seen.presence < LEAST_PRESENCE or (seen.inside > 0.5).sum() < LEAST_INSIDE:
            return
        expected = corners @ camera_from_tote[:3, :3].T + camera_from_tote[:3, 3]
        ray = camera.unproject(seen.pixels)
        is_ray = np.isfinite(ray).all(axis=1)
        inside = seen.inside * is_ray
        rays = np.where(is_ray[:, None], ray[:, :2] / ray[:, 2:], 0.0)
        order = _order(rays, inside, expected)
        focal = camera.matrix[[0, 1], [0, 1]]
        seen = SeenCorners(seen.pixels[order], seen.deviations[order], seen.visible[order], inside[order], seen.presence)
        self._sightings[frame.camera] = _Sighting(at, odom_from_camera, seen, rays[order], seen.deviations / focal)


def _order(rays: np.ndarray, inside: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(8,) in which order corners are the believed tote's: as told, or as those of the tote turned by half.

    Args:
        rays: (8, 2) x / z and y / z seen,
        inside: (8,) how much each counts.
        expected: (8, 3) m, where they should be, in the camera's frame.
    """
    should = expected[:, :2] / np.maximum(expected[:, 2:], 0.05)
    usual = np.arange(len(rays))
    same, turned = (float(inside[order] @ np.abs(rays[order] - should).sum(axis=1)) for order in (usual, HALF_TURN))
    return usual if same <= turned else HALF_TURN
