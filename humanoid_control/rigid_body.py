"""Rigid-body kinematics and dynamics of the floating-base tree, compiled: what IK, control and estimation share.

Everything is expressed in world axes about the origin of `base_link`, so that numbers stay small wherever the robot
walks. Generalised velocity v = (base linear, base angular, joints), the first two in world axes. A kernel takes two
records: the constant `tree` and the `motion` it fills; neither allocates. `motion` is a structured array of one, whose
fields are readable from Python as well.

Sources: Featherstone, Rigid Body Dynamics Algorithms (2008), composite rigid bodies and recursive Newton-Euler.
"""

from __future__ import annotations

import numba
import numpy as np

from humanoid_control.kernels import JIT
from humanoid_control.robot_model import RigidBodyTree

GRAVITY = 9.81
BODIES = 30
JOINTS = BODIES - 1
VELOCITIES = JOINTS + 6
TREE = np.dtype([
    ("parents", np.int64, BODIES), ("rotations", np.float64, (BODIES, 3, 3)), ("translations", np.float64, (BODIES, 3)),
    ("axes", np.int64, BODIES), ("masses", np.float64, BODIES), ("centres", np.float64, (BODIES, 3)),
    ("inertias", np.float64, (BODIES, 3, 3)), ("armatures", np.float64, BODIES),
], align=True)  # fmt: skip
"""The tree's constants, as in `RigidBodyTree`."""

MOTION = np.dtype([
    ("rotation", np.float64, (BODIES, 3, 3)),  # world_from_body
    ("position", np.float64, (BODIES, 3)),  # m, of each body's origin from the base's
    ("axis", np.float64, (BODIES, 6)),  # unit joint twist: angular, linear at the base's origin
    ("velocity", np.float64, (BODIES, 6)),  # angular, linear of the point at the base's origin
    ("drift", np.float64, (BODIES, 6)),  # acceleration with all joint and base accelerations zero
    ("mass_matrix", np.float64, (VELOCITIES, VELOCITIES)),
    ("bias", np.float64, VELOCITIES),  # Coriolis, centrifugal and gravity forces
    ("com", np.float64, 3),  # m, from the base's origin
    ("com_velocity", np.float64, 3),
    ("mass", np.float64),
    ("composite", np.float64, (BODIES, 10)),  # scratch: mass, first moments, inertia about the base's origin
    ("force", np.float64, (BODIES, 6)),  # scratch: moment, force
], align=True)  # fmt: skip
"""What the kernels fill."""


def tree_record(tree: RigidBodyTree) -> np.void:
    """The tree as one record for the kernels."""
    record = np.zeros(1, TREE)[0]
    for name in TREE.names:
        record[name][...] = getattr(tree, name)
    return record


def motion_record() -> np.void:
    """An empty `MOTION` record."""
    return np.zeros(1, MOTION)[0]


@numba.njit(**JIT)
def rotation_from_quaternion(q, rotation):
    """Fills rotation (3, 3) from a unit quaternion xyzw (4,)."""
    x, y, z, w = q[0], q[1], q[2], q[3]
    rotation[0, 0] = 1 - 2 * (y * y + z * z)
    rotation[0, 1] = 2 * (x * y - z * w)
    rotation[0, 2] = 2 * (x * z + y * w)
    rotation[1, 0] = 2 * (x * y + z * w)
    rotation[1, 1] = 1 - 2 * (x * x + z * z)
    rotation[1, 2] = 2 * (y * z - x * w)
    rotation[2, 0] = 2 * (x * z - y * w)
    rotation[2, 1] = 2 * (y * z + x * w)
    rotation[2, 2] = 1 - 2 * (x * x + y * y)


