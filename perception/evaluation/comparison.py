"""One pose against the truth, modulo the half turn that makes the same tote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.training.measure import pose_error

DIMENSIONS = 4  # x, y, z and heading: a tote stands upright, and nothing estimates how it tilts
CHI2_90, CHI2_99 = 7.779, 13.277  # of chi-squared with 4 degrees of freedom
GROSS = 0.060  # m


@dataclass(frozen=True)
class PoseComparison:
    """How far off one pose is, and how sure it was.

    Attributes:
        position: m.
        angle: rad, about whichever axis.
        nees: squared error of x, y, z and heading over their covariance.
        deviation: m, the largest standard deviation of the position, as the pose tells it.
    """

    position: float
    angle: float
    nees: float
    deviation: float

    @property
    def is_gross(self) -> bool:
        """Whether it is so far off that nobody finds the tote by it, however unsure it says it is."""
        return self.position > GROSS


def compare(base_from_tote: np.ndarray, covariance: np.ndarray, truth: np.ndarray) -> PoseComparison:
    """Compares a pose with the truth.

    Args:
        base_from_tote: (4, 4), estimated.
        covariance: (6, 6) of translation (m) and rotation vector (rad), in `base_link`.
        truth: (4, 4), in the same frame.
    """
    error = pose_error(base_from_tote, truth)
    select = np.zeros((DIMENSIONS, 6))
    select[:3, :3] = np.eye(3)
    select[3, 3:] = truth[:3, 2]  # heading is a turn about the tote's upright axis
    short = select @ error
    nees = float(short @ np.linalg.solve(select @ covariance @ select.T, short))
    deviation = float(np.sqrt(np.linalg.eigvalsh(covariance[:3, :3])[-1]))
    return PoseComparison(float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:])), nees, deviation)
