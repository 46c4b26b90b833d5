"""The last thing before the robot: every command passes through here, and what comes out is what is sent.

Two compiled calls a tick. `check_state` judges a measurement before anything believes it; `filter_command` judges the
command made from it. A command passes, is limited (clipped, or bent away from the robot's own body), is bridged (the
last good one again, for a few ticks without a usable state or solution), or the filter stops: motors damp, and that is
latched until `reset`. Kernels speak integer codes; `describe` turns them into text. What each rule is for, with its
figure and its test, is in docs/safety.md.

Sources: keeping clear of the own body is a second-order control barrier function on each distance (Nguyen and Sreenath
2016, eq. 20), met with the smallest change of acceleration; the idea of damping an approach is Faverjon and Tournassoud's
(1987).
"""

from __future__ import annotations

import numba
import numpy as np

from humanoid_control import self_collision
from humanoid_control.kernels import JIT
from humanoid_control.rigid_body import JOINTS, VELOCITIES, dynamics, motion_record, tree_record
from humanoid_control.robot_model import ARM_JOINTS, RobotModel
from humanoid_control.robots.command_checks import damping_command, opening_range
from humanoid_control.types import ImuSample, JointCommand, RobotState

# Verdicts of the kernels.
PASSED, LIMITED, BRIDGED, STOPPED = 0, 1, 2, 3

# Why the robot stops.
STATE_NOT_FINITE, STATE_STALE, STATE_JUMPED, CLOCK_WENT_BACK = 1, 2, 3, 4
POSITION_EXCEEDED, VELOCITY_EXCEEDED, TILTED, BODY_TOUCHED = 5, 6, 7, 8
SOLVER_FAILED, COMMAND_NOT_FINITE, ROBOT_FAILED, STOP_REQUESTED = 9, 10, 11, 12
STOP_REASONS = {
    STATE_NOT_FINITE: "the measured state is not finite",
    STATE_STALE: "no new state for {value:.3f} s ({allowed:.3f} s allowed)",
    STATE_JUMPED: "joint {joint} jumped by {value:.2f} rad between two states ({allowed:.2f} rad possible)",
    CLOCK_WENT_BACK: "the robot's clock went back by {value:.3f} s",
    POSITION_EXCEEDED: "joint {joint} is {value:.3f} rad beyond its limit ({allowed:.3f} rad allowed)",
    VELOCITY_EXCEEDED: "joint {joint} moves at {value:.1f} rad/s ({allowed:.1f} rad/s allowed)",
    TILTED: "the base is tilted by {value:.2f} rad ({allowed:.2f} rad allowed)",
    BODY_TOUCHED: "{pair} overlap by {value:.3f} m ({allowed:.3f} m allowed)",
    SOLVER_FAILED: "the solver failed for {value:.3f} s ({allowed:.3f} s allowed)",
    COMMAND_NOT_FINITE: "the command is not finite",
    ROBOT_FAILED: "the robot does not answer",
    STOP_REQUESTED: "a stop was requested",
}

# What limited a command: bits, as several can at once.
POSITION_CLIPPED, VELOCITY_CLIPPED, TORQUE_CLIPPED, TORQUE_RATE_CLIPPED, KEPT_CLEAR = 1, 2, 4, 8, 16
LIMIT_NAMES = {
    POSITION_CLIPPED: "position clipped",
    VELOCITY_CLIPPED: "velocity clipped",
    TORQUE_CLIPPED: "torque clipped",
    TORQUE_RATE_CLIPPED: "torque rate clipped",
    KEPT_CLEAR: "kept clear of own body",
}

# Why the robot holds; decided in `control_loop`, named here so that all reasons stand in one place.
NO_TARGET, TARGET_STALE, TARGET_REFUSED = 101, 102, 103
HOLD_REASONS = {
    NO_TARGET: "no target yet",
    TARGET_STALE: "the newest target is {value:.2f} s old ({allowed:.2f} s allowed)",
    TARGET_REFUSED: "the newest target was refused",
}

CLEARANCE = 0.01  # m
HAND_CLEARANCE = 0.03  # m more for each hand: its capsule is 28 mm thick, but open fingers reach 60 mm to the sides

ARM_COUNT = ARM_JOINTS.stop - ARM_JOINTS.start
FIRST_ARM = ARM_JOINTS.start
MAX_NEAR = 48
STOP_WATCH = 0.15  # rad from a joint's stop

