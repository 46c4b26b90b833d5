"""Totes in one RGB image, with poses and covariances: a finder, crops, corners, and a pose from each tote's corners.

The finder looks at the whole image, small; the corner network looks at a crop around each tote it found, then at a crop
around what it saw itself. Poses come from `pnp`; what the networks are not sure of, or what no tote could look like, is
left out. Everything runs in ONNX Runtime on one thread; nothing here knows of depth.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.transforms import rotation_vector
from perception.camera_model import CameraModel
from perception.crops import CROP_HEIGHT, CROP_WIDTH, CropWindow, ImagePyramid, overlaps_of, window_of_box, window_of_corners
from perception.detection import Detection
from perception.errors import PerceptionError
from perception.frame import CameraFrame
from perception.keypoints import HALF_TURN, KINDS, canonical, tote_corners
from perception.network_file import DEFAULT_FOLDER, open_network
from perception.pnp import PointPose, solve_tote_pose

FILES = {"finder": "tote_finder", "corners": "tote_corners"}
OUTPUTS = {"finder": ("likely", "boxes"), "corners": ("corners", "tote")}
CALIBRATION = "tote_detector.json"
STRIDE = 4  # px of the finder's input between neighbours of its maps
CANDIDATES = 12  # the likeliest places of one image that are looked at closely
EXPECTED = 0.9  # what a place where a tote is tracked is worth, on the finder's scale
EXPECTED_CROPS = 2  # at most, of a tote that is tracked: the first is nearly right already
MOST_NEW = 3  # places besides those where totes are tracked that one search looks at
EXPECTED_OVERLAP = 0.35  # of a place and of a tracked tote's box, over both together, from which the place is that tote's
GIVE_UP = 0.05  # presence after the first crop, below which there is no second
UNLIKELY_KIND = 0.02  # probability of a kind, below which it is not tried
KIND_DOUBT = 3.0  # difference of two kinds' costs at which the other is still a quarter as likely: corners err together
MOST_TELLING_CHI2 = 20.0  # beyond it no kind fits, and none is told from another
FEWEST_CORNERS = 4  # in the crop, for a pose
LEAST_OVERLAP = 0.1  # of a place that is found and of where a tote is expected, over both together: it is known badly
SAME_SHARE = 0.10  # of a window's width, nearer than which half of two totes' corners are one tote's: stacked ones are close
SETTLED_SHARE, EXPECTED_SETTLED_SHARE = 0.04, 0.15  # of a window's width, by which it may still move without another crop
NEAREST, FARTHEST = 0.10, 4.0  # m between which a tote may be
EVIDENCE = 7  # figures of `evidence_of`
FACTOR_RANGE = (-3.0, 8.0)  # of the logarithm of what a covariance is multiplied by
NOWHERE = np.zeros((0, 4))
ASPECT_TOLERANCE = 0.02  # by which an image may differ from its camera's width over height


@dataclass(frozen=True)
class Calibration:
    """What was measured on images kept apart, so that scores and deviations mean what they say.

    Attributes:
        candidate: likelihood of the finder's map from which a place is looked at.
        score: of a detection, from which a tote is one.
        evidence: (8,) weights of `evidence_of` and a constant, which make the score by a logistic function.
        deviation_visible, deviation_hidden: what the corner network's deviations are multiplied by.
        deviation_floor: px of the crop, added in squares.
        covariance_evidence: (8,) weights of `evidence_of` and a constant, whose exponential the pose's covariance is
            multiplied by: what hardly looks like a tote is placed worse than its corners tell.
        covariance_floor: m and rad, added to the covariance in squares, translation and rotation.
        most_chi2: reduced chi-squared of a pose, beyond which the corners are no tote's.
    """

    candidate: float = 0.15
    score: float = 0.5
    evidence: tuple[float, ...] = (1.0, *(0.0,) * EVIDENCE)
    deviation_visible: float = 1.0
    deviation_hidden: float = 1.0
    deviation_floor: float = 0.1
    covariance_evidence: tuple[float, ...] = (0.0,) * (EVIDENCE + 1)
    covariance_floor: tuple[float, float] = (0.0005, 0.001)
    most_chi2: float = 12.0

    @classmethod
    def load(cls, path: Path, networks: dict[str, str]) -> Calibration:
        """Reads a calibration file.

        Args:
            path: of the file.
            networks: sha256 of each network by name; the file must be of these.

        Raises:
            PerceptionError: it cannot be read, or is of other networks.
        """
        try:
            data = json.loads(path.read_text())
            found = data["networks"]
            calibration = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data["calibration"].items()})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PerceptionError(f"{path}: no calibration of the detector: {type(error).__name__}: {error}") from None
        for name, digest in networks.items():
            if found.get(name) != digest:
                raise PerceptionError(f"{path} is of a {name} network with sha256 {found.get(name)}, not of {digest}")
        return calibration


@dataclass
class _Candidate:
    """A place that is looked at."""

    window: CropWindow
    likely: float
    crops: int
    settled_share: float = SETTLED_SHARE
    presence: float = 1.0
    pose: PointPose | None = None
    pixels: np.ndarray | None = None
    deviations: np.ndarray | None = None
    visible: np.ndarray | None = None
    inside: np.ndarray | None = None
    kind: str = KINDS[0]
    moved: bool = True


@dataclass(frozen=True, eq=False)
class SeenCorners:
    """A tote's corners as the corner network sees them in one image, before a pose is made of them.

    Attributes:
        pixels: (8, 2) px of the image, in the order of `keypoints` for the pose that faces away from the camera.
        deviations: (8, 2) px, calibrated.
        visible, inside: (8,) how likely each is in sight, and in the crop.
        presence: how likely there is a tote at all.
    """

    pixels: np.ndarray
    deviations: np.ndarray
    visible: np.ndarray
    inside: np.ndarray
    presence: float


class ToteDetector:
    """Finds totes in images.

    Args:
        folder: of the networks, their cards and the calibration; by default those that ship.
        calibration: instead of the folder's.
        crops: how often each tote is looked at closely, each time where it was seen the time before.
        threads: of ONNX Runtime.
        kinds: of totes that there may be; all that are known by default.

    Raises:
        PerceptionError: a kind is unknown, or a network is missing, corrupt or another one; with its hash.
    """

    def __init__(self, folder: Path | str | None = None, *, calibration: Calibration | None = None, crops: int = 3,
                 threads: int = 1, kinds: Iterable[str] = KINDS) -> None:  # fmt: skip
        self._kinds = frozenset(kinds)
        if not self._kinds or not self._kinds <= set(KINDS):
            raise PerceptionError(f"totes of the kinds {sorted(self._kinds)} are asked for; known are {', '.join(KINDS)}")
        folder = Path(folder) if folder is not None else DEFAULT_FOLDER
        self._sessions, self.hashes = {}, {}
        for name in FILES:
            self._sessions[name], self.hashes[name] = _open(folder, name, threads)
        self.calibration = calibration or Calibration.load(folder / CALIBRATION, self.hashes)
        self._crops = crops
        shape = self._sessions["finder"].get_inputs()[0].shape
        self._finder_height, self._finder_width = int(shape[1]), int(shape[2])
        self._corners = {kind: tote_corners(carrier) for kind, carrier in LOAD_CARRIERS.items()}

    def detect(self, frame: CameraFrame, camera: CameraModel, up_in_camera: np.ndarray | None = None) -> list[Detection]:
        """The totes in an image, the surest first.

        Args:
            frame: the image, of any size of the camera's shape.
            camera: its intrinsics.
            up_in_camera: (3,) unit vector of up in the camera's optical frame; None if it is unknown, and the camera is held
                about upright.

        Raises:
            PerceptionError: the image is no RGB image of this camera's shape.
        """
        return [
            detection for detection, _ in self.weigh(frame, camera, up_in_camera) if detection.score >= self.calibration.score
        ]

    def weigh(
        self, frame: CameraFrame, camera: CameraModel, up_in_camera: np.ndarray | None = None
    ) -> list[tuple[Detection, np.ndarray]]:
        """All that might be totes in an image, the surest first, each with its evidence (7,); for calibration.

        Arguments and errors are those of `detect`.
        """
        camera = _fitted(camera, frame)
        boxes, likely = self.find(frame.rgb)
        return self._look(frame, camera, self._candidates(boxes, likely, camera, up_in_camera), up_in_camera)

    def look(self, frame: CameraFrame, camera: CameraModel, expected: np.ndarray, up_in_camera: np.ndarray | None = None,
             *, search: bool, known: np.ndarray = NOWHERE) -> list[Detection]:  # fmt: skip
        """The totes at places where they are expected and, where it is searched, those that the finder finds elsewhere.

        Args:
            frame, camera, up_in_camera: as for `detect`.
            expected: (K, 4) px left, top, right, bottom around where corners should be, as `crops.box_of` gives them.
            search: whether to look elsewhere too.
            known: (L, 4) px of totes that need not be looked at.

        Raises:
            PerceptionError: as `detect`.
        """
        camera = _fitted(camera, frame)
        expected = np.asarray(expected, float).reshape(-1, 4)
        candidates = [_Candidate(window_of_box(box, camera.matrix, up_in_camera), EXPECTED, EXPECTED_CROPS, EXPECTED_SETTLED_SHARE)
                      for box in expected]  # fmt: skip
        if search:
            boxes, likely = self.find(frame.rgb)
            old = np.concatenate([expected, known])
            new = [k for k, box in enumerate(boxes) if not (overlaps_of(box, old) > EXPECTED_OVERLAP).any()][:MOST_NEW]
            candidates += self._candidates(boxes[new], likely[new], camera, up_in_camera)
        found = self._look(frame, camera, candidates, up_in_camera) if candidates else []
        return [detection for detection, _ in found if detection.score >= self.calibration.score]

    def corners_at(self, frame: CameraFrame, camera: CameraModel, expected: np.ndarray, up_in_camera: np.ndarray | None = None,
                   *, search: bool) -> SeenCorners | None:  # fmt: skip
        """The corners of the one tote that is expected somewhere; None where there is none.

        Args:
            frame, camera, up_in_camera: as for `detect`.
            expected: (4,) px left, top, right, bottom around where its corners should be.
            search: whether that is known badly: then the finder says where in the image it is, if it finds a tote there.

        Raises:
            PerceptionError: as `detect`.
        """
        camera = _fitted(camera, frame)
        box = np.asarray(expected, float)
        if search:
            boxes, _ = self.find(frame.rgb)
            overlaps = overlaps_of(box, boxes)
            if not len(boxes) or overlaps.max() < LEAST_OVERLAP:
                return None
            box = boxes[overlaps.argmax()]
        pyramid = ImagePyramid(frame.rgb)
        candidate = _Candidate(window_of_box(box, camera.matrix, up_in_camera), EXPECTED, EXPECTED_CROPS, EXPECTED_SETTLED_SHARE)
        for _ in range(candidate.crops):
            self._read(pyramid, [candidate])
            if candidate.presence < GIVE_UP:
                return None
            self._move_window(candidate, camera, up_in_camera)
            if not candidate.moved:
                break
        return SeenCorners(candidate.pixels, candidate.deviations, candidate.visible, candidate.inside, candidate.presence)

    def find(self, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (K, 4) px, left, top, right, bottom, where totes may be, and how likely (K,), the likeliest first.

        Args:
            rgb: (H, W, 3) uint8.
        """
        height, width = rgb.shape[:2]
        share = min(self._finder_width / width, self._finder_height / height)
        size = max(round(share * width), 1), max(round(share * height), 1)
        image = np.zeros((1, self._finder_height, self._finder_width, 3), np.uint8)
        image[0, : size[1], : size[0]] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        likely, boxes = self._sessions["finder"].run(None, {"image": image})
        best = likely[0, 0]  # (h, w)
        rows, columns = np.nonzero(best > self.calibration.candidate)
        scores = best[rows, columns]
        order = np.argsort(-scores)[:CANDIDATES]
        rows, columns, scores = rows[order], columns[order], scores[order]
        left, top, right, bottom = boxes[0][:, rows, columns]
        x, y = (columns + 0.5) * STRIDE - 0.5, (rows + 0.5) * STRIDE - 0.5
        found = np.column_stack([x - left, y - top, x + right, y + bottom])
        scale = np.array([width / size[0], height / size[1]] * 2)
        return (found + 0.5) * scale - 0.5, scores

    def _candidates(self, boxes: np.ndarray, likely: np.ndarray, camera: CameraModel, up: np.ndarray | None) -> list[_Candidate]:
        return [_Candidate(window_of_box(box, camera.matrix, up), float(share), self._crops) for box, share in zip(boxes, likely)]

    def _look(self, frame: CameraFrame, camera: CameraModel, candidates: list[_Candidate],
              up_in_camera: np.ndarray | None) -> list[tuple[Detection, np.ndarray]]:  # fmt: skip
        pyramid = ImagePyramid(frame.rgb)
        for turn in range(max((c.crops for c in candidates), default=0)):
            moving = [c for c in candidates if c.moved and turn < c.crops]
            if moving:
                self._read_corners(pyramid, moving, camera, up_in_camera)
            candidates = [c for c in candidates if c.presence > GIVE_UP]
            if turn:
                candidates = _without_doubles(candidates)
        candidates = _without_doubles([c for c in candidates if self._could_be_tote(c)])
        found = [(c, evidence_of(c.likely, c.presence, c.pose, c.deviations, c.visible, c.window.width, self._cut_off(c, camera)))
                 for c in candidates]  # fmt: skip
        detections = [(self._detection(c, evidence, frame), evidence) for c, evidence in found]
        return sorted(detections, key=lambda entry: -entry[0].score)

    def _read_corners(
        self, pyramid: ImagePyramid, candidates: list[_Candidate], camera: CameraModel, up: np.ndarray | None
    ) -> None:
        for candidate, likely in zip(candidates, self._read(pyramid, candidates)):
            candidate.kind, candidate.pose = self._solved(candidate, likely, camera, up)
            self._move_window(candidate, camera, up)

    def _read(self, pyramid: ImagePyramid, candidates: list[_Candidate]) -> np.ndarray:
        """Looks at the candidates' windows; (N, K) how likely each is of which kind."""
        crops = np.stack([pyramid.cut(c.window) for c in candidates])
        corners, totes = self._sessions["corners"].run(None, {"image": crops})
        calibration = self.calibration
        for candidate, corner, tote in zip(candidates, corners, totes):
            matrix = candidate.window.image_from_crop()
            corner = corner.astype(float)
            candidate.pixels = corner[:, :2] @ matrix[:, :2].T + matrix[:, 2]
            candidate.visible, candidate.inside = corner[:, 4], corner[:, 5]
            trust = np.where(candidate.visible > 0.5, calibration.deviation_visible, calibration.deviation_hidden)
            squares = (trust[:, None] * corner[:, 2:4]) ** 2 + calibration.deviation_floor**2
            candidate.deviations = np.sqrt(squares @ (matrix[:, :2] ** 2).T)
            candidate.presence = float(tote[0])
        return totes[:, 1:]

    def _solved(
        self, candidate: _Candidate, likely: np.ndarray, camera: CameraModel, up: np.ndarray | None
    ) -> tuple[str, PointPose | None]:
        """The kind and the pose that fit best what the network says of both; the pose is None where there is none.

        Proportions tell kinds apart better than the network's own guess, where enough corners are seen.
        """
        use = candidate.inside > 0.5
        fits: list[tuple[float, str, PointPose]] = []
        if use.sum() >= FEWEST_CORNERS:
            freedoms = max(2 * int(use.sum()) - 4, 1)  # position and heading are fitted
            for kind, share in zip(KINDS, likely):
                if kind not in self._kinds or (share < UNLIKELY_KIND and len(self._kinds) > 1):
                    continue
                pose = solve_tote_pose(self._corners[kind], candidate.pixels, candidate.deviations, use, camera, up_in_camera=up)
                if pose.ok:
                    cost = 0.5 * freedoms * min(pose.reduced_chi2, MOST_TELLING_CHI2) - np.log(max(share, UNLIKELY_KIND))
                    fits.append((float(cost), kind, pose))
        if not fits:
            return max(self._kinds, key=lambda kind: (likely[KINDS.index(kind)], kind)), None
        fits.sort(key=lambda fit: fit[0])
        cost, kind, pose = fits[0]
        for other_cost, _, other in fits[1:]:
            share = 1.0 / (1.0 + np.exp((other_cost - cost) / KIND_DOUBT))
            pose = _mixed(pose, other, share)
        return kind, pose

    def _move_window(self, candidate: _Candidate, camera: CameraModel, up: np.ndarray | None) -> None:
        """To where its tote was seen."""
        if candidate.pose is not None:
            pose = candidate.pose.camera_from_object
            pixels, valid = camera.project(self._corners[candidate.kind] @ pose[:3, :3].T + pose[:3, 3])
            pixels = pixels[valid]
        else:
            pixels = candidate.pixels[candidate.inside > 0.5]
        if len(pixels) < FEWEST_CORNERS:
            candidate.moved = False
            return
        old, new = candidate.window, window_of_corners(pixels, (camera.width, camera.height), camera.matrix, up)
        limit = candidate.settled_share * old.width
        candidate.moved = bool(np.abs(new.centre - old.centre).max() > limit or abs(new.width - old.width) > limit)
        if candidate.moved:
            candidate.window = new

    def _cut_off(self, candidate: _Candidate, camera: CameraModel) -> float:
        """Share of a tote's corners that are outside the image."""
        pose = candidate.pose.camera_from_object
        pixels, valid = camera.project(self._corners[candidate.kind] @ pose[:3, :3].T + pose[:3, 3])
        return 1.0 - float((valid & (pixels >= 0.0).all(axis=1) & (pixels < (camera.width, camera.height)).all(axis=1)).mean())

    def _could_be_tote(self, candidate: _Candidate) -> bool:
        if candidate.pose is None:
            return False
        position = candidate.pose.camera_from_object[:3, 3]
        return candidate.pose.reduced_chi2 < self.calibration.most_chi2 and NEAREST < np.linalg.norm(position) < FARTHEST

    def _detection(self, candidate: _Candidate, evidence: np.ndarray, frame: CameraFrame) -> Detection:
        floor = np.repeat(np.square(self.calibration.covariance_floor), 3)
        weights = np.array(self.calibration.evidence)
        factor = covariance_factor(evidence, np.array(self.calibration.covariance_evidence))
        covariance = factor * candidate.pose.covariance + np.diag(floor)
        return Detection(
            kind=candidate.kind, camera=frame.camera, stamp_s=frame.stamp_s,
            camera_from_tote=canonical(candidate.pose.camera_from_object), covariance=covariance,
            score=float(1 / (1 + np.exp(-(evidence @ weights[:-1] + weights[-1])))),
            pixels=candidate.pixels, deviations=candidate.deviations, visible=candidate.visible,
        )  # fmt: skip


