"""The dynamics QP against a general solver, and the physics its answer must keep."""

import daqp
import numpy as np
import pytest

from humanoid_control.rigid_body import (
    VELOCITIES,
    dynamics,
    motion_record,
    point_columns,
    point_motion,
    point_position,
    tree_record,
)  # fmt: skip
from humanoid_control.robot_model import RobotModel
from humanoid_control.whole_body_control import dynamics_qp as qp
from humanoid_control.whole_body_control.controller import default_tuning, standing_posture


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


class Problem:
    """A random tick near standing: contacts, wishes and, where asked, limits too tight for the wishes."""

    def __init__(self, model, seed, *, contacts=(1, 1), torque_factor=1.0, wish=3.0, near_limits=False):
        rng = np.random.default_rng(seed)
        self.tree, self.motion = tree_record(model.tree), motion_record()
        self.points, self.gains = qp.body_points_record(model), qp.default_gains()
        self.points["torque_limit"] *= torque_factor
        self.out = np.zeros(1, qp.SOLUTION)[0]
        self.joints = standing_posture(model) + 0.1 * rng.normal(size=29)
        self.velocity = 0.3 * rng.normal(size=VELOCITIES)
        if near_limits:  # ten joints run into their limits
            for j in rng.choice(29, 10, replace=False):
                upper = rng.uniform() < 0.5
                limit = self.joints[j] + (0.04 if upper else -0.04)
                self.points["position_upper" if upper else "position_lower"][j] = limit
                self.velocity[6 + j] = 0.8 if upper else -0.8
        self.rotation = np.eye(3)
        tuning = default_tuning(model)
        tasks = self.tasks = np.zeros(1, qp.TASKS)[0]
        tasks["contact"], tasks["force_cap"] = contacts, rng.uniform(150, 600, 2)
        tasks["com_acceleration"] = wish * rng.normal(size=3)
        tasks["pelvis_rotation"] = tasks["torso_rotation"] = np.eye(3)
        tasks["foot_rotation"], tasks["hand_rotation"] = np.eye(3), np.eye(3)
        tasks["foot_rotation_weight"] = 1.0
        dynamics(self.tree, self.rotation, self.joints, self.velocity, self.motion)
        for side in (0, 1):
            point = np.zeros(3)
            point_position(self.motion, self.points["foot_body"][side], self.points["foot_offset"][side], point)
            tasks["foot_position"][side] = point + 0.05 * rng.normal(size=3)
            point_position(self.motion, self.points["hand_body"][side], self.points["hand_offset"][side], point)
            tasks["hand_position"][side] = point + 0.05 * rng.normal(size=3)
        tasks["hand_active"] = rng.integers(0, 2, 2)
        tasks["posture"], tasks["posture_weight"] = tuning["posture"], tuning["posture_weight_free"]
        self.status = qp.solve(self.tree, self.points, self.gains, tasks, self.motion, self.rotation, self.joints,
                               self.velocity, self.out)  # fmt: skip
        self.feet = [side for side in (0, 1) if contacts[side]]
        self.force_count = 12 * len(self.feet)
        forces = [self.out["force"][12 * side : 12 * side + 12] for side in self.feet]
        self.x = np.concatenate([self.out["acceleration"], *forces])

    def corner_jacobian(self):
        """(forces, 35): velocity of the corners in contact per generalised velocity."""
        rows, columns, jacobian, point = [], np.empty(35, np.int64), np.empty((35, 6)), np.empty(3)
        for side in self.feet:
            body = self.points["foot_body"][side]
            for corner in self.points["corners"][side]:
                point_position(self.motion, body, corner, point)
                count = point_columns(self.tree, self.motion, body, point, columns, jacobian)
                block = np.zeros((3, VELOCITIES))
                block[:, columns[:count]] = jacobian[:count, :3].T
                rows.append(block)
        return np.concatenate(rows)

    def reference(self):
        """Objective (H, g) and constraints lower <= A x <= upper, written out densely; equalities first."""
        n = VELOCITIES + self.force_count
        lower_triangle = np.tril(self.out["hessian"])
        H = np.zeros((n, n))
        H[:VELOCITIES, :VELOCITIES] = lower_triangle + np.tril(lower_triangle, -1).T
        H[VELOCITIES:, VELOCITIES:] = self.gains["force_weight"] * np.eye(self.force_count)
        g = np.concatenate([self.out["gradient"], np.zeros(self.force_count)])
        M, h, J = self.motion["mass_matrix"], self.motion["bias"], self.corner_jacobian()
        whole = np.hstack([M, -J.T])
        rows, low, high = [whole[:6]], [-h[:6]], [-h[:6]]
        limit = self.points["torque_limit"]
        rows.append(whole[6:])
        low.append(-limit - h[6:])
        high.append(limit - h[6:])
        rows.append(np.eye(n)[6:VELOCITIES])
        low.append(self.out["acceleration_lower"])
        high.append(self.out["acceleration_upper"])
        mu = self.gains["friction"]
        for k in range(self.force_count // 3):
            fx, fy, fz = np.eye(n)[VELOCITIES + 3 * k : VELOCITIES + 3 * k + 3]
            rows.append(np.array([mu * fz - fx, mu * fz + fx, mu * fz - fy, mu * fz + fy, fz]))
            low.append(np.array([0, 0, 0, 0, self.gains["minimum_force"]]))
            high.append(np.full(5, 1e30))
        for slot, side in enumerate(self.feet):
            row = np.zeros((1, n))
            row[0, VELOCITIES + 12 * slot + 2 : VELOCITIES + 12 * slot + 12 : 3] = 1.0
            rows.append(row)
            low.append(np.array([-1e30]))
            high.append(self.tasks["force_cap"][side : side + 1])
        return H, g, np.concatenate(rows), np.concatenate(low), np.concatenate(high)


def solve_by_daqp(H, g, A, low, high):
    """The optimum by a general solver, on variables scaled to make the Hessian's diagonal one."""
    scale = 1.0 / np.sqrt(np.diag(H))
    sense = np.zeros(len(low), np.int32)
    sense[:6] = 5  # equalities
    rows = A * scale
    size = np.linalg.norm(rows, axis=1)
    x, _, flag, _ = daqp.solve(scale[:, None] * H * scale, scale * g, np.ascontiguousarray(rows / size[:, None]),
                               high / size, low / size, sense)  # fmt: skip
    assert flag == 1
    return scale * np.asarray(x)


@pytest.mark.parametrize("contacts", [(1, 1), (1, 0), (0, 1)])
@pytest.mark.parametrize("kind", ["free", "torque", "joints", "all"])
def test_answer_is_the_optimum_a_general_solver_finds(model, contacts, kind):
    active = 0
    compared = 0
    for seed in range(12):
        problem = Problem(model, seed, contacts=contacts, torque_factor=0.5 if kind in ("torque", "all") else 1.0,
                          near_limits=kind in ("joints", "all"))  # fmt: skip
        if problem.status != qp.SOLVED:
            continue
        H, g, A, low, high = problem.reference()
        best = solve_by_daqp(H, g, A, low, high)
        value, reference = (0.5 * x @ H @ x + g @ x for x in (problem.x, best))
        assert value <= reference + 1e-4 * (1 + abs(reference))
        slack = np.minimum(A @ problem.x - low, high - A @ problem.x)
        assert slack.min() > -1e-3
        at_bound = slack < 1e-3
        active += {"free": 1, "torque": at_bound[6:35].sum(), "joints": at_bound[35:64].sum(), "all": at_bound[6:64].sum()}[kind]
        compared += 1
    assert compared >= 8
    assert active > 0, "no limit of the kind under test was ever active"


def test_forces_torques_and_accelerations_obey_newton(model):
    problem = Problem(model, 3)
    M, h = problem.motion["mass_matrix"], problem.motion["bias"]
    force = np.concatenate([problem.out["force"][:12], problem.out["force"][12:]])
    residual = M @ problem.out["acceleration"] + h - problem.corner_jacobian().T @ force
    residual[6:] -= problem.out["torque"]
    assert np.abs(residual).max() < 1e-6


def test_power_of_torques_and_contacts_is_the_change_of_energy(model):
    problem = Problem(model, 4)
    step = 1e-6
    motion = motion_record()

    def energy(sign):
        joints = problem.joints + sign * step * problem.velocity[6:]
        w = problem.velocity[3:6] * sign * step
        rotation = np.eye(3) + np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
        u, _, vt = np.linalg.svd(rotation)
        velocity = problem.velocity + sign * step * problem.out["acceleration"]
        dynamics(problem.tree, u @ vt, joints, velocity, motion)
        height = motion["com"][2] + sign * step * problem.velocity[2]
        return 0.5 * velocity @ motion["mass_matrix"] @ velocity + motion["mass"] * 9.81 * height

    change = (energy(1) - energy(-1)) / (2 * step)
    power = problem.out["torque"] @ problem.velocity[6:]
    power += problem.out["force"] @ (problem.corner_jacobian() @ problem.velocity)
    assert change == pytest.approx(power, rel=1e-4, abs=1e-3)


def test_feet_on_the_ground_do_not_accelerate(model):
    problem = Problem(model, 5, wish=0.5)
    point, twist, drift = np.empty(3), np.empty(6), np.empty(6)
    columns, jacobian = np.empty(35, np.int64), np.empty((35, 6))
    for side in (0, 1):
        body = problem.points["foot_body"][side]
        point_position(problem.motion, body, problem.points["foot_offset"][side], point)
        count = point_columns(problem.tree, problem.motion, body, point, columns, jacobian)
        point_motion(problem.motion, body, point, twist, drift)
        acceleration = jacobian[:count].T @ problem.out["acceleration"][columns[:count]] + drift
        wanted = -problem.gains["contact_gain"] * twist
        assert np.abs(acceleration - wanted).max() < 0.5


def test_the_weight_rests_on_the_feet_when_nothing_moves(model):
    problem = Problem(model, 6, wish=0.0)
    problem.velocity[:] = 0.0
    problem.tasks["hand_active"] = 0
    problem.tasks["posture"] = problem.joints
    problem.tasks["force_cap"] = 600.0
    qp.solve(problem.tree, problem.points, problem.gains, problem.tasks, problem.motion, problem.rotation, problem.joints,
             problem.velocity, problem.out)  # fmt: skip
    weight = problem.motion["mass"] * 9.81
    assert problem.out["force"][2::3].sum() == pytest.approx(weight, rel=0.02)


def test_nan_in_the_state_is_a_failure_not_an_answer(model):
    problem = Problem(model, 7)
    problem.joints[3] = np.nan
    status = qp.solve(problem.tree, problem.points, problem.gains, problem.tasks, problem.motion, problem.rotation,
                      problem.joints, problem.velocity, problem.out)  # fmt: skip
    assert status == qp.FAILED


def test_contradicting_limits_give_a_finite_answer_within_the_torque_limits(model):
    problem = Problem(model, 8, torque_factor=0.5)
    problem.gains["minimum_force"] = 50.0  # on each of four corners, and no more than 100 on the foot
    problem.tasks["force_cap"] = 100.0
    status = qp.solve(problem.tree, problem.points, problem.gains, problem.tasks, problem.motion, problem.rotation,
                      problem.joints, problem.velocity, problem.out)  # fmt: skip
    assert status == qp.RELAXED and problem.out["relaxed"] > 0
    assert np.isfinite(problem.out["torque"]).all()
    assert (np.abs(problem.out["torque"]) <= problem.points["torque_limit"] + 1e-9).all()
