"""The inverse-dynamics QP: joint accelerations, contact forces and torques that serve all tasks at once, compiled.

    minimise    sum_i w_i |J_i a + dJ_i v - a_i*|^2 + w_f |f|^2
    subject to  the six rows of base dynamics:  M_b a + h_b = J_b' f
                friction pyramids, f_z >= f_min, a cap on each foot's force
                torque limits on  tau = M_j a + h_j - J_j' f
                joint limits, as bounds on joint accelerations

over x = (a, f): 35 accelerations and three forces for each of the four points of a foot in contact. The Hessian is block
diagonal, so its inverse projected on the base dynamics is cheap and dense; a dual active-set method (Goldfarb and Idnani,
1983) then adds violated inequalities one by one, of whichever kind: exact with every limit active, and nearly free when
none is. Tasks: Herzog et al. 2016, Koolen et al. 2016.
"""

from __future__ import annotations

import numba
import numpy as np

from humanoid_control.kernels import JIT
from humanoid_control.rigid_body import (
    JOINTS, VELOCITIES, dynamics, point_columns, point_motion, point_position, rotation_error,
)  # fmt: skip
from humanoid_control.robot_model import RobotModel

CORNERS = 4
FORCES = 2 * CORNERS * 3
UNKNOWNS = VELOCITIES + FORCES
MAX_ACTIVE = 54
MAX_ITERATIONS = 150

# Results of `solve`.
SOLVED, RELAXED, FAILED = 0, 1, 2

BODY_POINTS = np.dtype([
    ("foot_body", np.int64, 2), ("foot_offset", np.float64, (2, 3)),
    ("corners", np.float64, (2, CORNERS, 3)),
    ("hand_body", np.int64, 2), ("hand_offset", np.float64, (2, 3)), ("hand_rotation", np.float64, (2, 3, 3)),
    ("torso_body", np.int64),
    ("torque_limit", np.float64, JOINTS), ("position_lower", np.float64, JOINTS), ("position_upper", np.float64, JOINTS),
], align=True)  # fmt: skip
"""Where tasks and contacts are fixed to the robot, and its limits."""

TASKS = np.dtype([
    ("contact", np.int64, 2), ("force_cap", np.float64, 2),
    ("com_acceleration", np.float64, 3),
    ("pelvis_rotation", np.float64, (3, 3)), ("pelvis_rate", np.float64, 3),
    ("torso_rotation", np.float64, (3, 3)), ("torso_rate", np.float64, 3),
    # Swing feet: pose of the ankle roll link, relative to the base's origin, world axes.
    ("foot_position", np.float64, (2, 3)), ("foot_rotation", np.float64, (2, 3, 3)),
    ("foot_velocity", np.float64, (2, 6)), ("foot_acceleration", np.float64, (2, 3)),
    ("foot_rotation_weight", np.float64, 2),
    ("hand_active", np.int64, 2), ("hand_position", np.float64, (2, 3)), ("hand_rotation", np.float64, (2, 3, 3)),
    ("hand_velocity", np.float64, (2, 6)),
    ("posture", np.float64, JOINTS), ("posture_weight", np.float64, JOINTS),
], align=True)  # fmt: skip
"""What is wanted in this tick."""

GAINS = np.dtype([
    ("com_weight", np.float64, 3), ("pelvis_weight", np.float64), ("torso_weight", np.float64),
    ("contact_weight", np.float64), ("swing_weight", np.float64),
    ("hand_weight", np.float64, 2),  # linear, angular
    ("angular_momentum_weight", np.float64, 3), ("angular_momentum_damping", np.float64),
    ("force_weight", np.float64), ("damping_weight", np.float64),
    ("pelvis_gain", np.float64, 2), ("torso_gain", np.float64, 2), ("contact_gain", np.float64),
    ("swing_gain", np.float64, 2), ("swing_rotation_gain", np.float64, 2),
    ("hand_gain", np.float64, 2), ("hand_rotation_gain", np.float64, 2), ("posture_gain", np.float64, 2),
    ("hand_error_limit", np.float64, 2),  # m, rad
    ("friction", np.float64), ("minimum_force", np.float64),
    ("limit_horizon_s", np.float64), ("limit_margin", np.float64), ("acceleration_limit", np.float64),
], align=True)  # fmt: skip
"""Weights (relative), gains (1/s^2, 1/s) and margins."""