@numba.njit(**JIT)
def rotation_error(target, actual, error):
    """Fills error (3,) with the rotation vector, in world axes, that turns `actual` into `target` (both (3, 3))."""
    trace = 0.0
    for i in range(3):
        for k in range(3):
            trace += target[i, k] * actual[i, k]
    x = y = z = 0.0
    for k in range(3):
        x += target[2, k] * actual[1, k] - target[1, k] * actual[2, k]
        y += target[0, k] * actual[2, k] - target[2, k] * actual[0, k]
        z += target[1, k] * actual[0, k] - target[0, k] * actual[1, k]
    sine = 0.5 * np.sqrt(x * x + y * y + z * z)
    cosine = 0.5 * (trace - 1.0)
    angle = np.arctan2(sine, cosine)
    if sine > 1e-9:
        scale = 0.5 * angle / sine
    elif cosine > 0:
        scale = 0.5
    else:  # exactly half a turn: any axis of the symmetric part will do; the next tick is past it
        scale = 0.5
        best = 0
        for i in range(3):
            if _symmetric(target, actual, i) > _symmetric(target, actual, best):
                best = i
        x = np.pi * 2.0 if best == 0 else 0.0
        y = np.pi * 2.0 if best == 1 else 0.0
        z = np.pi * 2.0 if best == 2 else 0.0
    error[0] = scale * x
    error[1] = scale * y
    error[2] = scale * z


@numba.njit(**JIT)
def _symmetric(target, actual, i):
    s = 0.0
    for k in range(3):
        s += target[i, k] * actual[i, k]
    return s


@numba.njit(**JIT)
def forward_kinematics(tree, base_rotation, joints, motion):
    """Fills `rotation`, `position` and `axis` of all bodies.

    Args:
        tree: `TREE` record.
        base_rotation: (3, 3) world_from_base.
        joints: (29,) rad.
        motion: `MOTION` record.
    """
    R, p, S = motion.rotation, motion.position, motion.axis
    for i in range(3):
        p[0, i] = 0.0
        for j in range(3):
            R[0, i, j] = base_rotation[i, j]
    for b in range(1, BODIES):
        a = tree.parents[b]
        s = np.sin(joints[b - 1])
        c = np.cos(joints[b - 1])
        k0 = tree.axes[b]
        k1 = (k0 + 1) % 3
        k2 = (k0 + 2) % 3
        for i in range(3):
            r0 = r1 = r2 = 0.0
            x = p[a, i]
            for k in range(3):
                r = R[a, i, k]
                r0 += r * tree.rotations[b, k, k0]
                r1 += r * tree.rotations[b, k, k1]
                r2 += r * tree.rotations[b, k, k2]
                x += r * tree.translations[b, k]
            p[b, i] = x
            R[b, i, k0] = r0
            R[b, i, k1] = c * r1 + s * r2
            R[b, i, k2] = c * r2 - s * r1
        x, y, z = R[b, 0, k0], R[b, 1, k0], R[b, 2, k0]
        S[b, 0], S[b, 1], S[b, 2] = x, y, z
        S[b, 3] = p[b, 1] * z - p[b, 2] * y
        S[b, 4] = p[b, 2] * x - p[b, 0] * z
        S[b, 5] = p[b, 0] * y - p[b, 1] * x


