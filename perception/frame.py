"""One camera's image, and whether it can be used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.camera_model import CameraModel

ENCODING = "rgb8"
ROW_STEP = 4  # every fourth row is looked at
DARK, BRIGHT = 8, 247  # of 255; what a sensor gives for black, and for more than it can take
MAX_DARK_SHARE, MAX_BRIGHT_SHARE = 0.97, 0.60
OVEREXPOSED = "overexposed"  # how the problem of an image begins that may well be of what is before the camera, not of the camera
FROZEN_FRAMES = 3  # a robot and a sensor that both keep perfectly still for longer exist in simulation only


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """One image.

    Attributes:
        camera: its name, as in `topics.CAMERAS`.
        stamp_s: when it was exposed, on the robot's clock.
        rgb: (H, W, 3) uint8.
        encoding: as its message names it.
    """

    camera: str
    stamp_s: float
    rgb: np.ndarray
    encoding: str = ENCODING


class FrameCheck:
    """Says of each frame of one camera why it cannot be used.

    Args:
        model: the camera's; frames of another size are refused.
        frozen_frames: how often in a row an image may be the same as the one before it.
    """

    def __init__(self, model: CameraModel, *, frozen_frames: int = FROZEN_FRAMES) -> None:
        self._model = model
        self._frozen_frames = frozen_frames
        self._last: np.ndarray | None = None
        self._last_stamp_s = -np.inf
        self._repeats = 0

    def problem(self, frame: CameraFrame) -> str:
        """Returns what is wrong with the newest frame, in a few words; empty if nothing is.

        Args:
            frame: the newest; frames are to come in the order of their stamps.
        """
        if frame.encoding != ENCODING:
            return f"encoding {frame.encoding}, not {ENCODING}"
        image = frame.rgb
        wanted = (self._model.height, self._model.width, 3)
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != wanted:
            shape, dtype = getattr(image, "shape", ()), getattr(image, "dtype", type(image).__name__)
            return f"image is {' x '.join(map(str, shape))} {dtype}, not {' x '.join(map(str, wanted))} uint8"
        if not np.isfinite(frame.stamp_s):
            return f"stamp is {frame.stamp_s}"
        if frame.stamp_s <= self._last_stamp_s:
            back_s = self._last_stamp_s - frame.stamp_s
            return f"time goes back by {back_s:.3f} s" if back_s > 0 else "its stamp is that of the frame before"
        self._last_stamp_s = frame.stamp_s
        rows = image[::ROW_STEP]
        self._repeats = self._repeats + 1 if self._last is not None and np.array_equal(rows, self._last) else 0
        self._last = rows.copy()
        problem = _exposure_problem(rows)  # first: black images are all the same
        if not problem and self._repeats >= self._frozen_frames:
            problem = f"frozen: {self._repeats + 1} frames in a row are the same"
        return problem

    def forget(self) -> None:
        """Takes the next frame for the first one: after the camera or the clock was started anew."""
        self._last, self._last_stamp_s, self._repeats = None, -np.inf, 0


def _exposure_problem(rows: np.ndarray) -> str:
    green = rows[:, ::ROW_STEP, 1]
    dark, bright = float(np.mean(green < DARK)), float(np.mean(green > BRIGHT))
    if dark > MAX_DARK_SHARE:
        return f"black: {100 * dark:.0f}% of it"
    if bright > MAX_BRIGHT_SHARE:
        return f"{OVEREXPOSED}: {100 * bright:.0f}% of it is white"
    return ""
