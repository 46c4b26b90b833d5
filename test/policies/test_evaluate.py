"""The command `humanoid evaluate`: what it counts, that processes do not change it, and what it says of mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from humanoid_control import cli
from policies.evaluate import journal_path, rung_journal_path
from policies.evaluation.episode_record import TIMING_KEY

ROOT = Path(__file__).resolve().parents[2]
LINE_SIDE = ROOT / "config" / "factories" / "line_side.yaml"
CONTRACT = {"factory", "policy", "poses", "episodes", "success", "success_rate", "wilson_95", "falls", "drops", "cycle_time_s",
            "real_time_factor", "wall_s", "failures", "versions", "model_sha256"}  # fmt: skip
TIMING = ("wall_s", "real_time_factor", "workers")


@pytest.fixture
def pen(tmp_path, penned_in_text):
    path = tmp_path / "penned_in.yaml"
    path.write_text(penned_in_text)
    return path


def evaluate(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


def records_in(json_path: Path) -> list[dict]:
    rows = [json.loads(line) for line in journal_path(json_path).read_text().splitlines()]
    records = [row for row in rows if "seed" in row]
    for record in records:
        del record[TIMING_KEY]
    return records


def without_timing(json_path: Path) -> str:
    """The JSON file's text, all but how long things took."""
    report = json.loads(json_path.read_text())
    for key in TIMING:
        del report[key]
    return json.dumps(report, indent=1)


def test_the_number_of_processes_changes_nothing(tmp_path, pen):
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    assert evaluate("--factory", pen, "--policy", "scripted", "--episodes", 3, "--seed", 5, "--workers", 1, "--json", one) == 0
    assert evaluate("--factory", pen, "--policy", "scripted", "--episodes", 3, "--seed", 5, "--workers", 2, "--json", two) == 0
    assert without_timing(one) == without_timing(two)
    assert records_in(one) == records_in(two)
    report = json.loads(one.read_text())
    assert CONTRACT <= set(report)
    assert report["episodes"] == 3 and report["success"] == 0
    assert [failure["seed"] for failure in report["failures"]] == [5, 6, 7]
    assert all(failure["reason"] == "gave_up" and "no way" in failure["detail"] for failure in report["failures"])
    assert len({record["final_state"] for record in records_in(one)}) == 3


def test_a_whole_episode_is_the_same_in_another_process(tmp_path, whole_episode):
    out = tmp_path / "out.json"
    assert evaluate("--factory", LINE_SIDE, "--policy", "scripted", "--episodes", 1, "--seed", whole_episode["seed"],
                    "--require", 1.0, "--workers", 1, "--json", out) == 0  # fmt: skip
    report = json.loads(out.read_text())
    assert report["success"] == report["orders_done"] == 1 and report["failures"] == []
    here = json.loads(json.dumps(whole_episode))
    del here[TIMING_KEY]
    assert records_in(out) == [here]
    assert report["cycle_time_s"]["p50"] == pytest.approx(here["orders"][0]["time_s"], abs=1e-3)


def test_pose_sources_are_compared_on_the_same_seeds(tmp_path, pen, capsys):
    out, alone = tmp_path / "out.json", tmp_path / "alone.json"
    options = ("--factory", pen, "--policy", "scripted", "--episodes", 2, "--seed", 5, "--workers", 1)
    assert evaluate(*options, "--poses", "oracle,fiducial", "--json", out, "--require", 0.5) == 1
    said = capsys.readouterr()
    assert "with poses from fiducial is 0.0; 0.5 is required" in said.err
    assert evaluate(*options, "--poses", "oracle", "--json", alone) == 0
    report = json.loads(out.read_text())
    assert report["complete"] and list(report["reports"]) == report["poses"] == ["oracle", "fiducial"]
    single = json.loads(alone.read_text())
    assert {k: v for k, v in report["reports"]["oracle"].items() if k not in TIMING} == {k: v for k, v in single.items() if k not in TIMING}
    assert report["differences"]["fiducial"] | {"interval_95": None} == {
        "episodes": 2, "only_first": 0, "only_this": 0, "difference": 0.0, "interval_95": None}  # fmt: skip
    journals = {rung: rung_journal_path(out, rung).read_text() for rung in report["poses"]}
    assert all('"seed": 6' in text for text in journals.values())
    assert evaluate(*options, "--poses", "oracle,fiducial", "--json", out, "--resume") == 0
    again = json.loads(out.read_text())
    assert again["reports"]["fiducial"]["failures"] == report["reports"]["fiducial"]["failures"]


