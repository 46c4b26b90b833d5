"""Transforms against pinocchio and transforms3d, and their round trips."""

from __future__ import annotations

import math

import numpy as np
import pinocchio as pin
import pytest
from transforms3d.euler import euler2mat
from transforms3d.quaternions import mat2quat, quat2mat

from humanoid_control import transforms as tf

RANDOM = np.random.default_rng(7)
SE3 = [pin.SE3.Random() for _ in range(50)]
HALF_TURNS = [pin.exp3(math.pi * axis / np.linalg.norm(axis)) for axis in (*np.eye(3), *-np.eye(3), *RANDOM.normal(size=(20, 3)))]
ROTATIONS = [m.rotation for m in SE3] + HALF_TURNS + [np.eye(3), pin.exp3(np.array([1e-9, 0, 0])), pin.exp3(np.array([0, 1e-5, 0]))]


@pytest.mark.parametrize("angle", [-3.0, -0.4, 0.0, 1.2, 7.0])
def test_rotations_about_axes_agree_with_transforms3d(angle):
    np.testing.assert_allclose(tf.rotation_x(angle), euler2mat(angle, 0, 0), atol=1e-15)
    np.testing.assert_allclose(tf.rotation_y(angle), euler2mat(0, angle, 0), atol=1e-15)
    np.testing.assert_allclose(tf.rotation_z(angle), euler2mat(0, 0, angle), atol=1e-15)


def test_poses_and_matrices_agree_with_pinocchio():
    for motion in SE3:
        pose = pin.SE3ToXYZQUAT(motion)
        np.testing.assert_allclose(tf.from_pose(pose), motion.homogeneous, atol=1e-12)
        np.testing.assert_allclose(tf.from_pose(tf.to_pose(motion.homogeneous)), motion.homogeneous, atol=1e-12)
        np.testing.assert_allclose(tf.inverse(motion.homogeneous), motion.inverse().homogeneous, atol=1e-12)


def test_quaternions_agree_with_transforms3d_and_have_no_negative_w():
    for rotation in ROTATIONS:
        ours = tf.quaternion(rotation)
        assert ours[3] >= 0 and np.linalg.norm(ours) == pytest.approx(1.0, abs=1e-12)
        np.testing.assert_allclose(quat2mat(np.roll(ours, 1)), rotation, atol=1e-9)
        wxyz = mat2quat(rotation)
        assert abs(np.roll(wxyz, -1) @ ours) == pytest.approx(1.0, abs=1e-9)


def test_rotation_vectors_agree_with_pinocchio_and_return():
    for rotation in ROTATIONS:
        vector = tf.rotation_vector(rotation)
        assert np.linalg.norm(vector) <= math.pi + 1e-9
        np.testing.assert_allclose(tf.rotation_of_vector(vector), rotation, atol=1e-7)
    for motion in SE3:
        np.testing.assert_allclose(tf.rotation_vector(motion.rotation), pin.log3(motion.rotation), atol=1e-9)


def test_inverse_undoes():
    for motion in SE3:
        np.testing.assert_allclose(tf.inverse(motion.homogeneous) @ motion.homogeneous, np.eye(4), atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 3.0, -3.0, math.pi, -math.pi, 10.0, -25.0, 2 * math.pi])
def test_wrapped_angles_are_the_same_heading_within_half_a_turn(angle):
    wrapped = tf.wrapped(angle)
    assert -math.pi < wrapped <= math.pi
    assert math.cos(wrapped - angle) == pytest.approx(1.0)


def test_planar_frames_are_upright_and_keep_their_yaw():
    for x, y, z, yaw in RANDOM.uniform(-3, 3, (20, 4)):
        matrix = tf.planar(x, y, yaw, z)
        assert tf.yaw_of(matrix) == pytest.approx(tf.wrapped(yaw))
        np.testing.assert_allclose(matrix[:3, 3], [x, y, z])
        np.testing.assert_allclose(matrix[:3, 2], [0, 0, 1])


def test_interpolation_goes_straight_and_turns_evenly_by_the_shortest_way():
    for start, end in zip(SE3[:20], SE3[20:40]):
        first, last = start.homogeneous, end.homogeneous
        np.testing.assert_allclose(tf.interpolated(first, last, 0.0), first, atol=1e-9)
        np.testing.assert_allclose(tf.interpolated(first, last, 1.0), last, atol=1e-9)
        turn = np.linalg.norm(pin.log3(last[:3, :3] @ first[:3, :3].T))
        for share in (0.25, 0.5, 0.8):
            between = tf.interpolated(first, last, share)
            np.testing.assert_allclose(between[:3, 3], (1 - share) * first[:3, 3] + share * last[:3, 3], atol=1e-12)
            assert np.linalg.norm(pin.log3(between[:3, :3] @ first[:3, :3].T)) == pytest.approx(share * turn, abs=1e-8)
