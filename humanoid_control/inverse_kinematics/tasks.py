"""What is asked of inverse kinematics and what it answers: frozen dataclasses of plain arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from humanoid_control.errors import ConfigurationError, TargetError

HANDS = ("l_gripper", "r_gripper")
SOLES = ("l_sole", "r_sole")


def _array(values, shape: tuple[int, ...]) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values, float), shape))


@dataclass(frozen=True)
class IkTasks:
    """Which tasks there are and how much each matters; fixed for the life of an `InverseKinematics`.

    The weights multiply the errors (m, rad) before they are squared. Frame weights are (linear x, y, z, angular x, y,
    z) in world axes: a pelvis held at a height alone has (0, 0, w, 0, 0, 0), a torso held upright but free to turn
    has (0, 0, 0, w, w, 0).

    Attributes:
        frames: the URDF frames that have a task.
        frame_weights: (F, 6).
        required: (F,) bool: what `solve` must reach; the others give way to them.
        com_weights: (3,) of the centre of mass in world axes.
        com_required: whether `solve` must reach the weighted axes of the centre of mass.
        posture_weights: (29,) of each joint's distance from the posture.
    """

    frames: tuple[str, ...] = (*HANDS, *SOLES, "torso", "base_link")
    frame_weights: np.ndarray = field(default_factory=lambda: np.array([
        [10.0] * 3 + [3.0] * 3, [10.0] * 3 + [3.0] * 3,
        [100.0] * 6, [100.0] * 6,
        [0, 0, 0, 0.3, 0.3, 0.1],
        [0, 0, 0.3, 0.1, 0.1, 0.1],
    ]))  # fmt: skip
    required: np.ndarray = field(default_factory=lambda: np.array([True, True, True, True, False, False]))
    com_weights: np.ndarray = field(default_factory=lambda: np.array([100.0, 100.0, 0.0]))
    com_required: bool = True
    posture_weights: np.ndarray = field(default_factory=lambda: np.full(29, 0.1))

    def __post_init__(self) -> None:
        count = len(self.frames)
        for name, shape in (("frame_weights", (count, 6)), ("com_weights", (3,)), ("posture_weights", (29,))):
            try:
                value = _array(getattr(self, name), shape)
            except ValueError:
                raise ConfigurationError(
                    f"{name} has the shape {np.shape(getattr(self, name))}; {shape} is needed."
                ) from None
            if not (np.isfinite(value).all() and (value >= 0).all()):
                raise ConfigurationError(f"{name} must be finite and not negative, not {value.tolist()}.")
            object.__setattr__(self, name, value)
        object.__setattr__(
            self, "required", np.ascontiguousarray(np.broadcast_to(np.asarray(self.required, bool), (count,)))
        )


def upper_body_tasks(hand_weights=(10.0, 10.0, 10.0, 3.0, 3.0, 3.0), posture_weight: float = 0.1) -> IkTasks:
    """The two hands and a posture, to be used with `IkOptions(fixed_base_and_legs=True)`."""
    return IkTasks(
        HANDS, np.tile(hand_weights, (2, 1)), np.ones(2, bool), np.zeros(3), False, np.full(29, posture_weight)
    )


@dataclass(frozen=True)
class IkTargets:
    """Where the tasks are wanted. The arrays are kept, not copied, when they are float64 and contiguous.

    Attributes:
        frame_poses: (F, 7) m and quaternion xyzw, world_from_frame, in the order of `IkTasks.frames`.
        com: (3,) m in the world.
        posture: (29,) rad.
        active: (F,) bool, which frame tasks count; all by default.
        frame_velocities: (F, 6) m/s, rad/s of the targets in world axes, fed forward; zero by default.
        support: (S, 3) at most 8 half-planes (x, y, offset): x px + y py <= offset for the centre of mass (px, py);
            `support_half_planes` makes them. None: no such limit.
    """

    frame_poses: np.ndarray
    com: np.ndarray
    posture: np.ndarray
    active: np.ndarray | None = None
    frame_velocities: np.ndarray | None = None
    support: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("frame_poses", "com", "posture", "frame_velocities", "support"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, np.ascontiguousarray(value, np.float64))
        if self.active is not None:
            object.__setattr__(self, "active", np.ascontiguousarray(self.active, bool))


@dataclass(frozen=True)
class IkOptions:
    """How inverse kinematics goes about it.

    Attributes:
        dt_s: time of one step.
        gain: share of each error that a step tries to remove, (0, 1].
        damping: weight of the squared displacement, always on.
        error_damping: the same per half squared weighted error, after Sugihara (2011): far from the target, and so
            near a singularity that stands in the way, steps stay short.
        limit_gain: largest share of the way to a joint's limit that a step may take, (0, 1].
        velocity_scale: share of the joints' velocity limits that may be used, (0, 1].
        base_velocity_limit: m/s and rad/s, of each component of the base's velocity.
        largest_position_error, largest_angle_error: m and rad; a frame's error counts no more than this in one step.
        self_collision: whether the robot's own capsules keep clear of each other.
        safe_distance: m, kept between capsules; no step ends below half of it unless it began there.
        influence_distance: m, below which their approach is slowed.
        collision_gain: largest share of the way to the safe distance that a step may take, (0, 1].
        fixed_base_and_legs: whether only waist and arms move (the upper-body mode).
    """

    dt_s: float = 0.01
    gain: float = 0.5
    damping: float = 1e-6
    error_damping: float = 0.3
    limit_gain: float = 0.5
    velocity_scale: float = 1.0
    base_velocity_limit: tuple[float, float] = (2.0, 3.0)
    largest_position_error: float = 0.2
    largest_angle_error: float = 1.0
    self_collision: bool = True
    safe_distance: float = 0.01
    influence_distance: float = 0.05
    collision_gain: float = 0.5
    fixed_base_and_legs: bool = False

    def __post_init__(self) -> None:
        for name in ("gain", "limit_gain", "velocity_scale", "collision_gain"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; it must lie in (0, 1].")
        for name in ("dt_s", "damping", "largest_position_error", "largest_angle_error"):
            if not getattr(self, name) > 0.0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; it must be positive.")
        for name in ("error_damping", "safe_distance"):
            if not getattr(self, name) >= 0.0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; it must not be negative.")
        if not self.influence_distance > self.safe_distance:
            raise ConfigurationError(f"influence_distance is {self.influence_distance}; it must exceed safe_distance, "
                                     f"{self.safe_distance}.")  # fmt: skip


@dataclass(frozen=True)
class IkSolution:
    """One step, or the end of a search.

    Attributes:
        velocity: (35,) base linear m/s and angular rad/s in world axes, joints rad/s (as in `rigid_body`).
        configuration: (36,) after the step: base position, quaternion xyzw, joints.
        frame_errors: (F, 2) m and rad between each frame and its target, before the step; axes without weight left out.
        com_error: m, likewise.
        limits: (35,) -1 or 1 where a step met the lower or upper limit (of position or velocity) and wanted beyond it.
        close_pairs: indices of the pairs of capsules whose approach the step had to stop, as in `pair_names`.
        smallest_distance: m between capsules before the step (inf without self-collision); if above
            `influence_distance`, only known to be so.
        scale: share of the step that could be taken without coming too near oneself; 1 but in rare cases.
        relaxed: whether limits contradicted each other and were given up in favour of no motion towards them.
        iterations: steps that `solve` took.
    """

    velocity: np.ndarray
    configuration: np.ndarray
    frame_errors: np.ndarray
    com_error: float
    limits: np.ndarray
    close_pairs: tuple[int, ...]
    smallest_distance: float
    scale: float
    relaxed: bool
    iterations: int = 1


@dataclass(frozen=True)
class IkProblem:
    """What a search was given and how far it came; `SolverError.problem`.

    Attributes:
        configuration: (36,) where it started.
        tasks, targets: what was wanted.
        solution: where it ended.
        limits: names of the joints that ended at a limit.
        close_links: pairs of links that ended too near to move on.
    """

    configuration: np.ndarray
    tasks: IkTasks
    targets: IkTargets
    solution: IkSolution
    limits: tuple[str, ...]
    close_links: tuple[tuple[str, str], ...]


def support_half_planes(points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Half-planes of the convex hull of points on the floor, for `IkTargets.support`.

    Args:
        points: (n, 2) or (n, 3) m in the world.
        margin: m that the centre of mass keeps from the edge.

    Returns:
        (S, 3): x, y, offset of each edge.

    Raises:
        TargetError: if the points span no area, or their hull has more than 8 edges.
    """
    points = sorted({(float(p[0]), float(p[1])) for p in points})
    hull: list[tuple[float, float]] = []
    for ordered in (points, points[::-1]):  # Andrew's monotone chain, counter-clockwise
        start = len(hull)
        for p in ordered:
            while len(hull) >= start + 2 and _turn(hull[-2], hull[-1], p) <= 0:
                hull.pop()
            hull.append(p)
        hull.pop()
    if not 3 <= len(hull) <= 8:
        raise TargetError(f"The support points span a hull of {len(hull)} edges; 3 to 8 are needed.")
    planes = []
    for a, b in zip(hull, hull[1:] + hull[:1], strict=True):
        length = np.hypot(b[0] - a[0], b[1] - a[1])
        x, y = (b[1] - a[1]) / length, (a[0] - b[0]) / length
        planes.append((x, y, x * a[0] + y * a[1] - margin))
    return np.array(planes)


def _turn(a, b, c) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