def test_an_interrupted_campaign_keeps_its_episodes_and_goes_on(tmp_path, pen):
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "humanoid_control.cli", "evaluate", "--factory", str(pen), "--policy", "scripted",
               "--workers", "1", "--json", str(out)]  # fmt: skip
    process = subprocess.Popen([*command, "--episodes", "500"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               cwd=ROOT, start_new_session=True)  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while not (journal_path(out).exists() and '"seed": 1' in journal_path(out).read_text()):
            assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C does: to all of them
        _, errors = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
    assert process.returncode == 130
    assert "interrupted after" in errors and "Traceback" not in errors
    report = json.loads(out.read_text())
    done = report["episodes"]
    assert 2 <= done < 500 and not report["complete"]

    assert evaluate("--factory", pen, "--policy", "scripted", "--episodes", done, "--json", out) == cli.EXIT_ERROR
    assert evaluate("--factory", pen, "--policy", "scripted", "--episodes", done + 1, "--json", out, "--resume") == 0
    assert [record["seed"] for record in records_in(out)] == list(range(done + 1))
    assert json.loads(out.read_text())["complete"]


def test_hours_go_on_after_failures_and_are_accounted_for(tmp_path, pen):
    out = tmp_path / "hours.json"
    assert evaluate("--factory", pen, "--policy", "scripted", "--hours", 0.001, "--seed", 3, "--json", out) == 0
    report = json.loads(out.read_text())
    assert report["simulated_s"] >= 3.6 and report["complete"]
    assert report["orders_done"] == 0 and report["success_rate"] == 0.0
    assert [failure["seed"] for failure in report["failures"]] == list(range(3, 3 + report["episodes"]))
    assert all(failure["reason"] == "gave_up" for failure in report["failures"])
    assert evaluate("--factory", pen, "--policy", "scripted", "--hours", 0.0005, "--require", 0.5) == 1


@pytest.mark.parametrize("arguments, named", [
    (("--policy", "clever", "--episodes", 1), "no policy 'clever'; allowed: scripted, teacher"),
    (("--policy", "scripted", "--poses", "guess", "--episodes", 1), "no pose source 'guess'; allowed: oracle"),
    (("--policy", "scripted", "--poses", "oracle,guess", "--episodes", 1), "no pose source 'guess'; allowed: oracle"),
    (("--policy", "scripted", "--poses", "oracle,", "--episodes", 1), "no pose source ''; allowed: oracle"),
    (("--policy", "scripted", "--poses", ",", "--episodes", 1), "--poses ',' names no pose source; allowed: oracle"),
    (("--policy", "scripted", "--poses", "tracker,oracle,tracker", "--episodes", 1), "--poses names 'tracker' 2 times"),
    (("--policy", "scripted", "--layouts", "mine", "--episodes", 1), "no split of layouts 'mine'; allowed: training, held_out"),
    (("--policy", "scripted", "--layouts", "training", "--hours", 1), "--layouts does not go with it"),
    (("--policy", "scripted", "--poses", "oracle,tracker", "--hours", 1), "--hours goes with one pose source; --poses names 2"),
    (("--episodes", 1), "--policy is missing"),
    (("--policy", "scripted", "--episodes", 1, "--look", "plain"), "--look goes with `humanoid evaluate perception` only"),
    (("/no/second.yaml", "--policy", "scripted", "--episodes", 1), "--factory names 2 files"),
    (("--policy", "scripted", "--episodes", 0), "--episodes is 0; at least 1 is needed"),
    (("--policy", "scripted"), "either --episodes N or --hours H"),
    (("--policy", "scripted", "--episodes", 1, "--hours", 1), "either --episodes N or --hours H"),
    (("--policy", "scripted", "--hours", "nan"), "--hours is nan"),
    (("--policy", "scripted", "--episodes", 1, "--seed", -1), "--seed is -1; 0 or more"),
    (("--policy", "scripted", "--episodes", 1, "--workers", 0), "--workers is 0"),
    (("--policy", "scripted", "--episodes", 1, "--resume"), "--resume needs --json"),
    (("--policy", "scripted", "--episodes", 1, "--video-failures"), "--video-failures needs --video"),
    (("--policy", "scripted", "--episodes", 1, "--checkpoint", "/no/such"), "no checkpoint /no/such"),
    (("--policy", "scripted", "--episodes", 1, "--checkpoint", __file__), "'scripted' has no parameters"),
    (("--policy", "scripted", "--episodes", 1, "--json", "/proc/none/x.json"), "/proc/none cannot be made"),
    (("--policy", "scripted", "--episodes", 1, "--require", 98), "--require is 98; a rate from 0 to 1"),
])  # fmt: skip
def test_a_users_mistake_is_one_line_that_names_it(capsys, pen, arguments, named):
    assert evaluate("--factory", pen, *arguments) == cli.EXIT_ERROR
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert named in errors


def test_a_missing_factory_file_is_said_by_name(capsys):
    assert evaluate("--factory", "/no/such.yaml", "--policy", "scripted", "--episodes", 1) == cli.EXIT_ERROR
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "/no/such.yaml" in errors
