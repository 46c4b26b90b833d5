"""The scripted policy: fetches a tote and brings it where its order says, checking after each step.

The order's script is a generator that reads like instructions to a person: each `yield` is a target for one period, and
each return from it a new look at the world. Its only privileged input is the pose source it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import replace

import numpy as np
from shapely.geometry import Point

from humanoid_control.control_loop import PELVIS_HEIGHT_RANGE, TORSO_PITCH_RANGE
from humanoid_control.errors import FactoryError, OrderError, SolverError
from humanoid_control.mission.factory import Conveyor, Factory, Order
from humanoid_control.mission.path_planning import FloorMap
from humanoid_control.mission.placement import Placement, fits_on, initial_placements, is_to_be_pulled, ordered_placement
from humanoid_control.mission.reach import (
    HAND_WIDTH, HEAVY, LEG_HALF_WIDTH, LEG_REACH_UPRIGHT, WRIST_WIDTH, bearable_reach, free_height, leg_distance, pull_distance, pull_reach,
    stance_distance, working_height,
)  # fmt: skip
from humanoid_control.robot_model import RobotModel
from humanoid_control.standing_body import SOLES_AHEAD, UPRIGHT, BodyPosture
from humanoid_control.transforms import inverse, planar, wrapped, yaw_of
from humanoid_control.types import FRAME_BASE_FOOTPRINT, WholeBodyTarget
from perception.poses import surface_name
from policies.policy import DONE, FAILED, RUNNING, Observation, PolicyOutput
from policies.scripted.grips import (
    BACKWARD, CARRY_DISTANCE, CARRY_GRIP_HEIGHT, GRIP_OPENING, LIP_OPENING, OUTWARD, REACH_SLACK, READY,
    hand_at_near_lip, hand_in_tote, holds_lip, openings_text, tote_facing, tote_from_hands,
)  # fmt: skip
from policies.scripted.motions import OPEN, STANCE_TOLERANCE, STANDOFF, Motions, OrderFailedError, Script
from policies.scripted.pulling import Pull
from policies.scripted.navigation import CARRYING, EMPTY_HANDED, STEPPING_UP

PERIOD_S = 0.02
CLEARANCE = 0.05  # m under the tote, at least, when it leaves or comes in over a surface
EASY_GRIP_HEIGHT = 0.80  # m of the hands: from here on walking needs no squat
EASY_BOTTOM = 0.65  # m of a tote: from here on gripping needs no squat
MAX_TRIES = 3
SURE, TOO_UNSURE, LOOK_S = 0.012, 0.03, 3.0  # m of deviation of a tote's place, and s that it takes to look for less
LIP_READY_DISTANCE = 0.43  # m from the base to the middle of a tote whose near lip the hands have close to the body
BESIDE = 0.06  # m that a hand comes and goes beside a tote
HAND_HALF_HEIGHT = 0.075  # m, of an open hand on its side, and what it is kept off

# Stages of an order, at which it may be taken over from another. `TAKING` is done again until it works.
RETREAT = "retreat"
FETCH, STEP_UP, REACH, GRIP, LIFT = TAKING = ("fetch", "step_up", "reach", "grip", "lift")
STEP_BACK, CARRY, ALIGN, SET_DOWN, LET_GO, LEAVE, OVER = BRINGING = ("step_back", "carry", "align", "set_down", "let_go", "leave", "over")
HOLDING_WITHIN, GRIP_WITHIN, NEAR_TOTE = 0.05, 0.012, 0.15  # m of hands off their grip: they may hold the tote; close; be in its way
READY_WITHIN, OUT_FROM = 0.10, 0.15  # m of hands off their place beside the body; off hanging, from which on they are out
BEFORE_STATION = 0.05  # m from a station to fingers or a tote that it would be in the way of
FINGERS = np.array([0.04, 0.0, 0.0, 1.0])  # m, of finger tips before the pads' middle
STANDS_WITHIN, PLACED_WITHIN, STACKED_WITHIN = 0.015, 0.05, 0.03  # m off its height, its place, the tote below


class CarryOutOrder(Motions):
    """Carries out one order at a time, by hand-written skills. See `policies.policy.Policy`."""

    name = "scripted"
    needs = frozenset({"poses"})
    period_s = PERIOD_S

    def __init__(self, model: RobotModel) -> None:
        """Prepares the skills.

        Args:
            model: the robot.
        """
        super().__init__(model)
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
        self._begin(order)
        place = ordered_placement(factory, order, self._placements)
        if place is None:
            raise OrderError(f"There is no free place for {order.tote} on {order.to}.")
        self._place = place
        source = self._placements[order.tote]
        self._source_station = factory.station(source.station)
        self._source_shelf = source.shelf
        self._script: Script | None = None
        self._subtask, self._reason, self._next, self._progress = "start", "a new order", "approach", 0.0
        self._outcome, self._detail = RUNNING, ""

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
                self.order_done()
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

    def order_done(self) -> None:
        """See `Policy.order_done`."""
        self._placements[self._order.tote] = self._place

    # --- the script ---------------------------------------------------------------------------------------------------

    def _carry_out(self) -> Script:
        yield from self._wait_for_poses()
        stage = self._stage()
        if stage != FETCH and self._are_out(self._measured_hands()):
            self._take_over()
        if stage == RETREAT:
            self._say("step_back", "there is no room here to begin", "approach", 0.0)
            yield from self._retreat()
            stage = FETCH
        if stage == FETCH and self._is_to_be_pulled():
            yield from self._until_it_works(self._pull_to_edge)
        if stage in TAKING:
            yield from self._until_it_works(self._take, stage)
            stage = STEP_BACK
        place = self._place.station
        steps = (
            ("step_back", "there is room behind", 0.4, self._step_back_with_tote),
            ("carry", f"{place} wants it", 0.5, self._carry),
            ("align", "the place is ahead", 0.75, self._align_to_place),
            ("set_down", "the tote is above its place", 0.8, self._set_down),
            ("let_go", "the tote stands", 0.9, self._let_go),
            ("step_back", "hands are free", 0.95, self._back_off),
        )
        if stage == CARRY:
            self._say("carry", f"{place} wants it", "align", 0.5)
            yield from self._bring_hands(planar(CARRY_DISTANCE, 0.0, 0.0, CARRY_GRIP_HEIGHT - self._tote.carrier.grip_height))
        first = BRINGING.index(stage)
        following = [step[0] for step in steps[1:]] + [""]
        for (name, reason, progress, skill), next_name in list(zip(steps, following))[first:]:
            self._say(name, reason, next_name, progress)
            yield from skill()

    def _until_it_works(self, skill: Callable[..., Generator[WholeBodyTarget, None, bool]], *first: str) -> Script:
        """Tries a skill, which returns whether it worked; if not, `_problem` says why.

        Args:
            skill: what to try.
            first: arguments of the first try.

        Raises:
            OrderFailedError: it never works.
        """
        for attempt in range(MAX_TRIES):
            if (yield from (skill(*first) if attempt == 0 else skill())):
                return
        raise OrderFailedError(f"gave up after {MAX_TRIES} tries: {self._problem}")

    def _take(self, stage: str = FETCH) -> Generator[WholeBodyTarget, None, bool]:
        """Fetches the tote off its surface, by the lips of its short sides; from a stage of `TAKING` on."""
        first = TAKING.index(stage)
        if stage == FETCH:
            self._say("approach", f"{self._order.tote} is on {self._source_station.name}", "reach", 0.05)
            yield from self._walk_way(self._standoff(self._grip_stance()), EMPTY_HANDED)
        if first <= TAKING.index(STEP_UP):
            self._say("ready", "the station is ahead", "reach", 0.1)
            if stage == FETCH:
                yield from self._raise_hands()
            yield from self._step_up(self._grip_stance, STEPPING_UP)
            yield from self._until_sure()
        if first <= TAKING.index(REACH):
            self._say("reach", "the tote is within reach", "grip", 0.2)
            if stage == REACH:
                yield from self._clear_of_tote()
            yield from self._reach()
        if first <= TAKING.index(GRIP):
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
            self._problem = f"missed the grip: pads {openings_text(self._observation.state.gripper_openings)} apart"
        self._say("let_go", self._problem, "approach", 0.2)
        yield from self._let_go()
        yield from self._back_off()
        return False

    # --- going on with what another began -----------------------------------------------------------------------------

    def _stage(self) -> str:
        """Where in its script an order goes on that another policy, or a person, has begun: what hands and tote show.

        `RETREAT` is for hands that are before a station and hold nothing as they should.
        """
        hands = self._measured_hands()
        holds = self._has_grip() and self._off_grip(hands) < HOLDING_WITHIN
        if self._stands_in_place():
            if holds or self._off_grip(hands) < NEAR_TOTE:
                return LET_GO
            return LEAVE if self._are_out(hands) else OVER
        if holds:
            return self._stage_holding()
        off, turned = self._off_stance(self._grip_stance())
        if not self._is_to_be_pulled() and self._are_out(hands):
            if np.linalg.norm(off) < STANCE_TOLERANCE.position and turned < STANCE_TOLERANCE.yaw:
                return GRIP if self._off_grip(hands) < GRIP_WITHIN else REACH
            ready = self._ready_hands()
            raised = max(np.linalg.norm(hand[:3, 3] - goal[:3, 3]) for hand, goal in zip(hands, ready)) < READY_WITHIN
            if raised and -STANDOFF - 0.1 < off[0] < 0.1 and abs(off[1]) < 0.15 and turned < 0.3:
                return STEP_UP
        toes = [[LEG_REACH_UPRIGHT.max() + BEFORE_STATION, side * LEG_HALF_WIDTH, 0.0] for side in (-1, 0, 1)]
        return RETREAT if self._is_before_station(np.array([*toes, *((hand @ FINGERS)[:3] for hand in hands)])) else FETCH

    def _stage_holding(self) -> str:
        tote, goal = self._tote_facing(self._pose[2]), self._goal_tote()
        source = self._surface(self._source_station.name, self._source_shelf)
        at = inverse(source) @ tote
        below = self._placements[self._order.tote].on
        surface = float(at[2, 3]) if below is None else float(
            tote[2, 3] - self._odom_from_totes[below][2, 3] - self._factory.tote(below).carrier.stacking_height)  # fmt: skip
        if surface < 0.6 * CLEARANCE and fits_on(self._source_station, self._tote.carrier, (at[0, 3], at[1, 3], yaw_of(at))):
            return LIFT
        self._progress = 0.4  # from here on its mass is known
        off, turned = self._off_stance(self._place_stance())
        above = float(tote[2, 3] - goal[2, 3])
        if np.linalg.norm(off) < STANCE_TOLERANCE.position and turned < STANCE_TOLERANCE.yaw and above > 0.0:
            return SET_DOWN
        half = 0.5 * np.array([self._tote.carrier.width, self._tote.carrier.length])
        corners = inverse(self._footprint()) @ tote @ np.array([[*(half * sign), 0.0, 1.0] for sign in ((1, 1), (1, -1), (-1, 1), (-1, -1))]).T
        if self._is_before_station(corners[:3].T):
            high = above > self._entry_height() - float(goal[2, 3]) - 0.03
            ahead = -STANDOFF - 0.1 < off[0] < 0.05 and abs(off[1]) < 0.15 and turned < 0.3
            return ALIGN if high and ahead else STEP_BACK
        return CARRY

    def _take_over(self) -> None:
        """Begins where hands and body are, and tote and station are seen."""
        self._stay_as_found()
        tote = self._tote_facing(self._pose[2])
        self._grip_transforms = tote_from_hands(tote, self._actual_hands())
        self._ready_up = self._ready_height(self._source_station, self._source_shelf, self._source_tote())

    def _stay_as_found(self) -> None:
        """Keeps hands, body and grippers as they are measured."""
        odom = self._footprint()
        hands = self._measured_hands()
        waist = float(self._observation.state.joint_positions[self._waist_pitch])
        forward = self._odom_from_base[:3, 0]
        pitch = -math.asin(float(np.clip(forward[2], -1.0, 1.0))) + waist
        self._posture = BodyPosture(float(np.clip(self._odom_from_base[2, 3], *PELVIS_HEIGHT_RANGE)), float(np.clip(pitch, *TORSO_PITCH_RANGE)))
        self._held, self._stood_at = hands, self._upright_place()
        self._opening = 0.0 if self._has_grip() else OPEN
        self._hold = self._target(hands=tuple(odom @ hand for hand in hands), opening=self._opening)

    def _off_grip(self, hands: tuple[np.ndarray, np.ndarray]) -> float:
        """Metres that the farther of two hands (4, 4) in `base_footprint` is off its grip on the tote."""
        tote = inverse(self._footprint()) @ self._tote_facing(self._pose[2])
        goals = (tote @ hand_in_tote(self._tote.carrier, side) for side in (0, 1))
        return max(float(np.linalg.norm(hand[:3, 3] - goal[:3, 3])) for hand, goal in zip(hands, goals))

    def _are_out(self, hands: tuple[np.ndarray, np.ndarray]) -> bool:
        """Whether hands (4, 4) in `base_footprint` are elsewhere than at the robot's sides."""
        footprint_from_base = inverse(self._footprint()) @ self._odom_from_base
        hanging = [footprint_from_base @ hand for hand in self._hanging]
        return max(float(np.linalg.norm(hand[:3, 3] - rest[:3, 3])) for hand, rest in zip(hands, hanging)) > OUT_FROM

    def _upright_place(self) -> np.ndarray:
        """(4, 4) odom_from_base_footprint that the robot has when it stands upright on its feet where they are."""
        soles = self._limbs.base_from_soles(self._observation.state.joint_positions)
        middle = self._odom_from_base @ (0.5 * (soles[0][:, 3] + soles[1][:, 3]))
        yaw = self._pose[2]
        return planar(middle[0] - SOLES_AHEAD * math.cos(yaw), middle[1] - SOLES_AHEAD * math.sin(yaw), yaw)

    def _off_stance(self, stance: np.ndarray) -> tuple[np.ndarray, float]:
        """(2,) m that the feet are ahead and to the left of a stance (x, y, yaw), and by how many rad the robot is turned."""
        away, yaw = self._upright_place()[:2, 3] - stance[:2], stance[2]
        off = np.array([math.cos(yaw) * away[0] + math.sin(yaw) * away[1], math.cos(yaw) * away[1] - math.sin(yaw) * away[0]])
        return off, abs(wrapped(self._pose[2] - yaw))

    def _is_before_station(self, points: np.ndarray) -> bool:
        """Whether one of some points (N, 3) m in `base_footprint` is over a station, or almost."""
        map_from_footprint = inverse(self._odom_from_map()) @ self._footprint()
        places = [Point(*(map_from_footprint @ np.array([*point, 1.0]))[:2]) for point in points]
        return any(station.footprint.distance(place) < BEFORE_STATION for station in self._factory.stations for place in places)

    def _stands_in_place(self) -> bool:
        """Whether the tote stands where it shall."""
        place = self._place
        if surface_name(place.station, place.shelf) not in self._odom_from_surface or (
                place.on is not None and place.on not in self._odom_from_totes):  # fmt: skip
            return False
        goal = self._goal_tote()
        at = inverse(goal) @ self._tote_facing(yaw_of(goal))
        if abs(at[2, 3]) > STANDS_WITHIN:
            return False
        if self._belt_speed() > 0.0:  # it has gone on with the belt
            there = planar(*place.pose) @ at
            return fits_on(self._factory.station(place.station), self._tote.carrier, (there[0, 3], there[1, 3], yaw_of(there)))
        return bool(np.linalg.norm(at[:2, 3]) < (PLACED_WITHIN if place.on is None else STACKED_WITHIN))

    def _retreat(self) -> Script:
        """Opens, comes clear of the tote if hands are at it, and backs off."""
        if self._are_out(self._measured_hands()):
            yield from self._open_fingers()
            if self._off_grip(self._measured_hands()) < NEAR_TOTE:
                yield from self._clear_of_tote()
            yield from self._back_off()
        else:
            yield from self._walk_back(STANDOFF)

    def _clear_of_tote(self) -> Script:
        """Hands that are too near to the lips for a way around them go outwards first."""
        tote = self._tote_facing(self._pose[2])
        hands = self._actual_hands()
        goals = []
        for side, hand in enumerate(hands):
            at = inverse(tote) @ hand
            least = 0.5 * self._tote.carrier.length + OUTWARD + 0.03
            outward = (1 - 2 * side) * float(at[1, 3])
            near = at[0, 3] > -BACKWARD - 0.12 and 0.0 < outward < least
            goals.append(_shifted(hand, (least - outward) * (1 - 2 * side) * tote[:3, 1]) if near else hand)
        yield from self._move_hands(tuple(goals), speed=0.15)

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
            self._problem = f"missed the near lip: pads {openings_text(self._observation.state.gripper_openings)} apart"
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
            if self._hold is None and self._are_out(self._measured_hands()):
                self._stay_as_found()  # another had the order, and hands may hold the tote
            yield self._stand()
        self._hold, self._held, self._posture, self._opening = None, None, UPRIGHT, OPEN

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

    def _tote_facing(self, station_yaw: float) -> np.ndarray:
        """(4, 4) odom_from_tote, of its two equal orientations the one that faces as the station does."""
        return tote_facing(self._odom_from_tote, station_yaw)

    def _source_tote(self) -> np.ndarray:
        return self._tote_facing(yaw_of(self._surface(self._source_station.name, self._source_shelf)))

    def _goal_tote(self) -> np.ndarray:
        """(4, 4) odom_from_tote when it stands where it shall."""
        place = self._place
        surface = self._surface(place.station, place.shelf)
        if place.on is not None:
            below = tote_facing(self._odom_from_totes[place.on], yaw_of(surface))
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
        return float(stance_distance(behind_edge, self._leg_distance(station, odom_from_tote), reach))

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
        return float(bearable_reach(self._tote.carrier.length, carried if self._progress >= 0.4 else HEAVY, bottom))

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
        return self._stance_before(self._source_station, tote, reach=float(pull_reach(self._tote.carrier.width, float(tote[2, 3]))))

    def _is_to_be_pulled(self) -> bool:
        """Whether the tote stands too far back to be gripped as usual, where it can be pulled."""
        at = inverse(self._surface(self._source_station.name, self._source_shelf)) @ self._source_tote()
        seen = replace(self._placements[self._order.tote], pose=(float(at[0, 3]), float(at[1, 3]), yaw_of(at)))
        return is_to_be_pulled(self._factory, self._order.tote, self._placements | {self._order.tote: seen})

    def _pull_distance(self) -> float:
        """Metres to where the tote is so close behind its surface's front edge that the waist bears it as it stands."""
        tote = self._source_tote()
        behind_edge, _ = self._behind_edge(self._source_station, tote)
        legs = self._leg_distance(self._source_station, tote)
        return float(pull_distance(behind_edge, self._tote.carrier.width, legs, self._bearable_reach(float(tote[2, 3]))))

    def _place_stance(self) -> np.ndarray:
        return self._stance_before(self._factory.station(self._place.station), self._goal_tote())

    # --- hands --------------------------------------------------------------------------------------------------------

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

    def _ready_hands(self) -> tuple[np.ndarray, np.ndarray]:
        """(4, 4) each in `base_footprint`: beside the body, at the height they are needed."""
        tote = self._source_tote()
        self._ready_up = self._ready_height(self._source_station, self._source_shelf, tote)
        at_stance = planar(self._stance_distance(self._source_station, tote), 0.0, 0.0, float(tote[2, 3]))
        return tuple(at_stance @ hand_in_tote(self._tote.carrier, s, up=self._ready_up, **READY) for s in (0, 1))

    def _raise_hands(self) -> Script:
        """Brings the hands beside the body, while there is still room in front."""
        goals = self._ready_hands()
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
        return holds_lip(self._observation.state.gripper_openings, within)

    def _drag(self, distance: float) -> Script:
        """Moves the tote over its surface, m ahead: draws it near if that is negative, by the arms alone."""
        goals = tuple(_shifted(hand, self._forward(distance)) for hand in self._actual_hands())
        posture = self._bend_for(goals, otherwise=self._posture) if distance > 0.0 else self._posture
        yield from self._move_hands(goals, posture=posture, opening=0.0, speed=0.10, settle=0.2)

    def _pull(self, distance: float) -> Script:
        """Pulls the tote by its near lip."""
        pull = Pull(self._pose, self._actual_hands(), distance)
        while not pull.is_over:
            velocity, hands, velocities = pull.step(self._pose, PERIOD_S)
            yield self._target(velocity=velocity, hands=hands, opening=0.0, hand_velocities=velocities)
        while self._observation.control.mode == "walking":
            yield self._target(hands=hands, opening=0.0)

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

    def _belt_speed(self) -> float:
        """m/s of what the tote shall stand on."""
        station = self._factory.station(self._place.station)
        return station.speed if self._place.on is None and isinstance(station, Conveyor) else 0.0

    def _belt_velocity(self) -> np.ndarray:
        """(3,) m/s in `odom` of what the tote is set down on."""
        speed = self._belt_speed() if self._progress >= 0.7 else 0.0
        return self._surface(self._place.station, 0)[:3, 1] * speed if speed > 0.0 else np.zeros(3)

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
