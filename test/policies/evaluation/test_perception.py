"""Perception measured beside an episode: what is counted, that nothing but the seed decides it, and the page."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from humanoid_control import cli
from humanoid_control.control_loop import ControlLoop
from humanoid_control.mission.factory import load_factory, parse_factory
from humanoid_control.simulation.episode import draw_episode
from perception.evaluation.comparison import CHI2_99
from perception.evaluation.looks import painted_floor
from perception.evaluation.truth import TrueTotes
from perception.errors import PerceptionError
from perception.vision import VisionPoses
from policies.evaluation.perception_campaign import PerceptionCampaign, perception_report
from policies.evaluation.perception_page import perception_page
from policies.evaluation.perception_watch import ERROR, PerceptionWatch, RungLog

AT_THE_TABLE = """
version: 1
name: at_the_table
floor: {size: [8.0, 6.0], friction: 0.9}
robot: {start: [0.0, 0.0, 0.0]}
stations:
  - {name: infeed, kind: table, pose: [0.75, 0.0, 0.0], size: [0.55, 1.2], height: 0.70}
  - {name: outfeed, kind: table, pose: [-1.6, 2.0, 0.0], size: [0.5, 1.0], height: 0.65}
totes:
  - {name: t1, kind: klt_3147, station: infeed, at: [-0.08, 0.2, 0.0], mass: 1.5, colour: [0.1, 0.3, 0.8]}
  - {name: t2, kind: klt_3147, station: infeed, at: [-0.08, -0.2, 0.0], mass: 1.5, colour: [0.7, 0.3, 0.1]}
orders:
  - {tote: t1, to: outfeed, at: [-0.08, 0.0]}
