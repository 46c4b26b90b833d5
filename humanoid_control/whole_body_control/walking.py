"""Standing, stepping and catching falls: the divergent component of motion, with the foothold planned anew every tick.

The centre of mass behaves like an inverted pendulum of constant height; its divergent component xi = c + dc/w grows away
from the centre of pressure p as exp(w t). Standing keeps xi over the feet by moving p; walking puts the next foot where xi
will be, choosing at every tick the step's remaining time, the foothold and the centre of pressure together, within reach
of the leg and of the swing foot's speed. When xi leaves the feet while standing, a capture step follows from the same plan.

Sources: Englsberger et al. 2015 (DCM), Khadiv et al. 2020 (step timing), Pratt et al. 2006 (capture point).
"""

from __future__ import annotations

import numba
import numpy as np

from humanoid_control.kernels import JIT
from humanoid_control.rigid_body import GRAVITY

STANDING, SHIFTING, DOUBLE, SINGLE = 0, 1, 2, 3
STEP_TIMES = 25
ANKLE_HEIGHT = 0.035  # m, ankle above its sole
SOLE_FORWARD = 0.035  # m, the sole's middle before the ankle

GAIT = np.dtype([
    ("single_s", np.float64), ("double_s", np.float64), ("first_double_s", np.float64), ("recovery_double_s", np.float64),
    ("width", np.float64), ("lift", np.float64), ("low_lift", np.float64), ("landing_speed", np.float64),
    ("shortest_s", np.float64), ("longest_s", np.float64), ("remaining_s", np.float64), ("swing_speed", np.float64),
    ("forward_reach", np.float64), ("backward_reach", np.float64), ("narrowest", np.float64), ("widest", np.float64),
    ("pressure_x", np.float64), ("pressure_y", np.float64),  # half size of where the planner may put p in a foot
    ("sole_x", np.float64), ("sole_y", np.float64),  # half size of the support when both feet stand
    ("residual_weight", np.float64), ("outward_factor", np.float64),
    ("forward_weight", np.float64), ("sideways_weight", np.float64), ("timing_weight", np.float64),
    ("capture_margin", np.float64), ("standing_gain", np.float64),
    ("double_gain", np.float64), ("double_limit", np.float64),
    ("target_speed", np.float64), ("height_gain", np.float64, 2), ("wide_drop", np.float64), ("widest_drop", np.float64),
], align=True)  # fmt: skip
"""The gait's parameters; lengths m, times s."""

WALK = np.dtype([
    ("mode", np.int64), ("support", np.int64), ("steps", np.int64), ("capturing", np.int64), ("planned", np.int64),
    ("quiet", np.int64), ("early", np.int64),
    ("phase_time", np.float64), ("double_time", np.float64), ("step_time", np.float64), ("stand_time", np.float64),
    ("pressure", np.float64, 2), ("pressure_from", np.float64, 2), ("pressure_next", np.float64, 2),
    ("foothold", np.float64, 2), ("foothold_yaw", np.float64), ("residual", np.float64, 2), ("has_target", np.int64),
    ("target", np.float64, 2),
    ("swing_position", np.float64, 3), ("swing_velocity", np.float64, 3), ("swing_acceleration", np.float64, 2),
    ("swing_progress", np.float64), ("swing_from_height", np.float64), ("swing_from_yaw", np.float64),
    ("swing_lift", np.float64), ("drop", np.float64), ("heading", np.float64), ("heading_rate", np.float64),
    ("contact", np.int64, 2), ("force_cap", np.float64, 2), ("com_acceleration", np.float64, 3),
    ("foot_position", np.float64, 3), ("foot_velocity", np.float64, 3), ("foot_acceleration", np.float64, 3),
    ("foot_yaw", np.float64), ("foot_yaw_rate", np.float64), ("foot_rotation_weight", np.float64),
    # The plan under evaluation.
    ("plan_time", np.float64), ("plan_foothold", np.float64, 2), ("plan_pressure", np.float64, 2),
    ("plan_yaw", np.float64), ("plan_cost", np.float64), ("plan_residual", np.float64, 2),
], align=True)  # fmt: skip
"""The walker's memory and what it wants in this tick (world axes and origin of `odom`)."""

FULL_LOAD = 600.0  # N, more than a foot ever carries: no cap


