"""What a known thing hides of others in an image: behind it are lines and corners that are not theirs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from perception.camera_model import CameraModel

FEWEST = 3  # corners before the camera, for an outline


@dataclass(frozen=True, eq=False)
class Outline:
    """A thing as a camera sees it.

    Attributes:
        hull: (M, 1, 2) px float32 around it.
        distance: m from the camera to its middle.
    """

    hull: np.ndarray
    distance: float

    @classmethod
    def of_box(cls, corners: np.ndarray, camera: CameraModel) -> Outline | None:
        """Of a box by its corners (8, 3) m in the camera's frame; None where it is not before the camera."""
        pixels, valid = camera.project(corners)
        if valid.sum() < FEWEST:
            return None
        return cls(cv2.convexHull(pixels[valid].astype(np.float32)), float(np.linalg.norm(corners.mean(axis=0))))

    def hides(self, points: np.ndarray, pixels: np.ndarray, *, margin: float = 0.0) -> np.ndarray:
        """(N,) whether it is before points.

        Args:
            points: (N, 3) m in the camera's frame.
            pixels: (N, 2) px of them; NaN where they are not in view, which nothing hides.
            margin: px beside it that count too.
        """
        hidden = (np.linalg.norm(points, axis=1) > self.distance) & np.isfinite(pixels).all(axis=1)
        for k in np.flatnonzero(hidden):
            hidden[k] = cv2.pointPolygonTest(self.hull, pixels[k].tolist(), True) > -margin
        return hidden
