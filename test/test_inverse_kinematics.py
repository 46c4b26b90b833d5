"""Inverse kinematics by its properties: targets reached, limits kept, no self-collision, bounded when singular."""

from dataclasses import replace

import numba
import numpy as np
import pinocchio as pin
import pytest
from numba.core.runtime import _nrt_python, rtsys

from humanoid_control.errors import ConfigurationError, ModelError, SolverError, TargetError
from humanoid_control.inverse_kinematics import (
    IkOptions,
    IkProblem,
    IkTargets,
    IkTasks,
    InverseKinematics,
    support_half_planes,
    upper_body_tasks,
)
from humanoid_control.inverse_kinematics.differential_step import ik_step
from humanoid_control.inverse_kinematics.quadratic_program import INFEASIBLE, NOT_CONVEX, QP, solve
from humanoid_control.rigid_body import forward_kinematics, motion_record, tree_record
from humanoid_control.robot_model import RobotModel
from humanoid_control.self_collision import capsule_distances, pairs_record, proximity_record

STANCE = {"hip_pitch": -0.35, "knee": 0.7, "ankle_pitch": -0.35, "elbow": 0.6, "shoulder_pitch": 0.2,
          "left_shoulder_roll": 0.2, "right_shoulder_roll": -0.2}  # fmt: skip


class Body:
    """The robot in a stance, with pinocchio as the independent judge."""

    def __init__(self):
        self.model = RobotModel.load()
        self.pin = self.model.pinocchio_model
        self.data = self.pin.createData()
        self.q = pin.neutral(self.pin)
        for i, name in enumerate(self.model.joint_names):
            for part, angle in STANCE.items():
                if part in name:
                    self.q[7 + i] = angle
        self.q[2] -= self.poses(self.q, ("l_sole",))[0, 2]
        self.com = self.com_of(self.q)
        self.pairs, self.tree = pairs_record(self.model), tree_record(self.model.tree)
        self.motion, self.proximity = motion_record(), proximity_record()

    def poses(self, q, frames):
        pin.framesForwardKinematics(self.pin, self.data, q)
        return np.array([pin.SE3ToXYZQUAT(self.data.oMf[self.pin.getFrameId(f)]) for f in frames])

    def com_of(self, q):
        return pin.centerOfMass(self.pin, self.data, q).copy()

    def clearance(self, q):
        forward_kinematics(self.tree, pin.Quaternion(q[3:7]).toRotationMatrix(), q[7:], self.motion)
        return capsule_distances(self.pairs, self.motion, np.inf, self.proximity)

    def targets(self, tasks, *, left=(0, 0, 0), right=(0, 0, 0), q=None):
        q = self.q if q is None else q
        poses = self.poses(q, tasks.frames)
        poses[tasks.frames.index("l_gripper"), :3] += left
        poses[tasks.frames.index("r_gripper"), :3] += right
        return IkTargets(poses, self.com_of(q), q[7:].copy())

    def pose_errors(self, q, targets, frames):
        errors = []
        for actual, wanted in zip(self.poses(q, frames), targets.frame_poses, strict=False):
            difference = pin.XYZQUATToSE3(actual).actInv(pin.XYZQUATToSE3(wanted))
            errors.append([np.linalg.norm(actual[:3] - wanted[:3]), np.linalg.norm(pin.log3(difference.rotation))])
        return np.array(errors)


@pytest.fixture(scope="module")
def body():
    return Body()


@pytest.fixture(scope="module")
def ik(body):
    return InverseKinematics(body.model)


@pytest.fixture(scope="module")
def upper(body):
    return InverseKinematics(body.model, upper_body_tasks(), IkOptions(fixed_base_and_legs=True))


# The quadratic programme