@numba.njit(**JIT)
def _velocities_and_drift(tree, velocity, motion):
    S, V, A = motion.axis, motion.velocity, motion.drift
    for i in range(3):
        V[0, i] = velocity[3 + i]
        V[0, 3 + i] = velocity[i]
        A[0, i] = 0.0
        A[0, 3 + i] = 0.0
    # The base's own point moves: d/dt of its spatial velocity with zero classical acceleration is -w x v.
    A[0, 3] = -(V[0, 1] * V[0, 5] - V[0, 2] * V[0, 4])
    A[0, 4] = -(V[0, 2] * V[0, 3] - V[0, 0] * V[0, 5])
    A[0, 5] = -(V[0, 0] * V[0, 4] - V[0, 1] * V[0, 3])
    for b in range(1, BODIES):
        a = tree.parents[b]
        qd = velocity[5 + b]
        s0, s1, s2 = S[b, 0] * qd, S[b, 1] * qd, S[b, 2] * qd
        l0, l1, l2 = S[b, 3] * qd, S[b, 4] * qd, S[b, 5] * qd
        w0, w1, w2 = V[a, 0] + s0, V[a, 1] + s1, V[a, 2] + s2
        v0, v1, v2 = V[a, 3] + l0, V[a, 4] + l1, V[a, 5] + l2
        V[b, 0], V[b, 1], V[b, 2], V[b, 3], V[b, 4], V[b, 5] = w0, w1, w2, v0, v1, v2
        A[b, 0] = A[a, 0] + w1 * s2 - w2 * s1
        A[b, 1] = A[a, 1] + w2 * s0 - w0 * s2
        A[b, 2] = A[a, 2] + w0 * s1 - w1 * s0
        A[b, 3] = A[a, 3] + w1 * l2 - w2 * l1 + v1 * s2 - v2 * s1
        A[b, 4] = A[a, 4] + w2 * l0 - w0 * l2 + v2 * s0 - v0 * s2
        A[b, 5] = A[a, 5] + w0 * l1 - w1 * l0 + v0 * s1 - v1 * s0


@numba.njit(**JIT)
def _composites_and_forces(tree, motion):
    """Each body's inertia and Newton-Euler force about the base's origin, and the centre of mass."""
    R, p, V, A, F = motion.rotation, motion.position, motion.velocity, motion.drift, motion.force
    total = 0.0
    for i in range(3):
        motion.com[i] = 0.0
        motion.com_velocity[i] = 0.0
    for b in range(BODIES):
        m = tree.masses[b]
        c0 = p[b, 0] + R[b, 0, 0] * tree.centres[b, 0] + R[b, 0, 1] * tree.centres[b, 1] + R[b, 0, 2] * tree.centres[b, 2]
        c1 = p[b, 1] + R[b, 1, 0] * tree.centres[b, 0] + R[b, 1, 1] * tree.centres[b, 1] + R[b, 1, 2] * tree.centres[b, 2]
        c2 = p[b, 2] + R[b, 2, 0] * tree.centres[b, 0] + R[b, 2, 1] * tree.centres[b, 1] + R[b, 2, 2] * tree.centres[b, 2]
        x, y, z = m * c0, m * c1, m * c2
        xx = y * c1 + z * c2
        yy = x * c0 + z * c2
        zz = x * c0 + y * c1
        xy = -x * c1
        xz = -x * c2
        yz = -y * c2
        for k in range(3):
            g0 = g1 = g2 = 0.0
            for j in range(3):
                inertia = tree.inertias[b, j, k]
                g0 += R[b, 0, j] * inertia
                g1 += R[b, 1, j] * inertia
                g2 += R[b, 2, j] * inertia
            xx += g0 * R[b, 0, k]
            xy += g0 * R[b, 1, k]
            xz += g0 * R[b, 2, k]
            yy += g1 * R[b, 1, k]
            yz += g1 * R[b, 2, k]
            zz += g2 * R[b, 2, k]
        body = motion.composite[b]
        body[0], body[1], body[2], body[3] = m, x, y, z
        body[4], body[5], body[6], body[7], body[8], body[9] = xx, xy, xz, yy, yz, zz
        w0, w1, w2, v0, v1, v2 = V[b, 0], V[b, 1], V[b, 2], V[b, 3], V[b, 4], V[b, 5]
        p0 = m * v0 + w1 * z - w2 * y
        p1 = m * v1 + w2 * x - w0 * z
        p2 = m * v2 + w0 * y - w1 * x
        k0 = xx * w0 + xy * w1 + xz * w2 + y * v2 - z * v1
        k1 = xy * w0 + yy * w1 + yz * w2 + z * v0 - x * v2
        k2 = xz * w0 + yz * w1 + zz * w2 + x * v1 - y * v0
        a0, a1, a2, b0, b1, b2 = A[b, 0], A[b, 1], A[b, 2], A[b, 3], A[b, 4], A[b, 5] + GRAVITY
        F[b, 3] = m * b0 + a1 * z - a2 * y + w1 * p2 - w2 * p1
        F[b, 4] = m * b1 + a2 * x - a0 * z + w2 * p0 - w0 * p2
        F[b, 5] = m * b2 + a0 * y - a1 * x + w0 * p1 - w1 * p0
        F[b, 0] = xx * a0 + xy * a1 + xz * a2 + y * b2 - z * b1 + w1 * k2 - w2 * k1 + v1 * p2 - v2 * p1
        F[b, 1] = xy * a0 + yy * a1 + yz * a2 + z * b0 - x * b2 + w2 * k0 - w0 * k2 + v2 * p0 - v0 * p2
        F[b, 2] = xz * a0 + yz * a1 + zz * a2 + x * b1 - y * b0 + w0 * k1 - w1 * k0 + v0 * p1 - v1 * p0
        total += m
        motion.com[0] += x
        motion.com[1] += y
        motion.com[2] += z
        motion.com_velocity[0] += p0
        motion.com_velocity[1] += p1
        motion.com_velocity[2] += p2
    for i in range(3):
        motion.com[i] /= total
        motion.com_velocity[i] /= total
    motion.mass = total