SOLUTION = np.dtype([
    ("acceleration", np.float64, VELOCITIES), ("force", np.float64, FORCES), ("torque", np.float64, JOINTS),
    ("iterations", np.int64), ("active", np.int64), ("relaxed", np.int64),
    # Scratch, kept here so that nothing is allocated in the loop.
    ("hessian", np.float64, (VELOCITIES, VELOCITIES)), ("gradient", np.float64, VELOCITIES),
    ("inverse", np.float64, (VELOCITIES, VELOCITIES)), ("factor", np.float64, (VELOCITIES, VELOCITIES)),
    ("projected", np.float64, (UNKNOWNS, UNKNOWNS)), ("base_columns", np.float64, (6, UNKNOWNS)),
    ("base_solved", np.float64, (6, UNKNOWNS)), ("schur", np.float64, (6, 6)),
    ("force_map", np.float64, (6, FORCES)), ("joint_force_map", np.float64, (JOINTS, FORCES)),
    ("x", np.float64, UNKNOWNS),
    ("columns", np.int64, VELOCITIES), ("jacobian", np.float64, (VELOCITIES, 6)),
    ("acceleration_lower", np.float64, JOINTS), ("acceleration_upper", np.float64, JOINTS),
    ("active_set", np.int64, MAX_ACTIVE), ("ignored", np.int64, 256), ("multipliers", np.float64, MAX_ACTIVE),
    ("normals", np.float64, (MAX_ACTIVE, UNKNOWNS)), ("projected_normals", np.float64, (MAX_ACTIVE, UNKNOWNS)),
    ("gram", np.float64, (MAX_ACTIVE, MAX_ACTIVE)), ("direction", np.float64, UNKNOWNS), ("dual", np.float64, MAX_ACTIVE),
    ("normal", np.float64, UNKNOWNS),
], align=True)  # fmt: skip
"""The result and the workspace."""


def body_points_record(model: RobotModel) -> np.void:
    """The `BODY_POINTS` of a robot."""
    record = np.zeros(1, BODY_POINTS)[0]
    for side, letter in enumerate("lr"):
        ankle, hand = model.body_point(f"{letter}_ankle"), model.body_point(f"{letter}_gripper")
        record["foot_body"][side], record["foot_offset"][side] = ankle.body, ankle.translation
        record["corners"][side] = model.foot_points[side]
        record["hand_body"][side], record["hand_offset"][side] = hand.body, hand.translation
        record["hand_rotation"][side] = hand.rotation
    record["torso_body"] = model.body_point("torso").body
    record["torque_limit"] = model.effort_limit
    record["position_lower"], record["position_upper"] = model.position_lower, model.position_upper
    return record


@numba.njit(**JIT)
def _add_rows(out, count, component, weight, wanted):
    """Adds one weighted row of the sparse Jacobian in `out.jacobian` to Hessian (lower triangle) and gradient."""
    H, g, J, columns = out.hessian, out.gradient, out.jacobian, out.columns
    for a in range(count):
        ja = weight * J[a, component]
        if ja == 0.0:
            continue
        row = columns[a]
        g[row] -= ja * wanted
        for b in range(count):
            column = columns[b]
            if column <= row:
                H[row, column] += ja * J[b, component]


