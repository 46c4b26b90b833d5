"""Mounting errors from views of targets: found where the views tell them, and refused where they do not."""

import numpy as np
import pytest

from humanoid_control.errors import ConfigurationError
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import inverse, rotation_of_vector, transform
from perception.camera_model import CameraModel
from perception.camera_rig import mounting_transform
from perception.errors import PerceptionError
from perception.mounting import MountingEstimate, TargetView, _residual, estimate_mounting, load_mounting, rig_from_file, save_mounting

CAMERA = CameraModel("head_camera", 1280, 720, np.array([[938.0, 0, 639.5], [0, 938.0, 359.5], [0, 0, 1]]))
CAMERAS = {"head_camera": CAMERA}
TAG = 0.024 * np.array([(-1, 1, 0), (1, 1, 0), (1, -1, 0), (-1, -1, 0)], float)
TRUTH = np.array([0.004, -0.003, 0.005, 0.008, -0.006, 0.004])
CUFF = np.repeat([2e-3, 0.02], 3)


def view(rng, *, mounting=TRUTH, offset=np.zeros(6), spread=1.0, noise=0.1, kinematics=1e-4):
    """One tag before the camera, anywhere and turned anyhow within `spread`."""
    place = np.array([0.0, 0.0, 0.4]) + spread * rng.uniform([-0.12, -0.07, -0.15], [0.12, 0.07, 0.15])
    facing = rotation_of_vector(spread * rng.uniform(-0.7, 0.7, 3)) @ np.diag([1.0, -1.0, -1.0])
    base_from_nominal = transform(rotation_of_vector(np.array([1.8, -0.9, 0.9])), np.array([0.05, 0.0, 0.45]))
    base_from_target = base_from_nominal @ mounting_transform(TRUTH) @ transform(facing, place)
    slip = transform(rotation_of_vector(rng.normal(0, kinematics, 3)), rng.normal(0, kinematics, 3))
    actual = base_from_target @ slip @ mounting_transform(offset)
    camera_from_target = inverse(base_from_nominal @ mounting_transform(mounting)) @ actual
    points = TAG @ camera_from_target[:3, :3].T + camera_from_target[:3, 3]
    pixels = CAMERA.project(points)[0] + noise * rng.normal(size=(4, 2))
    return TargetView("head_camera", "left", TAG, pixels, max(noise, 0.05), base_from_nominal, base_from_target)


def estimate(views):
    return estimate_mounting(views, CAMERAS, targets={"left": CUFF})["head_camera"]


def test_derivatives_are_those_of_finite_differences():
    one, step = view(np.random.default_rng(0)), 1e-6
    mounting, offset = TRUTH * 0.5, np.array([1e-3, 0, -1e-3, 0.01, 0.0, -0.01])
    _, by_camera, by_target = _residual(one, CAMERA, mounting, offset)

    def moved(value, delta):
        pose = mounting_transform(value)
        return transform(rotation_of_vector(delta[3:]) @ pose[:3, :3], pose[:3, 3] + delta[:3])

    def vector(pose):
        from humanoid_control.transforms import rotation_vector

        return np.concatenate([pose[:3, 3], rotation_vector(pose[:3, :3])])

    for axis in range(6):
        delta = step * np.eye(6)[axis]
        for derivative, change in ((by_camera, lambda d: (vector(moved(mounting, d)), offset)),
                                   (by_target, lambda d: (mounting, vector(moved(offset, d))))):  # fmt: skip
            plus, minus = (_residual(one, CAMERA, *change(sign * delta))[0] for sign in (1, -1))
            assert np.abs((plus - minus) / (2 * step) - derivative[:, axis]).max() < 1e-3 * np.abs(derivative).max()


def test_the_error_is_found_though_the_target_sits_off():
    rng = np.random.default_rng(1)
    offset = np.array([1e-3, -2e-3, 1e-3, 0.015, -0.01, 0.01])
    found = estimate([view(rng, offset=offset) for _ in range(40)])
    assert not found.problem
    assert np.abs(found.error - TRUTH)[:3].max() < 5e-4
    assert np.abs(found.error - TRUTH)[3:].max() < 1e-3