def random_problem(rng, *, degenerate=False):
    n = int(rng.integers(2, 36))
    m = int(rng.integers(0, max(1, n // 2)))
    A = rng.normal(size=(n + 3, n)) * np.exp(rng.normal(size=n))
    H, g = A.T @ A + 1e-4 * np.eye(n), 10 * rng.normal(size=n)
    lower, upper = -rng.uniform(0, 1, n), rng.uniform(0, 1, n)
    inside = lower + (upper - lower) * rng.uniform(0.1, 0.9, n)
    rows = rng.normal(size=(m, n))
    if degenerate and m > 2:
        rows[1] = rows[0]
        rows[2] = np.eye(n)[0]
    bounds = rows @ inside - rng.uniform(0, 0.3, m) * (rng.uniform(size=m) < 0.8)
    return H, g, lower, upper, rows, bounds


def solve_problem(H, g, lower, upper, rows, bounds):
    qp = np.zeros(1, QP)[0]
    n, m = len(g), len(bounds)
    qp["size"], qp["row_count"] = n, m
    qp["hessian"][:n, :n], qp["gradient"][:n] = np.tril(H), g
    qp["lower"][:n], qp["upper"][:n] = lower, upper
    qp["rows"][:m, :n], qp["row_bounds"][:m] = rows, bounds
    return solve(qp), qp


@pytest.mark.parametrize("degenerate", [False, True])
def test_qp_meets_the_optimality_conditions(degenerate):
    rng = np.random.default_rng(0)
    for _ in range(300):
        H, g, lower, upper, rows, bounds = random_problem(rng, degenerate=degenerate)
        n = len(g)
        status, qp = solve_problem(H, g, lower, upper, rows, bounds)
        assert status >= 0
        x, count = qp["x"][:n], int(qp["active_count"])
        normals = np.vstack([np.eye(n), -np.eye(n), rows])
        slack = normals @ x - np.r_[lower, -upper, bounds]
        assert slack.min() > -1e-9
        active, multipliers = qp["active"][:count], qp["multipliers"][:count]
        assert (multipliers >= 0).all()
        np.testing.assert_allclose(slack[active], 0, atol=1e-8)
        np.testing.assert_allclose(H @ x + g, multipliers @ normals[active], atol=1e-6 * max(1, abs(g).max()))


@pytest.mark.parametrize("reference", ["quadprog", "daqp"])
def test_qp_equals_reference_solver(reference):
    solver = pytest.importorskip(reference)
    rng = np.random.default_rng(1)
    for _ in range(300):
        H, g, lower, upper, rows, bounds = random_problem(rng)
        n, m = len(g), len(bounds)
        _, qp = solve_problem(H, g, lower, upper, rows, bounds)
        if reference == "quadprog":
            x = solver.solve_qp(H, -g, np.vstack([np.eye(n), -np.eye(n), rows]).T, np.r_[lower, -upper, bounds])[0]
        else:
            x = solver.solve(
                H, g, rows, np.r_[upper, np.full(m, 1e30)], np.r_[lower, bounds], np.zeros(n + m, np.int32)
            )[0]
        np.testing.assert_allclose(qp["x"][:n], x, atol=1e-5 if reference == "daqp" else 1e-8)


def test_qp_names_what_has_no_solution():
    eye = np.eye(3)
    infeasible = (eye, np.zeros(3), -np.ones(3), np.ones(3), np.array([[1.0, 1.0, 1.0]]), np.array([3.5]))
    assert solve_problem(*infeasible)[0] == INFEASIBLE
    flat = (np.diag([1.0, 1.0, -1.0]), np.zeros(3), -np.ones(3), np.ones(3), np.zeros((0, 3)), np.zeros(0))
    assert solve_problem(*flat)[0] == NOT_CONVEX


# Targets


def test_solve_reaches_hands_that_a_random_configuration_reaches(body, ik):
    """The targets are taken from configurations that respect all limits, so they can be reached."""
    rng = np.random.default_rng(2)
    reached, tried = 0, 0
    while tried < 60:
        q = body.q.copy()
        q[7 + 12 :] += rng.uniform(-0.6, 0.6, 17) * (body.model.position_upper - body.model.position_lower)[12:] * 0.3
        q[7:] = np.clip(q[7:], body.model.position_lower, body.model.position_upper)
        if body.clearance(q) < 0.02:
            continue
        tried += 1
        targets = replace(body.targets(ik.tasks), frame_poses=np.vstack([
            body.poses(q, ("l_gripper", "r_gripper")), body.poses(body.q, ik.tasks.frames[2:])]))  # fmt: skip
        try:
            solution = ik.solve(body.q, targets)
        except SolverError:
            continue  # its centre of mass may lie elsewhere: not every such target is reachable
        reached += 1
        errors = body.pose_errors(solution.configuration, targets, ik.tasks.frames[:4])
        assert errors[:, 0].max() < 1.1e-4
        assert errors[:, 1].max() < 1.1e-3
        assert np.linalg.norm((body.com_of(solution.configuration) - targets.com)[:2]) < 1.1e-4
        assert (solution.configuration[7:] <= body.model.position_upper + 1e-12).all()
        assert (solution.configuration[7:] >= body.model.position_lower - 1e-12).all()
        assert body.clearance(solution.configuration) > 0
    assert reached >= 0.8 * tried


def test_solve_plans_a_stance_for_hands_near_the_floor(body, ik):
    """Hands at 0.4 m need the pelvis lower and the torso bent, with the centre of mass kept over the feet."""
    targets = body.targets(ik.tasks)
    targets.frame_poses[:2, :3] = [[0.38, 0.18, 0.40], [0.38, -0.18, 0.40]]
    targets.frame_poses[:2, 3:] = [0, 0, 0, 1]
    solution = ik.solve(body.q, targets)
    torso, pelvis = body.poses(solution.configuration, ("torso", "base_link"))
    pitch = pin.rpy.matrixToRpy(pin.Quaternion(torso[3:]).toRotationMatrix())[1]
    assert pelvis[2] < body.q[2] - 0.02
    assert pitch > 0.2
    np.testing.assert_allclose(body.com_of(solution.configuration)[:2], body.com[:2], atol=1.1e-4)


def test_repeated_steps_converge_to_the_target(body, ik):
    targets, q = body.targets(ik.tasks, left=(0.1, 0.02, 0.1), right=(0.1, -0.02, 0.1)), body.q.copy()
    for _ in range(100):
        q = ik.step(q, targets).configuration
    assert body.pose_errors(q, targets, ik.tasks.frames[:2])[:, 0].max() < 0.01
    assert body.pose_errors(q, targets, ik.tasks.frames[:4])[2:, 0].max() < 1e-4


def test_reported_errors_are_those_of_pinocchio(body, ik):
    targets = body.targets(ik.tasks, left=(0.1, 0.05, 0.0), right=(0.0, 0.0, 0.03))
    solution = ik.step(body.q, targets)
    np.testing.assert_allclose(
        solution.frame_errors[:4], body.pose_errors(body.q, targets, ik.tasks.frames[:4]), atol=1e-9
    )


def test_velocity_and_configuration_agree(body, ik):
    solution = ik.step(body.q, body.targets(ik.tasks, left=(0.1, 0.05, 0.1), right=(0.1, 0, 0)))
    v = solution.velocity.copy()
    rotation = pin.Quaternion(body.q[3:7]).toRotationMatrix()
    v[3:6] = rotation.T @ v[3:6]
    np.testing.assert_allclose(solution.configuration[7:], body.q[7:] + 0.01 * v[6:], atol=1e-12)
    np.testing.assert_allclose(solution.configuration[:3], body.q[:3] + 0.01 * v[:3], atol=1e-12)
    expected = pin.Quaternion(rotation @ pin.exp3(0.01 * v[3:6]))
    assert abs(expected.coeffs() @ solution.configuration[3:7]) == pytest.approx(1, abs=1e-12)


def test_feed_forward_tracks_a_moving_hand_without_lag(body):
    tasks = upper_body_tasks(posture_weight=0.01)
    ik = InverseKinematics(body.model, tasks, IkOptions(fixed_base_and_legs=True, gain=0.1))
    speed, lags = np.array([0.1, 0.0, 0.1]), []
    for forward in (False, True):
        q, targets = body.q.copy(), body.targets(tasks)
        velocities = np.tile(np.r_[speed, 0, 0, 0], (2, 1)) if forward else None
        for _ in range(60):
            q = ik.step(q, replace(targets, frame_velocities=velocities)).configuration
            targets.frame_poses[:, :3] += 0.01 * speed
        lags.append(body.pose_errors(q, targets, tasks.frames)[:, 0].max())
    assert lags[1] < 0.3 * lags[0]


def test_inactive_hand_follows_the_posture(body, upper):
    targets = body.targets(upper.tasks, left=(0.1, 0, 0.1), right=(0.1, 0, 0.1))
    solution = upper.solve(body.q, replace(targets, active=np.array([True, False])))
    right = slice(7 + 22, 7 + 29)
    np.testing.assert_allclose(solution.configuration[right], body.q[right], atol=1e-3)
    assert body.pose_errors(solution.configuration, targets, upper.tasks.frames)[0, 0] < 1.1e-4


def test_upper_body_mode_moves_neither_base_nor_legs(body, upper):
    targets = body.targets(upper.tasks, left=(0.15, 0, 0.1), right=(0.15, 0, 0.1))
    solution = upper.solve(body.q, targets)
    np.testing.assert_array_equal(solution.configuration[: 7 + 12], body.q[: 7 + 12])
    assert body.pose_errors(solution.configuration, targets, upper.tasks.frames)[:, 0].max() < 1.1e-4


# Limits


def wild_targets(body, tasks, rng):
    targets = body.targets(tasks)
    quaternions = rng.normal(size=(2, 4))
    targets.frame_poses[:2, :3] += rng.uniform(-0.6, 0.6, (2, 3))
    targets.frame_poses[:2, 3:] = quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)
    return targets


def test_limits_of_position_and_velocity_are_never_exceeded(body):
    rng = np.random.default_rng(3)
    scale = 0.1
    ik = InverseKinematics(body.model, options=IkOptions(velocity_scale=scale))
    low, high, met = body.model.position_lower, body.model.position_upper, 0
    for _ in range(25):
        q, targets = body.q.copy(), wild_targets(body, ik.tasks, rng)
        for _ in range(80):
            solution = ik.step(q, targets)
            q = solution.configuration
            assert (q[7:] <= high + 1e-9).all()
            assert (q[7:] >= low - 1e-9).all()
            assert (abs(solution.velocity[6:]) <= scale * body.model.velocity_limit + 1e-6).all()
            assert (abs(solution.velocity[:3]) <= 2 + 1e-6).all()
            assert (abs(solution.velocity[3:6]) <= 3 + 1e-6).all()
            met += bool(solution.limits.any())
    assert met > 200  # or the test would show nothing


def test_narrower_limits_are_kept_and_wider_ones_refused(body):
    low, high = body.q[7:] - 0.1, body.q[7:] + 0.1
    low, high = np.maximum(low, body.model.position_lower), np.minimum(high, body.model.position_upper)
    ik = InverseKinematics(body.model, limits=(low, high, np.full(29, 1.0)))
    q, targets = body.q.copy(), body.targets(ik.tasks, left=(0.3, 0, 0.3), right=(0.3, 0, 0.3))
    for _ in range(100):
        solution = ik.step(q, targets)
        q = solution.configuration
        assert (q[7:] <= high + 1e-9).all()
        assert (q[7:] >= low - 1e-9).all()
        assert (abs(solution.velocity[6:]) <= 1 + 1e-6).all()
    with pytest.raises(ConfigurationError, match="left_hip_pitch_joint"):
        InverseKinematics(body.model, limits=(body.model.position_lower - 0.1, high, np.full(29, 1.0)))


def test_joint_found_beyond_its_limit_is_brought_back(body, ik):
    q, knee = body.q.copy(), 7 + body.model.joint_index("left_elbow_joint")
    q[knee] = body.model.position_upper[knee - 7] + 0.1
    targets = body.targets(ik.tasks)
    for _ in range(60):
        before, q = q[knee], ik.step(q, targets).configuration
        assert q[knee] < before or q[knee] < body.model.position_upper[knee - 7]
    assert q[knee] < body.model.position_upper[knee - 7] + 1e-3


def test_hands_driven_through_the_torso_never_penetrate(body):
    ik = InverseKinematics(body.model, options=IkOptions(velocity_scale=1.0))
    rng = np.random.default_rng(4)
    worst, stopped = np.inf, 0
    for _ in range(12):
        q, targets = body.q.copy(), body.targets(ik.tasks)
        goal = rng.uniform([-0.3, -0.3, 0.6], [0.15, 0.3, 1.2], (2, 3))
        goal[:, 1] *= np.sign(goal[:, 1]) * [-1, 1]  # each hand to the other side, through chest, belly or head
        start = targets.frame_poses[:2, :3].copy()
        for k in range(120):
            targets.frame_poses[:2, :3] = start + min(1.0, k / 60) * (goal - start)
            solution = ik.step(q, targets)
            q = solution.configuration
            worst = min(worst, body.clearance(q))
            stopped += bool(solution.close_pairs)
    assert worst > 0.5 * ik.options.safe_distance - 1e-9
    assert stopped > 200


def test_hands_do_penetrate_without_self_collision(body):
    """The counter-proof: the same drive would go through the body."""
    ik = InverseKinematics(body.model, options=IkOptions(self_collision=False))
    q, targets = body.q.copy(), body.targets(ik.tasks)
    targets.frame_poses[:2, :3] = [[0.0, 0.0, 0.9], [0.0, 0.0, 1.0]]
    for _ in range(100):
        q = ik.step(q, targets).configuration
    assert body.clearance(q) < -0.02


def test_configuration_that_already_touches_itself_comes_apart(body, upper):
    rng, before = np.random.default_rng(6), 1.0
    while not -0.03 < before < -0.01:
        q = body.q.copy()
        q[7 + 15 : 7 + 22] = rng.uniform(body.model.position_lower, body.model.position_upper)[15:22]
        before = body.clearance(q)
    targets = body.targets(upper.tasks, q=q)
    for _ in range(150):
        previous = body.clearance(q)
        q = upper.step(q, targets).configuration
        assert body.clearance(q) >= min(previous, 0.005) - 1e-9
    assert body.clearance(q) > 0.005


def test_centre_of_mass_stays_within_the_support(body):
    corners = body.com[:2] + [[x, y] for x in (-0.05, 0.05) for y in (-0.05, 0.05)]
    support = support_half_planes(corners, 0.03)
    ik = InverseKinematics(
        body.model, IkTasks(com_weights=np.zeros(3), com_required=False, required=[1, 1, 1, 1, 0, 0])
    )
    free, kept = body.targets(ik.tasks, left=(0.3, 0, -0.3), right=(0.3, 0, -0.3)), []
    for targets in (free, replace(free, support=support)):
        q, inside = body.q.copy(), []
        for _ in range(200):
            q = ik.step(q, targets).configuration
            inside.append((support[:, 2] - support[:, :2] @ body.com_of(q)[:2]).min())
        kept.append(min(inside))
    assert kept[0] < -0.005  # without the support the reach would carry it out
    assert kept[1] > -1e-4


def test_limits_that_contradict_each_other_stop_what_makes_it_worse(body, ik):
    """The support lies a metre ahead of the centre of mass: no step can be as long as coming back asks."""
    ahead = body.com[:2] + [[x, y] for x in (0.95, 1.05) for y in (-0.05, 0.05)]
    pull = body.targets(ik.tasks, left=(-0.2, 0, 0), right=(-0.2, 0, 0))
    targets = replace(pull, com=body.com - [0.1, 0, 0], support=support_half_planes(ahead))
    solution = ik.step(body.q, targets)
    assert solution.relaxed
    assert np.isfinite(solution.velocity).all()
    assert body.com_of(solution.configuration)[0] >= body.com[0] - 1e-4
    assert not ik.step(body.q, pull).relaxed


def test_support_half_planes_hold_the_points():
    rng = np.random.default_rng(5)
    points = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5], [0.2, 0.7]])
    planes = support_half_planes(points)
    assert len(planes) == 4
    assert (planes[:, :2] @ points.T <= planes[:, 2:] + 1e-12).all()
    outside = rng.uniform(1.01, 2, (20, 2))
    assert ((planes[:, :2] @ outside.T > planes[:, 2:]).any(axis=0)).all()
    with pytest.raises(TargetError):
        support_half_planes(np.zeros((3, 2)))