@numba.njit(**JIT)
def _add_momentum_tasks(gains, tasks, motion, out):
    """Centre of mass (its Jacobian is the mass matrix's first rows) and damping of angular momentum."""
    H, g, M, h = out.hessian, out.gradient, motion.mass_matrix, motion.bias
    for i in range(3):
        gravity = 9.81 if i == 2 else 0.0
        wanted = tasks.com_acceleration[i] - (h[i] / motion.mass - gravity)
        weight = gains.com_weight[i]
        for row in range(VELOCITIES):
            ja = weight * M[i, row] / motion.mass
            g[row] -= ja * wanted
            for column in range(row + 1):
                H[row, column] += ja * M[i, column] / motion.mass
    if gains.angular_momentum_weight[0] + gains.angular_momentum_weight[2] > 0.0:
        c = motion.com
        row_buffer = out.normal  # free until the QP starts
        for i in range(3):
            i1, i2 = (i + 1) % 3, (i + 2) % 3
            for k in range(VELOCITIES):
                row_buffer[k] = M[3 + i, k] - (c[i1] * M[i2, k] - c[i2] * M[i1, k])
            bias = h[3 + i] - (c[i1] * h[i2] - c[i2] * h[i1])
            wanted = -bias - gains.angular_momentum_damping * out.x[i]
            weight = gains.angular_momentum_weight[i]
            for row in range(VELOCITIES):
                ja = weight * row_buffer[row]
                g[row] -= ja * wanted
                for column in range(row + 1):
                    H[row, column] += ja * row_buffer[column]


@numba.njit(**JIT)
def _add_orientation_task(tree, motion, body, target, rate, gain, weight, out, error, point):
    rotation_error(target, motion.rotation[body], error)
    for i in range(3):
        point[i] = motion.position[body, i]
    count = point_columns(tree, motion, body, point, out.columns, out.jacobian)
    for i in range(3):
        wanted = gain[0] * error[i] + gain[1] * (rate[i] - motion.velocity[body, i]) - motion.drift[body, i]
        _add_rows(out, count, 3 + i, weight, wanted)


@numba.njit(**JIT)
def _add_foot_task(tree, points, gains, tasks, motion, side, out, error, point, velocity, drift):
    body = points.foot_body[side]
    point_position(motion, body, points.foot_offset[side], point)
    count = point_columns(tree, motion, body, point, out.columns, out.jacobian)
    point_motion(motion, body, point, velocity, drift)
    if tasks.contact[side] != 0:
        for i in range(6):
            _add_rows(out, count, i, gains.contact_weight, -gains.contact_gain * velocity[i] - drift[i])
        return
    rotation_error(tasks.foot_rotation[side], motion.rotation[body], error)
    for i in range(3):
        wanted = (gains.swing_gain[0] * (tasks.foot_position[side, i] - point[i])
                  + gains.swing_gain[1] * (tasks.foot_velocity[side, i] - velocity[i])
                  + tasks.foot_acceleration[side, i] - drift[i])  # fmt: skip
        _add_rows(out, count, i, gains.swing_weight, wanted)
        turn = (gains.swing_rotation_gain[0] * error[i]
                + gains.swing_rotation_gain[1] * (tasks.foot_velocity[side, 3 + i] - velocity[3 + i]) - drift[3 + i])  # fmt: skip
        _add_rows(out, count, 3 + i, gains.swing_weight * tasks.foot_rotation_weight[side], turn)


@numba.njit(**JIT)
def _add_hand_task(tree, points, gains, tasks, motion, side, out, error, point, velocity, drift, rotation):
    body = points.hand_body[side]
    point_position(motion, body, points.hand_offset[side], point)
    count = point_columns(tree, motion, body, point, out.columns, out.jacobian)
    point_motion(motion, body, point, velocity, drift)
    for i in range(3):
        for j in range(3):
            s = 0.0
            for k in range(3):
                s += motion.rotation[body, i, k] * points.hand_rotation[side, k, j]
            rotation[i, j] = s
    rotation_error(tasks.hand_rotation[side], rotation, error)
    distance = turn = 0.0
    for i in range(3):
        distance += (tasks.hand_position[side, i] - point[i]) ** 2
        turn += error[i] ** 2
    linear = min(1.0, gains.hand_error_limit[0] / max(np.sqrt(distance), 1e-9))
    angular = min(1.0, gains.hand_error_limit[1] / max(np.sqrt(turn), 1e-9))
    for i in range(3):
        wanted = (gains.hand_gain[0] * linear * (tasks.hand_position[side, i] - point[i])
                  + gains.hand_gain[1] * (tasks.hand_velocity[side, i] - velocity[i]) - drift[i])  # fmt: skip
        _add_rows(out, count, i, gains.hand_weight[0], wanted)
        wanted = (gains.hand_rotation_gain[0] * angular * error[i]
                  + gains.hand_rotation_gain[1] * (tasks.hand_velocity[side, 3 + i] - velocity[3 + i]) - drift[3 + i])  # fmt: skip
        _add_rows(out, count, 3 + i, gains.hand_weight[1], wanted)


