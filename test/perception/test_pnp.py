"""Poses from points: right, and as sure as they are right."""

import time

import numpy as np
import pytest

from humanoid_control.errors import ConfigurationError
from humanoid_control.transforms import rotation_of_vector, rotation_vector, rotation_z
from perception.camera_model import CameraModel
from perception.pnp import solve_pose, solve_tote_pose, warm_up

CAMERA = CameraModel("head_camera", 640, 360, np.array([[469.0, 0, 319.5], [0, 469.0, 179.5], [0, 0, 1]]),
                     np.array([-0.1, 0.02, 0.001, -0.001, 0.0]))  # fmt: skip
CORNERS = np.array([(x, y, z) for z in (0.147, 0.0) for x in (0.099, -0.099) for y in (0.148, -0.148)])
TAG = np.array([(-0.03, 0.03, 0.0), (0.03, 0.03, 0.0), (0.03, -0.03, 0.0), (-0.03, -0.03, 0.0)])
ALL = np.ones(8, bool)
CHI2_6_MEDIAN, CHI2_6_P95 = 5.35, 12.6


def draw_pose(rng, tilt=0.02):
    """Rotation, translation and up of a tote before a camera that looks down."""
    pitch = np.radians(rng.uniform(25, 60))
    level = np.array([[0, -1, 0], [-np.sin(pitch), 0, -np.cos(pitch)], [np.cos(pitch), 0, -np.sin(pitch)]])
    rotation = rotation_of_vector(rng.normal(0, tilt, 3)) @ level @ rotation_z(rng.uniform(-np.pi, np.pi))
    place = np.array([rng.uniform(-0.2, 0.2), rng.uniform(-0.1, 0.1), rng.uniform(0.4, 1.2)])
    return rotation, place, level[:, 2]


def error_of(pose, rotation, place):
    return np.concatenate([pose.camera_from_object[:3, 3] - place,
                           rotation_vector(pose.camera_from_object[:3, :3] @ rotation.T)])  # fmt: skip


@pytest.mark.parametrize("knows_up", [True, False])
def test_without_noise_the_pose_is_exact(knows_up):
    rng = np.random.default_rng(0)
    for _ in range(50):
        rotation, place, up = draw_pose(rng, tilt=0.0)
        pixels, _ = CAMERA.project(CORNERS @ rotation.T + place)
        pose = solve_tote_pose(CORNERS, pixels, np.ones((8, 2)), ALL, CAMERA, up_in_camera=up if knows_up else None)
        assert pose.ok
        assert np.abs(error_of(pose, rotation, place)).max() < 1e-5


@pytest.mark.parametrize("outliers", [0, 1])
@pytest.mark.parametrize("knows_up", [True, False])
def test_the_covariance_is_that_of_the_errors(knows_up, outliers):
    rng, nees = np.random.default_rng(1), []
    for _ in range(300):
        rotation, place, up = draw_pose(rng)
        deviations = rng.uniform(0.3, 2.0, (8, 2))
        pixels = CAMERA.project(CORNERS @ rotation.T + place)[0] + deviations * rng.normal(size=(8, 2))
        pixels[rng.permutation(8)[:outliers]] += rng.normal(0, 80, 2)
        pose = solve_tote_pose(CORNERS, pixels, deviations, ALL, CAMERA, up_in_camera=up if knows_up else None)
        error = error_of(pose, rotation, place)
        nees.append(error @ np.linalg.solve(pose.covariance, error))
        assert np.linalg.norm(error[:3]) < 0.05
    assert 0.6 * CHI2_6_MEDIAN < np.median(nees) < 1.2 * CHI2_6_MEDIAN
    assert np.percentile(nees, 95) < 1.2 * CHI2_6_P95


def test_points_that_are_worse_than_they_claim_widen_the_covariance():
    rng, covered = np.random.default_rng(2), 0
    for _ in range(200):
        rotation, place, up = draw_pose(rng)
        pixels = CAMERA.project(CORNERS @ rotation.T + place)[0] + 3.0 * rng.normal(size=(8, 2))
        pose = solve_tote_pose(CORNERS, pixels, np.ones((8, 2)), ALL, CAMERA, up_in_camera=up)
        error = error_of(pose, rotation, place)
        covered += error @ np.linalg.solve(pose.covariance, error) < CHI2_6_P95
    assert covered > 0.75 * 200  # it would be 40 without


