"""Images as an H.264 film in memory."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

CODEC = "libx264"
KEY_FRAME_EVERY = 2  # frames: any frame is decoded with at most one other
QUALITY = 23  # constant rate factor of x264
STATISTICS_EVERY = 10  # frames


class Film:
    """The images of one camera in one episode, as an mp4 in memory.

    Args:
        width, height: pixels; even.
        rate_hz: frames per second.
    """

    def __init__(self, *, width: int, height: int, rate_hz: int) -> None:
        self._buffer = io.BytesIO()
        self._container = av.open(self._buffer, "w", format="mp4")
        options = {"crf": str(QUALITY), "preset": "veryfast", "x264-params": "scenecut=0"}
        self._stream = self._container.add_stream(CODEC, rate=rate_hz, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.time_base = Fraction(1, rate_hz)
        # One thread and no frames that look ahead: the same images make the same bytes, and films can be strung together.
        self._stream.thread_count, self._stream.gop_size, self._stream.max_b_frames = 1, KEY_FRAME_EVERY, 0
        self._frames = 0
        self._histogram = np.zeros((3, 256), np.int64)
        self._sampled = 0

    def add(self, image: np.ndarray) -> None:
        """Appends an image (H, W, 3) uint8."""
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = self._frames
        if self._frames % STATISTICS_EVERY == 0:
            small = image[::4, ::4]
            self._histogram += np.stack([np.bincount(small[..., c].ravel(), minlength=256) for c in range(3)])
            self._sampled += 1
        self._frames += 1
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> tuple[bytes, np.ndarray, int]:
        """The mp4, (3, 256) how often each value of each colour came up, and in how many images that was looked at."""
        self._container.mux(self._stream.encode())
        self._container.close()
        return self._buffer.getvalue(), self._histogram, self._sampled
