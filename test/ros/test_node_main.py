"""The `main` of every node, in real processes: good ends, and one line for what a user got wrong."""

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import gc
import sys
import rclpy
from humanoid_control.errors import RobotError
from humanoid_control.ros.node_main import run_node

def make_node():
    if "fail" in sys.argv:
        raise RobotError("the robot does not answer; is it switched on?")
    node = rclpy.create_node("trial")
    node.create_timer(0.05, lambda: print("ticking" if gc.get_freeze_count() else "collecting", flush=True))
    destroy = node.destroy_node
    def destroy_node():
        print("destroyed", flush=True)
        destroy()
    node.destroy_node = destroy_node
    return node

sys.exit(run_node(make_node))
"""


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_node_that_is_told_to_stop_cleans_up_and_ends_with_zero(number):
    process = start()
    assert process.stdout.readline() == "ticking\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "destroyed"


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["fail"], {}, "error: the robot does not answer; is it switched on?\n"),
        ([], {"ROS_DOMAIN_ID": "999"}, "error: ROS_DOMAIN_ID is '999'; it must be a whole number from 0 to 232\n"),
        ([], {"ROS_DOMAIN_ID": "home"}, "error: ROS_DOMAIN_ID is 'home'; it must be a whole number from 0 to 232\n"),
        (
            ["--ros-args", "--params-file", "nope.yaml"],
            {},
            "error: ROS 2 does not start: Couldn't parse params file: "
            "'--params-file nope.yaml'. Error: Error opening YAML file\n",
        ),
    ],
)
def test_users_mistake_is_one_line(arguments, environment, message):
    process = start(*arguments, **environment)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.splitlines()[-1] + "\n" == message  # rcl may have logged a line of its own
