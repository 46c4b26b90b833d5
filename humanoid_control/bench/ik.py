"""One step of whole-body inverse kinematics: ours, mink and Pink on the same problem, taking turns in one run.

Both hands and both feet in 6D, centre of mass, posture, joint position and velocity limits; the same model, targets,
weights, gain, damping and limits for all. Every candidate integrates its own motion towards the same moving targets,
and the candidates take turns, a ride of the targets each. In the first case no limit is met; in the second the joints'
ranges and speeds are narrowed until limits are met in most steps. Self-collision is left out: the peers handle it by
other means.
"""

from __future__ import annotations

import gc
import importlib.util
import logging
import time
import warnings
from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from humanoid_control.bench.report import Report, progress
from humanoid_control.inverse_kinematics import HANDS, SOLES, IkOptions, IkTargets, IkTasks, InverseKinematics
from humanoid_control.robot_model import RobotModel

DT_S, GAIN, LIMIT_GAIN, DAMPING = 0.01, 0.5, 0.5, 1e-6
HAND_WEIGHT, SOLE_WEIGHT, POSTURE_WEIGHT = 3.0, 30.0, 0.1
COM_WEIGHTS = (10.0, 10.0, 0.1)
STEPS, ROUNDS, QUICK_ROUNDS, WARM_UP_STEPS = 300, 8, 1, 20
HAND_PATH = np.array([0.15, 0.0, 0.15])  # m, there and back within a round
STANCE = {"hip_pitch": -0.35, "knee": 0.7, "ankle_pitch": -0.35, "elbow": 0.6, "shoulder_pitch": 0.2,
          "left_shoulder_roll": 0.2, "right_shoulder_roll": -0.2}  # fmt: skip
# The second case: how far and how fast joints may move.
NARROW_RANGE, NARROW_SPEED = 0.15, 0.5
PINK_SOLVERS = ("daqp", "quadprog", "proxqp")
INSTALL = "pip install 'humanoid_control[bench]' (or `make bench`)"


@dataclass(frozen=True)
class Problem:
    """One case: the model with its limits, where it starts, and the tasks' targets at the start."""

    model: RobotModel
    lower: np.ndarray
    upper: np.ndarray
    speed: np.ndarray
    start: np.ndarray
    poses: np.ndarray
    com: np.ndarray

    def hand_targets(self, step: int) -> np.ndarray:
        """(4, 7) poses of hands and soles at a step."""
        poses = self.poses.copy()
        poses[:2, :3] += 0.5 * (1 - np.cos(2 * np.pi * step / STEPS)) * HAND_PATH
        return poses


def make_problem(model: RobotModel, *, narrow: bool) -> Problem:
    """The case without limits met, or with."""
    pinocchio_model = model.pinocchio_model
    data = pinocchio_model.createData()
    start = pin.neutral(pinocchio_model)
    for i, name in enumerate(model.joint_names):
        for part, angle in STANCE.items():
            if part in name:
                start[7 + i] = angle
    start[2] -= _frame_poses(pinocchio_model, data, start, SOLES)[0, 2]
    lower, upper, speed = model.position_lower.copy(), model.position_upper.copy(), model.velocity_limit.copy()
    if narrow:
        lower, upper = np.maximum(lower, start[7:] - NARROW_RANGE), np.minimum(upper, start[7:] + NARROW_RANGE)
        speed[:] = NARROW_SPEED
    poses = _frame_poses(pinocchio_model, data, start, (*HANDS, *SOLES))
    return Problem(model, lower, upper, speed, start, poses, pin.centerOfMass(pinocchio_model, data, start).copy())


def _frame_poses(model, data, configuration, frames) -> np.ndarray:
    pin.framesForwardKinematics(model, data, configuration)
    return np.array([pin.SE3ToXYZQUAT(data.oMf[model.getFrameId(f)]) for f in frames])


class Ours:
    """This project's step."""

    name = "ours"
    peer = False

    def __init__(self, problem: Problem) -> None:
        tasks = IkTasks((*HANDS, *SOLES), np.repeat([HAND_WEIGHT, SOLE_WEIGHT], 2)[:, None], True, COM_WEIGHTS, True,
                        POSTURE_WEIGHT)  # fmt: skip
        options = IkOptions(dt_s=DT_S, gain=GAIN, damping=DAMPING, error_damping=0.0, limit_gain=LIMIT_GAIN,
                            base_velocity_limit=(1e6, 1e6), largest_position_error=1e6, largest_angle_error=1e6,
                            self_collision=False)  # fmt: skip
        self._ik = InverseKinematics(
            problem.model, tasks, options, limits=(problem.lower, problem.upper, problem.speed)
        )
        self._problem = problem
        self.limits_met = False
        self.reset()

    def reset(self) -> None:
        self.configuration = self._problem.start.copy()

    def step(self, poses: np.ndarray) -> None:
        solution = self._ik.step(self.configuration, IkTargets(poses, self._problem.com, self._problem.start[7:]))
        self.configuration = solution.configuration
        self.limits_met = bool(solution.limits.any())


