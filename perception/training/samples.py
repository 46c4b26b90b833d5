"""What the networks are trained on: shards cut into small images once, then varied anew each time one is drawn.

Full frames take longer to read than a network takes to learn from them; so a shard's frames are kept at the finder's size,
and around each tote, and around things that are none, a larger crop is kept from which the corner network's are cut.
"""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from perception.crops import ASPECT, CROP_HEIGHT, CROP_WIDTH, CropWindow, ImagePyramid, box_of, upright_angle, window_of_corners
from perception.errors import PerceptionError
from perception.keypoints import CORNERS, MIRROR
from perception.training.data_card import shard_paths
from perception.training.generate import HEIGHT, WIDTH, Shard

LOG = logging.getLogger(__name__)

FORMAT = 1
FRAME_WIDTH, FRAME_HEIGHT = 256, 144
WIDE = 1.5  # a kept crop's width over the window's
WIDE_WIDTH, WIDE_HEIGHT = 216, 162
SURE_SHARE = 0.22  # of its outside in sight, from which a tote must be found
FAINT_SHARE = 0.07  # below which it must not be learnt from
EMPTY_CROPS = 1  # per image, of things that are no tote
PART_SHARE = 0.12  # of crops that are cut so small that they show a part of a tote only
MOST_TOTES = 16  # in one image
AMBIGUOUS_COSINE = 0.34  # of the angle between the line of sight and the tote's x axis: below, either of two poses may be meant
NOISE_BANK = np.random.default_rng(7).normal(0.0, 1.0, (256, 512, 3)).astype(np.float32)


@dataclass(frozen=True)
class FrameTotes:
    """The totes of many frames; rows of unused places are NaN.

    Attributes:
        corners: (N, 16, 8, 2) px of the frame at the finder's size.
        kind: (N, 16), -1 where there is none.
        seen_share: (N, 16).
    """

    corners: np.ndarray
    kind: np.ndarray
    seen_share: np.ndarray


@dataclass(frozen=True)
class CropLabels:
    """Labels of many wide crops.

    Attributes:
        corners: (M, 8, 2) px of the wide crop; NaN where not known, and in crops of no tote.
        visible: (M, 8) bool.
        kind: (M,), -1 for no tote.
        seen_share: (M,), 0 for no tote.
        ambiguous: (M,) bool, whether half a turn could not be told.
    """

    corners: np.ndarray
    visible: np.ndarray
    kind: np.ndarray
    seen_share: np.ndarray
    ambiguous: np.ndarray


