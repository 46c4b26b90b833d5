"""From episodes' records to figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

Z_95 = 1.959963984540054  # two-sided 95% quantile of the normal distribution


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95% score interval of a success rate (Wilson 1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    rate, z2 = successes / trials, Z_95**2
    middle = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z_95 / (1 + z2 / trials) * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    # At the ends the interval touches 0 or 1 exactly; rounding must not take it past them.
    return (0.0 if successes == 0 else middle - half), (1.0 if successes == trials else middle + half)


def paired_difference(first: Mapping[int, dict], second: Mapping[int, dict]) -> dict:
    """How much oftener the second succeeds, of the seeds that both carried out, with a 95% interval.

    The interval is Newcombe's for paired rates, from their score intervals and their correlation (Newcombe 1998, Statistics
    in Medicine 17, 2635, method 10).

    Args:
        first, second: records of `record_episode` by seed.
    """
    seeds = sorted(first.keys() & second.keys())
    pairs = [(bool(second[seed]["success"]), bool(first[seed]["success"])) for seed in seeds]
    both, only_this, only_first, neither = (pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False)))
    counts = {"episodes": len(seeds), "only_first": only_first, "only_this": only_this}
    if not seeds:
        return counts | {"difference": None, "interval_95": None}
    n = len(seeds)
    this, other = both + only_this, both + only_first
    (low_1, high_1), (low_2, high_2) = wilson_interval(this, n), wilson_interval(other, n)
    rate_1, rate_2 = this / n, other / n
    product = both * neither - only_this * only_first
    if product > 0:
        product = max(product - n / 2, 0.0)
    margins = this * (n - this) * other * (n - other)
    correlation = product / math.sqrt(margins) if margins else 0.0

    def joined(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * correlation * a * b + b * b, 0.0))

    difference = rate_1 - rate_2
    interval = difference - joined(rate_1 - low_1, high_2 - rate_2), difference + joined(high_1 - rate_1, rate_2 - low_2)
    return counts | {"difference": round(difference, 4), "interval_95": [round(bound, 4) for bound in interval]}


def percentiles(values: Sequence[float], digits: int = 3) -> dict[str, float | None]:
    """Median and 95th percentile; None where there are no values."""
    if not len(values):
        return {"p50": None, "p95": None}
    return {name: round(float(np.percentile(values, p)), digits) for name, p in (("p50", 50), ("p95", 95))}


def summarise(records: Sequence[dict]) -> dict:
    """The figures of a campaign.

    Args:
        records: of `record_episode`, in the order of their seeds.
    """
    orders = [(record["seed"], order) for record in records for order in record["orders"]]
    done = [order for _, order in orders if order["done"]]
    failures = [{"seed": seed, **{key: order[key] for key in ("order", "reason", "detail", "subtask", "problem", "time_s")},
                 "control_stop": order.get("control_stop", "")}
                for seed, order in orders if not order["done"]]  # fmt: skip
    successes = sum(record["success"] for record in records)
    simulated = sum(record["simulated_s"] for record in records)
    wall = sum(record["wall_s"] for record in records)
    # An estimate is worth nothing once the robot lies on the floor.
    walks = [r for r in records if r["drift_m"] is not None and r["walked_m"] > 0.5
             and all(order["reason"] != "fall" for order in r["orders"])]  # fmt: skip
    return {
        "episodes": len(records),
        "success": successes,
        "success_rate": round(successes / len(records), 4) if records else None,
        "wilson_95": [round(bound, 4) for bound in wilson_interval(successes, len(records))],
        "orders": sum(record["ordered"] for record in records),
        "orders_done": len(done),
        "falls": sum(f["reason"] == "fall" for f in failures),
        "drops": sum(f["reason"] == "dropped" for f in failures),
        "retries": sum(order["retries"] for _, order in orders),
        "cycle_time_s": percentiles([order["time_s"] for order in done]),
        "tiers": _tiers([order for _, order in orders]),
        "subtask_s": {name: percentiles(values) for name, values in _durations(done).items()},
        "walked_m": round(sum(r["walked_m"] for r in records), 3),
        "drift_m": percentiles([r["drift_m"] for r in walks], 4),
        "drift_per_metre": percentiles([r["drift_m"] / r["walked_m"] for r in walks], 5),
        "simulated_s": round(simulated, 3),
        "real_time_factor": round(simulated / wall, 3) if wall else None,
        "failures": failures,
    }


def _tiers(orders: Sequence[dict]) -> dict:
    """Shares of time that each tier drove, and how often another took over, of a policy that has several."""
    driven: dict[str, float] = {}
    for order in orders:
        for name, seconds in order["tiers_s"].items():
            driven[name] = driven.get(name, 0.0) + seconds
    total = sum(driven.values())
    switches = sum(len(order["switches"]) for order in orders)
    return {"share_of_time": {name: round(seconds / total, 4) for name, seconds in driven.items()}, "switches": switches} if total else {}


def _durations(orders: Sequence[dict]) -> dict[str, list[float]]:
    durations: dict[str, list[float]] = {}
    for order in orders:
        for name, seconds in order["durations_s"].items():
            durations.setdefault(name, []).append(seconds)
    return durations
