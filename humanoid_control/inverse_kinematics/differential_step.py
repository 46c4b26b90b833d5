"""One step of differential inverse kinematics, compiled and free of allocation.

The displacement x of one step (base linear and angular in world axes, joints) minimises

    sum of squares of w (J x - gain e - dt feed_forward)  +  (damping + error_damping E) |x|^2,   E = 1/2 sum (w e)^2

within the limits of position, velocity, self-collision and support. The damping that grows with the error keeps the
step bounded at singularities without slowing convergence near the solution.

Sources: Nakamura, Hanafusa (1986) and Sugihara, Solvability-unconcerned inverse kinematics by the Levenberg-Marquardt
method, IEEE T-RO 27 (2011), for the damping; Faverjon, Tournassoud (1987) for the velocity damper.
"""

from __future__ import annotations

import numba
import numpy as np

from humanoid_control.inverse_kinematics.quadratic_program import MAX_ROWS, NOT_CONVEX, QP, solve
from humanoid_control.kernels import JIT
from humanoid_control.rigid_body import (
    BODIES, JOINTS, MOTION, TREE, VELOCITIES, forward_kinematics, point_columns, point_position, rotation_error,
    rotation_from_quaternion,
)  # fmt: skip
from humanoid_control.self_collision import MAX_PAIRS, PAIRS, PROXIMITY, capsule_distances, distance_row

MAX_FRAMES = 12
MAX_SUPPORT = 8
CONFIGURATION = JOINTS + 7
BAD_CONFIGURATION, BAD_BASE_QUATERNION, BAD_COM, BAD_POSTURE, BAD_SUPPORT = -10, -11, -12, -13, -14
BAD_POSE, BAD_QUATERNION, BAD_VELOCITY = -100, -200, -300  # minus the frame's index
QUATERNION_TOLERANCE = 2e-3  # of the squared norm
LARGE = 1e300
RELAXED = 1
HALVINGS = 6

IK = np.dtype([
    ("tree", TREE), ("motion", MOTION), ("pairs", PAIRS), ("proximity", PROXIMITY), ("qp", QP),
    # the tasks
    ("frame_count", np.int64), ("body", np.int64, MAX_FRAMES), ("offset", np.float64, (MAX_FRAMES, 3)),
    ("rotation", np.float64, (MAX_FRAMES, 3, 3)), ("frame_weights", np.float64, (MAX_FRAMES, 6)),
    ("required", np.int8, MAX_FRAMES), ("com_weights", np.float64, 3), ("posture_weights", np.float64, JOINTS),
    # the options
    ("dt", np.float64), ("gain", np.float64), ("damping", np.float64), ("error_damping", np.float64),
    ("secondary", np.float64),  # scales the squared weights of what is not required
    ("largest_position_error", np.float64), ("largest_angle_error", np.float64),
    ("lower", np.float64, JOINTS), ("upper", np.float64, JOINTS), ("limit_gain", np.float64),
    ("largest_step", np.float64, VELOCITIES), ("self_collision", np.bool_), ("safe_distance", np.float64),
    ("influence_distance", np.float64), ("collision_gain", np.float64),
    ("size", np.int64), ("variable", np.int64, VELOCITIES), ("slot", np.int64, VELOCITIES),  # slot of a variable or -1
    # what a step fills
    ("velocity", np.float64, VELOCITIES), ("configuration", np.float64, CONFIGURATION),
    # (position and angle of each frame, and of the centre of mass; axes without weight left out)
    ("frame_error", np.float64, (MAX_FRAMES, 2)), ("com_error", np.float64),
    ("limits", np.int8, VELOCITIES), ("smallest_distance", np.float64), ("scale", np.float64),
    ("pair_of_row", np.int64, MAX_ROWS), ("close_count", np.int64), ("close_pairs", np.int64, MAX_ROWS),
    ("error_energy", np.float64),
    # scratch
    ("base_rotation", np.float64, (3, 3)), ("target_rotation", np.float64, (3, 3)),
    ("frame_rotation", np.float64, (3, 3)), ("point", np.float64, 3), ("error", np.float64, 6),
    ("columns", np.int64, VELOCITIES), ("jacobian", np.float64, (VELOCITIES, 6)),
    ("com_jacobian", np.float64, (3, VELOCITIES)), ("row", np.float64, VELOCITIES),
    ("distance_before", np.float64, MAX_PAIRS), ("moments", np.float64, (BODIES, 4)),
], align=True)  # fmt: skip
"""Everything a step reads and writes."""


