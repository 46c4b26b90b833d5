"""Pictures: that they show what is there, where it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest

from humanoid_control.errors import SimulationError
from humanoid_control.mission.factory import load_factory
from humanoid_control.simulation.cameras import OUTSIDE_FOVY, CameraRenderer, camera_matrix, outside_camera

ROOT = Path(__file__).resolve().parents[2]
FACTORIES = sorted((ROOT / "config" / "factories").glob("*.yaml"))


@pytest.fixture
def scene(factory, running, puppet):
    return running(factory, robot=puppet)


@pytest.fixture
def renderer(scene):
    try:
        renderer = CameraRenderer(scene.model)
    except SimulationError as error:
        pytest.skip(f"no OpenGL here: {error}")
    with renderer:
        yield renderer


def test_picture_shows_the_tote_where_the_pinhole_model_says(scene, renderer):
    width, height = 424, 240
    picture = renderer.rgb(scene.data, "head_camera", width=width, height=height)
    assert picture.shape == (height, width, 3) and picture.dtype == np.uint8
    model, data = scene.model, scene.data
    camera = model.camera("head_camera").id
    # The puppet looks straight ahead, over the tote: look down at it.
    model.cam_quat[camera] = tilted(model.cam_quat[camera], -0.45)
    mujoco.mj_forward(model, data)
    picture = renderer.rgb(data, "head_camera", width=width, height=height)
    tote = scene.world.tote_pose(data, "t1")[:3, 3] + (0, 0, 0.1)
    in_camera = data.cam_xmat[camera].reshape(3, 3).T @ (tote - data.cam_xpos[camera])
    optical = in_camera * (1, -1, -1)
    pixel = camera_matrix(model, "head_camera", width=width, height=height) @ optical
    column, row = (pixel[:2] / pixel[2]).round().astype(int)
    blue = picture[..., 2].astype(int) - picture[..., 0]
    patch = blue > 40  # the tote is blue, and nothing else near it
    rows, columns = np.nonzero(patch)
    assert rows.size > 200
    assert abs(columns.mean() - column) < 15 and abs(rows.mean() - row) < 25


def tilted(quat: np.ndarray, angle: float) -> np.ndarray:
    """Turns a camera's attitude up by `angle` about its own x axis."""
    turned = np.empty(4)
    mujoco.mju_mulQuat(turned, quat, np.array([np.cos(angle / 2), np.sin(angle / 2), 0, 0]))
    return turned


def test_depth_is_the_distance_along_the_optical_axis(scene, renderer):
    model, data = scene.model, scene.data
    camera = model.camera("head_camera").id
    model.cam_quat[camera] = tilted(model.cam_quat[camera], -np.pi / 2)  # straight down at the floor
    mujoco.mj_forward(model, data)
    depth = renderer.depth(data, "head_camera", width=160, height=120)
    assert depth.shape == (120, 160) and depth.dtype == np.float32
    height = data.cam_xpos[camera, 2]
    floor = np.abs(depth - height) < 2e-3
    assert floor.mean() > 0.3


def test_depth_is_zero_where_nothing_is(scene, renderer):
    model, data = scene.model, scene.data
    camera = model.camera("head_camera").id
    model.cam_quat[camera] = tilted(model.cam_quat[camera], 0.8)  # up at the sky
    mujoco.mj_forward(model, data)
    depth = renderer.depth(data, "head_camera", width=160, height=120)
    assert (depth == 0).mean() > 0.9
    assert np.isfinite(depth).all()


def test_colour_after_depth_is_unchanged(scene, renderer):
    before = renderer.rgb(scene.data, "head_camera", width=96, height=96)
    renderer.depth(scene.data, "head_camera", width=96, height=96)
    assert (renderer.rgb(scene.data, "head_camera", width=96, height=96) == before).all()


def test_sizes_may_change_and_grow(scene, renderer):
    for width, height in ((96, 96), (640, 480), (1280, 720), (96, 96), (128, 1000)):
        assert renderer.rgb(scene.data, "head_camera", width=width, height=height).shape == (height, width, 3)