def test_the_covariance_is_that_of_the_errors():
    nees = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        offset = CUFF * rng.normal(size=6) * 0.7
        found = estimate([view(rng, offset=offset, kinematics=3e-4) for _ in range(20)])
        error = found.error - TRUTH
        nees.append(error @ np.linalg.solve(found.covariance, error))
    assert 2.0 < np.mean(nees) < 8.0


def test_a_wrong_tag_among_the_views_is_left_out():
    rng = np.random.default_rng(2)
    views = [view(rng) for _ in range(20)]
    views += [view(rng, mounting=np.array([0.05, 0.0, 0.0, 0.1, 0.0, 0.0]))]
    found = estimate(views)
    assert (found.outliers, found.views, found.problem) == (1, 20, "")
    assert np.abs(found.error - TRUTH)[:3].max() < 7e-4


def test_views_that_do_not_tell_all_are_refused():
    rng = np.random.default_rng(3)
    assert "do not tell its" in estimate([view(rng, spread=0.0) for _ in range(20)]).problem
    assert "3 views" in estimate([view(rng) for _ in range(3)]).problem


def test_views_that_contradict_each_other_are_refused():
    rng = np.random.default_rng(4)
    views = [view(rng, mounting=TRUTH + 0.03 * rng.normal(size=6)) for _ in range(20)]
    assert estimate(views).problem


def test_unknown_targets_are_refused():
    with pytest.raises(PerceptionError, match="target 'left'.*there are targets board"):
        estimate_mounting([view(np.random.default_rng(5))], CAMERAS, targets={"board": CUFF})


def test_the_file_gives_the_same_again(tmp_path):
    rng = np.random.default_rng(6)
    found = estimate([view(rng) for _ in range(20)])
    save_mounting(tmp_path / "cameras.yaml", {"head_camera": found})
    again = load_mounting(tmp_path / "cameras.yaml")["head_camera"]
    assert np.array_equal(again.error, found.error)
    assert np.array_equal(again.covariance, found.covariance)


def test_a_rig_takes_the_file_over(tmp_path):
    rng = np.random.default_rng(7)
    found = estimate([view(rng) for _ in range(20)])
    save_mounting(tmp_path / "cameras.yaml", {"head_camera": found})
    rig, uncalibrated = rig_from_file(RobotModel.load(), ("head_camera", "left_wrist_camera"), tmp_path / "cameras.yaml")
    assert uncalibrated == ("left_wrist_camera",)
    assert np.array_equal(rig.mounting["head_camera"], found.error)
    assert np.array_equal(rig.mounting_covariance["head_camera"], found.covariance)


def test_a_file_may_tell_of_more_cameras_than_are_used_and_none_need_be_given(tmp_path):
    save_mounting(tmp_path / "cameras.yaml", {"head_camera": MountingEstimate(TRUTH, np.eye(6))})
    rig, uncalibrated = rig_from_file(RobotModel.load(), ("left_wrist_camera",), tmp_path / "cameras.yaml")
    assert set(rig.cameras) == set(uncalibrated) == {"left_wrist_camera"}
    assert rig_from_file(RobotModel.load(), ("head_camera",))[1] == ("head_camera",)
    with pytest.raises(ConfigurationError, match="has no camera 'tail_camera'"):
        rig_from_file(RobotModel.load(), ("tail_camera",), tmp_path / "cameras.yaml")


@pytest.mark.parametrize(("text", "words"), [
    ("cameras: {}", "version"), ("[", "no YAML"), ("version: 1\ncameras: {head_camera: {error: [1]}}", "covariance"),
    ("version: 1\ncameras: {head_camera: {error: [1], covariance: [[1]]}}", "6 numbers"),
])  # fmt: skip
def test_files_that_are_none_are_refused(tmp_path, text, words):
    (tmp_path / "cameras.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        load_mounting(tmp_path / "cameras.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_mounting(tmp_path / "none.yaml")
