"""Strips of images across the edges of surfaces, with where the edge really is: what the edge network learns from.

Scenes, postures and looks are those of `generate`; a strip is cut out where the edge would be, were the surface a little
elsewhere, as it is at run time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from humanoid_control.simulation.cameras import camera_matrix
from humanoid_control.transforms import rotation_z, transform
from perception.camera_model import CameraModel
from perception.edges import BINS, Edge, EdgePoints, cut_strips, expected_points, surface_edges
from perception.training.generate import CAMERAS, HEIGHT, WIDTH, SceneCamera, in_sight
from perception.training.scenes import LOOKS, Scene, draw_scene
from perception.true_cameras import camera_from_map

FARTHEST = 2.5  # m from the camera to the middle of a surface
REACH = (6.0, 36.0)  # px to either side that strips show
DISPLACED = np.array([0.05, 0.05, 0.04, 0.05])  # m, m, m, rad: standard deviations of where a surface is expected
SHARD_IMAGES = 100
EXPECTATIONS = 3  # of each surface in one image
MOST_STRIPS = 90  # of one image
HIDDEN_SHARE = 0.45  # of the strips of one image, at most, in which the edge is not in sight


@dataclass(frozen=True)
class Strips:
    """Many strips.

    Attributes:
        images: (N, BINS, ACROSS, 3) uint8.
        offsets: (N,) where the edge is, in bins from the middle to the outside; NaN where it is not in sight.
    """

    images: np.ndarray
    offsets: np.ndarray

    @classmethod
    def load(cls, folder: Path) -> Strips:
        """All strips of a folder."""
        files = sorted(folder.glob("strips_*.npz"))
        parts = [np.load(file) for file in files]
        return cls(np.concatenate([p["images"] for p in parts]), np.concatenate([p["offsets"] for p in parts]))


class StripCutter(SceneCamera):
    """Renders scenes, and cuts strips out of them."""

    def strips(self, index: int, images: int = SHARD_IMAGES) -> Strips:
        """The strips of so many images: always the same for the same seed, look and index."""
        rng = np.random.default_rng([self._seed, 7, index])
        cut: list[tuple[np.ndarray, np.ndarray]] = []
        while len(cut) < images:
            scene = draw_scene(self._robot_spec, rng, self._look)
            self._cut_scene(scene, rng, images, cut)
        return Strips(np.concatenate([c[0] for c in cut]), np.concatenate([c[1] for c in cut]))

    def _cut_scene(self, scene: Scene, rng: np.random.Generator, most: int, cut: list) -> None:
        model, factory = scene.model, scene.episode.factory
        renderer = self._renderer(model, self._prepare(model, rng))
        for _, data, _ in self._postures_in(scene, rng):
            for name in rng.permutation(CAMERAS)[:2]:
                camera = CameraModel(name, WIDTH, HEIGHT, camera_matrix(model, name, width=WIDTH, height=HEIGHT))
                jobs = self._jobs(data, camera, factory, rng)
                if not jobs:
                    continue
                depth = renderer.depth(data, name, width=WIDTH, height=HEIGHT)
                rgb = renderer.rgb(data, name, width=WIDTH, height=HEIGHT)
                parts = [(cut_strips(rgb, expected, reach), true_offsets(expected, edges, pose, camera, depth) / (2 * reach / BINS))
                         for edges, pose, expected, reach in jobs]  # fmt: skip
                images, offsets = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
                offsets = np.where(np.abs(offsets) < BINS / 2, offsets, np.nan)
                keep = self._chosen(np.isfinite(offsets), rng)
                if not keep.size:
                    continue
                cut.append((images[keep], offsets[keep].astype(np.float32)))
                if len(cut) == most:
                    return

    @staticmethod
    def _chosen(in_sight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Indices of the strips to keep, those with an edge first."""
        shown = rng.permutation(np.flatnonzero(in_sight))[:MOST_STRIPS]
        hidden = rng.permutation(np.flatnonzero(~in_sight))
        return np.concatenate([shown, hidden[: int(shown.size * HIDDEN_SHARE / (1 - HIDDEN_SHARE)) + 2]])

    @staticmethod
    def _jobs(data, camera: CameraModel, factory, rng) -> list[tuple[list[Edge], np.ndarray, EdgePoints, float]]:
        """Surfaces in view: their edges, true pose, points where they are expected, and the strips' reach."""
        from_map = camera_from_map(data, camera.name)
        jobs = []
        for station in factory.stations:
            for shelf, height in enumerate(station.surfaces):
                map_from_surface = station.map_from_station.copy()
                map_from_surface[2, 3] = height
                pose = from_map @ map_from_surface
                if np.linalg.norm(pose[:3, 3]) > FARTHEST:
                    continue
                edges = surface_edges(station, shelf)
                for _ in range(EXPECTATIONS):
                    reach = float(np.exp(rng.uniform(*np.log(REACH))))
                    off = DISPLACED * reach / REACH[1] * rng.normal(size=4)
                    expected = expected_points(edges, pose @ transform(rotation_z(off[3]), off[:3]), camera, 2.0)
                    if len(expected.points):
                        jobs.append((edges, pose, expected, reach))
        return jobs


def true_offsets(expected: EdgePoints, edges: list[Edge], camera_from_surface: np.ndarray, camera: CameraModel,
                 depth: np.ndarray) -> np.ndarray:  # fmt: skip
    """(N,) px from each expected point to where the edge really crosses its strip; NaN where that is not in sight.

    Args:
        expected: as projected from where the surface is not.
        edges: of the surface.
        camera_from_surface: (4, 4), true.
        camera: the intrinsics.
        depth: (H, W) m.
    """
    offsets = np.full(len(expected.points), np.nan)
    for index, edge in enumerate(edges):
        mine = np.flatnonzero(expected.edge == index)
        if not mine.size:
            continue
        fine = edge.start + np.linspace(0.0, 1.0, 200)[:, None] * (edge.end - edge.start)
        points = fine @ camera_from_surface[:3, :3].T + camera_from_surface[:3, 3]
        pixels, valid = camera.project(points)
        if valid.sum() < 2:
            continue
        sight = in_sight(points, np.where(valid[:, None], pixels, -1.0), depth) & valid
        for k in mine:
            across = expected.across[k]
            tangent = np.array([-across[1], across[0]])
            beside = (pixels - expected.pixels[k]) @ tangent
            crossing = np.flatnonzero(np.signbit(beside[:-1]) != np.signbit(beside[1:]))
            for c in crossing:
                if not (sight[c] or sight[c + 1]):
                    continue
                share = beside[c] / (beside[c] - beside[c + 1])
                where = pixels[c] + share * (pixels[c + 1] - pixels[c])
                offsets[k] = (where - expected.pixels[k]) @ across
    return offsets


def generate_strips(folder: Path, *, images: int, seed: int, look: str = "training") -> None:
    """Fills a folder with shards of strips; goes on where an earlier run stopped.

    Args:
        folder: made if need be.
        images: from which strips are cut.
        seed: two seeds share no scene.
        look: `training` or `held_out`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cutter = StripCutter(seed, LOOKS[look])
    try:
        for index in track(range(-(-images // SHARD_IMAGES)), description=f"strips ({look})"):
            path = folder / f"strips_{index:04d}.npz"
            if path.exists():
                continue
            strips = cutter.strips(index)
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.savez(file, images=strips.images, offsets=strips.offsets)
            os.replace(part, path)
    finally:
        cutter.close()
