"""Where a learned policy has its tote's pose from: told by perception, or seen by its own eyes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
import onnxruntime

from humanoid_control.errors import OrderError
from humanoid_control.footprint import odom_from_footprint
from humanoid_control.mission.factory import Order
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.robot_model import RobotModel
from humanoid_control.standing_body import LimbKinematics
from humanoid_control.transforms import from_pose
from policies.learned.eyes import Eyes
from policies.learned.pose_space import STEP_S
from policies.learned.sight_space import (
    CORNERS_OF_KIND, PRIOR, SEEN, UNITS, Belief, Holding, Posture, cell_inputs, corrected_mean, kind_of, moved_mean, place_of, told_of,
)  # fmt: skip
from policies.policy import IMAGES, POSES, Observation

UNSURE_DEVIATION = 0.06  # m, of a belief, from which the whole image is searched for its tote
KNOWN_DEVIATION = 0.01  # m, of a belief, to which a tote that stands is known well enough to do without one camera
SEEN_S = 1.0  # s since a sighting was taken in, for which the tote counts as seen
Goal = Callable[[], np.ndarray]


class ToteSource(Protocol):
    """Who says where the order's tote is.

    Attributes:
        needs: observation fields, as of `Policy`.
        odom_from_tote: (4, 4) as last known; None before it is.
        is_seen: whether it is seen just now.
        told: (F,) what the network is told beside the pose.
    """

    needs: frozenset[str]
    odom_from_tote: np.ndarray | None
    is_seen: bool
    told: np.ndarray

    def forget(self) -> None:
        """Another episode begins."""

    def begin(self, order: Order) -> None:
        """An order begins, or goes on."""

    def look(self, observation: Observation, goal: Goal) -> str:
        """Takes an observation in; returns what is missing, empty if nothing is.

        Args:
            observation: now.
            goal: gives (G,) of `OrderSense` now.

        Raises:
            OrderError: the surface that the tote stands on was never seen, or a network says what is no number.
        """


class ToldTote:
    """The pose that perception tells. See `ToteSource`."""

    needs = frozenset({POSES})
    told = np.zeros(0, np.float32)

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """See `ToteSource.forget`."""
        self._order: Order | None = None
        self.odom_from_tote, self.is_seen = None, False

    def begin(self, order: Order) -> None:
        """See `ToteSource.begin`."""
        self._order, self.odom_from_tote, self.is_seen = order, None, False

    def look(self, observation: Observation, _goal: Goal) -> str:
        """See `ToteSource.look`."""
        poses = observation.poses
        seen = poses.totes.get(self._order.tote) if poses is not None else None
        self.is_seen = seen is not None
        if seen is not None:
            estimate = observation.estimate
            self.odom_from_tote = from_pose(np.concatenate([estimate.position, estimate.orientation])) @ seen.base_from_object
        return "" if self.odom_from_tote is not None else f"the pose of tote {self._order.tote}"


class SeenTote:
    """The pose that the student makes of what it sees itself: a belief that begins with the factory's file. See `ToteSource`.

    Args:
        model: the robot.
        eyes: of the student.
        network: that corrects the belief by sightings; see `training/sight_network.py`.
    """

    needs = frozenset({POSES, IMAGES})

    def __init__(self, model: RobotModel, eyes: Eyes, network: onnxruntime.InferenceSession) -> None:
        self._kinematics, self._eyes, self._network = LimbKinematics(model), eyes, network
        self._remembers = {given.name: given.shape for given in network.get_inputs()}["hidden"][1]
        self.forget()

    def forget(self) -> None:
        """See `ToteSource.forget`."""
        self._order: Order | None = None
        self._eyes.forget()
        self._begin_anew()

    def begin(self, order: Order) -> None:
        """See `ToteSource.begin`; what was seen for the same order stays."""
        if order is not self._order:
            self._order = order
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._belief: Belief | None = None
        self._holding, self._kind, self._next_s = Holding(), 0, -np.inf
        self._is_untouched = True
        self.odom_from_tote, self.is_seen, self.told = None, False, told_of(PRIOR, np.inf)

    def look(self, observation: Observation, goal: Goal) -> str:
        """See `ToteSource.look`."""
        now, rig = observation.stamp_s, observation.rig
        self._eyes.feel(observation)
        missing = self._eyes.missing(now, rig, is_known=self._is_known())
        if rig is None:
            return missing
        if now < self._next_s - 1.0:  # the clock went back
            self._begin_anew()
        posture = self._posture(observation)
        if self._belief is None:
            if observation.poses is None or not observation.poses.surfaces:
                return "the pose of any station"
            self._belief = self._expected(goal(), posture)
        self.odom_from_tote = self._holding.since(posture) @ self._belief.pose
        spread = np.sqrt(np.diag(self._belief.covariance)[:3].max()) * UNITS[0]
        self._eyes.look(observation.images, rig, self.odom_from_tote, tuple(LOAD_CARRIERS)[self._kind], is_held=self._holding.is_held,
                        is_unsure=not np.isfinite(self._belief.unseen_s) or spread > UNSURE_DEVIATION)  # fmt: skip
        if now >= self._next_s:
            self._next_s = now + STEP_S - 1e-6
            if not np.isfinite(self._belief.unseen_s) and not self._holding.is_held and observation.poses is not None:
                self._belief = self._expected(goal(), posture)  # its surface may be known better by now
            sightings = self._eyes.sightings(posture.odom_from_footprint, rig, is_held=self._holding.is_held)
            self._belief = believed(self._network, self._belief, self._holding, posture, sightings, self._kind)
            self._is_untouched &= not posture.feels
            if self._is_untouched and observation.poses is not None:
                expected = self._expected(goal(), posture)
                if is_of_another_level(self._belief.pose, expected.pose, self._kind):
                    self._belief = expected
            self.odom_from_tote = self._belief.pose
            self.is_seen, self.told = self._belief.unseen_s < SEEN_S, told_of(self._belief.deviation, self._belief.unseen_s)
        return missing

    def _is_known(self) -> bool:
        """Whether one camera may well be dazzled: hands or other cameras tell where the tote is, or it is known well enough to go on."""
        belief = self._belief
        return belief is not None and (self._holding.is_held or belief.unseen_s < SEEN_S or bool((belief.deviation[:3] < KNOWN_DEVIATION).all()))

    def _expected(self, goal: np.ndarray, posture: Posture) -> Belief:
        self._kind = kind_of(goal)
        return Belief.at(place_of(goal, posture.odom_from_footprint), self._remembers)

    def _posture(self, observation: Observation) -> Posture:
        state, estimate = observation.state, observation.estimate
        odom_from_base = from_pose(np.concatenate([estimate.position, estimate.orientation]))
        grippers = np.array([odom_from_base @ hand for hand in self._kinematics.base_from_hands(state.joint_positions)])
        return Posture(odom_from_footprint(estimate), grippers, state.gripper_openings, state.gripper_forces)


def is_of_another_level(odom_from_seen: np.ndarray, odom_from_expected: np.ndarray, kind: int) -> bool:
    """Whether what was seen is rather another tote of the same stack, or on another shelf.

    Where a tote stands across its surface is known to decimetres at first, how high it stands to less than half its own height.

    Args:
        odom_from_seen: (4, 4) the tote as seen,
        odom_from_expected: (4, 4) as the factory's file has it on its surface.
        kind: of the tote, by the order of `LOAD_CARRIERS`.
    """
    height = tuple(LOAD_CARRIERS.values())[kind].stacking_height
    return abs(float(odom_from_seen[2, 3] - odom_from_expected[2, 3])) > height / 2


def believed(network: onnxruntime.InferenceSession, belief: Belief, holding: Holding, posture: Posture, sightings: np.ndarray, kind: int) -> Belief:
    """The belief a step later.

    Args:
        network: that corrects it.
        belief: a step ago.
        holding: whether the hands hold the tote; goes on by the step.
        posture: now.
        sightings: (C, SIGHTING_SIZE) of `Eyes.sightings`.
        kind: of the tote, by the order of `LOAD_CARRIERS`.

    Raises:
        OrderError: the network says what is no number.
    """
    moved, variance, context = holding.step(posture, belief.pose, kind)
    belief = replace(belief, mean=moved_mean(belief.mean, moved))
    given = {
        "sightings": cell_inputs(sightings, posture.odom_from_footprint, belief.pose), "corners": CORNERS_OF_KIND[kind], "context": context,
        "variance": variance, "covariance": belief.covariance, "hidden": belief.hidden,
    }  # fmt: skip
    said = network.run(None, {name: np.asarray(each, np.float32)[None] for name, each in given.items()})
    correction, covariance, hidden, deviation = (each[0].astype(float) for each in said)
    if not all(np.isfinite(each).all() for each in (correction, covariance, hidden, deviation)):
        raise OrderError("the student's network of sightings says what is no number")
    unseen_s = 0.0 if sightings[:, SEEN].any() else belief.unseen_s + STEP_S
    return Belief(corrected_mean(belief.mean, correction), covariance, hidden, deviation, unseen_s)


