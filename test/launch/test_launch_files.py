"""The launch files: what they start, what they refuse, and the demo from end to end."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from humanoid_control.installation import share_folder
from humanoid_control.ros.domain import find_free_domain
from humanoid_control.ros.environment import environment_for_children, prepare_environment
from humanoid_control.ros.launching.actions import load_launch_file
from humanoid_control.ros.launching.context import LaunchContext
from humanoid_control.ros.launching.preview import Preview
from humanoid_control.ros.launching.stand_in import is_launch_ros_installed, stand_in_for_launch
from policies.learned import student


def humanoid(*arguments, timeout=60, cwd=None):
    environment = {**environment_for_children(), "ROS_DOMAIN_ID": str(find_free_domain()),
                   "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "DISPLAY": "", "WAYLAND_DISPLAY": ""}  # fmt: skip
    return subprocess.run([sys.executable, "-m", "humanoid_control.cli", *arguments], env=environment, cwd=cwd,
                          capture_output=True, text=True, timeout=timeout)  # fmt: skip


def nodes_of(*arguments):
    done = humanoid("launch", *arguments, "--dry-run")
    assert done.returncode == 0, done.stderr
    found = (re.match(r"(?:when \w+ ends: )?(\w+_node):(.*--ros-args.*)", line) for line in done.stdout.splitlines())
    return {match[1]: match[2] for match in found if match}


ROBOT = {"control_node", "description_node"}
SIM = ROBOT | {"perception_node"}
FACTORY = SIM | {"policy_node", "mission_node"}
TELEOP = SIM | {"teleop_node", "camera_node", "operator_page_node"}


@pytest.mark.parametrize(("arguments", "nodes"), [
    (("robot",), ROBOT), (("sim",), SIM), (("factory",), FACTORY),
    (("sim", "cameras:=true"), SIM | {"camera_node"}), (("factory", "video:=film.mp4"), FACTORY | {"camera_node"}),
    (("factory", "viewer:=true", "factory:=racks", "seed:=3"), FACTORY | {"viewer_node"}),
    (("factory", "record:=episodes"), FACTORY | {"recorder_node"}), (("factory", "page:=true"), FACTORY | {"operator_page_node"}),
    (("factory", "teleop:=true"), FACTORY | {"teleop_node"}), (("factory", "teleop:=true", "page:=true"), FACTORY | {"teleop_node", "operator_page_node"}),
    (("teleop",), TELEOP), (("teleop", "record:=episodes"), TELEOP | {"recorder_node"}),
    (("teleop", "page:=false", "cameras:=false"), SIM | {"teleop_node"}), (("operator_page",), {"operator_page_node"})])  # fmt: skip
def test_launch_files_start_these_nodes(arguments, nodes):
    assert set(nodes_of(*arguments)) == nodes


@pytest.mark.parametrize("rung", ["fiducial", "detector", "tracker"])
def test_a_rung_that_looks_has_cameras_and_a_calibration(rung):
    nodes = nodes_of("factory", f"poses:={rung}")
    assert set(nodes) == FACTORY | {"camera_node"}
    assert "cameras:=true" in nodes["camera_node"] and f'poses:="{rung}"' in nodes["perception_node"]
    tags = "true" if rung == "fiducial" else "false"
    assert all(f"tags:={tags}" in nodes[name] for name in ("control_node", "camera_node"))
    assert "cameras.yaml" in nodes["perception_node"]


def test_without_a_calibration_nothing_is_launched_and_nothing_left(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = humanoid("launch", "sim", "poses:=tracker", "factory:=no_such")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "no calibration of the cameras" in done.stderr and "no_such" in done.stderr
    assert "started, pid" not in done.stdout
    assert list(tmp_path.glob("humanoid_launch_*")) == []


@pytest.mark.parametrize("arguments", [("policy:=student",), ("policy:=learned", f"checkpoint:={student.DEFAULT}")])
def test_a_policy_that_looks_has_cameras_and_the_calibration_that_perception_has(arguments):
    nodes = nodes_of("factory", *arguments)
    assert set(nodes) == FACTORY | {"camera_node"} and "cameras:=true" in nodes["camera_node"]
    calibrations = [re.search(r'calibration:="(\S+cameras.yaml)"', nodes[name])[1] for name in ("policy_node", "perception_node")]
    assert calibrations[0] == calibrations[1]
    assert 'calibration:=""' in nodes_of("factory", "policy:=learned")["policy_node"]


@pytest.mark.skipif(is_launch_ros_installed(), reason="ROS 2's own launch is used here")
def test_a_calibration_is_written_where_nobody_else_can_have_put_one():
    prepare_environment()
    folders = []
    for _ in range(2):
        preview = Preview()
        with stand_in_for_launch():
            load_launch_file(share_folder() / "launch/sim.launch.py").visit(LaunchContext(preview, {"poses": "tracker"}))
        folders.append(Path(re.search(r'calibration:="(\S+)"', "\n".join(preview.lines))[1]).parent)
    assert folders[0] != folders[1]
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o700 and [path.name for path in folder.iterdir()] == ["cameras.yaml"] for folder in folders)


@pytest.mark.parametrize(("given", "told"), [("none", 'calibration:=""'), ("mine.yaml", 'calibration:="mine.yaml"')])
def test_a_calibration_may_be_ones_own_or_none(given, told):
    assert told in nodes_of("sim", "poses:=tracker", f"calibration:={given}")["perception_node"]


@pytest.mark.parametrize(("arguments", "words"), [
    (("factory", "factroy:=x"), ("factroy", "factory")), (("factory", "policy:=clever"), ("policy", "scripted")),
    (("factory", "poses:=guess"), ("poses", "oracle"))])  # fmt: skip
def test_a_wrong_argument_is_one_line(arguments, words):
    done = humanoid("launch", *arguments)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and all(word in done.stderr for word in words)


def test_viewer_without_a_screen_ends_the_launch_with_the_reason():
    done = humanoid("launch", "sim", "viewer:=true")
    assert done.returncode == 1
    said = [line for line in done.stdout.splitlines() if line.startswith("[viewer_node")]
    assert len(said) == 1 and "error: the viewer needs a screen" in said[0]


@pytest.mark.parametrize(("arguments", "words"), [
    (("--factory", "no_such"), ("no_such", "line_side")), (("--seed", "-1"), ("--seed", "-1")), (("--rate-factor", "0"), ("--rate-factor", "0"))])  # fmt: skip
def test_demo_refuses_what_cannot_be_in_one_line(arguments, words, tmp_path):
    done = humanoid("demo", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and all(word in done.stderr for word in words)


def test_demo_carries_out_the_orders_and_leaves_no_process(tmp_path):
    done = humanoid("demo", "--out", str(tmp_path / "demo"), timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((tmp_path / "demo/kpi.json").read_text())
    assert written["done"] == written["orders"] == 1 and not written["notes"]
    assert (tmp_path / "demo/report.html").stat().st_size > 100_000
    assert (tmp_path / "demo/video.mp4").stat().st_size > 100_000
    log = (tmp_path / "demo/launch.log").read_text()
    assert "Traceback" not in log
    for line in log.splitlines():
        if "started, pid" in line:
            assert not os.path.exists(f"/proc/{line.rpartition(' ')[2]}")
