"""Surfaces of stations in one RGB image: a small network says how far the edges are from where they were expected.

Where a surface is, is known to some centimetres from the factory file and from where the robot believes itself to be. Its
edges are projected into the image; around points along them, strips of the image are cut out across the edge and given to
a network, which says for each strip where in it the edge runs, how surely, or that it is not in sight. A least-squares fit
moves the surface (x, y, height, heading; it is level) until its edges run there. The first round shows as much as the surface
may be off, each further one less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from humanoid_control.mission.factory import Rack, Station
from humanoid_control.transforms import rotation_z, transform
from perception.camera_model import CameraModel
from perception.errors import PerceptionError
from perception.frame import CameraFrame
from perception.landmarks import NETWORK_WHITE_SHARE, SurfaceSighting
from perception.network_file import open_network
from perception.occlusion import Outline

NETWORK = "station_edges"
BINS, ACROSS = 48, 16  # of a strip: across the edge, and along it
REACHES = (120.0, 60.0, 30.0, 9.0)  # px to either side that a strip shows, round by round
COARSE_REACH = 60.0  # px, from which a round makes do with every other point
SEARCHED = 2.0  # deviations of where an edge is expected that the first round shows
POINTS = 10  # along each edge, at most
SPACING = 0.05  # m between them, at least
FINE_SPACING = 0.02  # m between those of which they are chosen
NEAREST = 0.15  # m before the camera, nearer than which no point of an edge is used
SMALLEST_ANGLE = 0.02  # of the sight against an edge's direction: seen end-on it has no side
FEWEST = 4  # strips in which the edge is in sight, for a surface to be one
LEAST_SHARE = 0.55  # of the strips in which an edge must be in sight, where the surface was searched for widely: else it is another line
STARTS = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)], float)  # deviations along x and y from which attempts begin
LIKELY = 0.5  # that the edge is in a strip, from which the strip counts
HIDDEN_MARGIN = 12.0  # px around what stands before an edge, in which no point of it is used: what has lines there is not the surface
FORGETTING = 3.0  # deviations at which a strip has lost three quarters of its weight
UNKNOWN = np.array([1.0, 1.0, 1.0, 1.0])  # m, m, m, rad: deviations of what the strips say nothing of
TILT_DEVIATION = 0.01  # rad, of a surface against level
PREDICTION_LIMIT = 0.35  # m a fit may move a surface; further, it has found something else


@dataclass(frozen=True)
class Edge:
    """A straight edge of a surface, in its frame.

    Attributes:
        start, end: (3,) m.
        inside: (3,) unit vector from the edge to what it is the edge of.
    """

    start: np.ndarray
    end: np.ndarray
    inside: np.ndarray

    @cached_property
    def along(self) -> np.ndarray:
        """(3,) unit vector from its start to its end."""
        return (self.end - self.start) / np.linalg.norm(self.end - self.start)

    @cached_property
    def fine(self) -> np.ndarray:
        """(N, 3) m, points along it, every two centimetres."""
        count = max(int(np.linalg.norm(self.end - self.start) / FINE_SPACING), 2)
        return self.start + np.linspace(0.0, 1.0, count)[:, None] * (self.end - self.start)


def surface_edges(station: Station, shelf: int) -> list[Edge]:
    """The edges by which a surface is found: of its top, and of a rack's posts beside it."""
    x, y = station.size[0] / 2, station.size[1] / 2
    x_axis, y_axis = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    edges = [Edge(np.array([-x, -y, 0]), np.array([-x, y, 0]), x_axis)]
    if isinstance(station, Rack):
        below = station.surfaces[shelf] - (station.surfaces[shelf - 1] if shelf else 0.05)
        for sign in (-1, 1):
            foot, top = np.array([-x, sign * y, -min(below, 0.3)]), np.array([-x, sign * y, 0.09])
            edges.append(Edge(foot, top, sign * y_axis))
        return edges
    edges.append(Edge(np.array([x, -y, 0]), np.array([x, y, 0]), -x_axis))
    for sign in (-1, 1):
        edges.append(Edge(np.array([-x, sign * y, 0]), np.array([x, sign * y, 0]), -sign * y_axis))
    return edges


