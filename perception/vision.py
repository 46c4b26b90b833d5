"""Poses from the robot's colour cameras: the rungs `fiducial`, `detector` and `tracker`, behind one interface.

Images come late: each is read with the posture that the robot had when it was taken, and what it shows is kept in `odom`.
Images that cannot be used are left out and named. What no camera has seen yet is told where the factory's file has it,
with a covariance that says so.

Looking may be done in another thread than the rest: it takes long, and holds up nobody who updates or reads meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from humanoid_control.errors import ConfigurationError
from humanoid_control.mission.factory import Factory
from humanoid_control.transforms import inverse
from humanoid_control.types import BaseEstimate, RobotState
from perception.attention import Attention
from perception.camera_model import CameraModel
from perception.camera_rig import CameraRig, RobotSnapshot, StateBuffer
from perception.detection import Detection
from perception.detector import ToteDetector
from perception.drawing import draw_poses
from perception.edges import EdgeFinder, surface_edges
from perception.errors import PerceptionError
from perception.fiducial import FiducialPoses
from perception.frame import CameraFrame, FrameCheck
from perception.keypoints import KINDS, tote_corners
from perception.landmarks import SurfaceSighting
from perception.latest_sightings import LatestSightings
from perception.localisation import Localiser
from perception.poses import PoseSet, surface_name
from perception.tracking.sighting import ToteSighting
from perception.tracking.tote_tracker import ToteTracker

FIDUCIAL, DETECTOR, TRACKER = "fiducial", "detector", "tracker"
VISION_RUNGS = (FIDUCIAL, DETECTOR, TRACKER)
POSE_CAMERAS = ("head_camera", "head_forward_camera")  # wrist cameras hardly ever show enough of a tote to place it by
LOST_CAMERA_S = 1.0  # without an image, after which a camera counts as lost
MOST_SURFACES = 2  # that are looked for in one image, where the first is not seen


@dataclass
class CameraHealth:
    """How one camera does.

    Attributes:
        stamp_s: of its newest usable image; -inf before.
        problem: why its newest image could not be used; empty if it could.
        last_problem: why an image could not be used the last time that one could not.
        used, refused: images so far.
    """

    stamp_s: float = -np.inf
    problem: str = ""
    last_problem: str = ""
    used: int = 0
    refused: int = 0


@dataclass
class VisionHealth:
    """How it all does.

    Attributes:
        cameras: by name.
        restarts: how often everything began anew, because the robot's clock went back.
        restarted_s: to what time it did the last time; -inf: never.
    """

    cameras: dict[str, CameraHealth] = field(default_factory=dict)
    restarts: int = 0
    restarted_s: float = -np.inf

    def refuse(self, camera: str, problem: str) -> None:
        """Notes that an image could not be used."""
        health = self.cameras.setdefault(camera, CameraHealth())
        health.problem = health.last_problem = problem
        health.refused += 1

    def lost(self, now_s: float, after_s: float = LOST_CAMERA_S) -> tuple[str, ...]:
        """Cameras without a usable image for too long."""
        return tuple(name for name, camera in list(self.cameras.items()) if now_s - camera.stamp_s > after_s)


class VisionPoses:
    """A source of poses from images. See `poses.PoseSource`.

    Attributes:
        is_privileged: false: nothing but images, joint states and the base's estimate go in.
        health: of cameras and computing.
        sightings: the totes that the newest usable image showed, before anything is made of them.
    """

    is_privileged = False

    def __init__(self, rung: str, factory: Factory, rig: CameraRig, *, models: Path | None = None) -> None:
        """Loads what the rung needs.

        Args:
            rung: one of `VISION_RUNGS`.
            factory: as in its file: what there is, and where it should be.
            rig: the cameras, with their mounting as calibrated; those whose intrinsics are None are given them by
                `set_camera`.
            models: folder of the networks; by default the shipped ones.

        Raises:
            ConfigurationError: there is no such rung.
            PerceptionError: a network cannot be loaded.
        """
        if rung not in VISION_RUNGS:
            raise ConfigurationError(f"no pose source '{rung}'; there is oracle, {', '.join(VISION_RUNGS)}")
        self._factory, self._rig = factory, rig
        self._tags = FiducialPoses(factory, rig) if rung == FIDUCIAL else None
        kinds = {tote.carrier.kind for tote in factory.totes} or KINDS
        self._detector = ToteDetector(models, kinds=kinds) if rung != FIDUCIAL else None
        self._finder = EdgeFinder(models) if rung != FIDUCIAL else None
        self._edges = {surface_name(station.name, shelf): surface_edges(station, shelf)
                       for station in factory.stations for shelf in range(len(station.surfaces))}  # fmt: skip
        self._attempts = dict.fromkeys(self._edges, 0)  # how often each surface was looked for in vain; only looking changes it
        self._checks = {name: FrameCheck(camera) for name, camera in rig.cameras.items() if camera is not None}
        self._localiser = Localiser(factory, rig)
        self._tracker = ToteTracker(factory, rig)
        self._latest = LatestSightings(factory, rig) if rung == DETECTOR else None
        self._attention = Attention()  # another one each time that all begins anew
        self._states = StateBuffer()
        self._lock = threading.RLock()  # of all that updating, reading and what was seen change
        self.health = VisionHealth({name: CameraHealth() for name in rig.cameras})
        self.sightings: tuple[ToteSighting, ...] = ()

    def update(self, state: RobotState, estimate: BaseEstimate) -> None:
        """Takes one state of the robot in; several a camera period, so that images find theirs."""
        with self._lock:
            if len(self._states) and state.stamp_s < self._states.newest.stamp_s:
                self.forget()
                self.health.restarts, self.health.restarted_s = self.health.restarts + 1, state.stamp_s
            self._states.add(state, estimate)
            self._advance()

    def set_camera(self, name: str, camera: CameraModel | None) -> None:
        """Takes over what a camera's intrinsics are now; None where they are not known, and its images are no use.

        Raises:
            ConfigurationError: the rig has no such camera.
        """
        with self._lock:
            known = self._rig.cameras.get(name)
            self._rig.set_intrinsics(name, camera)
            if camera is None:
                self._checks.pop(name, None)
            elif known is None or not known.matches(camera):
                self._checks[name] = FrameCheck(camera)

    def forget(self) -> None:
        """Begins anew: where `odom` is and all that was seen counts no more."""
        with self._lock:
            self._states.clear()
            self._localiser.forget()
            self._tracker.forget()
            self._attention = Attention()
            if self._latest is not None:
                self._latest.forget()
            for check in self._checks.values():
                check.forget()
            for camera in self.health.cameras.values():
                camera.stamp_s = -np.inf

    @property
    def map_from_odom(self) -> np.ndarray:
        """(4, 4), as the stations seen tell.

        Raises:
            PerceptionError: no state of the robot has come yet.
        """
        with self._lock:
            return inverse(self._localiser.odom_from_map)

    def take(self, frames: Sequence[CameraFrame]) -> None:
        """Looks at images, oldest first; those that cannot be used are left out and named in `health`.

        Raises:
            PerceptionError: a network fails.
        """
        for frame in sorted(frames, key=lambda one: one.stamp_s):
            with self._lock:
                health = self.health.cameras.setdefault(frame.camera, CameraHealth())
                problem, attention = self._problem_of(frame), self._attention
                if problem:
                    self.health.refuse(frame.camera, problem)
                    continue
                health.problem, at = "", self._states.at(frame.stamp_s)
            self._look(frame, at, attention)
            with self._lock:
                if attention is self._attention:  # else all was forgotten meanwhile
                    health.stamp_s = frame.stamp_s
                health.used += 1

    def read(self) -> PoseSet:
        """See `PoseSource.read`.

        Raises:
            PerceptionError: no state of the robot has come yet.
        """
        with self._lock:
            at = self._states.newest
            self._advance()
            return self._poses_at(at)

    def picture(self, frame: CameraFrame) -> np.ndarray:
        """Returns an image that was looked at with what is known drawn in: (H, W, 3) uint8.

        Raises:
            PerceptionError: it is too old, or nothing is known of its camera.
        """
        with self._lock:
            camera, at = self._rig.cameras.get(frame.camera), self._states.at(frame.stamp_s)
            poses, sightings = self._poses_at(at), [one for one in self.sightings if one.stamp_s == frame.stamp_s]
        if camera is None:
            raise PerceptionError(f"nothing is known of camera '{frame.camera}'")
        camera_from_base = inverse(self._rig.base_from_camera(frame.camera, at.joint_positions))
        return draw_poses(frame.rgb, camera, camera_from_base, poses, self._factory,
                          sightings=[one for one in sightings if one.camera == frame.camera])  # fmt: skip

    def _poses_at(self, at: RobotSnapshot) -> PoseSet:
        totes = self._tracker.expected(at)
        totes |= self._tracker.poses(at) if self._latest is None else self._latest.poses(at)
        return PoseSet(at.stamp_s, totes, self._localiser.surfaces(at))

    # --- one image ------------------------------------------------------------------------------------------------

    def _problem_of(self, frame: CameraFrame) -> str:
        check = self._checks.get(frame.camera)
        if check is None:
            known = frame.camera in self._rig.cameras
            return "its camera info has not come yet" if known else f"no camera '{frame.camera}' is known"
        try:
            self._states.at(frame.stamp_s)  # before the check, which holds later images against this one's time
        except PerceptionError as error:
            return str(error)
        return check.problem(frame)

    def _advance(self) -> None:
        at = self._states.newest
        self._localiser.advance(at)
        self._tracker.expect(self._localiser.odom_from_map, self._localiser.covariance)
        self._tracker.advance(at, self._localiser.odom_from_map)
        if self._latest is not None:
            self._latest.advance(at)

    def _look(self, frame: CameraFrame, at: RobotSnapshot, attention: Attention) -> None:
        looked_for: tuple[str, ...] = ()
        if self._tags is not None:
            seen = self._tags.look([frame], self._states)
            surfaces = [SurfaceSighting.from_tags(one) for one in seen]
            totes = [ToteSighting.from_tags(one, self._factory) for one in seen]
        else:
            found, looked_for, searched = self._find_totes(frame, at, attention)
            totes = [ToteSighting.from_detection(one) for one in found]
            surfaces = [] if searched else self._find_surfaces(frame, at, attention)  # an image that is searched takes long enough
        with self._lock:
            if attention is not self._attention:  # all was forgotten while it looked: what it saw is of another time
                return
            self._localiser.take([one for one in surfaces if one is not None], self._states)
            self._tracker.expect(self._localiser.odom_from_map, self._localiser.covariance)
            known = [one for one in totes if one is not None]
            self.sightings = tuple(known)
            self._tracker.take(known, self._states, looked_for=looked_for)
            if self._latest is not None:
                self._latest.take(known, at, self._tracker.tracks)
            self._localiser.take_totes(self._tracker.tracks.values())

    def _find_totes(
        self, frame: CameraFrame, at: RobotSnapshot, attention: Attention
    ) -> tuple[list[Detection], tuple[str, ...], bool]:
        """The totes seen, the names of those that would have been, were they where they should be and not hidden, and whether
        other things are left for images to come."""
        camera = self._rig.cameras[frame.camera]
        up = self._rig.up_in_camera(frame.camera, at.joint_positions, at.odom_from_base)
        odom_from_camera = at.odom_from_base @ self._rig.base_from_camera(frame.camera, at.joint_positions)
        with self._lock:
            look = attention.totes(camera, frame.stamp_s, odom_from_camera, self._tracker.predicted(at))
        if self._latest is not None:  # each image by itself
            return self._detector.detect(frame, camera, up), look.in_view, False
        found = self._detector.look(frame, camera, look.boxes, up, search=look.search, known=look.passed_over)
        return found, look.looked_at + (look.searched_for if look.search else ()), look.search

    def _find_surfaces(self, frame: CameraFrame, at: RobotSnapshot, attention: Attention) -> list[SurfaceSighting]:
        """Looks for surfaces near by where they should be, until one was seen."""
        camera_from_base = inverse(self._rig.base_from_camera(frame.camera, at.joint_positions))
        camera_from_odom = camera_from_base @ inverse(at.odom_from_base)
        with self._lock:
            surfaces = self._localiser.surfaces(at)
            totes = [(track.carrier, camera_from_odom @ pose) for track, pose in self._tracker.predicted(at).values() if track.is_seen]
        boxes = [tote_corners(carrier) @ pose[:3, :3].T + pose[:3, 3] for carrier, pose in totes]
        waiting = attention.surfaces(frame.camera, frame.stamp_s, camera_from_base, surfaces)
        for name, camera_from_surface in islice(waiting, MOST_SURFACES):
            pose = surfaces[name]
            rotation = pose.base_from_object[:3, :3]
            along = rotation.T @ pose.covariance[:3, :3] @ rotation
            heading = float(rotation[:, 2] @ pose.covariance[3:, 3:] @ rotation[:, 2])
            prior = np.sqrt(np.append(np.diag(along), heading))
            seen = self._finder.look(frame, self._rig.cameras[frame.camera], self._edges[name], camera_from_surface, name=name,
                                     prior=prior, attempt=self._attempts[name], boxes=boxes)  # fmt: skip
            self._attempts[name] = 0 if seen is not None else self._attempts[name] + 1
            if seen is not None:
                return [seen]
        return []
