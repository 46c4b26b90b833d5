"""The pose of something whose points were found in an image, with a covariance that owns up (compiled).

Points weigh by their deviations, which way is up may be known from the IMU, and single points that are grossly wrong are
left out: a search over headings gives seeds that no single point can spoil, each is refined by Levenberg-Marquardt with a
loss that grows linearly, then with one that forgets what does not fit (Geman and McClure 1985). Where a second,
different pose explains the image nearly as well, the covariance spans both.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from humanoid_control.errors import ConfigurationError
from humanoid_control.kernels import JIT
from humanoid_control.rigid_body import rotation_error
from perception.camera_model import NEAREST, CameraModel

MAX_POINTS = 256
HEADINGS_UPRIGHT, HEADINGS_ANY = 24, 12  # tried for each direction of up
DIRECTIONS_ANY = 24  # of up, tried where it is unknown
LOWEST_UP = 0.35  # of the component of up along the view: what is looked at from below is no seed
SEEDS = 4
MOST_LEFT_OUT = 12  # points, up to which a seed is sought without each of them
SUSPICIOUS = 4.0  # mean cost of a point, from which one of them may be grossly wrong; 2 is expected
OUTLIER_SHARE = 0.5  # of the cost that is left without the one point that is grossly wrong
LINEAR_LOSS = 2.0  # deviations beyond which the first loss grows linearly
FORGETTING_LOSS = 6.0  # deviations at which a point has lost three quarters of its weight in the second loss
INLIER_WEIGHT = 0.25
MEDIAN_OF_SQUARES = 1.386  # of chi-squared with two degrees of freedom
MAX_ITERATIONS = 12
CONVERGED = 1e-5  # relative decrease of the cost
DIFFERENT_ANGLE, DIFFERENT_SHARE = 0.09, 0.02  # rad, and share of the distance, from which poses are two
NEGLIGIBLE = 1e-3  # probability below which a second pose is none
MAX_DEVIATION = 0.25  # m along any direction, beyond which a pose is none


class PointPose(NamedTuple):
    """What `solve_pose` found.

    Attributes:
        camera_from_object: (4, 4).
        covariance: (6, 6) of translation (m) and rotation vector (rad), in the camera's axes.
        reduced_chi2: squared error over its expectation, of the points that were kept; 1 where deviations are right.
        ok: false where the points do not tell a pose.
        inliers: (N,) bool, the points that were kept.
    """

    camera_from_object: np.ndarray
    covariance: np.ndarray
    reduced_chi2: float
    ok: bool
    inliers: np.ndarray


def solve_pose(
    points: np.ndarray, pixels: np.ndarray, *, deviations: np.ndarray, use: np.ndarray, camera: CameraModel,
    up_in_camera: np.ndarray | None = None, up_deviation: float = 0.03,
) -> PointPose:  # fmt: skip
    """Returns the pose of an object in a camera's optical frame.

    Args:
        points: (N, 3) m in the object's frame.
        pixels: (N, 2) where they were found.
        deviations: (N, 2) px, the standard deviation of each coordinate.
        use: (N,) bool; the others are ignored and may be NaN.
        camera: intrinsics.
        up_in_camera: (3,) unit vector, where the object's z axis should point to; None if that is unknown.
        up_deviation: rad, how far it may point elsewhere.

    Raises:
        ConfigurationError: shapes do not fit.
    """
    points, pixels, deviations = (np.ascontiguousarray(array, float) for array in (points, pixels, deviations))
    use = np.ascontiguousarray(use, bool)
    count = len(points)
    if not (points.shape == (count, 3) and pixels.shape == deviations.shape == (count, 2) and use.shape == (count,)
            and count <= MAX_POINTS):  # fmt: skip
        raise ConfigurationError(f"points {points.shape}, pixels {pixels.shape}, deviations {deviations.shape} and use "
                                 f"{use.shape} must be (N, 3), (N, 2), (N, 2) and (N,) with N up to {MAX_POINTS}")  # fmt: skip
    known = up_in_camera is not None
    up = np.array(up_in_camera, float) if known else np.zeros(3)
    if known and not abs(np.linalg.norm(up) - 1) < 1e-3:
        raise ConfigurationError(f"up must be a unit vector; got {up.tolist()}")
    pose, covariance, inliers = np.eye(4), np.eye(6), np.zeros(count, bool)
    chi2 = _solve(points, pixels, deviations, use, camera.intrinsics, min(camera.max_radius, 1e3),
                  up, 1 / up_deviation if known else 0.0, _UPS, pose, covariance, inliers)  # fmt: skip
    ok = bool(chi2 >= 0 and np.linalg.eigvalsh(covariance[:3, :3])[-1] < MAX_DEVIATION**2)
    return PointPose(pose, covariance, float(abs(chi2)), ok, inliers)


def solve_tote_pose(
    corners: np.ndarray, pixels: np.ndarray, deviations: np.ndarray, use: np.ndarray, camera: CameraModel, *,
    up_in_camera: np.ndarray | None = None, up_deviation_rad: float = 0.03,
) -> PointPose:  # fmt: skip
    """Returns the pose of a tote from its eight corners, as `solve_pose` does; a tote stands upright within a degree or two.

    Args:
        corners: (8, 3) m in the tote's frame.
        pixels: (8, 2).
        deviations: (8, 2) px.
        use: (8,) bool.
        camera: intrinsics.
        up_in_camera: (3,) unit vector.
        up_deviation_rad: how far the tote may tilt.
    """
    return solve_pose(corners, pixels, deviations=deviations, use=use, camera=camera, up_in_camera=up_in_camera,
                      up_deviation=up_deviation_rad)  # fmt: skip


def _directions_of_up() -> np.ndarray:
    """(DIRECTIONS_ANY, 3) unit vectors spread evenly (Fibonacci) over those that point to the camera or across its view."""
    index = np.arange(DIRECTIONS_ANY)
    z = LOWEST_UP - (1 + LOWEST_UP) * (index + 0.5) / DIRECTIONS_ANY
    angle = index * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z * z)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), z])


_UPS = _directions_of_up()


def warm_up() -> None:
    """Compiles the kernels."""
    camera = CameraModel("warm_up", 640, 360, np.array([[400.0, 0, 320], [0, 400.0, 180], [0, 0, 1]]))
    points = np.array([(x, y, z) for x in (-0.1, 0.1) for y in (-0.1, 0.1) for z in (0.0, 0.1)])
    pixels, _ = camera.project(points + [0, 0, 1.0])
    solve_tote_pose(points, pixels, np.ones((8, 2)), np.ones(8, bool), camera, up_in_camera=np.array([0.0, 0.0, 1.0]))


# --- kernels: intrinsics are (9,) fx, fy, cx, cy, k1, k2, p1, p2, k3 -----------------------------------------------


@numba.njit(**JIT)
def _bend(k, x, y, bent):
    """Fills bent (6,) with the distorted point at depth 1 and its derivative: x', y', dx'/dx, dx'/dy, dy'/dx, dy'/dy."""
    k1, k2, p1, p2, k3 = k[4], k[5], k[6], k[7], k[8]
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))
    bent[0] = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    bent[1] = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    bent[2] = radial + x * x * slope + 2 * p1 * y + 6 * p2 * x
    bent[3] = x * y * slope + 2 * p1 * x + 2 * p2 * y
    bent[4] = bent[3]
    bent[5] = radial + y * y * slope + 6 * p1 * y + 2 * p2 * x


@numba.njit(**JIT)
def _straighten(k, max_radius, u, v, plane, bent):
    """Fills plane (2,) with the point at depth 1 that is seen at a pixel; false where there is none."""
    a, b = (u - k[2]) / k[0], (v - k[3]) / k[1]
    x, y = a, b
    for _ in range(12):
        _bend(k, x, y, bent)
        ex, ey = bent[0] - a, bent[1] - b
        if abs(ex) + abs(ey) < 1e-10:
            break
        det = bent[2] * bent[5] - bent[3] * bent[4]
        x -= (bent[5] * ex - bent[3] * ey) / det
        y -= (bent[2] * ey - bent[4] * ex) / det
        radius = np.sqrt(x * x + y * y)
        if radius > max_radius:
            x *= max_radius / radius
            y *= max_radius / radius
    _bend(k, x, y, bent)
    plane[0], plane[1] = x, y
    return abs(bent[0] - a) + abs(bent[1] - b) < 1e-6


@numba.njit(**JIT)
def _turn(rotation, d0, d1, d2, turned):
    """Fills turned (3, 3) with exp([d]) @ rotation."""
    angle = np.sqrt(d0 * d0 + d1 * d1 + d2 * d2)
    a = 1.0 - angle * angle / 6 if angle < 1e-4 else np.sin(angle) / angle
    b = 0.5 - angle * angle / 24 if angle < 1e-4 else (1 - np.cos(angle)) / (angle * angle)
    for j in range(3):
        x, y, z = rotation[0, j], rotation[1, j], rotation[2, j]
        cx, cy, cz = d1 * z - d2 * y, d2 * x - d0 * z, d0 * y - d1 * x
        turned[0, j] = x + a * cx + b * (d1 * cz - d2 * cy)
        turned[1, j] = y + a * cy + b * (d2 * cx - d0 * cz)
        turned[2, j] = z + a * cz + b * (d0 * cy - d1 * cx)


@numba.njit(**JIT)
def _upright(up, heading, rotation):
    """Fills rotation (3, 3) with one whose z axis is `up` (3,), turned about it by `heading`."""
    i = 0
    for k in range(1, 3):
        if abs(up[k]) < abs(up[i]):
            i = k
    e0, e1, e2 = 1.0 * (i == 0), 1.0 * (i == 1), 1.0 * (i == 2)
    x0, x1, x2 = up[1] * e2 - up[2] * e1, up[2] * e0 - up[0] * e2, up[0] * e1 - up[1] * e0
    norm = np.sqrt(x0 * x0 + x1 * x1 + x2 * x2)
    x0, x1, x2 = x0 / norm, x1 / norm, x2 / norm
    y0, y1, y2 = up[1] * x2 - up[2] * x1, up[2] * x0 - up[0] * x2, up[0] * x1 - up[1] * x0
    c, s = np.cos(heading), np.sin(heading)
    rotation[0, 0], rotation[1, 0], rotation[2, 0] = c * x0 + s * y0, c * x1 + s * y1, c * x2 + s * y2
    rotation[0, 1], rotation[1, 1], rotation[2, 1] = c * y0 - s * x0, c * y1 - s * x1, c * y2 - s * x2
    rotation[0, 2], rotation[1, 2], rotation[2, 2] = up[0], up[1], up[2]


@numba.njit(**JIT)
def _place(points, rotation, planes, scales, turned, translation):
    """Fills translation (3,) with where points so turned fit best, in the sense of least absolute errors; returns these.

    `planes` (N, 2) are their images at depth 1, `scales` (N, 2) one over the deviations there.
    """
    n = len(points)
    for i in range(n):
        for r in range(3):
            turned[i, r] = (rotation[r, 0] * points[i, 0] + rotation[r, 1] * points[i, 1]
                            + rotation[r, 2] * points[i, 2])  # fmt: skip
    error = np.inf
    depth = 0.0
    for iteration in range(3):
        a00 = a02 = a11 = a12 = a22 = b0 = b1 = b2 = 0.0
        for i in range(n):
            u, v = planes[i, 0], planes[i, 1]
            x, y, z = turned[i, 0], turned[i, 1], turned[i, 2]
            wu, wv = scales[i, 0], scales[i, 1]
            if iteration == 0:
                wu, wv = wu * wu, wv * wv
            else:
                d = max(z + translation[2], NEAREST)
                ru = ((x + translation[0]) / d - u) * wu
                rv = ((y + translation[1]) / d - v) * wv
                w = 1 / (np.sqrt(ru * ru + rv * rv) + 1.0) / (d * d)
                wu, wv = wu * wu * w, wv * wv * w
            eu, ev = u * z - x, v * z - y
            a00 += wu
            a02 -= wu * u
            a11 += wv
            a12 -= wv * v
            a22 += wu * u * u + wv * v * v
            b0 += wu * eu
            b1 += wv * ev
            b2 -= wu * u * eu + wv * v * ev
        s = a22 - a02 * a02 / a00 - a12 * a12 / a11
        if not s > 1e-12 * a22:
            return np.inf
        depth = (b2 - a02 * b0 / a00 - a12 * b1 / a11) / s
        translation[2] = depth
        translation[0] = (b0 - a02 * depth) / a00
        translation[1] = (b1 - a12 * depth) / a11
    error = 0.0
    for i in range(n):
        d = turned[i, 2] + translation[2]
        if d < NEAREST:
            return np.inf
        ru = ((turned[i, 0] + translation[0]) / d - planes[i, 0]) * scales[i, 0]
        rv = ((turned[i, 1] + translation[1]) / d - planes[i, 1]) * scales[i, 1]
        error += np.sqrt(ru * ru + rv * rv)
    return error


@numba.njit(**JIT)
def _evaluate(k, points, pixels, scales, up, up_scale, rotation, translation, forgets, widening, squares, H, g, bent):
    """Cost of a pose; fills squares (N,), the normal matrix H (6, 6) and the gradient g (6,). Infinite behind the camera.

    The first loss is linear far out, the second (`forgets`) levels off; `widening` divides the squared errors there.
    """
    for i in range(6):
        g[i] = 0.0
        for j in range(6):
            H[i, j] = 0.0
    cost = 0.0
    J = np.empty((2, 6))
    for n in range(len(points)):
        x = rotation[0, 0] * points[n, 0] + rotation[0, 1] * points[n, 1] + rotation[0, 2] * points[n, 2]
        y = rotation[1, 0] * points[n, 0] + rotation[1, 1] * points[n, 1] + rotation[1, 2] * points[n, 2]
        z = rotation[2, 0] * points[n, 0] + rotation[2, 1] * points[n, 1] + rotation[2, 2] * points[n, 2]
        cx, cy, cz = x + translation[0], y + translation[1], z + translation[2]
        if cz < NEAREST:
            return np.inf
        px, py = cx / cz, cy / cz
        _bend(k, px, py, bent)
        ru = (k[0] * bent[0] + k[2] - pixels[n, 0]) * scales[n, 0]
        rv = (k[1] * bent[1] + k[3] - pixels[n, 1]) * scales[n, 1]
        for row in range(2):
            f = k[row] * scales[n, row] / cz
            j0, j1 = f * bent[2 + 2 * row], f * bent[3 + 2 * row]
            j2 = -(j0 * px + j1 * py)
            J[row, 0], J[row, 1], J[row, 2] = j0, j1, j2
            # A turn d moves the point by d x (x, y, z).
            J[row, 3] = j2 * y - j1 * z
            J[row, 4] = j0 * z - j2 * x
            J[row, 5] = j1 * x - j0 * y
        square = (ru * ru + rv * rv) / widening
        squares[n] = square
        if forgets:
            q = 1 / (1 + square / FORGETTING_LOSS**2)
            weight = q * q
            cost += square * q
        else:
            q = np.sqrt(1 + square / LINEAR_LOSS**2)
            weight = 1 / q
            cost += 2 * LINEAR_LOSS**2 * (q - 1)
        weight /= widening
        for i in range(6):
            g[i] += weight * (J[0, i] * ru + J[1, i] * rv)
            for j in range(i + 1):
                H[i, j] += weight * (J[0, i] * J[0, j] + J[1, i] * J[1, j])
    if up_scale > 0:
        # The tilt is a x up for a = R z; a turn d changes it by a (d up) - d (a up).
        a0, a1, a2 = rotation[0, 2], rotation[1, 2], rotation[2, 2]
        t = np.empty(3)
        t[0], t[1], t[2] = a1 * up[2] - a2 * up[1], a2 * up[0] - a0 * up[2], a0 * up[1] - a1 * up[0]
        along = a0 * up[0] + a1 * up[1] + a2 * up[2]
        if along <= 0:
            return np.inf
        for r in range(3):
            cost += (up_scale * t[r]) ** 2
            for i in range(3):
                ji = up_scale * (rotation[r, 2] * up[i] - (along if r == i else 0.0))
                g[3 + i] += ji * up_scale * t[r]
                for j in range(i + 1):
                    jj = up_scale * (rotation[r, 2] * up[j] - (along if r == j else 0.0))
                    H[3 + i, 3 + j] += ji * jj
    for i in range(6):
        for j in range(i):
            H[j, i] = H[i, j]
    return cost


@numba.njit(**JIT)
def _cholesky(H, damping, L):
    """Fills L (6, 6) with the lower factor of H + damping diag(H); false where that is not positive definite."""
    for i in range(6):
        for j in range(i + 1):
            s = H[i, j]
            if i == j:
                s += damping * H[i, i]
            for m in range(j):
                s -= L[i, m] * L[j, m]
            if i == j:
                if not s > 1e-13 * H[i, i]:
                    return False
                L[i, i] = np.sqrt(s)
            else:
                L[i, j] = s / L[j, j]
    return True


@numba.njit(**JIT)
def _back_substitute(L, b, x):
    """Fills x (6,) with the solution of L L' x = b."""
    for i in range(6):
        s = b[i]
        for m in range(i):
            s -= L[i, m] * x[m]
        x[i] = s / L[i, i]
    for i in range(5, -1, -1):
        s = x[i]
        for m in range(i + 1, 6):
            s -= L[m, i] * x[m]
        x[i] = s / L[i, i]


