"""Frames that cannot be used are named."""

import numpy as np
import pytest

from perception.camera_model import CameraModel
from perception.frame import CameraFrame, FrameCheck

MODEL = CameraModel("head_camera", 64, 36, np.array([[47.0, 0, 31.5], [0, 47.0, 17.5], [0, 0, 1]]))


def picture(seed, low=20, high=220):
    return np.random.default_rng(seed).integers(low, high, (36, 64, 3), dtype=np.uint8)


def frame(stamp_s, rgb):
    return CameraFrame("head_camera", stamp_s, rgb)


def test_good_frames_pass():
    check = FrameCheck(MODEL)
    assert [check.problem(frame(0.1 * i, picture(i))) for i in range(5)] == [""] * 5


@pytest.mark.parametrize(("rgb", "words"), [
    (np.zeros((36, 64, 3), np.uint8), "black"), (np.full((36, 64, 3), 255, np.uint8), "overexposed"),
    (np.zeros((36, 64), np.uint8), "36 x 64 uint8, not 36 x 64 x 3"), (picture(0).astype(float), "float64"),
    (picture(0)[:, :60], "36 x 60 x 3"), (None, "NoneType"),
])  # fmt: skip
def test_bad_images_are_named(rgb, words):
    assert words in FrameCheck(MODEL).problem(frame(0.0, rgb))


def test_another_encoding_is_named():
    assert "encoding bgr8" in FrameCheck(MODEL).problem(CameraFrame("head_camera", 0.0, picture(0), "bgr8"))


def test_time_that_goes_back_is_named():
    check = FrameCheck(MODEL)
    assert check.problem(frame(1.0, picture(0))) == ""
    assert "goes back by 0.100 s" in check.problem(frame(0.9, picture(1)))
    assert "frame before" in check.problem(frame(1.0, picture(1)))
    assert check.problem(frame(1.1, picture(2))) == ""


def test_a_frozen_camera_is_named_though_the_buffer_is_reused():
    check, buffer = FrameCheck(MODEL, frozen_frames=2), picture(0)
    assert [bool(check.problem(frame(float(i), buffer))) for i in range(4)] == [False, False, True, True]
    buffer[:] = picture(1)
    assert check.problem(frame(5.0, buffer)) == ""


def test_black_images_are_black_and_not_frozen():
    check = FrameCheck(MODEL, frozen_frames=1)
    assert all("black" in check.problem(frame(float(i), np.zeros((36, 64, 3), np.uint8))) for i in range(5))


def test_after_forgetting_the_clock_may_start_again():
    check = FrameCheck(MODEL)
    check.problem(frame(9.0, picture(0)))
    check.forget()
    assert check.problem(frame(0.0, picture(1))) == ""
