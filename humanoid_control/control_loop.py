"""The loop that owns the actuators: read, estimate, choose, solve, filter, write.

It runs once a tick of the robot. A target that is stale, missing or refused is held: the robot comes to a stand and keeps
balancing. A state that cannot be used, a failed solver or a limit exceeded ends in a safe stop, latched until `reset`.
Both say why in `status`. The rules and their figures are in `safety` and docs/safety.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numba
import numpy as np

from humanoid_control import safety
from humanoid_control.errors import RobotError, TargetError
from humanoid_control.kernels import JIT
from humanoid_control.robot_model import RobotModel
from humanoid_control.robots.command_checks import opening_range
from humanoid_control.robots.robot import Robot
from humanoid_control.types import (
    FRAME_ODOM, TARGET_FRAMES, BaseEstimate, ControlStatus, JointCommand, RobotState, WholeBodyTarget,
)  # fmt: skip
from humanoid_control.whole_body_control import dynamics_qp, walking
from humanoid_control.whole_body_control.controller import WholeBodyController

STALE_TARGET_S = 0.2
FUTURE_TARGET_S = 0.1  # clocks of one robot agree better than this
LATE_TICK = 1.5  # periods between two states: a tick was missed
MODES = ("standing", "walking", "holding", "stopped")

PELVIS_HEIGHT_RANGE = (0.35, 0.80)  # m
TORSO_PITCH_RANGE = (-0.3, 1.2)  # rad
BASE_VELOCITY_LIMIT = np.array([0.6, 0.3, 1.2])  # m/s, m/s, rad/s: beyond what walks
HAND_REACH = 1.2  # m from the base: beyond any arm's reach, but not beyond a stride's anticipation
HAND_SPEED_LIMIT = 5.0  # m/s, rad/s

_SHAPES = {"base_velocity": (3,), "hand_poses": (2, 7), "hand_active": (2,), "hand_velocities": (2, 6),
           "gripper_openings": (2,), "gripper_forces": (2,), "torso_pitch": (), "pelvis_height": (), "stamp_s": ()}  # fmt: skip
_ARRAYS = tuple(name for name, shape in _SHAPES.items() if shape and name != "hand_active")
_DOUBLE, _BOOL = np.dtype(np.float64), np.dtype(bool)


class Event(Protocol):
    """What `ControlLoop.run` asks whether to end; `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether to end."""


def check_target(target: WholeBodyTarget, *, model: RobotModel | None = None, base_position: np.ndarray | None = None) -> None:
    """Refuses a target that is malformed or out of range.

    Args:
        target: what to check.
        model: whose grippers it is for; without one, their range is not checked.
        base_position: (3,) m of `base_link` in `odom`; without one, the reach of targets in `odom` is not checked.

    Raises:
        TargetError: naming the field, its value and what is allowed.
    """
    if target.frame not in TARGET_FRAMES:
        raise TargetError(f"The target's frame is '{target.frame}'; allowed are {' and '.join(TARGET_FRAMES)}.")
    for name, shape in _SHAPES.items():
        try:
            value = np.asarray(getattr(target, name), np.float64)
        except (TypeError, ValueError):
            raise TargetError(f"The target's {name} is no array of numbers of shape {shape}.") from None
        if value.shape != shape:
            raise TargetError(f"The target's {name} has shape {value.shape}; {shape} is needed.")
        if not np.isfinite(value).all():
            raise TargetError(f"The target's {name} is not finite: {value.tolist()}.")
    poses = np.asarray(target.hand_poses, np.float64)
    norms = np.linalg.norm(poses[:, 3:], axis=1)
    if np.abs(norms - 1.0).max() > 1e-3:
        raise TargetError(f"The target's hand quaternions have lengths {norms.round(4).tolist()}; unit quaternions are needed.")
    _check_range("pelvis_height", target.pelvis_height, *PELVIS_HEIGHT_RANGE, "m")
    _check_range("torso_pitch", target.torso_pitch, *TORSO_PITCH_RANGE, "rad")
    for name, value, most, unit in zip(("forward", "left", "turning"), target.base_velocity, BASE_VELOCITY_LIMIT,
                                       ("m/s", "m/s", "rad/s"), strict=True):  # fmt: skip
        _check_range(f"base_velocity ({name})", value, -most, most, unit)
    _check_range("hand_velocities", np.abs(target.hand_velocities).max(), 0.0, HAND_SPEED_LIMIT, "m/s or rad/s")
    if model is not None:
        for side in (0, 1):
            _check_range("gripper_openings", target.gripper_openings[side], 0.0, opening_range(model)[1], "m")
            _check_range("gripper_forces", target.gripper_forces[side], 0.0, model.gripper_force_limit, "N")
    base = np.array([0.0, 0.0, target.pelvis_height]) if target.frame != FRAME_ODOM else base_position
    for side, name in ((0, "left"), (1, "right")):
        if base is not None and target.hand_active[side]:
            distance = np.linalg.norm(poses[side, :3] - base)
            if distance > HAND_REACH:
                raise TargetError(f"The target's {name} hand is {distance:.2f} m from the base; at most {HAND_REACH} m is allowed.")


def _check_range(name: str, value: float, low: float, high: float, unit: str) -> None:
    if not low - 1e-6 <= value <= high + 1e-6:
        raise TargetError(f"The target's {name} is {float(value):.4g} {unit}; {low:.4g} to {high:.4g} {unit} is allowed.")


@numba.njit(**JIT)
def _is_fit(in_odom, velocity, poses, active, hand_velocities, openings, forces, pitch, height, base, most_velocity,
            widest, most_force):  # fmt: skip
    """Whether `check_target` has nothing to say; compiled, as a policy may send a target every tick."""
    total = pitch + height
    for i in range(3):
        total += velocity[i]
        if not abs(velocity[i]) <= most_velocity[i]:
            return False
    if not (PELVIS_HEIGHT_RANGE[0] <= height <= PELVIS_HEIGHT_RANGE[1] and TORSO_PITCH_RANGE[0] <= pitch <= TORSO_PITCH_RANGE[1]):
        return False
    for side in range(2):
        p = poses[side]
        for i in range(7):
            total += p[i]
        for i in range(6):
            if not abs(hand_velocities[side, i]) <= HAND_SPEED_LIMIT:
                return False
        norm = p[3] ** 2 + p[4] ** 2 + p[5] ** 2 + p[6] ** 2
        if not abs(norm - 1.0) < 1e-3:
            return False
        if not (0.0 <= openings[side] <= widest and 0.0 <= forces[side] <= most_force):
            return False
        x, y, z = p[0], p[1], p[2] - height
        if in_odom:
            x, y, z = p[0] - base[0], p[1] - base[1], p[2] - base[2]
        if active[side] and not x * x + y * y + z * z <= HAND_REACH**2:
            return False
    return bool(abs(total) < np.inf)  # np.isfinite of a sum does not survive reassociation


class ControlLoop:
    """One robot's control, from states and targets to commands.

    Attributes:
        robot: the driver.
        controller: the whole-body controller.
        safety: the filter between controller and robot.
        state: newest measurement, None before the first step.
        sent: newest command as really sent.
        tick_count: steps taken.
        overrun_count: steps that came late: more than 1.5 periods after the one before, by the robot's clock.
    """

    def __init__(self, robot: Robot, *, stale_target_s: float = STALE_TARGET_S) -> None:
        """Prepares a loop; the robot is to be connected by the caller.

        Args:
            robot: the driver.
            stale_target_s: age at which a target is no longer followed but held.
        """
        self.robot = robot
        self.controller = WholeBodyController(robot.model)
        self.safety = safety.SafetyFilter(robot.model, robot.period_s)
        self.state: RobotState | None = None
        self.sent: JointCommand | None = None
        self.tick_count = self.overrun_count = 0
        self._period_s = robot.period_s
        self._dt = robot.period_s
        self._late_s = LATE_TICK * robot.period_s
        self._stale_target_s = stale_target_s
        self._widest, self._most_force = opening_range(robot.model)[1], robot.model.gripper_force_limit
        self._base_position = self.controller.estimator.record["base_position"]
        self._target: WholeBodyTarget | None = None
        self._newest_stamp = -np.inf
        self._refusal = ""
        self._is_holding = True

    def submit(self, target: WholeBodyTarget) -> None:
        """Takes a new target over from the next step on.

        Raises:
            TargetError: if it is malformed, out of range or from the future: control then holds, and says why in its
                status, until a good one comes. If it is older than one taken before: that one stays.
        """
        try:
            target = self._checked(target)
        except TargetError as error:
            self.refuse(str(error))
            raise
        if target.stamp_s < self._newest_stamp:
            raise TargetError(f"The target is from {target.stamp_s:.3f} s, but one from {self._newest_stamp:.3f} s was taken before.")
        self._newest_stamp = target.stamp_s
        self._target = target
        self._refusal = ""

    def refuse(self, reason: str) -> None:
        """Holds from the next step on, until a good target comes: the newest one could not even be read.

        Args:
            reason: for the status.
        """
        self._target = None
        self._refusal = reason

    def _checked(self, target: WholeBodyTarget) -> WholeBodyTarget:
        """The target, its arrays made double where they were not."""
        t = target
        base = self._base_position
        plain = t.frame in TARGET_FRAMES and getattr(t.hand_active, "dtype", None) == _BOOL and t.hand_active.shape == (2,)
        for name in _ARRAYS:
            value = getattr(t, name)
            plain = plain and type(value) is np.ndarray and value.dtype == _DOUBLE and value.shape == _SHAPES[name]
        if not plain or not _is_fit(t.frame == FRAME_ODOM, t.base_velocity, t.hand_poses, t.hand_active, t.hand_velocities,
                                    t.gripper_openings, t.gripper_forces, float(t.torso_pitch), float(t.pelvis_height), base,
                                    BASE_VELOCITY_LIMIT, self._widest, self._most_force):  # fmt: skip
            check_target(t, model=self.robot.model, base_position=base if self.state is not None else None)
            arrays = {name: np.ascontiguousarray(getattr(t, name), np.float64) for name in _ARRAYS}
            target = replace(t, **arrays, hand_active=np.asarray(t.hand_active, bool))
        if not np.isfinite(t.stamp_s):
            raise TargetError(f"The target's stamp_s is not finite: {t.stamp_s}.")
        if self.state is not None and t.stamp_s > self.state.stamp_s + FUTURE_TARGET_S:
            ahead = t.stamp_s - self.state.stamp_s
            raise TargetError(f"The target is {ahead:.3f} s ahead of the robot's clock; at most {FUTURE_TARGET_S} s is allowed.")
        return target

    def step(self) -> JointCommand:
        """One tick: the command as really sent.

        A robot that fails to answer is stopped as far as it still listens; that is in `status`, not raised.
        """
        state = self._read()
        if self.safety.is_stopped:
            self.state = state or self.state
            command = self.safety.stop_command()
        elif not self.safety.accept(state):
            command = self.safety.last_command(state)
        else:
            self._note_time(state)
            self.controller.estimate(state, self._dt)
            self._choose(state)
            wanted, status = self.controller.step(state, self._dt)
            command = self.safety.filter(wanted, state, self.controller.motion, solver_failed=status == dynamics_qp.FAILED)
        return self._write(command)

    def _read(self) -> RobotState | None:
        self.tick_count += 1
        try:
            return self.robot.read()
        except RobotError as error:
            self._give_up(error)
            return None

    def _note_time(self, state: RobotState) -> None:
        self._dt = self._period_s
        if self.state is not None and state.stamp_s - self.state.stamp_s > self._late_s:
            self._dt = state.stamp_s - self.state.stamp_s
            self.overrun_count += 1
        self.state = state

    def _choose(self, state: RobotState) -> None:
        """Follows the target, or comes to a stand where there is none to follow."""
        target = self._target
        if target is not None and state.stamp_s - target.stamp_s <= self._stale_target_s:
            self.controller.set_target(target)
            self._is_holding = False
        elif not self._is_holding:
            self.controller.hold()
            self._is_holding = True

    def _write(self, command: JointCommand) -> JointCommand:
        try:
            self.sent = self.robot.write(command)
        except RobotError as error:
            self._give_up(error)
            self.sent = self.safety.stop_command()
        return self.sent

    def _give_up(self, error: RobotError) -> None:
        """Stops a robot that does not answer; it may still hear us."""
        if self.safety.is_stopped:
            return
        self.safety.stop(safety.ROBOT_FAILED, f"{safety.STOP_REASONS[safety.ROBOT_FAILED]}: {error}")
        try:
            self.robot.stop()
        except RobotError:
            pass  # the reason is known already, and there is no one else to tell

    def stop(self, reason: str) -> None:
        """Stops safely from the next step on: motors damp until `reset`.

        Args:
            reason: for the status.
        """
        self.safety.stop(safety.STOP_REQUESTED, reason)

    def reset(self) -> None:
        """Starts anew after a stop: estimate, gait and target are forgotten, tuning is kept.

        What caused the stop is looked at again in the next step.
        """
        old, new = self.controller, WholeBodyController(self.robot.model)
        for name in ("gains", "gait", "tuning"):
            kept, fresh = getattr(old, name), getattr(new, name)
            for field in fresh.dtype.names:  # into the record that the kernels hold already
                fresh[field] = kept[field]
        new.kp[:], new.kd[:] = old.kp, old.kd
        self.controller = new
        self._base_position = new.estimator.record["base_position"]
        self.safety.reset()
        self.state = None
        self._target = None
        self._newest_stamp = -np.inf
        self._refusal = ""
        self._is_holding = True

    def run(self, stop_event: Event) -> None:
        """Steps at every tick until the event is set, then lets the motors damp.

        The robot's `wait_next_tick` keeps absolute deadlines; how many were missed is in `overrun_count`.
        """
        try:
            while not stop_event.is_set():
                self.step()
                self.robot.wait_next_tick()
        finally:
            self.robot.stop()

    def estimate(self) -> BaseEstimate:
        """Where the robot believes it is, as of the last step with a usable state."""
        return self.controller.base_estimate(self.state)

    def status(self) -> ControlStatus:
        """What control is doing, as of the last step."""
        walk, memory = self.controller.walk, self.controller.memory
        mode, reason = "standing" if walk["mode"] == walking.STANDING else "walking", ""
        stamp = self.state.stamp_s if self.state is not None else 0.0
        if self.safety.is_stopped:
            mode, reason = "stopped", self.safety.reason
        elif self._is_holding:
            mode, reason = "holding", self._hold_reason(stamp)
        return ControlStatus(
            stamp_s=stamp, mode=mode, reason=reason, payload_masses=memory["payload"].copy(),
            hand_errors=memory["hand_error"].copy(), step_count=int(walk["steps"]),
        )  # fmt: skip

    def _hold_reason(self, stamp_s: float) -> str:
        if self._refusal:
            return f"{safety.HOLD_REASONS[safety.TARGET_REFUSED]}: {self._refusal}"
        if self._target is None:
            return safety.HOLD_REASONS[safety.NO_TARGET]
        return safety.HOLD_REASONS[safety.TARGET_STALE].format(value=stamp_s - self._target.stamp_s, allowed=self._stale_target_s)


def warm_up() -> None:
    """Calls every kernel of this module and of those behind it once, so that it is compiled and cached."""
    from humanoid_control.robots.fake_robot import FakeRobot

    robot = FakeRobot(RobotModel.load())
    robot.connect()
    loop = ControlLoop(robot)
    loop.submit(WholeBodyTarget(0.0))
    for _ in range(2):
        loop.step()
        robot.wait_next_tick()