LIMITS = np.dtype([
    ("position_lower", np.float64, JOINTS), ("position_upper", np.float64, JOINTS),
    ("velocity", np.float64, JOINTS), ("effort", np.float64, JOINTS),
    ("position_margin", np.float64),  # rad, how far beyond its limit a joint may be measured
    ("velocity_factor", np.float64),  # of the limit, measured
    ("jump", np.float64),  # rad between two states, beyond twice what the velocity limit allows
    ("torque_rate", np.float64),  # effort limits a second
    ("tilt", np.float64),  # rad
    ("bridge_s", np.float64),  # for how long the last good command may be sent again
    ("brief_s", np.float64),  # for how long a velocity may be measured over its limit
    ("distance", np.float64), ("overlap", np.float64),  # m: watched below, stop beyond
    ("clearance", np.float64, self_collision.MAX_PAIRS),  # m, kept between each pair
    ("stiffness", np.float64), ("damping", np.float64),  # 1/s^2, 1/s: of the approach to the clearance
    ("calm", np.float64),  # m/s^2: a pair that may approach with more than this is not looked at
], align=True)  # fmt: skip
"""The figures of all rules."""

MEMORY = np.dtype([
    ("code", np.int64), ("item", np.int64), ("value", np.float64), ("allowed", np.float64),  # why it bridges or stops
    ("limited", np.int64),  # bits of the last tick
    ("started", np.int64), ("stamp", np.float64), ("positions", np.float64, JOINTS),  # newest state read
    ("bridged_s", np.float64), ("fast_s", np.float64),
    ("has_total", np.int64), ("total", np.float64, JOINTS),  # N m, what the last command came to
    ("smallest_distance", np.float64),
    # Scratch.
    ("wanted", np.float64, JOINTS), ("row", np.float64, VELOCITIES),
    ("factor", np.float64, (ARM_COUNT, ARM_COUNT)), ("acceleration", np.float64, ARM_COUNT),
    ("near_row", np.float64, (MAX_NEAR, ARM_COUNT)), ("near_response", np.float64, (MAX_NEAR, ARM_COUNT)),
    ("near_needed", np.float64, MAX_NEAR), ("near_gain", np.float64, MAX_NEAR), ("near_force", np.float64, MAX_NEAR),
], align=True)  # fmt: skip
"""What the filter remembers and reports."""


def default_limits(model: RobotModel, pairs: np.void) -> np.void:
    """The figures in use; docs/safety.md says where each comes from."""
    limits = np.zeros(1, LIMITS)[0]
    limits["position_lower"], limits["position_upper"] = model.position_lower, model.position_upper
    limits["velocity"], limits["effort"] = model.velocity_limit, model.effort_limit
    limits["position_margin"] = 0.1
    limits["velocity_factor"] = 1.0
    limits["jump"] = 0.05
    limits["torque_rate"] = 250.0
    limits["tilt"] = 0.9
    limits["bridge_s"] = 0.02
    limits["brief_s"] = 0.012
    limits["distance"], limits["overlap"] = 0.10, 0.03
    for k, names in enumerate(self_collision.pair_names(model, pairs)):
        limits["clearance"][k] = CLEARANCE + HAND_CLEARANCE * sum(self_collision.HAND_LINK in n for n in names)
    limits["stiffness"], limits["damping"] = 625.0, 50.0
    limits["calm"] = 10.0
    return limits


@numba.njit(**JIT)
def _blame(memory, code, item, value, allowed):
    memory.code = code
    memory.item = item
    memory.value = value
    memory.allowed = allowed


@numba.njit(**JIT)
def _bridge(limits, memory, period):
    """The last command again, until that has gone on for too long; the reason is in `memory` already."""
    memory.bridged_s += period
    if memory.bridged_s > limits.bridge_s + 1e-9 or memory.has_total == 0:
        if memory.code == STATE_STALE or memory.code == SOLVER_FAILED:
            memory.value, memory.allowed = memory.bridged_s, limits.bridge_s
        return STOPPED
    return BRIDGED


