"""AprilTags (family 36h11) in one image, through OpenCV."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

MIN_SIDE = 14.0  # px, the shortest side of a tag whose bits are still told apart reliably
# The refinement counts from a pixel's corner and not from its middle. Measured against rendered tags of all sizes it is off
# by this much, in both directions alike.
CORNER_OFFSET = 0.43  # px
CORNER_DEVIATION = 0.12  # px, of a corner that nothing hides


@dataclass(frozen=True, eq=False)
class TagSighting:
    """One tag seen in an image.

    Attributes:
        id: in the family.
        pixels: (4, 2) corners of the black square: top left, top right, bottom right, bottom left of the tag.
        deviation: px, the standard deviation of each coordinate.
    """

    id: int
    pixels: np.ndarray
    deviation: float


class TagDetector:
    """Finds tags; one for each thread."""

    def __init__(self) -> None:
        parameters = cv2.aruco.DetectorParameters()
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_APRILTAG  # lines along edges: 0.1 px; others 0.3 px
        parameters.adaptiveThreshWinSizeMin, parameters.adaptiveThreshWinSizeMax = 5, 45
        parameters.adaptiveThreshWinSizeStep = 20
        parameters.minMarkerPerimeterRate = 4 * MIN_SIDE / 640
        parameters.errorCorrectionRate = 0.3  # more would make tags of patterns that are none
        self._detector = cv2.aruco.ArucoDetector(
            cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11), parameters)  # fmt: skip

    def detect(self, rgb: np.ndarray) -> list[TagSighting]:
        """Returns the tags in an image (H, W, 3) uint8; an id may come more than once."""
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        corners, ids, _ = self._detector.detectMarkers(grey)
        if ids is None:
            return []
        sightings = []
        for tag_id, pixels in zip(ids.ravel(), corners, strict=True):
            pixels = pixels.reshape(4, 2).astype(float) - CORNER_OFFSET
            sides = np.linalg.norm(pixels - np.roll(pixels, 1, axis=0), axis=1)
            if sides.min() >= MIN_SIDE / 2 and sides.max() >= MIN_SIDE:
                sightings.append(TagSighting(int(tag_id), pixels, CORNER_DEVIATION))
        return sightings