def evidence_of(
    likely: float, presence: float, pose: PointPose, deviations: np.ndarray, visible: np.ndarray, width: float, cut_off: float
) -> np.ndarray:
    """(7,) what tells a tote from something else, apart from the network's own say: how surely its pose is known.

    What the corner network takes for a tote and is none has corners all over the crop that fit no tote well.

    Args:
        likely: of the finder.
        presence: of the corner network.
        pose: from the corners.
        deviations: (8, 2) px.
        visible: (8,).
        width: px of the window.
        cut_off: share of the corners that are outside the image; of what it shows a part only, the pose is often off.
    """
    position = pose.camera_from_object[:3, 3]
    spread = np.sqrt(np.linalg.eigvalsh(pose.covariance[:3, :3])[-1]) / np.linalg.norm(position)
    shares = np.clip([likely, presence], 1e-4, 1 - 1e-4)
    return np.array([*np.log(shares / (1 - shares)), np.log(spread), np.log(deviations.mean() / width), visible.sum() - 4.0,
                     np.log(max(pose.reduced_chi2, 0.05)), cut_off])  # fmt: skip


def covariance_factor(evidence: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What a pose's covariance is multiplied by.

    Args:
        evidence: (..., 7) of `evidence_of`.
        weights: (8,) of a calibration's `covariance_evidence`.
    """
    return np.exp(np.clip(evidence @ weights[:-1] + weights[-1], *FACTOR_RANGE))


def _mixed(pose: PointPose, other: PointPose, share: float) -> PointPose:
    """A pose with the covariance of a mixture: the other, were it of another kind, with a share of the likelihood."""
    turn = rotation_vector(other.camera_from_object[:3, :3] @ pose.camera_from_object[:3, :3].T)
    apart = np.concatenate([other.camera_from_object[:3, 3] - pose.camera_from_object[:3, 3], turn])
    return pose._replace(covariance=pose.covariance + share * np.outer(apart, apart))


def _without_doubles(candidates: list[_Candidate]) -> list[_Candidate]:
    """The candidates less those whose tote a surer one sees too."""
    kept: list[_Candidate] = []
    for candidate in sorted(candidates, key=lambda c: -c.presence):
        if not any(_is_same(candidate, other) for other in kept):
            kept.append(candidate)
    return kept


def _is_same(one: _Candidate, other: _Candidate) -> bool:
    """Whether two candidates see one tote, half a turn apart or not."""
    limit = SAME_SHARE * min(one.window.width, other.window.width)
    return any(np.median(np.linalg.norm(one.pixels - pixels, axis=1)) < limit for pixels in (other.pixels, other.pixels[HALF_TURN]))


def _fitted(camera: CameraModel, frame: CameraFrame) -> CameraModel:
    """The camera as it is for images of the frame's size."""
    rgb = frame.rgb
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        shape = f"{getattr(rgb, 'dtype', type(rgb).__name__)} {getattr(rgb, 'shape', '')}"
        raise PerceptionError(f"{frame.camera}: an image is {shape}; uint8 (H, W, 3) in RGB is needed")
    height, width = rgb.shape[:2]
    if (width, height) == (camera.width, camera.height):
        return camera
    if abs(width / height / (camera.width / camera.height) - 1) > ASPECT_TOLERANCE:
        raise PerceptionError(
            f"{frame.camera}: an image of {width} x {height} is not of the camera's {camera.width} x {camera.height}"
        )
    return camera.scaled(width, height)


def _open(folder: Path, name: str, threads: int) -> tuple[onnxruntime.InferenceSession, str]:
    """A network after checking that it is what its card tells of and what this module needs, and its sha256."""
    session, digest = open_network(FILES[name], folder, threads=threads)
    path = folder / f"{FILES[name]}.onnx"
    kinds = json.loads(path.with_suffix(".json").read_text()).get("kinds")
    if kinds != list(KINDS):
        raise PerceptionError(f"{path} (sha256 {digest}) is for totes of the kinds {kinds}; {list(KINDS)} are needed")
    outputs = tuple(output.name for output in session.get_outputs())
    inputs = [(i.name, i.type) for i in session.get_inputs()]
    shape = session.get_inputs()[0].shape
    fits = name != "corners" or tuple(shape[1:]) == (CROP_HEIGHT, CROP_WIDTH, 3)
    if outputs != OUTPUTS[name] or inputs != [("image", "tensor(uint8)")] or not fits:
        raise PerceptionError(
            f"{path} (sha256 {digest}) takes {inputs} {shape} and gives {outputs}; {OUTPUTS[name]} are needed"
        )
    return session, digest
