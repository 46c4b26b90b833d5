"""The statistics that LeRobot keeps of each column: of an episode, and of episodes together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

Statistics = dict[str, np.ndarray]


def of_numbers(values: np.ndarray) -> Statistics:
    """Of a column (T, D), or (T,): each (D,), but `count` (1,)."""
    values = np.asarray(values, np.float64).reshape(len(values), -1)
    found = {"min": values.min(axis=0), "max": values.max(axis=0), "mean": values.mean(axis=0), "std": values.std(axis=0),
             "count": np.array([len(values)])}  # fmt: skip
    return found | dict(zip(QUANTILES, np.quantile(values, list(QUANTILES.values()), axis=0)))


def of_images(histogram: np.ndarray, images: int) -> Statistics:
    """Of a film, by colour and in shares of full brightness: each (3, 1, 1), but `count` (1,).

    Args:
        histogram: (3, 256) how often each value of each colour came up.
        images: in how many images that was looked at.
    """
    values = np.arange(256) / 255.0
    shares = histogram / histogram.sum(axis=1, keepdims=True)
    mean = shares @ values
    up_to = np.cumsum(shares, axis=1)
    seen = histogram > 0
    found = {"min": values[seen.argmax(axis=1)], "max": values[255 - seen[:, ::-1].argmax(axis=1)], "mean": mean,
             "std": np.sqrt(np.maximum(shares @ values**2 - mean**2, 0.0))}  # fmt: skip
    found |= {name: values[(up_to >= share - 1e-12).argmax(axis=1)] for name, share in QUANTILES.items()}
    return {name: value.reshape(3, 1, 1) for name, value in found.items()} | {"count": np.array([images])}


def together(parts: Sequence[Statistics]) -> Statistics:
    """Of several episodes: exact but for the quantiles, which are the episodes' means, as in LeRobot's own aggregation."""
    counts = np.array([float(part["count"][0]) for part in parts])
    shares = counts / counts.sum()

    def mean_of(values: list[np.ndarray]) -> np.ndarray:
        return np.tensordot(shares, np.stack(values), axes=1)

    mean = mean_of([part["mean"] for part in parts])
    spread = mean_of([part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts])
    found = {"min": np.min([part["min"] for part in parts], axis=0), "max": np.max([part["max"] for part in parts], axis=0),
             "mean": mean, "std": np.sqrt(spread), "count": np.array([int(counts.sum())])}  # fmt: skip
    return found | {name: mean_of([part[name] for part in parts]) for name in QUANTILES}


def to_lists(statistics: Statistics) -> dict[str, list]:
    """As JSON takes them."""
    return {name: value.tolist() for name, value in statistics.items()}


def from_lists(statistics: dict[str, list]) -> Statistics:
    """From what `to_lists` made."""
    return {name: np.asarray(value) for name, value in statistics.items()}