@numba.njit(**JIT)
def check_state(limits_record, memory_record, stamp, joints, joint_velocities, torques, quaternion, gyro, specific_force, period):
    """Whether a measurement may be believed, and whether the robot is in a state to go on.

    Args:
        limits_record: (1,) `LIMITS`.
        memory_record: (1,) `MEMORY`.
        stamp: s, when it was measured.
        joints, joint_velocities, torques: (29,).
        quaternion: (4,) world_from_imu xyzw.
        gyro, specific_force: (3,).
        period: s between ticks.

    Returns:
        PASSED; BRIDGED: go on without it; STOPPED.
    """
    limits, memory = limits_record[0], memory_record[0]
    # A sum is finite only if every term is. Not np.isfinite: it is compiled as value - value == 0, which the permitted
    # reassociation turns into true.
    total = stamp
    for j in range(JOINTS):
        total += joints[j] + joint_velocities[j] + torques[j]
    for i in range(3):
        total += quaternion[i] + gyro[i] + specific_force[i]
    total += quaternion[3]
    norm = quaternion[0] ** 2 + quaternion[1] ** 2 + quaternion[2] ** 2 + quaternion[3] ** 2
    if not abs(total) < np.inf or not abs(norm - 1.0) < 0.1:
        _blame(memory, STATE_NOT_FINITE, -1, 0.0, 0.0)
        return _bridge(limits, memory, period)
    if memory.started != 0:
        elapsed = stamp - memory.stamp
        if elapsed < 0.0:
            _blame(memory, CLOCK_WENT_BACK, -1, -elapsed, 0.0)
            return STOPPED
        if elapsed == 0.0:
            _blame(memory, STATE_STALE, -1, 0.0, 0.0)
            return _bridge(limits, memory, period)
        memory.stamp = stamp
        for j in range(JOINTS):
            jump, possible = abs(joints[j] - memory.positions[j]), limits.jump + 2.0 * limits.velocity[j] * elapsed
            if jump > possible:
                _blame(memory, STATE_JUMPED, j, jump, possible)
                return _bridge(limits, memory, period)
    memory.started = 1
    memory.stamp = stamp
    memory.code = 0
    fastest, most = -1, 1.0
    for j in range(JOINTS):
        memory.positions[j] = joints[j]
        beyond = max(limits.position_lower[j] - joints[j], joints[j] - limits.position_upper[j])
        if beyond > limits.position_margin:
            _blame(memory, POSITION_EXCEEDED, j, beyond, limits.position_margin)
            return STOPPED
        share = abs(joint_velocities[j]) / (limits.velocity_factor * limits.velocity[j])
        if share > most:
            fastest, most = j, share
    memory.fast_s = memory.fast_s + period if fastest >= 0 else 0.0
    if memory.fast_s > limits.brief_s - 1e-9:
        _blame(memory, VELOCITY_EXCEEDED, fastest, abs(joint_velocities[fastest]), limits.velocity_factor * limits.velocity[fastest])
        return STOPPED
    # cos(tilt) is the z component of the base's z axis.
    upright = 1.0 - 2.0 * (quaternion[0] ** 2 + quaternion[1] ** 2) / norm
    if upright < np.cos(limits.tilt):
        _blame(memory, TILTED, -1, np.arccos(max(upright, -1.0)), limits.tilt)
        return STOPPED
    return PASSED


@numba.njit(**JIT)
def _factor_arm_masses(motion, L):
    """L (14, 14) := lower Cholesky factor of the arms' mass matrix."""
    first = 6 + FIRST_ARM
    for i in range(ARM_COUNT):
        for k in range(i + 1):
            s = motion.mass_matrix[first + i, first + k]
            for m in range(k):
                s -= L[i, m] * L[k, m]
            L[i, k] = np.sqrt(max(s, 1e-9)) if i == k else s / L[k, k]


@numba.njit(**JIT)
def _solve_arm_masses(L, x):
    """x (14,) := (L L')^-1 x."""
    for i in range(ARM_COUNT):
        for k in range(i):
            x[i] -= L[i, k] * x[k]
        x[i] /= L[i, i]
    for i in range(ARM_COUNT - 1, -1, -1):
        for k in range(i + 1, ARM_COUNT):
            x[i] -= L[k, i] * x[k]
        x[i] /= L[i, i]


