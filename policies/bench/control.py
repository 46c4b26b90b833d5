"""One control tick: how long it takes, and where the time goes.

States are recorded from the simulated robot, standing, walking and carrying, with pushes among them, then played back to
a fresh controller, which does exactly what it did live, but without physics between ticks. The recording is played five
times; of each tick the quickest counts, so that what other processes do to the core is left out. What a tick costs when
everything is counted is a row of its own.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numba
import numpy as np

from policies.bench.push import Case, PushTrial
from humanoid_control.bench.report import Report, progress
from humanoid_control.control_loop import ControlLoop
from humanoid_control.kernels import JIT
from humanoid_control.rigid_body import dynamics
from humanoid_control.robot_model import RobotModel
from humanoid_control.types import JointCommand, RobotState, WholeBodyTarget
from humanoid_control.whole_body_control import dynamics_qp, walking
from humanoid_control.whole_body_control.controller import WholeBodyController

PERIOD_S = 0.004
ROUNDS, REPEATS, COUNT, EVERY = 5, 3, 5, 7  # rounds of all ticks; of a part on one tick; calls in it; ticks to the next one
CASES = (Case("standing", 90.0), Case("walking", 50.0, speed=0.3), Case("carrying", 50.0, speed=0.3, carries=True))
SEEDS = {"standing": (1, 2), "walking": (3, 4, 5), "carrying": (6, 7)}


@dataclass
class Recording:
    """What one run read and was told.

    Attributes:
        states: of each tick.
        targets: likewise.
    """

    states: list[RobotState] = field(default_factory=list)
    targets: list[WholeBodyTarget] = field(default_factory=list)


class RecordedRobot:
    """Reads what was recorded, one state a tick."""

    def __init__(self, model: RobotModel, states: list[RobotState]) -> None:
        self.model, self.period_s = model, PERIOD_S
        self._states, self._next = states, 0

    def read(self) -> RobotState:
        """The state of this tick."""
        return self._states[self._next]

    def write(self, command: JointCommand) -> JointCommand:
        """Takes the command and does nothing."""
        self._next += 1
        return command


def record(model: RobotModel, case: Case, seed: int) -> Recording:
    """States and targets of a trial with one push."""
    rng = np.random.default_rng(seed)
    trial, recording = PushTrial(model, case, seed), Recording()
    step, submit = trial.loop.step, trial.loop.submit

    def stepped() -> JointCommand:
        command = step()
        recording.states.append(trial.loop.state)
        return command

    def submitted(target: WholeBodyTarget) -> None:
        recording.targets.append(target)
        submit(target)

    trial.loop.step, trial.loop.submit = stepped, submitted
    trial.run(rng.uniform(0, 2 * np.pi), case.force, rng.uniform(0, 0.96))
    return recording


def _play(model: RobotModel, recording: Recording, times: np.ndarray, total: np.ndarray) -> None:
    """Times estimator and controller of each tick into `times`, the whole of `ControlLoop` into `total` (n,)."""
    controller, clock = WholeBodyController(model), time.perf_counter
    for k, (state, target) in enumerate(zip(recording.states, recording.targets, strict=True)):
        t0 = clock()
        controller.set_target(target)
        controller.estimate(state, PERIOD_S)
        controller.step(state, PERIOD_S)
        times[k] = clock() - t0
    loop = ControlLoop(RecordedRobot(model, recording.states))
    for k, target in enumerate(recording.targets):
        t0 = clock()
        loop.submit(target)
        loop.step()
        total[k] = clock() - t0


DYNAMICS, WALKING, ASSEMBLY, PROJECTION, INEQUALITIES = range(5)
PARTS = ("dynamics", "walking", "QP: tasks to normal equations", "QP: invert and project", "QP: inequalities")


@numba.njit(**JIT)
def _run_part(records, joints, part, count):
    """One part of a tick, `count` times, on the records as the tick left them."""
    tree, points, gains, gait, filter_ = records[0][0], records[1][0], records[2][0], records[3][0], records[4][0]
    walk, tasks, motion, memory, out = records[5][0], records[6][0], records[7][0], records[8][0], records[9][0]
    error, point, twist, drift, rotation = np.empty(3), np.empty(3), np.empty(6), np.empty(6), np.empty((3, 3))
    forces = 12 * (tasks.contact[0] + tasks.contact[1])
    for _ in range(count):
        if part == DYNAMICS:
            dynamics(tree, filter_.rotation, joints, filter_.velocity, motion)
        elif part == WALKING:
            walking.step(gait, walk, memory.com, memory.com_velocity, memory.soles, memory.soles_yaw, memory.ankles,
                         memory.touching, memory.velocity, memory.pelvis_height + memory.com_above_pelvis, 0.0, PERIOD_S)  # fmt: skip
        elif part == ASSEMBLY:
            dynamics_qp._assemble(tree, points, gains, tasks, motion, joints, filter_.velocity, out, error, point, twist,
                                  drift, rotation)  # fmt: skip
            dynamics_qp._map_forces(tree, points, tasks, motion, out, point)
        else:
            if part == PROJECTION:
                dynamics_qp._invert_hessian(out)
            dynamics_qp._project(gains, motion, out, forces)
            if part == INEQUALITIES:
                dynamics_qp._satisfy_inequalities(gains, points, tasks, motion, out, forces)


@numba.njit(**JIT)
def _project_again(records, count):
    """What `INEQUALITIES` does before the inequalities."""
    for _ in range(count):
        tasks = records[6][0]
        dynamics_qp._project(records[2][0], records[7][0], records[9][0], 12 * (tasks.contact[0] + tasks.contact[1]))


def _quickest(call: Callable[[], object], count: int) -> float:
    best = np.inf
    for _ in range(REPEATS):
        t0 = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - t0)
    return best / count


class Stopwatch:
    """Times the parts of a tick one by one."""

    def __init__(self, controller: WholeBodyController) -> None:
        c = controller
        self._walk = c.walk
        records = (c._payload_tree, c._points, c.gains, c.gait, c.estimator.record, c.walk, c.tasks, c.motion, c.memory,
                   c.solution)  # fmt: skip
        self._records = tuple(record.base for record in records)

    def measure(self, state: RobotState) -> dict[str, float]:
        """Seconds by part; the records are left as they were found, as far as the next tick reads them."""
        found, joints = {}, state.joint_positions
        for part, name in enumerate(PARTS):
            records, count = self._records, COUNT
            if part == WALKING:  # a step changes the walker: on a copy, and few
                records, count = (*records[:5], self._walk.base.copy(), *records[6:]), 3
            found[name] = _quickest(lambda part=part, r=records, n=count: _run_part(r, joints, part, n), count)
        found[PARTS[INEQUALITIES]] -= _quickest(lambda: _project_again(self._records, COUNT), COUNT)
        return found


def _measure_parts(model: RobotModel, recordings: list[Recording]) -> dict[str, list[float]]:
    parts: dict[str, list[float]] = {}
    for recording in recordings:
        controller = WholeBodyController(model)
        watch = Stopwatch(controller)
        for k, (state, target) in enumerate(zip(recording.states, recording.targets, strict=True)):
            controller.set_target(target)
            t0 = time.perf_counter()
            controller.estimate(state, PERIOD_S)
            estimate = time.perf_counter() - t0
            controller.step(state, PERIOD_S)
            if k % EVERY or not k:
                continue
            parts.setdefault("estimate", []).append(estimate)
            for name, seconds in watch.measure(state).items():
                parts.setdefault(name, []).append(seconds)
    return parts


def run(report: Report, *, quick: bool = False) -> None:
    """Adds the whole tick, then its parts."""
    model = RobotModel.load()
    jobs = [(case, seed) for case in CASES for seed in (SEEDS[case.name][:1] if quick else SEEDS[case.name])]
    recordings = [record(model, case, seed) for case, seed in progress(jobs, "recording")]
    rounds = 2 if quick else ROUNDS
    sizes = [len(r.targets) for r in recordings]
    times, totals = ([np.empty((rounds, n)) for n in sizes] for _ in range(2))
    gc.collect()
    gc.disable()
    try:
        for k in progress(range(rounds), "playing back"):
            for i, recording in enumerate(recordings):
                _play(model, recording, times[i][k], totals[i][k])
        parts = _measure_parts(model, recordings)
    finally:
        gc.enable()
    best = np.concatenate([t.min(axis=0)[5:] for t in times])
    whole = np.concatenate([t.min(axis=0)[5:] for t in totals])
    step = report.add_times("control step: estimate, walk, solve", best, peer=False)
    step["max"] = round(1e6 * float(best.max()), 1)
    report.add_times("control step, every time it was played", np.concatenate([t[:, 5:].ravel() for t in times]), peer=False)
    loop = report.add_times("control loop: checks and safety filter too", whole, peer=False)
    loop["max"] = round(1e6 * float(whole.max()), 1)
    rest = 1e6 * np.median(best)
    for name, seconds in parts.items():
        row = report.add_times(f"  {name}", seconds, peer=False)
        rest -= row["p50"]
    report.add_value("  rest: hand loads, references, Python", rest, "us")
    report.notes.append(f"Slowest of {len(best)} ticks: {step['max']:.0f} us; with safety filter {loop['max']:.0f} us.")
