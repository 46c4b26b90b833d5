"""One tote seen in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detection:
    """A tote found by a network, with its pose.

    Attributes:
        kind: of the load carrier, as in factory files.
        camera: whose image it was.
        stamp_s: when the image was taken, on the robot's clock.
        camera_from_tote: (4, 4) in optical axes; of the two poses that a half turn makes equal, the one of
            `keypoints.canonical`.
        covariance: (6, 6) of translation (m) and rotation vector (rad), in camera axes.
        score: 0 to 1, how sure it is that a tote is there.
        pixels: (8, 2) px, the corners of `keypoints` as the network sees them.
        deviations: (8, 2) px, their standard deviations, calibrated.
        visible: (8,) 0 to 1, how sure it is that a corner is in sight.
    """

    kind: str
    camera: str
    stamp_s: float
    camera_from_tote: np.ndarray
    covariance: np.ndarray
    score: float
    pixels: np.ndarray
    deviations: np.ndarray
    visible: np.ndarray