def test_a_point_that_is_grossly_wrong_is_named():
    rotation, place, up = draw_pose(np.random.default_rng(3))
    pixels, _ = CAMERA.project(CORNERS @ rotation.T + place)
    pixels[5] += [70.0, -40.0]
    pose = solve_tote_pose(CORNERS, pixels, np.ones((8, 2)), ALL, CAMERA, up_in_camera=up)
    assert pose.inliers.tolist() == [True] * 5 + [False] + [True] * 2


def test_unused_and_missing_points_do_not_matter():
    rotation, place, up = draw_pose(np.random.default_rng(4), tilt=0.0)
    pixels, _ = CAMERA.project(CORNERS @ rotation.T + place)
    deviations, use = np.ones((8, 2)), ALL.copy()
    pixels[1], use[2], deviations[3] = np.nan, False, np.inf
    pixels[2] = 1e6
    pose = solve_tote_pose(CORNERS, pixels, deviations, use, CAMERA, up_in_camera=up)
    assert pose.ok
    assert np.abs(error_of(pose, rotation, place)).max() < 1e-5


def test_too_few_points_are_no_pose():
    rotation, place, up = draw_pose(np.random.default_rng(5))
    pixels, _ = CAMERA.project(CORNERS @ rotation.T + place)
    for count in range(3):
        assert not solve_tote_pose(CORNERS, pixels, np.ones((8, 2)), np.arange(8) < count, CAMERA, up_in_camera=up).ok


def test_points_in_a_line_or_in_one_place_are_no_confident_pose():
    line = np.column_stack([np.zeros(8), np.linspace(-0.2, 0.2, 8), np.zeros(8)])
    for points in (line, np.zeros((8, 3))):
        pixels, _ = CAMERA.project(points + [0.0, 0.0, 0.8])
        pose = solve_tote_pose(points, pixels, np.ones((8, 2)), ALL, CAMERA)
        assert not pose.ok or np.linalg.eigvalsh(pose.covariance)[-1] > 0.3


def test_pixels_that_are_no_view_of_the_object_are_no_confident_pose():
    rng, confident = np.random.default_rng(6), 0
    for _ in range(100):
        pixels = rng.uniform([0, 0], [640, 360], (8, 2))
        pose = solve_tote_pose(CORNERS, pixels, np.ones((8, 2)), ALL, CAMERA, up_in_camera=np.array([0, -0.7, -np.sqrt(0.51)]))
        confident += pose.ok and pose.reduced_chi2 < 25
    assert confident == 0


def test_a_small_plane_far_away_owns_up_to_its_second_pose():
    """Seen from afar, a plane tilted one way looks like one tilted the other way."""
    rng, nees = np.random.default_rng(7), []
    for _ in range(300):
        tilt = rotation_of_vector(rng.uniform(-0.5, 0.5, 3) * [1, 1, 0])
        rotation = tilt @ np.diag([1.0, -1.0, -1.0]) @ rotation_z(rng.uniform(-np.pi, np.pi))
        place = np.array([0.05, 0.02, rng.uniform(0.8, 1.5)])
        pixels = CAMERA.project(TAG @ rotation.T + place)[0] + 0.4 * rng.normal(size=(4, 2))
        pose = solve_pose(TAG, pixels, deviations=np.full((4, 2), 0.4), use=np.ones(4, bool), camera=CAMERA)
        error = error_of(pose, rotation, place)
        nees.append(error @ np.linalg.solve(pose.covariance, error))
    assert np.percentile(nees, 95) < 2.5 * CHI2_6_P95


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ConfigurationError, match="must be"):
        solve_tote_pose(CORNERS, np.zeros((7, 2)), np.ones((8, 2)), ALL, CAMERA)
    with pytest.raises(ConfigurationError, match="unit vector"):
        solve_tote_pose(CORNERS, np.zeros((8, 2)), np.ones((8, 2)), ALL, CAMERA, up_in_camera=np.zeros(3))


def test_a_solve_takes_less_than_half_a_millisecond():
    warm_up()
    rotation, place, up = draw_pose(np.random.default_rng(8))
    pixels, _ = CAMERA.project(CORNERS @ rotation.T + place)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        solve_tote_pose(CORNERS, pixels, np.ones((8, 2)), ALL, CAMERA, up_in_camera=up)
        times.append(time.perf_counter() - start)
    assert np.median(times) < 5e-4
