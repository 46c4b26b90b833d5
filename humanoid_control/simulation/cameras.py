"""Pictures of the simulation: the robot's cameras in colour and depth, and one from outside for people to watch."""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np

from humanoid_control.errors import SimulationError
from humanoid_control.mission.factory import Factory
from humanoid_control.simulation.gl_backend import DISABLED, REMEDY, select_gl_backend

MAX_GEOMS = 4000
SMALLEST_BUFFER = (640, 480)
FAR_SHARE = 0.999  # of the far plane, beyond which nothing was seen
OUTSIDE_AZIMUTHS = (25.0, 60.0, 120.0, 155.0, 205.0, 240.0, 300.0, 335.0)  # degrees in which it may look
WORK_MARGIN = 0.35  # m around stations and start that the outside camera shows
OUTSIDE_ELEVATION = -32.0
OUTSIDE_FOVY = 36.0
SHOWN_HEIGHT = 1.0  # m above the floor that the outside camera shows too


def open_gl_context(width: int, height: int) -> Any:
    """Returns an OpenGL context without a screen, current in this thread.

    Raises:
        SimulationError: there is no OpenGL here, or it does not start.
    """
    backend = select_gl_backend()
    if backend == DISABLED or backend in ("disable", "off", "false", "0"):
        raise SimulationError(f"cameras need OpenGL, and there is none here: {REMEDY}")
    try:
        if backend == "egl":
            from mujoco.egl import GLContext
        elif backend == "osmesa":
            from mujoco.osmesa import GLContext
        else:
            from mujoco.glfw import GLContext
        context = GLContext(width, height)
        context.make_current()
    except Exception as error:  # libraries of OpenGL raise all kinds of errors where one of theirs is missing
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SimulationError(f"OpenGL ({backend}) does not start: {reason}; {REMEDY}") from None
    return context


def camera_matrix(model: mujoco.MjModel, camera: str, *, width: int, height: int) -> np.ndarray:
    """Returns the (3, 3) pinhole matrix, in pixels, of a camera's images of `width` x `height`.

    Raises:
        SimulationError: there is no such camera.
    """
    fovy = model.cam_fovy[_camera_id(model, camera)]
    focal = 0.5 * height / math.tan(math.radians(fovy) / 2)
    return np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])


