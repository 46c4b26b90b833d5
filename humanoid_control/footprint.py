"""`base_footprint` of an estimate: the base put on the floor with its heading alone."""

from __future__ import annotations

import numpy as np

from humanoid_control.transforms import from_pose, inverse, planar, yaw_of
from humanoid_control.types import BaseEstimate


def odom_from_footprint(estimate: BaseEstimate) -> np.ndarray:
    """(4, 4) where the robot believes its `base_footprint` is."""
    return planar(*estimate.position[:2], yaw_of(from_pose(np.concatenate([np.zeros(3), estimate.orientation]))))


def footprint_from_base(estimate: BaseEstimate) -> np.ndarray:
    """(4, 4) pose of `base_link` in `base_footprint`: its height and tilt."""
    odom_from_base = from_pose(np.concatenate([estimate.position, estimate.orientation]))
    return inverse(odom_from_footprint(estimate)) @ odom_from_base
