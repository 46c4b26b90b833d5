"""From a state and a whole-body target to motor commands: estimate, walk or stand, solve, in compiled code.

The tick itself is one call into compiled code (`_tick`) on preallocated records; the class around it only moves values in
and out. It knows nothing of time-outs, stops and limits on what is sent: those are `control_loop` and `safety`.
"""

from __future__ import annotations

import numba
import numpy as np

from humanoid_control.kernels import JIT
from humanoid_control.rigid_body import (
    GRAVITY, JOINTS, motion_record, point_columns, point_position, rotation_from_quaternion, tree_record,
)  # fmt: skip
from humanoid_control.robot_model import ARM_JOINTS, LEG_JOINTS, WAIST_JOINTS, RobotModel
from humanoid_control.state_estimation import StateEstimator
from humanoid_control.types import FRAME_ODOM, BaseEstimate, JointCommand, RobotState, WholeBodyTarget
from humanoid_control.whole_body_control import dynamics_qp, walking

TARGET = np.dtype([
    ("in_odom", np.int64), ("base_velocity", np.float64, 3),
    ("hand_active", np.int64, 2), ("hand_position", np.float64, (2, 3)), ("hand_rotation", np.float64, (2, 3, 3)),
    ("hand_velocity", np.float64, (2, 6)),
    ("torso_pitch", np.float64), ("pelvis_height", np.float64),
], align=True)  # fmt: skip
"""A `WholeBodyTarget` as the kernels read it."""

TUNING = np.dtype([
    ("posture", np.float64, JOINTS), ("posture_weight_free", np.float64, JOINTS), ("posture_weight_held", np.float64, JOINTS),
    ("velocity_rate", np.float64, 3), ("height_rate", np.float64), ("pitch_rate", np.float64), ("smoothing_s", np.float64),
    ("reference_leak", np.float64, 2),  # 1/s: how fast integrated velocity and position follow the measured
    ("friction_torque", np.float64), ("friction_speed", np.float64),
    ("touch_force", np.float64), ("payload_filter_s", np.float64), ("payload_limit", np.float64),
    ("standing_com_weight", np.float64, 3), ("walking_com_weight", np.float64, 3),
    ("pelvis_pitch_share", np.float64), ("hand_fade_s", np.float64),
], align=True)  # fmt: skip
"""What the tick needs beyond gains and gait."""

MEMORY = np.dtype([
    ("velocity", np.float64, 3), ("pelvis_height", np.float64), ("height_rate", np.float64),
    ("torso_pitch", np.float64), ("pitch_rate", np.float64), ("com_above_pelvis", np.float64),
    ("reference_position", np.float64, JOINTS), ("reference_velocity", np.float64, JOINTS),
    ("payload", np.float64, 2), ("holding", np.int64, 2), ("hand_load", np.float64, 2), ("hand_share", np.float64, 2),
    ("hand_error", np.float64, 2), ("started", np.int64), ("status", np.int64),
    ("soles", np.float64, (2, 3)), ("soles_yaw", np.float64, 2), ("ankles", np.float64, (2, 3)),
    ("com", np.float64, 3), ("com_velocity", np.float64, 3), ("touching", np.int64, 2),
    ("torque", np.float64, JOINTS),
], align=True)  # fmt: skip
"""What the tick remembers and reports."""


def standing_posture(model: RobotModel) -> np.ndarray:
    """(29,) rad: knees bent, arms hanging with forearms forward; the posture everything starts from."""
    by_name = {"hip_pitch": -0.35, "knee": 0.70, "ankle_pitch": -0.35, "shoulder_pitch": 0.25, "elbow": 0.90}
    posture = np.zeros(JOINTS)
    for i, name in enumerate(model.joint_names):
        for part, angle in by_name.items():
            if part in name:
                posture[i] = angle
        if "shoulder_roll" in name:
            posture[i] = 0.22 if name.startswith("left") else -0.22
    return posture


