"""Where totes really are and what an image really shows of them: from the simulation, for evaluation alone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache

import mujoco
import numpy as np

from humanoid_control.simulation.cameras import CameraRenderer
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from humanoid_control.transforms import inverse, transform
from perception.errors import PerceptionError
from perception.training.generate import HEIGHT, WIDTH, tote_label, tote_views

KEPT_S = 0.5  # for which the past is remembered; images are 0.06 s late
SAME_TIME_S = 1e-6


@dataclass(frozen=True, eq=False)
class TrueView:
    """One tote as one image shows it.

    Attributes:
        name: the tote's.
        distance: m from the camera to its middle.
        seen_share: of the outside that faces the camera, what is in the image and not hidden.
        corners: (8, 2) px of `keypoints`; NaN behind the camera.
    """

    name: str
    distance: float
    seen_share: float
    corners: np.ndarray


class TrueTotes:
    """What really is, in a running simulation.

    Args:
        floor: the simulation.
    """

    def __init__(self, floor: SimulatedFactory) -> None:
        self._world, self._data = floor.world, floor.robot.data
        self._base = floor.scene.body("base_link").id
        self._past: deque[tuple[float, dict[str, np.ndarray]]] = deque()

    def note(self) -> None:
        """Remembers where everything is; to be called at every tick."""
        data = self._data
        base_from_map = inverse(transform(data.xmat[self._base].reshape(3, 3), data.xpos[self._base]))
        poses = {name: base_from_map @ self._world.tote_pose(data, name) for name in self._world.tote_bodies}
        self._past.append((float(data.time), poses))
        while self._past[0][0] < data.time - KEPT_S:
            self._past.popleft()

    def at(self, stamp_s: float) -> dict[str, np.ndarray]:
        """(4, 4) base_from_tote by name, at a time that was noted.

        Raises:
            PerceptionError: it was not.
        """
        for time_s, poses in reversed(self._past):
            if abs(time_s - stamp_s) < SAME_TIME_S:
                return poses
        raise PerceptionError(f"nothing is known of {stamp_s:.4f} s; the truth was noted from {self._past[0][0]:.4f} to "
                              f"{self._past[-1][0]:.4f} s")  # fmt: skip

    def views(self, camera: str) -> list[TrueView]:
        """What a camera's image of this instant shows."""
        views = tote_views(self._world, self._data, camera)
        if not views:
            return []
        depth = _depth_renderer(self._world.model).depth(self._data, camera, width=WIDTH, height=HEIGHT)
        seen = []
        for view in views:
            label = tote_label(view, depth)
            if label is not None:
                middle = view["pose"][:3, 3] + view["pose"][:3, 2] * view["carrier"].height / 2
                seen.append(TrueView(view["name"], float(np.linalg.norm(middle)), float(label["seen_share"]), view["corners"]))
        return seen


@cache
def _only_renderer() -> list:
    return []


def _depth_renderer(scene: mujoco.MjModel) -> CameraRenderer:
    """One for all episodes of a process, as OpenGL starts slowly."""
    kept = _only_renderer()
    if not kept:
        kept[:] = [CameraRenderer(scene), scene]
    elif kept[1] is not scene:
        kept[0].use(scene)
        kept[1] = scene
    return kept[0]
