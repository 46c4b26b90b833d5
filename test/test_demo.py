"""What the demo says of a launch that failed."""

import subprocess
import sys

import pytest

from humanoid_control.demo import _trouble, last_error

DIED = """[launch] camera_node-4: started, pid 12
[camera_node-4] error: no OpenGL here
[launch] error: camera_node-4 died: exit code 1
[launch] error: control_node-1 did not stop well: exit code 1
"""


@pytest.mark.parametrize(("log", "said"), [
    ("error: launch argument poses:=guess must be one of: oracle, fiducial\n",
     "launch argument poses:=guess must be one of: oracle, fiducial"),
    (DIED, "camera_node-4 died: exit code 1; [camera_node-4] no OpenGL here"),
    ("[ERROR] [camera_node-4]: process has died [pid 12, exit code 1, cmd 'x'].\n",
     "[ERROR] [camera_node-4]: process has died [pid 12, exit code 1, cmd 'x']."),
    ("", "its log is empty")])  # fmt: skip
def test_the_last_error_says_so_once_only(tmp_path, log, said):
    (tmp_path / "launch.log").write_text(log)
    assert last_error(tmp_path / "launch.log") == said


def test_a_launch_that_ended_is_told_without_a_second_error(tmp_path):
    (tmp_path / "launch.log").write_text("error: no launch file 'x'\n")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert _trouble(ended, tmp_path / "launch.log") == "the launch ended: no launch file 'x'"