def default_tuning(model: RobotModel) -> np.void:
    """Figures found by pushing, carrying and bending in simulation (docs/control.md)."""
    t = np.zeros(1, TUNING)[0]
    t["posture"] = standing_posture(model)
    for field, legs, waist, arms in (("posture_weight_free", 0.004, 0.02, 0.6), ("posture_weight_held", 0.004, 0.02, 0.01)):
        t[field][LEG_JOINTS], t[field][WAIST_JOINTS], t[field][ARM_JOINTS] = legs, waist, arms
    t["velocity_rate"] = (0.6, 0.4, 1.5)
    t["height_rate"], t["pitch_rate"], t["smoothing_s"] = 0.25, 0.8, 0.12
    t["reference_leak"] = (10.0, 10.0)
    t["friction_torque"], t["friction_speed"] = 0.2, 0.1
    t["touch_force"] = 40.0
    t["payload_filter_s"], t["payload_limit"] = 0.15, 2.5
    t["standing_com_weight"] = (400.0, 400.0, 100.0)
    t["walking_com_weight"] = (1000.0, 1000.0, 300.0)
    t["pelvis_pitch_share"] = 0.5
    t["hand_fade_s"] = 0.3
    return t


@numba.njit(**JIT)
def _approach(value, rate, target, most, smoothing, dt):
    """Value and rate after dt, moving towards a target at no more than `most` a second, without a jump in rate."""
    wanted = min(max((target - value) / smoothing, -most), most)
    rate += (wanted - rate) * min(dt / (0.5 * smoothing), 1.0)
    return value + rate * dt, rate


@numba.njit(**JIT)
def _set_heading_rotation(out, yaw, pitch):
    """out (3, 3) := Rz(yaw) Ry(pitch)."""
    c, s = np.cos(yaw), np.sin(yaw)
    cp, sp = np.cos(pitch), np.sin(pitch)
    out[0, 0], out[0, 1], out[0, 2] = c * cp, -s, c * sp
    out[1, 0], out[1, 1], out[1, 2] = s * cp, c, s * sp
    out[2, 0], out[2, 1], out[2, 2] = -sp, 0.0, cp


@numba.njit(**JIT)
def _measure_hand_loads(tree, points, motion, torques, memory, tuning, payload_tree, dt):
    """Weight hanging on each hand, from what the arm's torques leave unexplained by the arm itself."""
    columns = np.empty(35, np.int64)
    jacobian = np.empty((35, 6))
    point = np.empty(3)
    for side in range(2):
        body = points.hand_body[side]
        point_position(motion, body, points.hand_offset[side], point)
        count = point_columns(tree, motion, body, point, columns, jacobian)
        along = square = 0.0
        for k in range(6, count):
            column = columns[k]
            if column - 6 < 15:
                continue  # waist joints carry both arms
            residual = motion.bias[column] - torques[column - 6]
            along += jacobian[k, 2] * residual
            square += jacobian[k, 2] * jacobian[k, 2]
        # The motion's bias already holds the payload assumed so far: what is left is the correction.
        unexplained = -along / max(square, 1e-3) / GRAVITY
        load = memory.payload[side] + unexplained
        wanted = min(max(load, 0.0), tuning.payload_limit) if memory.holding[side] != 0 else 0.0
        memory.hand_load[side] = load
        memory.payload[side] += (wanted - memory.payload[side]) * min(dt / tuning.payload_filter_s, 1.0)
        base_mass = tree.masses[body]
        total = base_mass + memory.payload[side]
        payload_tree.masses[body] = total
        for i in range(3):
            payload_tree.centres[body, i] = (base_mass * tree.centres[body, i]
                                             + memory.payload[side] * points.hand_offset[side, i]) / total  # fmt: skip


@numba.njit(**JIT)
def _locate(points, motion, base, base_velocity, memory):
    """Soles, ankles and centre of mass in `odom`."""
    for side in range(2):
        body = points.foot_body[side]
        R = motion.rotation[body]
        memory.soles_yaw[side] = np.arctan2(R[1, 0], R[0, 0])
        for i in range(3):
            ankle = motion.position[body, i] + base[i]
            for k in range(3):
                ankle += R[i, k] * points.foot_offset[side, k]
            memory.ankles[side, i] = ankle
            memory.soles[side, i] = ankle + R[i, 0] * walking.SOLE_FORWARD - R[i, 2] * walking.ANKLE_HEIGHT
    for i in range(3):
        memory.com[i] = base[i] + motion.com[i]
        memory.com_velocity[i] = motion.com_velocity[i]


