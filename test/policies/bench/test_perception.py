"""The benchmark of perception: what it plays back is what is seen, and peers solve the same problems."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from humanoid_control.bench.report import Report
from perception.detector import ToteDetector
from policies.bench import perception as bench


@pytest.fixture(scope="module")
def recording(model):
    return bench.record(model, 2, seconds=0.25)


def test_a_recording_has_all_cameras_at_once_and_states_around_them(recording):
    taken = [frames for _, _, frames in recording.steps if frames]
    assert len(taken) >= 3 and all([frame.camera for frame in frames] == list(bench.CAMERAS) for frames in taken)
    stamps = [frames[0].stamp_s for frames in taken]
    assert np.diff(stamps) == pytest.approx(1 / bench.RATE_HZ, abs=0.021)
    assert len({name for _, truth in recording.views for name in truth}) == 2


def test_playing_back_times_every_image_and_its_parts_and_leaves_no_clock_behind(recording):
    before = (ToteDetector.look, onnxruntime.InferenceSession.run)
    times = bench.play_back(recording, "tracker", rounds=1)
    assert (ToteDetector.look, onnxruntime.InferenceSession.run) == before
    images = sum(len(frames) for _, _, frames in recording.steps[:-1])
    assert len(times.image) == images and len(times.three) == len(times.read) == images // len(bench.CAMERAS)
    assert {"detector (finder, crops, pnp)", "finder", "corner network", "tracker", "localiser"} <= set(times.part)
    whole = np.array(times.image)
    assert all((np.array(part) <= whole + 1e-3).all() for part in times.part.values())
    assert times.busy >= whole.sum() and times.robot > 0.2


def test_all_solvers_solve_clean_points_and_ours_forgets_a_stray(recording):
    report = Report("perception")
    bench.time_poses(report, [recording], cases=12)
    residuals = {row["name"]: row["residual"] for row in report.rows}
    assert all(residual < 8.0 for name, residual in residuals.items() if "25 px off" not in name)
    strays = {name.split(": ")[1]: residual for name, residual in residuals.items() if "25 px off" in name}
    assert strays["ours, up known, covariance included"] < 8.0 < strays["OpenCV solvePnP iterative"]
    assert {row["peer"] for row in report.rows} == {True, False}


def test_tags_are_found_nearer_to_the_truth_than_by_peers(model):
    report = Report("perception")
    bench.time_tags(report, bench.record(model, 2, seconds=0.25, tags=True))
    residuals = {row["name"].split(": ")[1]: row["residual"] for row in report.rows}
    assert len(residuals) == 4 and residuals["ours"] == min(residuals.values()) < 0.1
