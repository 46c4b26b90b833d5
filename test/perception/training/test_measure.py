"""Figures of a detector, and its calibration."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("cv2")

from humanoid_control.mission.load_carriers import LOAD_CARRIERS  # noqa: E402
from humanoid_control.transforms import rotation_of_vector, rotation_x, rotation_z, transform  # noqa: E402
from perception.detector import EVIDENCE, covariance_factor  # noqa: E402
from perception.keypoints import half_turned, tote_corners  # noqa: E402
from perception.training.measure import Matches, _covariance_weights, _logistic, _matching, figures, pose_error  # noqa: E402


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
        evidence_right=np.zeros(0, bool), evidence_false=np.zeros(0, bool), images=200, doubles=0, false_alarms=((0, "shard", 0, 0.9),) * false_alarms, worst=(),
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


def test_nine_in_ten_are_in_the_region_whatever_the_evidence_and_however_long_the_tail():
    rng = np.random.default_rng(3)
    evidence = rng.normal(0.0, 1.0, (3000, EVIDENCE))
    gross = np.where(rng.random(3000) < 0.03, 1000.0, 1.0)
    nees = rng.chisquare(6, 3000) * np.exp(1.2 * evidence[:, 2]) * gross
    weights = _covariance_weights(evidence, nees)
    assert weights == pytest.approx([0.0, 0.0, 1.2, 0.0, 0.0, 0.0, 0.0, 0.0], abs=0.25)
    covered = nees / covariance_factor(evidence, weights) < 10.645
    for part in (evidence[:, 2] > 1.0, evidence[:, 2] < -1.0, evidence[:, 0] > 0.0):
        assert covered[part].mean() == pytest.approx(0.9, abs=0.04)


def test_one_of_two_stacked_totes_is_not_told_of_the_other_and_a_second_sight_of_it_is_a_double():
    matrix = np.array([[470.0, 0, 319.5], [0, 470.0, 179.5], [0, 0, 1]])
    upright = np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]])  # optical axes: what is up in the world is -y

    def seen(pose):
        points = tote_corners(LOAD_CARRIERS["klt_3147"]) @ pose[:3, :3].T + pose[:3, 3]
        return points[:, :2] / points[:, 2:] @ matrix[:2, :2] + matrix[:2, 2]

    def detection(pose):
        return SimpleNamespace(camera_from_tote=pose, pixels=seen(pose))

    lower, upper, elsewhere = (transform(upright, np.array(at)) for at in ([0.0, 0.1, 0.8], [0.0, -0.03, 0.8], [-0.9, -0.4, 2.0]))
    labels = SimpleNamespace(totes=SimpleNamespace(image=np.zeros(2, int), camera_from_tote=np.array([upper, lower]),
                                                   corners=np.array([seen(upper), seen(lower)])))  # fmt: skip
    only, again, nothing = detection(lower), detection(lower @ transform(np.eye(3), np.array([0.02, 0.0, 0.0]))), detection(elsewhere)
    matching, near = _matching(labels, 0, [nothing, again, only])
    assert matching[1] is only
    assert [any(one is other for other in near) for one in (nothing, again, only)] == [False, True, True]
    assert 0 not in _matching(labels, 0, [only, nothing])[0]
