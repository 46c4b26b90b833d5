"""Windows of an image around a tote, turned upright: what the corner network looks at.

A window is a rectangle of the image with a middle, a width and an angle. It is turned so that what is up in the world is up
in the crop (wrist cameras lie on their sides when a hand grips), which leaves the network one thing less to learn. Pixel
centres are at integers, in images and in crops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

CROP_WIDTH, CROP_HEIGHT = 128, 96
ASPECT = CROP_WIDTH / CROP_HEIGHT
MARGIN = 1.25  # a window's width over that of the box of the corners in it
OVERHANG = 0.10  # of the image's size: how far beyond its edges corners count for a box
SMALLEST_WINDOW = 24.0  # px


@dataclass(frozen=True)
class CropWindow:
    """Where in an image a crop is taken.

    Attributes:
        centre: (2,) px.
        width: px, along the crop's rows; its height follows from `ASPECT`.
        angle: rad, by which the crop is turned against the image, from x towards y.
    """

    centre: np.ndarray
    width: float
    angle: float

    def image_from_crop(self, width: int = CROP_WIDTH, height: int = CROP_HEIGHT) -> np.ndarray:
        """(2, 3) matrix that takes crop pixels (x, y, 1) to image pixels."""
        scale = self.width / width
        cos, sin = scale * math.cos(self.angle), scale * math.sin(self.angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        return np.column_stack([turn, self.centre - turn @ ((width - 1) / 2, (height - 1) / 2)])

    def grown(self, share: float) -> CropWindow:
        """The same window, `share` times as large."""
        return CropWindow(self.centre, share * self.width, self.angle)


class ImagePyramid:
    """One image at full, half, quarter ... size, each made when first asked for.

    Args:
        rgb: (H, W, 3) uint8.
    """

    def __init__(self, rgb: np.ndarray) -> None:
        self._levels = [rgb]

    def level(self, index: int) -> np.ndarray:
        """The image at 1 / 2**index of its size."""
        while len(self._levels) <= index:
            last = self._levels[-1]
            size = max(last.shape[1] // 2, 1), max(last.shape[0] // 2, 1)
            # An odd row or column is left out, so that a pixel of the next level is exactly four of this one.
            even = last[: max(2 * size[1], 1), : max(2 * size[0], 1)]
            self._levels.append(cv2.resize(even, size, interpolation=cv2.INTER_AREA))
        return self._levels[index]

    def cut(self, window: CropWindow, width: int = CROP_WIDTH, height: int = CROP_HEIGHT) -> np.ndarray:
        """(height, width, 3) uint8 what is in a window; black outside the image."""
        image_from_crop = window.image_from_crop(width, height)
        index = max(int(math.floor(math.log2(max(window.width / width, 1.0)))), 0)
        share = 0.5**index
        level_from_crop = share * image_from_crop
        level_from_crop[:, 2] += 0.5 * share - 0.5
        return cv2.warpAffine(
            self.level(index), level_from_crop, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        )


def upright_angle(centre: np.ndarray, matrix: np.ndarray, up_in_camera: np.ndarray | None) -> float:
    """Angle in rad by which a window at a pixel is turned so that up in the world is up in it; 0 where up is not known.

    Args:
        centre: (2,) px.
        matrix: (3, 3) of the camera.
        up_in_camera: (3,) unit vector, or None.
    """
    if up_in_camera is None:
        return 0.0
    ray = (np.asarray(centre) - matrix[:2, 2]) / matrix[[0, 1], [0, 1]]
    direction = (up_in_camera[:2] - ray * up_in_camera[2]) * matrix[[0, 1], [0, 1]]  # px a metre upwards moves, times the depth
    if direction @ direction < 1e-12:
        return 0.0
    return math.atan2(direction[0], -direction[1])


def box_of(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(4,) px left, top, right, bottom of the box of pixels (N, 2), none NaN, no further out of the image than `OVERHANG`."""
    size = np.array(size, float)
    clipped = np.clip(pixels, -0.5 - OVERHANG * size, (1 + OVERHANG) * size - 0.5)
    return np.concatenate([clipped.min(axis=0), clipped.max(axis=0)])


def overlaps_of(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(K,) what a box (4,) has in common with others (K, 4), over what both cover together."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = np.clip(sides, 0.0, None).prod(axis=1)
    return common / np.maximum((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - common, 1e-9)


def window_of_box(box: np.ndarray, matrix: np.ndarray, up_in_camera: np.ndarray | None) -> CropWindow:
    """The window around an upright box (4,) of an image, px."""
    centre = 0.5 * (box[:2] + box[2:])
    angle = upright_angle(centre, matrix, up_in_camera)
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    w, h = box[2:] - box[:2]
    return _window(centre, cos * w + sin * h, sin * w + cos * h, angle)


def window_of_corners(
    pixels: np.ndarray, size: tuple[int, int], matrix: np.ndarray, up_in_camera: np.ndarray | None
) -> CropWindow:
    """The window around corners (N, 2) px, none NaN, in an image of `size` (width, height)."""
    box = box_of(pixels, size)
    angle = upright_angle(0.5 * (box[:2] + box[2:]), matrix, up_in_camera)
    limits = np.array(size, float)
    clipped = np.clip(pixels, -0.5 - OVERHANG * limits, (1 + OVERHANG) * limits - 0.5)
    cos, sin = math.cos(angle), math.sin(angle)
    image_from_upright = np.array([[cos, -sin], [sin, cos]])
    upright = clipped @ image_from_upright  # the inverse of a turn is its transpose
    low, high = upright.min(axis=0), upright.max(axis=0)
    return _window(image_from_upright @ (0.5 * (low + high)), high[0] - low[0], high[1] - low[1], angle)


def _window(centre: np.ndarray, width: float, height: float, angle: float) -> CropWindow:
    return CropWindow(centre, max(MARGIN * max(width, height * ASPECT), SMALLEST_WINDOW), angle)
