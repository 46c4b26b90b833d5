"""The robot's cameras in a simulation that runs in this process: colour images, late and noisy as real ones are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import mujoco
import numpy as np

from humanoid_control.simulation.cameras import CameraRenderer
from humanoid_control.simulation.image_noise import ImageNoise
from perception.camera_model import CameraModel
from perception.frame import CameraFrame
from perception.true_cameras import camera_models

WIDTH, HEIGHT = 640, 360
RATE_HZ = 7.5  # of each camera; the nodes' is 15, at which little is gained and rendering takes twice as long
LATENCY_S = 0.06  # from exposure to when an image can be had


class SimulatedCameras:
    """Renders each camera in turn, at its rate, and hands images out when a real camera's would have come.

    It renders colour alone: no depth and no segmentation can be had from it. One may serve many episodes, as OpenGL
    starts slowly: `use` begins the next.

    Args:
        names: of the cameras.
        width, height: pixels.
        rate_hz: of each camera.
        latency_s: from exposure until an image is handed out.
    """

    def __init__(self, names: Sequence[str], *, width: int = WIDTH, height: int = HEIGHT, rate_hz: float = RATE_HZ,
                 latency_s: float = LATENCY_S) -> None:  # fmt: skip
        self.names = tuple(names)
        self._size = {"width": width, "height": height}
        self._period_s = 1.0 / rate_hz
        self._latency_s = latency_s
        self._renderer: CameraRenderer | None = None
        self._waiting: deque[CameraFrame] = deque()

    def use(self, scene: mujoco.MjModel, data: mujoco.MjData, rng: np.random.Generator) -> dict[str, CameraModel]:
        """Begins an episode.

        Args:
            scene, data: the running simulation's.
            rng: of the images' noise.

        Returns:
            the intrinsics by camera, as the makers of the cameras would give them.
        """
        if self._renderer is None:
            self._renderer = CameraRenderer(scene)
        else:
            self._renderer.use(scene)
        self._data = data
        self._noise = ImageNoise(rng)
        self._waiting.clear()
        # Spread over the period: they share one processor.
        self._due_s = {name: data.time + k * self._period_s / len(self.names) for k, name in enumerate(self.names)}
        models = camera_models(scene, **self._size)
        return {name: models[name] for name in self.names}

    def poll(self, is_worth: Callable[[str], bool] = lambda camera: True) -> list[CameraFrame]:
        """Renders what is due now; returns the images that have come, in the order of their stamps.

        Args:
            is_worth: whether what is due of a camera is rendered; else it is left out.
        """
        now = float(self._data.time)
        for name, due_s in self._due_s.items():
            if now >= due_s:
                self._due_s[name] = due_s + self._period_s
                if not is_worth(name):
                    continue
                self._waiting.append(CameraFrame(name, now, self._noise.added_to(self._renderer.rgb(self._data, name, **self._size))))
        come = []
        while self._waiting and self._waiting[0].stamp_s + self._latency_s <= now:
            come.append(self._waiting.popleft())
        return come

    def close(self) -> None:
        """Frees OpenGL; may be called again."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