def default_gait() -> np.void:
    """A gait for factory floors, tuned with pushes (docs/control.md)."""
    g = np.zeros(1, GAIT)[0]
    g["single_s"], g["double_s"], g["first_double_s"], g["recovery_double_s"] = 0.40, 0.08, 0.5, 0.03
    g["width"], g["lift"], g["low_lift"], g["landing_speed"] = 0.22, 0.055, 0.030, 0.15
    g["shortest_s"], g["longest_s"], g["remaining_s"], g["swing_speed"] = 0.18, 0.62, 0.04, 2.6
    g["forward_reach"], g["backward_reach"], g["narrowest"], g["widest"] = 0.38, 0.34, 0.10, 0.50
    g["pressure_x"], g["pressure_y"] = 0.07, 0.07
    g["sole_x"], g["sole_y"] = 0.075, 0.024
    g["residual_weight"], g["outward_factor"] = 400.0, 8.0
    g["forward_weight"], g["sideways_weight"], g["timing_weight"] = 2.0, 4.0, 0.5
    g["capture_margin"], g["standing_gain"] = 0.012, 2.0
    g["double_gain"], g["double_limit"] = 2.0, 0.12
    g["target_speed"], g["height_gain"] = 5.0, (60.0, 15.0)
    g["wide_drop"], g["widest_drop"] = 0.25, 0.06
    return g


@numba.njit(**JIT)
def _clip(value, low, high):
    return min(max(value, low), high)


@numba.njit(**JIT)
def wrapped(angle):
    """The angle within (-pi, pi]."""
    return angle - 2.0 * np.pi * np.ceil((angle - np.pi) / (2.0 * np.pi))


@numba.njit(**JIT)
def _mean_yaw(soles_yaw):
    return soles_yaw[0] + 0.5 * wrapped(soles_yaw[1] - soles_yaw[0])


@numba.njit(**JIT)
def _offset(gait, omega, next_support, yaw, velocity):
    """Where xi should be relative to the foot just set down, for the commanded gait to repeat itself."""
    period = gait.single_s + gait.double_s
    e = np.exp(omega * period) - 1.0
    sign = 1.0 if next_support == 0 else -1.0
    x = velocity[0] * period / e
    y = -sign * gait.width / (e + 2.0) + velocity[1] * period / e
    c, s = np.cos(yaw), np.sin(yaw)
    return c * x - s * y, s * x + c * y


@numba.njit(**JIT)
def _plan(gait, walk, omega, xi, foot, foot_yaw, support, elapsed, velocity, swing, swing_height, longest):
    """The best (time, foothold, centre of pressure) for the step from `support`; fills `plan_*`.

    Args:
        xi: (2,) m, divergent component at `elapsed`.
        foot: (2,) m, the supporting sole.
        foot_yaw: rad.
        elapsed: s of single support gone by (negative: still to come).
        swing: (2,) m, where the swing sole is now; bounds how far it can still get.
        swing_height: m it still has to come down.
        longest: s, latest end of the step.
    """
    other = 1 - support
    sign = 1.0 if other == 0 else -1.0
    period = gait.single_s + gait.double_s
    yaw_next = foot_yaw + velocity[2] * period
    yaw_mid = 0.5 * (foot_yaw + yaw_next)
    c, s = np.cos(yaw_mid), np.sin(yaw_mid)
    x = c * (xi[0] - foot[0]) + s * (xi[1] - foot[1])
    y = -s * (xi[0] - foot[0]) + c * (xi[1] - foot[1])
    bx, by = _offset(gait, omega, other, 0.0, velocity)
    nominal_x, nominal_y = velocity[0] * period, sign * gait.width + velocity[1] * period
    qx = c * (swing[0] - foot[0]) + s * (swing[1] - foot[1])
    qy = -s * (swing[0] - foot[0]) + c * (swing[1] - foot[1])
    low_y = gait.narrowest if sign > 0 else -gait.widest
    high_y = gait.widest if sign > 0 else -gait.narrowest
    last = min(gait.longest_s, longest)
    first = min(max(gait.shortest_s, elapsed + gait.remaining_s + swing_height / 0.8), last)
    walk.plan_cost = np.inf
    for k in range(STEP_TIMES):
        if k < STEP_TIMES - 1:
            time = first + (last - first) * k / (STEP_TIMES - 2)
        else:
            time = _clip(gait.single_s, first, last)
        remaining = time - elapsed
        e = np.exp(omega * (remaining + 0.5 * gait.double_s))
        px = _clip((nominal_x + bx - x * e) / (1.0 - e), -gait.pressure_x, gait.pressure_x)
        py = _clip((nominal_y + by - y * e) / (1.0 - e), -gait.pressure_y, gait.pressure_y)
        ux = px + (x - px) * e - bx
        uy = py + (y - py) * e - by
        cx = _clip(ux, -gait.backward_reach, gait.forward_reach)
        cy = _clip(uy, low_y, high_y)
        travel = gait.swing_speed * max(remaining - 0.03, 0.02)
        cx = _clip(cx, qx - travel, qx + travel)
        cy = _clip(cy, qy - travel, qy + travel)
        rx, ry = ux - cx, uy - cy
        outward = max(sign * ry, 0.0)
        cost = (gait.residual_weight * (rx * rx + ry * ry + (gait.outward_factor - 1.0) * outward * outward)
                + gait.forward_weight * (cx - nominal_x) ** 2 + gait.sideways_weight * (cy - nominal_y) ** 2
                + gait.timing_weight * (time - gait.single_s) ** 2)  # fmt: skip
        if cost < walk.plan_cost:
            walk.plan_cost = cost
            walk.plan_time = time
            walk.plan_foothold[0] = foot[0] + c * cx - s * cy
            walk.plan_foothold[1] = foot[1] + s * cx + c * cy
            walk.plan_pressure[0] = foot[0] + c * px - s * py
            walk.plan_pressure[1] = foot[1] + s * px + c * py
            walk.plan_residual[0] = rx
            walk.plan_residual[1] = ry
    walk.plan_yaw = yaw_next


