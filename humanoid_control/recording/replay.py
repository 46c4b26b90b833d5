"""`humanoid episodes replay`: what was sent to control, sent again in simulation, and how far that leads from what was recorded.

Nothing is corrected on the way unless `--follow` is given, so walking drifts apart sooner or later: each step's touch-down depends on the
one before, on sensors' noise, and on the gait's phase, which no record holds. Where it does is reported.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import mujoco
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from humanoid_control.control_loop import BASE_VELOCITY_LIMIT, ControlLoop
from humanoid_control.errors import ConfigurationError, TargetError
from humanoid_control.footprint import odom_from_footprint
from humanoid_control.standing_body import LimbKinematics
from humanoid_control.recording.card import SUBTASK, Card
from humanoid_control.recording.errors import RecordingError
from humanoid_control.recording.reading import Recording
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import topics
from humanoid_control.ros.from_messages import (
    base_estimate_from_message, joint_command_from_message, order_from_message, whole_body_target_from_message,
)  # fmt: skip
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from humanoid_control.teleoperation.handover import PERSON
from humanoid_control.transforms import from_pose, inverse, to_pose, wrapped, yaw_of
from humanoid_control.types import FRAME_ODOM, SIDES, WholeBodyTarget

FROM_THE_BEGIN_S = 0.1  # of the simulation: what was recorded from then on is replayed from its very begin
SETTLE_S = 0.5  # s that grippers' own controllers are given to come to what they were told, while all else is held
JUDGED_FOR_S = 3.0  # s after the record's end in which the judge may still see what it saw then
FOLLOW_GAIN = (1.2, 1.2, 1.5)  # 1/s, of the way back to the recorded base: forward, left, turning
OPERATOR_TIER = 2  # of humanoid_interfaces/PolicyStatus
LIMITS = {"base": 0.05, "heading": 0.1, "joints": 0.1, "hands": 0.05, "totes": 0.05}  # m, rad: beyond it, it is another motion
UNITS = {"base": "m", "heading": "rad", "joints": "rad", "hands": "m", "totes": "m"}
SAME, ANOTHER = "the same", "another"


@dataclass(frozen=True)
class Replay:
    """What became of an episode that was carried out again.

    Attributes:
        name: of the episode.
        times_s: (N,) from the episode's begin.
        apart: (N,) each, by `LIMITS`: how far it is off what was recorded; joints as root mean square, of hands and totes the farthest.
        recorded, replayed: the judge's words, with how it ended first; empty: no verdict.
        from_begin: whether it was carried out from the simulation's begin.
        refused: how many targets control refused.
        card: of the episode.
    """

    name: str
    times_s: np.ndarray
    apart: dict[str, np.ndarray]
    recorded: str
    replayed: str
    from_begin: bool
    refused: int
    card: Card

    @property
    def is_same(self) -> bool:
        """Whether it ended as it did: done, or for the same reason."""
        return self.recorded.partition(":")[0] == self.replayed.partition(":")[0]

    def first_beyond(self, what: str) -> float | None:
        """s at which it is off by more than `LIMITS` has, for the first time."""
        beyond = np.flatnonzero(self.apart[what] > LIMITS[what])
        return float(self.times_s[beyond[0]]) if len(beyond) else None

    def subtask_at(self, time_s: float) -> str:
        """What was being done at a time."""
        return next((text for begin, end, text in self.card.spans(SUBTASK) if begin <= time_s < end), "")


def replay_episode(folder: Path, *, follow: bool = False, progress: Callable[[float], None] = lambda share: None) -> Replay:
    """Carries out again what was recorded.

    Args:
        folder: of the episode, of a simulated robot.
        follow: bring the base back to where it was recorded while it walks.
        progress: told the share that is done.

    Raises:
        RecordingError: it cannot be replayed; with the reason.
    """
    recording = Recording(folder)
    return _Rerun(recording, follow=follow).run(progress)


class _Rerun:
    """One simulation of a recorded episode."""

    def __init__(self, recording: Recording, *, follow: bool) -> None:
        self._recording, self._follow = recording, follow
        name = recording.folder.name
        self._truth = recording.stream(topics.SIMULATION_STATE)
        if recording.factory is None:
            raise RecordingError(f"{name}: the recorder was told of no factory file; record with `factory:=`, as the launch files do")
        if len(self._truth) < 2:
            raise RecordingError(f"{name} holds no true state to begin from: it is of a real robot, or of an older recorder")
        self._states = recording.stream(topics.ROBOT_STATE)
        self._targets = recording.stream(topics.WHOLE_BODY_TARGET)
        self._estimates = recording.stream(topics.BASE_ESTIMATE)
        if not len(self._targets) or not len(self._estimates):
            raise RecordingError(f"{name}: nothing was sent to control in it, so there is nothing to replay")
        if (np.diff(self._states.stamps_s) < 0).any():
            raise RecordingError(f"{name}: the robot's clock began anew in it")
        first = self._truth.message(0)
        model = RobotModel.load()
        self._floor = SimulatedFactory(model, draw_episode(recording.factory, int(first.seed)))
        scene = self._floor.scene
        if len(first.qpos) != scene.nq:
            raise RecordingError(f"{name}: its state has {len(first.qpos)} positions, the scene has {scene.nq}: factory file or robot are others now")
        self._limbs = LimbKinematics(model)
        self._base = int(scene.joint("floating_base").qposadr[0])
        self._joints = np.array([scene.joint(joint).qposadr[0] for joint in model.joint_names])
        self._now, self._then = mujoco.MjData(scene), mujoco.MjData(scene)
        self._loop = ControlLoop(self._floor.robot)
        self._odom_from_recorded: np.ndarray | None = None
        self._refused = 0

    def run(self, progress: Callable[[float], None]) -> Replay:
        """Carries it out."""
        floor, loop, truth = self._floor, self._loop, self._truth
        robot = floor.robot
        robot.connect()
        begin_s = float(truth.stamps_s[0])
        from_begin = begin_s < FROM_THE_BEGIN_S
        if not from_begin:
            self._begin_at(begin_s)
        arrivals = self._recording.robot_time_s(self._targets.log_ns)
        events = self._events()
        end_s = float(self._states.stamps_s[-1])
        target = event = compared = 0
        times, apart, verdict = [], {name: [] for name in LIMITS}, None
        while robot.data.time < end_s or (verdict is None and robot.data.time < end_s + JUDGED_FOR_S and events):
            now = float(robot.data.time)
            while event < len(events) and events[event][0] <= now + 1e-9:
                events[event][1]()
                event += 1
            while target < len(arrivals) and arrivals[target] <= now + 1e-9:
                self._submit(whole_body_target_from_message(self._targets.message(target)), now)
                target += 1
            while compared < len(truth) and truth.stamps_s[compared] < now - 1e-9:
                compared += 1
            if compared < len(truth) and abs(truth.stamps_s[compared] - now) < 0.5 * robot.period_s:
                times.append(now)
                for name, value in self._compare(np.array(truth.message(compared).qpos)).items():
                    apart[name].append(value)
            loop.step()
            robot.wait_next_tick()
            verdict = floor.verdict
            progress(min((now - begin_s) / max(end_s - begin_s, 1e-9), 1.0))
        robot.close()
        recorded = [_words(message) for message in self._recording.stream(topics.SIMULATION_VERDICT).messages()]
        return Replay(
            self._recording.folder.name, self._recording.episode_time_s(np.array(times)), {name: np.array(values) for name, values in apart.items()},
            recorded[-1] if recorded else "", _words(verdict) if verdict is not None else "", from_begin, self._refused, self._recording.card,
        )  # fmt: skip

    def _begin_at(self, begin_s: float) -> None:
        """Puts everything where it was, as fast as it was, with grippers that press as they did."""
        floor, truth, robot = self._floor, self._truth, self._floor.robot
        data, scene = robot.data, floor.scene
        qpos, following = (np.array(truth.message(index).qpos) for index in (0, 1))
        qvel = np.zeros(scene.nv)
        mujoco.mj_differentiatePos(scene, qvel, float(truth.stamps_s[1] - truth.stamps_s[0]), qpos, following)
        commands = self._recording.stream(topics.JOINT_COMMAND)
        told = joint_command_from_message(commands.message(max(int(commands.newest(np.array([begin_s]))[0]), 0)))
        for _ in range(round(SETTLE_S / robot.period_s)):
            self._put(begin_s, qpos, qvel)
            robot.write(told)
            robot.wait_next_tick()
        self._put(begin_s, qpos, qvel)
        mujoco.mj_forward(scene, data)

    def _put(self, time_s: float, qpos: np.ndarray, qvel: np.ndarray) -> None:
        data = self._floor.robot.data
        data.time, data.qpos[:], data.qvel[:] = time_s, qpos, qvel

    def _events(self) -> list[tuple[float, Callable[[], None]]]:
        """When the judge is told of an order, how much longer a person may take, and that the policy says it is done."""
        events: list[tuple[float, Callable[[], None]]] = []
        orders, policy = self._recording.stream(topics.CURRENT_ORDER), self._recording.stream(topics.POLICY_STATUS)
        said = list(zip(policy.stamps_s, policy.messages()))
        known = ""
        for time_s, message in zip(self._recording.robot_time_s(orders.log_ns) if len(orders) else (), orders.messages()):
            if not message.tote or message.order_id == known:
                continue
            known, begin_s = message.order_id, float(time_s)
            of_order = [(float(stamp), status) for stamp, status in said if status.order_id == known]
            periods = [(after[0] - before[0], after[1]) for before, after in zip(of_order, of_order[1:])]
            longer_s = sum(period for period, status in periods if status.tier == OPERATOR_TIER and 0.0 < period < topics.POLICY_STATUS.timeout_s)
            done_s = next((stamp for stamp, status in of_order if status.outcome == "done" or status.policy == PERSON), None)
            events += [(begin_s, partial(self._floor.begin, order_from_message(message))), (begin_s, partial(self._floor.allow_longer, longer_s))]
            if done_s is not None:
                events.append((max(done_s, begin_s), self._floor.accept_done))
        return sorted(events, key=lambda event: event[0])

    def _submit(self, target: WholeBodyTarget, now: float) -> None:
        if self._odom_from_recorded is None:
            self._odom_from_recorded = np.eye(4) if now < FROM_THE_BEGIN_S or self._loop.state is None else self._aligned(now)
        away = self._odom_from_recorded
        if target.frame == FRAME_ODOM and not (away == np.eye(4)).all():
            poses = np.array([to_pose(away @ from_pose(pose)) for pose in target.hand_poses])
            turns = np.kron(np.eye(2), away[:3, :3])
            target = replace(target, hand_poses=poses, hand_velocities=target.hand_velocities @ turns.T)
        if self._follow and np.any(target.base_velocity):
            target = replace(target, base_velocity=self._led_back(target.base_velocity, now))
        try:
            self._loop.submit(target)
        except TargetError:
            self._refused += 1

    def _estimate_then(self, time_s: float) -> np.ndarray:
        """(4, 4) recorded odom_from_base_footprint."""
        index = max(int(self._estimates.newest(np.array([time_s]))[0]), 0)
        return odom_from_footprint(base_estimate_from_message(self._estimates.message(index)))

    def _aligned(self, now: float) -> np.ndarray:
        """(4, 4) odom_from_recorded_odom: both robots stand in the same place, and call it differently."""
        return odom_from_footprint(self._loop.estimate()) @ inverse(self._estimate_then(self._loop.state.stamp_s))

    def _led_back(self, velocity: np.ndarray, now: float) -> np.ndarray:
        here = odom_from_footprint(self._loop.estimate())
        off = inverse(here) @ self._odom_from_recorded @ self._estimate_then(now)
        error = np.array([off[0, 3], off[1, 3], yaw_of(off)])
        return np.clip(velocity + np.array(FOLLOW_GAIN) * error, -BASE_VELOCITY_LIMIT, BASE_VELOCITY_LIMIT)

    def _compare(self, qpos: np.ndarray) -> dict[str, float]:
        floor = self._floor
        data = self._now  # where physics has come to, and not where it was a step ago
        for one, positions in ((self._now, floor.robot.data.qpos), (self._then, qpos)):
            one.qpos[:] = positions
            mujoco.mj_kinematics(floor.scene, one)
        now, then = (self._base_pose(one.qpos) for one in (data, self._then))
        hands = [[base @ hand for hand in self._limbs.base_from_hands(one.qpos[self._joints])] for base, one in ((now, data), (then, self._then))]
        totes = [np.linalg.norm(floor.world.tote_pose(data, tote.name)[:3, 3] - floor.world.tote_pose(self._then, tote.name)[:3, 3])
                 for tote in floor.episode.factory.totes]  # fmt: skip
        return {
            "base": float(np.linalg.norm(now[:3, 3] - then[:3, 3])), "heading": abs(wrapped(yaw_of(now) - yaw_of(then))),
            "joints": float(np.sqrt(np.mean((data.qpos[self._joints] - qpos[self._joints]) ** 2))),
            "hands": max(float(np.linalg.norm(hands[0][side][:3, 3] - hands[1][side][:3, 3])) for side in range(len(SIDES))),
            "totes": float(max(totes, default=0.0)),
        }  # fmt: skip

    def _base_pose(self, qpos: np.ndarray) -> np.ndarray:
        x, y, z, qw, qx, qy, qz = qpos[self._base : self._base + 7]
        return from_pose(np.array([x, y, z, qx, qy, qz, qw]))


def _words(verdict) -> str:
    """Of a verdict, or its message: how it ended, and why."""
    return f"done: {verdict.detail}" if verdict.done else f"{verdict.reason}: {verdict.detail}"


# --- the command ------------------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `humanoid episodes replay`."""
    parser.add_argument("folder", type=Path, help="an episode of a simulated robot")
    parser.add_argument("--follow", action="store_true", help="lead the base back to its recorded way while it walks: no longer open loop")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the divergence over time: .png, .svg or .pdf")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write it to a file, for machines")


