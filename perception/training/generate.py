"""Renders training images with exact labels, in shards, and says what is in them.

Labels come from the simulation's truth: poses, and a depth image for what is in sight. Each shard is written at once or
not at all, and drawn from a stream of its own, so that a run that was stopped goes on where it stopped and gives the same
images whatever the number of workers. Run it with `python -m perception.training.generate`.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import mujoco
import numpy as np

from humanoid_control.errors import HumanoidControlError
from humanoid_control.mission.load_carriers import LoadCarrier
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.cameras import CameraRenderer, camera_matrix
from humanoid_control.simulation.robot_spec import CAMERA_FIELD_OF_VIEW, build_robot_spec
from humanoid_control.simulation.scene import FactoryWorld
from humanoid_control.types import SIDES
from perception.errors import PerceptionError
from perception.keypoints import KINDS, canonical, tote_corners
from perception.training.scenes import FIELD_OF_VIEW_SPREAD, LOOKS, Look, Posture, PostureSampler, Scene, draw_scene, paint
from perception.true_cameras import camera_from_map

LOG = logging.getLogger(__name__)

WIDTH, HEIGHT = 640, 360
CAMERAS = tuple(CAMERA_FIELD_OF_VIEW)
SHARD_IMAGES = 200
POSTURES = 3  # of the robot in one scene
JPEG_QUALITY = 95
MAX_DISTANCE = 3.5  # m, beyond which a tote is no label
MIN_SIZE = 14.0  # px, the longest side of a tote's box, below which it is none either
EMPTY_SHARE = 0.08  # of views without a tote that are kept
NEAREST = 0.05  # m before the camera, nearer than which no corner is projected
DEPTH_TOLERANCE = (0.012, 0.006)  # m, and per m of distance: how far behind what is seen a point is still in sight
PRETTY_SHARE = 0.15  # of scenes with shadows and smooth edges
SURFACE_SAMPLES = 4  # along each side of a tote's wall, for the share that is in sight


@dataclass(frozen=True)
class ToteLabels:
    """All totes of many images, one row each.

    Attributes:
        image: (T,) index of the image.
        kind: (T,) index into `keypoints.KINDS`.
        corners: (T, 8, 2) px, also of those outside the image; NaN where a corner is behind the camera.
        visible: (T, 8) bool, in the image and not hidden.
        camera_from_tote: (T, 4, 4), canonical.
        seen_share: (T,) of the outside that faces the camera, what is in the image and not hidden.
        framed_share: (T,) of it what is in the image, hidden or not.
        held: (T,) bool, in the robot's hands.
    """

    image: np.ndarray
    kind: np.ndarray
    corners: np.ndarray
    visible: np.ndarray
    camera_from_tote: np.ndarray
    seen_share: np.ndarray
    framed_share: np.ndarray
    held: np.ndarray


@dataclass(frozen=True)
class Shard:
    """Some images with their labels.

    Attributes:
        jpeg: one bytes array (uint8) of all images, one after the other.
        offsets: (N + 1,) where each image starts in `jpeg`.
        camera: (N,) index into `CAMERAS`.
        scene: (N,) number of the scene, unique in the data set.
        matrix: (N, 3, 3) px.
        up_in_camera: (N, 3) unit vectors, true.
        totes: their labels.
    """

    jpeg: np.ndarray
    offsets: np.ndarray
    camera: np.ndarray
    scene: np.ndarray
    matrix: np.ndarray
    up_in_camera: np.ndarray
    totes: ToteLabels

    def save(self, path: Path) -> None:
        """Writes the shard, whole or not at all."""
        part = path.with_suffix(".part")
        flat = {name: value for name, value in vars(self).items() if name != "totes"}
        with part.open("wb") as file:
            np.savez(file, **flat, **{f"tote_{name}": value for name, value in vars(self.totes).items()})
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> Shard:
        """Reads a shard.

        Raises:
            PerceptionError: it is damaged.
        """
        try:
            with np.load(path) as file:
                fields = dict(file.items())
            totes = ToteLabels(**{name[5:]: fields.pop(name) for name in list(fields) if name.startswith("tote_")})
            return cls(**fields, totes=totes)
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise PerceptionError(f"{path}: damaged shard ({type(error).__name__}); delete it and generate again") from None

    def image(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 of one image."""
        data = self.jpeg[self.offsets[index] : self.offsets[index + 1]]
        return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


# --- rendering ----------------------------------------------------------------------------------------------------