# Singularities and failure


def test_stretched_arm_stays_finite_and_bounded(body, upper):
    """The target lies far outside reach, straight ahead and then to the side: the worst a teleoperator can do."""
    q, targets = body.q.copy(), body.targets(upper.tasks, left=(1.5, 0, 0.3), right=(1.5, 0, 0.3))
    for k in range(300):
        if k == 150:
            targets.frame_poses[:, :3] += [[-0.5, 1.0, 0], [-0.5, -1.0, 0]]
        previous, solution = q, upper.step(q, targets)
        q = solution.configuration
        assert np.isfinite(q).all()
        assert (abs(q - previous)[7:] <= 0.01 * body.model.velocity_limit + 1e-9).all()
    # Once stretched it creeps to the nearest point instead of shaking: ever slower, and without turning back.
    steps = np.diff([q, *(q := upper.step(q, targets).configuration for _ in range(20))], axis=0)
    assert abs(steps).max() < 5e-3
    assert (np.diff(np.linalg.norm(steps, axis=1)) < 0).all()
    assert ((steps[1:] * steps[:-1]).sum(axis=1) > 0).all()


def test_exactly_straight_arm_still_bends(body, upper):
    """At the zero configuration several arm axes line up."""
    q = body.q.copy()
    q[7 + 15 :] = 0.0
    wanted = body.targets(upper.tasks, left=(0.1, 0.05, 0.1), right=(0.1, -0.05, 0.1))
    solution = upper.solve(q, wanted)
    assert body.pose_errors(solution.configuration, wanted, upper.tasks.frames)[:, 0].max() < 1.1e-4


