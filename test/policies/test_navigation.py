"""Walking velocities: within limits, and they arrive."""

from __future__ import annotations

import math

import numpy as np
import pytest

from humanoid_control.transforms import wrapped
from policies.scripted.navigation import CARRYING, EMPTY_HANDED, Tolerance, WayFollower, velocity_to

DT = 0.02


def walked(pose: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    c, s = math.cos(pose[2]), math.sin(pose[2])
    return pose + DT * np.array([c * velocity[0] - s * velocity[1], s * velocity[0] + c * velocity[1], velocity[2]])


@pytest.mark.parametrize("limits", [EMPTY_HANDED, CARRYING])
def test_no_velocity_exceeds_its_limits(limits):
    random = np.random.default_rng(0)
    for _ in range(300):
        x, y, turn = velocity_to(random.uniform(-3, 3, 3), random.uniform(-3, 3, 3), limits)
        assert -limits.backward <= x <= limits.forward
        assert abs(y) <= limits.sideways and abs(turn) <= limits.turning


@pytest.mark.parametrize("goal", [(1.0, 0.0, 0.0), (-0.5, 0.4, 2.5), (0.1, -0.3, -3.0), (0.0, 0.0, 0.5)])
def test_an_ideal_walker_arrives_at_the_pose(goal):
    pose, goal = np.zeros(3), np.array(goal)
    for _ in range(round(30 / DT)):
        pose = walked(pose, velocity_to(pose, goal, EMPTY_HANDED))
    assert np.linalg.norm(pose[:2] - goal[:2]) < 0.01
    assert abs(wrapped(pose[2] - goal[2])) < 0.02


def test_a_way_is_followed_corner_by_corner():
    corners = [np.array(c) for c in ((2.0, 0.0), (2.0, 2.0), (0.0, 2.0))]
    follower, pose, trace = WayFollower(corners, math.pi / 2), np.zeros(3), []
    tolerance = Tolerance(0.08, 0.12)
    while not follower.is_there(pose, tolerance):
        pose = walked(pose, follower.velocity(pose, EMPTY_HANDED))
        trace.append(pose.copy())
        assert len(trace) * DT < 60.0
    for corner in corners:
        assert min(np.linalg.norm(p[:2] - corner) for p in trace) < 0.2
    assert not follower.is_there(pose + [0.0, 0.0, 0.3], tolerance)


def test_slower_is_slower_everywhere():
    fast, slow = velocity_to(np.zeros(3), np.array([5.0, 5.0, 0.3]), EMPTY_HANDED), velocity_to(
        np.zeros(3), np.array([5.0, 5.0, 0.3]), EMPTY_HANDED.scaled(0.5))  # fmt: skip
    assert np.linalg.norm(slow[:2]) == pytest.approx(0.5 * np.linalg.norm(fast[:2]))
