"""What a detector is worth: its errors, recall and false alarms on labelled images, and the calibration fitted to them.

Run `python -m perception.training.measure --data DIR --models DIR` for the figures, with `--calibrate` to fit and write the
calibration first. Calibrate and measure on different data, neither of them trained on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from humanoid_control.errors import HumanoidControlError
from humanoid_control.transforms import rotation_of_vector, rotation_vector
from perception.camera_model import CameraModel
from perception.crops import box_of, overlaps_of
from perception.detection import Detection
from perception.detector import CALIBRATION, EVIDENCE, Calibration, ToteDetector
from perception.errors import PerceptionError
from perception.frame import CameraFrame
from perception.keypoints import CORNERS, HALF_TURN, KINDS, half_turned
from perception.training.data_card import CLAIM, shard_paths
from perception.training.generate import CAMERAS, HEIGHT, WIDTH, Shard
from perception.vision import POSE_CAMERAS

MATCH_DISTANCE = 0.25  # m, or this share of the distance if that is more, within which a detection is of a tote
SAME_OVERLAP = 0.5  # of two boxes in the image, over what both cover, from which a detection is of a tote however badly placed
CLEAR_SHARE = 0.85  # of the outside in sight, from which a tote counts as in view and not occluded
FAIR_SHARE = 0.5  # from which errors are told as well
UP_ERROR = 0.005  # rad, standard deviation of the error of up, as IMU and joints leave it
NEAR = 1.0  # m, the distance within which targets are set
GROSS = 0.060  # m
CHI2_6_MEDIAN, CHI2_6_90, CHI2_6_99 = 5.348, 10.645, 16.812
NORMAL_MEDIAN = 0.6745  # of the absolute value
DISTANCES = (0.0, 0.4, 0.6, 0.8, 1.0, 1.5, 2.5, 3.5)  # m
COVERAGE, SMALLEST_NEES = 0.9, 1e-3
DEPTH_BEYOND = 3.2  # m, from which a detection may be of a tote that has no label any more


@dataclass(frozen=True)
class Matches:
    """Every label, with the detection of it, and every detection of nothing; one row per label.

    Attributes:
        camera: (N,) index.
        distance: (N,) m.
        seen_share, framed_share: (N,).
        found: (N,) bool.
        position_error: (N,) m; NaN where not found.
        angle_error: (N,) rad.
        nees: (N,) squared error over its covariance.
        kind_right: (N,) bool.
        score: (N,).
        corner_errors: (N, 8, 2) px over the deviations the detector gave; NaN where a corner is outside the image.
        corner_visible: (N, 8) bool, as the detector sees it.
        proof: (N, 7) the detection's evidence; NaN where not found.
        evidence: (M, 7) of every detection,
        evidence_right: (M,) bool, whether a tote was there, and placed about right,
        evidence_false: (M,) bool, and whether none was there at all.
        images: how many there were.
        doubles: how many detections were of totes that another is of already.
        false_alarms: detections of nothing: (camera, image, score).
        worst: for a gallery: (shard, image, position error), the largest first.
    """

    camera: np.ndarray
    distance: np.ndarray
    seen_share: np.ndarray
    framed_share: np.ndarray
    found: np.ndarray
    position_error: np.ndarray
    angle_error: np.ndarray
    nees: np.ndarray
    kind_right: np.ndarray
    score: np.ndarray
    corner_errors: np.ndarray
    corner_visible: np.ndarray
    proof: np.ndarray
    evidence: np.ndarray
    evidence_right: np.ndarray
    evidence_false: np.ndarray
    images: int
    doubles: int
    false_alarms: tuple[tuple[int, str, int, float], ...]
    worst: tuple[tuple[str, int, float], ...]


def pose_error(camera_from_tote: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(6,) m and rad in camera axes, how far a pose is off the nearer of a tote's two equal ones."""
    errors = []
    for pose in (truth, half_turned(truth)):
        turn = rotation_vector(camera_from_tote[:3, :3] @ pose[:3, :3].T)
        errors.append(np.concatenate([camera_from_tote[:3, 3] - pose[:3, 3], turn]))
    return min(errors, key=lambda error: np.linalg.norm(error[3:]))


