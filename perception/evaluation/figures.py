"""From what a rung said in many images to figures; what each means is in docs/evaluation.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from perception.evaluation.comparison import CHI2_90, CHI2_99, DIMENSIONS, GROSS
from perception.training.measure import CLEAR_SHARE, DISTANCES, FAIR_SHARE, NEAR

FARTHEST = 2.5  # m from the camera, beyond which nobody needs a tote
RESAMPLES = 400
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
NEES_EDGES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.3, 18.5, 30.0, 60.0)
APPROACH = ("approach", "ready", "reach", "grip")  # sub-tasks in which a tote is fetched
BINS = tuple(zip([low for low in DISTANCES if low < FARTHEST], [high for high in DISTANCES[1:] if high <= FARTHEST]))


@dataclass(frozen=True, eq=False)
class Rows:
    """Every tote in view of every image, over many episodes.

    Attributes:
        episode: (N,) index.
        camera, subtask, station: (N,) text.
        distance: (N,) m from the camera.
        seen_share: (N,).
        told: (N,) bool, whether the rung gave a pose of it.
        found: (N,) bool, whether that was good enough to be of use.
        kind_right: (N,) bool, whether it told the kind of load carrier; False where nothing was told.
        position: (N,) m; NaN where nothing was told, as are the following.
        angle: (N,) rad.
        nees: (N,) of four dimensions.
        deviation: (N,) m, of the position as told.
    """

    episode: np.ndarray
    camera: np.ndarray
    subtask: np.ndarray
    station: np.ndarray
    distance: np.ndarray
    seen_share: np.ndarray
    told: np.ndarray
    found: np.ndarray
    kind_right: np.ndarray
    position: np.ndarray
    angle: np.ndarray
    nees: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, episodes: Sequence[dict]) -> Rows:
        """Joins the rows of episodes, in their order."""
        kinds = {"camera": str, "subtask": str, "station": str, "told": bool, "found": bool, "kind_right": bool}
        columns = {"episode": np.repeat(np.arange(len(episodes)), [len(one["camera"]) for one in episodes])}
        for name in cls.__dataclass_fields__:
            if name != "episode":
                columns[name] = np.array([value for one in episodes for value in one[name]], kinds.get(name, float))
        return cls(**columns)

    def __getitem__(self, which: np.ndarray) -> Rows:
        return Rows(**{name: getattr(self, name)[which] for name in self.__dataclass_fields__})

    @property
    def clear(self) -> np.ndarray:
        """(N,) in view and not occluded: recall is of these."""
        return self.seen_share >= CLEAR_SHARE

    @property
    def fair(self) -> np.ndarray:
        """(N,) told of, and at least half in sight: errors are of these."""
        return self.told & (self.seen_share >= FAIR_SHARE)


def rung_figures(rows: Rows, episodes: Sequence[dict], *, seed: int = 0) -> dict:
    """All figures of one rung.

    Args:
        rows: of all episodes.
        episodes: the rung's results by episode, for its images and false alarms.
        seed: of the resampling.
    """
    within = rows[rows.distance <= FARTHEST]
    images = np.array([one["images"] for one in episodes])
    false = np.array([one["false_alarms"] for one in episodes])
    doubles = sum(one["doubles"] for one in episodes)
    counts = {"images": int(images.sum()), "refused_images": sum(one["refused"] for one in episodes),
              "false": int(false.sum()), "false_per_image": _ratio(int(false.sum()), int(images.sum())),
              "doubles_per_image": _ratio(doubles, int(images.sum()))}  # fmt: skip
    draws = _draws(len(episodes), seed)
    if draws is not None:
        counts["false_per_image_95"] = _interval([false[d].sum() / max(images[d].sum(), 1) for d in draws])
    cameras = sorted(set(within.camera))
    false_of = {camera: [sum(count for name, count in one["image_rows"] if name == camera) for one in episodes] for camera in cameras}
    images_of = {camera: [sum(name == camera for name, _ in one["image_rows"]) for one in episodes] for camera in cameras}
    fetched = np.isin(within.subtask, APPROACH) & (within.station != "")
    return _cell(within, draws) | counts | {
        "within_1_m": _cell(within[within.distance <= NEAR], draws),
        "by_distance": {f"{low:g} to {high:g} m": _cell(within[(within.distance >= low) & (within.distance < high)]) for low, high in BINS},
        "by_camera": {name: _cell(within[within.camera == name]) | {"false_per_image": _ratio(sum(false_of[name]), sum(images_of[name]))}
                      for name in cameras},
        "by_subtask": {name: _cell(within[within.subtask == name]) for name in dict.fromkeys(within.subtask.tolist())},
        "by_station": {name: _cell(within[fetched & (within.station == name)]) for name in sorted(set(within.station[fetched]))},
        "by_visibility": {name: _cell(within[(within.seen_share >= low) & (within.seen_share < high)], least_share=0.0)
                          for name, low, high in (("clear", CLEAR_SHARE, 2.0), ("fair", FAIR_SHARE, CLEAR_SHARE), ("hardly", 0.0, FAIR_SHARE))},
        "reliability": _reliability(within[within.fair]), "nees_histogram": _nees_histogram(within[within.fair]),
    }  # fmt: skip


def _cell(rows: Rows, draws: list[np.ndarray] | None = None, *, least_share: float = FAIR_SHARE) -> dict:
    """The figures of some of the rows; with `draws` of episodes, with 95% intervals."""
    clear, fair = rows[rows.clear], rows[rows.told & (rows.seen_share >= least_share)]
    gross = fair.position > GROSS
    cell = {
        "clear": len(clear.found), "errors": len(fair.found),
        "recall": _ratio(int(clear.found.sum()), len(clear.found)),
        "kind_right": _ratio(int(fair.kind_right.sum()), len(fair.kind_right)),
        "position_mm": _spread(1e3 * fair.position, 2), "angle_deg": _spread(np.degrees(fair.angle), 3),
        "coverage_90": _ratio(int((fair.nees <= CHI2_90).sum()), len(fair.nees)),
        "over_60_mm": int(gross.sum()), "over_60_mm_not_owned": int((gross & (fair.nees > CHI2_99)).sum()),
        "sigma_mm_median": round(1e3 * float(np.median(fair.deviation)), 2) if len(fair.deviation) else None,
        "nees_median": round(float(np.median(fair.nees)), 2) if len(fair.nees) else None,
    }  # fmt: skip
    if draws is not None:
        _add_intervals(cell, clear, fair, draws)
    return cell


def _add_intervals(cell: dict, clear: Rows, fair: Rows, draws: list[np.ndarray]) -> None:
    """95% intervals by resampling whole episodes: images of one episode are alike."""

    def resampled(rows: Rows, values: np.ndarray, figure: Callable[[np.ndarray], float]) -> list[float]:
        parts = [values[rows.episode == episode] for episode in range(len(draws[0]))]
        drawn = (np.concatenate([parts[episode] for episode in draw]) for draw in draws)
        return [figure(part) for part in drawn if len(part)]

    cell["recall_95"] = _interval(resampled(clear, clear.found, np.mean))
    cell["coverage_90_95"] = _interval(resampled(fair, fair.nees <= CHI2_90, np.mean))
    for name, values, digits in (("position_mm", 1e3 * fair.position, 2), ("angle_deg", np.degrees(fair.angle), 3)):
        both = resampled(fair, values, lambda part: np.percentile(part, (50, 95)))
        for k, percentile in enumerate(("p50", "p95")):
            cell[name][f"{percentile}_95"] = _interval([pair[k] for pair in both], digits)


def _draws(episodes: int, seed: int) -> list[np.ndarray] | None:
    """Indices of resampled episodes; None where there are too few to tell how they differ."""
    if episodes < 2:
        return None
    return list(np.random.default_rng(seed).integers(episodes, size=(RESAMPLES, episodes)))


def _interval(values: Sequence[float], digits: int = 4) -> list[float] | None:
    if not len(values):
        return None
    return [round(float(bound), digits) for bound in np.percentile(values, (2.5, 97.5))]


def _ratio(count: int, of: int) -> float | None:
    return round(count / of, 4) if of else None


def _spread(values: np.ndarray, digits: int) -> dict[str, float | None]:
    if not len(values):
        return {"p50": None, "p95": None}
    return {name: round(float(np.percentile(values, p)), digits) for name, p in (("p50", 50), ("p95", 95))}


def _reliability(rows: Rows) -> dict | None:
    if not len(rows.nees):
        return None
    return {"nominal": list(LEVELS), "observed": [round(float((rows.nees <= chi2.ppf(level, DIMENSIONS)).mean()), 4) for level in LEVELS]}


def _nees_histogram(rows: Rows) -> dict:
    counts, _ = np.histogram(rows.nees, [*NEES_EDGES, np.inf])
    return {"edges": list(NEES_EDGES), "counts": counts.tolist()}


def gaze_figures(episodes: Sequence[list[dict]], cameras: Sequence[str]) -> list[dict]:
    """Which share of the time the tote, or its place, was in sight: by station kind and height, and by sub-task.

    Args:
        episodes: `gaze` of each.
        cameras: their names.
    """
    joined: dict[tuple[str, str], dict] = {}
    for rows in episodes:
        for row in rows:
            total = joined.setdefault((row["what"], row["subtask"]), {"looks": 0, "any": 0, "seen": np.zeros(len(cameras), int)})
            total["looks"] += row["looks"]
            total["any"] += row["any"]
            total["seen"] += row["seen"]
    return [{"what": what, "subtask": subtask, "looks": total["looks"], "any_camera": _ratio(total["any"], total["looks"]),
             "by_camera": {name: _ratio(int(count), total["looks"]) for name, count in zip(cameras, total["seen"])}}
            for (what, subtask), total in sorted(joined.items())]  # fmt: skip
