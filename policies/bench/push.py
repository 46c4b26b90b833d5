"""Pushes at the torso: how many of them the robot survives, standing and walking, empty-handed and with a tote.

Each trial is an episode of its own: sensor noise as on the data sheet, joint friction of 0 to 0.5 N m a joint and a delay
of 0 to 8 ms that control knows nothing of, the estimator in the loop, the safety filter behind it. A push is a constant
force for 0.2 s from one of eight directions (in turn), within 10% of the figure in its row, at any moment of the two steps
of a cycle. It is survived if 4 s later the robot stands or walks on without a safe stop and, where it carries a tote of
2 kg, still holds it; the tote is held by nothing but the fingers.
"""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, replace

import numpy as np

from humanoid_control.bench.report import Report, progress
from humanoid_control.control_loop import ControlLoop
from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.mission.factory import Factory, parse_factory
from humanoid_control.robot_model import RobotModel
from humanoid_control.robots.mujoco_robot import MujocoRobot
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.robot_spec import build_robot_spec
from humanoid_control.simulation.scene import TOTE_QPOS, FactoryWorld, build_scene
from humanoid_control.simulation.sensors import SensorNoise
from humanoid_control.transforms import inverse, quaternion, rotation_z, to_pose, transform
from humanoid_control.types import WholeBodyTarget
from humanoid_control.whole_body_control.controller import standing_posture
from policies.scripted.grips import CARRY_DISTANCE, CARRY_GRIP_HEIGHT, hand_in_tote

PUSH_S, WATCH_S = 0.2, 4.0
SPREAD = 0.1  # of the force, to either side
DIRECTIONS = 8
STEADY_S, CYCLE_S = 2.4, 0.96  # after the start of walking; two steps
WALKING_SPEED = 0.3
FALLEN_HEIGHT = 0.45  # m of the base
SLIPPED = 0.05  # m between where hand and lip were and are
GRIP_AT_S, CLOSED_AT_S, RELEASE_AT_S, CARRYING_AT_S = 1.6, 1.8, 2.6, 4.0
GRIP_FORCE = 20.0  # N
DEFAULT_COUNT, QUICK_COUNT, DEFAULT_SEED = 64, 8, 20_000
TOTE_KINDS = ("klt_3147", "klt_4147")

FACTORY = """
version: 1
name: push
floor: {{size: [40.0, 40.0], friction: 0.9}}
robot: {{start: [0.0, 0.0, 0.0]}}
stations:
  - {{name: far, kind: table, pose: [-15.0, 15.0, 0.0], size: [0.5, 1.0], height: 0.70}}
totes:
  - {{name: tote, kind: {kind}, station: far, at: [-0.08, 0.0, 0.0], mass: 2.0, colour: [0.1, 0.3, 0.8]}}
orders:
  - {{tote: tote, to: far, at: [-0.08, 0.0]}}
randomise: {{friction: [0.6, 1.0], joint_friction: [0.0, 0.5], sensor_noise: 1.0, delay_ms: [0, 8]}}
"""


@dataclass(frozen=True)
class Case:
    """One row: what the robot does, and how hard it is pushed."""

    name: str
    force: float
    speed: float = 0.0
    carries: bool = False


CASES = (
    Case("standing 90N", 90.0),
    Case("walking 50N", 50.0, speed=WALKING_SPEED),
    Case("carrying standing 70N", 70.0, carries=True),
    Case("carrying walking 50N", 50.0, speed=WALKING_SPEED, carries=True),
)


@dataclass(frozen=True)
class Outcome:
    """One trial; `reason` is empty if it was survived."""

    case: str
    index: int
    direction_deg: float
    force: float
    phase_s: float
    reason: str

    @property
    def survived(self) -> bool:
        return not self.reason


