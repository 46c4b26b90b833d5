"""Figures of a detector, and its calibration."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cv2")

from humanoid_control.transforms import rotation_of_vector, rotation_x, rotation_z, transform  # noqa: E402
from perception.detector import EVIDENCE  # noqa: E402
from perception.keypoints import half_turned  # noqa: E402
from perception.training.measure import Matches, _factors, _logistic, figures, pose_error  # noqa: E402


def matches(count: int = 400, *, scale: float = 1.0, false_alarms: int = 0) -> Matches:
    """Errors drawn from what their covariance says, times `scale`."""
    rng = np.random.default_rng(0)
    errors = rng.normal(0.0, 0.004 * scale, (count, 6))
    found = np.arange(count) % 10 != 0
    return Matches(
        camera=np.arange(count) % 4, distance=rng.uniform(0.3, 1.4, count), seen_share=np.ones(count),
        framed_share=np.ones(count),
        found=found, position_error=np.where(found, np.linalg.norm(errors[:, :3], axis=1), np.nan),
        angle_error=np.where(found, np.linalg.norm(errors[:, 3:], axis=1), np.nan),
        nees=np.where(found, (errors**2).sum(axis=1) / 0.004**2, np.nan), kind_right=found, score=np.ones(count),
        corner_errors=rng.normal(size=(count, 8, 2)), corner_visible=np.ones((count, 8), bool),
        proof=np.zeros((count, EVIDENCE)), evidence=np.zeros((0, EVIDENCE)),
        evidence_right=np.zeros(0, bool), evidence_false=np.zeros(0, bool), images=200, false_alarms=((0, "shard", 0, 0.9),) * false_alarms, worst=(),
    )  # fmt: skip


def test_half_a_turn_is_no_error():
    rng = np.random.default_rng(1)
    for _ in range(20):
        truth = transform(rotation_x(2.0) @ rotation_z(rng.uniform(-3, 3)), rng.uniform(0.2, 1.0, 3))
        off = rng.normal(0.0, 0.02, 6)
        seen = transform(rotation_of_vector(off[3:]) @ truth[:3, :3], truth[:3, 3] + off[:3])
        for pose in (seen, half_turned(seen)):
            assert np.allclose(pose_error(pose, truth), off, atol=1e-9)


def test_figures_tell_recall_false_alarms_and_how_honest_covariances_are():
    honest = figures(matches(false_alarms=1))
    assert honest["recall_clear"] == pytest.approx(0.9) and honest["false_alarms_per_200_images"] == 1.0
    assert honest["all_found"]["in_90_percent_region"] == pytest.approx(0.9, abs=0.04)
    assert honest["by_camera"]["head_camera"]["count"] > 0
    boastful = figures(matches(scale=3.0))
    assert boastful["all_found"]["in_90_percent_region"] < 0.4
    assert boastful["all_found"]["mm_median"] == pytest.approx(3 * honest["all_found"]["mm_median"], rel=0.01)


def test_gross_error_that_its_covariance_owns_up_to_is_told_apart():
    usual = matches()
    position, nees = usual.position_error.copy(), usual.nees.copy()
    position[[1, 2]], nees[1], nees[2] = 0.1, 5.0, 50.0
    told = figures(replace(usual, position_error=position, nees=nees))["all_found"]
    assert told["over_60_mm"] == 2 and told["over_60_mm_not_owned"] == 1


def test_evidence_that_tells_right_from_wrong_gets_the_weight():
    rng = np.random.default_rng(2)
    evidence = rng.normal(size=(2000, EVIDENCE))
    likely = 1 / (1 + np.exp(-(2.0 * evidence[:, 0] - 1.0 * evidence[:, 3] + 0.5)))
    weights = _logistic(evidence, rng.random(2000) < likely)
    assert np.allclose(weights, [2.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.5], atol=0.25)


def test_evidence_that_tells_large_errors_from_small_ones_makes_covariances_larger():
    rng = np.random.default_rng(3)
    evidence = rng.normal(0.0, 1.0, (4000, EVIDENCE))
    nees = rng.chisquare(6, 4000) * np.exp(1.2 * evidence[:, 2])
    weights, factors = _factors(evidence, nees)
    assert weights == pytest.approx([0.0, 0.0, 1.2, 0.0, 0.0, 0.0, 0.0], abs=0.15)
    covered = nees / factors < np.percentile(nees / factors, 90)
    large = evidence[:, 2] > 1.0
    assert covered[large].mean() == pytest.approx(0.9, abs=0.05)
