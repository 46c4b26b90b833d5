"""Totes in one RGB image, with poses and covariances: a finder, crops, corners, and a pose from each tote's corners.

The finder looks at the whole image, small; the corner network looks at a crop around each tote it found, then at a crop
around what it saw itself. Poses come from `pnp`; what the networks are not sure of, or what no tote could look like, is
left out. Everything runs in ONNX Runtime on one thread; nothing here knows of depth.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from perception.camera_model import CameraModel
from perception.crops import CROP_HEIGHT, CROP_WIDTH, CropWindow, ImagePyramid, window_of_box, window_of_corners
from perception.detection import Detection
from perception.errors import PerceptionError
from perception.frame import CameraFrame
from perception.keypoints import KINDS, canonical, tote_corners
from perception.pnp import PointPose, solve_tote_pose

DEFAULT_FOLDER = Path(__file__).resolve().parent / "models"
FILES = {"finder": "tote_finder", "corners": "tote_corners"}
OUTPUTS = {"finder": ("likely", "boxes"), "corners": ("corners", "tote")}
CALIBRATION = "tote_detector.json"
STRIDE = 4  # px of the finder's input between neighbours of its maps
CANDIDATES = 12  # the likeliest places of one image that are looked at closely
GIVE_UP = 0.05  # presence after the first crop, below which there is no second
UNLIKELY_KIND = 0.02  # probability of a kind, below which it is not tried
MOST_TELLING_CHI2 = 20.0  # beyond it no kind fits, and none is told from another
FEWEST_CORNERS = 4  # in the crop, for a pose
SAME_SHARE = 0.22  # of a window's width, nearer than which two middles are one tote's
SETTLED_SHARE = 0.04  # of a window's width, by which it may still move without another crop
NEAREST, FARTHEST = 0.10, 4.0  # m between which a tote may be
ASPECT_TOLERANCE = 0.02  # by which an image may differ from its camera's width over height


@dataclass(frozen=True)
class Calibration:
    """What was measured on images kept apart, so that scores and deviations mean what they say.

    Attributes:
        candidate: likelihood of the finder's map from which a place is looked at.
        presence: of the corner network, from which a tote is one.
        deviation_visible, deviation_hidden: what the corner network's deviations are multiplied by.
        deviation_floor: px of the crop, added in squares.
        covariance: what the pose's covariance is multiplied by.
        covariance_floor: m and rad, added to the covariance in squares, translation and rotation.
        most_chi2: reduced chi-squared of a pose, beyond which the corners are no tote's.
    """

    candidate: float = 0.25
    presence: float = 0.5
    deviation_visible: float = 1.0
    deviation_hidden: float = 1.0
    deviation_floor: float = 0.1
    covariance: float = 1.0
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
    score: float
    pose: PointPose | None = None
    pixels: np.ndarray | None = None
    deviations: np.ndarray | None = None
    visible: np.ndarray | None = None
    inside: np.ndarray | None = None
    kind: str = KINDS[0]
    moved: bool = True


class ToteDetector:
    """Finds totes in images.

    Args:
        folder: of the networks, their cards and the calibration; by default those that ship.
        calibration: instead of the folder's.
        crops: how often each tote is looked at closely, each time where it was seen the time before.
        threads: of ONNX Runtime.

    Raises:
        PerceptionError: a network is missing, corrupt or another one; with its hash.
    """

    def __init__(self, folder: Path | str | None = None, *, calibration: Calibration | None = None, crops: int = 3,
                 threads: int = 1) -> None:  # fmt: skip
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
        camera = _fitted(camera, frame)
        boxes, scores = self.find(frame.rgb)
        return self._look(frame, camera, boxes, scores, up_in_camera)

    def detect_at(self, frame: CameraFrame, camera: CameraModel, boxes: np.ndarray, up_in_camera: np.ndarray | None = None,
                  *, crops: int | None = None) -> list[Detection]:  # fmt: skip
        """The totes at places where they are expected: the finder is left out.

        Args:
            frame, camera, up_in_camera: as for `detect`.
            boxes: (K, 4) px left, top, right, bottom around where corners are expected, as `crops.box_of` gives them.
            crops: how often each is looked at; as often as `detect` does by default.

        Raises:
            PerceptionError: as `detect`.
        """
        camera = _fitted(camera, frame)
        boxes = np.asarray(boxes, float).reshape(-1, 4)
        return self._look(frame, camera, boxes, np.ones(len(boxes)), up_in_camera, crops=crops)

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

    def _look(self, frame: CameraFrame, camera: CameraModel, boxes: np.ndarray, scores: np.ndarray,
              up_in_camera: np.ndarray | None, *, crops: int | None = None) -> list[Detection]:  # fmt: skip
        pyramid = ImagePyramid(frame.rgb)
        candidates = [_Candidate(window_of_box(box, camera.matrix, up_in_camera), float(score)) for box, score in zip(boxes, scores)]
        for turn in range(crops or self._crops):
            moving = [c for c in candidates if c.moved]
            if moving:
                self._read_corners(pyramid, moving, camera, up_in_camera)
            candidates = [c for c in candidates if c.score > GIVE_UP]
            if turn:
                candidates = _without_doubles(candidates)
        sure = [c for c in candidates if self._is_tote(c)]
        return [self._detection(c, frame) for c in sorted(_without_doubles(sure), key=lambda c: -c.score)]

    def _read_corners(self, pyramid: ImagePyramid, candidates: list[_Candidate], camera: CameraModel, up: np.ndarray | None) -> None:
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
            candidate.score = float(tote[0])
            candidate.kind, candidate.pose = self._solved(candidate, tote[1:], camera, up)
            self._move_window(candidate, camera, up)

    def _solved(self, candidate: _Candidate, likely: np.ndarray, camera: CameraModel, up: np.ndarray | None) -> tuple[str, PointPose | None]:
        """The kind and the pose that fit best what the network says of both; the pose is None where there is none.

        Proportions tell kinds apart better than the network's own guess, where enough corners are seen.
        """
        use = candidate.inside > 0.5
        best = KINDS[int(np.argmax(likely))], None
        if use.sum() < FEWEST_CORNERS:
            return best
        lowest = np.inf
        for kind, share in zip(KINDS, likely):
            if share < UNLIKELY_KIND:
                continue
            pose = solve_tote_pose(self._corners[kind], candidate.pixels, candidate.deviations, use, camera, up_in_camera=up)
            freedoms = max(2 * int(use.sum()) - 4, 1)  # position and heading are fitted
            cost = 0.5 * freedoms * min(pose.reduced_chi2, MOST_TELLING_CHI2) - np.log(share)
            if pose.ok and cost < lowest:
                lowest, best = cost, (kind, pose)
        return best

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
        limit = SETTLED_SHARE * old.width
        candidate.moved = bool(np.abs(new.centre - old.centre).max() > limit or abs(new.width - old.width) > limit)
        if candidate.moved:
            candidate.window = new

    def _is_tote(self, candidate: _Candidate) -> bool:
        if candidate.pose is None or candidate.score < self.calibration.presence:
            return False
        position = candidate.pose.camera_from_object[:3, 3]
        return candidate.pose.reduced_chi2 < self.calibration.most_chi2 and NEAREST < np.linalg.norm(position) < FARTHEST

    def _detection(self, candidate: _Candidate, frame: CameraFrame) -> Detection:
        floor = np.repeat(np.square(self.calibration.covariance_floor), 3)
        covariance = self.calibration.covariance * candidate.pose.covariance + np.diag(floor)
        return Detection(
            kind=candidate.kind, camera=frame.camera, stamp_s=frame.stamp_s,
            camera_from_tote=canonical(candidate.pose.camera_from_object), covariance=covariance, score=candidate.score,
            pixels=candidate.pixels, deviations=candidate.deviations, visible=candidate.visible,
        )  # fmt: skip


def _without_doubles(candidates: list[_Candidate]) -> list[_Candidate]:
    """The candidates less those whose tote a surer one sees too."""
    kept: list[_Candidate] = []
    for candidate in sorted(candidates, key=lambda c: -c.score):
        if all(np.hypot(*(candidate.window.centre - other.window.centre)) > SAME_SHARE * min(candidate.window.width, other.window.width)
               for other in kept):  # fmt: skip
            kept.append(candidate)
    return kept


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
        raise PerceptionError(f"{frame.camera}: an image of {width} x {height} is not of the camera's {camera.width} x {camera.height}")
    return camera.scaled(width, height)


def _open(folder: Path, name: str, threads: int) -> tuple[onnxruntime.InferenceSession, str]:
    """A network after checking that it is the one its card tells of, and its sha256."""
    path, card_path = folder / f"{FILES[name]}.onnx", folder / f"{FILES[name]}.json"
    try:
        data = path.read_bytes()
        card = json.loads(card_path.read_text())
    except (OSError, ValueError) as error:
        raise PerceptionError(f"the {name} network cannot be read: {error}") from None
    digest = hashlib.sha256(data).hexdigest()
    if card.get("sha256") != digest:
        raise PerceptionError(f"{path} has sha256 {digest}, its card {card_path.name} says {card.get('sha256')}: it is corrupt or another")
    if card.get("network") != name or tuple(card.get("kinds", ())) != KINDS:
        raise PerceptionError(f"{path} (sha256 {digest}) is a {card.get('network')} network for {card.get('kinds')}; "
                              f"{name} for {list(KINDS)} is needed")  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its own, which it does not export
        raise PerceptionError(f"{path} (sha256 {digest}) is no network: {str(error).splitlines()[0]}") from None
    outputs = tuple(output.name for output in session.get_outputs())
    inputs = [(i.name, i.type) for i in session.get_inputs()]
    shape = session.get_inputs()[0].shape
    fits = name != "corners" or tuple(shape[1:]) == (CROP_HEIGHT, CROP_WIDTH, 3)
    if outputs != OUTPUTS[name] or inputs != [("image", "tensor(uint8)")] or not fits:
        raise PerceptionError(f"{path} (sha256 {digest}) takes {inputs} {shape} and gives {outputs}; {OUTPUTS[name]} are needed")
    return session, digest
