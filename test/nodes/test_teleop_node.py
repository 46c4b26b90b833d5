"""A person drives real nodes: hands by poses, clutches by a gamepad; what falls silent is held."""

import os
import signal

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Joy
from std_srvs.srv import Trigger

from humanoid_control.ros import topics
from humanoid_control.ros.qos import create_publisher
from humanoid_interfaces.srv import Stop

IDLE = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]


class Operator:
    """Publishes a gamepad and both hands."""

    def __init__(self, graph):
        self.graph = graph
        self.joy = create_publisher(graph.node, topics.JOY)
        self.hands = [create_publisher(graph.node, topic) for topic in topics.OPERATOR_HANDS]

    def do(self, seconds, *, height=1.2, pressed=(), axes=IDLE, rise=0.0, length=1.0):
        for tick in range(round(seconds / 0.02)):
            self.joy.publish(Joy(axes=axes, buttons=[int(button in pressed) for button in range(8)]))
            for side, hand in enumerate(self.hands):
                message = PoseStamped()
                message.pose.position.x, message.pose.position.y = 0.3, 0.2 * (1 - 2 * side)
                message.pose.position.z = height + rise * tick * 0.02
                message.pose.orientation.w = length
                hand.publish(message)
            self.graph.spin(0.015)


def hands_of(graph):
    return np.array([[pose.position.x, pose.position.y, pose.position.z] for pose in graph.newest[topics.WHOLE_BODY_TARGET.name].hand_poses])


@pytest.fixture(scope="module")
def operator(graph):
    graph.listen(topics.WHOLE_BODY_TARGET, topics.CONTROL_STATUS, topics.POLICY_STATUS, topics.ROBOT_STATE)
    graph.start("control_node")
    graph.start("teleop_node")
    made = Operator(graph)
    graph.wait_until(lambda: topics.ROBOT_STATE.name in graph.newest and made.joy.get_subscription_count() and made.hands[1].get_subscription_count())
    return made


def ask(graph, name, kind=Trigger):
    client = graph.node.create_client(kind, name)
    graph.wait_until(client.service_is_ready, what=f"no service {name}")
    return graph.ask(client.call_async(kind.Request()))


def test_taking_over_is_refused_before_anything_is_heard_of_the_robot(graph):
    graph.start("teleop_node")
    answer = ask(graph, topics.TAKE_OVER)
    assert not answer.success and "nothing was heard of the robot yet" in answer.message


def test_nobody_drives_before_taking_over(graph, operator):
    operator.do(1.0, pressed=(4, 5), rise=0.1)
    assert topics.WHOLE_BODY_TARGET.name not in graph.newest and topics.POLICY_STATUS.name not in graph.newest


def test_the_robots_hands_go_with_the_operators_while_held_and_it_stands(graph, operator):
    operator.do(0.3)
    assert ask(graph, topics.TAKE_OVER).success
    operator.do(1.5)
    before, joints = hands_of(graph), np.array(graph.newest[topics.ROBOT_STATE.name].joint_positions)
    operator.do(0.5, rise=0.3)  # not held
    np.testing.assert_allclose(hands_of(graph), before, atol=0.003)
    operator.do(0.5, pressed=(4, 5))
    operator.do(2.0, pressed=(4, 5), rise=0.08)
    operator.do(1.0, pressed=(4, 5), height=1.36)
    raised = hands_of(graph) - before
    assert (raised[:, 2] > 0.09).all() and np.abs(np.array(graph.newest[topics.ROBOT_STATE.name].joint_positions) - joints).max() > 0.05
    assert graph.newest[topics.CONTROL_STATUS.name].mode != "stopped"
    status = graph.newest[topics.POLICY_STATUS.name]
    assert (status.tier, status.sub_task) == (status.TIER_OPERATOR, "teleoperate")


def test_silence_holds_and_is_told_and_driving_goes_on_after_it(graph, operator):
    operator.do(0.5, pressed=(0,), axes=[0.0, 0.8, 1.0, 0.0, 0.0, 1.0])
    assert graph.newest[topics.WHOLE_BODY_TARGET.name].base_velocity.x > 0.02
    graph.wait_until(lambda: "holds: nothing came for" in graph.diagnostics.get("teleop_node", ("", ""))[1], 10.0)
    graph.spin(0.6)
    assert graph.newest[topics.WHOLE_BODY_TARGET.name].base_velocity.x == 0.0
    operator.do(1.0, pressed=(0,), axes=[0.0, -0.5, 1.0, 0.0, 0.0, 1.0])
    assert graph.newest[topics.WHOLE_BODY_TARGET.name].base_velocity.x < 0.0


def test_a_tracker_that_lost_its_hand_holds_that_hand_and_nothing_else(graph, operator):
    operator.do(1.0, pressed=(4, 5))
    before = hands_of(graph)
    forward = [0.0, -0.5, 1.0, 0.0, 0.0, 1.0]
    for length in (0.0, float("nan")):
        operator.do(1.0, pressed=(0, 4, 5), rise=0.5, length=length, axes=forward)
        np.testing.assert_allclose(hands_of(graph), before, atol=0.01)
        assert graph.newest[topics.WHOLE_BODY_TARGET.name].base_velocity.x < 0.0
        assert "hand is held, but not tracked" in graph.diagnostics["teleop_node"][1]
    operator.do(0.5)


def test_a_gamepad_of_another_kind_is_told_and_nothing_moves(graph, operator):
    graph.spin(0.5)
    before = hands_of(graph)
    for _ in range(30):
        operator.joy.publish(Joy(axes=[1.0], buttons=[1, 1, 1]))
        graph.spin(0.02)
    assert "has 1 axes and 3 buttons" in graph.log("teleop_node")
    np.testing.assert_allclose(hands_of(graph), before, atol=0.003)


def test_after_handing_back_no_target_comes(graph, operator):
    assert ask(graph, topics.HAND_BACK).success
    graph.spin(0.3)
    count = len(graph.heard[topics.WHOLE_BODY_TARGET.name])
    operator.do(0.5, pressed=(4, 5), rise=0.3)
    assert len(graph.heard[topics.WHOLE_BODY_TARGET.name]) == count


def test_taking_over_is_refused_while_control_is_stopped_or_silent_and_granted_after(graph, operator):
    assert ask(graph, topics.STOP, Stop).success
    graph.wait_until(lambda: graph.newest[topics.CONTROL_STATUS.name].mode == "stopped")
    operator.do(0.3)
    answer = ask(graph, topics.TAKE_OVER)
    assert not answer.success and "control stopped" in answer.message and "/resume" in answer.message
    assert ask(graph, topics.RESUME).success
    graph.wait_until(lambda: graph.newest[topics.CONTROL_STATUS.name].mode != "stopped")
    os.kill(graph.processes["control_node"].pid, signal.SIGSTOP)
    operator.do(1.5)
    answer = ask(graph, topics.TAKE_OVER)
    os.kill(graph.processes["control_node"].pid, signal.SIGCONT)
    assert not answer.success and "control_node has been silent" in answer.message
    operator.do(1.5)
    assert ask(graph, topics.TAKE_OVER).success
