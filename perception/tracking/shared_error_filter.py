"""A Kalman filter for measurements of which part is wrong in the same way again and again.

A Schmidt-Kalman filter (Schmidt 1966): what all measurements of one source share is never estimated, but its correlation
with the state is kept, so that a thousand images from one place do not make the state surer than one camera there can.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

SAME_VIEW = 0.25  # change, in the units of `similarity`, up to which a view is the same


@dataclass(frozen=True, eq=False)
class Measurement:
    """One measurement of a state with n numbers.

    Attributes:
        source: those of one source share an error.
        innovation: (m,) how far it is from what the state predicts.
        by_state: (m, n) derivative of what it measures by the state.
        white: (m, m) covariance of what is drawn anew each time.
        by_shared: (m, k) derivative by the shared error.
        shared: (k, k) covariance of the shared error.
        kept: (k,) how much of the shared error is the same as in the source's last measurement: 1 all, 0 nothing.
    """

    source: str
    innovation: np.ndarray
    by_state: np.ndarray
    white: np.ndarray
    by_shared: np.ndarray
    shared: np.ndarray
    kept: np.ndarray


@dataclass
class SharedErrorFilter:
    """The filter.

    Attributes:
        mean: (n,) state; who uses it knows its units.
        covariance: (n, n).
    """

    mean: np.ndarray
    covariance: np.ndarray
    _correlations: dict[str, np.ndarray] = field(default_factory=dict)  # (n, k) of the state with each source's shared error

    def add_noise(self, variance: np.ndarray) -> None:
        """Adds process noise (n, n)."""
        self.covariance = self.covariance + variance

    def transform(self, mean: np.ndarray, jacobian: np.ndarray) -> None:
        """Takes a new mean (n,) that depends on the old one by a Jacobian (n, n)."""
        self.mean = mean
        self.covariance = jacobian @ self.covariance @ jacobian.T
        self._correlations = {source: jacobian @ correlation for source, correlation in self._correlations.items()}

    def forget_shared(self, which: slice) -> None:
        """Part of every source's shared error is drawn anew."""
        for correlation in self._correlations.values():
            correlation[:, which] = 0.0

    def spread(self, measurement: Measurement) -> np.ndarray:
        """Returns the covariance (m, m) of a measurement's innovation."""
        cross = measurement.by_state @ self._correlation(measurement) @ measurement.by_shared.T
        return (measurement.by_state @ self.covariance @ measurement.by_state.T + cross + cross.T
                + measurement.by_shared @ measurement.shared @ measurement.by_shared.T + measurement.white)  # fmt: skip

    def distance(self, measurement: Measurement) -> tuple[float, float]:
        """Returns the squared Mahalanobis distance of a measurement, and the logarithm of its spread's determinant."""
        spread = self.spread(measurement)
        squared = measurement.innovation @ np.linalg.solve(spread, measurement.innovation)
        return float(squared), float(np.linalg.slogdet(spread)[1])

    def correct(self, measurement: Measurement, *, inflation: float = 1.0) -> None:
        """Takes a measurement in.

        Args:
            measurement: it.
            inflation: of the innovation's covariance, for one that is doubtful.
        """
        correlation = self._correlation(measurement)
        spread = inflation * self.spread(measurement)
        by_state, by_shared = measurement.by_state, measurement.by_shared
        gain = np.linalg.solve(spread, (self.covariance @ by_state.T + correlation @ by_shared.T).T).T
        self._correlations[measurement.source] = correlation
        for source, other in self._correlations.items():
            # What the measurement has in common with a source: through the state, and with its own source's directly.
            common = by_state @ other + (by_shared @ measurement.shared if source == measurement.source else 0.0)
            self._correlations[source] = other - gain @ common
        self.mean = self.mean + gain @ measurement.innovation
        covariance = self.covariance - gain @ spread @ gain.T
        self.covariance = 0.5 * (covariance + covariance.T)

    def _correlation(self, measurement: Measurement) -> np.ndarray:
        """(n, k) with what is still the same in the source's shared error."""
        size = (len(self.mean), len(measurement.shared))
        return self._correlations.get(measurement.source, np.zeros(size)) * measurement.kept


def similarity(view: np.ndarray, last: np.ndarray | None, *, angle: float, ratio: float) -> float:
    """Returns how alike two views of a thing are, 1 the same to 0 quite another.

    Sway and jitter make no other view: who keeps `last` replaces it only by a view that is less than 1 alike.

    Args:
        view, last: (3,) m places of the camera in the thing's frame; None for none.
        angle: rad around it, after which a third is left alike.
        ratio: relative change of the distance, after which a third is left alike.
    """
    if last is None:
        return 0.0
    distances = np.maximum([np.linalg.norm(last), np.linalg.norm(view)], 1e-3)
    turned = np.arccos(np.clip(last @ view / (distances[0] * distances[1]), -1.0, 1.0))
    change = turned / angle + abs(np.log(distances[1] / distances[0])) / ratio
    return 1.0 if change < SAME_VIEW else float(np.exp(-change))