def test_unreachable_hand_raises_with_the_amount(body, upper):
    targets = body.targets(upper.tasks, left=(1.0, 0, 0))
    with pytest.raises(SolverError, match="l_gripper [0-9.]+ mm") as raised:
        upper.solve(body.q, targets)
    problem = raised.value.problem
    assert isinstance(problem, IkProblem)
    missing = problem.solution.frame_errors[0, 0]
    assert f"l_gripper {1e3 * missing:.1f} mm" in str(raised.value)
    true_error = body.pose_errors(problem.solution.configuration, targets, upper.tasks.frames)[0, 0]
    assert missing == pytest.approx(true_error, abs=1e-6)
    assert 0.2 < missing < 1.0
    np.testing.assert_array_equal(problem.configuration, body.q)
    assert problem.targets is targets


def test_unreachable_hand_names_the_joints_at_their_limits(body, upper):
    """A gripper that must point backwards turns its wrist into the stops."""
    targets = body.targets(upper.tasks)
    targets.frame_poses[0, 3:] = [0, 0, 1, 0]
    with pytest.raises(SolverError, match=r"at their limits: .*left_.*_joint \((lower|upper)\)") as raised:
        upper.solve(body.q, targets)
    for entry in raised.value.problem.limits:
        name = entry.split(" ")[0]
        j = body.model.joint_index(name)
        angle = raised.value.problem.solution.configuration[7 + j]
        limit = (body.model.position_lower if "lower" in entry else body.model.position_upper)[j]
        assert angle == pytest.approx(limit, abs=0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["frame_poses", "com", "posture", "frame_velocities", "support", "configuration"])
