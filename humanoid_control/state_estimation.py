"""Where the base is and how it moves, from IMU and leg kinematics alone.

A linear Kalman filter over the IMU's position and velocity and both soles' positions, all in `odom`. The IMU's own
attitude and specific force drive the prediction; a foot that carries load is a landmark that does not move, on a floor
that is flat. How much a foot carries is estimated from its leg's torques, as this robot has no sensors in its feet.

Sources: Bloesch et al. 2012 (contacts as landmarks), Bledt et al. 2018 (linear filter, trust by contact).
"""

from __future__ import annotations

import numba
import numpy as np

from humanoid_control.kernels import JIT
from humanoid_control.rigid_body import (
    VELOCITIES, dynamics, motion_record, point_columns, point_motion, point_position, rotation_from_quaternion,
    tree_record,
)  # fmt: skip
from humanoid_control.robot_model import RobotModel
from humanoid_control.types import BaseEstimate, RobotState

STATES = 12

FILTER = np.dtype([
    ("x", np.float64, STATES),  # IMU position, IMU velocity, left sole, right sole
    ("covariance", np.float64, (STATES, STATES)),
    ("rotation", np.float64, (3, 3)),  # odom_from_base
    ("base_position", np.float64, 3), ("base_velocity", np.float64, 3), ("angular_velocity", np.float64, 3),  # world axes
    ("velocity", np.float64, VELOCITIES),  # as `rigid_body.dynamics` wants it
    ("sole_position", np.float64, (2, 3)),  # relative to the base, world axes
    ("foot_force", np.float64, 2), ("contact", np.int64, 2), ("trust", np.float64, 2),
    ("started", np.int64), ("stamp", np.float64),
], align=True)  # fmt: skip

NOISE = np.dtype([
    ("acceleration", np.float64),  # m/s^2, of the prediction
    ("foot_walk", np.float64),  # m/sqrt(s), how much a loaded foot may creep
    ("foot_position", np.float64),  # m, leg kinematics
    ("foot_velocity", np.float64),  # m/s, leg kinematics
    ("floor_height", np.float64),  # m
    ("swing_factor", np.float64),  # how much less a foot in the air is trusted
    ("contact_force", np.float64), ("full_force", np.float64),  # N
    ("force_filter", np.float64),  # share of the new sample
], align=True)  # fmt: skip


def default_noise() -> np.void:
    """Filter noise, tuned against the simulated sensors' data-sheet figures."""
    noise = np.zeros(1, NOISE)[0]
    noise["acceleration"] = 0.6
    noise["foot_walk"] = 0.02
    noise["foot_position"] = 0.002
    noise["foot_velocity"] = 0.05
    noise["floor_height"] = 0.005
    noise["swing_factor"] = 100.0
    noise["contact_force"] = 40.0
    noise["full_force"] = 120.0
    noise["force_filter"] = 0.6
    return noise


@numba.njit(**JIT)
def _update_scalar(x, P, column, i, j, innovation, variance):
    """Kalman update with a measurement of x[i] - x[j] (j < 0: of x[i])."""
    s = variance
    for k in range(STATES):
        column[k] = P[k, i] if j < 0 else P[k, i] - P[k, j]
    s += column[i] if j < 0 else column[i] - column[j]
    for k in range(STATES):
        x[k] += column[k] * (innovation / s)
    for a in range(STATES):
        gain = column[a] / s
        for b in range(STATES):
            P[a, b] -= gain * column[b]


@numba.njit(**JIT)
def _estimate_foot_forces(tree, points, foot_bodies, acceleration, torques, motion, noise, filter_):
    """Vertical force on each foot, from what its leg's torques leave unexplained."""
    columns = np.empty(VELOCITIES, np.int64)
    jacobian = np.empty((VELOCITIES, 6))
    point = np.empty(3)
    A = np.empty((6, 7))
    for side in range(2):
        body = foot_bodies[side]
        point_position(motion, body, points[side], point)
        count = point_columns(tree, motion, body, point, columns, jacobian)
        for r in range(6):  # one row for each leg joint: J' F = M a + h - tau
            column = columns[count - 1 - r]
            s = motion.bias[column] - torques[column - 6]
            for k in range(VELOCITIES):
                s += motion.mass_matrix[column, k] * acceleration[k]
            A[r, 6] = s
            for i in range(6):
                A[r, i] = jacobian[count - 1 - r, i]
        # Damped least squares by normal equations: a straight knee cannot tell force from nothing.
        N = np.zeros((6, 7))
        for i in range(6):
            for j in range(7):
                s = 0.0
                for r in range(6):
                    s += A[r, i] * A[r, j]
                N[i, j] = s
            N[i, i] += 1e-5
        for i in range(6):
            for r in range(i + 1, 6):
                f = N[r, i] / N[i, i]
                for j in range(i, 7):
                    N[r, j] -= f * N[i, j]
        for i in range(5, -1, -1):
            for j in range(i + 1, 6):
                N[i, 6] -= N[i, j] * N[j, 6]
            N[i, 6] /= N[i, i]
        filter_.foot_force[side] += noise.force_filter * (N[2, 6] - filter_.foot_force[side])