def run(args: argparse.Namespace) -> int:
    """Carries out the command; 0 when the outcome is the same.

    Raises:
        HumanoidControlError: it cannot be replayed, or a file cannot be written.
    """
    if args.plot is not None and args.plot.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigurationError(f"--plot is {args.plot}; it must end in .png, .svg or .pdf")
    console = Console(highlight=False, soft_wrap=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("replays", total=1.0)
        replayed = replay_episode(args.folder, follow=args.follow, progress=lambda share: bar.update(task, completed=share))
    _print(console, replayed, follow=args.follow)
    try:
        if args.json is not None:
            args.json.write_text(json.dumps(_for_machines(replayed, follow=args.follow), indent=1) + "\n")
        if args.plot is not None:
            _draw(replayed, args.plot)
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be written: {error.strerror}") from None
    return 0 if replayed.is_same else 1


def _print(console: Console, replayed: Replay, *, follow: bool) -> None:
    begin = "from the simulation's begin" if replayed.from_begin else "from the true state at its begin, with a controller that knows nothing of before"
    console.print(f"{replayed.name}: carried out again {begin}, {'led back to its way' if follow else 'open loop'}")
    marks = [mark for mark in (1.0, 5.0, 10.0, 20.0, 40.0) if len(replayed.times_s) and mark < replayed.times_s[-1]]
    table = Table("apart", *(f"at {mark:g} s" for mark in marks), "at the end", "most", "another motion from")
    for name, values in replayed.apart.items():
        if not len(values):
            continue
        first = replayed.first_beyond(name)
        where = "" if first is None else f"{first:.1f} s, {replayed.subtask_at(first) or 'no sub-task'} (> {LIMITS[name]:g} {UNITS[name]})"
        at = [values[int(np.searchsorted(replayed.times_s, mark))] for mark in marks]
        table.add_row(f"{name}, {UNITS[name]}", *(f"{value:.3f}" for value in (*at, values[-1], values.max())), where)
    console.print(table)
    if replayed.refused:
        console.print(f"{replayed.refused} targets were refused by control")
    console.print(f"recorded: {replayed.recorded or 'no verdict'}\nreplayed: {replayed.replayed or 'no verdict'}\n"
                  f"outcome: {SAME if replayed.is_same else ANOTHER}")  # fmt: skip


def _for_machines(replayed: Replay, *, follow: bool) -> dict:
    return {
        "episode": replayed.name, "recorded": replayed.recorded, "replayed": replayed.replayed, "same_outcome": replayed.is_same,
        "from_begin": replayed.from_begin, "follow": follow, "refused": replayed.refused, "times_s": replayed.times_s.round(4).tolist(),
        "apart": {name: values.round(6).tolist() for name, values in replayed.apart.items()},
        "first_beyond": {name: {"limit": LIMITS[name], "time_s": replayed.first_beyond(name)} for name in LIMITS},
    }  # fmt: skip


def _draw(replayed: Replay, path: Path) -> None:
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(10.0, 8.0), layout="constrained")
    every = figure.subplots(len(LIMITS), sharex=True)
    for axes, (name, values) in zip(every, replayed.apart.items()):
        axes.plot(replayed.times_s, np.maximum(values, 1e-9), linewidth=1)
        axes.axhline(LIMITS[name], color="#e53e3e", linewidth=0.8, linestyle=":")
        axes.set(ylabel=f"{name}, {UNITS[name]}", yscale="log", ylim=(1e-6, max(10 * LIMITS[name], 2 * float(np.max(values, initial=0.0)))))
        axes.grid(alpha=0.3)
        for begin, _, text in replayed.card.spans(SUBTASK):
            axes.axvline(begin, color="#a0aec0", linewidth=0.6)
            if axes is every[0]:
                axes.annotate(text, (begin, 1.02), xycoords=("data", "axes fraction"), rotation=30, fontsize=8)
    every[-1].set_xlabel("s from the episode's begin")
    figure.suptitle(f"{replayed.name}: recorded {replayed.recorded or 'no verdict'}; replayed {replayed.replayed or 'no verdict'}", fontsize=10)
    figure.savefig(path)
