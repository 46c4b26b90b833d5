"""Rigid transforms as (4, 4) matrices, poses as (7,) position and quaternion xyzw, planar poses as (x, y, yaw)."""

from __future__ import annotations

import math

import numpy as np


def rotation_x(angle: float) -> np.ndarray:
    """(3, 3) rotation about x by rad."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rotation_y(angle: float) -> np.ndarray:
    """(3, 3) rotation about y by rad."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rotation_z(angle: float) -> np.ndarray:
    """(3, 3) rotation about z by rad."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def transform(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """(4, 4) from a rotation (3, 3) and a translation (3,) in m."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix


def inverse(matrix: np.ndarray) -> np.ndarray:
    """(4, 4) inverse of a rigid transform."""
    rotation = matrix[:3, :3].T
    return transform(rotation, -rotation @ matrix[:3, 3])


def from_pose(pose: np.ndarray) -> np.ndarray:
    """(4, 4) of a pose (7,)."""
    x, y, z, w = pose[3:]
    rotation = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    return transform(rotation, pose[:3])


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(4,) unit quaternion xyzw, w >= 0, of a rotation (3, 3) (Shepperd 1978: divides by the largest component)."""
    r = rotation
    squares = np.array([1 + r[0, 0] - r[1, 1] - r[2, 2], 1 - r[0, 0] + r[1, 1] - r[2, 2],
                        1 - r[0, 0] - r[1, 1] + r[2, 2], 1 + r[0, 0] + r[1, 1] + r[2, 2]])  # fmt: skip
    k = int(squares.argmax())
    if k == 3:
        q = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], squares[3]])
    else:
        i, j = (k + 1) % 3, (k + 2) % 3
        q = np.empty(4)
        q[k], q[i], q[j] = squares[k], r[i, k] + r[k, i], r[j, k] + r[k, j]
        q[3] = r[j, i] - r[i, j]
    q /= math.sqrt(q @ q)
    return q if q[3] >= 0 else -q


def to_pose(matrix: np.ndarray) -> np.ndarray:
    """(7,) pose of a rigid transform (4, 4)."""
    return np.concatenate([matrix[:3, 3], quaternion(matrix[:3, :3])])


def swing(arm: np.ndarray) -> np.ndarray:
    """(2,) m/rad by which a point at `arm` (2,) m from a vertical axis moves as it is turned about it."""
    return np.array([-arm[1], arm[0]])


def planar(x: float, y: float, yaw: float, z: float = 0.0) -> np.ndarray:
    """(4, 4) of an upright frame at (x, y, z) m, turned by yaw rad."""
    return transform(rotation_z(yaw), np.array([x, y, z]))


def yaw_of(matrix: np.ndarray) -> float:
    """Heading in rad of a frame's x axis."""
    return math.atan2(matrix[1, 0], matrix[0, 0])


def wrapped(angle: float) -> float:
    """The angle within (-pi, pi]."""
    return angle - 2 * math.pi * math.ceil((angle - math.pi) / (2 * math.pi))


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """(3,) axis times angle of a rotation (3, 3)."""
    q = quaternion(rotation)
    sine = math.sqrt(q[:3] @ q[:3])
    return q[:3] * (2.0 if sine < 1e-9 else 2.0 * math.atan2(sine, q[3]) / sine)


def rotation_of_vector(vector: np.ndarray) -> np.ndarray:
    """(3, 3) rotation of an axis times angle (3,)."""
    angle = math.sqrt(vector @ vector)
    if angle < 1e-12:
        return np.eye(3)
    half = 0.5 * angle
    return from_pose(np.concatenate([np.zeros(3), vector * (math.sin(half) / angle), [math.cos(half)]]))[:3, :3]


def interpolated(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    """(4, 4) between two rigid transforms: straight in position, shortest turn in orientation."""
    turn = rotation_vector(end[:3, :3] @ start[:3, :3].T)
    return transform(rotation_of_vector(share * turn) @ start[:3, :3], start[:3, 3] + share * (end[:3, 3] - start[:3, 3]))