@numba.njit(**JIT)
def _accumulate_mass_matrix(tree, motion):
    S, F, M, h = motion.axis, motion.force, motion.mass_matrix, motion.bias
    M[:, :] = 0.0
    for b in range(BODIES - 1, 0, -1):
        a = tree.parents[b]
        body = motion.composite[b]
        s0, s1, s2, l0, l1, l2 = S[b, 0], S[b, 1], S[b, 2], S[b, 3], S[b, 4], S[b, 5]
        m, x, y, z = body[0], body[1], body[2], body[3]
        f3 = m * l0 + s1 * z - s2 * y
        f4 = m * l1 + s2 * x - s0 * z
        f5 = m * l2 + s0 * y - s1 * x
        f0 = body[4] * s0 + body[5] * s1 + body[6] * s2 + y * l2 - z * l1
        f1 = body[5] * s0 + body[7] * s1 + body[8] * s2 + z * l0 - x * l2
        f2 = body[6] * s0 + body[8] * s1 + body[9] * s2 + x * l1 - y * l0
        j = 5 + b
        k = b
        while k > 0:
            d = S[k, 0] * f0 + S[k, 1] * f1 + S[k, 2] * f2 + S[k, 3] * f3 + S[k, 4] * f4 + S[k, 5] * f5
            M[5 + k, j] = d
            M[j, 5 + k] = d
            k = tree.parents[k]
        M[0, j], M[1, j], M[2, j], M[3, j], M[4, j], M[5, j] = f3, f4, f5, f0, f1, f2
        for i in range(6):
            M[j, i] = M[i, j]
        M[j, j] += tree.armatures[b]
        h[j] = s0 * F[b, 0] + s1 * F[b, 1] + s2 * F[b, 2] + l0 * F[b, 3] + l1 * F[b, 4] + l2 * F[b, 5]
        for i in range(10):
            motion.composite[a, i] += body[i]
        for i in range(6):
            F[a, i] += F[b, i]
    body = motion.composite[0]
    m, x, y, z = body[0], body[1], body[2], body[3]
    for i in range(3):
        h[i] = F[0, 3 + i]
        h[3 + i] = F[0, i]
        M[i, i] = m
    M[3, 3], M[3, 4], M[3, 5] = body[4], body[5], body[6]
    M[4, 3], M[4, 4], M[4, 5] = body[5], body[7], body[8]
    M[5, 3], M[5, 4], M[5, 5] = body[6], body[8], body[9]
    M[0, 4], M[0, 5] = z, -y
    M[1, 3], M[1, 5] = -z, x
    M[2, 3], M[2, 4] = y, -x
    for i in range(3):
        for k in range(3):
            M[3 + k, i] = M[i, 3 + k]