"""
RUNGS = ("oracle", "detector", "tracker")
STANDS_S = 0.9


@dataclass(frozen=True)
class Standing:
    """What a policy would say while it looks at a table."""

    subtask: str = "ready"


def watched(model, rungs=RUNGS, *, gallery=True, tags=False) -> dict:
    """What rungs say of a table that the robot stands before."""
    factory = parse_factory(AT_THE_TABLE)
    floor = painted_floor(model, draw_episode(factory, 3), "plain", tags=tags)
    loop, watch = ControlLoop(floor.robot), PerceptionWatch(factory, rungs, period_ticks=5, gallery=gallery)
    floor.robot.connect()
    floor.begin(factory.orders[0])
    while floor.robot.data.time < STANDS_S:
        loop.step()
        floor.robot.wait_next_tick()
        watch(floor, loop, Standing())
    floor.robot.close()
    return watch.result() | {"success": False, "simulated_s": STANDS_S, "factory": 0, "seed": 3}


@pytest.fixture(scope="module")
def episode(model):
    return watched(model)


@pytest.fixture
def campaign(tmp_path):
    path = tmp_path / "at_the_table.yaml"
    path.write_text(AT_THE_TABLE)
    return PerceptionCampaign((str(path),), RUNGS, "plain", gallery=True)


def test_every_rung_is_held_against_the_same_views(episode):
    views = [list(zip(*(rung["rows"][name] for name in ("stamp_s", "camera", "tote", "seen_share"))))
             for rung in episode["rungs"].values()]  # fmt: skip
    assert views[0] == views[1] == views[2] and len(views[0]) >= 6
    assert {tote for _, _, tote, _ in views[0]} == {"t1", "t2"}


def test_the_oracle_errs_nowhere_and_the_others_little(episode):
    errors = {rung: np.array(result["rows"]["position"], float) for rung, result in episode["rungs"].items()}
    assert np.nanmax(errors["oracle"]) < 1e-6 and all(episode["rungs"]["oracle"]["rows"]["found"])
    assert np.nanmedian(errors["tracker"]) < 0.03 and np.nanmedian(errors["detector"]) < 0.03
    assert episode["rungs"]["oracle"]["false_alarms"] == 0


def test_tags_tell_each_tote_by_its_name(model):
    rows = watched(model, ("fiducial",), gallery=False, tags=True)["rungs"]["fiducial"]["rows"]
    in_sight = np.array(rows["seen_share"]) > 0.5
    assert in_sight.sum() >= 4 and np.array(rows["found"])[in_sight].mean() > 0.9
    assert np.nanmax(np.array(rows["position"], float)[in_sight]) < 0.02


def test_the_same_seed_says_the_same_again(model, episode):
    again = watched(model)
    for rung, result in episode["rungs"].items():
        for name, column in result["rows"].items():
            assert np.array_equal(column, again["rungs"][rung]["rows"][name], equal_nan=name in ("position", "angle", "nees", "deviation"))
    assert again["gaze"] == episode["gaze"]


def test_a_rung_says_the_same_whoever_looks_on(model, episode):
    alone = watched(model, ("tracker",), gallery=False)
    rows = episode["rungs"]["tracker"]["rows"]
    assert np.array_equal(alone["rungs"]["tracker"]["rows"]["position"], rows["position"], equal_nan=True)
    assert alone["rungs"]["tracker"]["cases"] == []


def test_a_detection_of_nothing_is_false_and_a_second_of_one_tote_is_not(model, monkeypatch):
    from perception import detector

    def twice_and_beside(self, *arguments, **options):
        found = [one for one, _ in self.weigh(*arguments[:2], options.get("up_in_camera", arguments[-1]))][:1]
        nowhere = [detector.Detection(**vars(one) | {"camera_from_tote": one.camera_from_tote @ np.diag([1.0, 1, 1, 1]) + np.pad(
            np.array([[0.9], [0.0], [0.0]]), ((0, 1), (3, 0)))}) for one in found]  # fmt: skip
        return [*found, *found, *nowhere]

    monkeypatch.setattr(detector.ToteDetector, "detect", twice_and_beside)
    result = watched(model, ("detector",), gallery=False)["rungs"]["detector"]
    assert result["false_alarms"] > 0 and result["doubles"] == result["false_alarms"]
    assert sum(count for _, count in result["image_rows"]) == result["false_alarms"]


def test_a_sighting_of_the_wrong_kind_finds_nothing(model, monkeypatch):
    from perception import detector

    detect = detector.ToteDetector.detect
    monkeypatch.setattr(detector.ToteDetector, "detect", lambda *arguments, **options: [
        replace(one, kind="klt_4147") for one in detect(*arguments, **options)])  # fmt: skip
    rows = watched(model, ("detector",), gallery=False)["rungs"]["detector"]["rows"]
    assert any(rows["told"]) and not any(rows["found"]) and not any(rows["kind_right"])


def test_a_pose_far_off_finds_nothing_though_it_says_it_is_unsure(model, monkeypatch):
    read = VisionPoses.read

    def unsure(self):
        poses = read(self)
        beside = np.pad([[0.0], [0.15], [0.0]], ((0, 1), (3, 0)))
        return replace(poses, totes={name: replace(pose, base_from_object=pose.base_from_object + beside, covariance=0.2**2 * np.eye(6))
                                     for name, pose in poses.totes.items()})  # fmt: skip

    monkeypatch.setattr(VisionPoses, "read", unsure)
    result = watched(model, ("tracker",), gallery=False)["rungs"]["tracker"]
    assert any(result["rows"]["told"]) and not any(result["rows"]["found"]) and result["false_alarms"] == 0
    assert np.nanmax(np.array(result["rows"]["nees"], float)) < CHI2_99


def test_the_report_has_what_the_command_promises_and_is_json(campaign, episode):
    report = perception_report(campaign, [episode, episode | {"seed": 4}])
    for rung in RUNGS:
        figures = report["rungs"][rung]
        assert {"position_mm", "angle_deg", "recall", "false_per_image", "coverage_90", "by_distance"} <= set(figures)
        assert {"p50", "p95"} <= set(figures["position_mm"]) and figures["images"] > 0
        assert figures["by_subtask"].keys() == {"ready"}
    assert report["in_sight"][0]["what"] == "table at 0.7 m"
    json.dumps(report, allow_nan=False)


def test_the_page_holds_everything_in_one_file(campaign, episode):
    report = campaign.heading() | {"seed": 3} | perception_report(campaign, [episode]) | {"versions": {}, "complete": True}
    page = perception_page(report, [episode])
    assert page.count("<svg") == 4 and "data:image/jpeg;base64," in page
    assert "src=\"http" not in page and "href=" not in page.replace("xlink:href", "")
    assert "at_the_table, seed 3" in page and "ready" in page


def test_pictures_are_of_the_worst_and_of_what_lasts_only_one(episode):
    log = RungLog()
    case = {"tote": "t1", "rgb": None}
    for stamp_s, badness in ((0.0, 1.0), (0.5, 3.0), (1.0, 2.0), (5.0, 0.5), (9.0, 0.6), (13.0, 0.7)):
        log.keep(ERROR, badness, stamp_s, case)
    assert [(badness, stamp) for badness, stamp, _ in log.cases[ERROR]] == [(3.0, 0.5), (0.7, 13.0), (0.6, 9.0)]
    assert all(case["jpeg"].startswith(b"\xff\xd8") for result in episode["rungs"].values() for case in result["cases"])


def test_the_truth_of_another_time_is_not_made_up(model):
    floor = painted_floor(model, draw_episode(parse_factory(AT_THE_TABLE), 3), "plain")
    truth = TrueTotes(floor)
    truth.note()
    assert set(truth.at(0.0)) == {"t1", "t2"}
    with pytest.raises(PerceptionError, match="nothing is known of 0.5000 s"):
        truth.at(0.5)


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def pen(tmp_path, penned_in_text):
    path = tmp_path / "penned_in.yaml"
    path.write_text(penned_in_text)
    return path


def evaluate(*arguments: object) -> int:
    return cli.main(["evaluate", "perception", *map(str, arguments)])


def test_the_number_of_processes_changes_nothing_and_nothing_to_see_is_no_error(tmp_path, pen):
    reports = []
    for workers in (1, 2):
        out, page = tmp_path / f"{workers}.json", tmp_path / f"{workers}.html"
        assert evaluate("--factory", pen, "--episodes", 2, "--poses", "tracker", "--workers", workers, "--json", out, "--html", page) == 0
        reports.append(json.loads(out.read_text()))
        assert page.read_text().startswith("<!doctype html>")
        for key in ("wall_s", "workers"):
            del reports[-1][key]
    assert reports[0] == reports[1] and reports[0]["complete"] and reports[0]["look"] == "held_out"
    assert load_factory(pen).name == "penned_in"


@pytest.mark.parametrize("arguments, named", [
    (("--episodes", 1, "--poses", "detector,guess"), "no pose source 'guess'; allowed: oracle, fiducial"),
    (("--episodes", 1, "--poses", ","), "--poses ',' names no pose source"),
    (("--episodes", 1, "--poses", "tracker,tracker"), "--poses names 'tracker' 2 times"),
    (("--episodes", 1, "--look", "pink"), "no look 'pink'; allowed: held_out, training, plain"),
    (("--episodes", 0), "--episodes is 0"),
    ((), "--episodes N is missing"),
    (("--episodes", 1, "--hours", 1), "--hours does not go with"),
    (("--episodes", 1, "--video", "films"), "--video does not go with"),
    (("--episodes", 1, "--policy", "clever"), "--policy is clever"),
    (("--episodes", 1, "--json", "/proc/none/x.json"), "/proc/none cannot be made"),
    (("--episodes", 1, "--html", "/"), "/ is a folder"),
    (("--episodes", 1, "--factory", "/no/such.yaml"), "/no/such.yaml"),
])  # fmt: skip
def test_a_users_mistake_is_one_line_that_names_it(capsys, pen, arguments, named):
    factory = () if "--factory" in arguments else ("--factory", pen)
    assert evaluate(*factory, *arguments) == cli.EXIT_ERROR
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert named in errors


def test_a_factory_that_is_named_twice_is_refused(capsys, pen):
    assert evaluate("--factory", pen, pen, "--episodes", 1) == cli.EXIT_ERROR
    assert "2 times; once is enough" in capsys.readouterr().err
