"""The set-up script names what is missing, with the command that helps, and stops."""

import os
import shutil
import subprocess

import pytest

from humanoid_control.installation import share_folder

SCRIPT = share_folder() / "scripts/set_up.sh"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="not a checkout")


@pytest.fixture
def run_set_up(tmp_path):
    """Runs a copy of the script in an empty checkout, where some commands are replaced by lines of shell."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "bin").mkdir()

    def run(commands, **environment):
        for name, text in commands.items():
            (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / "bin" / name).chmod(0o755)
        path = f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [tmp_path / "scripts/set_up.sh"],
            env={**os.environ, "PATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stderr.strip()

    return run


ALL_INSTALLED = {"dpkg-query": "echo installed", "uname": "echo Linux x86_64"}


def test_without_root_the_exact_command_is_printed(run_set_up):
    code, error = run_set_up(
        {
            **ALL_INSTALLED,
            "dpkg-query": 'case "$*" in *" g++") exit 1;; *) echo installed;; esac',
            "id": "echo 1000",
            "sudo": "exit 1",
        }
    )
    assert code == 1
    assert error == (
        "set-up: Debian packages are missing and installing them needs root; run: "
        "sudo apt-get update && sudo apt-get install --no-install-recommends g++"
    )


def test_failing_apt_is_named_with_its_log(run_set_up):
    code, error = run_set_up({**ALL_INSTALLED, "dpkg-query": "exit 1", "id": "echo 0", "apt-get": "exit 100"})
    assert code == 1 and error.startswith("set-up: apt-get failed (see build/set_up.log)")


def test_machine_without_wheels_is_sent_to_ros(run_set_up):
    code, error = run_set_up({**ALL_INSTALLED, "uname": "echo Linux aarch64"})
    assert code == 1 and "install ROS 2 and run: colcon build" in error


def test_python_that_is_too_old_is_refused(run_set_up, tmp_path):
    code, error = run_set_up({**ALL_INSTALLED, "python3.8": "exit 1"}, PYTHON="python3.8")
    assert code == 1
    assert error == "set-up: PYTHON=python3.8 is no Python 3.10, 3.11 or 3.12; run: make setup PYTHON=python3.11"


def test_without_any_python_the_way_out_is_named(run_set_up, tmp_path):
    pythons = {name: "exit 1" for name in ("python3", "python3.10", "python3.11", "python3.12")}
    code, error = run_set_up({**ALL_INSTALLED, **pythons}, HOME=str(tmp_path))
    assert code == 1 and "run: sudo apt-get install python3 python3-venv python3-dev" in error