@numba.njit(**JIT)
def ik_step(record, configuration, frame_poses, com, posture, active, frame_velocities, support):
    """Computes one step from a configuration.

    Args:
        record: (1,) `IK` array.
        configuration: (36,).
        frame_poses: (F, 7); com (3,); posture (29,); active (F,) bool; frame_velocities (F, 6); support (S, 3).

    Returns:
        0, RELAXED, or a negative code that names what is wrong.
    """
    ik = record[0]
    status = check_inputs(ik, configuration, frame_poses, com, posture, frame_velocities, support)
    if status < 0:
        return status
    qp = ik.qp
    rotation_from_quaternion(configuration[3:7], ik.base_rotation)
    forward_kinematics(ik.tree, ik.base_rotation, configuration[7:], ik.motion)
    _centre_of_mass(ik)
    _clear(ik)
    _add_posture(ik, configuration, posture)
    _add_com(ik, configuration, com)
    for f in range(ik.frame_count):
        _add_frame(ik, f, configuration, frame_poses[f], frame_velocities[f], active[f])
    damping = ik.damping + ik.error_damping * ik.error_energy
    for i in range(ik.size):
        qp.hessian[i, i] += damping
    _set_limits(ik, configuration)
    qp.row_count = 0
    ik.smallest_distance = np.inf
    if ik.self_collision:
        _add_collision_rows(ik)
    collision_rows = qp.row_count
    _add_support_rows(ik, configuration, support)
    status = 0
    outcome = solve(qp)
    if outcome == NOT_CONVEX:
        return NOT_CONVEX
    if outcome < 0:
        _relax(ik)
        outcome = solve(qp)
        status = RELAXED
        if outcome < 0:
            return outcome
    _report_active(ik, collision_rows)
    _take(ik, configuration)
    return status


@numba.njit(**JIT)
def check_inputs(ik, configuration, frame_poses, com, posture, frame_velocities, support):
    """0, or a negative code that names the first input that is not finite or not a unit quaternion."""
    s = 0.0
    for i in range(CONFIGURATION):
        s += configuration[i]
    if not _is_finite(s):
        return BAD_CONFIGURATION
    if not _is_unit(configuration, 3):
        return BAD_BASE_QUATERNION
    if not _is_finite(com[0] + com[1] + com[2]):
        return BAD_COM
    s = 0.0
    for i in range(JOINTS):
        s += posture[i]
    if not _is_finite(s):
        return BAD_POSTURE
    for f in range(ik.frame_count):
        s = 0.0
        for i in range(7):
            s += frame_poses[f, i]
        if not _is_finite(s):
            return BAD_POSE - f
        if not _is_unit(frame_poses[f], 3):
            return BAD_QUATERNION - f
        s = 0.0
        for i in range(6):
            s += frame_velocities[f, i]
        if not _is_finite(s):
            return BAD_VELOCITY - f
    s = 0.0
    for k in range(support.shape[0]):
        s += support[k, 0] + support[k, 1] + support[k, 2]
    return 0 if _is_finite(s) else BAD_SUPPORT


@numba.njit(**JIT)
def _is_finite(value):
    # Not np.isfinite: it is compiled as value - value == 0, which reassociation reduces to true.
    return abs(value) < LARGE


@numba.njit(**JIT)
def _is_unit(values, start):
    s = 0.0
    for i in range(start, start + 4):
        s += values[i] * values[i]
    return abs(s - 1.0) < QUATERNION_TOLERANCE


