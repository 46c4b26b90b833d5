"""What a set of training images holds: counts, coverage, near-duplicates; and the gate that refuses a collapsed one."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from perception.errors import PerceptionError
from perception.keypoints import KINDS
from perception.training.generate import CAMERAS, HEIGHT, WIDTH, Shard

LOG = logging.getLogger(__name__)

FORMAT = 2  # of data sets; 1 had no labels of totes of which less than two corners are in the image
CLAIM, CARD, CARD_TEXT = "data_set.json", "data_card.json", "data_card.md"
DISTANCES = np.array([0.0, 0.4, 0.6, 0.8, 1.0, 1.5, 2.5, 4.0])  # m
HEIGHTS = np.array([-2.0, -0.65, -0.5, -0.35, -0.2, 1.0])  # m, of the tote's bottom above the camera
YAWS = np.arange(-90.0, 91.0, 30.0)  # degrees, between the line of sight and the tote's x axis
GOOD_SHARE = 0.3  # of its outside in sight, from which a tote counts for coverage
HASH_SIDE = 9  # px: 8 x 9 grey pixels make a difference hash of 64 bits
NEAR_DUPLICATE_BITS = 3
TEXTURED_BITS = 12  # an image whose hash has fewer differences is a plain wall: alike by nature


@dataclass(frozen=True)
class Gate:
    """What a data set must have at least.

    Attributes:
        images: below which shares mean nothing, and are not checked.
        camera_share: of the images, each camera.
        kind_share: of the totes, each kind.
        distance_share, height_share, yaw_share: of the totes in sight, each interval.
        hue_cells: of 12 in which totes' middles shall be, each with at least a hundredth of them; of a look with all hues.
        near_duplicates: largest share.
        occluded_share: of the totes in the image, those of which a fifth or more is hidden.
    """

    images: int = 400
    camera_share: float = 0.06
    kind_share: float = 0.25
    distance_share: float = 0.015
    height_share: float = 0.03
    yaw_share: float = 0.04
    near_duplicates: float = 0.02
    occluded_share: float = 0.10


def claim_folder(folder: Path, *, seed: int, look: str) -> None:
    """Notes in a folder what its shards are drawn from.

    Raises:
        PerceptionError: it holds shards of something else.
    """
    wanted = {"format": FORMAT, "seed": seed, "look": look, "width": WIDTH, "height": HEIGHT}
    path = folder / CLAIM
    if path.exists():
        found = json.loads(path.read_text())
        if found != wanted:
            raise PerceptionError(f"{folder} holds other data ({found}); choose another folder for {wanted}")
        return
    if any(folder.glob("shard_*.npz")):
        raise PerceptionError(f"{folder} holds shards without {CLAIM}; choose another folder")
    path.write_text(json.dumps(wanted) + "\n")


def shard_paths(folder: Path) -> list[Path]:
    """The finished shards of a data set, in order.

    Raises:
        PerceptionError: there are none.
    """
    paths = sorted(folder.glob("shard_*.npz"))
    if not paths:
        raise PerceptionError(f"{folder} holds no shards; make them with python -m perception.training.generate --out {folder}")
    return paths


def data_hash(folder: Path) -> str:
    """A hash of what a data set was drawn from and of which shards it has, for model cards."""
    digest = hashlib.sha256()
    for path in shard_paths(folder):
        shard = Shard.load(path)
        digest.update(path.name.encode())
        digest.update(hashlib.sha256(shard.jpeg).digest())
        digest.update(shard.totes.camera_from_tote.tobytes())
    return digest.hexdigest()


def difference_hash(rgb: np.ndarray) -> int:
    """64 bits that say where an image gets brighter from left to right: alike for images that look alike."""
    small = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (HASH_SIDE, HASH_SIDE - 1), interpolation=cv2.INTER_AREA).astype(
        int
    )
    bits = (small[:, 1:] > small[:, :-1] + 1).ravel()
    return int(np.packbits(bits).view(">u8")[0])


def near_duplicates(hashes: np.ndarray) -> int:
    """How many images have another before them that differs in at most `NEAR_DUPLICATE_BITS`."""
    hashes = hashes[np.bitwise_count(hashes) >= TEXTURED_BITS]
    count = 0
    for index in range(1, len(hashes)):
        count += bool((np.bitwise_count(hashes[:index] ^ hashes[index]) <= NEAR_DUPLICATE_BITS).any())
    return count


def write_card(folder: Path) -> dict:
    """Reads all shards, writes their card as JSON and Markdown, and returns it."""
    paths = shard_paths(folder)
    cameras, hashes, rows, ups, brightness = [], [], [], [], []
    for path in paths:
        shard = Shard.load(path)
        cameras.append(shard.camera)
        for index in range(len(shard.camera)):
            image = shard.image(index)
            hashes.append(difference_hash(image))
            brightness.append(float(image.mean()))
        totes = shard.totes
        rows.append(
            [totes.kind, shard.camera[totes.image], totes.camera_from_tote, totes.seen_share, totes.framed_share, totes.held]
        )
        ups.append(shard.up_in_camera[totes.image])
    kind, camera, pose, seen, framed, held = (np.concatenate(column) for column in zip(*rows))
    up = np.concatenate(ups)
    sight = pose[:, :3, 3]
    distance = np.linalg.norm(sight, axis=1)
    height = np.einsum("ij,ij->i", sight, up)
    away = sight - height[:, None] * up
    x_axis, y_axis = pose[:, :3, 0], pose[:, :3, 1]
    yaw = np.degrees(np.arctan2(np.einsum("ij,ij->i", away, y_axis), np.einsum("ij,ij->i", away, x_axis)))
    good = seen >= GOOD_SHARE
    cameras = np.concatenate(cameras)
    hidden = 1 - seen / np.maximum(framed, 1e-9)
    card = {
        "data_set": json.loads((folder / CLAIM).read_text()),
        "hash": data_hash(folder),
        "shards": len(paths),
        "images": len(cameras),
        "images_by_camera": {name: int((cameras == i).sum()) for i, name in enumerate(CAMERAS)},
        "images_without_tote": int(len(cameras) - sum(len(np.unique(Shard.load(p).totes.image)) for p in paths)),
        "totes": len(kind),
        "totes_by_kind": {name: int((kind == i).sum()) for i, name in enumerate(KINDS)},
        "totes_held": int(held.sum()),
        "totes_well_seen": int(good.sum()),
        "by_distance_m": _histogram(distance[good], DISTANCES),
        "by_height_above_camera_m": _histogram(height[good], HEIGHTS),
        "by_yaw_deg": _histogram(yaw[good], YAWS),
        "distance_by_camera_m": {name: _histogram(distance[good & (camera == i)], DISTANCES) for i, name in enumerate(CAMERAS)},
        "occluded_a_fifth_or_more": int(((hidden > 0.2) & (framed > 0.1)).sum()),
        "cut_off_by_the_image": int((framed < 0.9).sum()),
        "near_duplicates": near_duplicates(np.array(hashes, np.uint64)),
        "brightness": [float(x) for x in np.percentile(brightness, (1, 25, 50, 75, 99)).round(1)],
    }
    (folder / CARD).write_text(json.dumps(card, indent=1) + "\n")
    (folder / CARD_TEXT).write_text(_text(card))
    return card


def check_diversity(card: dict, gate: Gate = Gate()) -> None:
    """Refuses a data set that lacks part of what shall be learnt.

    Args:
        card: from `write_card`.
        gate: what it must have.

    Raises:
        PerceptionError: with all that it lacks.
    """
    if card["images"] < gate.images:
        LOG.info("%d images are too few to judge their diversity", card["images"])
        return
    lacks = []

    def demand(what: str, counts: dict[str, int], share: float) -> None:
        total = max(sum(counts.values()), 1)
        lacks.extend(f"{what} {name}: {100 * n / total:.1f}% of {total}, {100 * share:g}% needed"
                     for name, n in counts.items() if n < share * total)  # fmt: skip

    demand("camera", card["images_by_camera"], gate.camera_share)
    demand("kind", card["totes_by_kind"], gate.kind_share)
    demand("distance", card["by_distance_m"], gate.distance_share)
    demand("height", card["by_height_above_camera_m"], gate.height_share)
    demand("yaw", card["by_yaw_deg"], gate.yaw_share)
    if card["near_duplicates"] > gate.near_duplicates * card["images"]:
        lacks.append(
            f"near-duplicates: {card['near_duplicates']} of {card['images']} images, at most {100 * gate.near_duplicates:g}%"
        )
    if card["occluded_a_fifth_or_more"] < gate.occluded_share * card["totes"]:
        lacks.append(
            f"occluded totes: {card['occluded_a_fifth_or_more']} of {card['totes']}, {100 * gate.occluded_share:g}% needed"
        )
    if lacks:
        raise PerceptionError("the images are too much alike: " + "; ".join(lacks))


def _histogram(values: np.ndarray, edges: np.ndarray) -> dict[str, int]:
    counts, _ = np.histogram(values, edges)
    return {f"{low:g} to {high:g}": int(n) for low, high, n in zip(edges[:-1], edges[1:], counts)}


def _text(card: dict) -> str:
    lines = ["# Data card", ""]
    for key, value in card.items():
        if not isinstance(value, dict):
            lines.append(f"- {key.replace('_', ' ')}: {value}")
    for key, value in card.items():
        if isinstance(value, dict):
            lines += ["", f"## {key.replace('_', ' ')}", ""]
            lines += [f"- {name}: {count}" for name, count in value.items()]
    return "\n".join(lines) + "\n"
