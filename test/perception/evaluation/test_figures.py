"""Figures from rows made by hand, and intervals that know how alike an episode's images are."""

import json

import numpy as np
import pytest

from perception.evaluation.figures import Rows, gaze_figures, rung_figures


def episode(rng, count=200, *, bias=0.0, recall=1.0, share=1.0, distance=(0.3, 0.9), false=0) -> dict:
    """What a rung said in one episode: position errors of 5 mm or so, all of them off by as much again as `bias`."""
    found = rng.random(count) < recall
    error = np.where(found, np.abs(rng.normal(0.005 + bias, 0.0005, count)), np.nan)
    rows = {
        "camera": ["head_camera"] * count, "subtask": ["reach"] * count, "station": ["table at 0.7 m"] * count,
        "distance": rng.uniform(*distance, count).tolist(), "seen_share": [share] * count, "told": found.tolist(),
        "found": found.tolist(), "kind_right": found.tolist(), "position": error.tolist(), "angle": (0.01 * np.ones(count)).tolist(),
        "nees": np.where(found, rng.chisquare(4, count), np.nan).tolist(), "deviation": [0.004] * count,
    }  # fmt: skip
    return {"rows": rows, "images": count, "refused": 0, "false_alarms": false, "doubles": 0,
            "image_rows": [("head_camera", int(k < false)) for k in range(count)]}  # fmt: skip


def figures_of(episodes: list[dict]) -> dict:
    return rung_figures(Rows.of([one["rows"] for one in episodes]), episodes)


def test_figures_are_those_of_the_rows():
    rng = np.random.default_rng(0)
    figures = figures_of([episode(rng, recall=0.9, false=2) for _ in range(4)])
    assert figures["images"] == 800 and figures["false_per_image"] == pytest.approx(0.01)
    assert figures["recall"] == pytest.approx(0.9, abs=0.04) and figures["clear"] == 800
    assert figures["position_mm"]["p50"] == pytest.approx(5.0, abs=0.1)
    assert figures["angle_deg"]["p50"] == pytest.approx(np.degrees(0.01), abs=1e-3)
    assert figures["coverage_90"] == pytest.approx(0.9, abs=0.04)
    assert figures["within_1_m"]["errors"] == figures["errors"]
    assert sum(cell["clear"] for cell in figures["by_distance"].values()) == 800
    assert figures["by_station"]["table at 0.7 m"]["clear"] == 800
    assert sum(figures["nees_histogram"]["counts"]) == figures["errors"]
    json.dumps(figures, allow_nan=False)


def test_intervals_resample_episodes_not_images():
    rng = np.random.default_rng(1)
    alike = figures_of([episode(rng, bias=0.003) for _ in range(8)])
    apart = figures_of([episode(rng, bias=0.006 * (k % 2)) for k in range(8)])
    width = {name: np.ptp(one["position_mm"]["p50_95"]) for name, one in (("alike", alike), ("apart", apart))}
    assert width["apart"] > 10 * width["alike"]
    assert alike["position_mm"]["p50_95"][0] <= alike["position_mm"]["p50"] <= alike["position_mm"]["p50_95"][1]


def test_one_episode_has_no_interval_and_figures_are_the_same_every_time():
    one = episode(np.random.default_rng(2))
    assert "recall_95" not in figures_of([one])
    several = [episode(np.random.default_rng(k), recall=0.8) for k in range(3)]
    assert figures_of(several) == figures_of(several)


def test_what_is_hidden_is_not_expected_to_be_found():
    rng = np.random.default_rng(3)
    hidden = figures_of([episode(rng, share=0.3, recall=0.0), episode(rng, share=0.3, recall=0.0)])
    assert hidden["recall"] is None and hidden["clear"] == hidden["errors"] == 0
    assert hidden["position_mm"] | {} == {"p50": None, "p95": None, "p50_95": None, "p95_95": None}
    half = figures_of([episode(rng, share=0.6), episode(rng, share=0.6)])
    assert half["clear"] == 0 and half["errors"] == 400 and half["by_visibility"]["fair"]["errors"] == 400


def test_far_totes_count_neither_way():
    far = figures_of([episode(np.random.default_rng(4), distance=(2.6, 3.0), recall=0.0)])
    assert far["clear"] == 0 and far["images"] == 200


def test_gross_errors_are_counted_and_those_not_owned_apart():
    one = episode(np.random.default_rng(5), bias=0.1)
    one["rows"]["nees"] = [1.0] * 150 + [100.0] * 50
    figures = figures_of([one])
    assert (figures["over_60_mm"], figures["over_60_mm_not_owned"]) == (200, 50)


def test_a_wrong_kind_is_not_found_but_its_errors_count():
    one = episode(np.random.default_rng(6))
    one["rows"]["kind_right"] = one["rows"]["found"] = [True] * 150 + [False] * 50
    figures = figures_of([one])
    assert (figures["recall"], figures["kind_right"], figures["errors"]) == (0.75, 0.75, 200)


def test_what_is_in_sight_is_added_up_over_episodes():
    rows = [{"what": "table at 0.7 m", "subtask": "reach", "looks": 10, "any": 5, "seen": [5, 1]}]
    (row,) = gaze_figures([rows, rows, []], ("a", "b"))
    assert row["any_camera"] == 0.5 and row["by_camera"] == {"a": 0.5, "b": 0.1} and row["looks"] == 20