@dataclass(frozen=True, eq=False)
class EdgePoints:
    """Points along a surface's edges as they are expected in an image.

    Attributes:
        points: (N, 3) m, in the surface's frame.
        pixels: (N, 2) px.
        across: (N, 2) unit vectors in the image, across the edge, to its outside.
        edge: (N,) index of the edge.
    """

    points: np.ndarray
    pixels: np.ndarray
    across: np.ndarray
    edge: np.ndarray

    def every_other(self) -> EdgePoints:
        """Half of them."""
        return self.chosen(slice(None, None, 2))

    def chosen(self, which: slice | np.ndarray) -> EdgePoints:
        """Some of them."""
        return EdgePoints(self.points[which], self.pixels[which], self.across[which], self.edge[which])


def expected_points(edges: list[Edge], camera_from_surface: np.ndarray, camera: CameraModel, margin: float) -> EdgePoints:
    """Where points along edges should be in an image.

    Args:
        edges: of one surface.
        camera_from_surface: (4, 4), as expected.
        camera: the intrinsics.
        margin: px that a point keeps from the image's border.
    """
    chosen, indices = [], []
    rotation, origin = camera_from_surface[:3, :3], camera_from_surface[:3, 3]
    fine = np.concatenate([edge.fine for edge in edges])
    seen = fine @ rotation.T + origin
    before = seen[:, 2] > NEAREST
    where = np.full((len(fine), 2), -1e6)
    if before.any():
        where[before] = camera.project(seen[before])[0]
    usable = before & ((where > margin) & (where < (camera.width - 1 - margin, camera.height - 1 - margin))).all(axis=1)
    first = 0
    for index, edge in enumerate(edges):
        mine = first + np.flatnonzero(usable[first : first + len(edge.fine)])
        first += len(edge.fine)
        if mine.size < 2:
            continue
        room = float(np.linalg.norm(fine[mine[-1]] - fine[mine[0]]))
        count = int(np.clip(room / SPACING, 2, POINTS))
        kept = np.unique(mine[np.linspace(0, mine.size - 1, count).round().astype(int)])
        chosen.append(kept)
        indices.append(np.full(kept.size, index))
    if not chosen:
        return EdgePoints(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, int))
    rows, indices = np.concatenate(chosen), np.concatenate(indices)
    # A centimetre along the edge, and one to its inside, as they look in the image.
    moved = 0.01 * np.concatenate([np.array([edge.along for edge in edges])[indices], np.array([edge.inside for edge in edges])[indices]])
    ahead, inwards = (camera.project(np.tile(seen[rows], (2, 1)) + moved @ rotation.T)[0] - np.tile(where[rows], (2, 1))).reshape(2, -1, 2)
    normals = np.column_stack([-ahead[:, 1], ahead[:, 0]]) / np.maximum(np.linalg.norm(ahead, axis=1), 1e-6)[:, None]
    side = (normals * inwards).sum(axis=1)
    sided = np.abs(side) >= SMALLEST_ANGLE * np.linalg.norm(inwards, axis=1)  # not where it is seen end-on
    sided &= np.linalg.norm(ahead, axis=1) >= 1e-6
    across = np.where(side[:, None] < 0, normals, -normals)
    return EdgePoints(fine[rows][sided], where[rows][sided], across[sided], indices[sided])