@numba.njit(**JIT)
def _centre_of_mass(ik):
    """Fills `motion.com`, and each body's subtree mass and first moments in `moments`."""
    tree, motion, moments = ik.tree, ik.motion, ik.moments
    R, p = motion.rotation, motion.position
    for b in range(BODIES):
        m = tree.masses[b]
        c = tree.centres[b]
        moments[b, 0] = m
        for i in range(3):
            moments[b, 1 + i] = m * (p[b, i] + R[b, i, 0] * c[0] + R[b, i, 1] * c[1] + R[b, i, 2] * c[2])
    for b in range(BODIES - 1, 0, -1):
        for i in range(4):
            moments[tree.parents[b], i] += moments[b, i]
    motion.mass = moments[0, 0]
    for i in range(3):
        motion.com[i] = moments[0, 1 + i] / motion.mass


@numba.njit(**JIT)
def _clear(ik):
    H, g = ik.qp.hessian, ik.qp.gradient
    ik.qp.size = ik.size
    ik.error_energy = 0.0
    for i in range(ik.size):
        g[i] = 0.0
        for j in range(i + 1):
            H[i, j] = 0.0


@numba.njit(**JIT)
def _add_posture(ik, configuration, posture):
    for j in range(JOINTS):
        i = ik.slot[6 + j]
        if i >= 0:
            w = ik.secondary * ik.posture_weights[j] * ik.posture_weights[j]
            ik.qp.hessian[i, i] += w
            ik.qp.gradient[i] -= w * ik.gain * (posture[j] - configuration[7 + j])


@numba.njit(**JIT)
def _com_jacobian(ik):
    """Fills `com_jacobian` (3, 35)."""
    J, S, c, moments = ik.com_jacobian, ik.motion.axis, ik.motion.com, ik.moments
    for i in range(3):
        for j in range(6):
            J[i, j] = 1.0 if i == j else 0.0
    J[0, 4], J[0, 5] = c[2], -c[1]
    J[1, 3], J[1, 5] = -c[2], c[0]
    J[2, 3], J[2, 4] = c[1], -c[0]
    for b in range(1, BODIES):
        scale = 1.0 / ik.motion.mass
        m, x, y, z = scale * moments[b, 0], scale * moments[b, 1], scale * moments[b, 2], scale * moments[b, 3]
        J[0, 5 + b] = m * S[b, 3] + S[b, 1] * z - S[b, 2] * y
        J[1, 5 + b] = m * S[b, 4] + S[b, 2] * x - S[b, 0] * z
        J[2, 5 + b] = m * S[b, 5] + S[b, 0] * y - S[b, 1] * x


@numba.njit(**JIT)
def _add_com(ik, configuration, com):
    _com_jacobian(ik)
    H, g, row = ik.qp.hessian, ik.qp.gradient, ik.row
    square = 0.0
    for k in range(3):
        e = com[k] - configuration[k] - ik.motion.com[k]
        w = ik.com_weights[k] * ik.com_weights[k]
        if w == 0.0:
            continue
        square += e * e
        e = min(max(e, -ik.largest_position_error), ik.largest_position_error)
        ik.error_energy += 0.5 * w * e * e
        for i in range(ik.size):
            row[i] = ik.com_jacobian[k, ik.variable[i]]
        for i in range(ik.size):
            f = w * row[i]
            g[i] -= f * ik.gain * e
            for j in range(i + 1):
                H[i, j] += f * row[j]
    ik.com_error = np.sqrt(square)


