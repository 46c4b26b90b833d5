"""AprilTags drawn into the scene: thin plates that touch nothing. OpenCV makes their patterns."""

from __future__ import annotations

from collections.abc import Iterable

import mujoco
import numpy as np

from humanoid_control.errors import SimulationError
from humanoid_control.mission.factory import Factory
from humanoid_control.mission.tags import PLATE_SHARE, Tag, cuff_frame, cuff_tags, lay_out_tags
from humanoid_control.simulation.collision_groups import VISUAL, assign
from humanoid_control.simulation.stations import station_body_name
from humanoid_control.transforms import quaternion, transform
from humanoid_control.types import SIDES

MODULES = 8  # rows and columns of a tag's black square, border included
PIXELS_A_MODULE = 8
PLATE_THICKNESS = 0.001


def add_factory_tags(spec: mujoco.MjSpec, factory: Factory) -> None:
    """Fixes all tags of a factory to its totes and stations, which are in `spec` already."""
    layout = lay_out_tags(factory)
    for name, tags in layout.totes.items():
        add_tags(spec, name, tags)
    for (name, shelf), tags in layout.surfaces.items():
        height = transform(np.eye(3), np.array([0.0, 0.0, factory.station(name).surface_height(shelf)]))
        add_tags(spec, station_body_name(name), tags, body_from_parent=height)


def add_cuffs(spec: mujoco.MjSpec, *, offsets: dict[str, np.ndarray] | None = None) -> None:
    """Puts the calibration cuffs on the robot's hands.

    Args:
        spec: with the robot in it.
        offsets: (4, 4) by side, how far off a cuff really sits: nominal_from_actual.
    """
    for side in SIDES:
        add_tags(spec, cuff_frame(side), cuff_tags(side), body_from_parent=(offsets or {}).get(side, np.eye(4)))


def add_tags(spec: mujoco.MjSpec, body: str, tags: Iterable[Tag], *, body_from_parent: np.ndarray | None = None) -> None:
    """Fixes tags to a body of `spec`.

    Args:
        spec: the scene.
        body: its name.
        tags: poses in a frame fixed to the body.
        body_from_parent: (4, 4) pose of that frame in the body's; by default they are the same.

    Raises:
        SimulationError: there is no such body.
    """
    parent = next((candidate for candidate in spec.bodies if candidate.name == body), None)
    if parent is None:
        raise SimulationError(f"there is no body '{body}' to fix tags to")
    for tag in tags:
        pose = tag.parent_from_tag if body_from_parent is None else body_from_parent @ tag.parent_from_tag
        name = f"tag/{tag.id}"
        _add_material(spec, name, tag.id)
        half = PLATE_SHARE * tag.size / 2
        x, y, z, w = quaternion(pose[:3, :3])
        geom = parent.add_geom(
            name=name,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=pose[:3, 3] - pose[:3, 2] * PLATE_THICKNESS / 2,
            quat=[w, x, y, z],
            size=[half, half, PLATE_THICKNESS / 2],
            material=name,
        )
        assign(geom, VISUAL)


def tag_pattern(tag_id: int) -> np.ndarray:
    """Returns a tag with its white margin, (H, H, 3) uint8."""
    import cv2

    side = MODULES * PIXELS_A_MODULE
    family = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    square = cv2.aruco.generateImageMarker(family, tag_id, side)
    pattern = np.full((side + 2 * PIXELS_A_MODULE, side + 2 * PIXELS_A_MODULE, 3), 255, np.uint8)
    pattern[PIXELS_A_MODULE:-PIXELS_A_MODULE, PIXELS_A_MODULE:-PIXELS_A_MODULE] = square[:, :, None]
    return pattern


def _add_material(spec: mujoco.MjSpec, name: str, tag_id: int) -> None:
    pattern = tag_pattern(tag_id)
    spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=pattern.shape[1], height=pattern.shape[0],
                     nchannel=3, data=pattern.ravel().tolist())  # fmt: skip
    material = spec.add_material(name=name, specular=0.0, reflectance=0.0)
    textures = list(material.textures)
    textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    material.textures = textures