class Pink:
    """Pink with one of its solvers."""

    peer = True

    def __init__(self, problem: Problem, solver: str) -> None:
        import pink
        from pink.limits import ConfigurationLimit, VelocityLimit
        from pink.tasks import ComTask, FrameTask, PostureTask

        self.name = f"pink + {solver}"
        self._pink, self._solver = pink, solver
        self._model = problem.model.pinocchio_model.copy()
        self._model.lowerPositionLimit[7:], self._model.upperPositionLimit[7:] = problem.lower, problem.upper
        self._model.velocityLimit[:6] = np.inf
        self._model.velocityLimit[6:] = problem.speed
        self._data = self._model.createData()
        self._problem = problem
        self._frames = [FrameTask(f, w, w, gain=GAIN) for f, w in zip(
            (*HANDS, *SOLES), (HAND_WEIGHT, HAND_WEIGHT, SOLE_WEIGHT, SOLE_WEIGHT), strict=True)]  # fmt: skip
        for task, pose in zip(self._frames, problem.poses, strict=True):
            task.set_target(pin.XYZQUATToSE3(pose))
        com = ComTask(cost=list(COM_WEIGHTS), gain=GAIN)
        com.set_target(problem.com)
        posture = PostureTask(cost=POSTURE_WEIGHT, gain=GAIN)
        posture.set_target(problem.start)
        self._tasks = [*self._frames, com, posture]
        self._limits = [ConfigurationLimit(self._model, LIMIT_GAIN), VelocityLimit(self._model)]
        self.reset()

    def reset(self) -> None:
        self._configuration = self._pink.Configuration(self._model, self._data, self._problem.start.copy())

    def step(self, poses: np.ndarray) -> None:
        for task, pose in zip(self._frames[:2], poses, strict=False):
            task.set_target(pin.XYZQUATToSE3(pose))
        velocity = self._pink.solve_ik(self._configuration, self._tasks, DT_S, solver=self._solver, damping=DAMPING,
                                       limits=self._limits, safety_break=False)  # fmt: skip
        self._configuration.integrate_inplace(velocity, DT_S)

    @property
    def configuration(self) -> np.ndarray:
        return self._configuration.q


class Mink:
    """mink with daqp."""

    name = "mink + daqp"
    peer = True

    def __init__(self, problem: Problem) -> None:
        import mink

        self._mink, self._problem = mink, problem
        self._model = _mujoco_model(problem)
        self._start = np.r_[problem.start[:3], problem.start[6], problem.start[3:6], problem.start[7:]]
        self._configuration = mink.Configuration(self._model, q=self._start.copy())
        self._frames = [mink.FrameTask(f, "body", w, w, gain=GAIN) for f, w in zip(
            (*HANDS, *SOLES), (HAND_WEIGHT, HAND_WEIGHT, SOLE_WEIGHT, SOLE_WEIGHT), strict=True)]  # fmt: skip
        for task, pose in zip(self._frames, problem.poses, strict=True):
            task.set_target(self._pose(pose))
        com = mink.ComTask(cost=list(COM_WEIGHTS), gain=GAIN)
        com.set_target(problem.com)
        posture = mink.PostureTask(self._model, cost=POSTURE_WEIGHT, gain=GAIN)
        posture.set_target(self._start)
        self._tasks = [*self._frames, com, posture]
        speeds = dict(zip(problem.model.joint_names, problem.speed.tolist(), strict=True))
        self._limits = [mink.ConfigurationLimit(self._model, gain=LIMIT_GAIN), mink.VelocityLimit(self._model, speeds)]

    def _pose(self, pose: np.ndarray):
        return self._mink.SE3(np.r_[pose[6], pose[3:6], pose[:3]])

    def reset(self) -> None:
        self._configuration.update(self._start.copy())

    def step(self, poses: np.ndarray) -> None:
        for task, pose in zip(self._frames[:2], poses, strict=False):
            task.set_target(self._pose(pose))
        velocity = self._mink.solve_ik(self._configuration, self._tasks, DT_S, solver="daqp", damping=DAMPING,
                                       limits=self._limits)  # fmt: skip
        self._configuration.integrate_inplace(velocity, DT_S)

    @property
    def configuration(self) -> np.ndarray:
        q = self._configuration.q
        return np.r_[q[:3], q[4:7], q[3], q[7:]]