def test_input_that_is_not_finite_is_refused_by_name(body, ik, where, value):
    q, targets = body.q.copy(), body.targets(ik.tasks)
    targets = replace(targets, frame_velocities=np.zeros((6, 6)), support=support_half_planes(np.eye(3)))
    (q if where == "configuration" else getattr(targets, where)).flat[1] = value
    names = {"frame_poses": "l_gripper", "frame_velocities": "l_gripper", "com": "centre of mass"}
    for call in (ik.step, ik.solve):
        with pytest.raises(TargetError, match=names.get(where, where)) as raised:
            call(q, targets)
        assert "not finite" in str(raised.value)
        assert str(value) in str(raised.value)


def test_quaternion_that_is_not_a_unit_is_refused(body, ik):
    targets = body.targets(ik.tasks)
    targets.frame_poses[1, 3:] *= 1.1
    with pytest.raises(TargetError, match="'r_gripper' is not a unit quaternion.*x, y, z, w"):
        ik.step(body.q, targets)
    q = body.q.copy()
    q[3:7] = 0
    with pytest.raises(TargetError, match="base"):
        ik.step(q, body.targets(ik.tasks))


def test_wrong_shapes_are_refused(body, ik):
    targets = body.targets(ik.tasks)
    with pytest.raises(TargetError, match=r"configuration.*\(35,\)"):
        ik.step(body.q[1:], targets)
    with pytest.raises(TargetError, match=r"frame_poses.*\(6, 7\)"):
        ik.step(body.q, replace(targets, frame_poses=targets.frame_poses[:2]))
    with pytest.raises(TargetError, match="support"):
        ik.step(body.q, replace(targets, support=np.zeros((9, 3))))