@numba.njit(**JIT)
def _assemble(tree, points, gains, tasks, motion, joints, velocity, out, error, point, twist, drift, rotation):
    """Normal equations of all tasks, lower triangle."""
    H, g = out.hessian, out.gradient
    H[:, :] = 0.0
    g[:] = 0.0
    for i in range(3):  # angular momentum about the centre of mass, for its damping
        i1, i2 = (i + 1) % 3, (i + 2) % 3
        s = 0.0
        for k in range(VELOCITIES):
            s += (motion.mass_matrix[3 + i, k]
                  - (motion.com[i1] * motion.mass_matrix[i2, k] - motion.com[i2] * motion.mass_matrix[i1, k])) * velocity[k]  # fmt: skip
        out.x[i] = s
    for i in range(VELOCITIES):
        H[i, i] = gains.damping_weight
    _add_momentum_tasks(gains, tasks, motion, out)
    _add_orientation_task(tree, motion, 0, tasks.pelvis_rotation, tasks.pelvis_rate, gains.pelvis_gain,
                          gains.pelvis_weight, out, error, point)  # fmt: skip
    _add_orientation_task(tree, motion, points.torso_body, tasks.torso_rotation, tasks.torso_rate, gains.torso_gain,
                          gains.torso_weight, out, error, point)  # fmt: skip
    for side in range(2):
        _add_foot_task(tree, points, gains, tasks, motion, side, out, error, point, twist, drift)
    for side in range(2):
        if tasks.hand_active[side] != 0:
            _add_hand_task(tree, points, gains, tasks, motion, side, out, error, point, twist, drift, rotation)
    for j in range(JOINTS):
        weight = tasks.posture_weight[j]
        H[6 + j, 6 + j] += weight
        g[6 + j] -= weight * (gains.posture_gain[0] * (tasks.posture[j] - joints[j]) - gains.posture_gain[1] * velocity[6 + j])


@numba.njit(**JIT)
def _map_forces(tree, points, tasks, motion, out, point):
    """Maps corner forces (world axes) to base wrench and joint torques; returns how many force unknowns there are."""
    S = motion.axis
    n = 0
    for side in range(2):
        if tasks.contact[side] == 0:
            continue
        body = points.foot_body[side]
        for corner in range(CORNERS):
            point_position(motion, body, points.corners[side, corner], point)
            for axis in range(3):
                k = n + axis
                f0 = 1.0 if axis == 0 else 0.0
                f1 = 1.0 if axis == 1 else 0.0
                f2 = 1.0 if axis == 2 else 0.0
                m0 = point[1] * f2 - point[2] * f1
                m1 = point[2] * f0 - point[0] * f2
                m2 = point[0] * f1 - point[1] * f0
                B = out.force_map
                B[0, k], B[1, k], B[2, k], B[3, k], B[4, k], B[5, k] = f0, f1, f2, m0, m1, m2
                for j in range(JOINTS):
                    out.joint_force_map[j, k] = 0.0
                b = body
                while b > 0:
                    out.joint_force_map[b - 1, k] = (S[b, 0] * m0 + S[b, 1] * m1 + S[b, 2] * m2
                                                     + S[b, 3] * f0 + S[b, 4] * f1 + S[b, 5] * f2)  # fmt: skip
                    b = tree.parents[b]
            n += 3
    return n