@numba.njit(**JIT)
def update(tree, noise, imu_offset, points, foot_bodies, quaternion, gyro, specific_force, joints, joint_velocities,
           torques, acceleration, planned, dt, motion, filter_):  # fmt: skip
    """One tick of the filter.

    Args:
        tree: `TREE` record.
        noise: `NOISE` record.
        imu_offset: (3,) m of the IMU in the base's frame (axes parallel).
        points: (2, 3) m, the soles in their bodies' frames.
        foot_bodies: (2,) their bodies.
        quaternion: (4,) world_from_imu xyzw.
        gyro, specific_force: (3,) in the IMU's frame.
        joints, joint_velocities, torques: (29,).
        acceleration: (35,) that control wanted in the last tick.
        planned: (2,) whether control has the foot on the ground.
        dt: s since the last update.
        motion: `MOTION` record, filled.
        filter_: `FILTER` record, updated.
    """
    f = filter_
    R = f.rotation
    rotation_from_quaternion(quaternion, R)
    w = f.angular_velocity
    for i in range(3):
        w[i] = R[i, 0] * gyro[0] + R[i, 1] * gyro[1] + R[i, 2] * gyro[2]
    arm = np.empty(3)
    for i in range(3):
        arm[i] = R[i, 0] * imu_offset[0] + R[i, 1] * imu_offset[1] + R[i, 2] * imu_offset[2]
    turning = np.empty(3)
    turning[0] = w[1] * arm[2] - w[2] * arm[1]
    turning[1] = w[2] * arm[0] - w[0] * arm[2]
    turning[2] = w[0] * arm[1] - w[1] * arm[0]
    for i in range(3):
        f.velocity[i] = f.base_velocity[i]
        f.velocity[3 + i] = w[i]
    for j in range(joint_velocities.shape[0]):
        f.velocity[6 + j] = joint_velocities[j]
    dynamics(tree, R, joints, f.velocity, motion)
    _estimate_foot_forces(tree, points, foot_bodies, acceleration, torques, motion, noise, f)
    soles, sole_velocities = f.sole_position, np.empty((2, 3))
    twist, drift = np.empty(6), np.empty(6)
    for side in range(2):
        point_position(motion, foot_bodies[side], points[side], soles[side])
        point_motion(motion, foot_bodies[side], soles[side], twist, drift)
        for i in range(3):  # relative to the IMU's velocity
            sole_velocities[side, i] = twist[i] - f.base_velocity[i] - turning[i]
        loaded = min(max((f.foot_force[side] - noise.contact_force) / (noise.full_force - noise.contact_force), 0.0), 1.0)
        f.contact[side] = 1 if f.foot_force[side] > noise.contact_force else 0
        f.trust[side] = loaded if planned[side] != 0 else 0.0
    if f.trust[0] + f.trust[1] < 0.2:  # believe the plan rather than float
        for side in range(2):
            if planned[side] != 0:
                f.trust[side] = 0.2
    x, P = f.x, f.covariance
    if f.started == 0:
        f.started = 1
        lowest = min(soles[0, 2], soles[1, 2])
        yaw_x, yaw_y = 0.5 * (soles[0, 0] + soles[1, 0]), 0.5 * (soles[0, 1] + soles[1, 1])
        for i in range(STATES):
            x[i] = 0.0
            for k in range(STATES):
                P[i, k] = 1e-6 if i == k else 0.0
        base = np.array([-yaw_x, -yaw_y, -lowest])
        for i in range(3):
            x[i] = base[i] + arm[i]
            x[6 + i] = base[i] + soles[0, i]
            x[9 + i] = base[i] + soles[1, i]
    else:
        for i in range(3):
            a = R[i, 0] * specific_force[0] + R[i, 1] * specific_force[1] + R[i, 2] * specific_force[2]
            if i == 2:
                a -= 9.81
            x[i] += dt * x[3 + i] + 0.5 * dt * dt * a
            x[3 + i] += dt * a
        # P := F P F' + Q with F adding dt times velocity to position
        for k in range(STATES):
            for i in range(3):
                P[i, k] += dt * P[3 + i, k]
        for k in range(STATES):
            for i in range(3):
                P[k, i] += dt * P[k, 3 + i]
        qv = (noise.acceleration * dt) ** 2
        for i in range(3):
            P[i, i] += 0.25 * qv * dt * dt
            P[3 + i, 3 + i] += qv
        for side in range(2):
            creep = noise.foot_walk**2 * dt
            if f.trust[side] < 1.0:
                creep *= 1.0 + noise.swing_factor**2 * (1.0 - f.trust[side])
            for i in range(3):
                P[6 + 3 * side + i, 6 + 3 * side + i] += creep
    column = np.empty(STATES)
    for side in range(2):
        distrust = 1.0 + noise.swing_factor * (1.0 - f.trust[side])
        for i in range(3):
            s = 6 + 3 * side + i
            measured = soles[side, i] - arm[i]  # sole minus IMU
            _update_scalar(x, P, column, s, i, measured - (x[s] - x[i]), noise.foot_position**2)
            if f.trust[side] > 0.0:
                variance = (noise.foot_velocity * distrust) ** 2
                _update_scalar(x, P, column, 3 + i, -1, -sole_velocities[side, i] - x[3 + i], variance)
        if f.trust[side] > 0.0:
            s = 8 + 3 * side
            _update_scalar(x, P, column, s, -1, -x[s], (noise.floor_height * distrust) ** 2)
    for i in range(3):
        f.base_position[i] = x[i] - arm[i]
        f.base_velocity[i] = x[3 + i] - turning[i]
        f.velocity[i] = f.base_velocity[i]


