"""Control as others see it: its topics, how it takes bad targets, stop and resume, and a domain that is taken."""

import os
import subprocess
import sys

import numpy as np
import pytest
from std_srvs.srv import Trigger

from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.environment import environment_for_children
from humanoid_control.ros.qos import create_publisher
from humanoid_control.types import WholeBodyTarget
from humanoid_interfaces.srv import Stop

TOPICS = (topics.CONTROL_STATUS, topics.JOINT_STATES, topics.IMU, topics.ODOM, topics.CLOCK, topics.ROBOT_STATE,
          topics.BASE_ESTIMATE, topics.JOINT_COMMAND, topics.SIMULATION_STATE, topics.TF)  # fmt: skip


@pytest.fixture(scope="module")
def control(graph):
    """A control node in simulation, and a publisher of targets that are sent again and again."""
    graph.listen(*TOPICS)
    graph.start("control_node")
    graph.targets = create_publisher(graph.node, topics.WHOLE_BODY_TARGET)
    graph.wait_until(lambda: all(topic.name in graph.newest for topic in TOPICS), what="topics are missing")
    return graph


def status(graph):
    return graph.newest[topics.CONTROL_STATUS.name]


def now(graph):
    return conversions.time_from_message(graph.newest[topics.ROBOT_STATE.name].header.stamp)


def send_until(graph, is_so, make, timeout_s=20.0):
    """Sends what `make` makes until the status is as wanted."""
    def sent_and_so():
        graph.targets.publish(make())
        return is_so(status(graph))

    graph.wait_until(sent_and_so, timeout_s, "the status did not change")


def good(graph, **changes):
    return conversions.whole_body_target_to_message(WholeBodyTarget(now(graph), **changes))


def test_without_a_target_it_holds_and_says_so(control):
    control.wait_until(lambda: status(control).mode == "holding")
    assert status(control).reason == "no target yet"
    control.wait_until(lambda: "no target yet" in control.diagnostics.get("control_node", ("", ""))[1])


def test_stock_topics_are_as_convention_has_them(control):
    model = RobotModel.load()
    joints = control.newest[topics.JOINT_STATES.name]
    assert joints.name == [*model.joint_names, *model.finger_names]
    assert len(joints.position) == len(joints.velocity) == len(joints.name)
    odometry = control.newest[topics.ODOM.name]
    assert (odometry.header.frame_id, odometry.child_frame_id) == ("odom", "base_link")
    assert 0.5 < odometry.pose.pose.position.z < 0.9
    gravity = control.newest[topics.IMU.name].linear_acceleration
    assert abs(np.linalg.norm([gravity.x, gravity.y, gravity.z]) - 9.81) < 1.5
    frames = {(t.header.frame_id, t.child_frame_id) for m in control.heard[topics.TF.name] for t in m.transforms}
    assert {("odom", "base_footprint"), ("base_footprint", "base_link")} <= frames


def test_every_tick_is_published_and_the_clock_follows(control):
    control.wait_until(lambda: len(control.heard[topics.JOINT_COMMAND.name]) > 300, 20.0)
    stamps = np.array([conversions.time_from_message(m.header.stamp) for m in control.heard[topics.JOINT_COMMAND.name]])
    steps = np.diff(stamps)
    assert np.median(steps) == pytest.approx(0.004, abs=1e-6)
    assert (steps > 0).all()
    clock = [conversions.time_from_message(m.clock) for m in control.heard[topics.CLOCK.name]]
    assert (np.diff(clock) > 0).all()


def test_a_good_target_is_followed(control):
    send_until(control, lambda s: s.mode == "standing", lambda: good(control))
    assert status(control).reason == ""


def with_nan(graph):
    message = good(graph)
    message.pelvis_height = float("nan")
    return message


def wrongly_framed(graph):
    message = good(graph)
    message.header.frame_id = "map"
    return message


def too_fast(graph):
    message = good(graph)
    message.base_velocity.x = 5.0
    return message


def from_the_future(graph):
    message = good(graph)
    message.header.stamp = conversions.time_to_message(now(graph) + 60.0)
    return message


@pytest.mark.parametrize(("make", "words"), [
    (with_nan, ("finite",)), (wrongly_framed, ("'map'", "base_footprint")), (too_fast, ("base_velocity", "5")),
    (from_the_future, ("ahead",))])  # fmt: skip
def test_a_bad_target_is_held_with_the_reason(control, make, words):
    send_until(control, lambda s: s.mode == "standing", lambda: good(control))
    send_until(control, lambda s: s.mode == "holding" and all(word in s.reason for word in words), lambda: make(control))
    control.wait_until(lambda: words[0] in control.diagnostics["control_node"][1], 10.0)


def test_a_stale_target_is_held_with_its_age(control):
    send_until(control, lambda s: s.mode == "standing", lambda: good(control))
    control.wait_until(lambda: status(control).mode == "holding", 10.0)
    assert "old" in status(control).reason


def test_stop_damps_until_resume(control):
    stop = control.node.create_client(Stop, topics.STOP)
    assert stop.wait_for_service(20.0)
    assert control.ask(stop.call_async(Stop.Request(reason="the test says so"))).success
    control.wait_until(lambda: status(control).mode == "stopped", 10.0)
    assert "the test says so" in status(control).reason
    control.wait_until(lambda: control.diagnostics["control_node"][0] == b"\x02", 10.0)
    resume = control.node.create_client(Trigger, topics.RESUME)
    assert resume.wait_for_service(20.0)
    assert control.ask(resume.call_async(Trigger.Request())).success
    control.wait_until(lambda: status(control).mode != "stopped" or "tilt" in status(control).reason, 10.0)


def test_a_second_one_in_the_domain_is_refused_in_one_line(control):
    done = subprocess.run([sys.executable, "-m", "humanoid_control.nodes.control_node"], env=environment_for_children(),
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"runs in ROS domain {os.environ['ROS_DOMAIN_ID']}" in done.stderr and "ROS_DOMAIN_ID" in done.stderr
    assert control.processes["control_node"].poll() is None


@pytest.mark.parametrize(("arguments", "words"), [
    (("-p", "robot:=mujocco"), ("robot", "mujocco", "fake")),
    (("-p", "factory:=no_such"), ("no_such", "line_side")),
    (("-p", "rate_factr:=1.0"), ("rate_factr", "rate_factor"))])  # fmt: skip
def test_a_mistake_in_parameters_is_one_line(arguments, words):
    done = subprocess.run([sys.executable, "-m", "humanoid_control.nodes.control_node", "--ros-args", *arguments],
                          env=environment_for_children(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
    assert all(word in done.stderr for word in words)
