"""Samples: labels stay with what they label, however an image is moved."""

import numpy as np
import pytest

pytest.importorskip("cv2")

from perception.crops import CROP_HEIGHT, CROP_WIDTH  # noqa: E402
from perception.errors import PerceptionError  # noqa: E402
from perception.keypoints import CORNERS, MIRROR  # noqa: E402
from perception.training.samples import (  # noqa: E402
    FRAME_HEIGHT,
    FRAME_WIDTH,
    MOST_TOTES,
    WIDE_HEIGHT,
    WIDE_WIDTH,
    CropLabels,
    FrameTotes,
    Prepared,
    crop_sample,
    dirtied,
    frame_sample,
)

CORNER_PIXELS = np.array([(80, 60), (140, 58), (142, 96), (76, 98), (90, 75), (125, 74), (123, 112), (92, 113)], np.float32)


def prepared(image: np.ndarray) -> Prepared:
    """One image whose tote has corners at CORNER_PIXELS."""
    data = Prepared.__new__(Prepared)
    data.crops = data.frames = [image]
    corners = np.full((1, MOST_TOTES, CORNERS, 2), np.nan, np.float32)
    corners[0, 0] = CORNER_PIXELS
    kind = np.full((1, MOST_TOTES), -1)
    kind[0, 0] = 1
    data.frame_totes = FrameTotes(corners, kind, np.full((1, MOST_TOTES), 0.9))
    data.crop_labels = CropLabels(
        CORNER_PIXELS[None], np.ones((1, CORNERS), bool), np.array([1]), np.array([0.9]), np.array([False])
    )
    return data


def spotted(width: int, height: int, corner: int) -> np.ndarray:
    image = np.full((height, width, 3), 20, np.uint8)
    x, y = CORNER_PIXELS[corner].astype(int)
    image[y - 2 : y + 3, x - 2 : x + 3] = (20, 255, 20)
    return image


def middle_of_spot(image: np.ndarray) -> np.ndarray:
    excess = np.clip(image[:, :, 1].astype(float) - image[:, :, 0] - 60, 0, None)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(x * excess).sum(), (y * excess).sum()]) / excess.sum()


@pytest.mark.parametrize("corner", [0, 2, 5])
def test_corner_labels_follow_the_crop(corner, monkeypatch):
    monkeypatch.setattr("perception.training.samples.dirtied", lambda image, rng: image)
    monkeypatch.setattr("perception.training.samples._cover", lambda image, corners, rng: np.zeros(CORNERS, bool))
    monkeypatch.setattr("perception.training.samples.PART_SHARE", 0.0)
    data = prepared(spotted(WIDE_WIDTH, WIDE_HEIGHT, corner))
    mirrored = set()
    for seed in range(12):
        sample = crop_sample(data, 0, np.random.default_rng(seed))
        found = middle_of_spot(sample.image)
        nearest = int(np.argmin(np.linalg.norm(sample.corners - found, axis=1)))
        assert np.allclose(sample.corners[nearest], found, atol=0.7)
        mirrored.add(nearest)
        assert sample.image.shape == (CROP_HEIGHT, CROP_WIDTH, 3) and sample.presence == 1.0 and sample.kind == 1
    assert mirrored == {corner, int(MIRROR[corner])}


def test_boxes_follow_the_frame(monkeypatch):
    monkeypatch.setattr("perception.training.samples.dirtied", lambda image, rng: image)
    data = prepared(spotted(FRAME_WIDTH, FRAME_HEIGHT, 0))
    for seed in range(12):
        sample = frame_sample(data, 0, np.random.default_rng(seed))
        found = middle_of_spot(sample.image)
        left, top, right, bottom = sample.boxes[0]
        assert left - 1 <= found[0] <= right + 1 and top - 1 <= found[1] <= bottom + 1
        assert min(abs(found[0] - left), abs(found[0] - right), abs(found[1] - top), abs(found[1] - bottom)) < 8


def test_crop_of_nothing_teaches_presence_only():
    data = prepared(np.zeros((WIDE_HEIGHT, WIDE_WIDTH, 3), np.uint8))
    data.crop_labels = CropLabels(np.full((1, CORNERS, 2), np.nan, np.float32), np.zeros((1, CORNERS), bool), np.array([-1]),
                                  np.array([0.0]), np.array([False]))  # fmt: skip
    sample = crop_sample(data, 0, np.random.default_rng(0))
    assert sample.presence == 0.0 and not sample.weight.any() and np.isfinite(sample.corners).all()


def test_part_of_a_tote_is_no_tote(monkeypatch):
    monkeypatch.setattr("perception.training.samples.PART_SHARE", 1.0)
    data = prepared(spotted(WIDE_WIDTH, WIDE_HEIGHT, 0))
    for seed in range(5):
        sample = crop_sample(data, 0, np.random.default_rng(seed))
        assert sample.presence == 0.0 and sample.kind == -1 and not sample.weight.any() and not sample.visible.any()
    assert crop_sample(data, 0, np.random.default_rng(0), vary=False).presence == 1.0


def test_dirt_keeps_shape_and_type_and_differs():
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    rng = np.random.default_rng(1)
    dirty = [dirtied(image, rng) for _ in range(30)]
    assert all(d.shape == image.shape and d.dtype == np.uint8 for d in dirty)
    assert len({d.tobytes() for d in dirty}) == 30


def test_folder_without_cut_data_is_refused(tmp_path):
    with pytest.raises(PerceptionError, match="nothing to train on"):
        Prepared(tmp_path)