@numba.njit(**JIT)
def _update_on_arrays(records, imu_offset, points, foot_bodies, quaternion, gyro, specific_force, joints, joint_velocities,
                      torques, acceleration, planned, dt):  # fmt: skip
    """`update` on arrays of one record each: handing numba a record itself costs 2 to 10 us."""
    update(records[0][0], records[1][0], imu_offset, points, foot_bodies, quaternion, gyro, specific_force, joints,
           joint_velocities, torques, acceleration, planned, dt, records[2][0], records[3][0])  # fmt: skip


class StateEstimator:
    """The filter and its memory.

    Attributes:
        record: the `FILTER` record, for the control loop's kernels to read.
    """

    def __init__(self, model: RobotModel, noise: np.void | None = None) -> None:
        """Starts unknowing: the first update puts `odom` between the feet, x forward as the IMU has it.

        Args:
            model: the robot.
            noise: `NOISE` record; the default is right for the shipped sensors.
        """
        self._tree = tree_record(model.tree)
        self._noise = noise if noise is not None else default_noise()
        imu = model.body_point("imu_in_pelvis")
        self._imu_offset = imu.translation
        soles = [model.body_point(f) for f in ("l_sole", "r_sole")]
        self._points = np.array([s.translation for s in soles])
        self._bodies = np.array([s.body for s in soles])
        self._motion = motion_record()
        self.record = np.zeros(1, FILTER)[0]
        self._records = tuple(r.base for r in (self._tree, self._noise, self._motion, self.record))

    def update(self, state: RobotState, acceleration: np.ndarray, planned_contacts: np.ndarray) -> None:
        """Takes one state in.

        Args:
            state: newest measurement.
            acceleration: (35,) that control wanted in the last tick; zeros if it wanted none.
            planned_contacts: (2,) int64, feet that control has on the ground.
        """
        record = self.record
        dt = state.stamp_s - float(record["stamp"]) if record["started"] else 0.0
        record["stamp"] = state.stamp_s
        imu = state.pelvis_imu
        _update_on_arrays(self._records, self._imu_offset, self._points, self._bodies, imu.orientation,
                          imu.angular_velocity, imu.linear_acceleration, state.joint_positions, state.joint_velocities,
                          state.joint_torques, acceleration, planned_contacts, dt)  # fmt: skip

    def estimate(self, orientation: np.ndarray, gyro: np.ndarray) -> BaseEstimate:
        """The newest estimate as a value of its own.

        Args:
            orientation: (4,) of the IMU, as given to `update`.
            gyro: (3,) rad/s, likewise.
        """
        r = self.record
        return BaseEstimate(
            stamp_s=float(r["stamp"]), position=r["base_position"].copy(), orientation=orientation.copy(),
            linear_velocity=r["base_velocity"].copy(), angular_velocity=gyro.copy(),
            covariance=r["covariance"][:6, :6].copy(), contacts=r["contact"].astype(bool), foot_forces=r["foot_force"].copy(),
        )  # fmt: skip