@numba.njit(**JIT)
def _keep_clear(limits, tree, pairs, motion, proximity, memory, joints, joint_velocities, total):
    """Bends the arms' torques so that no distance d below the watched one shrinks too fast.

    Wanted of each is d'' >= -damping d' - stiffness (d - clearance). Only arms are bent: a leg that evades its fellow
    loses the balance, and the walker keeps them apart. The base and the legs count as moving steadily.

    Returns:
        PASSED, LIMITED or STOPPED.
    """
    memory.smallest_distance = self_collision.capsule_distances(pairs, motion, limits.distance, proximity)
    near = 0
    rate = 0.0
    for pair in range(pairs.pair_count):
        d = proximity.distance[pair]
        if d >= limits.distance:
            continue
        if d < -limits.overlap:
            _blame(memory, BODY_TOUCHED, pair, -d, limits.overlap)
            return STOPPED
        self_collision.distance_row(tree, pairs, motion, proximity, pair, memory.row)
        rate = square = 0.0
        for j in range(JOINTS):
            rate += memory.row[6 + j] * joint_velocities[j]
        needed = -limits.damping * rate - limits.stiffness * (d - limits.clearance[pair])
        if needed < -limits.calm:
            continue
        for i in range(ARM_COUNT):
            memory.near_row[near, i] = memory.row[6 + FIRST_ARM + i]
            square += memory.near_row[near, i] ** 2
        if square < 1e-8:
            continue
        memory.near_needed[near] = needed
        memory.near_force[near] = 0.0
        near += 1
        if near == MAX_NEAR - ARM_COUNT:
            break
    if near == 0:
        return PASSED
    # A joint's stop takes up what would push it further: without these rows a hand is believed to give way that cannot.
    for i in range(ARM_COUNT):
        j = FIRST_ARM + i
        for sign in (-1.0, 1.0):
            left = joints[j] - limits.position_lower[j] if sign > 0.0 else limits.position_upper[j] - joints[j]
            if left < STOP_WATCH and near < MAX_NEAR:
                for k in range(ARM_COUNT):
                    memory.near_row[near, k] = sign if k == i else 0.0
                memory.near_needed[near] = -limits.damping * sign * joint_velocities[j] - limits.stiffness * left
                memory.near_force[near] = 0.0
                near += 1
    L, a = memory.factor, memory.acceleration
    _factor_arm_masses(motion, L)
    for i in range(ARM_COUNT):
        a[i] = total[FIRST_ARM + i] - motion.bias[6 + FIRST_ARM + i]
    _solve_arm_masses(L, a)
    for n in range(near):
        for i in range(ARM_COUNT):
            memory.near_response[n, i] = memory.near_row[n, i]
        _solve_arm_masses(L, memory.near_response[n])
        gain = 0.0
        for i in range(ARM_COUNT):
            gain += memory.near_row[n, i] * memory.near_response[n, i]
        memory.near_gain[n] = gain
    bent = False
    for _ in range(8):  # projected Gauss-Seidel: each pair in turn, forces only push apart
        for n in range(near):
            missing = memory.near_needed[n]
            for i in range(ARM_COUNT):
                missing -= memory.near_row[n, i] * a[i]
            change = max(missing / memory.near_gain[n], -memory.near_force[n])
            if change != 0.0:
                memory.near_force[n] += change
                bent = True
                for i in range(ARM_COUNT):
                    a[i] += memory.near_response[n, i] * change
        if not bent:
            return PASSED
    for n in range(near):
        for i in range(ARM_COUNT):
            total[FIRST_ARM + i] += memory.near_row[n, i] * memory.near_force[n]
    return LIMITED


