"""Compiled kinematics and dynamics against pinocchio, and against finite differences."""

import numpy as np
import pinocchio as pin
import pytest

from humanoid_control.rigid_body import (
    BODIES,
    VELOCITIES,
    dynamics,
    forward_kinematics,
    motion_record,
    point_columns,
    point_motion,
    point_position,
    rotation_error,
    rotation_from_quaternion,
    tree_record,
)
from humanoid_control.robot_model import RobotModel

FRAMES = ("l_gripper", "r_gripper", "l_sole", "torso", "base_link")


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


class Sample:
    """One random state, in this project's convention (base velocity in world axes) and in pinocchio's (local)."""

    def __init__(self, model, seed):
        rng = np.random.default_rng(seed)
        self.pin = model.pinocchio_model
        self.data = self.pin.createData()
        self.joints = rng.uniform(model.position_lower, model.position_upper)
        quaternion = rng.normal(size=4)
        self.q = np.r_[rng.normal(size=3), quaternion / np.linalg.norm(quaternion), self.joints]
        self.v = np.r_[rng.normal(size=6), 3 * rng.normal(size=29)]
        self.rotation = np.zeros((3, 3))
        rotation_from_quaternion(self.q[3:7], self.rotation)
        # v_pinocchio = to_local @ v
        self.to_local = np.eye(VELOCITIES)
        self.to_local[:3, :3] = self.to_local[3:6, 3:6] = self.rotation.T
        self.v_pin = self.to_local @ self.v
        self.tree, self.motion = tree_record(model.tree), motion_record()
        dynamics(self.tree, self.rotation, self.joints, self.v, self.motion)


@pytest.fixture(params=range(5))
def sample(model, request):
    return Sample(model, request.param)


def test_rotation_from_quaternion_agrees_with_pinocchio(sample):
    np.testing.assert_allclose(sample.rotation, pin.Quaternion(sample.q[3:7]).toRotationMatrix(), atol=1e-14)


def test_forward_kinematics_agrees_with_pinocchio(sample):
    pin.forwardKinematics(sample.pin, sample.data, sample.q)
    for b in range(BODIES):
        placement = sample.data.oMi[b + 1]
        np.testing.assert_allclose(sample.motion["rotation"][b], placement.rotation, atol=1e-12)
        np.testing.assert_allclose(sample.motion["position"][b] + sample.q[:3], placement.translation, atol=1e-12)


def test_mass_matrix_agrees_with_pinocchio(sample):
    M = pin.crba(sample.pin, sample.data, sample.q)
    M = np.triu(M) + np.triu(M, 1).T
    expected = sample.to_local.T @ M @ sample.to_local
    np.testing.assert_allclose(sample.motion["mass_matrix"], expected, atol=1e-10 * abs(expected).max())


def test_mass_matrix_is_symmetric_and_positive_definite(sample):
    M = sample.motion["mass_matrix"]
    np.testing.assert_array_equal(M, M.T)
    assert np.linalg.eigvalsh(M).min() > 0


def test_bias_forces_agree_with_pinocchio(sample):
    # The base's acceleration is classical and in world axes here; pinocchio's is spatial and local. At zero joint and
    # classical base acceleration the spatial one is -w x v.
    local = np.zeros(VELOCITIES)
    local[:3] = -np.cross(sample.v_pin[3:6], sample.v_pin[:3])
    expected = sample.to_local.T @ pin.rnea(sample.pin, sample.data, sample.q, sample.v_pin, local)
    np.testing.assert_allclose(sample.motion["bias"], expected, atol=1e-10 * abs(expected).max())


def test_centre_of_mass_agrees_with_pinocchio(sample):
    pin.centerOfMass(sample.pin, sample.data, sample.q, sample.v_pin)
    np.testing.assert_allclose(sample.motion["com"] + sample.q[:3], sample.data.com[0], atol=1e-12)
    np.testing.assert_allclose(sample.motion["com_velocity"], sample.data.vcom[0], atol=1e-11)