def _mujoco_model(problem: Problem):
    """The robot for MuJoCo with its fingers locked, as the others have it, and the problem's ranges."""
    from humanoid_control.simulation.robot_spec import build_robot_spec

    spec = build_robot_spec(problem.model)
    fingers = problem.model.finger_names
    for element in [*spec.actuators, *spec.equalities, *spec.sensors, *spec.joints]:
        if any(
            name in fingers for name in (element.name, getattr(element, "name1", ""), getattr(element, "target", ""))
        ):
            spec.delete(element)
    model = spec.compile()
    for name, low, high in zip(problem.model.joint_names, problem.lower, problem.upper, strict=True):
        model.joint(name).range = (low, high)
    return model


def _candidates(problem: Problem, report: Report | None) -> list:
    found = [Ours(problem)]
    if importlib.util.find_spec("mink") and importlib.util.find_spec("daqp"):
        found.append(Mink(problem))
    elif report:
        report.notes.append(f"mink is not installed, and left out: {INSTALL}.")
    if importlib.util.find_spec("pink"):
        import qpsolvers

        found += [Pink(problem, s) for s in PINK_SOLVERS if s in qpsolvers.available_solvers]
    elif report:
        report.notes.append(f"Pink is not installed, and left out: {INSTALL}.")
    return found


def _ride(candidate, problem: Problem) -> tuple[list[float], list[float], list[bool]]:
    """Follows the moving targets once: durations (s), errors of the worse hand (m), and whether a limit was met."""
    candidate.reset()
    targets = [problem.hand_targets(step) for step in range(STEPS)]
    times, configurations, met = [], [], []
    for poses in targets:
        start = time.perf_counter()
        candidate.step(poses)
        times.append(time.perf_counter() - start)
        configurations.append(candidate.configuration)
        met.append(getattr(candidate, "limits_met", False))
    model = problem.model.pinocchio_model
    data = model.createData()
    errors = [
        float(np.linalg.norm(_frame_poses(model, data, q, HANDS)[:, :3] - poses[:2, :3], axis=1).max())
        for q, poses in zip(configurations, targets, strict=True)
    ]
    return times[WARM_UP_STEPS:], errors[WARM_UP_STEPS:], met[WARM_UP_STEPS:]


def run(report: Report, *, quick: bool = False) -> None:
    """Adds the rows of all candidates in both cases, and over both."""
    warnings.filterwarnings("ignore", module="pink|qpsolvers")
    # Both peers log a warning where their solver's tolerance leaves a joint a hair beyond its range; writing it would
    # cost them time.
    logging.disable(logging.WARNING)
    model = RobotModel.load()
    cases = {"limits not met": make_problem(model, narrow=False), "limits met": make_problem(model, narrow=True)}
    candidates = {
        case: _candidates(problem, report if i == 0 else None) for i, (case, problem) in enumerate(cases.items())
    }
    times: dict[tuple[str, str], list[float]] = {}
    errors: dict[tuple[str, str], list[float]] = {}
    met: dict[str, list[bool]] = {case: [] for case in cases}
    gc.disable()
    try:
        for _ in progress(range(QUICK_ROUNDS if quick else ROUNDS), "bench ik"):
            for case, problem in cases.items():
                for candidate in candidates[case]:
                    key = (candidate.name, case)
                    new_times, new_errors, limits_met = _ride(candidate, problem)
                    times.setdefault(key, []).extend(new_times)
                    errors.setdefault(key, []).extend(new_errors)
                    if not candidate.peer:
                        met[case].extend(limits_met)
            gc.collect()
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)
    names = [c.name for c in candidates["limits met"]]
    medians: dict[tuple[str, str], float] = {}
    for name in names:
        peer = name != Ours.name
        for case in cases:
            row = report.add_times(
                f"{name}, {case}", times[name, case], peer=peer, residual=float(np.mean(errors[name, case]))
            )
            medians[name, case] = row["p50"]
        both = [t for case in cases for t in times[name, case]]
        row = report.add_times(
            name, both, peer=peer, residual=float(np.mean([e for c in cases for e in errors[name, c]]))
        )
        medians[name, ""] = row["p50"]
    for case in cases:
        report.notes.append(f"{case}: ours met a limit in {100 * np.mean(met[case]):.0f}% of the steps.")
    for peer in ("mink", "pink"):
        rivals = [n for n in names if n.startswith(peer)]
        for case in ("", *cases):
            if rivals:
                best = min(rivals, key=lambda n, case=case: medians[n, case])
                ratio = medians[best, case] / medians[Ours.name, case]
                report.notes.append(f"{best} takes {ratio:.1f} times as long as ours{f' ({case})' if case else ''}.")
    report.notes.append("residual: mean distance (m) of the worse hand from its moving target after a step.")