@numba.njit(**JIT)
def filter_command(records, positions, velocities, torques, kp, kd, joints, joint_velocities, solver_failed, period,
                   out):  # fmt: skip
    """One command, made fit to be sent.

    Args:
        records: (1,) each of `LIMITS`, `TREE`, `PAIRS`, `MOTION`, `PROXIMITY`, `MEMORY`; the motion filled by
            `rigid_body.dynamics` from the state the command was made for.
        positions, velocities, torques, kp, kd: (29,) as in `JointCommand`.
        joints, joint_velocities: (29,) of the state.
        solver_failed: whether there is no new command.
        period: s between ticks.
        out: (3, 29) filled: positions, velocities, torques.

    Returns:
        PASSED; LIMITED, with `memory.limited` saying by what; BRIDGED: send the last one again; STOPPED.
    """
    limits, tree, pairs = records[0][0], records[1][0], records[2][0]
    motion, proximity, memory = records[3][0], records[4][0], records[5][0]
    if solver_failed:
        _blame(memory, SOLVER_FAILED, -1, 0.0, 0.0)
        return _bridge(limits, memory, period)
    finite = 0.0
    for j in range(JOINTS):
        finite += positions[j] + velocities[j] + torques[j] + kp[j] + kd[j]
    if not abs(finite) < np.inf:
        _blame(memory, COMMAND_NOT_FINITE, -1, 0.0, 0.0)
        return _bridge(limits, memory, period)
    memory.bridged_s = 0.0
    limited = 0
    total = memory.wanted
    for j in range(JOINTS):
        q = min(max(positions[j], limits.position_lower[j]), limits.position_upper[j])
        v = min(max(velocities[j], -limits.velocity[j]), limits.velocity[j])
        if q != positions[j]:
            limited |= POSITION_CLIPPED
        if v != velocities[j]:
            limited |= VELOCITY_CLIPPED
        out[0, j], out[1, j] = q, v
        total[j] = torques[j] + kp[j] * (q - joints[j]) + kd[j] * (v - joint_velocities[j])
        if memory.has_total != 0:
            change = limits.torque_rate * limits.effort[j] * period
            wanted = min(max(total[j], memory.total[j] - change), memory.total[j] + change)
            if wanted != total[j]:
                limited |= TORQUE_RATE_CLIPPED
                total[j] = wanted
    clear = _keep_clear(limits, tree, pairs, motion, proximity, memory, joints, joint_velocities, total)
    if clear == STOPPED:
        return STOPPED
    if clear == LIMITED:
        limited |= KEPT_CLEAR
    for j in range(JOINTS):
        wanted, effort = total[j], limits.effort[j]
        torque = min(max(wanted, -effort), effort)
        if torque != wanted:
            limited |= TORQUE_CLIPPED
        memory.total[j] = torque
        damping = kd[j] * (out[1, j] - joint_velocities[j])
        feed = torque - kp[j] * (out[0, j] - joints[j]) - damping
        out[2, j] = min(max(feed, -effort), effort)
        # A position so far off that the feed-forward cannot make up for it is moved closer.
        if out[2, j] != feed and kp[j] > 0.0:
            q = joints[j] + (torque - out[2, j] - damping) / kp[j]
            out[0, j] = min(max(q, limits.position_lower[j]), limits.position_upper[j])
    memory.has_total = 1
    memory.limited = limited
    return PASSED if limited == 0 else LIMITED


