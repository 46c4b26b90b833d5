"""An order sent from one process to another over DDS: carried out, fed back, cancelled, refused with a reason."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import rclpy
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient

from humanoid_control.ros import topics
from humanoid_interfaces.action import CarryOutOrder
from humanoid_interfaces.msg import Order
from humanoid_interfaces.srv import CheckOrder

DISCOVERY_TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def server_process():
    process = subprocess.Popen([sys.executable, Path(__file__).with_name("order_server.py")])
    yield process
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


@pytest.fixture(scope="module")
def node(server_process):
    rclpy.init()
    node = rclpy.create_node("order_client")
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture(scope="module")
def client(node):
    client = ActionClient(node, CarryOutOrder, topics.CARRY_OUT_ORDER)
    assert client.wait_for_server(DISCOVERY_TIMEOUT_S)
    yield client
    client.destroy()


def wait(node, future):
    rclpy.spin_until_future_complete(node, future, timeout_sec=DISCOVERY_TIMEOUT_S)
    assert future.done()
    return future.result()


def send(node, client, tote, on_feedback=None):
    goal = CarryOutOrder.Goal(order=Order(order_id="o1", tote=tote, to="outfeed", shelf=-1, at=[-0.08, 0.0]))
    return wait(node, client.send_goal_async(goal, feedback_callback=on_feedback))


def test_order_is_carried_out_with_feedback(node, client):
    feedback = []
    handle = send(node, client, "t1", lambda message: feedback.append(message.feedback))
    assert handle.accepted
    reply = wait(node, handle.get_result_async())
    assert reply.status == GoalStatus.STATUS_SUCCEEDED
    assert reply.result.success and reply.result.reason == "" and reply.result.duration > 0.5
    assert [message.sub_task for message in feedback] == ["walk", "grip", "carry", "set_down"]
    assert [message.progress for message in feedback] == [0.0, 0.25, 0.5, 0.75]


def test_order_is_cancelled(node, client):
    feedback = []
    handle = send(node, client, "t1", feedback.append)
    while not feedback:
        rclpy.spin_once(node, timeout_sec=1.0)
    assert wait(node, handle.cancel_goal_async()).goals_canceling
    reply = wait(node, handle.get_result_async())
    assert reply.status == GoalStatus.STATUS_CANCELED
    assert not reply.result.success and reply.result.reason == "cancelled"


def test_order_is_refused_and_the_reason_can_be_asked_for(node, client):
    assert not send(node, client, "t9").accepted
    service = node.create_client(CheckOrder, topics.CHECK_ORDER)
    assert service.wait_for_service(DISCOVERY_TIMEOUT_S)
    reply = wait(node, service.call_async(CheckOrder.Request(order=Order(tote="t9", to="outfeed"))))
    assert not reply.accepted and reply.reason == "unknown tote 't9'; there is t1"
    assert wait(node, service.call_async(CheckOrder.Request(order=Order(tote="t1", to="outfeed")))).accepted
