"""Corners of tags to parts of a pixel, in images drawn for it."""

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from humanoid_control.simulation.tags import tag_pattern  # noqa: E402
from perception.tag_detector import MIN_SIDE, TagDetector, refine_corners  # noqa: E402

OVERSAMPLED = 8
MARGIN = 1 / 8  # of a tag's side that is white around it, as `tag_pattern` draws it


def picture(corners: np.ndarray, *, tag_id: int = 3, noise: float = 2.0, gain: float = 0.8, seed: int = 0) -> np.ndarray:
    """(240, 320, 3) uint8 of a tag whose black square has corners (4, 2) px, as a camera would see it."""
    big = np.full((240 * OVERSAMPLED, 320 * OVERSAMPLED), 120, np.uint8)
    pattern = tag_pattern(tag_id)[..., 0]
    side = pattern.shape[0] / (1 + 2 * MARGIN)
    source = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32) * side + MARGIN * side - 0.5
    target = ((corners + 0.5) * OVERSAMPLED - 0.5).astype(np.float32)
    transform = cv2.getPerspectiveTransform(source, target)
    size = big.shape[1], big.shape[0]
    mask = cv2.warpPerspective(np.full_like(pattern, 255), transform, size)
    big = np.where(mask > 127, cv2.warpPerspective(pattern, transform, size), big)
    grey = cv2.resize(big, (320, 240), interpolation=cv2.INTER_AREA).astype(float)
    grey = 20 + gain * grey + np.random.default_rng(seed).normal(0.0, noise, grey.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def square(side: float, angle: float, *, slant: float = 1.0, middle=(160.3, 119.6)) -> np.ndarray:
    """(4, 2) px, clockwise from the tag's top left."""
    points = side / 2 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float) * (1.0, slant)
    turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    return points @ turn.T + middle


@pytest.mark.parametrize("side, most", [(18.0, 0.25), (30.0, 0.12), (60.0, 0.06), (120.0, 0.05)])
def test_corners_are_found_to_parts_of_a_pixel(side, most):
    errors, found = [], 0
    for seed, angle in enumerate(np.linspace(0.0, 1.5, 9)):
        truth = square(side, angle)
        seen = TagDetector().detect(picture(truth, seed=seed))
        if seen:
            found += 1
            assert seen[0].id == 3
            errors.append(seen[0].pixels - truth)
    assert found >= 8
    assert np.linalg.norm(errors, axis=2).max() < 3 * most and np.median(np.linalg.norm(errors, axis=2)) < most
    assert np.abs(np.mean(errors, axis=(0, 1))).max() < most / 2  # no shift that all corners share


def test_a_slant_does_not_draw_edges_to_the_bits_beside_them():
    for angle in (0.0, 0.4, 1.0):
        truth = square(48.0, angle, slant=0.4)
        (seen,) = TagDetector().detect(picture(truth))
        assert np.linalg.norm(seen.pixels - truth, axis=1).max() < 0.4


def test_what_covers_a_part_of_an_edge_does_not_bend_it():
    truth = square(60.0, 0.0)
    image = picture(truth)
    x, y = np.round(truth[0] + 0.4 * (truth[1] - truth[0])).astype(int)
    image[y - 12 : y + 2, x - 4 : x + 4] = 30  # a finger over a seventh of the upper edge
    refined = refine_corners(image[..., 0], truth[None] + 0.4)[0]
    assert np.linalg.norm(refined - truth, axis=1).max() < 0.2


def test_no_edges_no_corners():
    assert not np.isfinite(refine_corners(np.full((240, 320), 90, np.uint8), square(40.0, 0.2)[None])).any()
    assert TagDetector().detect(np.full((240, 320, 3), 90, np.uint8)) == []


def test_too_small_a_tag_is_none():
    assert TagDetector().detect(picture(square(0.8 * MIN_SIDE, 0.1))) == []