def test_refused_input_leaves_the_next_step_as_it_was(body, ik):
    targets = body.targets(ik.tasks, left=(0.1, 0, 0))
    before = ik.step(body.q, targets)
    with pytest.raises(TargetError):
        ik.step(body.q, replace(targets, com=np.full(3, np.nan)))
    np.testing.assert_array_equal(ik.step(body.q, targets).velocity, before.velocity)


def test_arguments_are_left_unchanged(body, ik):
    targets, q = body.targets(ik.tasks, left=(0.1, 0, 0.1)), body.q.copy()
    poses = targets.frame_poses.copy()
    ik.solve(q, targets)
    np.testing.assert_array_equal(q, body.q)
    np.testing.assert_array_equal(targets.frame_poses, poses)


def test_solution_is_not_overwritten_by_the_next_step(body, ik):
    first = ik.step(body.q, body.targets(ik.tasks, left=(0.1, 0, 0)))
    velocity = first.velocity.copy()
    ik.step(body.q, body.targets(ik.tasks, right=(0.1, 0, 0.2)))
    np.testing.assert_array_equal(first.velocity, velocity)


@numba.njit
def repeat_step(times, record, configuration, poses, com, posture, active, velocities, support):
    for _ in range(times):
        ik_step(record, configuration, poses, com, posture, active, velocities, support)