@numba.njit(**JIT)
def _set_hand_tasks(points, tuning, target, walk, tasks, memory, motion, base, base_velocity, dt):
    c, s = np.cos(walk.heading), np.sin(walk.heading)
    for side in range(2):
        active = target.hand_active[side]
        tasks.hand_active[side] = active
        share = memory.hand_share[side] + (dt / tuning.hand_fade_s if active != 0 else -dt / tuning.hand_fade_s)
        memory.hand_share[side] = min(max(share, 0.0), 1.0)
        memory.hand_error[side] = 0.0
        if active == 0:
            continue
        p, R, v = target.hand_position[side], target.hand_rotation[side], target.hand_velocity[side]
        if target.in_odom != 0:
            for i in range(3):
                tasks.hand_position[side, i] = p[i] - base[i]
                tasks.hand_velocity[side, i] = v[i]
                tasks.hand_velocity[side, 3 + i] = v[3 + i]
                for k in range(3):
                    tasks.hand_rotation[side, i, k] = R[i, k]
        else:
            ground = min(memory.soles[0, 2], memory.soles[1, 2]) if walk.mode != walking.SINGLE else memory.soles[walk.support, 2]
            x, y = c * p[0] - s * p[1], s * p[0] + c * p[1]
            tasks.hand_position[side, 0] = x
            tasks.hand_position[side, 1] = y
            tasks.hand_position[side, 2] = p[2] + ground - base[2]
            rate = walk.heading_rate
            tasks.hand_velocity[side, 0] = c * v[0] - s * v[1] + base_velocity[0] - rate * y
            tasks.hand_velocity[side, 1] = s * v[0] + c * v[1] + base_velocity[1] + rate * x
            tasks.hand_velocity[side, 2] = v[2]
            tasks.hand_velocity[side, 3] = c * v[3] - s * v[4]
            tasks.hand_velocity[side, 4] = s * v[3] + c * v[4]
            tasks.hand_velocity[side, 5] = v[5] + rate
            for k in range(3):
                tasks.hand_rotation[side, 0, k] = c * R[0, k] - s * R[1, k]
                tasks.hand_rotation[side, 1, k] = s * R[0, k] + c * R[1, k]
                tasks.hand_rotation[side, 2, k] = R[2, k]
        body = points.hand_body[side]
        square = 0.0
        for i in range(3):
            x = motion.position[body, i]
            for k in range(3):
                x += motion.rotation[body, i, k] * points.hand_offset[side, k]
            square += (tasks.hand_position[side, i] - x) ** 2
        memory.hand_error[side] = np.sqrt(square)


@numba.njit(**JIT)
def _set_body_tasks(tuning, gains, target, walk, tasks, memory):
    for side in range(2):
        tasks.contact[side] = walk.contact[side]
        tasks.force_cap[side] = walk.force_cap[side]
        tasks.foot_rotation_weight[side] = walk.foot_rotation_weight
    for i in range(3):
        tasks.com_acceleration[i] = walk.com_acceleration[i]
        standing = walk.mode == walking.STANDING
        gains.com_weight[i] = tuning.standing_com_weight[i] if standing else tuning.walking_com_weight[i]
        tasks.pelvis_rate[i] = 0.0
        tasks.torso_rate[i] = 0.0
    pitch = memory.torso_pitch
    _set_heading_rotation(tasks.torso_rotation, walk.heading, pitch)
    _set_heading_rotation(tasks.pelvis_rotation, walk.heading, tuning.pelvis_pitch_share * pitch)
    tasks.pelvis_rate[2] = tasks.torso_rate[2] = walk.heading_rate
    held = memory.hand_share
    for j in range(JOINTS):
        tasks.posture[j] = tuning.posture[j]
        share = max(held[0], held[1]) if j < 15 else (held[0] if j < 22 else held[1])
        tasks.posture_weight[j] = ((1.0 - share) * tuning.posture_weight_free[j] + share * tuning.posture_weight_held[j])


