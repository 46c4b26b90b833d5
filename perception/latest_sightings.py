"""Each tote as the newest image that shows it has it: the rung `detector`, which keeps nothing over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.transforms import inverse
from perception.camera_rig import CameraRig, RobotSnapshot
from perception.poses import ObjectPose
from perception.tracking import odometry_drift
from perception.tracking.sighting import ToteSighting, pose_covariance
from perception.tracking.tote_track import ToteTrack

STANDING_NOISE = np.array([3e-4, 3e-4, 3e-4, 5e-4]) ** 2  # m^2/s and rad^2/s
ROWS = [0, 1, 2, 5]  # x, y, z and yaw
FARTHEST = 0.30  # m from where a tote should be to a sighting that is given its name


class LatestSightings:
    """Names what single images show.

    Args:
        factory: whose totes there are.
        rig: the cameras.
    """

    def __init__(self, factory: Factory, rig: CameraRig) -> None:
        self._factory, self._rig = factory, rig
        self.forget()

    def forget(self) -> None:
        """Begins anew."""
        self._seen: dict[str, tuple[float, np.ndarray, np.ndarray]] = {}  # stamp, odom_from_tote, covariance in `odom`
        self._last: RobotSnapshot | None = None

    def advance(self, at: RobotSnapshot) -> None:
        """Grows less sure of what was seen, by the time that has passed and by what odometry lost on the way."""
        before, self._last = self._last, at
        if before is None or at.stamp_s <= before.stamp_s:
            return
        length = odometry_drift.walked(before, at)
        for name, (stamp_s, pose, covariance) in self._seen.items():
            noise = (at.stamp_s - before.stamp_s) * np.diag(STANDING_NOISE)
            if length:
                noise = noise + odometry_drift.drift(length, pose[:2, 3] - at.odom_from_base[:2, 3])
            grown = covariance.copy()
            grown[np.ix_(ROWS, ROWS)] += noise
            self._seen[name] = stamp_s, pose, grown

    def take(self, sightings: Sequence[ToteSighting], at: RobotSnapshot, tracks: Mapping[str, ToteTrack]) -> None:
        """Takes in one image's sightings.

        Args:
            sightings: of one image.
            at: the robot's state at its time.
            tracks: where totes should be by now, by name.
        """
        free = dict(tracks)
        for sighting in sorted(sightings, key=lambda one: float(np.trace(one.covariance[:3, :3]))):
            odom_from_camera = at.odom_from_base @ self._rig.base_from_camera(sighting.camera, at.joint_positions)
            pose = odom_from_camera @ sighting.camera_from_tote
            near = {name: float(np.linalg.norm(track.pose[:3, 3] - pose[:3, 3])) for name, track in free.items()
                    if track.carrier.kind == sighting.kind}  # fmt: skip
            name = sighting.name or min(near, key=near.get, default="")
            if name not in free or near.get(name, np.inf) > FARTHEST:
                continue
            del free[name]
            covariance = pose_covariance(sighting, odom_from_camera, self._rig.mounting_covariance[sighting.camera])
            self._seen[name] = sighting.stamp_s, pose, covariance

    def poses(self, at: RobotSnapshot) -> dict[str, ObjectPose]:
        """The totes seen so far, in `base_link` at the time of a state of the robot."""
        base_from_odom = inverse(at.odom_from_base)
        turn = np.kron(np.eye(2), base_from_odom[:3, :3])
        return {name: ObjectPose(name, base_from_odom @ pose, turn @ covariance @ turn.T, stamp_s)
                for name, (stamp_s, pose, covariance) in self._seen.items()}  # fmt: skip