def prepare(data: Path, folder: Path, on_shard=lambda done, total: None) -> None:
    """Cuts every shard of a data set that is not cut yet.

    Args:
        data: the data set.
        folder: where what is cut goes.
        on_shard: called with how many shards of how many are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = shard_paths(data)
    for done, path in enumerate(paths, 1):
        if not (folder / f"{path.stem}_labels_{FORMAT}.npz").exists():
            _prepare_shard(path, folder)
        on_shard(done, len(paths))


def _prepare_shard(path: Path, folder: Path) -> None:
    shard = Shard.load(path)
    rng = np.random.default_rng(int(path.stem.split("_")[1]))
    count = len(shard.camera)
    frames = np.empty((count, FRAME_HEIGHT, FRAME_WIDTH, 3), np.uint8)
    places = {"corners": np.full((count, MOST_TOTES, CORNERS, 2), np.nan, np.float32),
              "kind": np.full((count, MOST_TOTES), -1, np.int8),
              "seen_share": np.zeros((count, MOST_TOTES), np.float32)}  # fmt: skip
    crops: list[np.ndarray] = []
    labels: dict[str, list] = {name: [] for name in CropLabels.__dataclass_fields__}
    for index in range(count):
        image = shard.image(index)
        frames[index] = cv2.resize(image, (FRAME_WIDTH, FRAME_HEIGHT), interpolation=cv2.INTER_AREA)
        rows = np.flatnonzero(shard.totes.image == index)[:MOST_TOTES]
        places["corners"][index, : len(rows)] = (shard.totes.corners[rows] + 0.5) * (FRAME_WIDTH / WIDTH) - 0.5
        places["kind"][index, : len(rows)] = shard.totes.kind[rows]
        places["seen_share"][index, : len(rows)] = shard.totes.seen_share[rows]
        pyramid, matrix, up = ImagePyramid(image), shard.matrix[index].astype(float), shard.up_in_camera[index].astype(float)
        windows = []
        for row in rows:
            corners = shard.totes.corners[row].astype(float)
            known = corners[~np.isnan(corners).any(axis=1)]
            window = window_of_corners(known, (WIDTH, HEIGHT), matrix, up)
            windows.append(window)
            if shard.totes.seen_share[row] >= FAINT_SHARE:
                _add_crop(crops, labels, pyramid, window, corners, shard.totes, row)
        for _ in range(EMPTY_CROPS):
            window = _empty_window(rng, windows, matrix, up)
            if window is not None:
                _add_crop(crops, labels, pyramid, window, np.full((CORNERS, 2), np.nan), None, -1)
    _save(folder / f"{path.stem}_frames.npy", frames)
    _save(folder / f"{path.stem}_crops.npy", np.array(crops))
    arrays = {name: np.array(values) for name, values in labels.items()}
    part = folder / f"{path.stem}.part"
    with part.open("wb") as file:
        np.savez(file, **{f"crop_{k}": v for k, v in arrays.items()}, **{f"frame_{k}": v for k, v in places.items()})
    os.replace(part, folder / f"{path.stem}_labels_{FORMAT}.npz")


def _save(path: Path, array: np.ndarray) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.save(file, array)
    os.replace(part, path)


def _add_crop(
    crops: list, labels: dict, pyramid: ImagePyramid, window: CropWindow, corners: np.ndarray, totes, row: int
) -> None:
    wide = window.grown(WIDE)
    crops.append(pyramid.cut(wide, WIDE_WIDTH, WIDE_HEIGHT))
    image_from_crop = wide.image_from_crop(WIDE_WIDTH, WIDE_HEIGHT)
    crop_from_image = np.linalg.inv(image_from_crop[:, :2])
    labels["corners"].append(((corners - image_from_crop[:, 2]) @ crop_from_image.T).astype(np.float32))
    if row < 0:
        labels["visible"].append(np.zeros(CORNERS, bool))
        labels["kind"].append(-1)
        labels["seen_share"].append(0.0)
        labels["ambiguous"].append(False)
        return
    pose = totes.camera_from_tote[row]
    sight, up, across = pose[:3, 3], pose[:3, 2], pose[:3, 0]
    away = sight - up * (up @ sight)
    labels["visible"].append(totes.visible[row])
    labels["kind"].append(int(totes.kind[row]))
    labels["seen_share"].append(float(totes.seen_share[row]))
    labels["ambiguous"].append(
        bool(abs(across @ away) < AMBIGUOUS_COSINE * np.linalg.norm(away) + 0.05 * np.linalg.norm(sight))
    )


def _empty_window(rng: np.random.Generator, totes: list[CropWindow], matrix: np.ndarray, up: np.ndarray) -> CropWindow | None:
    """A window with no tote in its middle: anywhere, or beside a tote."""
    for _ in range(10):
        if totes and rng.random() < 0.4:
            near = totes[int(rng.integers(len(totes)))]
            bearing = rng.uniform(-math.pi, math.pi)
            centre = near.centre + near.width * rng.uniform(0.4, 0.9) * np.array([math.cos(bearing), 0.8 * math.sin(bearing)])
            width = near.width * math.exp(rng.normal(0.0, 0.3))
        else:
            centre = rng.uniform((0, 0), (WIDTH, HEIGHT))
            width = math.exp(rng.uniform(math.log(40), math.log(600)))
        inside = (0 <= centre).all() and (centre < (WIDTH, HEIGHT)).all()
        if inside and all(_apart(centre, width, tote) for tote in totes):
            return CropWindow(centre, width, upright_angle(centre, matrix, up))
    return None


def _apart(centre: np.ndarray, width: float, tote: CropWindow) -> bool:
    """Whether a window is not one that a tote's own could be mistaken for."""
    return bool(np.hypot(*(centre - tote.centre)) > 0.33 * max(tote.width, width)) or not 0.4 < width / tote.width < 2.5


# --- drawing samples ----------------------------------------------------------------------------------------------


class Prepared:
    """All that was cut from a data set, or some of its shards.

    Args:
        folder: from `prepare`.
        keep: says by a shard's number whether to take it.

    Raises:
        PerceptionError: nothing is there.
    """

    def __init__(self, folder: Path, keep=lambda number: True) -> None:
        stems = [path.name[: -len(f"_labels_{FORMAT}.npz")] for path in sorted(folder.glob(f"*_labels_{FORMAT}.npz"))]
        stems = [stem for stem in stems if keep(int(stem.split("_")[1]))]
        if not stems:
            raise PerceptionError(f"{folder} holds nothing to train on; prepare a data set first")
        self.frames = _Joined([np.load(folder / f"{stem}_frames.npy", mmap_mode="r") for stem in stems])
        self.crops = _Joined([np.load(folder / f"{stem}_crops.npy", mmap_mode="r") for stem in stems])
        labels = [dict(np.load(folder / f"{stem}_labels_{FORMAT}.npz")) for stem in stems]
        joined = {name: np.concatenate([label[name] for label in labels]) for name in labels[0]}
        self.frame_totes = FrameTotes(**{k[6:]: v for k, v in joined.items() if k.startswith("frame_")})
        self.crop_labels = CropLabels(**{k[5:]: v for k, v in joined.items() if k.startswith("crop_")})