@numba.njit(**JIT)
def _tick(tree, payload_tree, points, gains, gait, tuning, target, joints, joint_velocities, torques, filter_, walk, tasks,
          motion, memory, out, dt):  # fmt: skip
    """One control tick after the estimator's update; returns the solver's status."""
    base, base_velocity = filter_.base_position, filter_.base_velocity
    if memory.started == 0:
        memory.started = 1
        memory.pelvis_height = base[2]
        memory.torso_pitch = 0.0
        for j in range(JOINTS):
            memory.reference_position[j] = joints[j]
            memory.reference_velocity[j] = 0.0
        walk.pressure[0] = walk.pressure[1] = 0.0
    _measure_hand_loads(tree, points, motion, torques, memory, tuning, payload_tree, dt)
    # The estimator's motion and ours share the state; ours adds the payload.
    dynamics_qp.dynamics(payload_tree, filter_.rotation, joints, filter_.velocity, motion)
    _locate(points, motion, base, base_velocity, memory)
    if memory.com_above_pelvis == 0.0:
        memory.com_above_pelvis = motion.com[2]
    memory.com_above_pelvis += (motion.com[2] - memory.com_above_pelvis) * min(dt / 0.1, 1.0)
    for i in range(3):
        change = tuning.velocity_rate[i] * dt
        memory.velocity[i] += min(max(target.base_velocity[i] - memory.velocity[i], -change), change)
    memory.pelvis_height, memory.height_rate = _approach(
        memory.pelvis_height, memory.height_rate, target.pelvis_height, tuning.height_rate, tuning.smoothing_s, dt)  # fmt: skip
    memory.torso_pitch, memory.pitch_rate = _approach(
        memory.torso_pitch, memory.pitch_rate, target.torso_pitch, tuning.pitch_rate, tuning.smoothing_s, dt)  # fmt: skip
    for side in range(2):
        memory.touching[side] = 1 if filter_.foot_force[side] > tuning.touch_force else 0
    walking.step(gait, walk, memory.com, memory.com_velocity, memory.soles, memory.soles_yaw, memory.ankles, memory.touching,
                 memory.velocity, memory.pelvis_height + memory.com_above_pelvis, memory.height_rate, dt)  # fmt: skip
    _set_body_tasks(tuning, gains, target, walk, tasks, memory)
    for side in range(2):
        if walk.contact[side] == 0:
            for i in range(3):
                tasks.foot_position[side, i] = walk.foot_position[i] - base[i]
                tasks.foot_velocity[side, i] = walk.foot_velocity[i]
                tasks.foot_velocity[side, 3 + i] = walk.foot_yaw_rate if i == 2 else 0.0
                tasks.foot_acceleration[side, i] = walk.foot_acceleration[i]
            _set_heading_rotation(tasks.foot_rotation[side], walk.foot_yaw, 0.0)
    _set_hand_tasks(points, tuning, target, walk, tasks, memory, motion, base, base_velocity, dt)
    status = dynamics_qp.solve_for_motion(payload_tree, points, gains, tasks, motion, joints, filter_.velocity, out)
    memory.status = status
    if status == dynamics_qp.FAILED:
        return status
    for j in range(JOINTS):
        wanted = memory.reference_velocity[j] + out.acceleration[6 + j] * dt
        wanted += (joint_velocities[j] - wanted) * min(tuning.reference_leak[0] * dt, 1.0)
        memory.reference_velocity[j] = wanted
        position = memory.reference_position[j] + wanted * dt
        position += (joints[j] - position) * min(tuning.reference_leak[1] * dt, 1.0)
        memory.reference_position[j] = position
        limit = points.torque_limit[j]
        torque = out.torque[j] + tuning.friction_torque * np.tanh(wanted / tuning.friction_speed)
        memory.torque[j] = min(max(torque, -limit), limit)
    return status


@numba.njit(**JIT)
def _tick_on_arrays(records, joints, joint_velocities, torques, dt):
    """`_tick` on arrays of one record each.

    Handing numba a record itself costs 2 to 10 us each: NumPy then describes its layout in text, every time.
    """
    return _tick(records[0][0], records[1][0], records[2][0], records[3][0], records[4][0], records[5][0], records[6][0],
                 joints, joint_velocities, torques, records[7][0], records[8][0], records[9][0], records[10][0],
                 records[11][0], records[12][0], dt)  # fmt: skip


@numba.njit(**JIT)
def _take_target(target_record, in_odom, base_velocity, hand_active, hand_poses, hand_velocities, torso_pitch, pelvis_height):
    target = target_record[0]
    target.in_odom = 1 if in_odom else 0
    target.torso_pitch = torso_pitch
    target.pelvis_height = pelvis_height
    for i in range(3):
        target.base_velocity[i] = base_velocity[i]
    for side in range(2):
        target.hand_active[side] = 1 if hand_active[side] else 0
        for i in range(3):
            target.hand_position[side, i] = hand_poses[side, i]
        for i in range(6):
            target.hand_velocity[side, i] = hand_velocities[side, i]
        rotation_from_quaternion(hand_poses[side, 3:], target.hand_rotation[side])


