"""Distances between the robot's own capsules, compiled: what keeps IK and the safety filter from self-collision.

`pairs_record` decides once which pairs of capsules can meet. `capsule_distances` then fills a `PROXIMITY` record from a
filled `MOTION` record, and `distance_row` gives the gradient of one distance. All positions are relative to the origin
of `base_link` in world axes, as in `rigid_body`; a distance does not depend on the base, so its gradient has entries at
joints only.

Source of the closest points of two segments: Ericson, Real-Time Collision Detection (2005), section 5.1.9.
"""

from __future__ import annotations

import numba
import numpy as np

from humanoid_control.errors import ModelError
from humanoid_control.kernels import JIT
from humanoid_control.rigid_body import VELOCITIES, forward_kinematics, motion_record, tree_record
from humanoid_control.robot_model import Capsule, RobotModel

MAX_CAPSULES = 32
MAX_PAIRS = 256
HAND_LINK = "dex1_base_link"
# The pads end 33 mm beyond the gripper frame (urdf/generate.py: 0.1433 - 0.110).
FINGER_REACH = 0.033
HAND_FRAMES = {"left": "l_gripper", "right": "r_gripper"}
# A pair that comes no closer than this in any sampled configuration is left out. Sampling is dense in the
# configurations of a pair that few joints part, such as the knee and the foot: those count as meeting only if they were
# seen to touch. Held to the wide margin instead, an elbow and its wrist, always 10 mm apart, would stop each other.
NEVER_MEETS = 0.04
FEW_JOINTS = 3
SAMPLES = 4000

PAIRS = np.dtype([
    ("capsule_count", np.int64), ("pair_count", np.int64),
    ("body", np.int64, MAX_CAPSULES), ("start", np.float64, (MAX_CAPSULES, 3)), ("end", np.float64, (MAX_CAPSULES, 3)),
    ("radius", np.float64, MAX_CAPSULES),
    ("bound", np.float64, MAX_CAPSULES),  # m, radius of the ball about the middle that holds the whole capsule
    ("first", np.int64, MAX_PAIRS), ("second", np.int64, MAX_PAIRS),  # indices of capsules
], align=True)  # fmt: skip
"""The capsules and the pairs of them that can meet."""

PROXIMITY = np.dtype([
    ("distance", np.float64, MAX_PAIRS),  # m between the surfaces, negative when they overlap
    ("point", np.float64, (MAX_PAIRS, 2, 3)),  # m, the closest points of the two capsules' axes
    ("normal", np.float64, (MAX_PAIRS, 3)),  # unit, from the first capsule to the second
    ("closest", np.int64),  # the pair with the smallest distance
    ("middle", np.float64, (MAX_CAPSULES, 3)),  # scratch
    ("half", np.float64, (MAX_CAPSULES, 3)),  # scratch: from the middle to the end
], align=True)  # fmt: skip
"""What `capsule_distances` fills."""


def proximity_record() -> np.void:
    """An empty `PROXIMITY` record."""
    return np.zeros(1, PROXIMITY)[0]


def hull_capsules(model: RobotModel) -> tuple[Capsule, ...]:
    """The model's capsules, those of the hands stretched to the finger tips."""
    capsules = []
    for capsule in model.capsules:
        if HAND_LINK in capsule.link:
            gripper = model.body_point(HAND_FRAMES[capsule.link.split("_")[0]])
            tip = gripper.translation + gripper.rotation @ [FINGER_REACH - capsule.radius, 0.0, 0.0]
            capsule = Capsule(capsule.link, capsule.body, capsule.start, tip, capsule.radius)
        capsules.append(capsule)
    return tuple(capsules)