class _Joined:
    """Many arrays as one, without reading them."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self._arrays = arrays
        self._ends = np.cumsum([len(array) for array in arrays])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> np.ndarray:
        which = int(np.searchsorted(self._ends, index, side="right"))
        return self._arrays[which][index - (self._ends[which - 1] if which else 0)]


@dataclass(frozen=True)
class CropSample:
    """One crop and what is to be learnt from it.

    Attributes:
        image: (96, 128, 3) uint8.
        corners: (8, 2) px; 0 where not known.
        weight: (8,) whether a corner is known and in the crop, or nearly.
        visible: (8,).
        presence: 1 tote, 0 none, -1 not to be learnt.
        kind: index, -1 for none.
        ambiguous: whether half a turn may be told either way.
    """

    image: np.ndarray
    corners: np.ndarray
    weight: np.ndarray
    visible: np.ndarray
    presence: float
    kind: int
    ambiguous: bool


def crop_sample(data: Prepared, index: int, rng: np.random.Generator, *, vary: bool = True) -> CropSample:
    """One crop, moved, turned, mirrored and dirtied at random; or as it is, with `vary` false."""
    labels = data.crop_labels
    nominal = WIDE_WIDTH / WIDE  # px of the wide crop that the window spans
    width, angle, shift, mirrored = nominal, 0.0, np.zeros(2), False
    part = vary and rng.random() < PART_SHARE  # a part of a tote is no tote
    if part:
        width = nominal * rng.uniform(0.25, 0.45)
        shift = rng.uniform(-0.5, 0.5, 2) * (WIDE_WIDTH - width, WIDE_HEIGHT - width / ASPECT)
    elif vary:
        rough = rng.random() < 0.4  # as after the finder; else as after a first look at the corners
        width = nominal * float(np.clip(math.exp(rng.normal(0.0, 0.16 if rough else 0.05)), 0.7, 1.4))
        shift = np.clip(rng.normal(0.0, 0.07 if rough else 0.02, 2), -0.16, 0.16) * nominal
        angle = math.radians(rng.normal(0.0, 10.0 if rng.random() < 0.1 else 2.5))
        mirrored = bool(rng.random() < 0.5)
    centre = np.array([(WIDE_WIDTH - 1) / 2, (WIDE_HEIGHT - 1) / 2]) + shift
    wide_from_crop = CropWindow(centre, width, angle).image_from_crop()
    if mirrored:
        wide_from_crop[:, 2] += wide_from_crop[:, 0] * (CROP_WIDTH - 1)
        wide_from_crop[:, 0] *= -1
    image = cv2.warpAffine(
        data.crops[index], wide_from_crop, (CROP_WIDTH, CROP_HEIGHT), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    corners = (labels.corners[index] - wide_from_crop[:, 2]) @ np.linalg.inv(wide_from_crop[:, :2]).T
    visible = labels.visible[index].copy()
    if mirrored:
        corners, visible = corners[MIRROR], visible[MIRROR]
    if vary:
        if rng.random() < 0.2:
            visible &= ~_cover(image, corners, rng)
        image = dirtied(image, rng)
    slack = 0.04 * CROP_WIDTH
    with np.errstate(invalid="ignore"):
        inside = ((corners > -slack) & (corners < (CROP_WIDTH + slack, CROP_HEIGHT + slack))).all(axis=1)
    seen, kind = float(labels.seen_share[index]), int(labels.kind[index])
    if part:
        inside[:], kind = False, -1
    presence = 0.0 if kind < 0 else 1.0 if seen >= SURE_SHARE else -1.0
    return CropSample(image, np.where(inside[:, None], corners, 0.0).astype(np.float32), inside.astype(np.float32),
                      (visible & inside).astype(np.float32), presence, kind, bool(labels.ambiguous[index]))  # fmt: skip


@dataclass(frozen=True)
class FrameSample:
    """One frame and the totes in it.

    Attributes:
        image: (144, 256, 3) uint8.
        boxes: (K, 4) px left, top, right, bottom.
        sure: (K,) bool; the others are neither to be found nor to be left out.
    """

    image: np.ndarray
    boxes: np.ndarray
    sure: np.ndarray


def frame_sample(data: Prepared, index: int, rng: np.random.Generator, *, vary: bool = True) -> FrameSample:
    """One frame, moved, scaled, turned, mirrored and dirtied at random; or as it is, with `vary` false.

    Args:
        data: what was cut.
        index: of the frame.
        rng: draws.
        vary: whether to.
    """
    image, totes = data.frames[index], data.frame_totes
    corners = totes.corners[index].astype(float)
    size = FRAME_WIDTH, FRAME_HEIGHT
    if vary:
        scale, angle = math.exp(rng.normal(0.0, 0.12)), math.radians(rng.normal(0.0, 4.0))
        middle = np.array([(FRAME_WIDTH - 1) / 2, (FRAME_HEIGHT - 1) / 2])
        turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        if rng.random() < 0.5:
            turn[:, 0] *= -1
        moved = np.column_stack([turn, middle + rng.normal(0.0, 8.0, 2) - turn @ middle])
        image = cv2.warpAffine(image, moved, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        corners = corners @ moved[:, :2].T + moved[:, 2]
        image = dirtied(image, rng)
    boxes, sure = [], []
    for place in np.flatnonzero(totes.kind[index] >= 0):
        known = corners[place][~np.isnan(corners[place]).any(axis=1)]
        box = box_of(known, size)
        if (box[2:] - box[:2]).min() < 3.0:
            continue
        boxes.append(box)
        sure.append(totes.seen_share[index][place] >= SURE_SHARE)
    return FrameSample(np.ascontiguousarray(image), np.array(boxes).reshape(-1, 4), np.array(sure, bool))


def _cover(image: np.ndarray, corners: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Paints a patch over the image; returns which corners (8,) are under it."""
    height, width = image.shape[:2]
    centre, sides = rng.uniform((0, 0), (width, height)).tolist(), (rng.uniform(0.08, 0.45, 2) * width).tolist()
    patch = np.zeros((height, width), np.uint8)
    turned = (tuple(centre), tuple(sides), float(rng.uniform(0, 180)))
    if rng.random() < 0.5:
        cv2.ellipse(patch, turned, 1, -1)
    else:
        cv2.fillPoly(patch, [cv2.boxPoints(turned).astype(np.int32)], 1)
    image[patch > 0] = rng.integers(0, 256, 3)
    known = np.nan_to_num(corners, nan=-1e4)
    u, v = np.clip(np.round(known), 0, (width - 1, height - 1)).astype(int).T
    return patch[v, u] > 0