@numba.njit(**JIT)
def _invert_hessian(out):
    """`inverse` from the lower triangle of `hessian`; False if it is not positive definite."""
    H, L, X = out.hessian, out.factor, out.inverse
    n = VELOCITIES
    for j in range(n):
        d = H[j, j]
        for k in range(j):
            d -= L[j, k] * L[j, k]
        if not d > 0.0:
            return False
        d = np.sqrt(d)
        L[j, j] = d
        d = 1.0 / d
        for i in range(j + 1, n):
            s = H[i, j]
            for k in range(j):
                s -= L[i, k] * L[j, k]
            L[i, j] = s * d
    # X = L^-1, stored by rows of its transpose so that the products below run along memory.
    for j in range(n):
        X[j, j] = 1.0 / L[j, j]
        for i in range(j + 1, n):
            s = 0.0
            for k in range(j, i):
                s += L[i, k] * X[j, k]
            X[j, i] = -s / L[i, i]
    for i in range(n):
        for j in range(i + 1):
            s = 0.0
            for k in range(i, n):
                s += X[i, k] * X[j, k]
            L[i, j] = s
    for i in range(n):
        for j in range(i + 1):
            X[i, j] = L[i, j]
            X[j, i] = L[i, j]
    return True


@numba.njit(**JIT)
def _project(gains, motion, out, forces):
    """The Hessian's inverse on the subspace of the base dynamics, and the optimum without inequalities."""
    n = VELOCITIES + forces
    X, Y, Z, P, B, M = out.inverse, out.base_columns, out.base_solved, out.projected, out.force_map, motion.mass_matrix
    inverse_weight = 1.0 / gains.force_weight
    for i in range(6):
        for j in range(VELOCITIES):
            s = 0.0
            for k in range(VELOCITIES):
                s += M[i, k] * X[k, j]
            Y[i, j] = s
        for k in range(forces):
            Y[i, VELOCITIES + k] = -B[i, k] * inverse_weight
    S = out.schur
    for i in range(6):
        for j in range(i + 1):
            s = 0.0
            for k in range(VELOCITIES):
                s += Y[i, k] * M[j, k]
            for k in range(forces):
                s += B[i, k] * B[j, k] * inverse_weight
            for k in range(j):
                s -= S[i, k] * S[j, k]
            if i == j:
                if not s > 0.0:
                    return False
                S[i, i] = np.sqrt(s)
            else:
                S[i, j] = s / S[j, j]
    # Z = S^-1 Y with S lower triangular: then P = blockdiag - Z' Z.
    for i in range(6):
        for j in range(n):
            s = Y[i, j]
            for k in range(i):
                s -= S[i, k] * Z[k, j]
            Z[i, j] = s / S[i, i]
    for i in range(n):
        for j in range(i + 1):
            s = 0.0
            if i < VELOCITIES:
                s = X[i, j]
            elif i == j:
                s = inverse_weight
            for k in range(6):
                s -= Z[k, i] * Z[k, j]
            P[i, j] = s
            P[j, i] = s
    # x = -P g + Y' S^-T S^-1 (-h_b)
    r = np.empty(6)
    for i in range(6):
        s = -motion.bias[i]
        for k in range(i):
            s -= S[i, k] * r[k]
        r[i] = s / S[i, i]
    for i in range(n):
        s = 0.0
        for k in range(VELOCITIES):
            s -= P[i, k] * out.gradient[k]
        for k in range(6):
            s += Z[k, i] * r[k]
        out.x[i] = s
    return True


