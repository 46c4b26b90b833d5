"""AprilTags (family 36h11) in one image, through OpenCV."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

MIN_SIDE = 14.0  # px, the shortest side of a tag whose bits are still told apart reliably
CORNER_DEVIATION = 0.12  # px, of a corner that nothing hides
MODULES = 8  # along a tag's side; the black frame around its bits is one wide
SAMPLES = 20  # across each side, where its edge is sought
KEPT_SHARE = 0.10  # of a side at either end that is left out: there the other edges begin
REACHES = (0.9, 0.6)  # of a module, to either side of where an edge is expected, one round after the other
LEAST_REACH, MOST_REACH = 0.8, 4.0  # px
STEPS = 15  # along each sample
OUTLIER = 2.5  # median distances from a side's line, beyond which a sample is none of its edge


@dataclass(frozen=True, eq=False)
class TagSighting:
    """One tag seen in an image.

    Attributes:
        id: in the family.
        pixels: (4, 2) corners of the black square: top left, top right, bottom right, bottom left of the tag.
        deviation: px, the standard deviation of each coordinate.
    """

    id: int
    pixels: np.ndarray
    deviation: float


class TagDetector:
    """Finds tags; one for each thread.

    OpenCV finds them and reads their bits. Its own refinement by lines (that of the AprilTag library) takes five times as
    long as all the rest, as it looks for tags anew; here lines are fitted to the edges of those that were found.
    """

    def __init__(self) -> None:
        parameters = cv2.aruco.DetectorParameters()
        parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_NONE
        parameters.adaptiveThreshWinSizeMin, parameters.adaptiveThreshWinSizeMax = 5, 45
        parameters.adaptiveThreshWinSizeStep = 20
        parameters.minMarkerPerimeterRate = 4 * MIN_SIDE / 640
        parameters.minMarkerDistanceRate = 0.02  # more takes a large tag and its white margin for one, which is none
        parameters.errorCorrectionRate = 0.3  # more would make tags of patterns that are none
        self._detector = cv2.aruco.ArucoDetector(
            cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11), parameters)  # fmt: skip

    def detect(self, rgb: np.ndarray) -> list[TagSighting]:
        """Returns the tags in an image (H, W, 3) uint8; an id may come more than once."""
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        corners, ids, _ = self._detector.detectMarkers(grey)
        if ids is None:
            return []
        refined = refine_corners(grey, np.array(corners, float).reshape(-1, 4, 2))
        sightings = []
        for tag_id, pixels in zip(ids.ravel(), refined, strict=True):
            sides = np.linalg.norm(pixels - np.roll(pixels, 1, axis=0), axis=1)
            if np.isfinite(pixels).all() and sides.min() >= MIN_SIDE / 2 and sides.max() >= MIN_SIDE:
                sightings.append(TagSighting(int(tag_id), pixels, CORNER_DEVIATION))
        return sightings


def refine_corners(grey: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Corners (N, 4, 2) px of dark squares on bright ground, from lines along their edges; NaN where these are not seen.

    Args:
        grey: (H, W) uint8.
        corners: (N, 4, 2) px, a pixel or so off, clockwise in the image.
    """
    for share in REACHES:
        corners = _from_lines(grey, corners, share)
    return corners


def _from_lines(grey: np.ndarray, corners: np.ndarray, share: float) -> np.ndarray:
    ends = np.roll(corners, -1, axis=1)  # (N, 4, 2): a side runs from each corner to the next
    along = ends - corners
    length = np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-6)
    along = along / length
    outwards = np.stack([along[..., 1], -along[..., 0]], axis=2)  # clockwise in an image, whose y points down
    diagonals = corners[:, 2:] - corners[:, :2]
    area = 0.5 * np.abs(diagonals[:, 0, 0] * diagonals[:, 1, 1] - diagonals[:, 0, 1] * diagonals[:, 1, 0])
    module = area[:, None, None] / length / MODULES  # (N, 4, 1) across the side, which is less than along it at a slant
    reach = np.clip(share * module, LEAST_REACH, MOST_REACH)
    places = length * np.linspace(KEPT_SHARE, 1 - KEPT_SHARE, SAMPLES)  # (N, 4, S)
    offsets = reach * np.linspace(-1.0, 1.0, STEPS)  # (N, 4, T)
    points = (corners[:, :, None, None] + places[..., None, None] * along[:, :, None, None]
              + offsets[:, :, None, :, None] * outwards[:, :, None, None])  # (N, 4, S, T, 2)  # fmt: skip
    flat = np.nan_to_num(points, nan=-1e4).astype(np.float32).reshape(-1, STEPS, 2)
    values = cv2.remap(grey, flat[..., 0], flat[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    values = values.reshape(points.shape[:-1]).astype(float)
    rises = np.maximum(np.diff(values, axis=3), 0.0)  # from black to white, outwards
    middles = 0.5 * (offsets[..., 1:] + offsets[..., :-1])[:, :, None]
    weights = rises.sum(axis=3)  # (N, 4, S)
    where = (rises * middles).sum(axis=3) / np.maximum(weights, 1e-6)
    # A line for each side: its distance from where it was expected, as it goes along.
    kept = weights
    for _ in range(3):
        line = _fitted_lines(places - length / 2, where, kept)
        off = np.abs(where - line[..., :1] - line[..., 1:] * (places - length / 2))
        limit = OUTLIER * np.median(off, axis=2, keepdims=True) + 0.05
        kept = np.where(off < limit, weights, 0.0)
    middle = 0.5 * (corners + ends) + line[..., :1] * outwards
    direction = along + line[..., 1:] * outwards
    return _crossings(np.roll(middle, 1, axis=1), np.roll(direction, 1, axis=1), middle, direction)


def _fitted_lines(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(..., 2) height and slope of the lines through points (..., S) by weighted least squares; NaN without points."""
    total = weights.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y = (weights * x).sum(axis=-1) / total, (weights * y).sum(axis=-1) / total
        apart = x - mean_x[..., None]
        slope = (weights * apart * (y - mean_y[..., None])).sum(axis=-1) / (weights * apart**2).sum(axis=-1)
    return np.stack([mean_y - slope * mean_x, slope], axis=-1)


def _crossings(first: np.ndarray, first_way: np.ndarray, second: np.ndarray, second_way: np.ndarray) -> np.ndarray:
    """(..., 2) where lines cross, each given by a point and a direction (..., 2)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = first_way[..., 0] * second_way[..., 1] - first_way[..., 1] * second_way[..., 0]
        gap = second - first
        share = (gap[..., 0] * second_way[..., 1] - gap[..., 1] * second_way[..., 0]) / determinant
    return first + share[..., None] * first_way