@numba.njit(**JIT)
def _within_support(gait, soles, yaw, px, py):
    """The point (px, py) moved into a simple inner bound of both feet's support."""
    dx, dy = soles[1, 0] - soles[0, 0], soles[1, 1] - soles[0, 1]
    length = max(np.sqrt(dx * dx + dy * dy), 1e-6)
    dx /= length
    dy /= length
    beside = abs(-dx * np.sin(yaw) + dy * np.cos(yaw))  # 1: side by side, 0: one before the other
    across = gait.sole_x * beside + gait.sole_y * (1.0 - beside)
    along = gait.sole_y * beside + gait.sole_x * (1.0 - beside)
    rx, ry = px - soles[0, 0], py - soles[0, 1]
    a = _clip(rx * dx + ry * dy, -along, length + along)
    n = _clip(-rx * dy + ry * dx, -across, across)
    return soles[0, 0] + a * dx - n * dy, soles[0, 1] + a * dy + n * dx


@numba.njit(**JIT)
def _begin_step(walk, support, double_time):
    walk.mode = DOUBLE
    walk.support = support
    walk.phase_time = 0.0
    walk.double_time = double_time
    walk.pressure_from[0] = walk.pressure[0]
    walk.pressure_from[1] = walk.pressure[1]
    walk.planned = 0


@numba.njit(**JIT)
def _stand(gait, walk, omega, xi, soles, yaw, moving, dt):
    mx, my = 0.5 * (soles[0, 0] + soles[1, 0]), 0.5 * (soles[0, 1] + soles[1, 1])
    px, py = _within_support(gait, soles, yaw, mx + (xi[0] - mx) * gait.standing_gain, my + (xi[1] - my) * gait.standing_gain)
    walk.pressure[0], walk.pressure[1] = px, py
    walk.stand_time += dt
    if moving and walk.stand_time > 0.3:
        walk.mode = SHIFTING
        walk.phase_time = 0.0
        walk.pressure_from[0], walk.pressure_from[1] = mx, my
        walk.support = 1
        return
    ix, iy = _within_support(gait, soles, yaw, xi[0], xi[1])
    if np.sqrt((xi[0] - ix) ** 2 + (xi[1] - iy) ** 2) > gait.capture_margin and walk.stand_time > 0.1:
        still = np.zeros(3)
        best, support = np.inf, 0
        for k in range(2):
            yaw_k = yaw
            _plan(gait, walk, omega, xi, soles[k, :2], yaw_k, k, -0.04, still, soles[1 - k, :2], 0.0, gait.longest_s)
            if walk.plan_cost < best:
                best, support = walk.plan_cost, k
        walk.capturing = 1
        _begin_step(walk, support, 0.04)