def test_one_renderer_serves_many_models(scene, renderer, random_factory, running, puppet):
    first = renderer.rgb(scene.data, "head_camera", width=96, height=96)
    other = running(random_factory, seed=3, robot=puppet)
    renderer.use(other.model)
    assert (renderer.rgb(other.data, "head_camera", width=96, height=96) != first).any()
    renderer.use(scene.model)
    assert (renderer.rgb(scene.data, "head_camera", width=96, height=96) == first).all()


def test_unknown_camera_is_refused(scene, renderer):
    with pytest.raises(SimulationError, match="no camera 'nose'; known: head_camera"):
        renderer.rgb(scene.data, "nose", width=96, height=96)


def test_closed_renderer_is_refused(scene, renderer):
    renderer.close()
    renderer.close()
    with pytest.raises(SimulationError, match="closed"):
        renderer.rgb(scene.data, "head_camera", width=96, height=96)


def test_pretty_pictures_have_shadows(scene, renderer):
    camera = outside_camera(scene.world.factory, aspect=4 / 3)
    plain = renderer.rgb(scene.data, camera, width=320, height=240)
    renderer.close()
    with CameraRenderer(scene.model, pretty=True) as pretty:
        shaded = pretty.rgb(scene.data, camera, width=320, height=240)
    darker = plain.astype(int).sum(axis=2) - shaded.astype(int).sum(axis=2) > 60
    assert darker.mean() > 0.01


def test_mounting_error_moves_the_picture(random_factory, running, puppet, renderer):
    shots = []
    for seed in (1, 2):
        other = running(random_factory, seed=seed, robot=puppet)
        other.model.geom_rgba[:] = 0.5  # colours vary too
        shots.append(np.r_[other.model.cam_pos[0], other.model.cam_quat[0]])
    assert not np.allclose(shots[0], shots[1])
    assert np.abs(shots[0] - shots[1]).max() < 0.03


@pytest.mark.parametrize("path", FACTORIES, ids=lambda path: path.stem)
@pytest.mark.parametrize("aspect", [16 / 9, 1.0])
def test_outside_camera_sees_all_stations_and_the_start(path, aspect):
    factory = load_factory(path)
    camera = outside_camera(factory, aspect=aspect)
    azimuth, elevation = np.radians([camera.azimuth, camera.elevation])
    forward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.cross(forward, [0, 0, 1]) / np.linalg.norm(np.cross(forward, [0, 0, 1]))
    position = np.array(camera.lookat) - camera.distance * forward
    tan = np.tan(np.radians(OUTSIDE_FOVY) / 2)
    points = [corner for station in factory.stations for corner in station.footprint.exterior.coords]
    for x, y in (*points, factory.robot.start[:2]):
        ray = np.array([x, y, 0.0]) - position
        depth = ray @ forward
        assert depth > 0
        assert abs(ray @ right) <= tan * aspect * depth
        assert abs(ray @ np.cross(right, forward)) <= tan * depth
    assert position[2] > 1.0


def test_missing_gl_is_one_line_that_says_what_to_install():
    code = (
        "import mujoco\n"
        "from humanoid_control.errors import SimulationError\n"
        "from humanoid_control.simulation.cameras import CameraRenderer\n"
        "try: CameraRenderer(mujoco.MjSpec().compile())\n"
        "except SimulationError as error: print(error)\n"
    )
    for backend, says in (("disabled", "there is none here"), ("osmesa", "apt-get install")):
        environment = {**os.environ, "MUJOCO_GL": backend, "PYTHONPATH": str(ROOT)}
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
        if backend == "osmesa" and run.returncode == 0 and not run.stdout:
            continue  # OSMesa is installed here
        assert run.returncode == 0, run.stderr
        assert says in run.stdout and len(run.stdout.splitlines()) == 1


def test_physics_needs_no_gl():
    code = (
        "from humanoid_control.mission.factory import load_factory\n"
        "from humanoid_control.simulation.episode import draw_episode\n"
        "from humanoid_control.simulation.scene import build_scene\n"
        f"build_scene(draw_episode(load_factory({str(FACTORIES[0])!r}), 0))\n"
    )
    environment = {**os.environ, "MUJOCO_GL": "disabled", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert run.returncode == 0, run.stderr