@numba.njit(**JIT)
def _constraint(gains, points, tasks, motion, out, forces, index, normal):
    """Fills `normal` of inequality `index` (normal' x >= bound) and returns its bound.

    Order: 5 for each corner (4 sides of the pyramid, minimum force), a cap for each foot in contact, then for each joint
    lower and upper acceleration, lower and upper torque.
    """
    n = VELOCITIES + forces
    normal[:n] = 0.0
    corners = forces // 3
    if index < 5 * corners:
        k = VELOCITIES + 3 * (index // 5)
        kind = index % 5
        normal[k + 2] = 1.0
        if kind == 4:
            return gains.minimum_force
        normal[k + 2] = gains.friction
        normal[k + kind // 2] = 1.0 if kind % 2 == 0 else -1.0
        return 0.0
    index -= 5 * corners
    feet = corners // CORNERS
    if index < feet:
        for c in range(CORNERS):
            normal[VELOCITIES + 3 * (CORNERS * index + c) + 2] = -1.0
        side = index if feet == 2 else (0 if tasks.contact[0] != 0 else 1)
        return -tasks.force_cap[side]
    index -= feet
    joint = index // 4
    kind = index % 4
    if kind == 0:
        normal[6 + joint] = 1.0
        return out.acceleration_lower[joint]
    if kind == 1:
        normal[6 + joint] = -1.0
        return -out.acceleration_upper[joint]
    sign = 1.0 if kind == 2 else -1.0
    for k in range(VELOCITIES):
        normal[k] = sign * motion.mass_matrix[6 + joint, k]
    for k in range(forces):
        normal[VELOCITIES + k] = -sign * out.joint_force_map[joint, k]
    return -points.torque_limit[joint] - sign * motion.bias[6 + joint]


@numba.njit(**JIT)
def _most_violated(gains, points, tasks, motion, out, forces):
    """Index of the most violated inequality, each measured against the size of its bound; -1 if there is none."""
    x = out.x
    best, worst = -1, 1e-6
    corners = forces // 3
    for corner in range(corners):
        k = VELOCITIES + 3 * corner
        side = gains.friction * x[k + 2]
        for kind in range(5):
            if kind == 4:
                violation = 0.01 * (gains.minimum_force - x[k + 2])
            elif kind < 2:
                violation = 0.01 * (-side - x[k]) if kind == 0 else 0.01 * (x[k] - side)
            else:
                violation = 0.01 * (-side - x[k + 1]) if kind == 2 else 0.01 * (x[k + 1] - side)
            if violation > worst and out.ignored[5 * corner + kind] == 0:
                best, worst = 5 * corner + kind, violation
    index = 5 * corners
    slot = 0
    for side in range(2):
        if tasks.contact[side] == 0:
            continue
        total = 0.0
        for c in range(CORNERS):
            total += x[VELOCITIES + 3 * (CORNERS * slot + c) + 2]
        violation = 0.01 * (total - tasks.force_cap[side])
        if violation > worst and out.ignored[index] == 0:
            best, worst = index, violation
        index += 1
        slot += 1
    for j in range(JOINTS):
        a = x[6 + j]
        violation = 0.01 * (out.acceleration_lower[j] - a)
        if violation > worst and out.ignored[index] == 0:
            best, worst = index, violation
        violation = 0.01 * (a - out.acceleration_upper[j])
        if violation > worst and out.ignored[index + 1] == 0:
            best, worst = index + 1, violation
        tau = motion.bias[6 + j]
        for k in range(VELOCITIES):
            tau += motion.mass_matrix[6 + j, k] * x[k]
        if j < 12:
            for k in range(forces):
                tau -= out.joint_force_map[j, k] * x[VELOCITIES + k]
        limit = points.torque_limit[j]
        violation = (-limit - tau) / limit
        if violation > worst and out.ignored[index + 2] == 0:
            best, worst = index + 2, violation
        violation = (tau - limit) / limit
        if violation > worst and out.ignored[index + 3] == 0:
            best, worst = index + 3, violation
        index += 4
    return best


@numba.njit(**JIT)
def _solve_gram(out, count):
    """dual := (N' P N)^-1 dual, by the Cholesky factor in the lower triangle of `gram`."""
    G, r = out.gram, out.dual
    for a in range(count):
        s = r[a]
        for m in range(a):
            s -= G[a, m] * r[m]
        r[a] = s / G[a, a]
    for a in range(count - 1, -1, -1):
        s = r[a]
        for m in range(a + 1, count):
            s -= G[m, a] * r[m]
        r[a] = s / G[a, a]


@numba.njit(**JIT)
def _factor_gram_row(out, row, n):
    """Extends the factor of N' P N by the constraint in slot `row`."""
    G = out.gram
    for b in range(row + 1):
        s = 0.0
        for i in range(n):
            s += out.normals[b, i] * out.projected_normals[row, i]
        for m in range(b):
            s -= G[row, m] * G[b, m]
        G[row, b] = np.sqrt(max(s, 1e-18)) if b == row else s / G[b, b]


@numba.njit(**JIT)
def _satisfy_inequalities(gains, points, tasks, motion, out, forces):
    """Goldfarb and Idnani's dual method from the optimum without inequalities. Returns SOLVED, RELAXED or FAILED."""
    n = VELOCITIES + forces
    P, x = out.projected, out.x
    count = 0
    iterations = 0
    relaxed = 0
    total = 5 * (forces // 3) + forces // (3 * CORNERS) + 4 * JOINTS
    out.ignored[:total] = 0
    status = SOLVED
    while True:
        new = _most_violated(gains, points, tasks, motion, out, forces)
        if new < 0:
            break
        bound = _constraint(gains, points, tasks, motion, out, forces, new, out.normal)
        slot = out.projected_normals[count]
        first, last = n, 0
        for i in range(n):
            if out.normal[i] != 0.0:
                first = min(first, i)
                last = i + 1
        for i in range(n):
            s = 0.0
            for k in range(first, last):
                s += P[i, k] * out.normal[k]
            slot[i] = s
        multiplier = 0.0
        while True:
            iterations += 1
            if iterations > MAX_ITERATIONS or count >= MAX_ACTIVE - 1:
                status = RELAXED
                break
            slot = out.projected_normals[count]
            for a in range(count):
                s = 0.0
                for i in range(n):
                    s += out.normals[a, i] * slot[i]
                out.dual[a] = s
            _solve_gram(out, count)
            curvature = slack = 0.0
            for i in range(n):
                s = slot[i]
                for a in range(count):
                    s -= out.dual[a] * out.projected_normals[a, i]
                out.direction[i] = s
                curvature += s * out.normal[i]
                slack += out.normal[i] * x[i]
            slack -= bound
            scale = 0.0
            for i in range(n):
                scale += slot[i] * out.normal[i]
            dual_step, drop = np.inf, -1
            for a in range(count):
                if out.dual[a] > 1e-12 and out.multipliers[a] / out.dual[a] < dual_step:
                    dual_step = out.multipliers[a] / out.dual[a]
                    drop = a
            primal_step = -slack / curvature if curvature > 1e-9 * scale else np.inf
            step = min(dual_step, primal_step)
            if not step < np.inf:  # contradicts the active set: leave it violated, the filter behind clips torques
                out.ignored[new] = 1
                relaxed += 1
                status = RELAXED
                break
            if primal_step < np.inf:
                for i in range(n):
                    x[i] += step * out.direction[i]
            for a in range(count):
                out.multipliers[a] -= step * out.dual[a]
            multiplier += step
            if primal_step <= dual_step:
                out.active_set[count] = new
                out.multipliers[count] = multiplier
                for i in range(n):
                    out.normals[count, i] = out.normal[i]
                _factor_gram_row(out, count, n)
                count += 1
                break
            # Drop a constraint and continue towards the same one.
            for a in range(drop, count - 1):
                out.active_set[a] = out.active_set[a + 1]
                out.multipliers[a] = out.multipliers[a + 1]
                for i in range(n):
                    out.normals[a, i] = out.normals[a + 1, i]
                    out.projected_normals[a, i] = out.projected_normals[a + 1, i]
            for i in range(n):
                out.projected_normals[count - 1, i] = out.projected_normals[count, i]
            count -= 1
            for a in range(drop, count):
                _factor_gram_row(out, a, n)
        if iterations > MAX_ITERATIONS or count >= MAX_ACTIVE - 1:
            status = RELAXED
            break
    out.iterations = iterations
    out.active = count
    out.relaxed = relaxed
    return status


@numba.njit(**JIT)
def solve(tree, points, gains, tasks, motion, base_rotation, joints, velocity, out):
    """`solve_for_motion` after filling `motion` for a base rotation (3, 3) world_from_base."""
    dynamics(tree, base_rotation, joints, velocity, motion)
    return solve_for_motion(tree, points, gains, tasks, motion, joints, velocity, out)


@numba.njit(**JIT)
def solve_for_motion(tree, points, gains, tasks, motion, joints, velocity, out):
    """Accelerations, contact forces and joint torques for one tick.

    Args:
        tree: `TREE` record, payload included.
        points: `BODY_POINTS` record.
        gains: `GAINS` record.
        tasks: `TASKS` record; positions relative to the base's origin, world axes.
        motion: `MOTION` record, filled by `rigid_body.dynamics` with the same tree, joints and velocity.
        joints: (29,) rad.
        velocity: (35,) as in `rigid_body.dynamics`.
        out: `SOLUTION` record.

    Returns:
        SOLVED; RELAXED if a limit had to be left violated; FAILED if there is no usable answer.
    """
    error, point, twist, drift, rotation = np.empty(3), np.empty(3), np.empty(6), np.empty(6), np.empty((3, 3))
    _assemble(tree, points, gains, tasks, motion, joints, velocity, out, error, point, twist, drift, rotation)
    forces = _map_forces(tree, points, tasks, motion, out, point)
    if not _invert_hessian(out) or not _project(gains, motion, out, forces):
        return FAILED
    horizon, most = gains.limit_horizon_s, gains.acceleration_limit
    for j in range(JOINTS):
        reach = joints[j] + horizon * velocity[6 + j]
        low = min(2.0 * (points.position_lower[j] + gains.limit_margin - reach) / horizon**2, most)
        high = max(2.0 * (points.position_upper[j] - gains.limit_margin - reach) / horizon**2, -most)
        out.acceleration_lower[j] = low
        out.acceleration_upper[j] = max(high, low)
    status = _satisfy_inequalities(gains, points, tasks, motion, out, forces)
    n = VELOCITIES + forces
    for i in range(n):
        if not np.isfinite(out.x[i]):
            return FAILED
    for i in range(VELOCITIES):
        out.acceleration[i] = out.x[i]
    out.force[:] = 0.0
    k = 0
    for side in range(2):
        if tasks.contact[side] != 0:
            for i in range(3 * CORNERS):
                out.force[3 * CORNERS * side + i] = out.x[VELOCITIES + k]
                k += 1
    for j in range(JOINTS):
        s = motion.bias[6 + j]
        for i in range(VELOCITIES):
            s += motion.mass_matrix[6 + j, i] * out.x[i]
        for i in range(forces):
            s -= out.joint_force_map[j, i] * out.x[VELOCITIES + i]
        out.torque[j] = min(max(s, -points.torque_limit[j]), points.torque_limit[j])
    return status


def default_gains() -> np.void:
    """Weights and gains found by pushing and carrying in simulation; see docs/control.md for how."""
    gains = np.zeros(1, GAINS)[0]
    gains["com_weight"] = (400.0, 400.0, 200.0)
    gains["pelvis_weight"] = gains["torso_weight"] = 20.0
    gains["contact_weight"] = 3000.0
    gains["swing_weight"] = 100.0
    gains["hand_weight"] = (40.0, 4.0)
    gains["angular_momentum_weight"] = 0.0
    gains["angular_momentum_damping"] = 0.0
    gains["force_weight"] = 2e-5
    gains["damping_weight"] = 1e-5
    gains["pelvis_gain"] = gains["torso_gain"] = (150.0, 24.0)
    gains["contact_gain"] = 30.0
    gains["swing_gain"] = (400.0, 40.0)
    gains["swing_rotation_gain"] = (300.0, 35.0)
    gains["hand_gain"] = (200.0, 28.0)
    gains["hand_rotation_gain"] = (200.0, 28.0)
    gains["posture_gain"] = (100.0, 20.0)
    gains["hand_error_limit"] = (0.06, 0.2)
    gains["friction"] = 0.5
    gains["minimum_force"] = 0.0
    gains["limit_horizon_s"] = 0.08
    gains["limit_margin"] = 0.02
    gains["acceleration_limit"] = 150.0
    return gains
