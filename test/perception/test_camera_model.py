"""Projection, its inverse and its derivative, with a lens that bends."""

import numpy as np
import pytest

from humanoid_control.errors import ConfigurationError
from perception.camera_model import CameraModel

MATRIX = np.array([[469.0, 0.0, 322.0], [0.0, 471.0, 177.5], [0.0, 0.0, 1.0]])
BENT = np.array([-0.28, 0.08, 0.001, -0.0015, 0.01])


def camera(distortion=BENT):
    return CameraModel("head_camera", 640, 360, MATRIX, distortion)


def points_in_view(rng, model, count=500):
    pixels = rng.uniform([0, 0], [model.width - 1, model.height - 1], (count, 2))
    return model.unproject(pixels) * rng.uniform(0.2, 3.0, (count, 1)), pixels


def test_a_pixel_comes_back_from_its_ray():
    model = camera()
    points, pixels = points_in_view(np.random.default_rng(0), model)
    projected, valid = model.project(points)
    assert valid.all()
    assert np.abs(projected - pixels).max() < 1e-6


def test_rays_have_unit_length():
    points, _ = points_in_view(np.random.default_rng(1), camera())
    rays = camera().unproject(camera().project(points)[0])
    assert np.linalg.norm(rays, axis=1) == pytest.approx(1.0)


def test_the_derivative_is_that_of_finite_differences():
    model = camera()
    points, _ = points_in_view(np.random.default_rng(2), model, 100)
    jacobian, step = model.projection_jacobian(points), 1e-6
    for axis in range(3):
        offset = np.eye(3)[axis] * step
        difference = (model.project(points + offset)[0] - model.project(points - offset)[0]) / (2 * step)
        assert np.abs(difference - jacobian[:, :, axis]).max() < 1e-3 * np.abs(jacobian).max()


def test_what_is_behind_or_folded_back_by_the_lens_is_not_seen():
    model = CameraModel("c", 640, 360, MATRIX, np.array([-0.4, 0.0, 0.0, 0.0, 0.0]))
    pixels, valid = model.project(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [1.5, 0.0, 1.0]]))
    assert valid.tolist() == [True, False, False]
    assert np.isnan(pixels[1:]).all()
    assert not model.inside(pixels[1:]).any()


def test_a_pixel_no_point_is_seen_at_has_no_ray():
    model = CameraModel("c", 640, 360, MATRIX, np.array([-0.4, 0.0, 0.0, 0.0, 0.0]))
    assert np.isnan(model.unproject(np.array([[5000.0, 0.0]]))).any()


def test_another_size_sees_the_same_points_at_the_same_share_of_the_image():
    model = camera()
    points, pixels = points_in_view(np.random.default_rng(3), model)
    scaled, _ = model.scaled(1280, 720).project(points)
    assert np.abs((scaled + 0.5) / [1280, 720] - (pixels + 0.5) / [640, 360]).max() < 1e-6


def test_camera_info_gives_the_same_camera_again():
    model = camera()
    fields = model.camera_info_fields()
    wanted = ("width", "height", "distortion_model", "d", "k")
    again = CameraModel.from_camera_info("head_camera", **{key: fields[key] for key in wanted})
    assert again.matches(model)
    assert not camera(np.zeros(5)).matches(model)


@pytest.mark.parametrize(("change", "words"), [
    ({"k": [0.0] * 9}, "fx, fy > 0"), ({"distortion_model": "fisheye"}, "plumb_bob"), ({"k": [469.0] * 8}, "exactly 9"),
    ({"d": [np.nan] * 5}, "distortion"), ({"width": 0}, "0 x 360"), ({"width": 100}, "principal point"),
])  # fmt: skip
def test_camera_info_that_cannot_be_is_refused(change, words):
    fields = {"width": 640, "height": 360, "distortion_model": "plumb_bob", "d": [0.0] * 5, "k": MATRIX.ravel()} | change
    with pytest.raises(ConfigurationError, match=words):
        CameraModel.from_camera_info("head_camera", **fields)
