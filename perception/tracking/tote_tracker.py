"""Where every tote is, at any time: tracks in `odom`, named after the factory's totes, fed by sightings of all cameras.

A tote that stands stays where it is; odometry drifts as the robot walks, and what hands are near may be pushed. A tote
that both hands hold moves with them, seen or not. Sightings without a name go to the track they fit best, all of an image
at once, and only where no other would do nearly as well. A track that is contradicted grows unsure until it believes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from humanoid_control.mission.factory import Conveyor, Factory
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.transforms import inverse, swing, yaw_of
from perception.camera_rig import CameraRig, RobotSnapshot, StateBuffer
from perception.errors import PerceptionError
from perception.poses import ObjectPose
from perception.tracking import hands, odometry_drift
from perception.tracking.expected_place import expected_place
from perception.tracking.sighting import ToteMeasurement, ToteSighting, measure
from perception.tracking.shared_error_filter import SharedErrorFilter
from perception.tracking.tote_track import GATE, ToteTrack

STANDING_NOISE = np.array([3e-4, 3e-4, 3e-4, 5e-4]) ** 2  # m^2/s and rad^2/s
HELD_NOISE = np.array([1e-3, 1e-3, 1e-3, 3e-3]) ** 2  # a gripped tote slips about a millimetre on its way
NEAR_HANDS_NOISE = np.array([8e-3, 8e-3, 3e-3, 0.02]) ** 2
CHANGE_OF_HANDS = np.array([4e-3, 4e-3, 4e-3, 0.01]) ** 2  # m^2, rad^2, when it is gripped and when it is let go
BELT_SHARE = 0.3  # of a belt's way, how far off a tote on it may be
BELT_HEIGHT = 0.08  # m from a belt to a tote that stands on it, at most
DOUBT = np.array([8e-3, 8e-3, 6e-3, 0.02]) ** 2  # what a contradiction adds
DOUBT_DISTANCE = 0.5  # m, farther from which a sighting contradicts no track
CLEAR_MARGIN = 6.0  # by which a sighting must fit a tote that was never seen better than any other
STRAY_COUNT, STRAY_AGE_S = 4, 3.0  # sightings that make a stray a tote, and how long one is remembered
LOST_S, LOST_LOOKS = 1.0, 4  # without a sighting, and looks at its place in vain, before a tote may be found elsewhere
IN_VAIN = np.array([6e-3, 6e-3, 3e-3, 0.01]) ** 2  # what each further look in vain adds, unless hands or what they hold may be in the way
APART = 0.8  # of a tote's width and height: nearer to another tote than that, there is no room for one
SHORTEST_STEP_S = 0.018  # between two predictions: nothing is gained by more of them
GONE_DEVIATION = 0.25  # m, beyond which a pose is not told
TILT_DEVIATION = 0.012  # rad, of a tote; nothing estimates it


@dataclass(frozen=True)
class TrackerHealth:
    """What the tracker did so far.

    Attributes:
        taken: sightings that went into tracks.
        refused: that fitted none.
        strays: sightings of totes nobody expected, remembered now.
    """

    taken: int
    refused: int
    strays: int


class ToteTracker:
    """Tracks a factory's totes.

    Args:
        factory: as in its file: totes, their kinds, and where they stand at the start.
        rig: the cameras.
    """

    def __init__(self, factory: Factory, rig: CameraRig) -> None:
        self._factory = factory
        self._rig = rig
        self._belts = [station for station in factory.stations if isinstance(station, Conveyor) and station.speed > 0]
        self.forget()

    def forget(self) -> None:
        """Begins anew: nothing was seen, and nothing is expected anywhere yet."""
        self.tracks: dict[str, ToteTrack] = {}
        self._strays: list[ToteTrack] = []
        self._last: RobotSnapshot | None = None
        self._hands: np.ndarray | None = None
        self._taken = self._refused = 0

    @property
    def health(self) -> TrackerHealth:
        """What it did so far."""
        return TrackerHealth(self._taken, self._refused, len(self._strays))

    def expect(self, odom_from_map: np.ndarray, covariance: np.ndarray) -> None:
        """Expects the totes that were never seen where the factory's file has them.

        Args:
            odom_from_map: (4, 4), as localisation has it.
            covariance: (3, 3) of its x, y (m) and yaw (rad), in `odom`.
        """
        for tote in self._factory.totes:
            track = self.tracks.get(tote.name)
            if track is not None and (track.is_seen or track.held):
                continue
            mean, variance = expected_place(self._factory, tote.name, odom_from_map)
            arm = mean[:2] - odom_from_map[:2, 3]
            jacobian = np.zeros((4, 3))
            jacobian[0, 0] = jacobian[1, 1] = jacobian[3, 2] = 1.0
            jacobian[:2, 2] = swing(arm)
            variance += jacobian @ covariance @ jacobian.T
            looks_in_vain = track.looks_in_vain if track is not None else 0
            self.tracks[tote.name] = ToteTrack(tote.name, tote.carrier, SharedErrorFilter(mean, variance),
                                               looks_in_vain=looks_in_vain)  # fmt: skip

    def advance(self, at: RobotSnapshot, odom_from_map: np.ndarray | None = None) -> None:
        """Brings all tracks to the time of a state of the robot; one that is hardly later than the last changes nothing.

        Args:
            at: the state.
            odom_from_map: (4, 4), for belts that run; None where that is not known.
        """
        if self._last is not None and at.stamp_s < self._last.stamp_s + SHORTEST_STEP_S:
            return
        grippers = hands.gripper_poses(self._rig, at)
        now = hands.frame_of_hands(grippers)
        if self._last is not None:
            self._drift(at)
            moved = now @ inverse(self._hands)
            elapsed_s = at.stamp_s - self._last.stamp_s
            for track in [*self.tracks.values(), *self._strays]:
                self._predict(track, grippers, moved, elapsed_s, odom_from_map)
        self._last, self._hands = at, now
        self._change_hands(at, grippers)
        self._strays = [stray for stray in self._strays if at.stamp_s - stray.seen_s < STRAY_AGE_S]

    def take(self, sightings: Sequence[ToteSighting], states: StateBuffer, *, looked_for: Collection[str] = ()) -> None:
        """Takes in what the cameras saw; images may be a little older than the newest `advance`.

        Args:
            sightings: of one or several images.
            states: of the robot, at the images' times.
            looked_for: names of the totes that would have been seen, were they where they should be and not hidden.

        Raises:
            PerceptionError: a sighting is of an unknown kind or tote, or the robot's state at its time is not known.
        """
        seen_before = {name: self.tracks[name].sightings for name in looked_for}
        images: dict[tuple[float, str], list[ToteSighting]] = {}
        for sighting in sightings:
            if sighting.kind not in LOAD_CARRIERS or (sighting.name and sighting.name not in self.tracks):
                raise PerceptionError(f"{sighting.camera} saw tote '{sighting.name}' of kind '{sighting.kind}'; known are kinds "
                                      f"{', '.join(LOAD_CARRIERS)} and totes {', '.join(self.tracks) or 'none'}")  # fmt: skip
            images.setdefault((sighting.stamp_s, sighting.camera), []).append(sighting)
        for (stamp_s, _), group in sorted(images.items()):
            self._take_image(group, states.at(stamp_s))
        for name, sightings_before in seen_before.items():
            track = self.tracks[name]
            track.looks_in_vain = 0 if track.sightings > sightings_before else track.looks_in_vain + 1
            if track.looks_in_vain > LOST_LOOKS and track.is_seen and not self._may_be_hidden(track):
                track.add_noise(IN_VAIN)

    def predicted(self, at: RobotSnapshot) -> dict[str, tuple[ToteTrack, np.ndarray]]:
        """Returns all tracks and (4, 4) odom_from_tote at the time of an image, which may be older than the last `advance`."""
        back = None
        if self._hands is not None and any(track.held for track in self.tracks.values()):
            back = hands.odom_from_hands(self._rig, at) @ inverse(self._hands)
        return {name: (track, back @ track.pose if track.held and back is not None else track.pose)
                for name, track in self.tracks.items()}  # fmt: skip

    def poses(self, at: RobotSnapshot) -> dict[str, ObjectPose]:
        """Returns the totes that are known well enough, in `base_link` at the time of a state of the robot.

        Args:
            at: no older than the last `advance`.
        """
        moved = hands.odom_from_hands(self._rig, at) @ inverse(self._hands) if self._hands is not None else np.eye(4)
        base_from_odom = inverse(at.odom_from_base)
        poses = {}
        for name, track in self.tracks.items():
            if not track.is_seen or np.linalg.eigvalsh(track.filter.covariance[:3, :3])[-1] > GONE_DEVIATION**2:
                continue
            odom_from_tote = moved @ track.pose if track.held else track.pose
            poses[name] = ObjectPose(name, base_from_odom @ odom_from_tote, _in_base(track, base_from_odom), track.seen_s)
        return poses

    def expected(self, at: RobotSnapshot) -> dict[str, ObjectPose]:
        """Returns the totes that were never seen, where the factory's file has them, in `base_link`."""
        base_from_odom = inverse(at.odom_from_base)
        return {name: ObjectPose(name, base_from_odom @ track.pose, _in_base(track, base_from_odom), -np.inf)
                for name, track in self.tracks.items() if not track.is_seen}  # fmt: skip

    # --- prediction -----------------------------------------------------------------------------------------------

    def _drift(self, at: RobotSnapshot) -> None:
        """What odometry loses on the way since the last state, of all that stands on the floor."""
        length = odometry_drift.walked(self._last, at)
        for track in [*self.tracks.values(), *self._strays]:
            if length and not track.held:
                track.add_noise(odometry_drift.drift(length, track.position[:2] - at.odom_from_base[:2, 3]))

    def _predict(self, track: ToteTrack, grippers: np.ndarray, moved: np.ndarray, elapsed_s: float, odom_from_map) -> None:
        if track.held:
            track.move(moved)
            track.add_noise(elapsed_s * HELD_NOISE)
            return
        track.add_noise(elapsed_s * STANDING_NOISE)
        if hands.nearest_hand(grippers, track.position) < _near(track):
            track.add_noise(elapsed_s * NEAR_HANDS_NOISE)
        if odom_from_map is not None and self._belts:
            self._ride(track, odom_from_map, elapsed_s)

    def _ride(self, track: ToteTrack, odom_from_map: np.ndarray, elapsed_s: float) -> None:
        """A tote on a belt that runs goes with it, until it leans on the stop at its end."""
        x, y, z = (inverse(odom_from_map) @ track.pose)[:3, 3]
        for belt in self._belts:
            across, along, _ = belt.in_station((x, y, 0.0))
            end = belt.size[1] / 2 - track.carrier.width / 2
            if (abs(across) > belt.size[0] / 2 or abs(along) > belt.size[1] / 2 or not -0.06 < z - belt.height < BELT_HEIGHT):
                continue
            way = belt.speed * elapsed_s
            heading = yaw_of(odom_from_map) + belt.yaw + np.pi / 2
            direction = np.array([np.cos(heading), np.sin(heading), 0.0, 0.0])
            if along < end:
                track.filter.transform(track.filter.mean + way * direction, np.eye(4))
            track.add_noise((BELT_SHARE**2 * belt.speed * way + 1e-12) * np.outer(direction, direction))
            return

    def _may_be_hidden(self, track: ToteTrack) -> bool:
        """Whether hands, or the tote in them, may be before it."""
        if any(other.held for other in self.tracks.values()):
            return True
        return hands.nearest_hand(hands.gripper_poses(self._rig, self._last), track.position) < _near(track)

    def _change_hands(self, at: RobotSnapshot, grippers: np.ndarray) -> None:
        """Finds out which tote the hands hold, if any."""
        holding = next((track for track in self.tracks.values() if track.held), None)
        if holding is not None:
            if not hands.grips_something(at, already=True):
                holding.held = False
                holding.add_noise(CHANGE_OF_HANDS)
                holding.forget_views()
            return
        if not hands.grips_something(at, already=False):
            return
        distances = {name: hands.grip_distance(grippers, track.pose, track.carrier) for name, track in self.tracks.items()}
        nearest = min(distances, key=distances.get, default=None)
        if nearest is not None and distances[nearest] < hands.GRIP_TOLERANCE:
            track = self.tracks[nearest]
            track.held = True
            track.add_noise(CHANGE_OF_HANDS)

    # --- sightings ------------------------------------------------------------------------------------------------

    def _take_image(self, group: list[ToteSighting], at: RobotSnapshot) -> None:
        """All sightings of one image; two of them are not of the same tote."""
        moved = None
        if self._hands is not None and any(track.held for track in self.tracks.values()):
            moved = self._hands @ inverse(hands.odom_from_hands(self._rig, at))
        standing = [measure(sighting, self._rig, at) for sighting in group]
        carried = standing if moved is None else [measure(sighting, self._rig, at, moved=moved) for sighting in group]

        def of(track: ToteTrack, index: int) -> ToteMeasurement:
            return carried[index] if track.held else standing[index]

        left = []
        for index, sighting in enumerate(group):
            if sighting.name:
                self._update(self.tracks[sighting.name], of(self.tracks[sighting.name], index))
            else:
                left.append(index)
        named = {sighting.name for sighting in group}
        free = [track for name, track in self.tracks.items() if name not in named]
        for index, track in _assign(left, free, of, group):
            self._update(track, of(track, index))
            left.remove(index)
        for index in left:
            self._take_stray(standing[index], free)

    def _update(self, track: ToteTrack, measurement: ToteMeasurement) -> None:
        if track.update(measurement):
            self._taken += 1
        else:
            self._refused += 1
            track.add_noise(DOUBT)

    def _take_stray(self, measurement: ToteMeasurement, free: list[ToteTrack]) -> None:
        """A sighting that fits no track: it makes a track near by doubt itself, and if it persists is a tote of its own."""
        self._refused += 1
        kind = LOAD_CARRIERS[measurement.sighting.kind]
        near = [track for track in free if track.carrier is kind and track.is_seen
                and np.linalg.norm(track.position - measurement.value[:3]) < DOUBT_DISTANCE]  # fmt: skip
        for track in near:
            track.add_noise(DOUBT)
        stray = next((stray for stray in self._strays if stray.carrier is kind and stray.distance(measurement)[0] < GATE), None)
        if stray is None:
            by_mounting = measurement.by_mounting
            covariance = measurement.covariance + by_mounting @ measurement.mounting_covariance @ by_mounting.T
            stray = ToteTrack("", kind, SharedErrorFilter(measurement.value.copy(), 4 * covariance))
            self._strays.append(stray)
        stray.update(measurement)
        if stray.sightings >= STRAY_COUNT:
            self._adopt(stray)

    def _adopt(self, stray: ToteTrack) -> None:
        """Gives a persistent stray the name of a tote that is missing, if only one can be meant.

        One that was not looked for is not missing; and where another tote is, there is no room for the stray.
        """
        if any(self._stands_in(stray, track) for track in self.tracks.values() if stray.seen_s - track.seen_s < LOST_S):
            return
        missing = [track for track in self.tracks.values() if track.carrier is stray.carrier and not track.held
                   and stray.seen_s - track.seen_s > LOST_S and track.looks_in_vain >= LOST_LOOKS]  # fmt: skip
        if len(missing) != 1:
            return
        lost = missing[0]
        stray.name = lost.name
        self.tracks[lost.name] = stray
        self._strays.remove(stray)

    @staticmethod
    def _stands_in(stray: ToteTrack, track: ToteTrack) -> bool:
        off = np.abs(stray.position - track.position)
        return bool(np.hypot(off[0], off[1]) < APART * track.carrier.width and off[2] < APART * track.carrier.height)