@numba.njit(**JIT)
def _add_frame(ik, f, configuration, pose, velocity, is_active):
    H, g, e, J = ik.qp.hessian, ik.qp.gradient, ik.error, ik.jacobian
    b = ik.body[f]
    point_position(ik.motion, b, ik.offset[f], ik.point)
    rotation_from_quaternion(pose[3:7], ik.target_rotation)
    for i in range(3):
        e[i] = pose[i] - configuration[i] - ik.point[i]
        for j in range(3):
            s = 0.0
            for k in range(3):
                s += ik.motion.rotation[b, i, k] * ik.rotation[f, k, j]
            ik.frame_rotation[i, j] = s
    rotation_error(ik.target_rotation, ik.frame_rotation, e[3:6])
    weights = ik.frame_weights[f]
    scale = 1.0 if ik.required[f] else ik.secondary
    for k in range(2):
        square = 0.0
        for i in range(3 * k, 3 * k + 3):
            if weights[i] > 0.0 and is_active:
                square += e[i] * e[i]
        ik.frame_error[f, k] = np.sqrt(square)
    if not is_active:
        return
    for start in (0, 3):
        largest = ik.largest_position_error if start == 0 else ik.largest_angle_error
        norm = np.sqrt(e[start] * e[start] + e[start + 1] * e[start + 1] + e[start + 2] * e[start + 2])
        shrink = largest / norm if norm > largest else 1.0
        for i in range(start, start + 3):
            e[i] *= shrink
            ik.error_energy += 0.5 * scale * weights[i] * weights[i] * e[i] * e[i]
            e[i] = ik.gain * e[i] + ik.dt * velocity[i]
    w0, w1, w2 = scale * weights[0] * weights[0], scale * weights[1] * weights[1], scale * weights[2] * weights[2]
    w3, w4, w5 = scale * weights[3] * weights[3], scale * weights[4] * weights[4], scale * weights[5] * weights[5]
    count = point_columns(ik.tree, ik.motion, b, ik.point, ik.columns, J)
    for a in range(count):
        i = ik.slot[ik.columns[a]]
        if i < 0:
            continue
        c0, c1, c2, c3, c4, c5 = w0 * J[a, 0], w1 * J[a, 1], w2 * J[a, 2], w3 * J[a, 3], w4 * J[a, 4], w5 * J[a, 5]
        g[i] -= c0 * e[0] + c1 * e[1] + c2 * e[2] + c3 * e[3] + c4 * e[4] + c5 * e[5]
        for d in range(a + 1):
            j = ik.slot[ik.columns[d]]
            if j < 0:
                continue
            s = c0 * J[d, 0] + c1 * J[d, 1] + c2 * J[d, 2] + c3 * J[d, 3] + c4 * J[d, 4] + c5 * J[d, 5]
            if i >= j:
                H[i, j] += s
            else:
                H[j, i] += s


@numba.njit(**JIT)
def _set_limits(ik, configuration):
    lower, upper = ik.qp.lower, ik.qp.upper
    for i in range(ik.size):
        v = ik.variable[i]
        step = ik.largest_step[v]
        lower[i], upper[i] = -step, step
        if v >= 6:
            q = configuration[v + 1]
            # A joint found beyond its limit is brought back no faster than it may move.
            upper[i] = max(min(step, ik.limit_gain * (ik.upper[v - 6] - q)), -step)
            lower[i] = min(max(-step, ik.limit_gain * (ik.lower[v - 6] - q)), step)


@numba.njit(**JIT)
def _add_collision_rows(ik):
    qp, proximity = ik.qp, ik.proximity
    ik.smallest_distance = capsule_distances(ik.pairs, ik.motion, ik.influence_distance, proximity)
    limit = MAX_ROWS - MAX_SUPPORT
    count = 0
    for k in range(ik.pairs.pair_count):
        d = proximity.distance[k]
        ik.distance_before[k] = d
        if d >= ik.influence_distance:
            continue
        distance_row(ik.tree, ik.pairs, ik.motion, proximity, k, ik.row)
        size = 0.0
        for i in range(ik.size):
            size += ik.row[ik.variable[i]] * ik.row[ik.variable[i]]
        if size < 1e-8:
            continue  # nothing that may move changes this distance
        place = count
        if count == limit:  # full: the farthest gives way
            place = 0
            for r in range(limit):
                if proximity.distance[ik.pair_of_row[r]] > proximity.distance[ik.pair_of_row[place]]:
                    place = r
            if proximity.distance[ik.pair_of_row[place]] <= d:
                continue
        for i in range(ik.size):
            qp.rows[place, i] = ik.row[ik.variable[i]]
        qp.row_bounds[place] = -ik.collision_gain * (d - ik.safe_distance)
        ik.pair_of_row[place] = k
        if place == count:
            count += 1
    qp.row_count = count


