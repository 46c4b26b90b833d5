"""Where a tote that nobody has moved yet should stand, as the factory's file has it."""

from __future__ import annotations

import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.transforms import planar, yaw_of

PLACE_SHARE, PLACE_DEVIATION = 0.6, np.array([0.04, 0.04, 0.04, 0.12])  # of the file's spread, and besides it; m, m, m, rad


def expected_place(factory: Factory, name: str, odom_from_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a tote's (4,) x, y, z (m) and yaw (rad) in `odom`, and (4, 4) how badly the file alone tells them.

    Args:
        factory: as in its file.
        name: of the tote.
        odom_from_map: (4, 4), taken as exact.
    """
    x, y, z, yaw = factory.tote_pose(name)
    pose = odom_from_map @ planar(x, y, yaw, z)
    spread = np.array(factory.randomise.tote_pose or (0.0, 0.0, 0.0))
    deviation = PLACE_DEVIATION.copy()
    deviation[[0, 1, 3]] += PLACE_SHARE * spread
    along = planar(0.0, 0.0, yaw_of(odom_from_map) + factory.tote_station(name).yaw)[:2, :2]
    variance = np.diag(deviation**2)
    variance[:2, :2] = along @ variance[:2, :2] @ along.T
    return np.append(pose[:3, 3], yaw_of(pose)), variance
