"""What the scripted skills are made of: targets for hands, body and legs, from one look at the world to the next.

A motion is a generator: each `yield` is a target for one period, and each return from it a new look at the world.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np

from humanoid_control.errors import OrderError, SolverError
from humanoid_control.mission.factory import Factory, Order
from humanoid_control.mission.path_planning import FloorMap
from humanoid_control.robot_model import RobotModel
from humanoid_control.standing_body import UPRIGHT, BodyPosture, LimbKinematics
from humanoid_control.transforms import (
    from_pose, interpolated, inverse, planar, rotation_vector, to_pose, wrapped, yaw_of,
)  # fmt: skip
from humanoid_control.types import FRAME_BASE_FOOTPRINT, FRAME_ODOM, WholeBodyTarget
from humanoid_control.whole_body_control.controller import standing_posture
from perception.poses import surface_name
from policies.policy import Observation
from policies.scripted.grips import PosturePlanner
from policies.scripted.navigation import (
    CARRYING, SLOW_ZONE_SHARE, Tolerance, WalkingLimits, WayFollower, frame_from_map, person_ahead, velocity_to,
)  # fmt: skip
from policies.scripted.stepping_back import StepBack

OPEN = 0.09  # m between the pads
GRIP_FORCE = 20.0  # N
STANDOFF = 0.32  # m before the stance: the last stretch is straight
STANCE_TOLERANCE = Tolerance(0.035, 0.07)
STANDOFF_TOLERANCE = Tolerance(0.08, 0.12)
HAND_SPEED, HAND_TURN_SPEED = 0.30, 1.2  # m/s, rad/s
BODY_SPEED, BODY_TURN_SPEED = 0.15, 0.5  # m/s of squatting, rad/s of bending

Script = Generator[WholeBodyTarget, None, None]


class OrderFailedError(OrderError):
    """The order cannot be carried on; says why."""


class Motions:
    """Moves hands, body and legs of a robot that carries out an order.

    Args:
        model: the robot.
    """

    _factory: Factory
    _floor: FloorMap

    def __init__(self, model: RobotModel) -> None:
        self._postures = PosturePlanner(model)
        self._limbs = LimbKinematics(model)
        self._hanging = self._limbs.base_from_hands(standing_posture(model))
        self._waist_pitch = model.joint_names.index("waist_pitch_joint")

    def _begin(self, order: Order) -> None:
        """Nothing is seen yet, and nothing held."""
        self._order = order
        self._problem = ""
        self._posture = UPRIGHT
        self._hold: WholeBodyTarget | None = None
        self._held: tuple[np.ndarray, np.ndarray] | None = None  # hands in `base_footprint` while walking
        self._opening = OPEN
        self._odom_from_tote: np.ndarray | None = None
        self._tote_deviation = math.inf
        self._odom_from_totes: dict[str, np.ndarray] = {}
        self._odom_from_surface: dict[str, np.ndarray] = {}

    def _see(self, observation: Observation) -> None:
        """Takes an observation in: everything seen is kept in `odom`."""
        self._now = observation.stamp_s
        self._observation = observation
        estimate = observation.estimate
        odom_from_base = from_pose(np.concatenate([estimate.position, estimate.orientation]))
        self._odom_from_base = odom_from_base
        yaw = yaw_of(odom_from_base)
        self._pose = np.array([estimate.position[0], estimate.position[1], yaw])
        poses = observation.poses
        self._people: list[np.ndarray] = []
        if poses is None:
            return
        seen = poses.totes.get(self._order.tote)
        if seen is not None:
            self._odom_from_tote = odom_from_base @ seen.base_from_object
            self._tote_deviation = math.sqrt(max(float(np.linalg.eigvalsh(seen.covariance[:3, :3])[-1]), 0.0))
        self._odom_from_totes = {name: odom_from_base @ pose.base_from_object for name, pose in poses.totes.items()}
        for name, pose in poses.surfaces.items():
            self._odom_from_surface[name] = odom_from_base @ pose.base_from_object
        self._people = [(odom_from_base @ np.array([p[0], p[1], 0.0, 1.0]))[:2] for p in poses.people.values()]

    # --- where things are ---------------------------------------------------------------------------------------------

    def _odom_from_map(self) -> np.ndarray:
        """(4, 4) from the surfaces seen: where the map lies in `odom`."""
        return frame_from_map(self._factory, self._odom_from_surface, self._pose[:2])

    def _surface(self, station: str, shelf: int) -> np.ndarray:
        """(4, 4) odom_from_surface.

        Raises:
            OrderFailedError: if it was never seen.
        """
        name = surface_name(station, shelf)
        if name not in self._odom_from_surface:
            raise OrderFailedError(f"the pose of {name} was never seen")
        return self._odom_from_surface[name]

    def _measured_hands(self) -> tuple[np.ndarray, np.ndarray]:
        """(4, 4) each, in `base_footprint`, by the encoders."""
        footprint_from_base = inverse(self._footprint()) @ self._odom_from_base
        hands = self._limbs.base_from_hands(self._observation.state.joint_positions)
        return tuple(footprint_from_base @ hand for hand in hands)

    # --- targets ------------------------------------------------------------------------------------------------------

    def _target(self, *, velocity=None, hands=None, frame=FRAME_ODOM, opening=OPEN, hand_velocities=None) -> WholeBodyTarget:
        active = hands is not None
        poses = np.array([to_pose(h) for h in hands]) if active else np.tile([0.0, 0, 0, 0, 0, 0, 1], (2, 1))
        return WholeBodyTarget(
            stamp_s=self._now,
            frame=frame,
            base_velocity=np.zeros(3) if velocity is None else velocity,
            hand_poses=poses,
            hand_active=np.full(2, active),
            hand_velocities=np.zeros((2, 6)) if hand_velocities is None else hand_velocities,
            torso_pitch=self._posture.torso_pitch,
            pelvis_height=self._posture.pelvis_height,
            gripper_openings=np.full(2, opening),
            gripper_forces=np.full(2, GRIP_FORCE),
        )

    def _stand(self) -> WholeBodyTarget:
        """Stands still and leaves the hands to themselves, or where they were."""
        last = self._hold
        if last is not None and last.hand_active.any():
            return last.still(self._now)
        return self._target()

    def _footprint(self) -> np.ndarray:
        """(4, 4) odom_from_base_footprint."""
        return planar(*self._pose)

    def _actual_hands(self) -> tuple[np.ndarray, np.ndarray]:
        """(4, 4) each, odom_from_hand, as last wanted: they are followed to millimetres."""
        hands = tuple(from_pose(p) for p in self._hold.hand_poses)
        if self._hold.frame == FRAME_ODOM:
            return hands
        footprint = self._footprint()
        return tuple(footprint @ hand for hand in hands)

    def _bend_for(self, odom_from_hands: tuple[np.ndarray, np.ndarray], otherwise: BodyPosture | None = None) -> BodyPosture:
        """How to squat and bend for two hand poses, from where the base stands.

        Args:
            odom_from_hands: (4, 4) each.
            otherwise: the posture for hands that cannot quite get there; without it that is an error.
        """
        base_from_odom = inverse(self._footprint())
        try:
            return self._postures.plan(tuple(base_from_odom @ hand for hand in odom_from_hands))
        except SolverError:
            if otherwise is None:
                raise
            return otherwise

    def _move_hands(self, goals, *, posture=None, frame=FRAME_ODOM, opening=OPEN, speed=HAND_SPEED, settle=0.0, starts=None) -> Script:
        """Moves both hands straight to poses (4, 4), smoothly, the body along with them, and waits for them.

        Args:
            goals: where to, in `frame`.
            posture: the body's at the end; by default it stays as it is.
            frame: of the target.
            opening: m between the pads meanwhile.
            speed: m/s at the fastest.
            settle: s to wait at the end.
            starts: where from; by default where they were last wanted.
        """
        if starts is None:
            starts = tuple(from_pose(p) for p in self._hold.hand_poses) if self._hold.frame == frame else (
                self._actual_hands() if frame == FRAME_ODOM else tuple(inverse(self._footprint()) @ h for h in self._actual_hands()))  # fmt: skip
        distance = max(np.linalg.norm(g[:3, 3] - s[:3, 3]) for g, s in zip(goals, starts))
        turn = max(np.linalg.norm(rotation_vector(g[:3, :3] @ s[:3, :3].T)) for g, s in zip(goals, starts))
        body, posture = self._posture, posture or self._posture
        duration = max(1.9 * distance / speed, 1.9 * turn / HAND_TURN_SPEED, 0.2,
                       1.9 * abs(posture.pelvis_height - body.pelvis_height) / BODY_SPEED,
                       1.9 * abs(posture.torso_pitch - body.torso_pitch) / BODY_TURN_SPEED)  # fmt: skip
        begin = self._now
        while True:
            t = min((self._now - begin) / duration, 1.0)
            share = t**3 * (10 - 15 * t + 6 * t * t)
            rate = 30 * t * t * (1 - 2 * t + t * t) / duration
            self._posture = body.towards(posture, share)
            hands, velocities = [], np.zeros((2, 6))
            for side in (0, 1):
                hand = interpolated(starts[side], goals[side], share)
                velocities[side, :3] = rate * (goals[side][:3, 3] - starts[side][:3, 3])
                velocities[side, 3:] = rate * rotation_vector(goals[side][:3, :3] @ starts[side][:3, :3].T)
                hands.append(hand)
            yield self._target(hands=hands, frame=frame, opening=opening, hand_velocities=velocities)
            if self._now - begin >= duration + settle:
                return

    # --- walking ------------------------------------------------------------------------------------------------------

    def _walking_target(self, velocity: np.ndarray) -> WholeBodyTarget:
        """A step on the way, hands as they are held; stands still before a person, and slows down in a slow zone."""
        if self._person_in_the_way(velocity):
            velocity = np.zeros(3)
        elif self._floor.is_slow((inverse(self._odom_from_map()) @ np.array([*self._pose[:2], 0.0, 1.0]))[:2]):
            velocity = SLOW_ZONE_SHARE * velocity
        return self._target(velocity=velocity, hands=self._held, frame=FRAME_BASE_FOOTPRINT, opening=self._opening)

    def _come_to_a_stand(self) -> Script:
        begin = self._now
        while (self._observation.control.mode == "walking" and self._now - begin < 5.0) or self._now - begin < 0.3:
            yield self._walking_target(np.zeros(3))

    def _walk_back(self, distance: float) -> Script:
        """Walks straight backwards and comes to a stand."""
        step = StepBack(self._pose, distance, self._now)
        while (velocity := step.velocity(self._pose, self._now)) is not None:
            yield self._walking_target(velocity)
        yield from self._come_to_a_stand()

    def _person_in_the_way(self, velocity: np.ndarray) -> bool:
        ahead = [(inverse(self._footprint()) @ np.array([*person, 0.0, 1.0]))[:2] for person in self._people]
        distance = person_ahead(velocity, ahead)
        if distance is not None:
            self._problem = f"a person {distance:.1f} m ahead: waiting"
        return distance is not None

    def _walk_way(self, goal: np.ndarray, limits: WalkingLimits) -> Script:
        """Walks to a pose (x, y, yaw) in `odom` around everything."""
        odom_from_map = self._odom_from_map()
        map_from_odom = inverse(odom_from_map)

        def in_map(xy):
            return (map_from_odom @ np.array([xy[0], xy[1], 0.0, 1.0]))[:2]

        people = [in_map(p) for p in self._people]
        corners = self._floor.plan(in_map(self._pose[:2]), in_map(goal[:2]), people, carrying=limits == CARRYING)
        points = [(odom_from_map @ np.array([*corner, 0.0, 1.0]))[:2] for corner in corners]
        follower = WayFollower(points, goal[2])
        begin, replan = self._now, self._now
        while not follower.is_there(self._pose, STANDOFF_TOLERANCE):
            velocity = follower.velocity(self._pose, limits)
            waiting = self._person_in_the_way(velocity)
            yield self._walking_target(velocity)
            if waiting and self._now - replan > 2.0:  # round the person, if that is possible
                replan = self._now
                people = [in_map(p) for p in self._people]
                try:
                    corners = self._floor.plan(in_map(self._pose[:2]), in_map(goal[:2]), people, carrying=limits == CARRYING)
                    follower = WayFollower([(odom_from_map @ np.array([*c, 0.0, 1.0]))[:2] for c in corners], goal[2])
                except OrderError:
                    pass  # no way round: wait on
            if self._now - begin > 180.0:
                raise OrderFailedError("did not get there within 180 s")

    def _step_up(self, stance, limits: WalkingLimits) -> Script:
        """Walks the last, straight stretch to a stance that may still be refined on the way, and comes to a stand."""
        for _ in range(3):
            begin, arrived = self._now, None
            while arrived is None or self._now - arrived < 0.3:
                goal = stance()
                velocity = velocity_to(self._pose, goal, limits)
                near = np.linalg.norm(goal[:2] - self._pose[:2]) < 0.02 and abs(wrapped(goal[2] - self._pose[2])) < 0.04
                if near or self._now - begin > 12.0:
                    arrived = arrived or self._now
                yield self._walking_target(velocity)
            yield from self._come_to_a_stand()
            self._stood_at = self._footprint()  # bending moves the pelvis back, but not the feet
            goal = stance()
            if np.linalg.norm(goal[:2] - self._pose[:2]) < STANCE_TOLERANCE.position and (
                    abs(wrapped(goal[2] - self._pose[2])) < STANCE_TOLERANCE.yaw):  # fmt: skip
                return
            self._problem = "stands off its place: steps again"

    def _standoff(self, stance: np.ndarray) -> np.ndarray:
        return stance - STANDOFF * np.array([math.cos(stance[2]), math.sin(stance[2]), 0.0])

    def _back_off(self, distance: float = STANDOFF) -> Script:
        """Walks m backwards with the hands out of the way, then lets them hang."""
        self._held = tuple(inverse(self._footprint()) @ hand for hand in self._actual_hands())
        self._opening = OPEN
        yield from self._walk_back(distance)
        self._held = None
        self._posture = UPRIGHT
        yield from self._come_to_a_stand()
