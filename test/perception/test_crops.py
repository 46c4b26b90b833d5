"""Windows of an image, turned upright."""

import numpy as np
import pytest

from perception.crops import (
    CROP_HEIGHT,
    CROP_WIDTH,
    MARGIN,
    CropWindow,
    ImagePyramid,
    overlaps_of,
    upright_angle,
    window_of_box,
    window_of_corners,
)

MATRIX = np.array([[470.0, 0, 319.5], [0, 470.0, 179.5], [0, 0, 1]])
SIZE = (640, 360)


def test_crop_shows_a_spot_where_the_window_says():
    for width, angle in ((60.0, 0.3), (128.0, 0.0), (300.0, -1.2), (520.0, 1.6)):
        image = np.zeros((360, 640, 3), np.uint8)
        image[196:205, 296:305] = 255  # around (300, 200)
        window = CropWindow(np.array([310.0, 190.0]), width, angle)
        crop = ImagePyramid(image).cut(window)
        y, x = np.nonzero(crop[:, :, 0] > 127)
        matrix = window.image_from_crop()
        assert np.allclose(matrix[:, :2] @ (x.mean(), y.mean()) + matrix[:, 2], (300, 200), atol=0.012 * width)


def test_up_in_the_world_is_up_in_the_crop():
    rng = np.random.default_rng(1)
    for _ in range(30):
        up = rng.normal(size=3)
        up /= np.linalg.norm(up)
        point = np.array([*rng.uniform(-0.3, 0.3, 2), 1.0])
        pixels = [(MATRIX @ (p / p[2]))[:2] for p in (point, point + 1e-4 * up)]
        window = CropWindow(pixels[0], 100.0, upright_angle(pixels[0], MATRIX, up))
        matrix = window.image_from_crop()
        moved = np.linalg.solve(matrix[:, :2], pixels[1] - pixels[0])
        assert moved[1] < 0 and abs(moved[0]) < 1e-3 * abs(moved[1])


def test_camera_that_looks_straight_up_has_no_upright_and_unknown_up_none_either():
    assert upright_angle(np.array([319.5, 179.5]), MATRIX, np.array([0.0, 0.0, 1.0])) == 0.0
    assert upright_angle(np.array([10.0, 20.0]), MATRIX, None) == 0.0


@pytest.mark.parametrize("up", [None, np.array([0.0, -1.0, 0.0]), np.array([1.0, 0.0, 0.0])])
def test_window_holds_all_corners_in_the_image(up):
    rng = np.random.default_rng(2)
    for _ in range(30):
        corners = rng.uniform((50, 50), (590, 310)) + rng.uniform(-40, 40, (8, 2))
        window = window_of_corners(corners, SIZE, MATRIX, up)
        matrix = window.image_from_crop()
        inside = np.linalg.solve(matrix[:, :2], (corners - matrix[:, 2]).T).T
        assert (inside > 0).all() and (inside < (CROP_WIDTH, CROP_HEIGHT)).all()
        loosest = max(np.ptp(inside[:, 0]) / CROP_WIDTH, np.ptp(inside[:, 1]) / CROP_HEIGHT)
        assert loosest == pytest.approx(1 / MARGIN, abs=0.02)


def test_box_and_corners_of_a_box_make_the_same_window():
    box = np.array([100.0, 80.0, 260.0, 170.0])
    corners = box[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)
    for up in (None, np.array([-1.0, 0.0, 0.0])):
        of_box, of_corners = window_of_box(box, MATRIX, up), window_of_corners(corners, SIZE, MATRIX, up)
        assert np.allclose(of_box.centre, of_corners.centre, atol=2.0)
        assert of_box.width == pytest.approx(of_corners.width, rel=0.06)


def test_overlap_is_of_common_area_over_both():
    box = np.array([0.0, 0.0, 10.0, 10.0])
    others = np.array([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [20.0, 0.0, 30.0, 10.0]])
    np.testing.assert_allclose(overlaps_of(box, others), [1.0, 1 / 3, 0.0])