class SceneCamera:
    """Poses the robot in scenes, renders its cameras and measures what they see.

    Args:
        seed: of the data set.
        look: which looks are drawn from.
    """

    def __init__(self, seed: int, look: Look) -> None:
        self._seed, self._look = seed, look
        self._model = RobotModel.load()
        self._robot_spec = build_robot_spec(self._model)
        self._postures = PostureSampler(self._model)
        self._renderers: dict[bool, CameraRenderer] = {}

    def shard(self, index: int, images: int = SHARD_IMAGES) -> Shard:
        """The images of one shard: always the same for the same seed, look and index."""
        rng = np.random.default_rng([self._seed, index])
        rows: list[dict] = []
        totes: list[dict] = []
        number = 0
        while len(rows) < images:
            scene = draw_scene(self._robot_spec, rng, self._look)
            self._render_scene(scene, rng, (index << 20) + number, images, rows, totes)
            number += 1
        sizes = np.array([len(row["jpeg"]) for row in rows])
        return Shard(
            jpeg=np.concatenate([row["jpeg"] for row in rows]), offsets=np.concatenate([[0], np.cumsum(sizes)]),
            camera=np.array([row["camera"] for row in rows], np.int8), scene=np.array([row["scene"] for row in rows]),
            matrix=np.array([row["matrix"] for row in rows], np.float32),
            up_in_camera=np.array([row["up"] for row in rows], np.float32),
            totes=ToteLabels(**{name: np.array([tote[name] for tote in totes]) for name in ToteLabels.__dataclass_fields__}),
        )  # fmt: skip

    def close(self) -> None:
        """Frees the renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _render_scene(self, scene: Scene, rng, number: int, most: int, rows: list[dict], totes: list[dict]) -> None:
        model = scene.model
        pretty = self._prepare(model, rng)
        renderer = None
        for world, data, posture in self._postures_in(scene, rng):
            for camera in rng.permutation(len(CAMERAS)):
                keep_empty = rng.random() < EMPTY_SHARE
                views = tote_views(world, data, CAMERAS[camera], held=posture.held[0] if posture.held else None)
                if not views and not keep_empty:
                    continue
                if renderer is None:
                    renderer = self._renderer(model, pretty)
                depth = renderer.depth(data, CAMERAS[camera], width=WIDTH, height=HEIGHT)
                labels = [label for view in views if (label := tote_label(view, depth)) is not None]
                if views and not labels and not keep_empty:
                    continue
                rgb = renderer.rgb(data, CAMERAS[camera], width=WIDTH, height=HEIGHT)
                if rgb.std() < 4.0:  # inside something, or unlit
                    continue
                for label in labels:
                    totes.append(label | {"image": len(rows)})
                up = camera_from_map(data, CAMERAS[camera])[:3, 2]
                rows.append({"jpeg": _encoded(rgb), "camera": camera, "scene": number, "up": up,
                             "matrix": camera_matrix(model, CAMERAS[camera], width=WIDTH, height=HEIGHT)})  # fmt: skip
                if len(rows) == most:
                    return

    @staticmethod
    def _prepare(model: mujoco.MjModel, rng: np.random.Generator) -> bool:
        """Draws the fields of view of a scene's cameras, and whether it is rendered with shadows and smooth edges."""
        model.cam_fovy[:] *= rng.uniform(1 - FIELD_OF_VIEW_SPREAD, 1 + FIELD_OF_VIEW_SPREAD, model.ncam)
        return bool(rng.random() < PRETTY_SHARE)

    def _postures_in(self, scene: Scene, rng: np.random.Generator) -> Iterator[tuple[FactoryWorld, mujoco.MjData, Posture]]:
        """Places the robot in a scene, again and again, ready to be rendered; paints it anew now and then."""
        model, factory = scene.model, scene.episode.factory
        data = mujoco.MjData(model)
        world = FactoryWorld(model, scene.episode)
        for _ in range(POSTURES):
            posture = self._postures.draw(rng, factory)
            data.time = float(rng.uniform(0.0, 60.0))
            world.reset(data)
            self._place(model, data, posture)
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_camlight(model, data)
            if rng.random() < 0.5:
                paint(model, rng, self._look, factory)
            yield world, data, posture

    def _renderer(self, model: mujoco.MjModel, pretty: bool) -> CameraRenderer:
        if pretty in self._renderers:
            self._renderers[pretty].use(model)
        else:
            self._renderers[pretty] = CameraRenderer(model, pretty=pretty)
        return self._renderers[pretty]

    def _place(self, model: mujoco.MjModel, data: mujoco.MjData, posture: Posture) -> None:
        """MuJoCo's quaternions are wxyz."""
        base = int(model.joint("floating_base").qposadr[0])
        data.qpos[base : base + 3] = posture.configuration[:3]
        data.qpos[base + 3 : base + 7] = posture.configuration[[6, 3, 4, 5]]
        for name, angle in zip(self._model.joint_names, posture.configuration[7:]):
            data.joint(name).qpos[0] = angle
        for side, opening in zip(SIDES, posture.openings):
            for finger in (1, 2):
                data.joint(f"{side}_dex1_finger_joint_{finger}").qpos[0] = self._model.finger_from_opening(opening)
        if posture.held is not None:
            name, pose = posture.held
            free = data.joint(f"{name}/free")
            free.qpos[:3] = pose[:3, 3]
            mujoco.mju_mat2Quat(free.qpos[3:], np.ascontiguousarray(pose[:3, :3]).ravel())