def _assign(indices: list[int], tracks: list[ToteTrack], of, group: list[ToteSighting]) -> list[tuple[int, ToteTrack]]:
    """Pairs the sightings of one image with tracks: those that together fit best, without those that are not clear."""
    if not indices or not tracks:
        return []
    costs = np.full((len(indices), len(tracks)), np.inf)
    for row, index in enumerate(indices):
        for column, track in enumerate(tracks):
            if track.carrier is LOAD_CARRIERS[group[index].kind]:
                distance, spread = track.distance(of(track, index))
                if distance < GATE:
                    costs[row, column] = distance + spread
    none = 1e6
    rows, columns = linear_sum_assignment(np.where(np.isfinite(costs), costs, none))
    chosen = [(row, column) for row, column in zip(rows, columns, strict=True) if np.isfinite(costs[row, column])]
    taken = {column for _, column in chosen}
    pairs = []
    for row, column in chosen:
        rivals = [k for k in range(len(tracks)) if not tracks[k].is_seen and k not in taken
                  and costs[row, k] - costs[row, column] < CLEAR_MARGIN]  # fmt: skip
        if tracks[column].is_seen or not rivals:
            pairs.append((indices[row], tracks[column]))
    return pairs


def _near(track: ToteTrack) -> float:
    """Distance (m) from a hand to a tote's middle, nearer than which the hand may push or hide it."""
    return hands.NEAR + track.carrier.length / 2


def _in_base(track: ToteTrack, base_from_odom: np.ndarray) -> np.ndarray:
    """(6, 6) covariance in `base_link`: a track's, and the tilt it does not estimate."""
    in_odom = np.zeros((6, 6))
    rows = [0, 1, 2, 5]
    in_odom[np.ix_(rows, rows)] = track.filter.covariance
    in_odom[3, 3] = in_odom[4, 4] = TILT_DEVIATION**2
    turn = np.kron(np.eye(2), base_from_odom[:3, :3])
    return turn @ in_odom @ turn.T