class WholeBodyController:
    """Turns states and targets into motor commands, one tick at a time.

    Attributes:
        model: the robot.
        estimator: its state estimator.
        walk, memory, tasks, solution: the records of the last tick, for status and benches.
    """

    def __init__(self, model: RobotModel) -> None:
        """Allocates everything a tick needs.

        Args:
            model: the robot.
        """
        self.model = model
        self.estimator = StateEstimator(model)
        self._tree = tree_record(model.tree)
        self._payload_tree = tree_record(model.tree)
        self._points = dynamics_qp.body_points_record(model)
        self.gains = dynamics_qp.default_gains()
        self.gait = walking.default_gait()
        self.tuning = default_tuning(model)
        self.walk = np.zeros(1, walking.WALK)[0]
        self.tasks = np.zeros(1, dynamics_qp.TASKS)[0]
        self.motion = motion_record()
        self.memory = np.zeros(1, MEMORY)[0]
        self.solution = np.zeros(1, dynamics_qp.SOLUTION)[0]
        self._target = np.zeros(1, TARGET)[0]
        self._target["pelvis_height"] = 0.72
        self._gripper_openings = np.full(2, 0.08)
        self._gripper_forces = np.full(2, 20.0)
        for side in (0, 1):
            self._target["hand_rotation"][side] = np.eye(3)
        # Stiffness and damping around the integrated references; the solver's torque is fed forward.
        self.kp = np.full(JOINTS, 50.0)
        self.kd = np.full(JOINTS, 2.0)
        self._records = tuple(
            record.base for record in (
                self._tree, self._payload_tree, self._points, self.gains, self.gait, self.tuning, self._target,
                self.estimator.record, self.walk, self.tasks, self.motion, self.memory, self.solution,
            )
        )  # fmt: skip
        # Views, as looking a field up in a record takes half a microsecond.
        self._acceleration, self._contact = self.solution["acceleration"], self.walk["contact"]
        self._holding = self.memory["holding"]
        self._wanted = tuple(self.memory[name] for name in ("reference_position", "reference_velocity", "torque"))
        self._both_feet = np.ones(2, np.int64)
        self._last_target: WholeBodyTarget | None = None
        self._last_stamp: float | None = None

    def set_target(self, target: WholeBodyTarget) -> None:
        """Takes a target over; it is known to be finite, well-shaped and well-framed (`control_loop` checks)."""
        if target is self._last_target:
            return
        self._last_target = target
        _take_target(self._records[6], target.frame == FRAME_ODOM, target.base_velocity, target.hand_active, target.hand_poses,
                     target.hand_velocities, float(target.torso_pitch), float(target.pelvis_height))  # fmt: skip
        self._gripper_openings = target.gripper_openings
        self._gripper_forces = target.gripper_forces

    def hold(self) -> None:
        """Stops walking and keeps everything else as it was last wanted."""
        self._target["base_velocity"] = 0.0
        self._target["hand_velocity"] = 0.0
        self._last_target = None

    def estimate(self, state: RobotState, dt: float) -> None:
        """Updates the state estimate with a new measurement."""
        contact = self._contact if self._last_stamp is not None else self._both_feet
        self.estimator.update(state, self._acceleration, contact)
        self._last_stamp = state.stamp_s

    def step(self, state: RobotState, dt: float) -> tuple[JointCommand, int]:
        """The command for a state the estimator has already seen, and the solver's status.

        Args:
            state: newest measurement.
            dt: s since the last tick.
        """
        for side, opening in enumerate(state.gripper_openings.tolist()):
            # Something thicker than nothing is between fingers that are told to close.
            self._holding[side] = 0.008 < opening < 0.06 and self._gripper_openings[side] < opening - 0.003
        status = _tick_on_arrays(self._records, state.joint_positions, state.joint_velocities, state.joint_torques, dt)
        positions, velocities, torques = self._wanted
        command = JointCommand(
            stamp_s=state.stamp_s,
            positions=positions.copy(),
            velocities=velocities.copy(),
            torques=torques.copy(),
            kp=self.kp,
            kd=self.kd,
            gripper_openings=self._gripper_openings,
            gripper_forces=self._gripper_forces,
        )
        return command, status

    def base_estimate(self, state: RobotState) -> BaseEstimate:
        """The estimate as a value of its own."""
        return self.estimator.estimate(state.pelvis_imu.orientation, state.pelvis_imu.angular_velocity)