def match(
    detector: ToteDetector, data: Path, *, most_images: int | None = None, seed: int = 0, cameras: Sequence[str] = POSE_CAMERAS,
    on_image=lambda done: None,
) -> Matches:  # fmt: skip
    """Runs a detector over a data set.

    Args:
        detector: to be measured.
        data: folder of the data set.
        cameras: whose images are looked at; by default those that poses come from.
        most_images: of each; all by default.
        seed: of the errors of up.
        on_image: called with how many are done.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict] = []
    false_alarms, worst, evidence, evidence_right, evidence_false = [], [], [], [], []
    done = doubles = 0
    for path in shard_paths(data):
        if most_images is not None and done >= most_images:
            break
        shard = Shard.load(path)
        for index in range(len(shard.camera)):
            if CAMERAS[shard.camera[index]] not in cameras:
                continue
            camera = CameraModel(CAMERAS[shard.camera[index]], WIDTH, HEIGHT, shard.matrix[index])
            up = rotation_of_vector(rng.normal(0.0, UP_ERROR, 3)) @ shard.up_in_camera[index]
            weighed = detector.weigh(CameraFrame(camera.name, 0.0, shard.image(index)), camera, up / np.linalg.norm(up))
            detections = [detection for detection, _ in weighed if detection.score >= detector.calibration.score]
            proofs = {id(detection): proof for detection, proof in weighed}
            matching, near = _matching(shard, index, detections)
            well = set()
            for label in np.flatnonzero(shard.totes.image == index):
                detection = matching.get(int(label))
                rows.append(_row(shard, int(label), detection, proofs))
                if rows[-1]["well_placed"]:
                    well.add(id(detection))
                if detection is not None:
                    worst.append((path.name, index, rows[-1]["position_error"]))
            told = {id(detection) for detection in matching.values()}
            doubles += sum(id(detection) not in told for detection in near)
            told |= {id(detection) for detection in near}
            left = [detection for detection in detections if id(detection) not in told]
            for detection, proof in weighed:
                if (
                    detection.score >= detector.calibration.score
                    and np.linalg.norm(detection.camera_from_tote[:3, 3]) < DEPTH_BEYOND
                ):
                    evidence.append(proof)
                    evidence_right.append(id(detection) in well)
                    evidence_false.append(any(detection is other for other in left))
            for detection in left:
                if np.linalg.norm(detection.camera_from_tote[:3, 3]) < DEPTH_BEYOND:
                    false_alarms.append((int(shard.camera[index]), path.name, index, detection.score))
            done += 1
            on_image(done)
    columns = {f.name: np.array([row[f.name] for row in rows]) for f in fields(Matches) if rows and f.name in rows[0]}
    worst.sort(key=lambda entry: -entry[2])
    return Matches(
        **columns,
        evidence=np.array(evidence).reshape(-1, EVIDENCE),
        evidence_right=np.array(evidence_right, bool),
        evidence_false=np.array(evidence_false, bool),
        images=done,
        doubles=doubles,
        false_alarms=tuple(false_alarms),
        worst=tuple(worst[:50]),
    )


def _row(shard: Shard, label: int, detection: Detection | None, proofs: dict[int, np.ndarray]) -> dict:
    """One label with the detection of it."""
    totes = shard.totes
    truth = totes.camera_from_tote[label]
    distance = float(np.linalg.norm(truth[:3, 3]))
    row = {"camera": int(shard.camera[totes.image[label]]), "distance": distance, "seen_share": float(totes.seen_share[label]),
           "framed_share": float(totes.framed_share[label]), "found": False, "position_error": np.nan, "angle_error": np.nan,
           "nees": np.nan, "kind_right": False, "score": 0.0, "corner_errors": np.full((CORNERS, 2), np.nan),
           "corner_visible": np.zeros(CORNERS, bool), "proof": np.full(EVIDENCE, np.nan), "well_placed": False}  # fmt: skip
    if detection is None:
        return row
    error = pose_error(detection.camera_from_tote, truth)
    well = match_distance(detection.camera_from_tote, truth) <= 1.0
    row |= {"found": True, "position_error": float(np.linalg.norm(error[:3])), "angle_error": float(np.linalg.norm(error[3:])),
            "nees": float(error @ np.linalg.solve(detection.covariance, error)), "score": detection.score,
            "kind_right": detection.kind == KINDS[totes.kind[label]], "corner_visible": detection.visible > 0.5,
            "proof": proofs[id(detection)], "well_placed": well}  # fmt: skip
    corners = totes.corners[label].astype(float)
    framed = ((corners >= 0) & (corners < (WIDTH, HEIGHT))).all(axis=1)
    errors = (detection.pixels - corners) / detection.deviations
    flipped = (detection.pixels - corners[HALF_TURN]) / detection.deviations
    errors = flipped if np.nansum(np.abs(flipped)) < np.nansum(np.abs(errors)) else errors
    row["corner_errors"] = np.where(framed[:, None], errors, np.nan)
    return row


def _matching(shard: Shard, index: int, detections: list[Detection]) -> tuple[dict[int, Detection], list[Detection]]:
    """By label of an image, the detection of its tote, and all detections that are of any tote.

    The nearest pairs come first, then those that are drawn at one place only.

    Totes that stand on each other are nearer than what a detection may be off: one that is not detected must not be told of
    the other's.
    """
    totes = shard.totes
    labels = [int(label) for label in np.flatnonzero(totes.image == index)]
    pairs = [(gap, label, k) for label in labels for k, detection in enumerate(detections)
             if (gap := match_distance(detection.camera_from_tote, totes.camera_from_tote[label])) <= 1.0]  # fmt: skip
    boxes = np.array([box_of(d.pixels, (WIDTH, HEIGHT)) for d in detections]).reshape(-1, 4)
    for label in labels:
        corners = totes.corners[label].astype(float)
        overlaps = overlaps_of(box_of(corners[~np.isnan(corners).any(axis=1)], (WIDTH, HEIGHT)), boxes)
        pairs += [(2.0 - overlap, label, k) for k, overlap in enumerate(overlaps) if overlap >= SAME_OVERLAP]
    matching: dict[int, int] = {}
    for _, label, k in sorted(pairs):
        if label not in matching and k not in matching.values():
            matching[label] = k
    return {label: detections[k] for label, k in matching.items()}, [detections[k] for k in {k for _, _, k in pairs}]


def match_distance(camera_from_tote: np.ndarray, truth: np.ndarray) -> float:
    """Distance over the one within which a detection is of a tote: sideways as little as along the line of sight much.

    Args:
        camera_from_tote: (4, 4), as detected.
        truth: (4, 4), of the tote it might be of.
    """
    sight = truth[:3, 3]
    distance = np.linalg.norm(sight)
    off = camera_from_tote[:3, 3] - sight
    along = abs(off @ sight) / distance
    across = np.linalg.norm(off - sight * (off @ sight) / distance**2)
    return max(along / max(MATCH_DISTANCE, 0.4 * distance), across / max(0.1, 0.12 * distance))


# --- figures ------------------------------------------------------------------------------------------------------


def figures(matches: Matches) -> dict:
    """Errors, recall, false alarms and how honest covariances are; overall, by distance and by camera."""
    m = matches
    clear = (m.seen_share >= CLEAR_SHARE) & (m.distance <= 2.5)
    fair = m.found & (m.seen_share >= FAIR_SHARE)
    near = m.distance <= NEAR
    card = {
        "images": m.images,
        "totes": len(m.found),
        "recall_clear": _share(m.found[clear]),
        "clear": int(clear.sum()),
        "recall_clear_within_1_m": _share(m.found[clear & near]),
        "recall_fair": _share(m.found[(m.seen_share >= FAIR_SHARE) & (m.distance <= 2.5)]),
        "false_alarms": len(m.false_alarms),
        "doubles_per_200_images": 200 * m.doubles / max(m.images, 1),
        "false_alarms_per_200_images": 200 * len(m.false_alarms) / max(m.images, 1),
        "kind_right": _share(m.kind_right[fair]),
        "clear_within_1_m": _errors(m, m.found & clear & near),
        "fair_within_1_m": _errors(m, fair & near),
        "all_found": _errors(m, m.found),
        "by_distance": {f"{low:g} to {high:g} m": _errors(m, fair & (m.distance >= low) & (m.distance < high))
                        for low, high in zip(DISTANCES[:-1], DISTANCES[1:])},
        "by_camera": {name: _errors(m, fair & (m.camera == i)) | {"recall_clear": _share(m.found[clear & (m.camera == i)])}
                      for i, name in enumerate(CAMERAS)},
    }  # fmt: skip
    return card


def _share(of: np.ndarray) -> float | None:
    return round(float(of.mean()), 4) if len(of) else None


def _errors(m: Matches, rows: np.ndarray) -> dict:
    if not rows.any():
        return {"count": 0}
    position, angle, nees = 1e3 * m.position_error[rows], np.degrees(m.angle_error[rows]), m.nees[rows]
    gross = position > 1e3 * GROSS
    return {
        "count": int(rows.sum()),
        "mm_median": round(float(np.median(position)), 2), "mm_p95": round(float(np.percentile(position, 95)), 1),
        "deg_median": round(float(np.median(angle)), 3), "deg_p95": round(float(np.percentile(angle, 95)), 2),
        "over_60_mm": int(gross.sum()), "over_60_mm_not_owned": int((gross & (nees > CHI2_6_99)).sum()),
        "in_90_percent_region": round(float((nees < CHI2_6_90).mean()), 3), "nees_median": round(float(np.median(nees)), 2),
    }  # fmt: skip


# --- calibration --------------------------------------------------------------------------------------------------


def calibrate(
    folder: Path, data: Path, *, most_images: int | None = None, false_share: float = 1 / 250, on_image=lambda done: None
) -> Calibration:
    """Fits and writes the calibration of the networks in a folder.

    Args:
        folder: of the networks.
        data: images kept apart, and not those that figures are told of.
        most_images: of them.
        false_share: false alarms per image, that the least presence shall leave.
        on_image: called with how many are done, three times over.

    Raises:
        PerceptionError: nothing was found to calibrate with.
    """
    plain = Calibration(score=0.1, most_chi2=100.0)
    detector = ToteDetector(folder, calibration=plain)
    first = match(detector, data, most_images=most_images, on_image=on_image)
    fair = first.found & (first.seen_share >= FAIR_SHARE)
    if fair.sum() < 50:
        raise PerceptionError(f"{data}: {int(fair.sum())} totes were found; 50 are needed to calibrate with")
    errors, visible = np.abs(first.corner_errors[fair]), first.corner_visible[fair]
    scales = [float(np.nanmedian(errors[which])) / NORMAL_MEDIAN if np.isfinite(errors[which]).any() else 1.0
              for which in (visible, ~visible)]  # fmt: skip
    step = replace(plain, deviation_visible=max(scales[0], 0.3), deviation_hidden=max(scales[1], 0.3))
    second = match(ToteDetector(folder, calibration=step), data, most_images=most_images, on_image=on_image)
    weights = _logistic(second.evidence, second.evidence_right)
    scores = 1 / (1 + np.exp(-(second.evidence @ weights[:-1] + weights[-1])))
    wrong = np.sort(scores[second.evidence_false])[::-1]
    allowed = int(false_share * second.images)
    least = float(np.clip(wrong[allowed] + 1e-6 if len(wrong) > allowed else 0.2, 0.2, 0.98))
    step = replace(step, score=least, evidence=tuple(float(w) for w in weights))
    third = match(ToteDetector(folder, calibration=step), data, most_images=most_images, on_image=on_image)
    weights = _covariance_weights(third.proof[third.found], third.nees[third.found])
    calibration = replace(step, covariance_evidence=tuple(float(w) for w in weights))
    text = {"networks": detector.hashes, "calibration": asdict(calibration), "images": third.images,
            "data": json.loads((data / CLAIM).read_text())}  # fmt: skip
    (folder / CALIBRATION).write_text(json.dumps(text, indent=1) + "\n")
    return calibration


def _logistic(evidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(8,) weights and constant of the logistic function that tells best whether a detection is right (Newton's method)."""
    design = np.column_stack([evidence, np.ones(len(evidence))])
    weights = np.zeros(design.shape[1])
    ridge = 1e-2 * np.eye(len(weights))  # keeps weights finite where all can be told apart
    for _ in range(30):
        likely = 1 / (1 + np.exp(-design @ weights))
        slope = design.T @ (right - likely) - ridge @ weights
        curvature = (design * (likely * (1 - likely))[:, None]).T @ design + ridge
        weights = weights + np.linalg.solve(curvature, slope)
    return weights