@numba.njit(**JIT)
def _shift(gait, walk, omega, xi, soles, yaw, dt):
    """Brings xi over to the first supporting foot before the first step."""
    support, other = walk.support, 1 - walk.support
    total = gait.first_double_s
    a = min(walk.phase_time / total, 1.0)
    ox, oy = _offset(gait, omega, support, yaw, np.zeros(3))
    gx, gy = soles[support, 0] + ox, soles[support, 1] + oy
    smooth, rate = a * a * (3.0 - 2.0 * a), (6.0 * a - 6.0 * a * a) / total
    rx = walk.pressure_from[0] + (gx - walk.pressure_from[0]) * smooth
    ry = walk.pressure_from[1] + (gy - walk.pressure_from[1]) * smooth
    vx, vy = (gx - walk.pressure_from[0]) * rate, (gy - walk.pressure_from[1]) * rate
    px = xi[0] - vx / omega + 3.0 * (xi[0] - rx)
    py = xi[1] - vy / omega + 3.0 * (xi[1] - ry)
    walk.pressure[0], walk.pressure[1] = _within_support(gait, soles, yaw, px, py)
    walk.force_cap[other] = max(FULL_LOAD * (1.0 - max(a - 0.6, 0.0) / 0.4), 20.0)
    walk.phase_time += dt
    if a >= 1.0:
        _begin_step(walk, support, 0.0)


@numba.njit(**JIT)
def _double_support(gait, walk, omega, xi, soles, soles_yaw, yaw, velocity):
    support, other = walk.support, 1 - walk.support
    foot = soles[support]
    remaining = walk.double_time - walk.phase_time
    a = walk.phase_time / walk.double_time
    fx, fy = walk.pressure_from[0], walk.pressure_from[1]
    nx = walk.pressure_next[0] if walk.planned == 1 else foot[0]
    ny = walk.pressure_next[1] if walk.planned == 1 else foot[1]
    kx, ky = (nx - fx) / walk.double_time, (ny - fy) / walk.double_time
    cx, cy = fx + kx * walk.phase_time, fy + ky * walk.phase_time
    grown = np.exp(omega * remaining)
    end = np.empty(2)  # xi at the end of double support, the pressure moving on at constant speed
    end[0] = cx + kx * remaining + kx / omega + (xi[0] - cx - kx / omega) * grown
    end[1] = cy + ky * remaining + ky / omega + (xi[1] - cy - ky / omega) * grown
    _plan(gait, walk, omega, end, foot[:2], soles_yaw[support], support, 0.0, velocity, soles[other, :2], 0.0, gait.longest_s)
    walk.pressure_next[0], walk.pressure_next[1] = walk.plan_pressure[0], walk.plan_pressure[1]
    walk.step_time = walk.plan_time
    walk.planned = 1
    # Feedback on xi against where it should be for the cycle to close.
    ox, oy = _offset(gait, omega, support, soles_yaw[support], velocity)
    half = np.exp(omega * 0.5 * gait.double_s)
    kx, ky = (foot[0] - fx) / walk.double_time, (foot[1] - fy) / walk.double_time
    shrink = np.exp(-omega * remaining)
    rx = fx + kx * walk.phase_time + kx / omega + (foot[0] + ox * half - foot[0] - kx / omega) * shrink
    ry = fy + ky * walk.phase_time + ky / omega + (foot[1] + oy * half - foot[1] - ky / omega) * shrink
    px = fx + (foot[0] - fx) * a + _clip(gait.double_gain * (xi[0] - rx), -gait.double_limit, gait.double_limit)
    py = fy + (foot[1] - fy) * a + _clip(gait.double_gain * (xi[1] - ry), -gait.double_limit, gait.double_limit)
    walk.pressure[0], walk.pressure[1] = _within_support(gait, soles, yaw, px, py)
    walk.force_cap[other] = max(FULL_LOAD * (1.0 - a), 5.0)
    walk.force_cap[support] = FULL_LOAD * min(2.0 * a + 0.2, 1.0)