@numba.njit(**JIT)
def _add_support_rows(ik, configuration, support):
    qp = ik.qp
    for k in range(support.shape[0]):
        x, y, offset = support[k, 0], support[k, 1], support[k, 2]
        r = qp.row_count
        for i in range(ik.size):
            v = ik.variable[i]
            qp.rows[r, i] = -x * ik.com_jacobian[0, v] - y * ik.com_jacobian[1, v]
        inside = offset - x * (configuration[0] + ik.motion.com[0]) - y * (configuration[1] + ik.motion.com[1])
        qp.row_bounds[r] = -ik.limit_gain * inside
        qp.row_count = r + 1


@numba.njit(**JIT)
def _relax(ik):
    """Makes standing still feasible: nothing already beyond a limit has to come back, but it may not go further."""
    qp = ik.qp
    for i in range(ik.size):
        qp.lower[i] = min(qp.lower[i], 0.0)
        qp.upper[i] = max(qp.upper[i], 0.0)
    for k in range(qp.row_count):
        qp.row_bounds[k] = min(qp.row_bounds[k], 0.0)


@numba.njit(**JIT)
def _report_active(ik, collision_rows):
    qp, n = ik.qp, ik.size
    for j in range(VELOCITIES):
        ik.limits[j] = 0
    ik.close_count = 0
    for k in range(qp.active_count):
        c = qp.active[k]
        if qp.multipliers[k] <= 0.0:
            continue
        if c < n:
            ik.limits[ik.variable[c]] = -1
        elif c < 2 * n:
            ik.limits[ik.variable[c - n]] = 1
        elif c - 2 * n < collision_rows:
            ik.close_pairs[ik.close_count] = ik.pair_of_row[c - 2 * n]
            ik.close_count += 1


@numba.njit(**JIT)
def _take(ik, configuration):
    """Integrates the displacement, shortened until no pair of capsules ends too near.

    The rows are linear in the displacement; what curvature and pairs beyond the influence distance add is caught here.
    """
    scale = 1.0
    for attempt in range(HALVINGS + 1):
        if attempt == HALVINGS:
            scale = 0.0
        integrate(ik, configuration, scale)
        if not ik.self_collision or scale == 0.0:
            break
        rotation_from_quaternion(ik.configuration[3:7], ik.base_rotation)
        forward_kinematics(ik.tree, ik.base_rotation, ik.configuration[7:], ik.motion)
        smallest = capsule_distances(ik.pairs, ik.motion, ik.safe_distance, ik.proximity)
        if smallest >= 0.5 * ik.safe_distance:
            break
        clear = True
        for k in range(ik.pairs.pair_count):
            d = ik.proximity.distance[k]
            if d < 0.5 * ik.safe_distance and d < ik.distance_before[k]:
                clear = False
                break
        if clear:
            break
        scale *= 0.5
    ik.scale = scale
    for j in range(VELOCITIES):
        i = ik.slot[j]
        ik.velocity[j] = scale * ik.qp.x[i] / ik.dt if i >= 0 else 0.0


@numba.njit(**JIT)
def integrate(ik, configuration, scale):
    """Fills `configuration` of the record with the given one displaced by `scale` times the solution."""
    x, slot, q = ik.qp.x, ik.slot, ik.configuration
    for i in range(CONFIGURATION):
        q[i] = configuration[i]
    for j in range(JOINTS):
        if slot[6 + j] >= 0:
            q[7 + j] += scale * x[slot[6 + j]]
    if slot[0] < 0:
        return
    for i in range(3):
        q[i] += scale * x[slot[i]]
    a, b, c = scale * x[slot[3]], scale * x[slot[4]], scale * x[slot[5]]
    angle = np.sqrt(a * a + b * b + c * c)
    s = 0.5 if angle < 1e-9 else np.sin(0.5 * angle) / angle
    a, b, c, w = s * a, s * b, s * c, np.cos(0.5 * angle)
    X, Y, Z, W = configuration[3], configuration[4], configuration[5], configuration[6]
    q[3] = w * X + a * W + b * Z - c * Y
    q[4] = w * Y - a * Z + b * W + c * X
    q[5] = w * Z + a * Y - b * X + c * W
    q[6] = w * W - a * X - b * Y - c * Z
    norm = np.sqrt(q[3] * q[3] + q[4] * q[4] + q[5] * q[5] + q[6] * q[6])
    for i in range(3, 7):
        q[i] /= norm