def tote_views(world: FactoryWorld, data: mujoco.MjData, camera: str, *, held: str | None = None) -> list[dict]:
    """What could be seen of each tote, were nothing in the way.

    Args:
        world, data: of the scene.
        camera: its name.
        held: name of the tote in the robot's hands, if any.
    """
    matrix = camera_matrix(world.model, camera, width=WIDTH, height=HEIGHT)
    from_map = camera_from_map(data, camera)
    views = []
    for name in world.tote_bodies:
        carrier = world.factory.tote(name).carrier
        pose = canonical(from_map @ world.tote_pose(data, name))
        middle = pose[:3, 3] + pose[:3, 2] * carrier.height / 2
        if middle[2] < 0.1 or np.linalg.norm(middle) > MAX_DISTANCE:
            continue
        points = tote_corners(carrier) @ pose[:3, :3].T + pose[:3, 3]
        corners = _projected(points, matrix)
        if not _may_be_framed(corners):
            continue
        views.append({"name": name, "pose": pose, "carrier": carrier, "points": points, "corners": corners,
                      "matrix": matrix, "held": held == name})  # fmt: skip
    return views


def _may_be_framed(corners: np.ndarray) -> bool:
    """Whether a part of what has these corners (N, 2) px may be in the image; one without any in it too."""
    known = corners[~np.isnan(corners).any(axis=1)]
    return len(known) > 0 and bool((known.max(axis=0) > 0).all() and (known.min(axis=0) < (WIDTH, HEIGHT)).all())


