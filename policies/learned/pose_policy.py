"""The learned policy on poses: a small network, trained on the scripted one's demonstrations, in its place.

With `oracle` it is the teacher of what sees for itself; with another rung of perception it is a learned skill on tracked
poses, and runs on the robot. It knows of the world what the scripted policy knows, and nothing more. The student
(`student.py`) is the same, but that its tote's pose comes from its own eyes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from humanoid_control.errors import ConfigurationError, OrderError
from humanoid_control.footprint import odom_from_footprint
from humanoid_control.mission.factory import Factory, Order
from humanoid_control.mission.headroom import Headroom
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import from_pose, inverse, planar, to_pose, yaw_of
from humanoid_control.types import FRAME_BASE_FOOTPRINT, FRAME_ODOM, WholeBodyTarget
from perception.errors import PerceptionError
from perception.network_file import open_network
from policies.learned.action_space import ACTION_NAMES, encode_target
from policies.learned.bending import Bending
from policies.learned.chunks import Chunk, ChunkPlayer
from policies.learned.observation_space import BodySense, OrderSense
from policies.learned.nearing import FARTHEST, NEAR, Nearing, lip_distance
from policies.learned.placing import Placing, is_misplaced, is_placed
from policies.learned.pose_space import (
    ACTIVE, GOAL_PLACE, MOVES, MOVING, REPLAN_S, SCALES, SOURCE_SURFACE, STEP_S, TURNS, VELOCITY, Memory, decode_step, pose_inputs, reference_hands, stances,
    too_far_to_lift, tote_numbers, way_to_pull,
)  # fmt: skip
from policies.learned.tote_sight import ToldTote, ToteSource
from policies.learned.walking import Walking
from policies.learned.way_sense import WaySense
from policies.policy import DONE, FAILED, RUNNING, Observation, PolicyOutput
from policies.scripted.grips import LIP_OPENING, REACH_SLACK, hand_in_tote, holds_lip, openings_text, tote_facing
from policies.scripted.motions import OPEN, STANDOFF
from policies.scripted.pulling import Pull
from policies.scripted.stepping_back import StepBack
from policies.subtasks import SUBTASKS

NAME = "pose_policy"
DEFAULT = Path(__file__).resolve().parent / "models" / f"{NAME}.onnx"
PERIOD_S = 0.02
FADE_S = 0.2
PLAYED = round((REPLAN_S + FADE_S) / STEP_S)  # steps of a chunk
GRIPPER_FORCE = 20.0  # N
DONE_FROM = 0.6  # likelihood
READY, REACH, REACH_LIP, GRIP, GRIP_LIP, PULL, DRAW_NEAR, LIFT, ALIGN, SET_DOWN, LET_GO, STEP_BACK = map(
    SUBTASKS.index, ("ready", "reach", "reach_lip", "grip", "grip_lip", "pull", "draw_near", "lift", "align", "set_down", "let_go", "step_back"))  # fmt: skip
OVERDUE_TIMES, OVERDUE_S = 2.0, 2.0  # what demonstrations took, and s, after which a sub-task in which the robot stands is over
OPENED = 0.06  # m between pads that have let go
LIFTED = 0.04  # m that a tote has risen, before the robot walks back with it: what still stands drags it along
MISSED_S = 2.0  # s of gripping nothing, after which it gives up: no demonstration goes on from there
UNSEEN_S = 5.0  # without the tote's pose or a surface's, after which it gives up


class PosePolicy:
    """Carries out one order at a time, by a network. See `policies.policy.Policy`.

    Attributes:
        limit: of its uncertainty, as calibrated: above it another had better go on.
        sha256: of the checkpoint.
        card: that came with it.
    """

    period_s = PERIOD_S

    def __init__(self, model: RobotModel, checkpoint: Path | None = None, *, name: str = "teacher", network: str = NAME,
                 source: ToteSource | None = None) -> None:  # fmt: skip
        """Loads the network.

        Args:
            model: the robot.
            checkpoint: its ONNX file, with its card beside it; by default the teacher's that ships.
            name: of the policy,
            network: of its network, and of the files that hold it.
            source: who says where the tote is; by default whoever tells poses.

        Raises:
            ConfigurationError: it is missing, corrupt, or of another action space; with its hash.
        """
        path = checkpoint if checkpoint is not None else DEFAULT
        self._source = source if source is not None else ToldTote()
        self.name, self.needs = name, self._source.needs
        if path.name != f"{network}.onnx":
            raise ConfigurationError(f"{path} is no checkpoint of a {name}: its file is called {network}.onnx, with {network}.json beside it")
        try:
            self._session, self.sha256 = open_network(network, path.parent)
        except PerceptionError as error:
            raise ConfigurationError(f"{error}; train one with `humanoid train {name}`") from None
        self.card = card = json.loads(path.with_suffix(".json").read_text())
        self._body = BodySense(model)
        for what, found, needed in (("actions", card.get("actions"), list(ACTION_NAMES)),
                                    ("state", card.get("state"), list(self._body.names)),
                                    ("sub-tasks", card.get("subtasks"), list(SUBTASKS)),
                                    ("following sub-tasks", list(card.get("following", ())), list(SUBTASKS))):  # fmt: skip
            if found != needed:
                raise ConfigurationError(f"{path} (sha256 {self.sha256}) has other {what} than this robot: {_difference(found, needed)}")
        self._allowed = np.array([[then in card["following"][name] for then in SUBTASKS] for name in SUBTASKS], np.float32)
        self._stands = np.array([name in card.get("standing", ()) for name in SUBTASKS])
        longest = np.array([float(card.get("longest", {}).get(name, np.inf)) for name in SUBTASKS])
        self._overdue_s = np.where(self._stands, OVERDUE_TIMES * longest + OVERDUE_S, np.inf)
        self.limit = float(card.get("limit", np.inf))
        self._placing, self._bending = Placing(), Bending(model)
        self._factory: Factory | None = None

    def forget(self) -> None:
        """See `Policy.forget`."""
        self._factory = None
        self._source.forget()

    def reset(self, factory: Factory, order: Order) -> None:
        """See `Policy.reset`."""
        if factory is not self._factory:
            self._factory = factory
            self._orders, self._way = OrderSense(factory), WaySense(factory)
            self._walking, self._headroom = Walking(factory, self._way.floor), Headroom(factory)
        self._orders.begin(order)
        self._way.begin(*self._orders.placements)
        self._walking.begin()
        self._placing.begin()
        self._bending.begin()
        self._tote, self._carrier = order.tote, factory.tote(order.tote).carrier
        self._player = ChunkPlayer(FADE_S)
        self._memory = Memory(0, 0.0)
        self._goal: np.ndarray | None = None
        self._place = np.zeros(3)  # m in `odom`
        self._is_placed = False
        self._pull: Pull | None = None
        self._nearing: Nearing | None = None
        self._step_back: StepBack | None = None
        self._lets_go_at: WholeBodyTarget | None = None
        self._leaves_with = WholeBodyTarget(stamp_s=0.0)
        self._off_lip, self._is_open = np.inf, False
        self._is_to_be_pulled = self._holds_near_lip = self._is_too_far = False
        self._stood_at = np.eye(4)  # odom_from_base_footprint, before it bent
        self._lifts_from = 0.0  # m, height of the tote when its lift began
        self._said = ("begin", "", 0.0, 0.0)
        self._next_s = self._look_s = -np.inf
        self._last: WholeBodyTarget | None = None
        self._unseen_since: float | None = None
        self._source.begin(order)
        self._outcome, self._detail = RUNNING, ""

    def act(self, observation: Observation) -> PolicyOutput:
        """See `Policy.act`."""
        now = observation.stamp_s
        footprint = odom_from_footprint(observation.estimate)
        problem = ""
        if self._outcome == RUNNING:
            try:
                problem = self._missing(observation, now)
                if not problem:
                    if now >= self._look_s:
                        self._look_s = now + STEP_S
                        self._told_way = self._way.way(observation.poses, observation.estimate)
                        self._walking.look(observation.poses, observation.estimate, self._told_way)
                    if now >= self._next_s:
                        self._next_s = now + REPLAN_S
                        self._think(observation, footprint)
                    self._set_down()
            except OrderError as error:
                self._outcome, self._detail = FAILED, str(error)
        target = self._player.target(now, footprint) if self._outcome == RUNNING and not problem else None
        if target is not None and self._pull is not None:
            target = self._pulling(target, footprint)
        if target is not None and self._step_back is not None:
            target = self._stepping_back(target, footprint, now)
        if target is not None and self._memory.subtask == LET_GO and self._lets_go_at is not None:
            target = replace(target, torso_pitch=self._lets_go_at.torso_pitch, pelvis_height=self._lets_go_at.pelvis_height)
        if target is not None and self._memory.subtask == REACH_LIP:
            target = self._reaching_lip(target)
        if target is not None and target.base_velocity.any():
            velocity, problem, too_long = self._walking.velocity(target.base_velocity, self._said[0], observation.poses, observation.estimate, now)
            target = replace(target, base_velocity=velocity)
            if too_long:
                self._outcome, self._detail = FAILED, problem
        if target is not None:
            target = replace(target, torso_pitch=self._bending.pitch(target.torso_pitch, PERIOD_S, carries=self._said[0] in ("lift", "step_back")))
        if target is not None and target.hand_active.all():
            target = self._under_shelves(target, observation, footprint)
        if target is None:
            target = self._last.still(now) if self._last is not None else WholeBodyTarget(stamp_s=now)
        self._last = target
        subtask, following, progress, uncertainty = self._said
        return PolicyOutput(targets=(target,), period_s=PERIOD_S, subtask=subtask, next_subtask=following, problem=problem or self._detail,
                            progress=1.0 if self._outcome == DONE else progress, uncertainty=uncertainty, outcome=self._outcome,
                            detail=self._detail)  # fmt: skip

    def watch(self, observation: Observation) -> None:
        """See `policies.policy.Watcher`."""
        self._source.look(observation, lambda: self._orders.goal(observation.poses, observation.estimate, before=self._goal))

    def order_done(self) -> None:
        """See `Policy.order_done`."""
        self._orders.done()

    def _under_shelves(self, target: WholeBodyTarget, observation: Observation, footprint: np.ndarray) -> WholeBodyTarget:
        """The target, both hands lower by as much as one of them would be too near to a board above it."""
        map_from_odom = self._walking.map_from_odom
        map_from_hands = map_from_odom if target.frame == FRAME_ODOM else map_from_odom @ footprint
        wanted = target.hand_poses[:, :3] @ map_from_hands[:3, :3].T + map_from_hands[:3, 3]
        map_from_footprint = map_from_odom @ footprint
        here = [(map_from_footprint @ hand)[:3, 3] for hand in self._body.hands(observation.state, observation.estimate)]
        excess = self._headroom.excess(wanted, np.array(here))
        if excess <= 0.0:
            return target
        poses = target.hand_poses.copy()
        poses[:, 2] -= excess
        return replace(target, hand_poses=poses)

    def _missing(self, observation: Observation, now: float) -> str:
        """What it cannot do without; gives up where that does not come.

        Raises:
            OrderError: as of `ToteSource.look`.
        """
        poses = observation.poses
        what = self._source.look(observation, lambda: self._orders.goal(poses, observation.estimate, before=self._goal))
        what = what or ("" if poses is not None and poses.surfaces else "the pose of any station")
        if not what:
            self._unseen_since = None
            return ""
        self._unseen_since = now if self._unseen_since is None else self._unseen_since
        if now - self._unseen_since > UNSEEN_S:
            self._outcome, self._detail = FAILED, f"{what} did not come within {UNSEEN_S:g} s"
        return f"waits for {what}"

    def _think(self, observation: Observation, footprint: np.ndarray) -> None:
        """Asks the network for another chunk.

        Raises:
            OrderError: there is no way, or what it says is no number.
        """
        estimate = observation.estimate
        state = self._body.state(observation.state, estimate, observation.control)
        self._goal = self._orders.goal(observation.poses, estimate, before=self._goal)
        self._place = (footprint @ np.append(self._goal[GOAL_PLACE][:3], 1.0))[:3]
        tote = tote_numbers(footprint, self._source.odom_from_tote)
        wanted = self._last if self._last is not None else WholeBodyTarget(stamp_s=observation.stamp_s)
        reference = reference_hands(encode_target(wanted, footprint), state)
        self._check_reach(observation, footprint)
        self._check_grip(observation)
        inputs = pose_inputs(state, reference, self._goal, self._told_way, tote, np.array(self._memory.subtask), np.array(self._memory.elapsed_s),
                             subtasks=len(SUBTASKS))  # fmt: skip
        inputs = np.concatenate([inputs, self._source.told])
        now = observation.stamp_s
        surface = self._goal[SOURCE_SURFACE]
        self._is_to_be_pulled = self._orders.is_to_be_pulled(inverse(_planar(surface)) @ _planar(tote))
        if self._memory.subtask == READY:
            self._stood_at = footprint
        self._is_too_far = bool(too_far_to_lift(self._goal, tote_numbers(self._stood_at, self._source.odom_from_tote)) > REACH_SLACK)
        allowed = self._may_follow(now)
        chunks, subtasks, done = self._session.run(None, {"inputs": inputs[None], "allowed": allowed})
        chunk, likely = chunks[0].mean(axis=0), subtasks[0].mean(axis=0)
        if not (np.isfinite(chunk).all() and np.isfinite(likely).all()):
            raise OrderError(f"the network (sha256 {self.sha256[:12]}) says what is no number")
        subtask = int(likely.argmax())
        wanted_hands = [from_pose(hand) if wanted.frame == FRAME_ODOM else footprint @ from_pose(hand) for hand in wanted.hand_poses]
        if self._memory.subtask == REACH_LIP and self._nearing is None and (subtask == GRIP_LIP or self._off_lip < NEAR):
            subtask, self._nearing = REACH_LIP, Nearing(wanted_hands, self._facing(footprint), self._carrier)
        elif subtask != REACH_LIP:
            self._nearing = None
        if self._stands[subtask]:
            chunk[:, MOVING] = 0.0
        if subtask == GRIP_LIP:  # fingers close, and what raises the lip is the pull
            chunk[:, MOVES[0].start : MOVES[1].stop] = 0.0
        if subtask == REACH and self._memory.subtask != REACH:
            faces = inverse(footprint) @ self._facing(footprint)
            self._bending.plan([faces @ hand_in_tote(self._carrier, side) for side in (0, 1)])
        elif subtask == LET_GO:
            self._bending.forget()
        if subtask == LIFT and self._memory.subtask != LIFT:
            self._lifts_from = float(self._source.odom_from_tote[2, 3])
        if subtask != PULL:
            self._pull = None
        elif self._pull is None:
            self._pull = Pull(_pose(footprint), tuple(wanted_hands), float(way_to_pull(self._goal, tote)))
        if subtask == LET_GO and self._memory.subtask != LET_GO:  # straightening up, thighs come forward onto what stands before them
            self._lets_go_at = wanted if self._memory.subtask != PULL else None
        if subtask != STEP_BACK:
            self._step_back = None
        elif self._memory.subtask == LIFT or (self._memory.subtask == LET_GO and self._lets_go_at is not None):
            self._step_back = StepBack(_pose(footprint), STANDOFF, now)
            hands = np.array([to_pose(inverse(footprint) @ hand) for hand in wanted_hands])
            openings = wanted.gripper_openings if self._memory.subtask == LIFT else np.full(2, OPEN)
            self._leaves_with = replace(wanted, frame=FRAME_BASE_FOOTPRINT, hand_poses=hands, gripper_openings=openings)
        if subtask == STEP_BACK and self._memory.subtask == LET_GO:
            self._is_placed = self._is_measured() and is_placed(self._off_place())
        self._walking.aim(self._stance_of(subtask, state, tote, footprint))
        if self._walking.steps_up:  # once begun they are gone to their end
            chunk[:, MOVING] = not self._walking.has_arrived(now)
        self._memory = Memory(subtask, REPLAN_S + (self._memory.elapsed_s if subtask == self._memory.subtask else 0.0))
        self._said = (SUBTASKS[subtask], "", 0.0, disagreement(chunks[0], subtasks[0]))
        if done[0].mean() > DONE_FROM or (self._is_placed and subtask != STEP_BACK):  # what comes after the last step back is the end
            self._outcome = DONE
            self.order_done()
        shift = self._placing.shift.copy()  # which the reference has in it

        def decode(step: np.ndarray, stamp_s: float) -> WholeBodyTarget:
            target = decode_step(step, reference, footprint, stamp_s=stamp_s, gripper_force=GRIPPER_FORCE)
            if target.frame == FRAME_ODOM and target.hand_active.all():
                target.hand_poses[:, :3] += self._placing.shift - shift
            return target

        self._player.take(Chunk(now, STEP_S, chunk, decode), now)

    def _stepping_back(self, target: WholeBodyTarget, footprint: np.ndarray, now: float) -> WholeBodyTarget:
        """The target while it walks away from a station: straight back, bent as before; learnt, legs began as it straightened up, and hit it."""
        velocity = self._step_back.velocity(_pose(footprint), now)
        if velocity is None:  # the network goes on from here, not from where it would have been by now
            self._step_back, self._player, self._next_s = None, ChunkPlayer(FADE_S), now
            velocity = np.zeros(3)
        return replace(self._leaves_with, stamp_s=target.stamp_s, base_velocity=velocity)

    def _reaching_lip(self, target: WholeBodyTarget) -> WholeBodyTarget:
        """The target, with fingers open till the lip is between them, and both hands on their last centimetres to it."""
        target = replace(target, gripper_openings=np.full(2, OPEN))
        if self._nearing is None:
            return target
        return replace(target, frame=FRAME_ODOM, hand_poses=np.array([to_pose(hand) for hand in self._nearing.step(PERIOD_S)]), hand_active=np.full(2, True))

    def _pulling(self, target: WholeBodyTarget, footprint: np.ndarray) -> WholeBodyTarget:
        """The target, with both hands and the walk of a pull: learnt, hands sway with the body, and one slips off the lip."""
        velocity, hands, velocities = self._pull.step(_pose(footprint), PERIOD_S)
        return replace(target, frame=FRAME_ODOM, base_velocity=velocity, hand_poses=np.array([to_pose(hand) for hand in hands]), hand_active=np.full(2, True),
                       hand_velocities=velocities, gripper_openings=np.zeros(2))  # fmt: skip

    def _stance_of(self, subtask: int, state: np.ndarray, tote: np.ndarray, footprint: np.ndarray) -> np.ndarray | None:
        """(3,) x, y in m and heading in `odom` that it steps up to in a sub-task; None in those in which it does not.

        Args:
            subtask: its number.
            state, tote: as of `pose_inputs`.
            footprint: (4, 4) odom_from_base_footprint.
        """
        if subtask not in (READY, ALIGN):
            return None
        grip, pull, set_down = stances(state, self._goal, tote)
        stance = set_down if subtask == ALIGN else pull if self._is_to_be_pulled else grip
        return _pose(footprint @ planar(*stance))

    def _may_follow(self, now: float) -> np.ndarray:
        """(1, K) float32 which sub-tasks may come: as in demonstrations, but none for ever, and no tote is let go beside its place."""
        doing, allowed = self._memory.subtask, self._allowed[self._memory.subtask, None].copy()
        may_end = self._memory.elapsed_s > self._overdue_s[doing]
        if doing == SET_DOWN:
            is_beside = self._is_measured() and is_misplaced(self._off_place(), is_stacked=self._is_stacked())
            allowed[0, LET_GO] *= not is_beside
            may_end &= self._is_measured() and is_placed(self._off_place()) and not is_beside
        if doing in (READY, ALIGN):
            has_arrived = self._walking.has_arrived(now)
            may_end |= has_arrived
            allowed[0, REACH] *= has_arrived and not self._is_to_be_pulled
            allowed[0, REACH_LIP] *= has_arrived and self._is_to_be_pulled
            allowed[0, SET_DOWN] *= has_arrived
        if doing in (GRIP, DRAW_NEAR) and not may_end:
            allowed[0, LIFT] *= not self._is_too_far
            may_end |= doing == DRAW_NEAR and not self._is_too_far
        if doing == LIFT and not may_end:
            allowed[0, STEP_BACK] *= self._source.odom_from_tote[2, 3] - self._lifts_from > LIFTED
        if doing == REACH_LIP:  # hands close once they are there
            may_close = self._nearing.is_over if self._nearing is not None else self._off_lip < FARTHEST
            allowed[0, GRIP_LIP] *= may_close
            may_end = may_close and (may_end or self._nearing is not None)
        if doing == LET_GO:
            allowed[0, STEP_BACK] *= self._is_open
            may_end &= self._is_open
        if doing == GRIP_LIP:  # what is held is pulled
            allowed[0] = 0.0
            allowed[0, PULL if self._holds_near_lip else GRIP_LIP] = 1.0
        if self._step_back is not None:  # it walks to its end
            allowed[0, np.arange(len(SUBTASKS)) != doing] = 0.0
        if self._pull is not None:
            may_end |= self._pull.is_over
            allowed[0, np.arange(len(SUBTASKS)) != doing] *= self._pull.is_over
        allowed[0, doing] *= not may_end
        return allowed

    def _facing(self, footprint: np.ndarray) -> np.ndarray:
        """(4, 4) odom_from_tote, of its two equal poses that which faces as the robot does."""
        return tote_facing(self._source.odom_from_tote, yaw_of(footprint))

    def _check_reach(self, observation: Observation, footprint: np.ndarray) -> None:
        """Raises:
            OrderError: hands did not come near the lip.
        """
        if self._memory.subtask != REACH_LIP or self._nearing is not None:
            return
        hands = [footprint @ hand for hand in self._body.hands(observation.state, observation.estimate)]
        self._off_lip = lip_distance(hands, self._facing(footprint), self._carrier)
        if self._memory.elapsed_s > self._overdue_s[REACH_LIP] and self._off_lip > FARTHEST:
            raise OrderError(f"hands did not come to the near lip of {self._tote}: one is {1000 * self._off_lip:.0f} mm from it")

    def _check_grip(self, observation: Observation) -> None:
        """Raises:
            OrderError: hands have closed, and on no lip.
        """
        openings, doing = observation.state.gripper_openings, self._memory.subtask
        self._is_open = bool((openings > OPENED).all())
        self._holds_near_lip = doing == GRIP_LIP and holds_lip(openings, LIP_OPENING)
        holds = self._holds_near_lip if doing == GRIP_LIP else holds_lip(openings)
        if doing in (GRIP, GRIP_LIP) and self._memory.elapsed_s >= MISSED_S and not holds:
            raise OrderError(f"hands did not get hold of {self._tote}: {openings_text(openings)} between the pads")

    def _set_down(self) -> None:
        """Brings a tote that is set down over its place.

        Raises:
            OrderError: that does not succeed.
        """
        if self._memory.subtask != SET_DOWN or not self._is_measured() or not self._source.is_seen:
            return
        off = self._off_place()
        if self._placing.step(off, is_stacked=self._is_stacked(), dt=PERIOD_S):
            raise OrderError(f"it would set {self._tote} down {1000 * np.hypot(*off[:2]):.0f} mm off its place")

    def _off_place(self) -> np.ndarray:
        """(3,) m along the axes of `odom` that the tote is off its place."""
        return self._source.odom_from_tote[:3, 3] - self._place

    def _is_stacked(self) -> bool:
        return self._orders.place.on is not None

    def _is_measured(self) -> bool:
        """Whether the order has a place: on a moving belt there is none."""
        return not self._orders.belt_speed


def _planar(numbers: np.ndarray) -> np.ndarray:
    """(4, 4) of x, y in m, whatever, and cosine and sine of the heading."""
    return planar(*numbers[:2], np.arctan2(numbers[4], numbers[3]))


def _pose(frame: np.ndarray) -> np.ndarray:
    """(3,) x, y in m and heading of an upright frame (4, 4)."""
    return np.array([*frame[:2, 3], yaw_of(frame)])


def disagreement(chunks: np.ndarray, subtasks: np.ndarray) -> float:
    """How far the heads of a network are apart: 0, they agree; about 1, by a centimetre or as to what is to be done.

    Args:
        chunks: (M, STEPS, STEP_SIZE) of M heads; of them the steps that are played count, and what has a meaning in them.
        subtasks: (M, K) likelihoods.
    """
    mean = chunks[:, :PLAYED].mean(axis=0)
    apart = chunks[:, :PLAYED].std(axis=0) / SCALES
    counts = np.ones_like(mean)
    counts[:, VELOCITY] = (mean[:, MOVING] > 0.5)[:, None]
    for which in (*MOVES, *TURNS):
        counts[:, which] = (mean[:, ACTIVE] > 0.5)[:, None]
    counts[:, [MOVING, ACTIVE]] = 0.0
    actions = np.sqrt((counts * apart**2).sum() / max(counts.sum(), 1.0))
    return float(3.0 * actions + 1.0 - subtasks.mean(axis=0).max())


def _difference(found: list[str] | None, needed: list[str]) -> str:
    found = found or []
    return f"{len(found)} instead of {len(needed)}; lacking: {', '.join(sorted(set(needed) - set(found))[:5]) or 'none, but in another order'}"