def cut_strips(rgb: np.ndarray, expected: EdgePoints, reach: float) -> np.ndarray:
    """(N, BINS, ACROSS, 3) uint8: strips across the edges, from `reach` px inside to as far outside."""
    scale = 2 * reach / BINS
    rows = (np.arange(BINS) + 0.5) * scale - reach
    columns = (np.arange(ACROSS) - (ACROSS - 1) / 2) * scale
    tangents = np.stack([-expected.across[:, 1], expected.across[:, 0]], axis=1)
    maps = (expected.pixels[:, None, None] + rows[None, :, None, None] * expected.across[:, None, None]
            + columns[None, None, :, None] * tangents[:, None, None]).astype(np.float32)  # fmt: skip
    flat = maps.reshape(-1, ACROSS, 2)
    if scale > 1.5:  # what is made smaller is blurred first
        rgb = cv2.blur(rgb, (int(round(scale)),) * 2)
    strips = cv2.remap(rgb, flat[..., 0], flat[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return strips.reshape(-1, BINS, ACROSS, 3)


def rows_of(expected: EdgePoints, camera_from_surface: np.ndarray, camera: CameraModel) -> np.ndarray:
    """(N, 4) how far the edge moves across its strip, in px, as the surface moves by 1 m along x, y, z or turns by 1 rad."""
    rotation, origin = camera_from_surface[:3, :3], camera_from_surface[:3, 3]
    seen = expected.points @ rotation.T + origin
    moves = np.stack([np.broadcast_to(axis, seen.shape) for axis in rotation.T]
                     + [np.cross([0.0, 0.0, 1.0], expected.points) @ rotation.T], axis=2)  # (N, 3, 4)  # fmt: skip
    rows = np.einsum("ni,nij,njk->nk", expected.across, camera.projection_jacobian(seen), moves)
    return rows


class EdgeFinder:
    """Finds surfaces near where they are expected.

    Args:
        folder: of the network; by default the shipped one.
        deviation_factor: what the network's deviations are multiplied by: neighbours along an edge err together.
        deviation_floor: px, added in squares.
    """

    def __init__(self, folder: Path | None = None, *, deviation_factor: float = 2.0, deviation_floor: float = 0.3) -> None:
        """Loads the network.

        Raises:
            PerceptionError: it is missing, corrupt or of another kind.
        """
        self._session, self.sha256 = open_network(NETWORK, folder)
        self._factor, self._floor = deviation_factor, deviation_floor

    def look(self, frame: CameraFrame, camera: CameraModel, edges: list[Edge], expected_pose: np.ndarray, *, name: str,
             prior: np.ndarray, attempt: int = 0, boxes: Sequence[np.ndarray] = ()) -> SurfaceSighting | None:  # fmt: skip
        """Returns where a surface is in an image, or None if not enough of its edges is in sight.

        Args:
            frame: the image.
            camera: its intrinsics.
            edges: of the surface.
            expected_pose: (4, 4) camera_from_surface.
            name: of the surface.
            prior: (4,) deviations (m, m, m, rad) of the expected pose along its x, y, z and heading.
            attempt: how often it was looked for in vain; where it may be anywhere, each attempt begins elsewhere.
            boxes: (8, 3) m, corners in the camera's frame of each thing that may stand before an edge: what it hides is not looked for.

        Raises:
            PerceptionError: the network fails.
        """
        pose, information = expected_pose, np.zeros((4, 4))
        outlines = [outline for outline in (Outline.of_box(box, camera) for box in boxes) if outline is not None]
        expected = expected_points(edges, pose, camera, margin=2.0)
        reaches = self._reaches(expected, pose, camera, prior)
        is_wide = reaches[0] >= COARSE_REACH
        start = STARTS[attempt % len(STARTS)]
        if is_wide and start.any():
            pose = pose @ transform(np.eye(3), np.append(start * prior[:2], 0.0))
            expected = expected_points(edges, pose, camera, margin=2.0)
        for turn, reach in enumerate(reaches):
            if turn:
                expected = expected_points(edges, pose, camera, margin=2.0)
            expected = _not_hidden(expected, pose, outlines)
            if reach >= COARSE_REACH and len(expected.points) >= 3 * FEWEST:
                expected = expected.every_other()
            if len(expected.points) < FEWEST:
                return None
            offsets, deviations, likely = self.read(cut_strips(frame.rgb, expected, reach), reach)
            keep = likely > LIKELY
            if keep.sum() < FEWEST or (is_wide and reach == reaches[-1] and not _is_plain(keep, expected.edge)):
                return None
            rows = rows_of(expected, pose, camera)[keep]
            # The expectation holds the fit together, but is no part of what was seen.
            step, information = _fit(rows, offsets[keep], deviations[keep], 1.0 / np.asarray(prior) ** 2)
            pose = pose @ transform(rotation_z(step[3]), step[:3])
            if np.linalg.norm((pose[:3, 3] - expected_pose[:3, 3])) > PREDICTION_LIMIT:
                return None
        covariance = np.linalg.inv(information + np.diag(1.0 / UNKNOWN**2))
        return SurfaceSighting(name, frame.camera, frame.stamp_s, pose, _in_camera_axes(covariance, pose),
                               NETWORK_WHITE_SHARE)  # fmt: skip

    @staticmethod
    def _reaches(expected: EdgePoints, pose: np.ndarray, camera: CameraModel, prior: np.ndarray) -> tuple[float, ...]:
        """The rounds' reaches: the first wide enough for how badly the surface's place is known."""
        if not len(expected.points):
            return REACHES[-1:]
        spread = float(np.median(np.sqrt((rows_of(expected, pose, camera) ** 2) @ np.asarray(prior) ** 2)))
        first = next((k for k in range(len(REACHES) - 1, -1, -1) if REACHES[k] >= SEARCHED * spread), 0)
        return REACHES[first:]

    def read(self, strips: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the network says of strips (N, BINS, ACROSS, 3): offsets of the edges (N,) px to the outside, their
        deviations (N,) px and how likely each is in sight (N,)."""
        images = np.ascontiguousarray(strips.transpose(0, 3, 1, 2), np.float32) / 255.0
        try:
            (logits,) = self._session.run(None, {"strips": images})
        except Exception as error:  # ONNX Runtime raises classes of its own, which it does not export
            raise PerceptionError(f"{NETWORK} failed: {error}") from None
        likely = 1.0 / (1.0 + np.exp(-logits[:, BINS]))
        places = np.exp(logits[:, :BINS] - logits[:, :BINS].max(axis=1, keepdims=True))
        places /= places.sum(axis=1, keepdims=True)
        scale = 2 * reach / BINS
        rows = (np.arange(BINS) + 0.5) * scale - reach
        offsets = places @ rows
        variances = np.maximum(places @ rows**2 - offsets**2, 0.0)
        return offsets, np.sqrt(self._factor**2 * variances + (self._floor * self._factor) ** 2), likely


def _not_hidden(expected: EdgePoints, camera_from_surface: np.ndarray, outlines: list[Outline]) -> EdgePoints:
    """The points that no outline is before."""
    points = expected.points @ camera_from_surface[:3, :3].T + camera_from_surface[:3, 3]
    hidden = np.zeros(len(points), bool)
    for outline in outlines:
        hidden |= outline.hides(points, expected.pixels, margin=HIDDEN_MARGIN)
    return expected.chosen(~hidden)


def _is_plain(in_sight: np.ndarray, edge: np.ndarray) -> bool:
    """Whether enough of all strips (N,), and of those across the front edge, show an edge."""
    front = in_sight[edge == 0]
    return in_sight.mean() >= LEAST_SHARE and (len(front) < FEWEST or front.mean() >= LEAST_SHARE)


def _fit(rows: np.ndarray, offsets: np.ndarray, deviations: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The move (4,) that brings edges to their offsets, and its information (4, 4).

    At first what does not fit weighs less (Huber 1964), then it is forgotten (Geman and McClure 1985).
    """
    weights = 1.0 / deviations**2
    kept = weights
    for forgets in (False,) * 4 + (True,) * 4:
        information = (rows * kept[:, None]).T @ rows
        step = np.linalg.solve(information + np.diag(prior), rows.T @ (kept * offsets))
        residuals = np.abs(offsets - rows @ step) / deviations
        kept = weights * (1.0 / (1.0 + (residuals / FORGETTING) ** 2) ** 2 if forgets else 1.0 / np.maximum(1.0, residuals))
    return step, information


def _in_camera_axes(covariance: np.ndarray, camera_from_surface: np.ndarray) -> np.ndarray:
    """(6, 6) in camera axes of a covariance (4, 4) along a surface's x, y, z and of its heading."""
    rotation = camera_from_surface[:3, :3]
    spread = np.zeros((6, 4))
    spread[:3, :3] = rotation
    spread[3:, 3] = rotation[:, 2]
    tilt = np.zeros((6, 6))
    tilt[3:, 3:] = TILT_DEVIATION**2 * (rotation[:, :2] @ rotation[:, :2].T)
    return spread @ covariance @ spread.T + tilt
