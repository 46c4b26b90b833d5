"""One tote's filter: x, y, z (m) and yaw (rad) in `odom`.

All images of a camera share its mounting error (6) and, while the camera looks from the same place, most of what the
detector does wrong (4, in units of its standard deviation).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from humanoid_control.mission.load_carriers import LoadCarrier
from humanoid_control.transforms import planar, rotation_z, yaw_of
from perception.tracking.shared_error_filter import Measurement, SharedErrorFilter, similarity
from perception.tracking.sighting import ToteMeasurement

GATE = 18.5  # squared Mahalanobis distance: 99.9% of chi-squared with 4 degrees of freedom
DOUBTFUL = 9.5  # 95%: beyond, a measurement weighs less the further off it is
VIEW_ANGLE, VIEW_RATIO = 0.12, 0.12  # rad around the tote, and relative change of distance, that make another view
MOUNTING, VIEW = slice(0, 6), slice(6, 10)
SMALLEST = 1e-14  # added to variances, so that they have a root


@dataclass
class ToteTrack:
    """One tote.

    Attributes:
        name: as in the factory's file; empty for one that nobody expected.
        carrier: its kind.
        filter: x, y, z, yaw in `odom`.
        seen_s: when it was last seen; -inf before.
        sightings: how often it was.
        held: whether both hands hold it.
        looks_in_vain: how often its place was looked at since, and it was not seen.
    """

    name: str
    carrier: LoadCarrier
    filter: SharedErrorFilter
    seen_s: float = -np.inf
    sightings: int = 0
    held: bool = False
    looks_in_vain: int = 0
    _views: dict[str, np.ndarray] = field(default_factory=dict)  # (3,) the camera's place in the tote's frame when last seen

    @property
    def pose(self) -> np.ndarray:
        """(4, 4) odom_from_tote."""
        x, y, z, yaw = self.filter.mean
        return planar(x, y, yaw, z)

    @property
    def position(self) -> np.ndarray:
        """(3,) m in `odom`."""
        return self.filter.mean[:3]

    @property
    def is_seen(self) -> bool:
        """Whether any camera has seen it yet."""
        return self.sightings > 0

    def add_noise(self, variance: np.ndarray) -> None:
        """Adds to the covariance: (4,) variances or (4, 4)."""
        self.filter.add_noise(np.diag(variance) if variance.ndim == 1 else variance)

    def move(self, odom_moved: np.ndarray) -> None:
        """Moves it along with something rigid, (4, 4) in `odom`."""
        moved = odom_moved @ self.pose
        turn = np.eye(4)
        turn[:3, :3] = rotation_z(yaw_of(odom_moved))
        self.filter.transform(np.append(moved[:3, 3], yaw_of(moved)), turn)

    def distance(self, measurement: ToteMeasurement) -> tuple[float, float]:
        """Returns the squared Mahalanobis distance to a measurement, and the logarithm of its density's spread."""
        return self.filter.distance(self._compared(measurement))

    def update(self, measurement: ToteMeasurement) -> bool:
        """Takes a measurement in; false where it is too far off to be of this tote."""
        compared = self._compared(measurement)
        distance, _ = self.filter.distance(compared)
        if distance > GATE:
            return False
        camera = measurement.sighting.camera
        self.filter.correct(compared, inflation=max(distance / DOUBTFUL, 1.0) if self.is_seen else 1.0)
        if compared.kept[VIEW.start] < 1:
            self._views[camera] = self._view(measurement)
        self.seen_s = max(self.seen_s, measurement.sighting.stamp_s)
        self.sightings += 1
        return True

    def forget_views(self) -> None:
        """It was moved: what detectors do wrong is drawn anew."""
        self.filter.forget_shared(VIEW)
        self._views.clear()

    def _compared(self, measurement: ToteMeasurement) -> Measurement:
        innovation = measurement.value - self.filter.mean
        innovation[3] -= np.pi * np.round(innovation[3] / np.pi)  # half a turn makes the same tote
        camera, white_share = measurement.sighting.camera, measurement.sighting.white_share
        shared = np.eye(10)
        shared[MOUNTING, MOUNTING] = measurement.mounting_covariance
        kept = np.ones(10)
        kept[VIEW] = similarity(self._view(measurement), self._views.get(camera), angle=VIEW_ANGLE, ratio=VIEW_RATIO)
        root = np.linalg.cholesky((1 - white_share) * measurement.covariance + SMALLEST * np.eye(4))
        return Measurement(camera, innovation, np.eye(4), white_share * measurement.covariance,
                           np.hstack([measurement.by_mounting, root]), shared, kept)  # fmt: skip

    def _view(self, measurement: ToteMeasurement) -> np.ndarray:
        return rotation_z(self.filter.mean[3]).T @ (measurement.camera_position - self.position)
