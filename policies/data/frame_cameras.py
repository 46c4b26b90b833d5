"""The robot's cameras at the rate of a data set: at each frame the images that a policy would have there, late as they are.

No noise is added, as it would be most of the film's bytes; whoever trains adds it.
"""

from __future__ import annotations

from collections import deque

import mujoco
import numpy as np

from humanoid_control.simulation.cameras import CameraRenderer
from perception.simulated_cameras import LATENCY_S


class FrameCameras:
    """Renders all cameras together at a fixed rate; hands out the newest images that have come.

    One may serve many episodes, as OpenGL starts slowly.

    Args:
        names: of the cameras.
        width, height: pixels.
        rate_hz: of each camera.
        latency_s: from exposure until an image is handed out.
    """

    def __init__(self, names: tuple[str, ...], *, width: int, height: int, rate_hz: float, latency_s: float = LATENCY_S) -> None:
        self.names = names
        self.size = (width, height)
        self.rate_hz = rate_hz
        self._latency_s = latency_s
        self._renderer: CameraRenderer | None = None
        self._waiting: deque[tuple[float, dict[str, np.ndarray]]] = deque()
        self._newest: tuple[float, dict[str, np.ndarray]] | None = None

    def use(self, scene: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Begins an episode.

        Args:
            scene, data: the running simulation's.
        """
        if self._renderer is None:
            self._renderer = CameraRenderer(scene)
        else:
            self._renderer.use(scene)
        self._data, self._newest = data, None
        self._waiting.clear()
        # So that images come when a frame is due, where frames are multiples of their period.
        self._next = int(np.floor((data.time + self._latency_s) * self.rate_hz)) + 1

    def poll(self) -> None:
        """Renders what is due now; to be called at every tick, which must be short against the period."""
        now = float(self._data.time)
        if now + 1e-9 >= self._next / self.rate_hz - self._latency_s:
            self._next += 1
            width, height = self.size
            self._waiting.append((now, {n: self._renderer.rgb(self._data, n, width=width, height=height) for n in self.names}))
        while self._waiting and self._waiting[0][0] + self._latency_s <= now + 1e-9:
            self._newest = self._waiting.popleft()

    def newest(self) -> tuple[float, dict[str, np.ndarray]]:
        """(s, images (H, W, 3) uint8 by camera) of the newest exposure that has come."""
        if self._newest is None:
            raise RuntimeError("no image has come yet: the first frame is too early")
        return self._newest

    def close(self) -> None:
        """Frees OpenGL; may be called again."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