def pairs_record(model: RobotModel) -> np.void:
    """The pairs of capsules that can meet, found by rule and by sampling configurations (seeded: always the same).

    Left out are pairs on one body, pairs whose bodies a single joint connects, pairs that already overlap with all
    joints at zero, and pairs that the joints' limits keep apart.

    Raises:
        ModelError: if the URDF has more capsules or pairs than the kernels are built for.
    """
    capsules = hull_capsules(model)
    if len(capsules) > MAX_CAPSULES:
        raise ModelError(f"The URDF has {len(capsules)} collision cylinders; at most {MAX_CAPSULES} are supported.")
    pairs = np.zeros(1, PAIRS)[0]
    pairs["capsule_count"] = len(capsules)
    for i, c in enumerate(capsules):
        pairs["body"][i], pairs["start"][i], pairs["end"][i], pairs["radius"][i] = c.body, c.start, c.end, c.radius
        pairs["bound"][i] = c.radius + 0.5 * np.linalg.norm(c.end - c.start)
    parted_by = {
        (i, j): _joints_between(model.tree.parents, capsules[i].body, capsules[j].body)
        for i in range(len(capsules)) for j in range(i + 1, len(capsules))
    }  # fmt: skip
    candidates = [pair for pair, joints in parted_by.items() if joints > 1]
    if len(candidates) > MAX_PAIRS:
        raise ModelError(f"The URDF's capsules form {len(candidates)} pairs; at most {MAX_PAIRS} are supported.")
    _set_pairs(pairs, candidates)
    zero = np.clip(np.zeros(len(model.joint_names)), model.position_lower, model.position_upper)
    rng = np.random.default_rng(0)
    joints = rng.uniform(model.position_lower, model.position_upper, (SAMPLES, len(zero)))
    smallest = np.empty((2, len(candidates)))
    tree, motion, proximity = tree_record(model.tree), motion_record(), proximity_record()
    _smallest_distances(tree, pairs, zero[None], motion, proximity, smallest[0])
    _smallest_distances(tree, pairs, joints, motion, proximity, smallest[1])
    _set_pairs(pairs, [
        pair for pair, at_zero, ever in zip(candidates, *smallest, strict=True)
        if at_zero > 0 and ever < (0.0 if parted_by[pair] <= FEW_JOINTS else NEVER_MEETS)
    ])  # fmt: skip
    return pairs


def _joints_between(parents: np.ndarray, first: int, second: int) -> int:
    count = 0
    while first != second:  # a parent's index is smaller than its child's
        first, second = max(first, second), min(first, second)
        first = parents[first]
        count += 1
    return count


def _set_pairs(pairs: np.void, indices: list[tuple[int, int]]) -> None:
    pairs["pair_count"] = len(indices)
    for k, (i, j) in enumerate(indices):
        pairs["first"][k], pairs["second"][k] = i, j


def pair_names(model: RobotModel, pairs: np.void) -> tuple[tuple[str, str], ...]:
    """The two links of each pair, for messages."""
    links = [c.link for c in model.capsules]
    count = pairs["pair_count"]
    return tuple((links[i], links[j]) for i, j in zip(pairs["first"][:count], pairs["second"][:count], strict=True))


@numba.njit(**JIT)
def capsule_distances(pairs, motion, margin, proximity):
    """Fills `proximity` for all pairs.

    Args:
        pairs: `PAIRS` record.
        motion: `MOTION` record; `position` and `rotation` filled.
        margin: m; distances below it are exact, others are only known to be larger: `distance` then holds a lower bound
            that is at least the margin, and `point` and `normal` are left as they were. Infinite: all are exact.
        proximity: `PROXIMITY` record.

    Returns:
        the smallest distance, m.
    """
    R, p = motion.rotation, motion.position
    middle, half = proximity.middle, proximity.half
    for c in range(pairs.capsule_count):
        b = pairs.body[c]
        for i in range(3):
            x = p[b, i]
            h = 0.0
            for k in range(3):
                x += 0.5 * R[b, i, k] * (pairs.end[c, k] + pairs.start[c, k])
                h += 0.5 * R[b, i, k] * (pairs.end[c, k] - pairs.start[c, k])
            middle[c, i] = x
            half[c, i] = h
    smallest = np.inf
    proximity.closest = 0
    for k in range(pairs.pair_count):
        i, j = pairs.first[k], pairs.second[k]
        x, y, z = middle[j, 0] - middle[i, 0], middle[j, 1] - middle[i, 1], middle[j, 2] - middle[i, 2]
        reach = margin + pairs.bound[i] + pairs.bound[j]
        square = x * x + y * y + z * z
        if square > reach * reach:
            d = np.sqrt(square) - pairs.bound[i] - pairs.bound[j]
        else:
            d = _axis_distance(half[i], half[j], x, y, z, middle[i], proximity, k) - pairs.radius[i] - pairs.radius[j]
        proximity.distance[k] = d
        if d < smallest:
            smallest = d
            proximity.closest = k
    return smallest


