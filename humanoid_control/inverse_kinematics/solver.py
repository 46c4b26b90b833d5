"""Whole-body inverse kinematics: one step at a time, or searched until it converges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from humanoid_control.errors import ConfigurationError, SolverError, TargetError
from humanoid_control.inverse_kinematics import differential_step as kernel
from humanoid_control.inverse_kinematics.differential_step import CONFIGURATION, IK, MAX_FRAMES, MAX_SUPPORT
from humanoid_control.inverse_kinematics.tasks import IkOptions, IkProblem, IkSolution, IkTargets, IkTasks
from humanoid_control.rigid_body import JOINTS, VELOCITIES, tree_record
from humanoid_control.robot_model import LEG_JOINTS, RobotModel
from humanoid_control.self_collision import pair_names, pairs_record

QUATERNION_REMEDY = "divide it by its norm; the order is x, y, z, w"
# How far one iteration of a search may go: base m and rad, joints rad. Beyond it the linearisation misleads.
SEARCH_STEP = (0.1, 0.2, 0.3)
# A search settles with every task at its weight, then lets those that are not required fade, so that they choose among
# the solutions without pulling the required tasks off their targets.
SETTLING_ITERATIONS = 10
FADING = 0.6
FAINTEST = 1e-8
STALLED_ITERATIONS = 30


class InverseKinematics:
    """Inverse kinematics of one robot for one set of tasks.

    A step takes some tens of microseconds and allocates nothing but its answer. An instance holds scratch memory: use
    one per thread.

    Attributes:
        model: the robot.
        tasks: what is asked.
        options: how it is done.
        limits: (29,) lower and upper rad, and rad/s, that are kept.
        pair_names: the two links of each pair of capsules, by index.
    """

    def __init__(self, model: RobotModel, tasks: IkTasks | None = None, options: IkOptions | None = None, *,
                 limits: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None) -> None:  # fmt: skip
        """Prepares the records.

        Args:
            model: the robot.
            tasks: what is asked; by default hands, soles, torso, pelvis, centre of mass and posture.
            options: how it is done.
            limits: (29,) lower and upper rad and rad/s to keep instead of the model's, within which they must lie.

        Raises:
            ConfigurationError: if there are too many frames, or the limits are wider than the robot's.
            ModelError: if the URDF lacks one of the frames.
        """
        self.model = model
        self.tasks = tasks = tasks or IkTasks()
        self.options = options = options or IkOptions()
        if len(tasks.frames) > MAX_FRAMES:
            raise ConfigurationError(f"{len(tasks.frames)} frame tasks are wanted; at most {MAX_FRAMES} are supported.")
        self.limits = self._narrowed(limits)
        pairs = pairs_record(model)
        self.pair_names = pair_names(model, pairs)
        self._record = np.zeros(1, IK)
        self._fill_constants(self._record[0], pairs)
        self._search_record = self._record.copy()
        self._fill_search(self._search_record[0])
        self._views, self._search_views = (_Views(r[0], len(tasks.frames)) for r in (self._record, self._search_record))
        count = len(tasks.frames)
        self._all_active = np.ones(count, bool)
        self._no_velocities = np.zeros((count, 6))
        self._no_support = np.zeros((0, 3))

    def _narrowed(self, limits: tuple[np.ndarray, ...] | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        model = self.model
        own = (model.position_lower, model.position_upper, model.velocity_limit)
        if limits is None:
            return own
        lower, upper, speed = (np.broadcast_to(np.asarray(x, float), own[0].shape) for x in limits)
        fits = (lower >= own[0]) & (lower < upper) & (upper <= own[1]) & (speed > 0) & (speed <= own[2])
        if not fits.all():
            j = int(np.argmin(fits))
            raise ConfigurationError(
                f"The limits [{lower[j]}, {upper[j]}] rad and {speed[j]} rad/s of '{model.joint_names[j]}' must lie "
                f"within the robot's, [{own[0][j]}, {own[1][j]}] rad and {own[2][j]} rad/s.")  # fmt: skip
        return lower, upper, speed

    def _fill_constants(self, ik: np.void, pairs: np.void) -> None:
        model, tasks, options = self.model, self.tasks, self.options
        ik["tree"], ik["pairs"] = tree_record(model.tree), pairs
        count = len(tasks.frames)
        ik["frame_count"] = count
        for f, name in enumerate(tasks.frames):
            point = model.body_point(name)
            ik["body"][f], ik["offset"][f], ik["rotation"][f] = point.body, point.translation, point.rotation
        ik["frame_weights"][:count], ik["required"][:count] = tasks.frame_weights, tasks.required
        ik["com_weights"], ik["posture_weights"] = tasks.com_weights, tasks.posture_weights
        ik["dt"], ik["secondary"] = options.dt_s, 1.0
        for name in ("gain", "damping", "error_damping", "largest_position_error", "largest_angle_error", "limit_gain",
                     "self_collision", "safe_distance", "influence_distance", "collision_gain"):  # fmt: skip
            ik[name] = getattr(options, name)
        ik["lower"], ik["upper"], speed = self.limits
        linear, angular = options.base_velocity_limit
        velocities = np.r_[np.full(3, linear), np.full(3, angular), options.velocity_scale * speed]
        ik["largest_step"] = velocities * options.dt_s
        moves = np.ones(VELOCITIES, bool)
        if options.fixed_base_and_legs:
            moves[:6] = False
            moves[6:][LEG_JOINTS] = False
        variables = np.flatnonzero(moves)
        ik["size"] = len(variables)
        ik["variable"][: len(variables)] = variables
        ik["slot"] = np.where(moves, np.cumsum(moves) - 1, -1)

    def _fill_search(self, ik: np.void) -> None:
        linear, angular, joint = SEARCH_STEP
        ik["gain"] = 1.0
        ik["largest_step"] = np.r_[np.full(3, linear), np.full(3, angular), np.full(JOINTS, joint)]

    def step(self, configuration: np.ndarray, targets: IkTargets) -> IkSolution:
        """The displacement of one `dt_s` towards the targets, within all limits.

        Args:
            configuration: (36,) base position, quaternion xyzw, joints.
            targets: where the tasks are wanted.

        Raises:
            TargetError: if anything is not finite, wrongly shaped or not a unit quaternion.
            SolverError: if the step's quadratic programme fails.
        """
        configuration, active, velocities, support = self._checked(configuration, targets)
        status = kernel.ik_step(self._record, configuration, targets.frame_poses, targets.com, targets.posture, active,
                                velocities, support)  # fmt: skip
        if status < 0:
            self._raise(status, configuration, targets)
        return self._solution(self._views, status, 1)

    def solve(self, configuration: np.ndarray, targets: IkTargets, *, max_iterations: int = 200,
              position_tolerance: float = 1e-4, angle_tolerance: float = 1e-3) -> IkSolution:  # fmt: skip
        """A configuration that reaches every required task; the other tasks choose among those that do.

        Joint limits, self-collision and support hold at every iterate; velocity limits do not apply.

        Args:
            configuration: (36,) where the search starts.
            targets: where the tasks are wanted.
            max_iterations: after how many steps to give up.
            position_tolerance: m, for required frames and for the centre of mass.
            angle_tolerance: rad.

        Returns:
            the solution; its `velocity` is the last step's and of no further use.

        Raises:
            TargetError: as `step` does.
            SolverError: if the required tasks are not reached, with how much is missing and what stands in the way; its
                `problem` is an `IkProblem`.
        """
        start, active, velocities, support = self._checked(configuration, targets)
        if not np.isfinite(velocities).all():
            self._raise(kernel.BAD_VELOCITY - int(np.argmin(np.isfinite(velocities).all(axis=1))), start, targets)
        velocities = self._no_velocities  # a standstill is searched for
        ik, views = self._search_record, self._search_views
        current = start.copy()
        ik["secondary"] = 1.0
        best, since_best, iteration = np.inf, 0, 0
        for iteration in range(1, max_iterations + 1):
            status = kernel.ik_step(ik, current, targets.frame_poses, targets.com, targets.posture, active, velocities,
                                    support)  # fmt: skip
            if status < 0:
                self._raise(status, start, targets)
            excess = self._excess(views, position_tolerance, angle_tolerance)
            settled = iteration > SETTLING_ITERATIONS or views.largest_step() < 1e-3
            if excess <= 1.0 and settled:
                return replace(self._solution(views, status, iteration), configuration=current)
            since_best = 0 if excess < 0.98 * best else since_best + 1
            best = min(best, excess)
            faint = ik["secondary"][0] <= FAINTEST
            if since_best > STALLED_ITERATIONS and faint:
                break
            if settled:
                ik["secondary"] = max(FADING * ik["secondary"][0], FAINTEST)
            current[:] = views.configuration
        solution = replace(self._solution(views, max(status, 0), iteration), configuration=current)
        raise self._unreached(start, targets, solution)

    def error(self, configuration: np.ndarray, targets: IkTargets) -> IkSolution:
        """As `step`, but the configuration stays: for its residuals alone."""
        solution = self.step(configuration, targets)
        return replace(solution, configuration=np.array(configuration, float), velocity=np.zeros(VELOCITIES), scale=0.0)

    def _excess(self, views: _Views, position_tolerance: float, angle_tolerance: float) -> float:
        """The largest required error as a multiple of its tolerance."""
        required = self.tasks.required
        errors = views.frame_errors[required] / (position_tolerance, angle_tolerance)
        com = float(views.com_error) / position_tolerance if self.tasks.com_required else 0.0
        return max(errors.max(initial=0.0), com)

    def _checked(self, configuration: np.ndarray, targets: IkTargets) -> tuple[np.ndarray, ...]:
        count = len(self.tasks.frames)
        configuration = np.ascontiguousarray(configuration, np.float64)
        active = self._all_active if targets.active is None else targets.active
        velocities = self._no_velocities if targets.frame_velocities is None else targets.frame_velocities
        support = self._no_support if targets.support is None else targets.support
        if (
            configuration.shape != (CONFIGURATION,)
            or targets.frame_poses.shape != (count, 7)
            or targets.com.shape != (3,)
            or targets.posture.shape != (JOINTS,)
            or active.shape != (count,)
            or velocities.shape != (count, 6)
            or support.ndim != 2
            or support.shape[1] != 3
            or len(support) > MAX_SUPPORT
        ):
            wanted = {
                "configuration": (configuration, (CONFIGURATION,)),
                "frame_poses": (targets.frame_poses, (count, 7)),
                "com": (targets.com, (3,)),
                "posture": (targets.posture, (JOINTS,)),
                "active": (active, (count,)),
                "frame_velocities": (velocities, (count, 6)),
                "support": (support, f"(S, 3) with S at most {MAX_SUPPORT}"),
            }
            name, (value, shape) = next((n, (v, s)) for n, (v, s) in wanted.items() if v.shape != s)
            raise TargetError(f"{name} has the shape {value.shape}; {shape} is needed.")
        return configuration, active, velocities, support

    def _solution(self, views: _Views, status: int, iterations: int) -> IkSolution:
        return IkSolution(
            velocity=views.velocity.copy(),
            configuration=views.configuration.copy(),
            frame_errors=views.frame_errors.copy(),
            com_error=float(views.com_error),
            limits=views.limits.copy(),
            close_pairs=tuple(views.close_pairs[: int(views.close_count)].tolist()),
            smallest_distance=float(views.smallest_distance),
            scale=float(views.scale),
            relaxed=status == kernel.RELAXED,
            iterations=iterations,
        )

    def _raise(self, status: int, configuration: np.ndarray, targets: IkTargets) -> None:
        frames = self.tasks.frames
        named = {
            kernel.BAD_CONFIGURATION: ("The configuration", configuration, "check the state estimate"),
            kernel.BAD_BASE_QUATERNION: ("The base's quaternion", configuration[3:7], QUATERNION_REMEDY),
            kernel.BAD_COM: ("The target of the centre of mass", targets.com, "give three finite metres"),
            kernel.BAD_POSTURE: ("The posture", targets.posture, "give a finite angle for each joint"),
            kernel.BAD_SUPPORT: ("The support polygon", targets.support, "make it with support_half_planes"),
        }
        if status in named:
            what, value, remedy = named[status]
        elif status <= kernel.BAD_VELOCITY:
            f = kernel.BAD_VELOCITY - status
            what, value, remedy = (
                f"The velocity of '{frames[f]}'",
                targets.frame_velocities[f],
                "give finite m/s and rad/s",
            )
        elif status <= kernel.BAD_QUATERNION:
            f = kernel.BAD_QUATERNION - status
            what, value, remedy = (
                f"The target quaternion of '{frames[f]}'",
                targets.frame_poses[f, 3:],
                QUATERNION_REMEDY,
            )
        elif status <= kernel.BAD_POSE:
            f = kernel.BAD_POSE - status
            what, value, remedy = (
                f"The target pose of '{frames[f]}'",
                targets.frame_poses[f],
                "give finite metres and a unit quaternion",
            )
        else:
            raise SolverError(f"The quadratic programme of the step failed (code {status}); its problem is attached.",
                              (configuration.copy(), self.tasks, targets))  # fmt: skip
        kind = "not a unit quaternion" if "quaternion" in what else "not finite"
        raise TargetError(f"{what} is {kind}: {np.asarray(value).tolist()}; {remedy}.")

    def _unreached(self, start: np.ndarray, targets: IkTargets, solution: IkSolution) -> SolverError:
        joints = self.model.joint_names
        lower, upper, _ = self.limits
        span = 1e-3 * (upper - lower)
        q = solution.configuration[7:]
        limits = tuple(
            f"{name} ({'lower' if at_lower else 'upper'})"
            for name, at_lower, at_upper, pushed in zip(
                joints, q < lower + span, q > upper - span,
                solution.limits[6:], strict=True)
            if pushed and (at_lower or at_upper)
        )  # fmt: skip
        close = tuple(self.pair_names[k] for k in solution.close_pairs)
        missing = [
            f"{name} {1e3 * position:.1f} mm and {angle:.3f} rad"
            for name, (position, angle), required in zip(
                self.tasks.frames, solution.frame_errors, self.tasks.required, strict=True)
            if required and (position > 1e-4 or angle > 1e-3)
        ]  # fmt: skip
        if self.tasks.com_required and solution.com_error > 1e-4:
            missing.append(f"centre of mass {1e3 * solution.com_error:.1f} mm")
        message = f"The targets are out of reach after {solution.iterations} iterations: {', '.join(missing)} short"
        if limits:
            message += f"; at their limits: {', '.join(limits)}"
        if close:
            message += f"; nearly touching: {', '.join(f'{a} and {b}' for a, b in close)}"
        message += ". Bring the target nearer, or start from another configuration."
        return SolverError(message, IkProblem(start, self.tasks, targets, solution, limits, close))


class _Views:
    """Arrays that look into a record, made once: reading a record's field anew costs more than a kernel call."""

    def __init__(self, ik: np.void, count: int) -> None:
        self.velocity, self.configuration, self.limits = ik["velocity"], ik["configuration"], ik["limits"]
        self.frame_errors, self.close_pairs = ik["frame_error"][:count], ik["close_pairs"]
        self.com_error, self.smallest_distance, self.scale, self.close_count = (
            np.ndarray((), ik.dtype[name], ik, ik.dtype.fields[name][1])
            for name in ("com_error", "smallest_distance", "scale", "close_count")
        )
        self._step, self._size = ik["qp"]["x"], int(ik["size"])

    def largest_step(self) -> float:
        return float(np.abs(self._step[: self._size]).max())


def warm_up() -> None:
    """Calls every kernel of this package once, so that it is compiled and cached."""
    ik = InverseKinematics(RobotModel.load())
    configuration = np.r_[0.0, 0.0, 0.75, 0.0, 0.0, 0.0, 1.0, np.zeros(29)]
    poses = np.tile([0.0, 0, 0, 0, 0, 0, 1], (len(ik.tasks.frames), 1))
    ik.step(configuration, IkTargets(poses, np.zeros(3), np.zeros(29)))