@numba.njit(**JIT)
def _advance_swing(gait, walk, elapsed, landing_x, landing_y, landing_z, progress_rate, dt):
    """Moves the swing ankle's reference: a quintic to the foothold sideways, up and down in height."""
    remaining = 0.95 * walk.step_time - elapsed
    p, v, a = walk.swing_position, walk.swing_velocity, walk.swing_acceleration
    for i in range(2):
        error = (landing_x if i == 0 else landing_y) - p[i]
        if remaining > 0.025:
            r = remaining
            c3 = (20 * error - 12 * v[i] * r - 3 * a[i] * r * r) / (2 * r**3)
            c4 = (-30 * error + 16 * v[i] * r + 3 * a[i] * r * r) / (2 * r**4)
            c5 = (12 * error - 6 * v[i] * r - a[i] * r * r) / (2 * r**5)
            p[i] += v[i] * dt + a[i] * dt * dt / 2 + c3 * dt**3 + c4 * dt**4 + c5 * dt**5
            v[i] += a[i] * dt + 3 * c3 * dt**2 + 4 * c4 * dt**3 + 5 * c5 * dt**4
            a[i] += 6 * c3 * dt + 12 * c4 * dt**2 + 20 * c5 * dt**3
        else:
            v[i] *= 0.5
            p[i] += v[i] * dt
            a[i] = 0.0
    progress = walk.swing_progress
    if progress < 0.05:
        # Short steps stay low: high knees would hit the shelf that the robot steps up to.
        dx, dy = landing_x - p[0], landing_y - p[1]
        long = _clip((np.sqrt(dx * dx + dy * dy) - 0.20) / 0.10, 0.0, 1.0)
        lift = gait.low_lift + (gait.lift - gait.low_lift) * long
        walk.swing_lift = lift * min(1.0, max(0.6, walk.step_time / 0.4))
    start, lift = walk.swing_from_height, walk.swing_lift
    if elapsed > walk.step_time:  # the floor should have been here
        z, vz, az = landing_z - gait.landing_speed * (elapsed - walk.step_time), -gait.landing_speed, 0.0
    elif progress < 0.5:
        u = progress / 0.5
        z = start + lift * (10 * u**3 - 15 * u**4 + 6 * u**5)
        vz = lift * (30 * u**2 - 60 * u**3 + 30 * u**4) * 2 * progress_rate
        az = lift * (60 * u - 180 * u**2 + 120 * u**3) * 4 * progress_rate**2
    else:
        u = (progress - 0.5) / 0.5
        h = start + lift - landing_z
        half_s = 0.5 / max(progress_rate, 0.5)
        e = -gait.landing_speed * half_s  # comes down at this speed: a foot that creeps in touches too early or too late
        z = landing_z + h * (1 - (10 * u**3 - 15 * u**4 + 6 * u**5)) + e * (-4 * u**3 + 7 * u**4 - 3 * u**5)
        vz = (-h * (30 * u**2 - 60 * u**3 + 30 * u**4) + e * (-12 * u**2 + 28 * u**3 - 15 * u**4)) * 2 * progress_rate
        az = (-h * (60 * u - 180 * u**2 + 120 * u**3) + e * (-24 * u + 84 * u**2 - 60 * u**3)) * 4 * progress_rate**2
    for i in range(2):
        walk.foot_position[i], walk.foot_velocity[i], walk.foot_acceleration[i] = p[i], v[i], a[i]
    walk.foot_position[2], walk.foot_velocity[2], walk.foot_acceleration[2] = z, vz, az