@numba.njit(**JIT)
def dynamics(tree, base_rotation, joints, velocity, motion):
    """Fills all of `motion`: kinematics, velocities, mass matrix and bias forces.

    Args:
        tree: `TREE` record.
        base_rotation: (3, 3) world_from_base.
        joints: (29,) rad.
        velocity: (35,) base linear m/s and angular rad/s in world axes, joints rad/s.
        motion: `MOTION` record.
    """
    forward_kinematics(tree, base_rotation, joints, motion)
    _velocities_and_drift(tree, velocity, motion)
    _composites_and_forces(tree, motion)
    _accumulate_mass_matrix(tree, motion)


@numba.njit(**JIT)
def point_position(motion, body, offset, point):
    """Fills point (3,) m, from the base's origin, of an offset (3,) m fixed to a body."""
    for i in range(3):
        point[i] = (motion.position[body, i] + motion.rotation[body, i, 0] * offset[0]
                    + motion.rotation[body, i, 1] * offset[1] + motion.rotation[body, i, 2] * offset[2])  # fmt: skip


@numba.njit(**JIT)
def point_columns(tree, motion, body, point, columns, jacobian):
    """The Jacobian of a point fixed to a body, its non-zero columns only.

    Args:
        tree, motion: records; kinematics filled.
        body: index of the body.
        point: (3,) m from the base's origin.
        columns: (>=35,) int64, filled with the velocity indices of the columns.
        jacobian: (>=35, 6) filled row by column: linear, angular velocity per unit of that velocity.

    Returns:
        the number of columns: 6 and one for each joint between base and body.
    """
    S = motion.axis
    for j in range(6):
        columns[j] = j
        for i in range(6):
            jacobian[j, i] = 1.0 if i == j else 0.0
    jacobian[4, 0], jacobian[5, 0] = point[2], -point[1]
    jacobian[3, 1], jacobian[5, 1] = -point[2], point[0]
    jacobian[3, 2], jacobian[4, 2] = point[1], -point[0]
    count = 6
    b = body
    while b > 0:
        columns[count] = 5 + b
        c = jacobian[count]
        a0, a1, a2 = S[b, 0], S[b, 1], S[b, 2]
        c[0] = S[b, 3] + a1 * point[2] - a2 * point[1]
        c[1] = S[b, 4] + a2 * point[0] - a0 * point[2]
        c[2] = S[b, 5] + a0 * point[1] - a1 * point[0]
        c[3], c[4], c[5] = a0, a1, a2
        count += 1
        b = tree.parents[b]
    return count


@numba.njit(**JIT)
def point_motion(motion, body, point, velocity, drift):
    """Velocity (6,) of a point fixed to a body and its acceleration (6,) at zero joint and base acceleration.

    Both linear first, then angular, in world axes; `point` (3,) m from the base's origin.
    """
    V, A = motion.velocity, motion.drift
    w0, w1, w2 = V[body, 0], V[body, 1], V[body, 2]
    v0 = V[body, 3] + w1 * point[2] - w2 * point[1]
    v1 = V[body, 4] + w2 * point[0] - w0 * point[2]
    v2 = V[body, 5] + w0 * point[1] - w1 * point[0]
    velocity[0], velocity[1], velocity[2], velocity[3], velocity[4], velocity[5] = v0, v1, v2, w0, w1, w2
    a0, a1, a2 = A[body, 0], A[body, 1], A[body, 2]
    drift[0] = A[body, 3] + a1 * point[2] - a2 * point[1] + w1 * v2 - w2 * v1
    drift[1] = A[body, 4] + a2 * point[0] - a0 * point[2] + w2 * v0 - w0 * v2
    drift[2] = A[body, 5] + a0 * point[1] - a1 * point[0] + w0 * v1 - w1 * v0
    drift[3], drift[4], drift[5] = a0, a1, a2
