"""A film of an episode from an outside camera, with what the policy is doing written below."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from humanoid_control.simulation.cameras import CameraRenderer, outside_camera

RATE_HZ = 25
WIDTH, HEIGHT = 960, 540
CAPTION_HEIGHT = 36


class EpisodeVideo:
    """Writes an mp4 while an episode runs; a listener for `run_episode`."""

    def __init__(self, path: Path, renderer: CameraRenderer, *, width: int = WIDTH, height: int = HEIGHT) -> None:
        """Starts a film.

        Args:
            path: of the file.
            renderer: of any model; it is given the episode's.
            width, height: pixels; even.
        """
        self._renderer, self._size = renderer, (width, height)
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=RATE_HZ)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.time_base = Fraction(1, RATE_HZ)
        self._stream.thread_count = 1
        self._font = ImageFont.load_default(size=18)
        self._frames = 0
        self._camera = None
        self._caption: tuple[str, np.ndarray] | None = None

    def __call__(self, floor, loop, output) -> None:
        """See `run_episode`."""
        data = floor.robot.data
        if data.time < self._frames / RATE_HZ:
            return
        if self._camera is None:
            self._renderer.use(floor.robot.scene)
            self._camera = outside_camera(floor.episode.factory, aspect=self._size[0] / self._size[1])
        picture = self._renderer.rgb(data, self._camera, width=self._size[0], height=self._size[1])
        doing = "" if output is None else output.subtask + (f" | {output.reason}" if output.reason else "")
        if output is not None and output.problem:
            doing += f" | {output.problem}"
        self._burn_in(picture, f"seed {floor.episode.seed}", doing, f"{data.time:.1f} s")
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = self._frames
        self._frames += 1
        self._container.mux(self._stream.encode(frame))

    def _burn_in(self, picture: np.ndarray, left: str, middle: str, right: str) -> None:
        text = f"{left}  {middle}"
        if self._caption is None or self._caption[0] != text:
            self._caption = text, self._strip(text, 12)
        band = picture[-CAPTION_HEIGHT:]
        ink = np.maximum(self._caption[1], self._strip(right, self._size[0] - 80))[..., None]
        band[:] = band // 3 * (ink < 128) + ink * (ink >= 128)

    def _strip(self, text: str, x: int) -> np.ndarray:
        """(CAPTION_HEIGHT, width) uint8 with the text in white."""
        image = Image.new("L", (self._size[0], CAPTION_HEIGHT))
        ImageDraw.Draw(image).text((x, 6), text, fill=255, font=self._font)
        return np.asarray(image)

    def close(self) -> None:
        """Finishes the file; may be called again."""
        if self._container is not None:
            self._container.mux(self._stream.encode())
            self._container.close()
            self._container = None