def _covariance_weights(evidence: np.ndarray, nees: np.ndarray) -> np.ndarray:
    """(8,) weights and a constant, with which 90% regions hold 90% of the truths whatever the evidence is.

    The logarithm of the squared error's 90th percentile is linear in the evidence (Koenker and Bassett 1978, regression
    quantiles, solved as their linear program).

    Args:
        evidence: (N, 7).
        nees: (N,) squared errors over covariances that are not multiplied by anything yet.
    """
    count = len(nees)
    wanted = np.log(np.maximum(nees, SMALLEST_NEES) / CHI2_6_90)
    design = np.column_stack([evidence, np.ones(count)])
    cost = np.concatenate([np.zeros(design.shape[1]), np.full(count, COVERAGE), np.full(count, 1.0 - COVERAGE)])
    equal = sparse.hstack([sparse.csr_matrix(design), sparse.identity(count), -sparse.identity(count)], format="csr")
    bounds = [(None, None)] * design.shape[1] + [(0.0, None)] * (2 * count)
    return linprog(cost, A_eq=equal, b_eq=wanted, bounds=bounds, method="highs").x[: design.shape[1]]


def main(arguments: list[str] | None = None) -> int:
    """Runs from a command line."""
    from rich.progress import Progress

    parser = argparse.ArgumentParser(
        prog="python -m perception.training.measure", description="Measure or calibrate a detector."
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--images", type=int, help="at most")
    parser.add_argument("--calibrate", action="store_true", help="fit and write the calibration instead")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(arguments)
    try:
        with Progress(transient=True) as progress:
            task = progress.add_task("images", total=options.images)
            show = lambda done: progress.update(task, completed=done)  # noqa: E731
            if options.calibrate:
                card = asdict(calibrate(options.models, options.data, most_images=options.images, on_image=show))
            else:
                matches = match(ToteDetector(options.models), options.data, most_images=options.images, on_image=show)
                card = figures(matches)
    except HumanoidControlError as error:
        print(error, file=sys.stderr)
        return 1
    text = json.dumps(card, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
