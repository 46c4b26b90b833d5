"""Pictures of what went wrong: cut out of camera images, with the truth and the estimate drawn in."""

from __future__ import annotations

import cv2
import numpy as np

from perception.errors import PerceptionError

EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
TRUTH_COLOUR, ESTIMATE_COLOUR = (40, 220, 90), (255, 70, 60)  # red, green, blue
MARGIN = 0.45  # of the larger side, around what is drawn
SMALLEST = (200, 150)  # px that are shown at least
WIDTH = 420  # px of a picture
JPEG_QUALITY = 82


def draw_case(rgb: np.ndarray, truth: np.ndarray | None, estimate: np.ndarray | None) -> bytes:
    """A JPEG of the part of an image where something went wrong.

    Args:
        rgb: (H, W, 3) uint8.
        truth: (8, 2) px corners of the tote, NaN where behind the camera; None where there is none.
        estimate: (8, 2) px, as estimated; None where nothing was.

    Raises:
        PerceptionError: it cannot be encoded.
    """
    height, width = rgb.shape[:2]
    known = [corners[np.isfinite(corners).all(axis=1)] for corners in (truth, estimate) if corners is not None]
    points = np.clip(np.vstack([*known, np.empty((0, 2))]), (0, 0), (width - 1, height - 1))
    if not len(points):
        points = np.array([[0.0, 0.0], [width - 1, height - 1]])
    low, high = points.min(axis=0), points.max(axis=0)
    side = np.maximum(high - low + MARGIN * (high - low).max(), SMALLEST)
    side = np.maximum(side, side[::-1] * (4 / 3, 3 / 4))  # four to three
    side = np.minimum(side, (width, height))
    corner = np.clip((low + high) / 2 - side / 2, 0, np.array([width, height]) - side)
    left, top = corner.astype(int)
    right, bottom = (corner + side).astype(int)
    scale = WIDTH / (right - left)
    picture = cv2.resize(rgb[top:bottom, left:right], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    for corners, colour in ((truth, TRUTH_COLOUR), (estimate, ESTIMATE_COLOUR)):
        if corners is not None:
            _draw_box(picture, (corners - (left, top) + 0.5) * scale - 0.5, colour)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise PerceptionError("a picture cannot be encoded as JPEG")
    return data.tobytes()


def _draw_box(picture: np.ndarray, corners: np.ndarray, colour: tuple[int, int, int]) -> None:
    shift = 4  # fractions of a pixel that OpenCV draws with
    for first, second in EDGES:
        ends = corners[[first, second]]
        if np.isfinite(ends).all() and np.abs(ends).max() < 1e4:
            start, end = (tuple(int(x) for x in np.round(point * 2**shift)) for point in ends)
            cv2.line(picture, start, end, colour, 1, cv2.LINE_AA, shift)
