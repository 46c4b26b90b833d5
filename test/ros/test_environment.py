"""The environment that ROS from wheels needs, for this process and for others."""

import os
import subprocess
import sys

import pytest

from humanoid_control.errors import ConfigurationError
from humanoid_control.ros import environment

pytestmark = pytest.mark.skipif(not environment.is_installed_from_wheels(), reason="ROS 2 is installed and sourced")


def test_this_environment_comes_first_and_once(monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/other")
    environment.prepare_environment()
    environment.prepare_environment()
    assert os.environ["AMENT_PREFIX_PATH"] == f"{sys.prefix}{os.pathsep}/opt/other"


def test_environment_without_ros_is_left_alone(monkeypatch):
    monkeypatch.setattr(environment, "is_installed_from_wheels", lambda: False)
    monkeypatch.delenv("AMENT_PREFIX_PATH")
    environment.prepare_environment()
    assert "AMENT_PREFIX_PATH" not in os.environ


@pytest.mark.parametrize("domain", ["-1", "233", "1.5"])
def test_domain_that_is_none_is_refused(monkeypatch, domain):
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    with pytest.raises(ConfigurationError, match="whole number from 0 to 232"):
        environment.check_domain()


def test_children_set_their_own_library_path_and_keep_what_is_not_ours():
    given = {
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
        "LD_LIBRARY_PATH": f"/opt/cuda/lib{os.pathsep}{sys.prefix}/lib",
        "A": "b",
    }
    assert environment.environment_for_children(given) == {"LD_LIBRARY_PATH": "/opt/cuda/lib", "A": "b"}
    assert environment.environment_for_children({"LD_LIBRARY_PATH": "/opt/cuda/lib"}) == {
        "LD_LIBRARY_PATH": "/opt/cuda/lib"
    }


def test_python_started_as_a_child_finds_the_ros_libraries():
    done = subprocess.run(
        [sys.executable, "-c", "import rclpy, tf2_msgs.msg; tf2_msgs.msg.TFMessage()"],
        env=environment.environment_for_children(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
