"""Figures from records, against what can be worked out by hand or by scipy."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from policies.evaluation.summary import percentiles, summarise, wilson_interval


def order(index=0, *, done=True, reason="", time_s=30.0, retries=0):
    return {"order": index, "tote": "t1", "done": done, "reason": reason, "detail": reason and f"because of {reason}",
            "time_s": time_s, "subtask": "carry", "problem": "", "retries": retries, "durations_s": {"carry": time_s}}  # fmt: skip


def record(seed, *orders, drift=0.01, walked=5.0, simulated=60.0, wall=10.0, ordered=None):
    return {"seed": seed, "success": all(o["done"] for o in orders), "ordered": ordered or len(orders), "orders": list(orders),
            "walked_m": walked, "drift_m": drift, "simulated_s": simulated, "wall_s": wall, "final_state": ""}  # fmt: skip


@pytest.mark.parametrize("successes, trials", [(0, 1), (1, 1), (7, 20), (197, 200), (200, 200), (0, 200)])
def test_wilson_interval_agrees_with_scipy(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_trials_say_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert percentiles([]) == {"p50": None, "p95": None}
    assert summarise([])["success_rate"] is None


def test_an_episode_succeeds_only_if_every_order_is_done():
    figures = summarise([
        record(0, order(0), order(1, time_s=40.0)),
        record(1, order(0), order(1, done=False, reason="dropped"), ordered=3),
        record(2, order(0, done=False, reason="fall"), drift=5.0),
    ])  # fmt: skip
    assert (figures["episodes"], figures["success"], figures["success_rate"]) == (3, 1, 0.3333)
    assert (figures["orders"], figures["orders_done"]) == (6, 3)  # what came after a failure was not done either
    assert (figures["falls"], figures["drops"]) == (1, 1)
    assert figures["cycle_time_s"]["p50"] == 30.0
    assert [(f["seed"], f["order"], f["reason"]) for f in figures["failures"]] == [(1, 1, "dropped"), (2, 0, "fall")]
    assert figures["failures"][0]["detail"] == "because of dropped"


def test_drift_is_per_metre_of_those_who_did_not_fall():
    figures = summarise([record(0, order(), drift=0.02, walked=4.0), record(1, order(done=False, reason="fall"), drift=3.0)])
    assert figures["drift_per_metre"]["p50"] == pytest.approx(0.005)


def test_real_time_factor_is_that_of_one_process():
    figures = summarise([record(seed, order(), simulated=60.0, wall=10.0) for seed in range(4)])
    assert figures["real_time_factor"] == pytest.approx(6.0)
