"""Poses against the truth: half turns are nothing, and covariances are held to what they say."""

import numpy as np
import pytest

from humanoid_control.transforms import planar, rotation_of_vector, transform
from perception.evaluation.comparison import CHI2_90, CHI2_99, GROSS, compare
from perception.keypoints import half_turned


def off_by(truth: np.ndarray, error: np.ndarray) -> np.ndarray:
    return transform(rotation_of_vector(error[3:]) @ truth[:3, :3], truth[:3, 3] + error[:3])


@pytest.fixture
def covariance():
    root = np.random.default_rng(3).normal(size=(6, 6)) * np.repeat([0.004, 0.01], 3)[:, None]
    return root @ root.T


def test_errors_of_an_honest_covariance_lie_in_its_regions_as_often_as_they_should(covariance):
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(covariance)
    inside = []
    for _ in range(1500):
        truth = planar(*rng.uniform(-1, 1, 2), rng.uniform(-3, 3), 0.7)
        pose = off_by(truth, root @ rng.normal(size=6))
        compared = compare(half_turned(pose) if rng.random() < 0.5 else pose, covariance, truth)
        inside.append((compared.nees <= CHI2_90, compared.nees <= CHI2_99))
    shares = np.mean(inside, axis=0)
    assert abs(shares[0] - 0.90) < 0.02 and abs(shares[1] - 0.99) < 0.01


def test_position_and_angle_are_those_of_the_nearer_pose(covariance):
    truth = planar(0.5, 0.1, 0.3, 0.7)
    compared = compare(half_turned(off_by(truth, np.array([0.003, 0, 0.004, 0, 0, 0.02]))), covariance, truth)
    assert compared.position == pytest.approx(0.005) and compared.angle == pytest.approx(0.02)


def test_a_tilt_counts_as_an_angle_but_not_against_the_covariance(covariance):
    truth = planar(0.5, 0.1, 0.3, 0.7)
    compared = compare(off_by(truth, np.array([0, 0, 0, 0.05, 0, 0])), covariance, truth)
    assert compared.angle == pytest.approx(0.05)
    assert compared.nees < 1e-3 * compare(off_by(truth, np.array([0, 0, 0, 0, 0, 0.05])), covariance, truth).nees


def test_a_gross_error_is_one_however_unsure_the_pose_says_it_is():
    truth, error = planar(0.5, 0.0, 0.0, 0.7), np.array([1.5 * GROSS, 0, 0, 0, 0, 0])
    sure, unsure = np.diag(np.repeat([0.01, 0.02], 3) ** 2), np.diag(np.repeat([0.05, 0.02], 3) ** 2)
    owned = compare(off_by(truth, error), unsure, truth)
    assert owned.is_gross and owned.nees < CHI2_99
    assert compare(off_by(truth, error), sure, truth).is_gross
    assert not compare(off_by(truth, 0.4 * error), sure * 1e-6, truth).is_gross
    assert compare(truth, unsure, truth).deviation == pytest.approx(0.05)