@numba.njit(**JIT)
def _refine(k, points, pixels, scales, up, up_scale, forgets, widening, rotation, translation, squares, H, bent):
    """Levenberg-Marquardt from a pose, which it changes; returns the cost, with `squares` and H at the end."""
    g, step, L = np.empty(6), np.empty(6), np.empty((6, 6))
    new_H, new_g, new_squares = np.empty((6, 6)), np.empty(6), np.empty(len(points))
    new_rotation, new_translation = np.empty((3, 3)), np.empty(3)
    cost = _evaluate(k, points, pixels, scales, up, up_scale, rotation, translation, forgets, widening, squares, H, g, bent)
    if not cost < np.inf:
        return np.inf
    damping = 1e-3
    for _ in range(MAX_ITERATIONS):
        if not _cholesky(H, damping, L):
            damping = max(10 * damping, 1e-6)
            continue
        _back_substitute(L, g, step)
        for i in range(3):
            new_translation[i] = translation[i] - step[i]
        _turn(rotation, -step[3], -step[4], -step[5], new_rotation)
        new = _evaluate(k, points, pixels, scales, up, up_scale, new_rotation, new_translation, forgets, widening,
                        new_squares, new_H, new_g, bent)  # fmt: skip
        if new < cost:
            converged = cost - new < CONVERGED * (cost + 1e-9)
            cost = new
            rotation[:], translation[:], squares[:], H[:], g[:] = new_rotation, new_translation, new_squares, new_H, new_g
            damping *= 0.1
            if converged:
                break
        else:
            damping *= 10
            if damping > 1e6:
                break
    return cost