class SafetyFilter:
    """The rules and their memory.

    Kernels are given arrays of one record: handing numba the record itself costs 1 to 5 us, as NumPy then describes its
    layout in text.

    Attributes:
        limits: the `LIMITS` record; change it before the first tick only.
        is_stopped: whether it has stopped.
    """

    def __init__(self, model: RobotModel, period_s: float) -> None:
        """Allocates everything a tick needs.

        Args:
            model: the robot.
            period_s: time between ticks.
        """
        self._model = model
        self._period_s = period_s
        self._pairs = _pairs_of(model)
        self.limits = default_limits(model, self._pairs)
        self._proximity = self_collision.proximity_record()
        self._constants = tuple(_array_of(r) for r in (self.limits, tree_record(model.tree), self._pairs))
        self._scratch = _array_of(self._proximity)
        self.reset()

    def reset(self) -> None:
        """Forgets everything, a stop included."""
        self._memory_array = np.zeros(1, MEMORY)
        self._memory = self._memory_array[0]
        self._last: JointCommand | None = None
        self._measured_openings = np.full(2, opening_range(self._model)[1])
        self._stop_text = ""
        self._verdict = PASSED
        self.is_stopped = False

    def stop(self, code: int = STOP_REQUESTED, text: str = "") -> None:
        """Stops from outside; the first reason stays.

        Args:
            code: one of `STOP_REASONS`.
            text: replaces the code's text.
        """
        if not self.is_stopped:
            self._memory["code"] = code
            self._stop_text = text
            self.is_stopped = True

    def accept(self, state: RobotState) -> bool:
        """Whether a state may be used; if not, `last_command` or, once stopped, `stop_command` is to be sent."""
        if self.is_stopped:
            return False
        imu = state.pelvis_imu
        self._verdict = check_state(self._constants[0], self._memory_array, state.stamp_s, state.joint_positions, state.joint_velocities,
                                    state.joint_torques, imu.orientation, imu.angular_velocity, imu.linear_acceleration,
                                    self._period_s)  # fmt: skip
        if self._verdict == PASSED:
            self._measured_openings = state.gripper_openings
            return True
        self.is_stopped = self._verdict == STOPPED
        return False

    def filter(self, command: JointCommand, state: RobotState, motion: np.void, *, solver_failed: bool = False) -> JointCommand:
        """What to send for a command.

        Args:
            command: what control wants.
            state: what it was made from; accepted.
            motion: `MOTION` record of that state, as `rigid_body.dynamics` fills it.
            solver_failed: whether the command is no answer to this state.
        """
        if self.is_stopped:
            return self.stop_command()
        out = np.empty((3, JOINTS))
        records = (*self._constants, _array_of(motion), self._scratch, self._memory_array)
        self._verdict = filter_command(records, command.positions, command.velocities, command.torques, command.kp, command.kd,
                                       state.joint_positions, state.joint_velocities, solver_failed, self._period_s, out)  # fmt: skip
        if self._verdict == STOPPED:
            self.is_stopped = True
            return self.stop_command()
        if self._verdict == BRIDGED:
            return self.last_command(state)
        self._last = JointCommand(state.stamp_s, out[0], out[1], out[2], command.kp, command.kd, command.gripper_openings,
                                  command.gripper_forces)  # fmt: skip
        return self._last

    def last_command(self, state: RobotState) -> JointCommand:
        """The last good command, to bridge a tick that has none of its own; the stop's once that has gone on too long."""
        if self.is_stopped or self._last is None:
            return self.stop_command()
        return self._last

    def stop_command(self) -> JointCommand:
        """The command of a safe stop: all motors damp, grippers keep what they hold."""
        openings = self._last.gripper_openings if self._last is not None else self._measured_openings
        return damping_command(float(self._memory["stamp"]), self._memory["positions"], openings)

    @property
    def code(self) -> int:
        """Why it bridges or has stopped; 0 if neither."""
        return int(self._memory["code"])

    @property
    def reason(self) -> str:
        """The same in words."""
        return self._stop_text or describe(self._memory, self._model, self._pairs)

    @property
    def limits_met(self) -> tuple[str, ...]:
        """What the last command was limited by, in words."""
        if self._verdict != LIMITED:
            return ()
        limited = int(self._memory["limited"])
        return tuple(name for bit, name in LIMIT_NAMES.items() if limited & bit)

    @property
    def smallest_distance(self) -> float:
        """m between two parts of the robot, exact below the watched distance, as of the last command."""
        return float(self._memory["smallest_distance"])


_known_pairs: dict[str, np.void] = {}


def _pairs_of(model: RobotModel) -> np.void:
    """The pairs to watch, found once for each URDF: sampling them takes longer than all else that a new loop needs."""
    if model.urdf not in _known_pairs:
        _known_pairs[model.urdf] = self_collision.pairs_record(model)
    return _known_pairs[model.urdf]


def _array_of(record: np.void) -> np.ndarray:
    """(1,) array on a record's own memory."""
    array = record.base
    return array if isinstance(array, np.ndarray) and array.shape == (1,) else np.frombuffer(record, record.dtype)


def describe(memory: np.void, model: RobotModel, pairs: np.void) -> str:
    """The reason in a `MEMORY` record in words; empty if there is none."""
    code, item = int(memory["code"]), int(memory["item"])
    if code == 0:
        return ""
    joint = model.joint_names[item] if code in (STATE_JUMPED, POSITION_EXCEEDED, VELOCITY_EXCEEDED) else ""
    pair = " and ".join(self_collision.pair_names(model, pairs)[item]) if code == BODY_TOUCHED else ""
    return STOP_REASONS[code].format(joint=joint, pair=pair, value=float(memory["value"]), allowed=float(memory["allowed"]))


def warm_up() -> None:
    """Calls every kernel of this module once, so that it is compiled and cached."""
    model = RobotModel.load()
    zeros = np.zeros(JOINTS)
    imu = ImuSample(np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3), np.zeros(3))
    state = RobotState(0.0, zeros, zeros, zeros, imu, np.zeros(2), np.zeros(2))
    rules, motion = SafetyFilter(model, 0.004), motion_record()
    dynamics(tree_record(model.tree), np.eye(3), zeros, np.zeros(VELOCITIES), motion)
    rules.accept(state)
    rules.filter(damping_command(0.0, zeros, np.zeros(2)), state, motion)