def wilson_interval(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95% interval of a rate (Wilson 1927)."""
    p, d = successes / n, 1.0 + z * z / n
    middle, half = (p + z * z / (2 * n)) / d, z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
    return float(middle - half), float(middle + half)


def push_factory(kind: str = TOTE_KINDS[0]) -> Factory:
    """An empty floor, with a tote out of the way."""
    return parse_factory(FACTORY.format(kind=kind))


class PushTrial:
    """One robot on an empty floor, brought to where it is pushed.

    Attributes:
        loop: the control loop under test.
        robot: its driver; privileged.
    """

    def __init__(self, model: RobotModel, case: Case, seed: int, kind: str = TOTE_KINDS[0]) -> None:
        """Builds the scene.

        Args:
            model: the robot.
            case: what is to be done.
            seed: of the episode.
            kind: of the tote.
        """
        episode = draw_episode(push_factory(kind), seed)
        if not case.carries:  # a scene without a tote is stepped faster
            episode = replace(episode, factory=episode.factory.model_copy(update={"totes": (), "stations": (), "orders": ()}))
        scene = build_scene(episode, build_robot_spec(model))
        self._case = case
        self._world = FactoryWorld(scene, episode)
        self.robot = MujocoRobot(model, scene, noise=SensorNoise().scaled(episode.sensor_noise), delay_s=1e-3 * episode.delay_ms,
                                 rng=episode.stream("sensors"))  # fmt: skip
        self.robot.place((0.0, 0.0, 0.0), standing_posture(model))
        self._world.reset(self.robot.data)
        self.loop = ControlLoop(self.robot)
        self.robot.connect()
        self._torso = scene.body("torso_link").id
        self._sites = [scene.site(name).id for name in ("l_gripper", "r_gripper")]
        self._held: np.ndarray | None = None
        self._force = np.zeros(3)
        self._grip: list[np.ndarray] = []
        if case.carries:
            self._carrier = episode.factory.tote("tote").carrier
            self._tote_qpos = int(scene.joint("tote/free").qposadr[0])
            self._tote_qvel = int(scene.joint("tote/free").dofadr[0])
            middle = transform(np.eye(3), np.array([CARRY_DISTANCE, 0.0, CARRY_GRIP_HEIGHT - self._carrier.grip_height]))
            self._hands = np.array([to_pose(middle @ hand_in_tote(self._carrier, side)) for side in (0, 1)])

    @property
    def time_s(self) -> float:
        return self.robot.data.time

    def _hand_pose(self, side: int) -> np.ndarray:
        data = self.robot.data
        return transform(data.site_xmat[self._sites[side]].reshape(3, 3), data.site_xpos[self._sites[side]])

    def _target(self) -> WholeBodyTarget:
        speed = self._case.speed if self.time_s > (CARRYING_AT_S if self._case.carries else 0.8) else 0.0
        velocity = np.array([speed, 0.0, 0.0])
        if not self._case.carries:
            return WholeBodyTarget(self.time_s, base_velocity=velocity)
        opening = 0.0 if self.time_s > CLOSED_AT_S else 0.08
        return WholeBodyTarget(self.time_s, base_velocity=velocity, hand_poses=self._hands, hand_active=np.ones(2, bool),
                               gripper_openings=np.full(2, opening), gripper_forces=np.full(2, GRIP_FORCE))  # fmt: skip

    def _hold_tote(self) -> None:
        """Holds the tote where the fingers close on it, until they have."""
        data = self.robot.data
        if self._held is None:
            hands = [self._hand_pose(side) for side in (0, 1)]
            places = [hands[side] @ inverse(hand_in_tote(self._carrier, side)) for side in (0, 1)]
            lips = [(p @ np.array([0.0, s * self._carrier.length / 2, 0.0, 1.0]))[:3] for p, s in zip(places, (1, -1))]
            along = lips[0] - lips[1]
            rotation = rotation_z(np.arctan2(-along[0], along[1]))
            self._held = transform(rotation, 0.5 * (lips[0] + lips[1]))
        x, y, z, w = quaternion(self._held[:3, :3])
        data.qpos[self._tote_qpos : self._tote_qpos + TOTE_QPOS] = *self._held[:3, 3], w, x, y, z
        data.qvel[self._tote_qvel : self._tote_qvel + 6] = 0.0

    def _tick(self) -> str:
        """One control tick; says what went wrong."""
        self.loop.submit(self._target())
        self.loop.step()
        if self._case.carries and GRIP_AT_S < self.time_s < RELEASE_AT_S:
            self._hold_tote()
        data = self.robot.data
        data.xfrc_applied[self._torso, :3] = self._force
        self.robot.wait_next_tick()
        if self.loop.safety.is_stopped:
            return self.loop.safety.reason
        if data.qpos[2] < FALLEN_HEIGHT:
            return "fell"
        return ""

    def _slipped(self) -> str:
        tote = self._world.tote_pose(self.robot.data, "tote")
        now = [inverse(tote) @ self._hand_pose(side) for side in (0, 1)]
        if not self._grip:
            self._grip = now
        moved = max(np.linalg.norm(a[:3, 3] - b[:3, 3]) for a, b in zip(now, self._grip))
        return f"a hand is {moved:.2f} m off its grip" if moved > SLIPPED else ""

    def run(self, direction: float, force: float, phase_s: float) -> str:
        """Pushes once; returns what went wrong, empty if nothing did.

        Args:
            direction: rad in which the force points, in the world.
            force: N.
            phase_s: s after walking has become steady.
        """
        begin = (CARRYING_AT_S if self._case.carries else 0.8) + phase_s + (STEADY_S if self._case.speed else 0.4)
        while self.time_s < begin:
            problem = self._tick()
            if problem:
                return f"before the push: {problem}"
        if self._case.carries and (problem := self._slipped()):
            return f"before the push: {problem}"
        push = force * np.array([np.cos(direction), np.sin(direction), 0.0])
        while self.time_s < begin + WATCH_S:
            self._force = push if self.time_s < begin + PUSH_S else np.zeros(3)
            problem = self._tick()
            if not problem and self._case.carries:
                problem = self._slipped()
            if problem:
                return problem
        return ""


def run_trial(case: Case, index: int, seed: int) -> Outcome:
    """The trial of an index: the same on one machine, whatever the number of workers."""
    rng = np.random.default_rng([seed, index, CASES.index(case) if case in CASES else 0])
    direction = 2 * np.pi * (index % DIRECTIONS) / DIRECTIONS
    force, phase = case.force * rng.uniform(1 - SPREAD, 1 + SPREAD), rng.uniform(0, CYCLE_S)
    kind = TOTE_KINDS[index // DIRECTIONS % len(TOTE_KINDS)]
    trial = PushTrial(RobotModel.load(), case, int(rng.integers(2**31)), kind)
    try:
        reason = trial.run(direction, force, phase)
    except HumanoidControlError as error:
        reason = str(error)
    return Outcome(case.name, index, float(np.degrees(direction)), float(force), float(phase), reason)


def _run_packed(packed: tuple[Case, int, int]) -> Outcome:
    return run_trial(*packed)


def run(report: Report, *, quick: bool = False, n: int = DEFAULT_COUNT, seed: int = DEFAULT_SEED, workers: int = 0,
        case: str | None = None) -> None:  # fmt: skip
    """Adds a row for each case.

    Args:
        report: takes the rows; why pushes were not survived goes to its notes.
        quick: eight pushes a row.
        n: pushes in each row.
        seed: of all that is drawn.
        workers: processes; 0 for one for each core.
        case: one row only.

    Raises:
        ConfigurationError: if a number is not positive or the row unknown.
    """
    for option, value, least in (("n", n, 1), ("seed", seed, 0), ("workers", workers, 0)):
        if value < least:
            raise ConfigurationError(f"--{option} is {value}; at least {least} is needed.")
    if case not in (None, *(c.name for c in CASES)):
        raise ConfigurationError(f"--case is '{case}'; known are {', '.join(c.name for c in CASES)}.")
    n = QUICK_COUNT if quick else n
    workers = workers or os.cpu_count() or 1
    cases = [c for c in CASES if case in (None, c.name)]
    jobs = [(c, index, seed) for c in cases for index in range(n)]
    if workers == 1:
        outcomes = [run_trial(*job) for job in progress(jobs, "pushes")]
    else:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            results = pool.imap(_run_packed, jobs)
            outcomes = [next(results) for _ in progress(jobs, "pushes")]
    for c in cases:
        mine = [o for o in outcomes if o.case == c.name]
        survived = sum(o.survived for o in mine)
        row = report.add_value(c.name, survived / n, "rate", n=n)
        row["wilson_95"] = [round(x, 3) for x in wilson_interval(survived, n)]
        report.notes.append(f"{c.name}: {survived} of {n}, 95% interval {row['wilson_95'][0]:.2f} to {row['wilson_95'][1]:.2f}")
        report.notes += [f"  {o.direction_deg:.0f} deg, {o.force:.0f} N, {o.phase_s:.2f} s: {o.reason}" for o in mine if o.reason]
