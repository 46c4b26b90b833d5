"""What a person does who carries out an order at the operator's page: with what the page shows, and what hands and sticks can do.

It stands in for a person where the whole way from a browser to the robot is tried. It looks at where robot, hands and totes are shown,
and at the factory file's floor; it holds both hands and moves them, walks by the sticks, and lowers a tote until it feels it stand.
Each `yield` of its script is what it does until it looks again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

import numpy as np

from humanoid_control.errors import HumanoidControlError
from humanoid_control.mission.factory import Factory, Order, Station
from humanoid_control.mission.path_planning import FloorMap
from humanoid_control.mission.placement import initial_placements, ordered_placement
from humanoid_control.mission.reach import HEAVY, bearable_reach, leg_distance, stance_distance, working_height
from humanoid_control.teleoperation.gamepad import DEAD_ZONE
from humanoid_control.teleoperation.retargeting import TeleoperationLimits
from humanoid_control.transforms import interpolated, inverse, planar, rotation_of_vector, rotation_vector, transform, wrapped, yaw_of
from policies.scripted.grips import CARRY_DISTANCE, CARRY_GRIP_HEIGHT, READY, hand_in_tote, holds_lip, openings_text, tote_facing
from policies.scripted.navigation import Tolerance, WalkingLimits, WayFollower, velocity_to

WALKS, CARRIES, STEPS_UP = WalkingLimits(0.35, 0.2, 0.14, 0.6), WalkingLimits(0.30, 0.18, 0.12, 0.5), WalkingLimits(0.15, 0.12, 0.09, 0.35)  # m/s, rad/s
FULL_STICK = np.array(TeleoperationLimits().walk)  # m/s, m/s, rad/s
LEAST_STICK = 0.17  # less is no more than a thumb's rest
STANDOFF = 0.32  # m before where it works: the last stretch is straight
AT_STANDOFF, AT_STANCE = Tolerance(0.08, 0.12), Tolerance(0.04, 0.08)
STRIDE_S = 0.8  # over which the body sways from side to side and back: where it walks is the middle
HAND_SPEED, SLOWLY, TURN_SPEED = 0.25, 0.10, 0.9  # m/s, m/s, rad/s
SETTLES_S, SETTLES_WITHIN, CORRECTION = 3.0, 0.006, 2.5  # s and m until a hand counts as there; 1/s of what is still missing
MOST_CORRECTION = 0.06  # m, rad
ABOVE, BESIDE, CLEARANCE = 0.10, 0.06, 0.12  # m over, and beside a grip, that hands come from; under a tote that is carried over an edge
HIGHER = 0.05  # m that a station may be higher than the file says
GRIPS_FOR_S, STILL_S, STILL = 0.6, 0.4, 0.001  # s that a grip is given at least; s and m from which on fingers or hands stand still
MOST_UNSEEN_S = 0.1  # s that a motion goes on between two looks
LOWERS, LOWERS_TO = 0.05, -0.08  # m/s; m below the place in the file, where it gives up
FEELS, FEELS_S = 0.012, 0.6  # m that hands stay behind, and s for which they stand still, when the tote stands: at first they only come late
PRESSES = 0.02  # m that they are led ahead at most: pressed harder, pads slip down the tote
LIFTED = 0.03  # m that a tote has risen when it is in the hands
TRIES, STEPS = 3, 4  # to grip; to come to a stand in the right place
PATIENCE_S = 60.0  # for one stretch of the way


class DrivingError(HumanoidControlError):
    """The person cannot go on; says why."""


@dataclass(frozen=True)
class Sight:
    """What the page shows.

    Attributes:
        time_s: of the person's clock.
        odom_from_footprint: (4, 4) where the robot stands.
        footprint_from_hands: (4, 4) each.
        openings: (2,) m between the pads.
        totes: (4, 4) in `odom`, by name.
        odom_from_map: (4, 4) where the floor lies; None while it is not known.
        is_walking: whether the robot says that it walks.
        counts: whether what is held counts; if not, everything has to be let go of once.
    """

    time_s: float
    odom_from_footprint: np.ndarray
    footprint_from_hands: tuple[np.ndarray, np.ndarray]
    openings: np.ndarray
    totes: dict[str, np.ndarray]
    odom_from_map: np.ndarray | None
    is_walking: bool
    counts: bool = True


@dataclass(frozen=True)
class Handling:
    """What the person does.

    Attributes:
        hands: (4, 4) each, in axes that the person faces.
        held: whether both are held.
        grip: of both, 0 open to 1 closed.
        sticks: (3,) ahead, left and turning, -1 to 1.
    """

    hands: tuple[np.ndarray, np.ndarray]
    held: bool
    grip: float
    sticks: np.ndarray


Script = Generator[Handling, None, None]


class Person:
    """Carries out one order.

    Args:
        factory: as in its file.
        order: to be carried out.

    Raises:
        DrivingError: there is no room where the order goes.

    Attributes:
        doing: in words.
        is_done: whether it has carried out the order.
    """

    def __init__(self, factory: Factory, order: Order) -> None:
        self._floor = FloorMap(factory)
        placements = initial_placements(factory)
        self._tote, self._place = factory.tote(order.tote), ordered_placement(factory, order, placements)
        if self._place is None:
            raise DrivingError(f"there is no free place for {order.tote} on {order.to}")
        self._source, self._goal_station = factory.station(placements[order.tote].station), factory.station(order.to)
        self._hands, self._held, self._grip = (np.eye(4), np.eye(4)), False, 0.0
        self._correction = np.zeros((2, 6))
        self._way: list[tuple[float, np.ndarray]] = []
        self._counted, self._is_to_hold_again = True, False
        self._looked_s, self._own_s = math.inf, 0.0  # its own time
        self._script: Script | None = None
        self.doing, self.is_done = "", False

    def act(self, sight: Sight) -> Handling:
        """What it does now.

        Args:
            sight: of now.

        Raises:
            DrivingError: it cannot go on.
        """
        # What it does goes on only as far as it has seen what became of it, and not while it does not count.
        self._own_s += float(np.clip(sight.time_s - self._looked_s, 0.0, MOST_UNSEEN_S)) if self._counted else 0.0
        self._counted, self._looked_s = sight.counts, sight.time_s
        self._sight = replace(sight, time_s=self._own_s)
        if not sight.counts:
            self._is_to_hold_again = True
            return self._let_go_of_all()
        if self._is_to_hold_again:
            self._is_to_hold_again = False
            return replace(self._let_go_of_all(), held=self._held)
        if self._script is None:
            self._script = self._carry_out()
        try:
            return next(self._script)
        except StopIteration:
            self.is_done = True
            return self._rest()

    # --- the script ---------------------------------------------------------------------------------------------------

    def _carry_out(self) -> Script:
        while self._sight.odom_from_map is None or self._tote.name not in self._sight.totes:
            self.doing = "looks for tote and floor"
            yield self._rest()
        self.doing = "walks to the tote"
        yield from self._walk_way(lambda: _standoff(self._stance(self._source, self._tote_seen())), WALKS)
        self.doing = "raises the hands"
        yield from self._move(self._ready_hands())
        self.doing = "steps up"
        yield from self._step_up(lambda: self._stance(self._source, self._tote_seen()))
        for attempt in range(TRIES):
            self.doing = f"reaches for the tote{' again' if attempt else ''}"
            yield from self._reach()
            self.doing = "grips"
            yield from self._turn_grip(1.0)
            if holds_lip(self._sight.openings):
                break
            missed = self._sight.openings
            yield from self._turn_grip(0.0)
        else:
            raise DrivingError(f"missed the grip {TRIES} times: pads {openings_text(missed)} apart")
        self.doing = "lifts"
        before = self._tote_seen()[2, 3]
        yield from self._shift(np.array([0.0, 0.0, CLEARANCE]), SLOWLY)
        if self._tote_seen()[2, 3] - before < LIFTED:
            raise DrivingError("the tote did not come along")
        self.doing = "steps back"
        yield from self._walk_back(STANDOFF)
        self.doing = "takes the tote before the chest"
        chest = planar(CARRY_DISTANCE, 0.0, 0.0, CARRY_GRIP_HEIGHT - self._tote.carrier.grip_height)
        yield from self._bring(self._sight.odom_from_footprint @ chest)
        self.doing = f"carries it to {self._goal_station.name}"
        yield from self._walk_way(lambda: _standoff(self._stance(self._goal_station, self._goal())), CARRIES)
        self.doing = "takes it over the edge"
        goal = self._goal()
        ahead = inverse(self._sight.odom_from_footprint) @ transform(np.eye(3), self._tote_seen()[:3, 3])
        high = max(float(goal[2, 3]) + CLEARANCE + HIGHER, CARRY_GRIP_HEIGHT - self._tote.carrier.grip_height - 0.1)
        yield from self._bring(self._sight.odom_from_footprint @ planar(float(ahead[0, 3]), 0.0, 0.0, high))
        self.doing = "steps up to the place"
        yield from self._step_up(lambda: self._stance(self._goal_station, self._goal()))
        self.doing = "sets it down"
        goal = self._goal()
        goal[2, 3] = self._tote_seen()[2, 3]
        for _ in range(2):  # looks again: the body has come along
            yield from self._bring(goal)
        yield from self._lower()
        self.doing = "lets go"
        yield from self._turn_grip(0.0)
        left, right = self._planned
        lateral = (left[:3, 3] - right[:3, 3]) / np.linalg.norm(left[:3, 3] - right[:3, 3])
        yield from self._move((_shifted(left, BESIDE * lateral), _shifted(right, -BESIDE * lateral)), speed=0.15)
        back = -READY["backward"] * self._sight.odom_from_footprint[:3, 0]
        yield from self._move(tuple(_shifted(hand, back) for hand in self._planned))
        self.doing = "steps back, hands free"
        yield from self._walk_back(STANDOFF)

    # --- where things are ---------------------------------------------------------------------------------------------

    def _tote_seen(self) -> np.ndarray:
        """(4, 4) in `odom`, of its two equal poses the one that faces as the robot does."""
        sight = self._sight
        return tote_facing(sight.totes[self._tote.name], yaw_of(sight.odom_from_footprint))

    def _goal(self) -> np.ndarray:
        """(4, 4) in `odom` of the tote in its place, at the height in the file."""
        x, y, yaw = self._place.pose
        height = self._goal_station.surface_height(self._place.shelf)
        return self._sight.odom_from_map @ self._goal_station.map_from_station @ planar(x, y, yaw, height)

    def _stance(self, station: Station, odom_from_tote: np.ndarray) -> np.ndarray:
        """(3,) x, y, yaw in `odom` of where it works on a tote at a pose (4, 4)."""
        at = tote_facing(inverse(station.map_from_station) @ inverse(self._sight.odom_from_map) @ odom_from_tote, 0.0)
        bottom, behind_edge = float(odom_from_tote[2, 3]), float(at[0, 3]) - station.front_x
        legs = leg_distance(station, float(at[1, 3]), pelvis_height=working_height(bottom))
        distance = float(stance_distance(behind_edge, legs, float(bearable_reach(self._tote.carrier.length, HEAVY, bottom))))
        odom_from_facing = self._sight.odom_from_map @ station.map_from_station @ at
        yaw = yaw_of(odom_from_facing)
        return np.array([*(odom_from_facing[:2, 3] - distance * np.array([math.cos(yaw), math.sin(yaw)])), yaw])

    def _ready_hands(self) -> tuple[np.ndarray, np.ndarray]:
        tote, stance = self._tote_seen(), self._stance(self._source, self._tote_seen())
        distance = float(np.linalg.norm(tote[:2, 3] - stance[:2]))
        at_stance = self._sight.odom_from_footprint @ planar(distance, 0.0, 0.0, float(tote[2, 3]))
        return tuple(at_stance @ hand_in_tote(self._tote.carrier, side, up=ABOVE, **READY) for side in (0, 1))

    # --- hands --------------------------------------------------------------------------------------------------------

    def _rest(self) -> Handling:
        return Handling(self._hands, self._held, self._grip, np.zeros(3))

    def _let_go_of_all(self) -> Handling:
        """Hands where the robot's are, so that holding them again moves nothing."""
        if self._held:
            facing = inverse(self._stood)
            self._hands, self._correction[:] = tuple(facing @ hand for hand in self._measured()), 0.0
        return Handling(self._hands, False, self._grip, np.zeros(3))

    def _measured(self) -> tuple[np.ndarray, np.ndarray]:
        """(4, 4) each, in `odom`."""
        return tuple(self._sight.odom_from_footprint @ hand for hand in self._sight.footprint_from_hands)

    def _hold(self) -> None:
        """Takes both hands, where they are: from here on they go with the person's."""
        if not self._held:
            self._stood, self._planned, self._held = self._sight.odom_from_footprint, self._measured(), True
            self._correction[:] = 0.0

    def _let_hands_be(self) -> None:
        self._held = False

    def _handling(self) -> Handling:
        """Hands where they are planned, and as much further as the robot's are off that."""
        facing = inverse(self._stood)
        self._hands = tuple(facing @ transform(rotation_of_vector(correction[3:]) @ pose[:3, :3], pose[:3, 3] + correction[:3])
                            for pose, correction in zip(self._planned, self._correction))  # fmt: skip
        return self._rest()

    def _move(self, goals: tuple[np.ndarray, np.ndarray], *, speed: float = HAND_SPEED, corrects: bool = True) -> Script:
        """Moves both hands straight to poses (4, 4) in `odom`; then, if wanted, makes up for what is still missing."""
        self._hold()
        starts = self._planned
        distance = max(float(np.linalg.norm(goal[:3, 3] - start[:3, 3])) for goal, start in zip(goals, starts))
        turn = max(float(np.linalg.norm(rotation_vector(goal[:3, :3] @ start[:3, :3].T))) for goal, start in zip(goals, starts))
        duration = max(1.5 * distance / speed, 1.5 * turn / TURN_SPEED, 0.2)
        begin = before = still_s = self._sight.time_s
        near, hands = 0, self._measured()
        while True:
            now = self._sight.time_s
            share = min((now - begin) / duration, 1.0)
            share = share * share * (3.0 - 2.0 * share)
            self._planned = tuple(interpolated(start, goal, share) for start, goal in zip(starts, goals))
            if now - begin > duration:
                off = self._off(goals)
                near = near + 1 if np.linalg.norm(off[:, :3], axis=1).max() < SETTLES_WITHIN else 0
                if max(float(np.linalg.norm(hand[:3, 3] - was[:3, 3])) for hand, was in zip(self._measured(), hands)) > 3 * STILL:
                    still_s, hands = now, self._measured()
                if near >= 3 or now - begin > duration + SETTLES_S or not corrects and now - max(still_s, begin + duration) > STILL_S:
                    return
                if corrects:
                    change = CORRECTION * min(now - before, 0.1) * off
                    self._correction = np.clip(self._correction + change, -MOST_CORRECTION, MOST_CORRECTION)
            before = now
            yield self._handling()

    def _off(self, goals: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """(2, 6) m and rad that the hands are still off."""
        return np.array([[*(goal[:3, 3] - hand[:3, 3]), *rotation_vector(goal[:3, :3] @ hand[:3, :3].T)] for goal, hand in zip(goals, self._measured())])

    def _reach(self) -> Script:
        """Beside the lips, then onto them."""
        tote, carrier = self._tote_seen(), self._tote.carrier
        over = tuple(tote @ hand_in_tote(carrier, side, outward=BESIDE, backward=0.05, up=ABOVE) for side in (0, 1))
        beside = tuple(tote @ hand_in_tote(carrier, side, outward=BESIDE - 0.01, backward=0.03) for side in (0, 1))
        yield from self._move(over)
        yield from self._move(beside, speed=0.15)
        tote = self._tote_seen()
        yield from self._move(tuple(tote @ hand_in_tote(carrier, side) for side in (0, 1)), speed=SLOWLY)

    def _turn_grip(self, grip: float) -> Script:
        """Closes or opens both grippers, until their fingers stand still."""
        self._grip, begin = grip, self._sight.time_s
        since, openings = begin, self._sight.openings
        while self._sight.time_s - begin < GRIPS_FOR_S or self._sight.time_s - since < STILL_S:
            yield self._handling()
            if np.abs(self._sight.openings - openings).max() > STILL:
                since, openings = self._sight.time_s, self._sight.openings

    def _shift(self, by: np.ndarray, speed: float) -> Script:
        """Moves both hands by m in `odom`, with what they hold."""
        self._hold()
        yield from self._move(tuple(_shifted(hand, by) for hand in self._planned), speed=speed, corrects=False)

    def _bring(self, odom_from_tote: np.ndarray) -> Script:
        """Moves both hands so that the tote they hold comes to a pose."""
        self._hold()
        moved = odom_from_tote @ inverse(self._tote_seen())
        yield from self._move(tuple(moved @ hand for hand in self._planned), speed=0.18, corrects=False)

    def _lower(self) -> Script:
        """Lowers the tote until the hands stay behind: it stands.

        Raises:
            DrivingError: it never does.
        """
        start, lowest = self._planned, float(self._goal()[2, 3]) + LOWERS_TO - float(self._tote_seen()[2, 3])
        looked_s = still_s = self._sight.time_s
        before, down, begun_at = self._behind(), 0.0, self._height()
        still_at = begun_at
        while self._behind() - before < FEELS or self._sight.time_s - still_s < FEELS_S:
            if self._height() - begun_at < lowest:
                raise DrivingError("does not feel the tote stand")
            if self._behind() - before < PRESSES:
                down -= LOWERS * (self._sight.time_s - looked_s)
            looked_s = self._sight.time_s
            self._planned = tuple(_shifted(hand, np.array([0.0, 0.0, down])) for hand in start)
            yield self._handling()
            if abs(self._height() - still_at) > 3 * STILL:
                still_s, still_at = self._sight.time_s, self._height()

    def _height(self) -> float:
        """m of the hands, in `odom`."""
        return float(np.mean([hand[2, 3] for hand in self._measured()]))

    def _behind(self) -> float:
        """m that the hands are above where they are wanted."""
        return float(np.mean([hand[2, 3] - goal[2, 3] for hand, goal in zip(self._measured(), self._planned)]))

    # --- walking ------------------------------------------------------------------------------------------------------

    def _pose(self) -> np.ndarray:
        """(3,) x, y, yaw in `odom`."""
        at = self._sight.odom_from_footprint
        return np.array([at[0, 3], at[1, 3], yaw_of(at)])

    def _middle(self) -> np.ndarray:
        """(3,) x, y, yaw in `odom` in the middle of the body's swaying."""
        now, here = self._sight.time_s, self._pose()
        self._way = [(time_s, pose) for time_s, pose in self._way if now - time_s < STRIDE_S] + [(now, here)]
        poses = np.array([pose for _, pose in self._way])
        return np.array([*poses[:, :2].mean(axis=0), here[2] + np.mean([wrapped(yaw - here[2]) for yaw in poses[:, 2]])])

    def _walk(self, velocity: np.ndarray) -> Handling:
        """The sticks, for a velocity in m/s, m/s, rad/s."""
        share = np.clip(velocity / FULL_STICK, -1.0, 1.0)
        sticks = np.where(np.abs(share) > 0.02, np.sign(share) * np.maximum(DEAD_ZONE + (1.0 - DEAD_ZONE) * np.abs(share), LEAST_STICK), 0.0)
        return Handling(self._hands, self._held, self._grip, sticks)

    def _stand(self) -> Script:
        begin = self._sight.time_s
        while self._sight.is_walking and self._sight.time_s - begin < PATIENCE_S or self._sight.time_s - begin < 0.6:
            yield self._rest()

    def _walk_way(self, goal: Callable[[], np.ndarray], limits: WalkingLimits) -> Script:
        """Walks around everything to where `goal()` says."""
        self._let_hands_be()
        begin, end = self._sight.time_s, goal()
        odom_from_map = self._sight.odom_from_map
        here, there = ((inverse(odom_from_map) @ np.array([x, y, 0.0, 1.0]))[:2] for x, y in (self._pose()[:2], end[:2]))
        follower = WayFollower([(odom_from_map @ np.array([*corner, 0.0, 1.0]))[:2] for corner in self._floor.plan(here, there)], end[2])
        while not follower.is_there(self._middle(), AT_STANDOFF):
            if self._sight.time_s - begin > PATIENCE_S:
                raise DrivingError(f"is not there after {PATIENCE_S:.0f} s")
            yield self._walk(follower.velocity(self._middle(), limits))
        yield from self._stand()

    def _step_up(self, stance: Callable[[], np.ndarray]) -> Script:
        """Walks the last straight stretch to where `stance()` says."""
        self._let_hands_be()
        for _ in range(STEPS):
            begin, goal = self._sight.time_s, stance()
            while not _is_at(here := self._middle(), goal, share=0.5):
                if self._sight.time_s - begin > 0.25 * PATIENCE_S:
                    break
                yield self._walk(velocity_to(here, goal, STEPS_UP))
                goal = stance()
            yield from self._stand()
            if _is_at(self._pose(), stance()):
                return
        raise DrivingError("does not come to stand where it wants to")

    def _walk_back(self, distance: float) -> Script:
        self._let_hands_be()
        start, begin, gone = self._pose(), self._sight.time_s, 0.0
        heading = np.array([math.cos(start[2]), math.sin(start[2])])
        while gone < distance and self._sight.time_s - begin < 0.5 * PATIENCE_S:
            yield self._walk(np.array([-min(0.09 + gone, 0.18), 0.0, 0.9 * wrapped(start[2] - self._pose()[2])]))
            gone = float((start[:2] - self._pose()[:2]) @ heading)
        yield from self._stand()


def _standoff(stance: np.ndarray) -> np.ndarray:
    return stance - STANDOFF * np.array([math.cos(stance[2]), math.sin(stance[2]), 0.0])


def _is_at(pose: np.ndarray, goal: np.ndarray, *, share: float = 1.0) -> bool:
    """Whether a pose is within a share of `AT_STANCE` of another, both (x, y, yaw)."""
    return bool(np.linalg.norm(goal[:2] - pose[:2]) < share * AT_STANCE.position) and abs(wrapped(goal[2] - pose[2])) < share * AT_STANCE.yaw


def _shifted(pose: np.ndarray, by: np.ndarray) -> np.ndarray:
    return transform(pose[:3, :3], pose[:3, 3] + by)