@numba.njit(**JIT)
def _axis_distance(h, g, x, y, z, middle, proximity, k):
    """Distance between the segments -h..h and (x, y, z) -g..g; fills the points and normal of pair k."""
    a = h[0] * h[0] + h[1] * h[1] + h[2] * h[2]
    e = g[0] * g[0] + g[1] * g[1] + g[2] * g[2]
    b = h[0] * g[0] + h[1] * g[1] + h[2] * g[2]
    c = h[0] * x + h[1] * y + h[2] * z
    f = g[0] * x + g[1] * y + g[2] * z
    s = t = 0.0
    # |s h - (x + t g)|^2 over s, t in [-1, 1]; a point-like segment has its parameter at zero.
    if a < 1e-12:
        if e > 1e-12:
            t = min(max(-f / e, -1.0), 1.0)
    elif e < 1e-12:
        s = min(max(c / a, -1.0), 1.0)
    else:
        determinant = a * e - b * b
        if determinant > 1e-9 * a * e:
            s = min(max((c * e - b * f) / determinant, -1.0), 1.0)
        t = (b * s - f) / e
        if t < -1.0:
            t = -1.0
            s = min(max((c - b) / a, -1.0), 1.0)
        elif t > 1.0:
            t = 1.0
            s = min(max((c + b) / a, -1.0), 1.0)
    n0, n1, n2 = x + t * g[0] - s * h[0], y + t * g[1] - s * h[1], z + t * g[2] - s * h[2]
    d = np.sqrt(n0 * n0 + n1 * n1 + n2 * n2)
    first, second, normal = proximity.point[k, 0], proximity.point[k, 1], proximity.normal[k]
    for i in range(3):
        first[i] = middle[i] + s * h[i]
    second[0], second[1], second[2] = first[0] + n0, first[1] + n1, first[2] + n2
    if d > 1e-9:
        normal[0], normal[1], normal[2] = n0 / d, n1 / d, n2 / d
    else:  # the axes cross: no direction is better than another, so keep away along the line between the middles
        norm = np.sqrt(x * x + y * y + z * z)
        if norm > 1e-9:
            normal[0], normal[1], normal[2] = x / norm, y / norm, z / norm
        else:
            normal[0], normal[1], normal[2] = 0.0, 0.0, 1.0
    return d


@numba.njit(**JIT)
def distance_row(tree, pairs, motion, proximity, pair, row):
    """Fills row (35,): the gradient of one pair's distance with respect to the generalised velocity.

    Args:
        tree, pairs, motion: records; kinematics filled.
        proximity: `PROXIMITY` record, with this pair's distance exact.
        pair: index of the pair.
        row: (35,) m/s of distance per unit velocity; zero at the base and wherever a joint moves both or neither body.
    """
    S, n = motion.axis, proximity.normal[pair]
    for j in range(VELOCITIES):
        row[j] = 0.0
    for side in range(2):
        x = proximity.point[pair, side]
        sign = -1.0 if side == 0 else 1.0
        # The moment of the normal about the base's origin: the same power for every joint of the chain.
        m0 = sign * (x[1] * n[2] - x[2] * n[1])
        m1 = sign * (x[2] * n[0] - x[0] * n[2])
        m2 = sign * (x[0] * n[1] - x[1] * n[0])
        n0, n1, n2 = sign * n[0], sign * n[1], sign * n[2]
        b = pairs.body[pairs.first[pair] if side == 0 else pairs.second[pair]]
        while b > 0:
            row[5 + b] += S[b, 0] * m0 + S[b, 1] * m1 + S[b, 2] * m2 + S[b, 3] * n0 + S[b, 4] * n1 + S[b, 5] * n2
            b = tree.parents[b]


@numba.njit(**JIT)
def _smallest_distances(tree, pairs, joints, motion, proximity, smallest):
    """Fills smallest (pairs,) m with each pair's smallest distance over the configurations joints (n, 29)."""
    base_rotation = np.eye(3)
    for k in range(pairs.pair_count):
        smallest[k] = np.inf
    for s in range(joints.shape[0]):
        forward_kinematics(tree, base_rotation, joints[s], motion)
        capsule_distances(pairs, motion, np.inf, proximity)
        for k in range(pairs.pair_count):
            smallest[k] = min(smallest[k], proximity.distance[k])


def warm_up() -> None:
    """Calls every kernel of this module once, so that it is compiled and cached."""
    model = RobotModel.load()
    pairs, tree, motion, proximity = pairs_record(model), tree_record(model.tree), motion_record(), proximity_record()
    forward_kinematics(tree, np.eye(3), np.zeros(len(model.joint_names)), motion)
    capsule_distances(pairs, motion, 0.05, proximity)
    distance_row(tree, pairs, motion, proximity, 0, np.zeros(VELOCITIES))
