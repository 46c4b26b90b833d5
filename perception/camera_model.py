"""A camera's intrinsics: where in its image a point is seen, and along which ray a pixel looks.

The pinhole with the `plumb_bob` distortion of ROS and OpenCV (Brown 1971). Pixel centres are at integers, so that the
middle of an image of width w is at (w - 1) / 2. Points are in the camera's optical frame (REP-103): z forward, x right, y
down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from humanoid_control.errors import ConfigurationError

NEAREST = 0.02  # m before the camera, nearer than which nothing is projected
DISTORTION_MODEL = "plumb_bob"
NEWTON_STEPS = 12
RADIUS_SAMPLES = 400
MAX_RADIUS = 3.0  # tan of the half angle (72 degrees) up to which a distortion is looked at


@dataclass(frozen=True, eq=False)
class CameraModel:
    """One camera's intrinsics.

    Attributes:
        name: of the camera, as in `topics.CAMERAS`.
        width, height: pixels.
        matrix: (3, 3) pinhole matrix in pixels, without skew.
        distortion: (5,) k1, k2, p1, p2, k3.
    """

    name: str
    width: int
    height: int
    matrix: np.ndarray
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(5))

    def __post_init__(self) -> None:
        matrix, distortion = np.array(self.matrix, float), np.array(self.distortion, float)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            raise ConfigurationError(f"{self.name}: the camera matrix must be (3, 3) and finite; got {matrix.tolist()}")
        if distortion.shape != (5,) or not np.isfinite(distortion).all():
            raise ConfigurationError(f"{self.name}: distortion must be k1 k2 p1 p2 k3; got {distortion.tolist()}")
        if self.width < 1 or self.height < 1:
            raise ConfigurationError(f"{self.name}: an image of {self.width} x {self.height} pixels cannot be")
        if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or matrix[0, 1] != 0 or any(matrix[1:, 0]) or tuple(matrix[2]) != (0, 0, 1):
            raise ConfigurationError(f"{self.name}: the camera matrix must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with "
                                     f"fx, fy > 0; got {matrix.tolist()}")  # fmt: skip
        if not (0 <= matrix[0, 2] < self.width and 0 <= matrix[1, 2] < self.height):
            raise ConfigurationError(f"{self.name}: the principal point ({matrix[0, 2]:g}, {matrix[1, 2]:g}) is outside the "
                                     f"image of {self.width} x {self.height} pixels")  # fmt: skip
        matrix.flags.writeable = distortion.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "distortion", distortion)

    @classmethod
    def from_camera_info(
        cls, name: str, *, width: int, height: int, distortion_model: str, d: Sequence[float], k: Sequence[float]
    ) -> CameraModel:
        """Returns the camera that the fields of a `sensor_msgs/CameraInfo` describe.

        Args:
            name: of the camera.
            width, height: pixels.
            distortion_model: `plumb_bob`, or empty where there is no distortion.
            d: up to five coefficients; those missing are 0.
            k: (9,) camera matrix, row by row.

        Raises:
            ConfigurationError: they describe no such camera.
        """
        if distortion_model not in ("", DISTORTION_MODEL):
            raise ConfigurationError(f"{name}: distortion model '{distortion_model}' is unknown; allowed: {DISTORTION_MODEL}")
        if len(d) > 5 or len(k) != 9:
            raise ConfigurationError(f"{name}: camera info has {len(d)} distortion coefficients and {len(k)} matrix entries; "
                                     "at most 5 and exactly 9 are allowed")  # fmt: skip
        distortion = np.zeros(5)
        distortion[: len(d)] = d
        return cls(name, int(width), int(height), np.reshape(np.array(k, float), (3, 3)), distortion)

    def camera_info_fields(self) -> dict[str, object]:
        """Returns the fields of a `sensor_msgs/CameraInfo`: `from_camera_info` gives the same camera again."""
        projection = np.hstack([self.matrix, np.zeros((3, 1))])
        return {
            "width": self.width, "height": self.height, "distortion_model": DISTORTION_MODEL,
            "d": self.distortion.tolist(), "k": self.matrix.ravel().tolist(), "r": np.eye(3).ravel().tolist(),
            "p": projection.ravel().tolist(),
        }  # fmt: skip

    def scaled(self, width: int, height: int) -> CameraModel:
        """Returns the same camera with images of another size, of the same field of view."""
        sx, sy = width / self.width, height / self.height
        matrix = self.matrix.copy()
        matrix[0, 0] *= sx
        matrix[1, 1] *= sy
        # Pixel centres are at integers: the image's edge, at -0.5, is what stays.
        matrix[0, 2] = (matrix[0, 2] + 0.5) * sx - 0.5
        matrix[1, 2] = (matrix[1, 2] + 0.5) * sy - 0.5
        return CameraModel(self.name, width, height, matrix, self.distortion)

    def matches(self, other: CameraModel, *, tolerance: float = 1e-6) -> bool:
        """Whether another camera's figures are the same."""
        return ((self.width, self.height) == (other.width, other.height)
                and np.allclose(self.matrix, other.matrix, rtol=tolerance)
                and np.allclose(self.distortion, other.distortion, atol=tolerance))  # fmt: skip

    @cached_property
    def max_radius(self) -> float:
        """Distance from the axis, at depth 1, up to which distortion keeps points apart; beyond, a point is not seen."""
        radius = np.linspace(0.0, MAX_RADIUS, RADIUS_SAMPLES)
        k1, k2, _, _, k3 = self.distortion
        squared = radius**2
        slope = 1 + 3 * k1 * squared + 5 * k2 * squared**2 + 7 * k3 * squared**3
        folded = np.flatnonzero(slope <= 0.05)
        return float(radius[folded[0]]) if len(folded) else np.inf

    def project(self, points_in_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns pixels (N, 2) and which of them are valid (N,): before the camera, and where the distortion holds.

        A valid pixel may lie outside the image; see `inside`. Those that are not valid are NaN.

        Args:
            points_in_camera: (N, 3) m.
        """
        points = np.asarray(points_in_camera, float)
        valid = points[:, 2] > NEAREST
        depth = np.where(valid, points[:, 2], 1.0)
        plane = points[:, :2] / depth[:, None]
        valid &= np.hypot(plane[:, 0], plane[:, 1]) < self.max_radius
        pixels = self._distorted(plane) * self._focal + self._centre
        pixels[~valid] = np.nan
        return pixels, valid

    def projection_jacobian(self, points_in_camera: np.ndarray) -> np.ndarray:
        """Returns (N, 2, 3) px/m, the derivative of `project` by the points (N, 3), all of them before the camera."""
        points = np.asarray(points_in_camera, float)
        x, y, z = points.T
        by_plane = self._distortion_jacobian(points[:, :2] / z[:, None])
        by_point = np.zeros((len(points), 2, 3))
        by_point[:, 0, 0] = by_point[:, 1, 1] = 1 / z
        by_point[:, 0, 2], by_point[:, 1, 2] = -x / z**2, -y / z**2
        return self._focal[:, None] * (by_plane @ by_point)

    def unproject(self, pixels: np.ndarray) -> np.ndarray:
        """Returns unit rays (N, 3) in the optical frame along which pixels (N, 2) look; NaN where no point is seen there."""
        target = (np.asarray(pixels, float) - self._centre) / self._focal
        plane = target.copy()
        if self.distortion.any():
            for _ in range(NEWTON_STEPS):
                error = self._distorted(plane) - target
                plane -= np.linalg.solve(self._distortion_jacobian(plane), error[:, :, None])[:, :, 0]
                # A step too far ends beyond the fold, from where there is no way back.
                radius = np.maximum(np.hypot(plane[:, 0], plane[:, 1]), 1e-12)
                plane *= np.minimum(1.0, min(self.max_radius, 1e3) / radius)[:, None]
            lost = np.abs(self._distorted(plane) - target).max(axis=1) > 1e-6
            plane[lost] = np.nan
        rays = np.column_stack([plane, np.ones(len(plane))])
        return rays / np.linalg.norm(rays, axis=1, keepdims=True)

    def inside(self, pixels: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Returns which pixels (N, 2) lie in the image, at least `margin` px from its edge; NaN do not."""
        u, v = np.asarray(pixels, float).T
        return ((u >= margin - 0.5) & (u <= self.width - 0.5 - margin)
                & (v >= margin - 0.5) & (v <= self.height - 0.5 - margin))  # fmt: skip

    @cached_property
    def intrinsics(self) -> np.ndarray:
        """(9,) fx, fy, cx, cy, k1, k2, p1, p2, k3: what compiled code takes."""
        return np.concatenate([self._focal, self._centre, self.distortion])

    @property
    def _focal(self) -> np.ndarray:
        return np.array([self.matrix[0, 0], self.matrix[1, 1]])

    @property
    def _centre(self) -> np.ndarray:
        return self.matrix[:2, 2]

    def _distorted(self, plane: np.ndarray) -> np.ndarray:
        """(N, 2) points at depth 1 as the lens bends them."""
        k1, k2, p1, p2, k3 = self.distortion
        x, y = plane.T
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        return np.column_stack([x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y])  # fmt: skip

    def _distortion_jacobian(self, plane: np.ndarray) -> np.ndarray:
        """(N, 2, 2) derivative of `_distorted`."""
        k1, k2, p1, p2, k3 = self.distortion
        x, y = plane.T
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        slope = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))  # of `radial` by x, divided by x
        jacobian = np.empty((len(plane), 2, 2))
        jacobian[:, 0, 0] = radial + x * x * slope + 2 * p1 * y + 6 * p2 * x
        jacobian[:, 0, 1] = jacobian[:, 1, 0] = x * y * slope + 2 * p1 * x + 2 * p2 * y
        jacobian[:, 1, 1] = radial + y * y * slope + 6 * p1 * y + 2 * p2 * x
        return jacobian
