"""A small dense strictly convex quadratic programme with bounds and inequality rows, solved exactly, compiled.

    minimise 1/2 x' H x + g' x  subject to  lower <= x <= upper,  rows x >= row_bounds

The dual active-set method starts at the unconstrained optimum and adds one violated constraint at a time, so that a
problem whose optimum lies inside costs one Cholesky factorisation, and nothing needs a feasible start. The inner loops
run along rows, four at a time, because at this size the start of a loop costs as much as its body; and their indices
are unsigned where they do not start at 0, because the compiler vectorises no loop whose index might be negative.

Source: Goldfarb, Idnani, A numerically stable dual method for solving strictly convex quadratic programs,
Mathematical Programming 27 (1983).
"""

from __future__ import annotations

import numba
import numpy as np

from humanoid_control.kernels import JIT
from humanoid_control.rigid_body import VELOCITIES

MAX_ROWS = 48
INFEASIBLE, UNFINISHED, NOT_CONVEX = -1, -2, -3
MAX_ITERATIONS = 400
VIOLATION = 1e-10  # of a bound; the variables are of the order of 0.01 to 1
DEPENDENT = 1e-12  # squared, against the normal's own size in the metric of H: it lies in the span of the active ones

QP = np.dtype([
    ("size", np.int64), ("row_count", np.int64),
    ("hessian", np.float64, (VELOCITIES, VELOCITIES)),  # its lower triangle is read
    ("gradient", np.float64, VELOCITIES),
    ("lower", np.float64, VELOCITIES), ("upper", np.float64, VELOCITIES),
    ("rows", np.float64, (MAX_ROWS, VELOCITIES)), ("row_bounds", np.float64, MAX_ROWS),
    ("x", np.float64, VELOCITIES),
    ("active_count", np.int64),
    ("active", np.int64, VELOCITIES + 1),  # i: lower bound i; size + i: upper bound i; 2 size + k: row k
    ("multipliers", np.float64, VELOCITIES + 1),  # of the active constraints
    ("cholesky", np.float64, (VELOCITIES, VELOCITIES)),  # scratch: U of H = U' U, its diagonal inverted
    ("basis", np.float64, (VELOCITIES, VELOCITIES)),  # scratch: J' with J' H J = 1, active normals first
    ("triangle", np.float64, (VELOCITIES, VELOCITIES)),  # scratch: R with J' N = [R; 0]
    ("normal", np.float64, VELOCITIES),  # scratch: J' n
    ("direction", np.float64, VELOCITIES), ("dual_direction", np.float64, VELOCITIES),  # scratch
], align=True)  # fmt: skip
"""The problem, its solution and the solver's scratch memory."""


@numba.njit(**JIT)
def solve(qp):
    """Fills `x`, `active` and `multipliers`.

    Args:
        qp: `QP` record with the problem filled.

    Returns:
        the number of constraints added and dropped, or INFEASIBLE, UNFINISHED or NOT_CONVEX.
    """
    n = qp.size
    qp.active_count = 0
    if not _solve_unconstrained(qp):
        return NOT_CONVEX
    changes = 0
    while changes < MAX_ITERATIONS:
        constraint, slack = _most_violated(qp)
        if constraint < 0:
            return changes
        if changes == 0:
            _invert_cholesky(qp)
        multiplier = 0.0
        while True:
            changes += 1
            if changes > MAX_ITERATIONS:
                return UNFINISHED
            size = _project(qp, constraint)
            count = qp.active_count
            dual_step, blocking = np.inf, -1
            for k in range(count):
                if qp.dual_direction[k] > 0.0 and qp.multipliers[k] < dual_step * qp.dual_direction[k]:
                    dual_step = qp.multipliers[k] / qp.dual_direction[k]
                    blocking = k
            curvature = 0.0
            for k in range(count, n):
                curvature += qp.normal[k] * qp.normal[k]
            full_step = -slack / curvature if curvature > DEPENDENT * size else np.inf
            step = min(dual_step, full_step)
            if step == np.inf:
                return INFEASIBLE
            for k in range(count):
                qp.multipliers[k] -= step * qp.dual_direction[k]
            multiplier += step
            if full_step < np.inf:
                _advance(qp, step)
            if full_step <= dual_step:
                _add(qp, constraint, multiplier)
                break
            _drop(qp, blocking)
            slack = _slack(qp, constraint)
    return UNFINISHED


@numba.njit(**JIT)
def _solve_unconstrained(qp):
    n, H, U, x = np.uint64(qp.size), qp.hessian, qp.cholesky, qp.x
    one, four = np.uint64(1), np.uint64(4)
    for i in range(n):
        for j in range(i, n):
            U[i, j] = H[j, i]
        k = np.uint64(0)
        while k + four <= i:
            k1, k2, k3 = k + one, k + one + one, k + one + one + one
            a, b, c, d = U[k, i], U[k1, i], U[k2, i], U[k3, i]
            for j in range(i, n):
                U[i, j] -= a * U[k, j] + b * U[k1, j] + c * U[k2, j] + d * U[k3, j]
            k += four
        while k < i:
            a = U[k, i]
            for j in range(i, n):
                U[i, j] -= a * U[k, j]
            k += one
        if not U[i, i] > 0.0:
            return False
        inverse = 1.0 / np.sqrt(U[i, i])
        for j in range(i, n):
            U[i, j] *= inverse
        U[i, i] = inverse
    for i in range(n):
        x[i] = -qp.gradient[i]
    for i in range(n):
        f = x[i] * U[i, i]
        for j in range(i, n):
            x[j] -= U[i, j] * f
        x[i] = f
    for last in range(n):
        i = n - one - last
        s = x[i]
        for j in range(i + one, n):
            s -= U[i, j] * x[j]
        x[i] = s * U[i, i]
    return True


