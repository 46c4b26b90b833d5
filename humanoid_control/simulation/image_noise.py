"""What a real sensor adds to a rendered image: no two images of it are the same, even if nothing moves."""

from __future__ import annotations

import numpy as np

DEVIATION = 3.0  # of 255, of each pixel and colour
BLOCK = 1 << 20  # numbers drawn once; each image begins elsewhere in them


class ImageNoise:
    """Adds noise to colour images.

    Args:
        rng: what it is drawn from.
        deviation: standard deviation, of 255; 0: none.
    """

    def __init__(self, rng: np.random.Generator, *, deviation: float = DEVIATION) -> None:
        self._rng = rng
        self._noise = np.rint(deviation * rng.standard_normal(BLOCK)).astype(np.int16)

    def added_to(self, rgb: np.ndarray) -> np.ndarray:
        """Returns the image (H, W, 3) uint8 with noise; of an image larger than the block, the noise repeats."""
        first = int(self._rng.integers(BLOCK))
        noise = np.take(self._noise, np.arange(first, first + rgb.size), mode="wrap") if rgb.size > BLOCK - first else (
            self._noise[first : first + rgb.size])  # fmt: skip
        return np.clip(rgb + noise.reshape(rgb.shape), 0, 255).astype(np.uint8)
