"""A run's figures and page, from records made by hand."""

import json

import numpy as np
import pytest

from humanoid_control.installation import share_folder
from humanoid_control.mission.factory import load_factory
from humanoid_control.report.page import write_report
from humanoid_control.report.run_record import OrderRecord, RunRecord, SubTask


@pytest.fixture
def record():
    """Two metres straight ahead in ten seconds, seen from an `odom` that is turned by a quarter."""
    t = np.linspace(0.0, 10.0, 101)
    zero = np.zeros_like(t)
    return RunRecord(
        factory=load_factory(share_folder() / "config/factories/line_side.yaml"), seed=3,
        truth=np.column_stack([t, 0.2 * t, zero, zero]),
        estimate=np.column_stack([t, zero, 0.2 * t + 0.001 * t, zero + np.pi / 2, zero + 0.2, zero, zero, zero + 150, zero + 180]),
        control=np.column_stack([t, zero + 0.002, zero, zero, zero + 1.0, np.floor(2 * t)]),
        modes=["walking"] * 50 + ["holding"] * 5 + ["walking"] * 46,
        subtasks=[SubTask("approach", 0, 6), SubTask("grip", 6, 10, "missed the grip")],
        orders=[OrderRecord("t1 to <outfeed>", 0.0, 10.0, True, True, judge_detail="t1 stands")],
        tote_paths={"t1": np.column_stack([t, zero, zero])}, wall_s=5.0, simulated_s=10.0, timings={"step p50": 0.2})  # fmt: skip


def test_figures_are_those_of_the_run(record):
    figures = record.key_figures()
    assert (figures["orders"], figures["done"], figures["steps"], figures["holds"]) == (1, 1, 20, 1)
    assert figures["walked_m"] == pytest.approx(2.0)
    assert figures["real_time_factor"] == pytest.approx(2.0)
    assert figures["position_drift_m"] == pytest.approx(0.01, abs=1e-6)
    assert figures["hand_error_mm"]["p50"] == pytest.approx(2.0)


def test_the_estimate_is_laid_onto_the_map(record):
    path = record.estimated_path()
    np.testing.assert_allclose(path[-1], [2.01, 0.0], atol=1e-9)


@pytest.mark.parametrize(("done", "judged", "success"), [(True, True, True), (True, False, False), (True, None, False), (False, True, False)])
def test_an_order_is_done_only_if_policy_and_judge_agree(done, judged, success):
    assert OrderRecord("o", 0.0, 1.0, done, judged).success is success


def test_page_and_figures_are_written(record, tmp_path):
    page = write_report(record, tmp_path, video="video.mp4", notes=("a note",)).read_text()
    assert page.count("<svg") == 6 and "video.mp4" in page and "a note" in page
    assert "t1 to &lt;outfeed&gt;" in page
    written = json.loads((tmp_path / "kpi.json").read_text())
    assert written["results"][0]["success"] is True and written["notes"] == ["a note"]


def test_a_run_that_never_began_still_has_a_page(record, tmp_path):
    write_report(RunRecord(record.factory, 0), tmp_path, notes=("nothing started",))
    assert json.loads((tmp_path / "kpi.json").read_text())["done"] == 0