@pytest.mark.parametrize("frame", FRAMES)
def test_jacobian_agrees_with_pinocchio(model, sample, frame):
    point = model.body_point(frame)
    position, columns, rows = np.zeros(3), np.zeros(VELOCITIES, np.int64), np.zeros((VELOCITIES, 6))
    point_position(sample.motion, point.body, point.translation, position)
    count = point_columns(sample.tree, sample.motion, point.body, position, columns, rows)
    J = np.zeros((6, VELOCITIES))
    J[:, columns[:count]] = rows[:count].T
    expected = pin.computeFrameJacobian(sample.pin, sample.data, sample.q, sample.pin.getFrameId(frame),
                                        pin.LOCAL_WORLD_ALIGNED) @ sample.to_local  # fmt: skip
    np.testing.assert_allclose(J, expected, atol=1e-12)


@pytest.mark.parametrize("frame", FRAMES)
def test_jacobian_agrees_with_finite_differences(model, sample, frame):
    point, h = model.body_point(frame), 1e-6

    def pose(change):
        rotation = pin.exp3(change[3:6]) @ sample.rotation
        motion = motion_record()
        forward_kinematics(sample.tree, rotation, sample.joints + change[6:], motion)
        position = np.zeros(3)
        point_position(motion, point.body, point.translation, position)
        return position + change[:3], motion["rotation"][point.body].copy()

    position, columns, rows = np.zeros(3), np.zeros(VELOCITIES, np.int64), np.zeros((VELOCITIES, 6))
    point_position(sample.motion, point.body, point.translation, position)
    count = point_columns(sample.tree, sample.motion, point.body, position, columns, rows)
    J = np.zeros((VELOCITIES, 6))
    J[columns[:count]] = rows[:count]
    for j in range(VELOCITIES):
        change = np.zeros(VELOCITIES)
        change[j] = h
        (p1, R1), (p0, R0) = pose(change), pose(-change)
        numeric = np.r_[p1 - p0, pin.log3(R1 @ R0.T)] / (2 * h)
        np.testing.assert_allclose(J[j], numeric, atol=1e-7)


@pytest.mark.parametrize("frame", FRAMES)
def test_point_velocity_and_drift_agree_with_finite_differences(model, sample, frame):
    """Along a motion with constant world velocity of the base, constant body rates and constant joint rates."""
    point, h = model.body_point(frame), 1e-5
    position, velocity, drift = np.zeros(3), np.zeros(6), np.zeros(6)
    point_position(sample.motion, point.body, point.translation, position)
    point_motion(sample.motion, point.body, position, velocity, drift)

    def state(t):
        rotation = pin.exp3(sample.v[3:6] * t) @ sample.rotation
        motion = motion_record()
        dynamics(sample.tree, rotation, sample.joints + sample.v[6:] * t, sample.v, motion)
        p, v, a = np.zeros(3), np.zeros(6), np.zeros(6)
        point_position(motion, point.body, point.translation, p)
        point_motion(motion, point.body, p, v, a)
        return p + sample.v[:3] * t, v

    (p1, v1), (p0, v0) = state(h), state(-h)
    np.testing.assert_allclose(velocity[:3], (p1 - p0) / (2 * h), atol=1e-6)
    np.testing.assert_allclose(drift, (v1 - v0) / (2 * h), atol=1e-4)


def test_mass_matrix_gives_the_bodies_kinetic_energy(model, sample):
    tree, motion = model.tree, sample.motion
    energy = 0.5 * tree.armatures[1:] @ sample.v[6:] ** 2
    for b in range(BODIES):
        R, w, v = motion["rotation"][b], motion["velocity"][b, :3], motion["velocity"][b, 3:]
        centre_velocity = v + np.cross(w, motion["position"][b] + R @ tree.centres[b])
        local = R.T @ w
        energy += 0.5 * tree.masses[b] * centre_velocity @ centre_velocity + 0.5 * local @ tree.inertias[b] @ local
    assert 0.5 * sample.v @ motion["mass_matrix"] @ sample.v == pytest.approx(energy, rel=1e-10)


def test_rotation_error_turns_the_actual_rotation_into_the_target():
    rng = np.random.default_rng(0)
    error = np.zeros(3)
    for angle in (0.0, 1e-8, 1e-3, 1.0, 3.0, 3.14, np.pi):
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        actual = pin.exp3(rng.normal(size=3))
        target = pin.exp3(angle * axis) @ actual
        rotation_error(target, actual, error)
        assert np.linalg.norm(error) == pytest.approx(angle, abs=1e-6)
        if angle < np.pi:
            np.testing.assert_allclose(pin.exp3(error) @ actual, target, atol=1e-6)
