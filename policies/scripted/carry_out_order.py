"""The scripted policy: fetches a tote and brings it where its order says, checking after each step.

The order's script is a generator that reads like instructions to a person: each `yield` is a target for one period, and
each return from it a new look at the world. Its only privileged input is the pose source it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np

from humanoid_control.errors import FactoryError, OrderError, SolverError
from humanoid_control.mission.factory import Conveyor, Factory, Order
from humanoid_control.mission.path_planning import FloorMap
from humanoid_control.mission.placement import Placement, initial_placements, is_to_be_pulled, ordered_placement
from humanoid_control.mission.reach import (
    HAND_WIDTH, HEAVY, SLOW, WRIST_WIDTH, bearable_reach, free_height, leg_distance, pull_reach, working_height,
)  # fmt: skip
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import (
    from_pose, interpolated, inverse, planar, rotation_vector, to_pose, wrapped, yaw_of,
)  # fmt: skip
from humanoid_control.types import FRAME_BASE_FOOTPRINT, FRAME_ODOM, WholeBodyTarget
from perception.poses import surface_name
from policies.policy import DONE, FAILED, RUNNING, Observation, PolicyOutput
from policies.scripted.grips import (
    CARRY_DISTANCE, CARRY_GRIP_HEIGHT, EDGE_DISTANCE, GRIP_OPENING, LIP_OPENING, READY, STANCE_DISTANCE, UPRIGHT, BodyPosture,
    HandKinematics, PosturePlanner, hand_at_near_lip, hand_in_tote, tote_from_hands,
)  # fmt: skip
from policies.scripted.navigation import CARRYING, EMPTY_HANDED, STEPPING_UP, Tolerance, WalkingLimits, WayFollower, velocity_to

PERIOD_S = 0.02
OPEN = 0.09  # m between the pads
GRIP_FORCE = 20.0  # N
STANDOFF = 0.32  # m before the stance: the last stretch is straight
CLEARANCE = 0.05  # m under the tote, at least, when it leaves or comes in over a surface
EASY_GRIP_HEIGHT = 0.80  # m of the hands: from here on walking needs no squat
EASY_BOTTOM = 0.65  # m of a tote: from here on gripping needs no squat
STANCE_TOLERANCE = Tolerance(0.035, 0.07)
STANDOFF_TOLERANCE = Tolerance(0.08, 0.12)
HAND_SPEED, HAND_TURN_SPEED = 0.30, 1.2  # m/s, rad/s
BODY_SPEED, BODY_TURN_SPEED = 0.15, 0.5  # m/s of squatting, rad/s of bending
MAX_TRIES = 3
SURE, TOO_UNSURE, LOOK_S = 0.012, 0.03, 3.0  # m of deviation of a tote's place, and s that it takes to look for less
REACH_SLACK = 0.03  # m of reach too far that is not worth pulling or pushing a tote
LIP_READY_DISTANCE = 0.43  # m from the base to the middle of a tote whose near lip the hands have close to the body
LIP_LIFT, LIP_LIFT_SPEED, PULL_SPEED = 0.02, 0.04, 0.10  # m, m/s, m/s (reached within 1 s)
PULLED_TO = (0.04, 0.07)  # m from a surface's front edge to a tote that was pulled there, at least and at most
PERSON_STOP_DISTANCE = 0.9  # m
BESIDE = 0.06  # m that a hand comes and goes beside a tote
HAND_HALF_HEIGHT = 0.075  # m, of an open hand on its side, and what it is kept off

Script = Generator[WholeBodyTarget, None, None]


class OrderFailedError(OrderError):
    """The order cannot be carried on; says why."""


class CarryOutOrder:
    """Carries out one order at a time, by hand-written skills. See `policies.policy.Policy`."""

    name = "scripted"
    needs = frozenset({"poses"})
    period_s = PERIOD_S

    def __init__(self, model: RobotModel) -> None:
        """Prepares the skills.

        Args:
            model: the robot.
        """
        self._postures = PosturePlanner(model)
        self._hand_kinematics = HandKinematics(model)
        self._placements: dict[str, Placement] | None = None
        self._factory: Factory | None = None

    def forget(self) -> None:
        """See `Policy.forget`."""
        self._factory = None

    def reset(self, factory: Factory, order: Order) -> None:
        """See `Policy.reset`."""
        try:
            self._tote = factory.tote(order.tote)
            factory.station(order.to)
            if order.on is not None:
                factory.tote(order.on)
        except FactoryError as error:
            raise OrderError(str(error)) from None
        if factory is not self._factory:
            self._factory = factory
            self._floor = FloorMap(factory)
            self._placements = initial_placements(factory)
        self._order = order
        place = ordered_placement(factory, order, self._placements)
        if place is None:
            raise OrderError(f"There is no free place for {order.tote} on {order.to}.")
        self._place = place
        source = self._placements[order.tote]
        self._source_station = factory.station(source.station)
        self._source_shelf = source.shelf
        self._script: Script | None = None
        self._posture = UPRIGHT
        self._subtask, self._reason, self._next, self._problem, self._progress = "start", "a new order", "approach", "", 0.0
        self._outcome, self._detail = RUNNING, ""
        self._hold: WholeBodyTarget | None = None
        self._held: tuple[np.ndarray, np.ndarray] | None = None  # hands in `base_footprint` while walking
        self._opening = OPEN
        self._odom_from_tote: np.ndarray | None = None
        self._tote_deviation = math.inf
        self._odom_from_surface: dict[str, np.ndarray] = {}

    # --- the interface ------------------------------------------------------------------------------------------------

    def act(self, observation: Observation) -> PolicyOutput:
        """See `Policy.act`."""
        self._see(observation)
        if self._script is None:
            self._script = self._carry_out()
        if self._outcome == RUNNING:
            try:
                self._hold = next(self._script)
            except StopIteration:
                self._outcome, self._progress = DONE, 1.0
                self._placements[self._order.tote] = self._place
                self._hold = self._stand()
            except (OrderError, SolverError) as error:
                self._outcome, self._detail = FAILED, str(error)
                self._problem = str(error)
                self._hold = self._stand()
        else:
            self._hold = self._stand()
        return PolicyOutput(
            targets=(self._hold,), period_s=PERIOD_S, subtask=self._subtask, reason=self._reason, next_subtask=self._next,
            problem=self._problem, progress=self._progress, outcome=self._outcome, detail=self._detail,
        )  # fmt: skip

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

    # --- the script ---------------------------------------------------------------------------------------------------

    def _carry_out(self) -> Script:
        yield from self._wait_for_poses()
        if self._is_to_be_pulled():
            yield from self._until_it_works(self._pull_to_edge)
        yield from self._until_it_works(self._take)
        self._say("step_back", "there is room behind", "carry", 0.4)
        yield from self._step_back_with_tote()
        self._say("carry", f"{self._place.station} wants it", "align", 0.5)
        yield from self._carry()
        self._say("align", "the place is ahead", "set_down", 0.75)
        yield from self._align_to_place()
        self._say("set_down", "the tote is above its place", "let_go", 0.8)
        yield from self._set_down()
        self._say("let_go", "the tote stands", "step_back", 0.9)
        yield from self._let_go()
        self._say("step_back", "hands are free", "", 0.95)
        yield from self._back_off()

    def _until_it_works(self, skill: Callable[[], Generator[WholeBodyTarget, None, bool]]) -> Script:
        """Tries a skill, which returns whether it worked; if not, `_problem` says why.

        Raises:
            OrderFailedError: it never works.
        """
        for _ in range(MAX_TRIES):
            if (yield from skill()):
                return
        raise OrderFailedError(f"gave up after {MAX_TRIES} tries: {self._problem}")

    def _take(self) -> Generator[WholeBodyTarget, None, bool]:
        """Fetches the tote off its surface, by the lips of its short sides."""
        self._say("approach", f"{self._order.tote} is on {self._source_station.name}", "reach", 0.05)
        yield from self._walk_way(self._standoff(self._grip_stance()), EMPTY_HANDED)
        self._say("ready", "the station is ahead", "reach", 0.1)
        yield from self._raise_hands()
        yield from self._step_up(self._grip_stance, STEPPING_UP)
        yield from self._until_sure()
        self._say("reach", "the tote is within reach", "grip", 0.2)
        yield from self._reach()
        self._say("grip", "the fingers are above and below both lips", "lift", 0.3)
        yield from self._close_fingers()
        if self._has_grip():
            if self._too_far_to_lift() > 0.0:
                self._say("draw_near", "the tote is too far away to be lifted", "lift", 0.32)
                yield from self._drag(-self._too_far_to_lift())
            self._say("lift", "both lips are between the pads", "step_back", 0.35)
            yield from self._lift()
            if self._is_lifted():
                return True
            self._problem = "the tote did not come along"
        else:
            self._problem = f"missed the grip: pads {self._openings_text()} apart"
        self._say("let_go", self._problem, "approach", 0.2)
        yield from self._let_go()
        yield from self._back_off()
        return False

    def _pull_to_edge(self) -> Generator[WholeBodyTarget, None, bool]:
        """Pulls a tote that stands too far back over its surface, by its near lip, to where it can be gripped as usual."""
        self._say("approach", f"{self._order.tote} stands far back on {self._source_station.name}", "reach_lip", 0.01)
        yield from self._walk_way(self._standoff(self._pull_stance()), EMPTY_HANDED)
        self._say("ready", "the station is ahead", "reach_lip", 0.015)
        yield from self._raise_hands_before_lip()
        yield from self._step_up(self._pull_stance, STEPPING_UP)
        yield from self._until_sure()
        self._say("reach_lip", "no more than its near lip is within reach", "grip_lip", 0.02)
        yield from self._reach_lip()
        self._say("grip_lip", "the fingers are above and below the near lip", "pull", 0.025)
        yield from self._close_fingers()
        if self._has_grip(LIP_OPENING):
            self._say("pull", "the near lip is between the pads", "let_go", 0.03)
            yield from self._pull(self._pull_distance())
            if self._is_to_be_pulled():
                self._problem = "the tote did not come to the edge"
        else:
            self._problem = f"missed the near lip: pads {self._openings_text()} apart"
        is_near = not self._is_to_be_pulled()
        self._say("let_go", "the tote is at the edge" if is_near else self._problem, "step_back", 0.035)
        yield from self._open_fingers()
        self._say("step_back", "hands are free", "approach", 0.04)
        over = max(self._behind_edge(self._source_station, hand)[0] for hand in self._actual_hands())
        yield from self._back_off(over + HAND_HALF_HEIGHT)
        return is_near

    def _say(self, subtask: str, reason: str, next_subtask: str, progress: float) -> None:
        self._subtask, self._reason, self._next, self._progress = subtask, reason, next_subtask, progress

    # --- where things are ---------------------------------------------------------------------------------------------

    def _wait_for_poses(self) -> Script:
        started = self._now
        while self._odom_from_tote is None or not self._odom_from_surface:
            if self._now - started > 5.0:
                what = f"tote {self._order.tote}" if self._odom_from_tote is None else "station"
                raise OrderFailedError(f"no pose of any {what} came within 5 s")
            yield self._stand()

    def _until_sure(self) -> Script:
        """Stands and looks until the tote's place is known well enough to reach for it.

        Raises:
            OrderFailedError: it is known too badly for that.
        """
        begin = self._now
        while self._tote_deviation > SURE and self._now - begin < LOOK_S:
            self._problem = f"looks again: knows where {self._order.tote} is to {1000 * self._tote_deviation:.0f} mm only"
            yield self._walking_target(np.zeros(3))
        if self._tote_deviation > TOO_UNSURE:
            raise OrderFailedError(f"does not see {self._order.tote} well enough: to {1000 * self._tote_deviation:.0f} mm, "
                                   f"{1000 * TOO_UNSURE:.0f} mm are needed")  # fmt: skip

    def _odom_from_map(self) -> np.ndarray:
        """(4, 4) from the surfaces seen: where the map lies in `odom`."""
        nearest, best = None, math.inf
        for station in self._factory.stations:
            for shelf in range(len(station.surfaces)):
                seen = self._odom_from_surface.get(surface_name(station.name, shelf))
                if seen is None:
                    continue
                distance = float(np.linalg.norm(seen[:2, 3] - self._pose[:2]))
                if distance < best:
                    floor = planar(seen[0, 3], seen[1, 3], yaw_of(seen))
                    nearest, best = floor @ inverse(station.map_from_station), distance
        return nearest

    def _surface(self, station: str, shelf: int) -> np.ndarray:
        """(4, 4) odom_from_surface.

        Raises:
            OrderFailedError: if it was never seen.
        """
        name = surface_name(station, shelf)
        if name not in self._odom_from_surface:
            raise OrderFailedError(f"the pose of {name} was never seen")
        return self._odom_from_surface[name]

    def _tote_facing(self, station_yaw: float) -> np.ndarray:
        """(4, 4) odom_from_tote, of its two equal orientations the one that faces as the station does."""
        tote = self._odom_from_tote
        if abs(wrapped(yaw_of(tote) - station_yaw)) > math.pi / 2:
            tote = tote @ planar(0.0, 0.0, math.pi)
        return tote

    def _source_tote(self) -> np.ndarray:
        return self._tote_facing(yaw_of(self._surface(self._source_station.name, self._source_shelf)))

    def _goal_tote(self) -> np.ndarray:
        """(4, 4) odom_from_tote when it stands where it shall."""
        place = self._place
        surface = self._surface(place.station, place.shelf)
        if place.on is not None:
            below = self._odom_from_totes[place.on]
            if abs(wrapped(yaw_of(below) - yaw_of(surface))) > math.pi / 2:
                below = below @ planar(0.0, 0.0, math.pi)
            height = below[2, 3] + self._factory.tote(place.on).carrier.stacking_height
            return planar(below[0, 3], below[1, 3], yaw_of(below), height)
        x, y, yaw = place.pose
        return planar(surface[0, 3], surface[1, 3], yaw_of(surface), surface[2, 3]) @ planar(x, y, yaw)

    def _stance_distance(self, station, odom_from_tote: np.ndarray, *, reach: float | None = None) -> float:
        """Metres from the base to the middle of a tote that is handled on a station.

        Args:
            station: what the tote stands on.
            odom_from_tote: (4, 4).
            reach: m from the base up to which the tote is handled with ease; by default as the waist bears it.
        """
        reach = self._bearable_reach(float(odom_from_tote[2, 3])) if reach is None else reach
        behind_edge, _ = self._behind_edge(station, odom_from_tote)
        # For a tote far behind the edge it stands as near as its legs may, for a near one as the waist bears it best.
        return max(STANCE_DISTANCE, min(behind_edge + EDGE_DISTANCE, reach), behind_edge + self._leg_distance(station, odom_from_tote))

    def _leg_distance(self, station, odom_from_tote: np.ndarray) -> float:
        """Metres from a station's front edge at which legs keep off it where a tote on it is handled."""
        _, y = self._behind_edge(station, odom_from_tote)
        raised = float(self._surface(station.name, 0)[2, 3]) - station.surface_height(0)
        return leg_distance(station, y, raised=raised, pelvis_height=working_height(float(odom_from_tote[2, 3])))

    def _behind_edge(self, station, odom_from_object: np.ndarray) -> tuple[float, float]:
        """Metres from a station's front edge to a tote's or a hand's middle, and from the station's middle to its left."""
        at = inverse(self._surface(station.name, 0)) @ odom_from_object
        return float(at[0, 3]) - station.front_x, float(at[1, 3])

    def _bearable_reach(self, bottom: float) -> float:
        """Metres from the base at which the waist bears the tote, taken for heavy until it has been lifted."""
        carried = float(self._observation.control.payload_masses.sum())
        return bearable_reach(self._tote.carrier, carried if self._progress >= 0.4 else HEAVY, bottom)

    def _beyond_reach(self, odom_from_tote: np.ndarray, bottom: float) -> float:
        """Metres by which a tote at a height in m is further away than the waist bears it; 0 if it is not."""
        offset = (inverse(self._stood_at) @ odom_from_tote)[0, 3] - self._bearable_reach(bottom)
        return float(offset) if offset > REACH_SLACK else 0.0

    def _too_far_to_lift(self) -> float:
        """Metres by which the tote has to be drawn near before it is lifted."""
        tote = self._source_tote()
        return self._beyond_reach(tote, float(tote[2, 3]))

    def _forward(self, distance: float) -> np.ndarray:
        """(3,) m in `odom`, that far ahead."""
        return distance * np.array([math.cos(self._pose[2]), math.sin(self._pose[2]), 0.0])

    def _stance_before(self, station, odom_from_tote: np.ndarray, *, reach: float | None = None) -> np.ndarray:
        """(3,) base pose (x, y, yaw) in `odom` from which a tote is handled; arguments as of `_stance_distance`."""
        yaw, distance = yaw_of(odom_from_tote), self._stance_distance(station, odom_from_tote, reach=reach)
        x, y = odom_from_tote[:2, 3] - distance * np.array([math.cos(yaw), math.sin(yaw)])
        return np.array([x, y, yaw])

    def _grip_stance(self) -> np.ndarray:
        return self._stance_before(self._source_station, self._source_tote())

    def _pull_stance(self) -> np.ndarray:
        tote = self._source_tote()
        return self._stance_before(self._source_station, tote, reach=pull_reach(self._tote.carrier, float(tote[2, 3])))

    def _is_to_be_pulled(self) -> bool:
        """Whether the tote stands too far back to be gripped as usual, where it can be pulled."""
        at = inverse(self._surface(self._source_station.name, self._source_shelf)) @ self._source_tote()
        seen = replace(self._placements[self._order.tote], pose=(float(at[0, 3]), float(at[1, 3]), yaw_of(at)))
        return is_to_be_pulled(self._factory, self._order.tote, self._placements | {self._order.tote: seen})

    def _pull_distance(self) -> float:
        """Metres to where the tote is so close behind its surface's front edge that the waist bears it as it stands."""
        tote, half = self._source_tote(), 0.5 * self._tote.carrier.width
        bottom, (behind_edge, _) = float(tote[2, 3]), self._behind_edge(self._source_station, tote)
        legs = self._leg_distance(self._source_station, tote)
        return behind_edge - float(np.clip(self._bearable_reach(bottom) - legs, half + PULLED_TO[0], half + PULLED_TO[1]))

    def _place_stance(self) -> np.ndarray:
        return self._stance_before(self._factory.station(self._place.station), self._goal_tote())

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
            return WholeBodyTarget(self._now, last.frame, np.zeros(3), last.hand_poses, last.hand_active, np.zeros((2, 6)),
                                   last.torso_pitch, last.pelvis_height, last.gripper_openings, last.gripper_forces)  # fmt: skip
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
            velocity = 0.5 * velocity
        return self._target(velocity=velocity, hands=self._held, frame=FRAME_BASE_FOOTPRINT, opening=self._opening)

    def _come_to_a_stand(self) -> Script:
        begin = self._now
        while (self._observation.control.mode == "walking" and self._now - begin < 5.0) or self._now - begin < 0.3:
            yield self._walking_target(np.zeros(3))

    def _walk_back(self, distance: float) -> Script:
        """Walks straight backwards and comes to a stand."""
        start, begin = self._pose.copy(), self._now
        heading = np.array([math.cos(start[2]), math.sin(start[2])])
        gone = 0.0
        while gone < distance and self._now - begin < 12.0:
            speed = min(SLOW + gone, CARRYING.backward)  # no faster than legs have room for before the station
            yield self._walking_target(np.array([-speed, 0.0, 0.9 * wrapped(start[2] - self._pose[2])]))
            gone = float((start[:2] - self._pose[:2]) @ heading)
        yield from self._come_to_a_stand()

    def _person_in_the_way(self, velocity: np.ndarray) -> bool:
        if np.linalg.norm(velocity[:2]) < 0.02:
            return False
        yaw = self._pose[2]
        heading = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]) @ velocity[:2]
        heading /= np.linalg.norm(heading)
        for person in self._people:
            away = person - self._pose[:2]
            distance = float(np.linalg.norm(away))
            if distance < PERSON_STOP_DISTANCE and float(away @ heading) > 0.3 * distance:
                self._problem = f"a person {distance:.1f} m ahead: waiting"
                return True
        return False

    def _walk_way(self, goal: np.ndarray, limits: WalkingLimits) -> Script:
        """Walks to a pose (x, y, yaw) in `odom` around everything."""
        odom_from_map = self._odom_from_map()
        map_from_odom = inverse(odom_from_map)

        def in_map(xy):
            return (map_from_odom @ np.array([xy[0], xy[1], 0.0, 1.0]))[:2]

        people = [in_map(p) for p in self._people]
        corners = self._floor.plan(in_map(self._pose[:2]), in_map(goal[:2]), people)
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
                    corners = self._floor.plan(in_map(self._pose[:2]), in_map(goal[:2]), people)
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

    # --- hands --------------------------------------------------------------------------------------------------------

    def _measured_hands(self) -> tuple[np.ndarray, np.ndarray]:
        """(4, 4) each, in `base_footprint`, by the encoders."""
        footprint_from_base = inverse(self._footprint()) @ self._odom_from_base
        hands = self._hand_kinematics.base_from_hands(self._observation.state.joint_positions)
        return tuple(footprint_from_base @ hand for hand in hands)

    def _ready_height(self, station, shelf: int, tote: np.ndarray) -> float:
        """Height in m above the grip from which hands come: over a table's edge, but under the shelf above."""
        above = float(tote[2, 3] - self._surface(station.name, shelf)[2, 3]) + self._tote.carrier.height
        return float(np.clip(free_height(station, shelf) - above - HAND_HALF_HEIGHT, 0.0, 0.10))

    def _clearance(self, station, shelf: int, tote: np.ndarray) -> float:
        """Height in m to which a tote at its place is lifted for walking: no squat, but under the shelf above."""
        stands = float(tote[2, 3] - self._surface(station.name, shelf)[2, 3]) + self._tote.carrier.height
        room = free_height(station, shelf) - stands - HAND_HALF_HEIGHT
        wanted = EASY_GRIP_HEIGHT - float(tote[2, 3]) - self._tote.carrier.grip_height
        return max(CLEARANCE, min(room, wanted))

    def _raise_hands(self) -> Script:
        """Brings the hands beside the body at the height they are needed, while there is still room in front."""
        tote = self._source_tote()
        self._ready_up = self._ready_height(self._source_station, self._source_shelf, tote)
        at_stance = planar(self._stance_distance(self._source_station, tote), 0.0, 0.0, float(tote[2, 3]))
        goals = tuple(at_stance @ hand_in_tote(self._tote.carrier, s, up=self._ready_up, **READY) for s in (0, 1))
        yield from self._come_to_a_stand()
        posture = self._postures.plan(goals)
        self._opening = OPEN
        yield from self._move_hands(goals, posture=posture, frame=FRAME_BASE_FOOTPRINT, starts=self._measured_hands())
        self._held = goals

    def _raise_hands_before_lip(self) -> Script:
        """Brings the hands before the body at the height of the tote's near lip."""
        at_ready = planar(LIP_READY_DISTANCE, 0.0, 0.0, float(self._source_tote()[2, 3]))
        goals = tuple(at_ready @ hand_at_near_lip(self._tote.carrier, side) for side in (0, 1))
        yield from self._come_to_a_stand()
        posture = self._postures.plan(goals)
        self._opening = OPEN
        yield from self._move_hands(goals, posture=posture, frame=FRAME_BASE_FOOTPRINT, starts=self._measured_hands())
        self._held = goals

    def _reach_lip(self) -> Script:
        """Hands to the near lip: before it, then onto it."""
        tote = self._source_tote()
        grip = tuple(tote @ hand_at_near_lip(self._tote.carrier, side) for side in (0, 1))
        before = tuple(tote @ hand_at_near_lip(self._tote.carrier, side, off=0.06) for side in (0, 1))
        yield from self._move_hands(before, posture=self._bend_for(grip))
        yield from self._move_hands(grip, speed=0.12, settle=0.25)

    def _reach(self) -> Script:
        """Hands to both sides of the lip: beside it, then onto it."""
        carrier = self._tote.carrier
        tote = self._source_tote()
        grip = tuple(tote @ hand_in_tote(carrier, side) for side in (0, 1))
        posture = self._bend_for(grip)
        beside = [self._room_beside(tote, side) for side in (0, 1)]
        over = tuple(tote @ hand_in_tote(carrier, s, outward=beside[s], backward=0.05, up=self._ready_up) for s in (0, 1))
        beside = tuple(tote @ hand_in_tote(carrier, s, outward=max(beside[s] - 0.01, 0.0), backward=0.03) for s in (0, 1))
        yield from self._move_hands(over, posture=posture)
        yield from self._move_hands(beside, speed=0.2)
        yield from self._move_hands(grip, speed=0.12, settle=0.25)

    def _room_beside(self, tote: np.ndarray, side: int) -> float:
        """Metres that a hand may be outwards of its grip on a tote at a pose (4, 4): less where another tote stands."""
        carrier, sign = self._tote.carrier, 1 - 2 * side
        top, room = float(tote[2, 3]) + carrier.height, BESIDE
        for name, other in self._odom_from_totes.items():
            neighbour = self._factory.tote(name).carrier
            bottom = float(other[2, 3])
            if name == self._order.tote or bottom > top + HAND_HALF_HEIGHT or bottom + neighbour.height < top - HAND_HALF_HEIGHT:
                continue
            x, y = 0.5 * neighbour.width, 0.5 * neighbour.length
            corners = (inverse(tote) @ other @ np.array([[x, x, -x, -x], [y, -y, y, -y], [0.0] * 4, [1.0] * 4]))[:2]
            between = float((sign * corners[1]).min()) - 0.5 * carrier.length
            if between > -0.5 * carrier.length and corners[0].max() > -0.25 and corners[0].min() < 0.15:
                taken = WRIST_WIDTH if corners[0].min() < -0.8 * 0.5 * carrier.width else HAND_WIDTH
                room = min(room, between - taken)
        return max(room, 0.0)

    def _close_fingers(self) -> Script:
        begin = self._now
        hands = self._actual_hands()
        while self._now - begin < 0.7:
            yield self._target(hands=hands, opening=0.0)

    def _has_grip(self, within: tuple[float, float] = GRIP_OPENING) -> bool:
        openings = self._observation.state.gripper_openings
        return bool((openings > within[0]).all() and (openings < within[1]).all())

    def _openings_text(self) -> str:
        return " and ".join(f"{1000 * o:.0f} mm" for o in self._observation.state.gripper_openings)

    def _drag(self, distance: float) -> Script:
        """Moves the tote over its surface, m ahead: draws it near if that is negative, by the arms alone."""
        goals = tuple(_shifted(hand, self._forward(distance)) for hand in self._actual_hands())
        posture = self._bend_for(goals, otherwise=self._posture) if distance > 0.0 else self._posture
        yield from self._move_hands(goals, posture=posture, opening=0.0, speed=0.10, settle=0.2)

    def _pull(self, distance: float) -> Script:
        """Walks backwards with the tote by its near lip, which is raised a little: it drags on its far feet alone.

        Flat, it would tip over its near feet wherever friction is above 0.6, as the lip is that much higher than half the
        feet are apart; and all of its weight would drag. Hands go straight while the body sways over its steps.
        """
        start, hands, back = self._pose.copy(), self._actual_hands(), self._forward(-1.0)
        gone = raised = rate = 0.0
        while gone < distance or raised > 0.0:
            is_there = gone >= distance
            rate = 0.0 if is_there else min(rate + PULL_SPEED * PERIOD_S, PULL_SPEED)
            gone += rate * PERIOD_S
            raised = max(raised - LIP_LIFT_SPEED * PERIOD_S, 0.0) if is_there else min(raised + LIP_LIFT_SPEED * PERIOD_S, LIP_LIFT)
            by = gone * back + [0.0, 0.0, raised]
            velocities = np.zeros((2, 6))
            velocities[:, :3] = rate * back
            velocity = np.zeros(3)
            if not is_there:
                velocity = velocity_to(self._pose, start + [*(gone * back[:2]), 0.0], CARRYING) - [rate, 0.0, 0.0]
            yield self._target(velocity=velocity, hands=tuple(_shifted(h, by) for h in hands), opening=0.0, hand_velocities=velocities)
        while self._observation.control.mode == "walking":
            yield self._target(hands=tuple(_shifted(h, gone * back) for h in hands), opening=0.0)

    def _lift(self) -> Script:
        self._grip_transforms = tote_from_hands(self._source_tote(), self._actual_hands())
        self._tote_height_before = float(self._odom_from_tote[2, 3])
        height = self._clearance(self._source_station, self._source_shelf, self._source_tote())
        hands = self._actual_hands()
        yield from self._move_hands(tuple(_raised(hand, CLEARANCE) for hand in hands), opening=0.0, speed=0.12, settle=0.3)
        if self._is_lifted() and height > CLEARANCE + 0.01:
            goals = tuple(_raised(hand, height) for hand in hands)
            yield from self._move_hands(goals, posture=self._bend_for(goals), opening=0.0, speed=0.15)

    def _is_lifted(self) -> bool:
        return bool(self._odom_from_tote[2, 3] - self._tote_height_before > 0.6 * CLEARANCE)

    def _open_fingers(self) -> Script:
        hands, begin = self._actual_hands(), self._now
        while self._now - begin < (0.15 if self._belt_velocity().any() else 0.35):
            yield self._target(hands=hands, opening=OPEN)

    def _let_go(self) -> Script:
        """Opens, takes the hands away sideways, then back."""
        hands, belt = self._actual_hands(), self._belt_velocity()
        yield from self._open_fingers()
        lateral = hands[0][:3, 3] - hands[1][:3, 3]
        lateral /= np.linalg.norm(lateral)
        # On a running belt the tote comes after the hand downstream and leaves the other by itself.
        along = float(belt @ lateral)
        tote = self._tote_facing(self._pose[2])
        left, right = (self._room_beside(tote, side) for side in (0, 1))
        out = (_shifted(hands[0], (left + max(along, 0.0)) * lateral), _shifted(hands[1], -(right + max(-along, 0.0)) * lateral))
        yield from self._move_hands(out, speed=0.25 if along == 0.0 else 0.5)
        yaw = self._pose[2]
        back = np.array([-0.17 * math.cos(yaw), -0.17 * math.sin(yaw), 0.0])
        goals = tuple(_shifted(h, back) for h in self._actual_hands())
        yield from self._move_hands(goals, posture=self._bend_for(goals, otherwise=self._posture))

    def _belt_velocity(self) -> np.ndarray:
        """(3,) m/s in `odom` of what the tote is set down on."""
        station = self._factory.station(self._place.station)
        if self._progress < 0.7 or self._place.on is not None or not isinstance(station, Conveyor):
            return np.zeros(3)
        return self._surface(station.name, 0)[:3, 1] * station.speed

    # --- with the tote ------------------------------------------------------------------------------------------------

    def _step_back_with_tote(self) -> Script:
        """Backs off with the tote as it is, then brings it before the chest."""
        self._held = tuple(inverse(self._footprint()) @ hand for hand in self._actual_hands())
        self._opening = 0.0
        yield from self._walk_back(STANDOFF)
        self._check_carried()
        yield from self._bring_hands(planar(CARRY_DISTANCE, 0.0, 0.0, CARRY_GRIP_HEIGHT - self._tote.carrier.grip_height))
        self._check_carried()

    def _bring_hands(self, base_from_tote: np.ndarray) -> Script:
        """Moves the tote held to a pose (4, 4) in `base_footprint`, bending as needed."""
        goals = tuple(base_from_tote @ hand for hand in self._grip_transforms)
        posture = self._postures.plan(goals)
        yield from self._move_hands(goals, posture=posture, frame=FRAME_BASE_FOOTPRINT, opening=0.0, speed=0.25, settle=0.2,
                                    starts=self._held)  # fmt: skip
        self._held = goals

    def _check_carried(self) -> None:
        hands = self._actual_hands()
        middle = 0.5 * (hands[0][:3, 3] + hands[1][:3, 3])
        expected = self._odom_from_tote[:3, 3] + [0.0, 0.0, self._tote.carrier.grip_height]
        if np.linalg.norm(middle - expected) > 0.15:
            raise OrderFailedError(f"{self._order.tote} is no longer in the hands")

    def _entry_height(self) -> float:
        """Height in m of the tote's bottom when it comes in over its place."""
        goal = self._goal_tote()
        station = self._factory.station(self._place.station)
        return float(goal[2, 3]) + self._clearance(station, self._place.shelf, goal)

    def _carry(self) -> Script:
        yield from self._walk_way(self._standoff(self._place_stance()), CARRYING)

    def _align_to_place(self) -> Script:
        """Before the station: brings the tote to entry height, then steps up to it."""
        yield from self._come_to_a_stand()
        self._check_carried()
        yield from self._bring_hands(planar(CARRY_DISTANCE, 0.0, 0.0, self._entry_height()))
        yield from self._step_up(self._place_stance, STEPPING_UP)
        self._check_carried()

    def _set_down(self) -> Script:
        """Over its place as it is really held, then down until it stands."""
        hands = self._actual_hands()
        held = tote_from_hands(self._tote_facing(self._pose[2]), hands)
        # A heavy tote is set down as far away as the waist bears it, and then pushed over its surface.
        # One that sinks on its way down to a low place is where it shall be all the same.
        push = self._beyond_reach(self._goal_tote(), EASY_BOTTOM) if self._place.on is None else 0.0
        goal = _shifted(self._goal_tote(), self._forward(-push))
        posture = self._bend_for(tuple(goal @ h for h in held))
        above = tuple(_raised(goal @ h, 0.025) for h in held)
        yield from self._move_hands(above, posture=posture, opening=0.0, speed=0.2, settle=0.3)
        held = tote_from_hands(self._tote_facing(self._pose[2]), self._actual_hands())
        goal = _shifted(self._goal_tote(), self._forward(-push))
        if self._belt_velocity().any():  # a belt would drag a tote that is still held: let it drop the last millimetres
            yield from self._move_hands(tuple(_raised(goal @ h, 0.003) for h in held), opening=0.0, speed=0.1)
            return
        yield from self._move_hands(tuple(_raised(goal @ h, 0.01) for h in held), opening=0.0, speed=0.1)
        down = tuple(_raised(h, -0.014) for h in self._actual_hands())
        yield from self._move_hands(down, opening=0.0, speed=0.06, settle=0.2)
        if push > 0.0:
            yield from self._drag(push)


def _raised(pose: np.ndarray, height: float) -> np.ndarray:
    return _shifted(pose, np.array([0.0, 0.0, height]))


def _shifted(pose: np.ndarray, by: np.ndarray) -> np.ndarray:
    moved = pose.copy()
    moved[:3, 3] += by
    return moved
