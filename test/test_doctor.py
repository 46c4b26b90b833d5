"""The doctor names what is wrong and what to do, and its exit code says whether anything is."""

import json
import os
from pathlib import Path

import pytest

from humanoid_control import cli, doctor
from humanoid_control.doctor import FAILURE, OK, WARNING, Finding


def test_this_installation_is_healthy(tmp_path, capsys):
    file = tmp_path / "findings.json"
    assert cli.main(["doctor", "--json", str(file)]) == 0, capsys.readouterr().out
    findings = json.loads(file.read_text())
    assert len(findings) == len(doctor.CHECKS) == len(capsys.readouterr().out.splitlines())
    assert all(finding["level"] != FAILURE for finding in findings)


@pytest.mark.parametrize(("level", "code"), [(OK, 0), (WARNING, 0), (FAILURE, 1)])
def test_exit_code_tells_of_failures_alone(monkeypatch, capsys, level, code):
    monkeypatch.setattr(doctor, "CHECKS", (lambda: Finding("disk", level, "full", "make room"),))
    assert cli.main(["doctor"]) == code
    line = capsys.readouterr().out
    assert line.split()[:2] == [level, "disk"] and "full; make room" in line


def test_check_that_breaks_does_not_hide_the_others(monkeypatch, capsys):
    def check_model():
        raise OSError("no\nsuch library")

    monkeypatch.setattr(doctor, "CHECKS", (check_model, lambda: Finding("cores", OK, "2 usable")))
    assert cli.main(["doctor"]) == 1
    assert "model              OSError: no such library; run: make setup" in capsys.readouterr().out.splitlines()[0]


def test_missing_gl_is_a_failure_with_the_packages_to_install(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disabled")
    finding = doctor.check_gl()
    assert finding.level == FAILURE and "libegl1" in finding.remedy


def test_python_outside_the_range_is_a_failure(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 1))
    assert doctor.check_python().level == FAILURE


def test_other_versions_than_pinned_are_a_warning(monkeypatch, tmp_path):
    (tmp_path / "constraints.txt").write_text("numpy==0.1  # old\nnumpy==0.2 ; python_version < '3'\n")
    monkeypatch.setattr(doctor, "share_folder", lambda: tmp_path)
    finding = doctor.check_wheels()
    assert finding.level == WARNING and "not 0.1" in finding.detail


def test_broken_ros_is_a_failure(monkeypatch):
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_of_nobody")
    finding = doctor.check_ros()
    assert finding.level == FAILURE and "RMW_IMPLEMENTATION" in finding.remedy


def test_probe_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(doctor, "_PROBE_TIMEOUT_S", 0.5)
    assert doctor._run_python("-c", "import time; time.sleep(30)") == (1, "no answer within 0.5 s")


def test_little_room_is_a_warning(monkeypatch, tmp_path):
    usage = doctor.shutil._ntuple_diskusage(100, 99, 1)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    assert doctor.check_disk().level == WARNING
    (tmp_path / "fastdds_1").touch()
    assert "rm /dev/shm/fastdds_*" in doctor.check_shared_memory(tmp_path).remedy
    assert doctor.check_shared_memory(tmp_path / "missing").level == WARNING


def test_one_core_is_a_warning(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert doctor.check_cores().level == WARNING


def test_checkpoints_are_counted_where_there_are_any(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "share_folder", lambda: tmp_path)
    assert "none" in doctor.check_checkpoints().detail
    (tmp_path / "checkpoints").mkdir()
    Path(tmp_path / "checkpoints/student.pt").touch()
    assert doctor.check_checkpoints().detail.startswith("1 files")