def _projected(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    before = points[:, 2] > NEAREST
    depth = np.where(before, points[:, 2], 1.0)
    pixels = points[:, :2] / depth[:, None] * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
    pixels[~before] = np.nan
    return pixels


def _in_image(pixels: np.ndarray) -> np.ndarray:
    return ((pixels >= -0.5) & (pixels < (WIDTH - 0.5, HEIGHT - 0.5))).all(axis=1)


def in_sight(points: np.ndarray, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Which points (N, 3) that project to pixels (N, 2) are in the image and not hidden."""
    framed = _in_image(pixels)
    u, v = np.where(framed[:, None], np.round(pixels), 0).astype(int).T
    behind = np.where(depth > 0, depth, np.inf)
    tolerance = DEPTH_TOLERANCE[0] + DEPTH_TOLERANCE[1] * points[:, 2]
    farthest = np.zeros(len(points))
    for du in (-1, 0, 1):
        for dv in (-1, 0, 1):
            there = behind[np.clip(v + dv, 0, HEIGHT - 1), np.clip(u + du, 0, WIDTH - 1)]
            farthest = np.maximum(farthest, there)
    return framed & (farthest >= points[:, 2] - tolerance)


def tote_label(view: dict, depth: np.ndarray) -> dict | None:
    """The label of one tote, as `ToteLabels` has it, or None if it is too small or hidden altogether.

    Args:
        view: from `tote_views`.
        depth: (H, W) m of the same image.
    """
    corners = view["corners"]
    known = corners[~np.isnan(corners).any(axis=1)]
    if np.ptp(known, axis=0).max() < MIN_SIZE:
        return None
    points, normals = _outside(view["carrier"])
    points = points @ view["pose"][:3, :3].T + view["pose"][:3, 3]
    facing = np.einsum("ij,ij->i", normals @ view["pose"][:3, :3].T, points) < 0
    if not facing.any():  # the camera is inside
        return None
    pixels = _projected(points, view["matrix"])
    seen = in_sight(points, pixels, depth)[facing].mean()
    if seen < 0.02:
        return None
    return {
        "kind": KINDS.index(view["carrier"].kind), "corners": corners.astype(np.float32),
        "visible": in_sight(view["points"], corners, depth), "camera_from_tote": view["pose"],
        "seen_share": seen, "framed_share": _in_image(pixels)[facing].mean(), "held": view["held"],
    }  # fmt: skip


def _outside(carrier: LoadCarrier) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) on a tote's walls and rim, in its frame, and the outward normals there."""
    wall = np.array(carrier.wall_half_extents)
    shares = (np.arange(SURFACE_SAMPLES) + 0.5) / SURFACE_SAMPLES
    heights = 0.02 + shares * (carrier.height - 0.045)
    points, normals = [], []
    for axis in (0, 1):
        for sign in (-1.0, 1.0):
            for along in (2 * shares - 1) * wall[1 - axis]:
                normal = np.zeros(3)
                normal[axis] = sign
                for z in heights:
                    point = np.zeros(3)
                    point[axis], point[1 - axis], point[2] = sign * wall[axis], along, z
                    points.append(point)
                    normals.append(normal)
    for x, y in np.array([(s, t) for s in (-1, 1) for t in 2 * shares - 1] + [(t, s) for s in (-1, 1) for t in 2 * shares - 1]):
        points.append((x * (carrier.width / 2 - 0.006), y * (carrier.length / 2 - 0.012), carrier.height))
        normals.append((0.0, 0.0, 1.0))
    return np.array(points), np.array(normals)


def _encoded(rgb: np.ndarray) -> np.ndarray:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise PerceptionError("an image cannot be encoded as JPEG")
    return data.ravel()


# --- shards -------------------------------------------------------------------------------------------------------


def shard_path(folder: Path, index: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard_{index:05d}.npz"


def generate(folder: Path, *, images: int, seed: int, workers: int = 1, look: str = "training", progress: bool = True) -> None:
    """Fills a folder with shards and its data card; goes on where an earlier run stopped.

    Args:
        folder: of the data set, made if need be.
        images: at least so many; whole shards are written.
        seed: two seeds share no scene.
        workers: processes that render.
        look: `training` or `held_out`.
        progress: whether to show a bar.

    Raises:
        PerceptionError: the look is unknown, the folder holds other data, or the data are too much alike.
    """
    from perception.training.data_card import check_diversity, claim_folder, write_card

    if look not in LOOKS:
        raise PerceptionError(f"no look '{look}'; there is {', '.join(LOOKS)}")
    folder.mkdir(parents=True, exist_ok=True)
    claim_folder(folder, seed=seed, look=look)
    indices = [index for index in range(-(-images // SHARD_IMAGES)) if not shard_path(folder, index).exists()]
    with _bar(progress) as bar:
        task = bar.add_task("images", total=len(indices) * SHARD_IMAGES) if bar is not None else None
        for _ in _written(folder, indices, seed, look, workers):
            if bar is not None:
                bar.advance(task, SHARD_IMAGES)
    card = write_card(folder)
    check_diversity(card)


def _bar(shown: bool):
    import contextlib

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not shown:
        return contextlib.nullcontext()
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def _written(folder: Path, indices: list[int], seed: int, look: str, workers: int):
    if workers <= 1:
        camera = SceneCamera(seed, LOOKS[look])
        try:
            for index in indices:
                camera.shard(index).save(shard_path(folder, index))
                yield index
        finally:
            camera.close()
        return
    context = multiprocessing.get_context("spawn")  # a forked OpenGL context is of no use
    with context.Pool(workers, _start_worker, (folder, seed, look)) as pool:
        yield from pool.imap_unordered(_write_shard, indices)


_worker: tuple[Path, SceneCamera] | None = None


def _start_worker(folder: Path, seed: int, look: str) -> None:
    global _worker
    _worker = folder, SceneCamera(seed, LOOKS[look])


def _write_shard(index: int) -> int:
    folder, camera = _worker
    camera.shard(index).save(shard_path(folder, index))
    return index


def main(arguments: list[str] | None = None) -> int:
    """Runs from a command line."""
    parser = argparse.ArgumentParser(prog="python -m perception.training.generate", description="Render training images.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--look", default="training", choices=tuple(LOOKS))
    options = parser.parse_args(arguments)
    try:
        generate(options.out, images=options.images, seed=options.seed, workers=options.workers, look=options.look)
    except HumanoidControlError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
