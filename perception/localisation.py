"""Where the factory's map lies in `odom`, from the stations the cameras see, and how high each surface really is.

Odometry drifts as the robot walks, and stations are not quite as high as the file says. Surfaces with a name (tags) are
taken if they are where they can be. Corners and edges without one are matched to the file's: only within the gate, and only
where no other would do nearly as well. What is refused makes the estimate unsure until the truth gets in again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.transforms import inverse, planar, wrapped, yaw_of
from perception.camera_rig import CameraRig, RobotSnapshot, StateBuffer
from perception.errors import PerceptionError
from perception.landmarks import CornerSighting, EdgeSighting, LandmarkSighting, SurfaceSighting, map_surfaces
from perception.poses import ObjectPose
from perception.tracking import odometry_drift
from perception.tracking.shared_error_filter import Measurement, SharedErrorFilter, similarity
from perception.tracking.sighting import point_by_mounting, yaw_by_mounting
from perception.tracking.tote_track import ToteTrack

START_DEVIATION = np.array([0.05, 0.05, 0.08])  # m, m, rad of the robot's start, besides the file's spread
SPREAD_SHARE = 0.6  # of a file's half-width, as a standard deviation
HEIGHT_DEVIATION = 0.035  # m of a surface's height in the file
STATION_DEVIATION = np.array([3e-3, 3e-3, 5e-3])  # m, m, rad: how exactly stations stand where the file has them
BASE_HEIGHT_DEVIATION = 1.5e-3  # m: what the base's own height in `odom` errs from one moment to another
STANDING_NOISE = np.array([2e-4, 2e-4, 3e-4]) ** 2  # m^2/s and rad^2/s
GATES = {1: 10.8, 2: 13.8, 3: 16.3}  # squared Mahalanobis distance: 99.9% of chi-squared, by degrees of freedom
CLEAR_MARGIN = 6.0  # by which one corner or edge must fit better than all others
EDGE_OVERHANG = 0.10  # m that the middle of a piece of an edge may lie beyond its ends
DOUBT = np.array([0.02, 0.02, 0.015]) ** 2  # what a refused surface with a name adds
VIEW_ANGLE, VIEW_RATIO = 0.15, 0.15  # rad around a landmark and relative change of distance that make another view
SHORTEST_STEP_S = 0.018  # between two predictions
ON_SURFACE = 0.12  # m between a tote's bottom and the surface it may stand on
TOTE_SHARED = 0.9  # of the variance of a standing tote's height: it is the same as a moment ago
SMALLEST = 1e-14
TILT_DEVIATION = 0.005  # rad of a surface


@dataclass(frozen=True)
class LocalisationHealth:
    """What localisation did so far.

    Attributes:
        taken: landmarks that went in.
        refused: that fitted nothing.
        unclear: that could have been more than one thing.
    """

    taken: int
    refused: int
    unclear: int


@dataclass(frozen=True, eq=False)
class _Match:
    """A landmark held against one of the file's."""

    surface: str
    feature: str
    plane: Measurement  # of odom_from_map
    height: float
    height_variance: float
    height_by_mounting: np.ndarray  # (6,)
    distance: float


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
        self.forget()

    def forget(self) -> None:
        """Begins anew."""
        self._plane: SharedErrorFilter | None = None
        self._heights = {name: SharedErrorFilter(np.array([surface.map_from_surface[2, 3]]), np.array([[HEIGHT_DEVIATION**2]]))
                         for name, surface in self._surfaces.items()}  # fmt: skip
        self._last: RobotSnapshot | None = None
        self._views: dict[str, np.ndarray] = {}
        self._seen_s = dict.fromkeys(self._surfaces, -np.inf)
        self._counts = [0, 0, 0]

    @property
    def health(self) -> LocalisationHealth:
        """What it did so far."""
        return LocalisationHealth(*self._counts)

    @property
    def odom_from_map(self) -> np.ndarray:
        """(4, 4).

        Raises:
            PerceptionError: it has not begun.
        """
        x, y, yaw = self._begun.mean
        return planar(x, y, yaw)

    @property
    def covariance(self) -> np.ndarray:
        """(3, 3) of x, y (m) and yaw (rad) of the map's origin in `odom`."""
        return self._begun.covariance

    @property
    def _begun(self) -> SharedErrorFilter:
        if self._plane is None:
            raise PerceptionError("localisation has not begun: no state of the robot has come yet")
        return self._plane

    def advance(self, at: RobotSnapshot) -> None:
        """Brings the estimate to a state of the robot; the first one is at the start that the file gives."""
        if self._plane is None:
            self._begin(at)
        elif at.stamp_s >= self._last.stamp_s + SHORTEST_STEP_S:
            self._plane.add_noise((at.stamp_s - self._last.stamp_s) * np.diag(STANDING_NOISE))
            length = odometry_drift.walked(self._last, at)
            if length:
                rows = [0, 1, 3]
                lost = odometry_drift.drift(length, self._plane.mean[:2] - at.odom_from_base[:2, 3])
                self._plane.add_noise(lost[np.ix_(rows, rows)])
                for height in self._heights.values():
                    height.add_noise(lost[2:3, 2:3])
        else:
            return
        self._last = at

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
        jacobian[:2, 2] = -arm[1], arm[0]
        mean = np.append(odom_from_map[:2, 3], yaw_of(odom_from_map))
        self._plane = SharedErrorFilter(mean, jacobian @ np.diag(spread**2) @ jacobian.T)

    def take(self, sightings: Sequence[LandmarkSighting], states: StateBuffer) -> None:
        """Takes in what cameras saw of stations.

        Args:
            sightings: of one or several images.
            states: of the robot, at the images' times.

        Raises:
            PerceptionError: a surface is not in the factory's file, a camera's state is not known, or it has not begun.
        """
        for sighting in sorted(sightings, key=lambda one: one.stamp_s):
            at = states.at(sighting.stamp_s)
            odom_from_camera = at.odom_from_base @ self._rig.base_from_camera(sighting.camera, at.joint_positions)
            matches = list(self._matches(sighting, at, odom_from_camera))
            matches.sort(key=lambda match: match.distance)
            if not matches or matches[0].distance > GATES[len(matches[0].plane.innovation)]:
                self._counts[1] += 1
                if isinstance(sighting, SurfaceSighting):
                    self._begun.add_noise(self._about_base(np.diag(DOUBT), at))
            elif len(matches) > 1 and matches[1].distance - matches[0].distance < CLEAR_MARGIN:
                self._counts[2] += 1
            else:
                self._correct(matches[0], sighting, odom_from_camera)

    def take_totes(self, tracks: Iterable[ToteTrack]) -> None:
        """Learns surfaces' heights from the totes that stand on them.

        Args:
            tracks: of the tracker, in the same `odom`.
        """
        map_from_odom = inverse(self.odom_from_map)
        for track in tracks:
            if not track.is_seen or track.held:
                continue
            place = (map_from_odom @ track.pose)[:3, 3]
            below = [name for name, surface in self._surfaces.items() if self._is_over(surface, place)
                     and abs(track.position[2] - self._heights[name].mean[0]) < ON_SURFACE]  # fmt: skip
            if len(below) != 1:
                continue
            variance = float(track.filter.covariance[2, 2])
            self._correct_height(below[0], f"tote/{track.name}", float(track.position[2]), variance=variance,
                                 white_share=1 - TOTE_SHARED, kept=np.ones(1))  # fmt: skip

    def surfaces(self, at: RobotSnapshot) -> dict[str, ObjectPose]:
        """Returns all surfaces of the file in `base_link`, at the time of a state of the robot."""
        base_from_odom = inverse(at.odom_from_base)
        odom_from_map, turn = self.odom_from_map, np.kron(np.eye(2), base_from_odom[:3, :3])
        poses = {}
        for name, surface in self._surfaces.items():
            odom_from_surface = odom_from_map @ surface.map_from_surface
            odom_from_surface[2, 3] = self._heights[name].mean[0]
            jacobian = _by_map(odom_from_map, odom_from_surface[:2, 3])
            in_odom = np.zeros((6, 6))
            rows = [0, 1, 5]
            stands = np.diag(STATION_DEVIATION**2)
            in_odom[np.ix_(rows, rows)] = jacobian @ self.covariance @ jacobian.T + stands
            in_odom[2, 2] = self._heights[name].covariance[0, 0] + BASE_HEIGHT_DEVIATION**2
            in_odom[3, 3] = in_odom[4, 4] = TILT_DEVIATION**2
            poses[name] = ObjectPose(name, base_from_odom @ odom_from_surface, turn @ in_odom @ turn.T, self._seen_s[name])
        return poses

    # --- landmarks held against the file's ------------------------------------------------------------------------

    def _matches(self, sighting: LandmarkSighting, at: RobotSnapshot, odom_from_camera: np.ndarray) -> Iterable[_Match]:
        if isinstance(sighting, SurfaceSighting):
            if sighting.name not in self._surfaces:
                raise PerceptionError(f"{sighting.camera} saw surface '{sighting.name}'; the factory has "
                                      f"{', '.join(self._surfaces)}")  # fmt: skip
            yield self._hold_surface(sighting, odom_from_camera)
            return
        position = (at.odom_from_base @ np.append(sighting.position, 1.0))[:3]
        turn = at.odom_from_base[:3, :3]
        for name, surface in self._surfaces.items():
            odom_from_surface = self.odom_from_map @ surface.map_from_surface
            corners = surface.corners @ odom_from_surface[:2, :2].T + odom_from_surface[:2, 3]
            for index, corner in enumerate(corners):
                if isinstance(sighting, CornerSighting):
                    covariance = turn @ sighting.covariance @ turn.T
                    yield self._hold_corner(sighting, name, index, corner, position, covariance, odom_from_camera)
                else:
                    match = self._hold_edge(sighting, name, index, (corner, corners[(index + 1) % 4]), position,
                                            turn @ sighting.direction, odom_from_camera)  # fmt: skip
                    if match is not None:
                        yield match

    def _hold_surface(self, sighting: SurfaceSighting, odom_from_camera: np.ndarray) -> _Match:
        seen = odom_from_camera @ sighting.camera_from_surface
        expected = self.odom_from_map @ self._surfaces[sighting.name].map_from_surface
        innovation = np.append(seen[:2, 3] - expected[:2, 3], wrapped(yaw_of(seen) - yaw_of(expected)))
        select = np.zeros((4, 6))
        select[:3, :3], select[3, 3:] = odom_from_camera[:3, :3], odom_from_camera[2, :3]
        covariance = select @ sighting.covariance @ select.T
        by_mounting = np.vstack([point_by_mounting(odom_from_camera, seen[:3, 3]), yaw_by_mounting(odom_from_camera)])
        rows = [0, 1, 3]
        plane = covariance[np.ix_(rows, rows)] + np.diag(STATION_DEVIATION**2)
        return self._match(sighting, sighting.name, "whole", innovation, _by_map(self.odom_from_map, expected[:2, 3]), plane,
                           by_mounting[rows], float(seen[2, 3]), float(covariance[2, 2]), by_mounting[2],
                           odom_from_camera)  # fmt: skip

    def _hold_corner(self, sighting: CornerSighting, name: str, index: int, corner: np.ndarray, position: np.ndarray,
                     covariance: np.ndarray, odom_from_camera: np.ndarray) -> _Match:  # fmt: skip
        by_mounting = point_by_mounting(odom_from_camera, position)
        stands = np.diag(STATION_DEVIATION[:2] ** 2)
        return self._match(sighting, name, f"corner{index}", position[:2] - corner, _by_map(self.odom_from_map, corner)[:2],
                           covariance[:2, :2] + stands, by_mounting[:2], float(position[2]), float(covariance[2, 2]),
                           by_mounting[2], odom_from_camera)  # fmt: skip

    def _hold_edge(self, sighting: EdgeSighting, name: str, index: int, ends: tuple[np.ndarray, np.ndarray],
                   position: np.ndarray, direction: np.ndarray, odom_from_camera: np.ndarray) -> _Match | None:  # fmt: skip
        along = ends[1] - ends[0]
        length = float(np.linalg.norm(along))
        along = along / length
        normal = np.array([-along[1], along[0]])
        offset = position[:2] - ends[0]
        place = float(along @ offset)
        if not -EDGE_OVERHANG < place < length + EDGE_OVERHANG:
            return None
        heading = float(np.arctan2(direction[1], direction[0]) - np.arctan2(along[1], along[0]))
        innovation = np.array([normal @ offset, heading - np.pi * np.round(heading / np.pi)])
        foot = ends[0] + place * along
        by_map = _by_map(self.odom_from_map, foot)
        by_state = np.vstack([normal @ by_map[:2], by_map[2]])
        by_point = point_by_mounting(odom_from_camera, position)
        by_mounting = np.vstack([normal @ by_point[:2], yaw_by_mounting(odom_from_camera)])
        rows = [0, 2]
        covariance = sighting.covariance[np.ix_(rows, rows)] + np.diag(STATION_DEVIATION[[0, 2]] ** 2)
        return self._match(sighting, name, f"edge{index}", innovation, by_state, covariance, by_mounting, float(position[2]),
                           float(sighting.covariance[1, 1]), by_point[2], odom_from_camera)  # fmt: skip

    def _match(self, sighting, name: str, feature: str, innovation, by_state, covariance, by_mounting, height: float,
               height_variance: float, height_by_mounting: np.ndarray, odom_from_camera: np.ndarray) -> _Match:  # fmt: skip
        size = len(innovation)
        source = f"{sighting.camera}/{name}/{feature}"
        kept = np.ones(6 + size)
        kept[6:] = similarity(self._view(name, odom_from_camera), self._views.get(source), angle=VIEW_ANGLE, ratio=VIEW_RATIO)
        shared = np.eye(6 + size)
        shared[:6, :6] = self._rig.mounting_covariance[sighting.camera]
        root = np.linalg.cholesky((1 - sighting.white_share) * covariance + SMALLEST * np.eye(size))
        plane = Measurement(source, innovation, by_state, sighting.white_share * covariance, np.hstack([by_mounting, root]),
                            shared, kept)  # fmt: skip
        distance = self._begun.distance(plane)[0]
        known = self._heights[name]
        mounting_variance = float(height_by_mounting @ shared[:6, :6] @ height_by_mounting)
        spread = known.covariance[0, 0] + height_variance + mounting_variance
        above = (height - float(known.mean[0])) ** 2 / spread
        if above > GATES[1]:  # height tells shelves apart: too far off, it is another surface
            distance += above
        return _Match(name, feature, plane, height, height_variance, height_by_mounting, distance)

    def _correct(self, match: _Match, sighting: LandmarkSighting, odom_from_camera: np.ndarray) -> None:
        self._begun.correct(match.plane)
        if match.plane.kept[6] < 1:
            self._views[match.plane.source] = self._view(match.surface, odom_from_camera)
        mounting = self._rig.mounting_covariance[sighting.camera]
        variance = match.height_variance + float(match.height_by_mounting @ mounting @ match.height_by_mounting)
        self._correct_height(match.surface, match.plane.source, match.height, variance=variance, white_share=sighting.white_share,
                             kept=match.plane.kept[6:7])  # fmt: skip
        self._seen_s[match.surface] = max(self._seen_s[match.surface], sighting.stamp_s)
        self._counts[0] += 1

    def _correct_height(
        self, name: str, source: str, height: float, *, variance: float, white_share: float, kept: np.ndarray
    ) -> None:
        known = self._heights[name]
        measurement = Measurement(source, np.array([height - known.mean[0]]), np.eye(1), np.array([[white_share * variance]]),
                                  np.array([[np.sqrt((1 - white_share) * variance)]]), np.eye(1), kept)  # fmt: skip
        if known.distance(measurement)[0] < GATES[1]:
            known.correct(measurement)

    def _view(self, surface: str, odom_from_camera: np.ndarray) -> np.ndarray:
        odom_from_surface = self.odom_from_map @ self._surfaces[surface].map_from_surface
        return (inverse(odom_from_surface) @ odom_from_camera)[:3, 3]

    def _about_base(self, variance: np.ndarray, at: RobotSnapshot) -> np.ndarray:
        """(3, 3) of the map's origin, for an error (3, 3) of where the base is in the map."""
        arm = self._begun.mean[:2] - at.odom_from_base[:2, 3]
        jacobian = np.eye(3)
        jacobian[:2, 2] = -arm[1], arm[0]
        return jacobian @ variance @ jacobian.T

    @staticmethod
    def _is_over(surface, place: np.ndarray) -> bool:
        on_surface = inverse(surface.map_from_surface) @ np.append(place, 1.0)
        return bool((np.abs(on_surface[:2]) < surface.half).all())


def _by_map(odom_from_map: np.ndarray, point: np.ndarray) -> np.ndarray:
    """(3, 3) how a frame at `point` (2,) in `odom` that is fixed to the map moves with the map's x, y and yaw."""
    arm = point - odom_from_map[:2, 3]
    jacobian = np.eye(3)
    jacobian[:2, 2] = -arm[1], arm[0]
    return jacobian