@numba.njit(**JIT)
def _single_support(gait, walk, omega, xi, soles, soles_yaw, ankles, touching, velocity, moving, dt):
    support, other = walk.support, 1 - walk.support
    foot, foot_yaw = soles[support], soles_yaw[support]
    elapsed = walk.phase_time - walk.double_time
    if walk.has_target == 0:
        for i in range(3):
            walk.swing_position[i] = ankles[other, i]
            walk.swing_velocity[i] = 0.0
        walk.swing_acceleration[0] = walk.swing_acceleration[1] = 0.0
        walk.swing_progress = 0.0
        walk.swing_from_height = ankles[other, 2]
        walk.swing_from_yaw = soles_yaw[other]
    swing = np.empty(2)
    c, s = np.cos(walk.swing_from_yaw), np.sin(walk.swing_from_yaw)
    swing[0] = walk.swing_position[0] + c * SOLE_FORWARD
    swing[1] = walk.swing_position[1] + s * SOLE_FORWARD
    if walk.step_time - elapsed > 0.05 or walk.has_target == 0:
        height = max(soles[other, 2] - foot[2], 0.0) if walk.swing_progress > 0.3 else 0.0
        longest = walk.step_time if walk.swing_progress > 0.55 else gait.longest_s
        _plan(gait, walk, omega, xi, foot[:2], foot_yaw, support, elapsed, velocity, swing, height, longest)
        walk.step_time = walk.plan_time
        for i in range(2):
            walk.foothold[i] = walk.plan_foothold[i]
            walk.residual[i] = walk.plan_residual[i]
            walk.pressure[i] = walk.plan_pressure[i]
        walk.foothold_yaw = walk.plan_yaw
    else:  # landing: time and foothold stay, only the pressure answers
        e = np.exp(omega * (max(walk.step_time - elapsed, 0.0) + 0.5 * gait.double_s))
        ox, oy = _offset(gait, omega, other, 0.5 * (foot_yaw + walk.foothold_yaw), velocity)
        gx = (walk.foothold[0] + ox - xi[0] * e) / (1.0 - e) - foot[0]
        gy = (walk.foothold[1] + oy - xi[1] * e) / (1.0 - e) - foot[1]
        c, s = np.cos(foot_yaw), np.sin(foot_yaw)
        lx = _clip(c * gx + s * gy, -gait.pressure_x, gait.pressure_x)
        ly = _clip(-s * gx + c * gy, -gait.pressure_y, gait.pressure_y)
        walk.pressure[0], walk.pressure[1] = foot[0] + c * lx - s * ly, foot[1] + s * lx + c * ly
    if walk.has_target == 0:
        walk.has_target = 1
        walk.target[0], walk.target[1] = walk.foothold[0], walk.foothold[1]
    for i in range(2):
        change = gait.target_speed * dt
        walk.target[i] += _clip(walk.foothold[i] - walk.target[i], -change, change)
    progress_rate = (1.0 - walk.swing_progress) / max(walk.step_time - elapsed, dt) if walk.swing_progress < 1.0 else 0.0
    walk.swing_progress = min(walk.swing_progress + progress_rate * dt, 1.0)
    progress = walk.swing_progress
    c, s = np.cos(walk.foothold_yaw), np.sin(walk.foothold_yaw)
    _advance_swing(gait, walk, elapsed, walk.target[0] - c * SOLE_FORWARD, walk.target[1] - s * SOLE_FORWARD,
                   foot[2] + ANKLE_HEIGHT, progress_rate, dt)  # fmt: skip
    turn = wrapped(walk.foothold_yaw - walk.swing_from_yaw)
    walk.foot_yaw = walk.swing_from_yaw + turn * (progress * progress * (3.0 - 2.0 * progress))
    walk.foot_yaw_rate = turn * (6.0 * progress - 6.0 * progress * progress) * progress_rate
    walk.foot_rotation_weight = 1.0
    walk.contact[other] = 0
    arrived = elapsed >= walk.step_time and soles[other, 2] - foot[2] < 0.006
    if (progress > 0.7 and touching[other] != 0) or arrived or elapsed > walk.step_time + 0.12:
        _touch_down(gait, walk, xi, soles, soles_yaw, elapsed, moving)


@numba.njit(**JIT)
def _touch_down(gait, walk, xi, soles, soles_yaw, elapsed, moving):
    other = 1 - walk.support
    walk.steps += 1
    walk.contact[other] = 1
    walk.force_cap[other] = 120.0
    recovering = max(abs(walk.residual[0]), abs(walk.residual[1])) > 0.02 or walk.step_time < 0.8 * gait.single_s
    double = gait.recovery_double_s if recovering else gait.double_s
    early = min(max(walk.step_time - elapsed, 0.0), 0.08)  # the ground came early: spend the rest on both feet
    step_support = other
    _begin_step(walk, step_support, double + early)
    walk.has_target = 0
    if moving:
        return
    yaw = _mean_yaw(soles_yaw)
    ix, iy = _within_support(gait, soles, yaw, xi[0], xi[1])
    dx, dy = soles[0, 0] - soles[1, 0], soles[0, 1] - soles[1, 1]
    astride = abs(np.cos(yaw) * dx + np.sin(yaw) * dy)
    mx, my = 0.5 * (soles[0, 0] + soles[1, 0]), 0.5 * (soles[0, 1] + soles[1, 1])
    centred = np.sqrt((xi[0] - mx) ** 2 + (xi[1] - my) ** 2) < 0.06
    inside = np.sqrt((xi[0] - ix) ** 2 + (xi[1] - iy) ** 2) < 1e-9
    turned = abs(wrapped(soles_yaw[0] - soles_yaw[1])) < 0.12
    if inside and centred and astride < 0.06 and turned:
        walk.mode = STANDING
        walk.stand_time = 0.0
        walk.capturing = 0


