"""Figures from records, against what can be worked out by hand or by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from policies.evaluation.summary import paired_difference, percentiles, summarise, wilson_interval


def order(index=0, *, done=True, reason="", time_s=30.0, retries=0):
    return {"order": index, "tote": "t1", "done": done, "reason": reason, "detail": reason and f"because of {reason}",
            "time_s": time_s, "subtask": "carry", "problem": "", "retries": retries, "durations_s": {"carry": time_s},
            "tiers_s": {}, "switches": []}  # fmt: skip


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


def outcomes(*, both=0, first=0, second=0, neither=0):
    """Records of two campaigns on the same seeds, by how they went."""
    pairs = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    return [{seed: {"success": pair[k]} for seed, pair in enumerate(pairs)} for k in (0, 1)]


def test_a_paired_difference_counts_only_seeds_that_both_carried_out():
    first, second = outcomes(both=6, first=3, second=1)
    second[99] = {"success": True}
    difference = paired_difference(first, second)
    assert difference["episodes"] == 10 and (difference["only_first"], difference["only_this"]) == (3, 1)
    assert difference["difference"] == pytest.approx(-0.2)
    assert paired_difference({}, second) == {"episodes": 0, "only_first": 0, "only_this": 0, "difference": None, "interval_95": None}


def test_a_paired_difference_is_as_large_the_other_way_round():
    first, second = outcomes(both=30, first=9, second=2, neither=9)
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert there["interval_95"] == pytest.approx([-bound for bound in reversed(back["interval_95"])])


def test_pairs_that_agree_tell_more_than_pairs_that_do_not():
    alike = paired_difference(*outcomes(both=40, first=5, second=5, neither=30))["interval_95"]
    apart = paired_difference(*outcomes(both=10, first=35, second=35))["interval_95"]
    assert alike[1] - alike[0] < 0.7 * (apart[1] - apart[0])


def test_a_paired_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(4)
    shares, held = np.array([0.80, 0.10, 0.04, 0.06]), 0
    for _ in range(600):
        both, first, second, neither = rng.multinomial(60, shares)
        low, high = paired_difference(*outcomes(both=both, first=first, second=second, neither=neither))["interval_95"]
        held += low <= -0.06 <= high
    assert 0.93 <= held / 600 <= 0.985


def test_who_drove_is_told_of_policies_with_several_tiers():
    rows = [order() | {"tiers_s": {"small": 18.0, "scripted": 2.0}, "switches": [{}, {}]}, order() | {"tiers_s": {"small": 20.0}, "switches": []}]
    assert summarise([record(0, *rows)])["tiers"] == {"share_of_time": {"small": 0.95, "scripted": 0.05}, "switches": 2}
    assert summarise([record(0, order())])["tiers"] == {}
