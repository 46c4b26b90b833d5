"""Rotations as their first two columns: without jumps, for networks (Zhou et al. 2019, arXiv 1812.07035)."""

from __future__ import annotations

import numpy as np

SIZE = 6
AXES = ("xx", "xy", "xz", "yx", "yy", "yz")
"""Of what the numbers are: the x axis, then the y axis, each as (x, y, z)."""


def to_columns(rotation: np.ndarray) -> np.ndarray:
    """(6,) the first two columns of a rotation (3, 3), one after the other."""
    return rotation[:3, :2].T.ravel()


def from_columns(columns: np.ndarray) -> np.ndarray:
    """(3, 3) rotation nearest to two columns (6,) that need be neither of unit length nor orthogonal (Gram-Schmidt).

    Columns that span no plane give the identity: there is nothing to go by.
    """
    x, y = columns[:3], columns[3:]
    length = np.sqrt(x @ x)
    if length < 1e-6:
        return np.eye(3)
    x = x / length
    y = y - (x @ y) * x
    length = np.sqrt(y @ y)
    if length < 1e-6:
        return np.eye(3)
    y = y / length
    return np.column_stack([x, y, np.cross(x, y)])