@numba.njit(**JIT)
def step(gait, walk, com, com_velocity, soles, soles_yaw, ankles, touching, velocity, com_height, com_height_rate, dt):
    """One tick: what the feet and the centre of mass shall do.

    Args:
        gait: `GAIT` record.
        walk: `WALK` record; holds the answer.
        com, com_velocity: (3,) m, m/s in `odom`.
        soles: (2, 3) m, the soles' middles in `odom`.
        soles_yaw: (2,) rad.
        ankles: (2, 3) m, the ankles in `odom`.
        touching: (2,) int64, which feet feel the floor.
        velocity: (3,) m/s, m/s, rad/s: wanted, in the heading's frame.
        com_height: m above the supporting sole, wanted.
        com_height_rate: m/s, wanted.
        dt: s.
    """
    ground = min(soles[0, 2], soles[1, 2]) if walk.mode < SINGLE else soles[walk.support, 2]
    omega = np.sqrt(GRAVITY / max(com[2] - ground, 0.3))
    xi = np.empty(2)
    xi[0] = com[0] + com_velocity[0] / omega
    xi[1] = com[1] + com_velocity[1] / omega
    yaw = _mean_yaw(soles_yaw)
    moving = abs(velocity[0]) > 1e-3 or abs(velocity[1]) > 1e-3 or abs(velocity[2]) > 1e-3
    walk.contact[0] = walk.contact[1] = 1
    walk.force_cap[0] = walk.force_cap[1] = FULL_LOAD
    walk.heading_rate = 0.0
    if walk.mode == STANDING:
        _stand(gait, walk, omega, xi, soles, yaw, moving, dt)
    if walk.mode == SHIFTING:
        _shift(gait, walk, omega, xi, soles, yaw, dt)
    if walk.mode == DOUBLE and walk.phase_time >= walk.double_time:
        walk.mode = SINGLE
        walk.has_target = 0
        if walk.planned == 0:
            walk.step_time = gait.single_s
    if walk.mode == DOUBLE:
        _double_support(gait, walk, omega, xi, soles, soles_yaw, yaw, velocity)
        walk.phase_time += dt
    elif walk.mode == SINGLE:
        _single_support(gait, walk, omega, xi, soles, soles_yaw, ankles, touching, velocity, moving, dt)
        if walk.mode == SINGLE:
            walk.phase_time += dt
    heading = yaw
    spread = np.sqrt((soles[0, 0] - soles[1, 0]) ** 2 + (soles[0, 1] - soles[1, 1]) ** 2)
    if walk.mode == SINGLE:
        support_yaw = soles_yaw[walk.support]
        heading = support_yaw + 0.5 * wrapped(walk.foot_yaw - support_yaw)
        walk.heading_rate = 0.5 * walk.foot_yaw_rate
        if walk.has_target == 1:
            sx, sy = walk.target[0] - soles[walk.support, 0], walk.target[1] - soles[walk.support, 1]
            spread = np.sqrt(sx * sx + sy * sy)
    walk.heading = heading
    wanted_drop = min(max(spread - 0.28, 0.0) * gait.wide_drop, gait.widest_drop)
    walk.drop += _clip(wanted_drop - walk.drop, -0.15 * dt, 0.4 * dt)
    a = walk.com_acceleration
    a[0] = omega * omega * (com[0] - walk.pressure[0])
    a[1] = omega * omega * (com[1] - walk.pressure[1])
    a[2] = (gait.height_gain[0] * (com_height - walk.drop - (com[2] - ground))
            + gait.height_gain[1] * (com_height_rate - com_velocity[2]))  # fmt: skip
