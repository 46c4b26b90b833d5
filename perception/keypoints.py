"""The eight points of a tote that networks find in images, and how they change places under its symmetries.

Four are the outer corners of the rim, four the lower corners of the walls. In the tote's frame (origin in the middle of
its bottom, x along its short side, y along its long side, z up) either four come in the order (+x, +y), (-x, +y), (-x, -y),
(+x, -y); corners 4 to 7 lie below 0 to 3.
"""

from __future__ import annotations

import numpy as np

from humanoid_control.mission.load_carriers import LOAD_CARRIERS, LoadCarrier

CORNERS = 8
RIM, BOTTOM = slice(0, 4), slice(4, 8)
SIGNS = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)], float)
WALL_FOOT = 0.0075  # m above what a tote stands on: there its walls end, and the foot that is set back begins
HALF_TURN = np.array(
    [2, 3, 0, 1, 6, 7, 4, 5]
)  # corner i of a tote is corner HALF_TURN[i] of the same tote turned by 180 degrees
MIRROR = np.array([3, 2, 1, 0, 7, 6, 5, 4])  # corner i of a tote is corner MIRROR[i] of its mirror image across the x-z plane
KINDS = tuple(LOAD_CARRIERS)  # in the order of networks' outputs


def tote_corners(carrier: LoadCarrier) -> np.ndarray:
    """(8, 3) m: the corners in the tote's frame, in the order of this module."""
    rim = np.column_stack([SIGNS * (carrier.width / 2, carrier.length / 2), np.full(4, carrier.height)])
    bottom = np.column_stack([SIGNS * carrier.wall_half_extents, np.full(4, WALL_FOOT)])
    return np.vstack([rim, bottom])


def faces_away(camera_from_tote: np.ndarray) -> bool:
    """Whether the tote's +x axis points away from the camera: of its two equal poses, the one networks are taught.

    The two differ by half a turn about z. They change over where the camera looks along the tote's long side, from which
    robots do not work; for a camera right above, image up counts as away.

    Args:
        camera_from_tote: (4, 4) with optical axes (x right, y down, z forward).
    """
    rotation, sight = camera_from_tote[:3, :3], camera_from_tote[:3, 3]
    up = rotation[:, 2]
    away = sight - up * (up @ sight)  # horizontal part of the line of sight
    if away @ away < 1e-4 * (sight @ sight):
        away = np.array([0.0, -1.0, 0.0])
    return bool(rotation[:, 0] @ away >= 0.0)


def half_turned(camera_from_tote: np.ndarray) -> np.ndarray:
    """(4, 4) the other of a tote's two equal poses."""
    turned = camera_from_tote.copy()
    turned[:3, :2] *= -1.0
    return turned


def canonical(camera_from_tote: np.ndarray) -> np.ndarray:
    """(4, 4) of a tote's two equal poses the one that `faces_away`."""
    return camera_from_tote if faces_away(camera_from_tote) else half_turned(camera_from_tote)
