"""Where the factory's map lies in `odom`, from the stations the cameras see, and how high each surface really is.

Odometry drifts as the robot walks, and stations are not quite as high as the file says. One filter holds the map's place and
all heights, for a single edge tells how high or how far off a surface is, not which of both. What is seen must be where it
can be; what is refused makes the estimate unsure until the truth gets in again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.transforms import inverse, planar, swing, wrapped, yaw_of
from perception.camera_rig import CameraRig, RobotSnapshot, StateBuffer
from perception.errors import PerceptionError
from perception.landmarks import SurfaceSighting, map_surfaces
from perception.poses import ObjectPose
from perception.tracking import odometry_drift
from perception.tracking.expected_place import expected_place
from perception.tracking.shared_error_filter import Measurement, SharedErrorFilter, similarity
from perception.tracking.sighting import point_by_mounting, yaw_by_mounting
from perception.tracking.tote_track import ToteTrack

START_DEVIATION = np.array([0.05, 0.05, 0.08])  # m, m, rad of the robot's start, besides the file's spread
SPREAD_SHARE = 0.6  # of a file's half-width, as a standard deviation
HEIGHT_DEVIATION = 0.035  # m of a surface's height in the file
STATION_DEVIATION = np.array([3e-3, 3e-3, 1e-3, 5e-3])  # m, m, m, rad: how exactly stations stand where the file has them
BASE_HEIGHT_DEVIATION = 1.5e-3  # m: what the base's own height in `odom` errs from one moment to another
STANDING_NOISE = np.array([2e-4, 2e-4, 3e-4]) ** 2  # m^2/s and rad^2/s
GATE, PLACE_GATE, HEIGHT_GATE = 18.5, 16.3, 10.8  # squared Mahalanobis distance: 99.9% of chi-squared with 4, 3 and 1 freedoms
FIRST_SIGHTINGS = 2  # of a tote, after which it tells about where the map is
UNSURE = 0.10  # m, deviation of where a surface is expected, from which one line is as likely another's: then something else shall tell first,
PATIENCE_S = 3.0  # but for so long at most after the last thing that told,
START_PATIENCE_S = 10.0  # and after the first surface came in sight, while a tote that nobody moved may still tell
DOUBT, HEIGHT_DOUBT = np.array([0.02, 0.02, 0.015]) ** 2, 0.015**2  # what a refused surface adds
VIEW_ANGLE, VIEW_RATIO = 0.15, 0.15  # rad around a landmark and relative change of distance that make another view
SHORTEST_STEP_S = 0.018  # between two predictions
ON_SURFACE = 0.12  # m between a tote's bottom and the surface it may stand on
TOTE_SHARED = 0.9  # of the variance of a standing tote's height: it is the same as a moment ago
SMALLEST = 1e-14
TILT_DEVIATION = 0.005  # rad of a surface
PLANE = slice(0, 3)  # x, y and yaw of the map in the filter's state; the heights follow


@dataclass(frozen=True)
class LocalisationHealth:
    """What localisation did so far.

    Attributes:
        taken: surfaces that went in.
        refused: that were not where they could be.
    """

    taken: int
    refused: int


class Localiser:
    """Estimates map to odom and the heights of surfaces.

    Args:
        factory: as in its file.
        rig: the cameras.
    """

    def __init__(self, factory: Factory, rig: CameraRig) -> None:
        self._factory = factory
        self._rig = rig
        self._surfaces = map_surfaces(factory)
        self._rows = {name: PLANE.stop + k for k, name in enumerate(self._surfaces)}  # of a surface's height
        self.forget()

    def forget(self) -> None:
        """Begins anew."""
        self._filter: SharedErrorFilter | None = None
        self._last: RobotSnapshot | None = None
        self._views: dict[tuple[str, str], np.ndarray] = {}  # by camera and surface
        self._seen_s = dict.fromkeys(self._surfaces, -np.inf)
        self._taken = self._refused = 0
        self._untouched = {tote.name for tote in self._factory.totes}  # that stand where the file has them, and have not told yet
        self._is_placed = False  # by one of them
        self._told_s: float | None = None  # when anything told where the map is; at first, when a surface came in sight

    @property
    def health(self) -> LocalisationHealth:
        """What it did so far."""
        return LocalisationHealth(self._taken, self._refused)

    @property
    def odom_from_map(self) -> np.ndarray:
        """(4, 4).

        Raises:
            PerceptionError: it has not begun.
        """
        x, y, yaw = self._begun.mean[PLANE]
        return planar(x, y, yaw)

    @property
    def covariance(self) -> np.ndarray:
        """(3, 3) of x, y (m) and yaw (rad) of the map's origin in `odom`."""
        return self._begun.covariance[PLANE, PLANE]

    @property
    def _begun(self) -> SharedErrorFilter:
        if self._filter is None:
            raise PerceptionError("localisation has not begun: no state of the robot has come yet")
        return self._filter

    def advance(self, at: RobotSnapshot) -> None:
        """Brings the estimate to a state of the robot; the first one is at the start that the file gives."""
        if self._filter is None:
            self._begin(at)
        elif at.stamp_s >= self._last.stamp_s + SHORTEST_STEP_S:
            self._add_noise((at.stamp_s - self._last.stamp_s) * np.diag(STANDING_NOISE))
            length = odometry_drift.walked(self._last, at)
            if length:
                rows = [0, 1, 3]
                lost = odometry_drift.drift(length, self._filter.mean[:2] - at.odom_from_base[:2, 3])
                # All heights drift as one: it is the floor of `odom` that does.
                self._add_noise(lost[np.ix_(rows, rows)], height=float(lost[2, 2]))
        else:
            return
        self._last = at

    def _add_noise(self, plane: np.ndarray, *, height: float = 0.0) -> None:
        size = PLANE.stop + len(self._surfaces)
        noise = np.zeros((size, size))
        noise[PLANE, PLANE] = plane
        noise[PLANE.stop :, PLANE.stop :] = height
        self._filter.add_noise(noise)

    def _begin(self, at: RobotSnapshot) -> None:
        start = np.array(self._factory.robot.start)
        map_from_base = planar(*start)
        odom_from_base = planar(*at.odom_from_base[:2, 3], yaw_of(at.odom_from_base))
        odom_from_map = odom_from_base @ inverse(map_from_base)
        spread = START_DEVIATION + SPREAD_SHARE * np.array(self._factory.randomise.robot_start or np.zeros(3))
        # The start is off in the map's axes; a turn there swings the map's origin about the robot.
        arm = odom_from_map[:2, 3] - odom_from_base[:2, 3]
        jacobian = np.eye(3)
        jacobian[:2, :2] = odom_from_map[:2, :2]
        jacobian[:2, 2] = swing(arm)
        heights = [surface.map_from_surface[2, 3] for surface in self._surfaces.values()]
        mean = np.concatenate([odom_from_map[:2, 3], [yaw_of(odom_from_map)], heights])
        covariance = np.diag(np.full(len(mean), HEIGHT_DEVIATION**2))
        covariance[PLANE, PLANE] = jacobian @ np.diag(spread**2) @ jacobian.T
        self._filter = SharedErrorFilter(mean, covariance)

    def take(self, sightings: Sequence[SurfaceSighting], states: StateBuffer) -> None:
        """Takes in what cameras saw of stations.

        Args:
            sightings: of one or several images.
            states: of the robot, at the images' times.

        Raises:
            PerceptionError: a surface is not in the factory's file, a camera's state is not known, or it has not begun.
        """
        for sighting in sorted(sightings, key=lambda one: one.stamp_s):
            if sighting.name not in self._surfaces:
                raise PerceptionError(f"{sighting.camera} saw surface '{sighting.name}'; the factory has "
                                      f"{', '.join(self._surfaces)}")  # fmt: skip
            at = states.at(sighting.stamp_s)
            self._told_s = sighting.stamp_s if self._told_s is None else self._told_s
            if self._waits_with(sighting):
                continue
            odom_from_camera = at.odom_from_base @ self._rig.base_from_camera(sighting.camera, at.joint_positions)
            measurement = self._compared(sighting, odom_from_camera)
            if self._begun.distance(measurement)[0] > GATE:
                self._refused += 1
                self._add_noise(self._about_base(np.diag(DOUBT), at))
                self._doubt_height(sighting.name)
                continue
            self._begun.correct(measurement)
            if measurement.kept[self._own(sighting.name)][0] < 1:
                self._views[sighting.camera, sighting.name] = self._view(sighting.name, odom_from_camera)
            self._seen_s[sighting.name] = max(self._seen_s[sighting.name], sighting.stamp_s)
            self._taken += 1
            self._told_s = sighting.stamp_s

    def take_totes(self, tracks: Iterable[ToteTrack]) -> None:
        """Learns surfaces' heights from the totes that stand on them, and at first sight roughly where the map is.

        Args:
            tracks: of the tracker, in the same `odom`.
        """
        map_from_odom = inverse(self.odom_from_map)
        for track in tracks:
            if track.held:
                self._untouched.discard(track.name)
            if not track.is_seen or track.held:
                continue
            if track.name in self._untouched and track.sightings >= FIRST_SIGHTINGS:
                self._untouched.discard(track.name)
                self._correct_by_place(track)
            place = (map_from_odom @ track.pose)[:3, 3]
            below = [name for name, surface in self._surfaces.items() if self._is_over(surface, place)
                     and abs(track.position[2] - self._begun.mean[self._rows[name]]) < ON_SURFACE]  # fmt: skip
            if len(below) == 1:
                self._correct_height(below[0], f"tote/{track.name}", float(track.position[2]),
                                     float(track.filter.covariance[2, 2]))  # fmt: skip

    def surfaces(self, at: RobotSnapshot) -> dict[str, ObjectPose]:
        """Returns all surfaces of the file in `base_link`, at the time of a state of the robot."""
        base_from_odom = inverse(at.odom_from_base)
        odom_from_map, turn = self.odom_from_map, np.kron(np.eye(2), base_from_odom[:3, :3])
        place = [0, 1, 2, 5]  # x, y, z and yaw
        poses = {}
        for name in self._surfaces:
            odom_from_surface, by_state = self._expected(name, odom_from_map)
            in_odom = np.diag([0.0, 0.0, BASE_HEIGHT_DEVIATION**2, TILT_DEVIATION**2, TILT_DEVIATION**2, 0.0])
            in_odom[np.ix_(place, place)] += by_state @ self._begun.covariance @ by_state.T + np.diag(STATION_DEVIATION**2)
            poses[name] = ObjectPose(name, base_from_odom @ odom_from_surface, turn @ in_odom @ turn.T, self._seen_s[name])
        return poses

    # --- what is seen held against what is expected -------------------------------------------------------------------

    def _expected(self, name: str, odom_from_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(4, 4) odom_from_surface, and (4, n) how its x, y, z and yaw follow from the state."""
        odom_from_surface = odom_from_map @ self._surfaces[name].map_from_surface
        row = self._rows[name]
        odom_from_surface[2, 3] = self._begun.mean[row]
        arm = odom_from_surface[:2, 3] - odom_from_map[:2, 3]
        by_state = np.zeros((4, len(self._begun.mean)))
        by_state[0, 0] = by_state[1, 1] = by_state[2, row] = by_state[3, 2] = 1.0
        by_state[:2, 2] = swing(arm)
        return odom_from_surface, by_state

    def _waits_with(self, sighting: SurfaceSighting) -> bool:
        """Whether a surface had better not be taken in yet: which of its lines was seen cannot be told, and something else may soon help."""
        patience_s = START_PATIENCE_S if self._untouched and not self._is_placed else PATIENCE_S
        _, by_state = self._expected(sighting.name, self.odom_from_map)
        place = (by_state @ self._begun.covariance @ by_state.T)[:2, :2]
        return sighting.stamp_s - self._told_s < patience_s and float(np.linalg.eigvalsh(place)[-1]) > UNSURE**2

    def _compared(self, sighting: SurfaceSighting, odom_from_camera: np.ndarray) -> Measurement:
        seen = odom_from_camera @ sighting.camera_from_surface
        expected, by_state = self._expected(sighting.name, self.odom_from_map)
        innovation = np.append(seen[:3, 3] - expected[:3, 3], wrapped(yaw_of(seen) - yaw_of(expected)))
        select = np.zeros((4, 6))
        select[:3, :3], select[3, 3:] = odom_from_camera[:3, :3], odom_from_camera[2, :3]
        covariance = select @ sighting.covariance @ select.T + np.diag(STATION_DEVIATION**2)
        by_mounting = np.vstack([point_by_mounting(odom_from_camera, seen[:3, 3]), yaw_by_mounting(odom_from_camera)])
        # All that a camera sees shares its mounting error; what the network does wrong is each surface's own.
        size = 6 + 4 * len(self._surfaces)
        kept, shared, by_shared = np.ones(size), np.eye(size), np.zeros((4, size))
        own = self._own(sighting.name)
        kept[own] = similarity(self._view(sighting.name, odom_from_camera), self._views.get((sighting.camera, sighting.name)),
                               angle=VIEW_ANGLE, ratio=VIEW_RATIO)  # fmt: skip
        shared[:6, :6] = self._rig.mounting_covariance[sighting.camera]
        by_shared[:, :6] = by_mounting
        by_shared[:, own] = np.linalg.cholesky((1 - sighting.white_share) * covariance + SMALLEST * np.eye(4))
        return Measurement(sighting.camera, innovation, by_state, sighting.white_share * covariance, by_shared, shared, kept)

    def _own(self, name: str) -> slice:
        """Which of a camera's shared errors are those of one surface."""
        first = 6 + 4 * (self._rows[name] - PLANE.stop)
        return slice(first, first + 4)

    def _correct_by_place(self, track: ToteTrack) -> None:
        """A tote that nobody moved stands within centimetres of where the file has it: of two lines, that tells which is the edge."""
        expected, spread = expected_place(self._factory, track.name, self.odom_from_map)
        innovation = track.filter.mean - expected
        innovation[3] -= np.pi * np.round(innovation[3] / np.pi)
        arm = expected[:2] - self._begun.mean[:2]
        by_state = np.zeros((3, len(self._begun.mean)))
        by_state[0, 0] = by_state[1, 1] = by_state[2, 2] = 1.0
        by_state[:2, 2] = swing(arm)
        rows = [0, 1, 3]
        measurement = Measurement(f"place/{track.name}", innovation[rows], by_state, (spread + track.filter.covariance)[np.ix_(rows, rows)],
                                  np.zeros((3, 1)), np.eye(1), np.ones(1))  # fmt: skip
        if self._begun.distance(measurement)[0] < PLACE_GATE:
            self._begun.correct(measurement)
            self._is_placed, self._told_s = True, self._last.stamp_s

    def _correct_height(self, name: str, source: str, height: float, variance: float) -> None:
        by_state = np.zeros((1, len(self._begun.mean)))
        by_state[0, self._rows[name]] = 1.0
        innovation = np.array([height - self._begun.mean[self._rows[name]]])
        measurement = Measurement(source, innovation, by_state, np.array([[(1 - TOTE_SHARED) * variance]]),
                                  np.array([[np.sqrt(TOTE_SHARED * variance)]]), np.eye(1), np.ones(1))  # fmt: skip
        if self._begun.distance(measurement)[0] < HEIGHT_GATE:
            self._begun.correct(measurement)
        else:
            self._doubt_height(name)

    def _doubt_height(self, name: str) -> None:
        noise = np.zeros_like(self._begun.covariance)
        noise[self._rows[name], self._rows[name]] = HEIGHT_DOUBT
        self._begun.add_noise(noise)

    def _view(self, surface: str, odom_from_camera: np.ndarray) -> np.ndarray:
        odom_from_surface = self.odom_from_map @ self._surfaces[surface].map_from_surface
        return (inverse(odom_from_surface) @ odom_from_camera)[:3, 3]

    def _about_base(self, variance: np.ndarray, at: RobotSnapshot) -> np.ndarray:
        """(3, 3) of the map's origin, for an error (3, 3) of where the base is in the map."""
        arm = self._begun.mean[:2] - at.odom_from_base[:2, 3]
        jacobian = np.eye(3)
        jacobian[:2, 2] = swing(arm)
        return jacobian @ variance @ jacobian.T

    @staticmethod
    def _is_over(surface, place: np.ndarray) -> bool:
        on_surface = inverse(surface.map_from_surface) @ np.append(place, 1.0)
        return bool((np.abs(on_surface[:2]) < surface.half).all())
