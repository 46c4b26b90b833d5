"""What is known, drawn into an image of the camera it was seen with: for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from perception.camera_model import CameraModel
from perception.keypoints import tote_corners
from perception.landmarks import map_surfaces
from perception.poses import ObjectPose, PoseSet
from perception.tracking.sighting import ToteSighting

FRESH_S = 0.5  # since a thing was seen, up to which it is drawn as seen
FRESH, OLD, NEVER = (40, 220, 60), (240, 190, 30), (160, 160, 160)  # red, green, blue
SURFACE, SIGHTING = (60, 130, 255), (255, 60, 60)
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
OUTLINE = ((0, 1), (1, 2), (2, 3), (3, 0))
SIGMAS = 2.0
ELLIPSE = np.column_stack([f(np.linspace(0.0, 2 * np.pi, 25)) for f in (np.cos, np.sin)])
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_poses(
    rgb: np.ndarray, camera: CameraModel, camera_from_base: np.ndarray, poses: PoseSet, factory: Factory,
    *, sightings: Sequence[ToteSighting] = (),
) -> np.ndarray:  # fmt: skip
    """Returns a copy of an image with boxes, names and uncertainties (two standard deviations of a place) drawn in.

    Args:
        rgb: (H, W, 3) uint8.
        camera: it was taken with.
        camera_from_base: (4, 4) at its time, in optical axes.
        poses: at its time.
        factory: whose totes and surfaces they are.
        sightings: what this image alone showed.
    """
    picture = np.ascontiguousarray(rgb).copy()
    halves = {name: surface.half for name, surface in map_surfaces(factory).items()}
    for name, surface in poses.surfaces.items():
        half = halves[name]
        corners = np.column_stack([half * [(1, 1), (-1, 1), (-1, -1), (1, -1)], np.zeros(4)])
        _draw_edges(picture, camera, camera_from_base @ surface.base_from_object, corners, OUTLINE, SURFACE)
    for sighting in sightings:
        pixels, valid = camera.project(_moved(sighting.camera_from_tote, tote_corners(LOAD_CARRIERS[sighting.kind])))
        for pixel in pixels[valid]:
            cv2.circle(picture, _place(pixel), 2, SIGHTING, -1)
    for name, tote in poses.totes.items():
        age_s = poses.stamp_s - tote.stamp_s
        colour = FRESH if age_s <= FRESH_S else OLD if np.isfinite(age_s) else NEVER
        camera_from_tote = camera_from_base @ tote.base_from_object
        _draw_edges(picture, camera, camera_from_tote, tote_corners(factory.tote(name).carrier), EDGES, colour)
        _draw_place(picture, camera, camera_from_tote, camera_from_base, tote, colour)
    return picture


def _draw_place(picture: np.ndarray, camera: CameraModel, camera_from_tote: np.ndarray, camera_from_base: np.ndarray,
                tote: ObjectPose, colour: tuple[int, int, int]) -> None:  # fmt: skip
    """An ellipse around the tote's origin, and its name."""
    origin = camera_from_tote[None, :3, 3]
    pixels, valid = camera.project(origin)
    if not valid[0] or not camera.inside(pixels, margin=-float(camera.width))[0]:
        return
    by_base = camera.projection_jacobian(origin)[0] @ camera_from_base[:3, :3]
    spread, axes = np.linalg.eigh(by_base @ tote.covariance[:3, :3] @ by_base.T)
    ring = pixels[0] + SIGMAS * (ELLIPSE * np.sqrt(np.maximum(spread, 0.0))) @ axes.T
    if np.abs(ring).max() < 10 * camera.width:
        cv2.polylines(picture, [np.round(ring).astype(np.int32)], True, colour, 1, cv2.LINE_AA)
    x, y = _place(pixels[0])
    cv2.putText(picture, tote.name, (x + 4, y - 4), FONT, 0.45, colour, 1, cv2.LINE_AA)


def _draw_edges(picture: np.ndarray, camera: CameraModel, camera_from_object: np.ndarray, corners: np.ndarray, edges,
                colour: tuple[int, int, int]) -> None:  # fmt: skip
    pixels, valid = camera.project(_moved(camera_from_object, corners))
    near = valid & camera.inside(pixels, margin=-float(camera.width))
    for first, second in edges:
        if near[first] and near[second]:
            cv2.line(picture, _place(pixels[first]), _place(pixels[second]), colour, 1, cv2.LINE_AA)


def _moved(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ pose[:3, :3].T + pose[:3, 3]


def _place(pixel: np.ndarray) -> tuple[int, int]:
    return int(round(pixel[0])), int(round(pixel[1]))