@numba.njit(**JIT)
def _find_seeds(points, planes, scales, ups, headings, wanted, rotations, translations):
    """Fills rotations (wanted, 3, 3) and translations with the poses that are best among their neighbours; how many."""
    n, m = len(points), headings
    errors = np.empty(m)
    places = np.empty((m, 3))
    best = np.full(wanted, np.inf)
    rotation, translation, turned = np.empty((3, 3)), np.empty(3), np.empty((n, 3))
    for u in range(len(ups)):
        for h in range(m):
            _upright(ups[u], 2 * np.pi * h / m, rotation)
            errors[h] = _place(points, rotation, planes, scales, turned, translation)
            places[h] = translation
        for h in range(m):
            if errors[h] >= best[wanted - 1] or errors[h] > errors[h - 1] or errors[h] > errors[(h + 1) % m]:
                continue
            slot = wanted - 1
            while slot > 0 and best[slot - 1] > errors[h]:
                best[slot] = best[slot - 1]
                rotations[slot] = rotations[slot - 1]
                translations[slot] = translations[slot - 1]
                slot -= 1
            best[slot] = errors[h]
            _upright(ups[u], 2 * np.pi * h / m, rotations[slot])
            translations[slot] = places[h]
    found = 0
    for slot in range(wanted):
        if best[slot] < np.inf:
            found += 1
    return found