def test_compiled_step_allocates_nothing(body, ik):
    targets = body.targets(ik.tasks, left=(0.0, -0.4, 0.1), right=(0.1, 0.4, 0.1))
    support = support_half_planes(body.com + np.eye(3))
    arguments = (ik._record, body.q, targets.frame_poses, targets.com, targets.posture, np.ones(6, bool), np.zeros((6, 6)),
                 support)  # fmt: skip
    repeat_step(1, *arguments)
    allocations = []
    _nrt_python.memsys_enable_stats()
    try:
        for times in (1, 50):  # the arguments of the call itself are wrapped once
            before = rtsys.get_allocation_stats().mi_alloc
            repeat_step(times, *arguments)
            allocations.append(rtsys.get_allocation_stats().mi_alloc - before)
    finally:
        _nrt_python.memsys_disable_stats()
    assert allocations[1] == allocations[0]


def test_unknown_frame_and_bad_options_are_refused(body):
    with pytest.raises(ModelError, match="no frame 'left_foot'"):
        InverseKinematics(body.model, IkTasks(("left_foot",), np.ones((1, 6)), True))
    with pytest.raises(ConfigurationError, match="gain is 1.5"):
        IkOptions(gain=1.5)
    with pytest.raises(ConfigurationError, match="frame_weights"):
        IkTasks(frame_weights=-np.ones((6, 6)))
    with pytest.raises(ConfigurationError, match=r"posture_weights.*\(29,\)"):
        IkTasks(posture_weights=np.ones(30))