def dirtied(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image as a real camera might give it: exposure, white balance, contrast, vignetting, blur, noise, JPEG."""
    levels = np.linspace(0.0, 1.0, 256)
    gain = math.exp(rng.normal(0.15, 0.35)) * np.exp(rng.normal(0.0, 0.08, 3))
    gamma = math.exp(rng.normal(0.0, 0.2))
    lift = max(rng.normal(0.0, 0.03), 0.0)
    table = np.clip(lift + gain * levels[:, None] ** gamma, 0.0, 1.0) * 255
    image = cv2.LUT(np.ascontiguousarray(image), table.astype(np.uint8)[:, None])
    height, width = image.shape[:2]
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.0)))
    if rng.random() < 0.15:
        image = cv2.filter2D(image, -1, _smear(rng))
    strength = float(rng.choice([0.0, 3.0, 8.0]) * rng.random())
    if strength > 0.2:
        y, x = rng.integers(0, 256 - height), rng.integers(0, 512 - width)
        image = cv2.add(image, strength * NOISE_BANK[y : y + height, x : x + width], dtype=cv2.CV_8U)
    if rng.random() < 0.1:
        across = np.linspace(-1, 1, width)[None, :] - rng.uniform(-1, 1)
        down = np.linspace(-1, 1, height)[:, None] - rng.uniform(-1, 1)
        shade = 1.0 / (1.0 + rng.uniform(0.05, 0.3) * (across**2 + down**2))
        image = (image * shade[:, :, None]).astype(np.uint8)
    if rng.random() < 0.08:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 90))])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image


def _smear(rng: np.random.Generator) -> np.ndarray:
    """A kernel that blurs along a line, as motion does."""
    length, angle = rng.uniform(1.5, 6.0), rng.uniform(0, math.pi)
    kernel = np.zeros((7, 7), np.float32)
    reach = 0.5 * length * np.array([math.cos(angle), math.sin(angle)])
    for share in np.linspace(-1, 1, 25):
        x, y = np.round(3 + share * reach).astype(int)
        kernel[y, x] += 1
    return kernel / kernel.sum()