def outside_camera(factory: Factory, *, aspect: float) -> mujoco.MjvCamera:
    """Returns a camera that sees all stations and the way between them, for pictures of `aspect` (width / height).

    It looks from the side on which most stations have their fronts and people walk least.
    """
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FREE
    camera.azimuth = max(OUTSIDE_AZIMUTHS, key=lambda azimuth: _view_score(factory, math.radians(azimuth)))
    camera.elevation = OUTSIDE_ELEVATION
    low, high = work_area(factory)
    middle = np.array([*(0.5 * (low + high)), 0.0])
    half_x, half_y = 0.5 * (high - low)
    corners = np.array([(x, y, z) for x in (-half_x, half_x) for y in (-half_y, half_y) for z in (0.0, SHOWN_HEIGHT)])
    azimuth, elevation = math.radians(camera.azimuth), math.radians(camera.elevation)
    forward = np.array(
        [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
    )
    right = np.array([math.sin(azimuth), -math.cos(azimuth), 0.0])
    up = np.cross(right, forward)
    tan_y = math.tan(math.radians(OUTSIDE_FOVY) / 2) * 0.97
    tan_x = tan_y * aspect
    # A corner p is seen from lookat - distance * forward if |right p| <= tan_x depth and |up p| <= tan_y depth.
    along, across, above = corners @ forward, corners @ right, corners @ up
    best = None
    for shift in np.linspace(-0.3, 0.3, 61) * max(half_x, half_y):  # of the look-at point along `up`
        distance = max(np.max(np.abs(across) / tan_x - along), np.max(np.abs(above - shift) / tan_y - along))
        if best is None or distance < best[0]:
            best = distance, shift
    camera.distance = best[0]
    camera.lookat[:] = middle + best[1] * up
    return camera


def work_area(factory: Factory) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lower and the upper corner (2,) in `map` of where the robot works: stations, its start, and room around."""
    points = [corner for station in factory.stations for corner in station.footprint.exterior.coords]
    points.append(factory.robot.start[:2])
    half = 0.5 * np.array(factory.floor.size)
    points = np.clip(np.array(points), -half, half)
    return np.maximum(points.min(axis=0) - WORK_MARGIN, -half), np.minimum(points.max(axis=0) + WORK_MARGIN, half)


def _view_score(factory: Factory, azimuth: float) -> float:
    direction = np.array([math.cos(azimuth), math.sin(azimuth)])
    fronts = sum(float(station.front_direction @ direction) for station in factory.stations)
    nearness = sum(-float(np.mean(person.path, axis=0) @ direction) for person in factory.people)
    return fronts - 0.2 * nearness


class CameraRenderer:
    """Renders any camera of a model, in colour or depth, in the thread that made it.

    One renderer serves a whole run: `use` gives it the model of the next episode.

    Args:
        model: from `build_scene`.
        pretty: shadows and smooth edges, for people; without a graphics card about five times slower.
    """

    def __init__(self, model: mujoco.MjModel, *, pretty: bool = False) -> None:
        self._pretty = pretty
        self._gl = open_gl_context(64, 64)
        self._context: mujoco.MjrContext | None = None
        self._scene: mujoco.MjvScene | None = None
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._buffer = SMALLEST_BUFFER
        self._pixels: dict[tuple[int, int], np.ndarray] = {}
        self._depths: dict[tuple[int, int], np.ndarray] = {}
        self.use(model)

    def use(self, model: mujoco.MjModel) -> None:
        """Goes on with another model."""
        self._model = model
        self._scene = mujoco.MjvScene(model, maxgeom=MAX_GEOMS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = self._pretty
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._open_context()

    def rgb(self, data: mujoco.MjData, camera: str | mujoco.MjvCamera, *, width: int, height: int) -> np.ndarray:
        """Returns what a camera sees: (height, width, 3) uint8, top row first.

        Args:
            data: after `mj_forward` or `mj_step`.
            camera: the name of a camera of the model, or a free one such as `outside_camera`.
            width, height: pixels.

        Raises:
            SimulationError: no such camera, or the renderer was closed.
        """
        pixels = self._pixels.get((width, height))
        if pixels is None:
            pixels = self._pixels[width, height] = np.empty((height, width, 3), np.uint8)
        rect = self._render(data, camera, width, height)
        mujoco.mjr_readPixels(pixels, None, rect, self._context)
        return np.ascontiguousarray(pixels[::-1])

    def depth(self, data: mujoco.MjData, camera: str | mujoco.MjvCamera, *, width: int, height: int) -> np.ndarray:
        """Returns (height, width) float32 distances in m along the optical axis; 0 where nothing was seen.

        Arguments and errors are those of `rgb`.
        """
        depths = self._depths.get((width, height))
        if depths is None:
            depths = self._depths[width, height] = np.empty((height, width), np.float32)
        flags = self._scene.flags
        shadow = flags[mujoco.mjtRndFlag.mjRND_SHADOW]
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
        # Flat colours: nothing is blended, so that edges keep the depth of one side.
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = True
        try:
            rect = self._render(data, camera, width, height)
            mujoco.mjr_readPixels(None, depths, rect, self._context)
        finally:
            flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = False
            flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadow
        near = self._model.vis.map.znear * self._model.stat.extent
        far = self._model.vis.map.zfar * self._model.stat.extent
        # The depth buffer holds b = near (far - z) / (z (far - near)): 1 at the near plane, 0 at the far one.
        distance = near * far / (near + depths[::-1] * (far - near))
        distance[distance > FAR_SHARE * far] = 0.0
        return distance.astype(np.float32)

    def close(self) -> None:
        """Frees what the graphics card holds; may be called again."""
        if self._context is not None:
            self._gl.make_current()
            self._context.free()
            self._context = None
        if self._gl is not None:
            self._gl.free()
            self._gl = None

    def __enter__(self) -> CameraRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_context(self) -> None:
        if self._gl is None:
            raise SimulationError("this renderer was closed")
        self._gl.make_current()
        if self._context is not None:
            self._context.free()
        visual = self._model.vis
        visual.global_.offwidth, visual.global_.offheight = self._buffer
        samples, visual.quality.offsamples = visual.quality.offsamples, 4 if self._pretty else 0
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_150)
        visual.quality.offsamples = samples
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def _render(self, data: mujoco.MjData, camera: str | mujoco.MjvCamera, width: int, height: int) -> mujoco.MjrRect:
        if self._gl is None:
            raise SimulationError("this renderer was closed")
        if width > self._buffer[0] or height > self._buffer[1]:
            self._buffer = max(width, self._buffer[0]), max(height, self._buffer[1])
            self._open_context()
        self._gl.make_current()
        fovy = self._model.vis.global_.fovy
        if isinstance(camera, str):
            self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
            self._camera.fixedcamid = _camera_id(self._model, camera)
            camera = self._camera
        else:
            self._model.vis.global_.fovy = OUTSIDE_FOVY
        mujoco.mjv_updateScene(self._model, data, self._option, None, camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        self._model.vis.global_.fovy = fovy
        rect = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(rect, self._scene, self._context)
        return rect


def _camera_id(model: mujoco.MjModel, name: str) -> int:
    camera = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
    if camera < 0:
        names = [model.camera(index).name for index in range(model.ncam)]
        raise SimulationError(f"no camera '{name}'; known: {', '.join(names) or 'none'}")
    return camera