@numba.njit(**JIT)
def _invert(H, covariance):
    """Fills covariance with the inverse of H; false where it has none."""
    L, b, x = np.empty((6, 6)), np.zeros(6), np.empty(6)
    if not _cholesky(H, 0.0, L):
        return False
    for j in range(6):
        b[j] = 1.0
        _back_substitute(L, b, x)
        b[j] = 0.0
        for i in range(6):
            covariance[i, j] = x[i]
    return True


@numba.njit(**JIT)
def _solve(all_points, all_pixels, deviations, use, k, max_radius, up, up_scale, any_ups, pose, covariance, inliers):
    """Fills pose, covariance and inliers; returns the reduced chi-squared, negative where there is no pose."""
    count = len(all_points)
    points, pixels, scales = np.empty((count, 3)), np.empty((count, 2)), np.empty((count, 2))
    planes, plane_scales, index = np.empty((count, 2)), np.empty((count, 2)), np.empty(count, np.int64)
    plane, bent = np.empty(2), np.empty(6)
    n = 0
    for i in range(count):
        inliers[i] = False
        fine = use[i] and deviations[i, 0] > 0 and deviations[i, 1] > 0
        for c in range(2):
            fine = fine and abs(all_pixels[i, c]) < np.inf and deviations[i, c] < np.inf
        if not fine or not _straighten(k, max_radius, all_pixels[i, 0], all_pixels[i, 1], plane, bent):
            continue
        points[n], pixels[n], planes[n], index[n] = all_points[i], all_pixels[i], plane, i
        for c in range(2):
            scales[n, c] = 1 / deviations[i, c]
            plane_scales[n, c] = k[c] / deviations[i, c]
        n += 1
    if n < 3 or (n < 4 and up_scale == 0):
        return -np.inf
    points, pixels, scales, planes, plane_scales = points[:n], pixels[:n], scales[:n], planes[:n], plane_scales[:n]
    ups = up.copy().reshape(1, 3) if up_scale > 0 else any_ups
    headings = HEADINGS_UPRIGHT if up_scale > 0 else HEADINGS_ANY
    most = SEEDS + n
    rotations, translations = np.empty((most, 3, 3)), np.empty((most, 3))
    squares, H = np.empty((most, n)), np.empty((most, 6, 6))
    costs = np.full(most, np.inf)
    lowest = np.inf
    found = _find_seeds(points, planes, plane_scales, ups, headings, SEEDS, rotations, translations)
    for s in range(found):
        costs[s] = _refine(k, points, pixels, scales, up, up_scale, False, 1.0, rotations[s], translations[s], squares[s],
                           H[s], bent)  # fmt: skip
        lowest = min(lowest, costs[s])
    fitting, first_found = lowest, found
    if n <= MOST_LEFT_OUT and n > (3 if up_scale > 0 else 4) and lowest > SUSPICIOUS * n:
        # A seed of its own without each of the points: one that is far off draws all the others along.
        for i in range(n):
            scale, plane_scale = scales[i].copy(), plane_scales[i].copy()
            scales[i], plane_scales[i] = 0.0, 0.0
            if _find_seeds(points, planes, plane_scales, ups, headings, 1, rotations[found:], translations[found:]):
                costs[found] = _refine(k, points, pixels, scales, up, up_scale, False, 1.0, rotations[found],
                                       translations[found], squares[found], H[found], bent)  # fmt: skip
                lowest = min(lowest, costs[found])
                found += 1
            scales[i], plane_scales[i] = scale, plane_scale
    if not lowest < np.inf:
        return -np.inf
    # How much worse the points are than they claim, by the median: where all are, none of them is an outlier.
    widening = np.inf
    tells = 2 * n / max(2 * n - (4 if up_scale > 0 else 6), 2)  # residuals are smaller than errors
    for s in range(found):
        if costs[s] < np.inf and (s < first_found or costs[s] < OUTLIER_SHARE * fitting):
            widening = min(widening, max(1.0, tells * np.median(squares[s]) / MEDIAN_OF_SQUARES))
    first = -1
    for s in range(found):
        if costs[s] < np.inf:
            costs[s] = _refine(k, points, pixels, scales, up, up_scale, True, widening, rotations[s], translations[s],
                               squares[s], H[s], bent)  # fmt: skip
            if costs[s] < np.inf and (first < 0 or costs[s] < costs[first]):
                first = s
    if first < 0 or not _invert(H[first], covariance):
        return -np.inf
    kept, weights, error = 0, 0.0, 0.0
    for i in range(n):
        q = 1 / (1 + squares[first, i] / FORGETTING_LOSS**2)
        weights += 2 * q * q
        error += q * q * squares[first, i]
        if q * q > INLIER_WEIGHT:
            kept += 1
            inliers[index[i]] = True
    chi2 = widening * error / max(weights - (4.0 if up_scale > 0 else 6.0), 1.0)
    inflation = max(chi2 / widening, 1.0)  # H is divided by `widening` already
    for i in range(6):
        for j in range(6):
            covariance[i, j] *= inflation
    for r in range(3):
        pose[r, 3] = translations[first, r]
        for c in range(3):
            pose[r, c] = rotations[first, r, c]
    _span_others(rotations, translations, costs, found, first, covariance)
    if kept < 3 or (kept < 4 and up_scale == 0) or 2 * kept < n:
        return -chi2
    return chi2


@numba.njit(**JIT)
def _span_others(rotations, translations, costs, found, first, covariance):
    """Adds to covariance (6, 6) what other poses that are nearly as likely differ by."""
    difference = np.empty(6)
    turn = np.empty(3)
    distance = np.sqrt(translations[first, 0] ** 2 + translations[first, 1] ** 2 + translations[first, 2] ** 2)
    for s in range(found):
        if s == first or not costs[s] < np.inf:
            continue
        odds = np.exp(-0.5 * (costs[s] - costs[first]))
        probability = odds / (1 + odds)
        if probability < NEGLIGIBLE:
            continue
        rotation_error(rotations[s], rotations[first], turn)
        angle = moved = 0.0
        for i in range(3):
            difference[i], difference[3 + i] = translations[s, i] - translations[first, i], turn[i]
            angle += turn[i] ** 2
            moved += difference[i] ** 2
        if np.sqrt(angle) < DIFFERENT_ANGLE and np.sqrt(moved) < DIFFERENT_SHARE * distance:
            continue
        for i in range(6):
            for j in range(6):
                covariance[i, j] += probability * difference[i] * difference[j]