@numba.njit(**JIT)
def _invert_cholesky(qp):
    """basis = U^-T: at first J = U^-1."""
    n, U, B = qp.size, qp.cholesky, qp.basis
    for i in range(n):
        for j in range(n):
            B[i, j] = 0.0
        k = 0
        while k + 4 <= i:
            a, b, c, d = U[k, i], U[k + 1, i], U[k + 2, i], U[k + 3, i]
            for j in range(k + 4):
                B[i, j] -= a * B[k, j] + b * B[k + 1, j] + c * B[k + 2, j] + d * B[k + 3, j]
            k += 4
        while k < i:
            a = U[k, i]
            for j in range(k + 1):
                B[i, j] -= a * B[k, j]
            k += 1
        for j in range(i):
            B[i, j] *= U[i, i]
        B[i, i] = U[i, i]


@numba.njit(**JIT)
def _slack(qp, constraint):
    n = qp.size
    if constraint < n:
        return qp.x[constraint] - qp.lower[constraint]
    if constraint < 2 * n:
        return qp.upper[constraint - n] - qp.x[constraint - n]
    row = qp.rows[constraint - 2 * n]
    s = -qp.row_bounds[constraint - 2 * n]
    for i in range(n):
        s += row[i] * qp.x[i]
    return s


@numba.njit(**JIT)
def _most_violated(qp):
    n = qp.size
    worst, constraint = -VIOLATION, -1
    for i in range(n):
        low, high = qp.x[i] - qp.lower[i], qp.upper[i] - qp.x[i]
        if low < worst:
            worst, constraint = low, i
        if high < worst:
            worst, constraint = high, n + i
    for k in range(qp.row_count):
        s = _slack(qp, 2 * n + k)
        if s < worst:
            worst, constraint = s, 2 * n + k
    if constraint >= 0:  # an active constraint is met up to rounding, and must not be added twice
        for k in range(qp.active_count):
            if qp.active[k] == constraint:
                return -1, 0.0
    return constraint, worst


@numba.njit(**JIT)
def _project(qp, constraint):
    """Fills `normal` = J' n, `direction` = J2 J2' n and `dual_direction` = R^-1 (J' n)_active; returns |J' n|^2."""
    n, count, B, R = qp.size, qp.active_count, qp.basis, qp.triangle
    d, z, r = qp.normal, qp.direction, qp.dual_direction
    if constraint < 2 * n:
        i = constraint if constraint < n else constraint - n
        sign = 1.0 if constraint < n else -1.0
        for k in range(n):
            d[k] = sign * B[k, i]
    else:
        row = qp.rows[constraint - 2 * n]
        for k in range(n):
            s = 0.0
            for i in range(n):
                s += B[k, i] * row[i]
            d[k] = s
    size = 0.0
    for k in range(n):
        size += d[k] * d[k]
        z[k] = 0.0
    k = count
    while k + 4 <= n:
        d0, d1, d2, d3 = d[k], d[k + 1], d[k + 2], d[k + 3]
        for i in range(n):
            z[i] += d0 * B[k, i] + d1 * B[k + 1, i] + d2 * B[k + 2, i] + d3 * B[k + 3, i]
        k += 4
    while k < n:
        f = d[k]
        for i in range(n):
            z[i] += f * B[k, i]
        k += 1
    for k in range(count - 1, -1, -1):
        s = d[k]
        for j in range(k + 1, count):
            s -= R[k, j] * r[j]
        r[k] = s / R[k, k]
    return size


@numba.njit(**JIT)
def _advance(qp, step):
    for i in range(qp.size):
        qp.x[i] += step * qp.direction[i]


@numba.njit(**JIT)
def _add(qp, constraint, multiplier):
    """Reflects the free part of the basis so that the new normal has one entry there: R's new diagonal.

    With v = d2 - alpha e1 the reflection is B2 -= 2 v (v' B2) / v'v; the direction z gives v' B2 = z - alpha B2[0].
    """
    n, count, d, B, w = qp.size, qp.active_count, qp.normal, qp.basis, qp.direction
    square = 0.0
    for k in range(count, n):
        square += d[k] * d[k]
    norm = np.sqrt(square)
    alpha = -norm if d[count] > 0.0 else norm
    first = d[count] - alpha
    scale = -1.0 / (alpha * first)  # 2 / v'v
    for i in range(n):
        w[i] = scale * (w[i] - alpha * B[count, i])
    for k in range(count, n):
        v = first if k == count else d[k]
        for i in range(n):
            B[k, i] -= v * w[i]
    for k in range(count):
        qp.triangle[k, count] = d[k]
    qp.triangle[count, count] = alpha
    qp.active[count] = constraint
    qp.multipliers[count] = multiplier
    qp.active_count = count + 1


@numba.njit(**JIT)
def _drop(qp, place):
    count, R = qp.active_count - 1, qp.triangle
    for j in range(place, count):
        qp.active[j] = qp.active[j + 1]
        qp.multipliers[j] = qp.multipliers[j + 1]
        for k in range(j + 2):
            R[k, j] = R[k, j + 1]
    for j in range(place, count):
        h = np.sqrt(R[j, j] * R[j, j] + R[j + 1, j] * R[j + 1, j])
        c, s = R[j, j] / h, R[j + 1, j] / h
        R[j, j] = h
        _rotate(R, j, j + 1, c, s, j + 1, count)
        _rotate(qp.basis, j, j + 1, c, s, 0, qp.size)
    qp.active_count = count


@numba.njit(**JIT)
def _rotate(M, i, j, c, s, start, end):
    for k in range(start, end):
        a, b = M[i, k], M[j, k]
        M[i, k] = c * a + s * b
        M[j, k] = c * b - s * a
