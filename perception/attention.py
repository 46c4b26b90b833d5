"""What in an image is worth looking at, so that all cameras together fit a share of one core.

Totes that are tracked are looked at where they should be, with one crop each, and not in every image. The whole image is
searched now and then, sooner where a tote that was never seen may be in view. Surfaces are looked for one an image, that
one first which has waited longest for how near it is. What images that are taken at about the same time may cost together
is limited; what does not fit waits for the next.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from humanoid_control.transforms import inverse
from perception.camera_model import CameraModel
from perception.crops import box_of
from perception.keypoints import tote_corners
from perception.occlusion import Outline
from perception.poses import ObjectPose
from perception.tracking.tote_track import ToteTrack

SEARCH_PERIOD_S = 0.5  # between two searches of a camera's whole image
EAGER_PERIOD_S = 0.25  # the same, while a tote that was never seen may be in view
SEARCH_SPACING_S = 0.03  # between searches of any two cameras, so that they do not all come at once
TOTE_PERIOD_S, SURFACE_PERIOD_S = 0.09, 0.19  # between two looks of one camera at the same thing: the next image hardly differs
MOST_TOTES = 4  # tracked ones that are looked at in one image
FARTHEST_TOTE, FARTHEST_SURFACE = 2.5, 2.0  # m from the camera
FRAMED_SHARE = 0.35  # of a tote's box that must be in the image
SURE_DEVIATION = 0.06  # m, of a track's position, beyond which a tote is searched for instead
NEAREST = 0.3  # m, the distance within which none is nearer than another
BOX_CORNERS = 5  # before the camera, for a box
HIDDEN_CORNERS = 4  # of a tote, behind one that is held, from which it is not looked at: its others are taken for its own
# What looking costs, in crops, one of which takes about 1.3 ms with all that belongs to it (`humanoid bench perception`).
TOTE_COST, SEARCH_COST, SURFACE_COST, WIDE_SURFACE_COST = 1.4, 10.0, 6.0, 12.0
WIDE = 0.033  # rad, deviation of a surface as the camera sees it, from which looking for it begins with wide strips
MOST_COST, COST_WINDOW_S = 18.0, 0.05  # crops in all images of so long a time


@dataclass(frozen=True, eq=False)
class Look:
    """Where to look for totes in one image.

    Attributes:
        boxes: (K, 4) px left, top, right, bottom, where tracked totes should be that are looked at now.
        passed_over: (L, 4) px of tracked totes that are not: they were looked at a moment ago, or one that is held hides them.
        search: whether the whole image is to be searched.
        looked_at: names of the totes that are looked at.
        searched_for: names of those that a search of the image will find, if they are where they should be and not hidden.
        in_view: names of all of them.
    """

    boxes: np.ndarray
    passed_over: np.ndarray
    search: bool
    looked_at: tuple[str, ...]
    searched_for: tuple[str, ...]
    in_view: tuple[str, ...]


class Attention:
    """Shares out what can be looked at."""

    def __init__(self) -> None:
        self._searched_s: dict[str, float] = defaultdict(lambda: -np.inf)  # by camera
        self._looked_s: dict[tuple[str, str], float] = defaultdict(lambda: -np.inf)  # by camera, and tote or surface
        self._spent: deque[tuple[float, float]] = deque()  # when, and how much

    def totes(self, camera: CameraModel, stamp_s: float, odom_from_camera: np.ndarray,
              totes: Mapping[str, tuple[ToteTrack, np.ndarray]]) -> Look:  # fmt: skip
        """Where to look for totes in an image; what it tells counts as looked at.

        Args:
            camera: whose image it is.
            stamp_s: of the image.
            odom_from_camera: (4, 4) at that time.
            totes: tracks and (4, 4) odom_from_tote at that time, by name.
        """
        camera_from_odom = inverse(odom_from_camera)
        held = [Outline.of_box(_corners(camera_from_odom @ pose, track), camera) for track, pose in totes.values() if track.held]
        waiting, passed_over, unsure = [], [], []
        for name, (track, odom_from_tote) in totes.items():
            camera_from_tote = camera_from_odom @ odom_from_tote
            distance = float(np.linalg.norm(camera_from_tote[:3, 3]))
            box = box_before(camera, camera_from_tote, tote_corners(track.carrier)) if distance <= FARTHEST_TOTE else None
            if box is None:
                continue
            if not track.is_seen or track.filter.covariance[:3, :3].trace() >= SURE_DEVIATION**2:
                unsure.append(name)
                continue
            waited_s = stamp_s - self._looked_s[camera.name, name]
            if waited_s >= TOTE_PERIOD_S and not self._is_hidden(_corners(camera_from_tote, track), camera, held):
                waiting.append((waited_s / max(distance, NEAREST), name, box))
            else:
                passed_over.append((0.0, name, box))
        waiting.sort(key=lambda entry: -entry[0])
        most = min(MOST_TOTES, int(self._left(stamp_s) / TOTE_COST))
        chosen, passed_over = waiting[:most], waiting[most:] + passed_over
        self._spend(stamp_s, TOTE_COST * len(chosen))
        for _, name, _ in chosen:
            self._looked_s[camera.name, name] = stamp_s
        looked_at = tuple(name for _, name, _ in chosen)
        return Look(
            _boxes(chosen), _boxes(passed_over), self._searches(camera.name, stamp_s, bool(unsure)), looked_at, tuple(unsure),
            (*looked_at, *(name for _, name, _ in passed_over), *unsure))  # fmt: skip

    def surfaces(self, camera: str, stamp_s: float, camera_from_base: np.ndarray,
                 surfaces: Mapping[str, ObjectPose]) -> Iterator[tuple[str, np.ndarray]]:  # fmt: skip
        """Surfaces near enough, with (4, 4) camera_from_surface, the one that has waited longest for its nearness first.

        Each that is asked for counts as looked for; ask for no more than is looked for.

        Args:
            camera: its name.
            stamp_s: of the image.
            camera_from_base: (4, 4) at that time.
            surfaces: where they should be.
        """
        waiting = []
        for name, pose in surfaces.items():
            camera_from_surface = camera_from_base @ pose.base_from_object
            distance = float(np.linalg.norm(camera_from_surface[:3, 3]))
            waited_s = stamp_s - self._looked_s[camera, name]
            if distance < FARTHEST_SURFACE and waited_s >= SURFACE_PERIOD_S:
                deviation = float(np.sqrt(np.linalg.eigvalsh(pose.covariance[:3, :3])[-1]))
                cost = WIDE_SURFACE_COST if deviation > WIDE * max(distance, NEAREST) else SURFACE_COST
                waiting.append((waited_s / max(distance, NEAREST), name, camera_from_surface, cost))
        for _, name, camera_from_surface, cost in sorted(waiting, key=lambda entry: -entry[0]):
            if cost > self._left(stamp_s):
                return
            self._spend(stamp_s, cost)
            self._looked_s[camera, name] = stamp_s
            yield name, camera_from_surface

    @staticmethod
    def _is_hidden(corners: np.ndarray, camera: CameraModel, outlines: list[Outline | None]) -> bool:
        pixels, _ = camera.project(corners)
        return any(outline is not None and outline.hides(corners, pixels).sum() >= HIDDEN_CORNERS for outline in outlines)

    def _left(self, stamp_s: float) -> float:
        """What may still be spent on images of this time."""
        while self._spent and self._spent[0][0] <= stamp_s - COST_WINDOW_S:
            self._spent.popleft()
        return MOST_COST - sum(cost for _, cost in self._spent)

    def _spend(self, stamp_s: float, cost: float) -> None:
        self._spent.append((stamp_s, cost))

    def _searches(self, camera: str, stamp_s: float, eager: bool) -> bool:
        period_s = EAGER_PERIOD_S if eager else SEARCH_PERIOD_S
        if stamp_s - self._searched_s[camera] < period_s:
            return False
        others = [when for name, when in self._searched_s.items() if name != camera]
        if others and abs(stamp_s - max(others)) < SEARCH_SPACING_S:
            return False
        if self._left(stamp_s) < SEARCH_COST:
            return False
        self._spend(stamp_s, SEARCH_COST)
        self._searched_s[camera] = stamp_s
        return True


def box_before(camera: CameraModel, camera_from_tote: np.ndarray, corners: np.ndarray) -> np.ndarray | None:
    """(4,) px left, top, right, bottom around a tote's corners (8, 3) m; None where too little of it can be in the image."""
    pixels, valid = camera.project(corners @ camera_from_tote[:3, :3].T + camera_from_tote[:3, 3])
    if valid.sum() < BOX_CORNERS:
        return None
    pixels = pixels[valid]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    framed = np.clip(np.minimum(high, (camera.width, camera.height)) - np.maximum(low, 0.0), 0.0, None)
    if framed.prod() < FRAMED_SHARE * max((high - low).prod(), 1e-9):
        return None
    return box_of(pixels, (camera.width, camera.height))


def _corners(camera_from_tote: np.ndarray, track: ToteTrack) -> np.ndarray:
    return tote_corners(track.carrier) @ camera_from_tote[:3, :3].T + camera_from_tote[:3, 3]


def _boxes(entries: list[tuple[float, str, np.ndarray]]) -> np.ndarray:
    return np.array([box for *_, box in entries]).reshape(-1, 4)
