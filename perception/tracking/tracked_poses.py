"""Totes and surfaces in `base_link` at any time: the tracker and localisation together, as a source of poses."""

from __future__ import annotations

from collections.abc import Sequence

from humanoid_control.mission.factory import Factory
from humanoid_control.types import BaseEstimate, RobotState
from perception.camera_rig import CameraRig, StateBuffer
from perception.landmarks import LandmarkSighting
from perception.localisation import Localiser
from perception.poses import PoseSet
from perception.tracking.sighting import ToteSighting
from perception.tracking.tote_tracker import ToteTracker


class TrackedPoses:
    """What every rung but the oracle gives: sightings of any rung go in, poses come out.

    Attributes:
        is_privileged: false; it knows images and the robot's own state only.
        states: of the robot; images are read with the state of their own time.
        localiser: map to odom.
        tracker: totes.
    """

    is_privileged = False

    def __init__(self, factory: Factory, rig: CameraRig) -> None:
        """Begins where the factory's file has the robot and the totes.

        Args:
            factory: as in its file.
            rig: the cameras.
        """
        self.states = StateBuffer()
        self.localiser = Localiser(factory, rig)
        self.tracker = ToteTracker(factory, rig)

    def take_state(self, state: RobotState, estimate: BaseEstimate) -> None:
        """Takes one measured state and the base estimate made of it; a clock set back begins everything anew."""
        if len(self.states) and state.stamp_s < self.states.newest.stamp_s:
            self.localiser.forget()
            self.tracker.forget()
        self.states.add(state, estimate)

    def take_sightings(self, totes: Sequence[ToteSighting], landmarks: Sequence[LandmarkSighting] = ()) -> None:
        """Takes in what one or several images showed.

        Args:
            totes: seen by any rung.
            landmarks: of stations.

        Raises:
            PerceptionError: a sighting is of something unknown, or the robot's state at its time is not known.
        """
        self._advance()
        self.localiser.take(landmarks, self.states)
        self.tracker.expect(self.localiser.odom_from_map, self.localiser.covariance)
        self.tracker.take(totes, self.states)
        self.localiser.take_totes(self.tracker.tracks.values())

    def read(self) -> PoseSet:
        """See `PoseSource.read`: at the time of the newest state.

        Raises:
            PerceptionError: no state of the robot has come yet.
        """
        self._advance()
        newest = self.states.newest
        return PoseSet(newest.stamp_s, totes=self.tracker.poses(newest), surfaces=self.localiser.surfaces(newest))

    def _advance(self) -> None:
        newest = self.states.newest
        self.localiser.advance(newest)
        self.tracker.advance(newest, self.localiser.odom_from_map)
