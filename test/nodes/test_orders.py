"""Orders through the whole graph: refused with a reason, cancelled, and what happens when a node dies in mid-walk."""

import time

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient

from humanoid_control.ros import topics
from humanoid_interfaces.action import CarryOutOrder
from humanoid_interfaces.msg import Order
from humanoid_interfaces.srv import CheckOrder

NODES = ("control_node", "perception_node", "policy_node", "mission_node")


@pytest.fixture(scope="module")
def line_side(graph):
    graph.listen(topics.CONTROL_STATUS, topics.POLICY_STATUS, topics.SIMULATION_STATE)
    graph.action = ActionClient(graph.node, CarryOutOrder, topics.CARRY_OUT_ORDER)
    graph.checker = graph.node.create_client(CheckOrder, topics.CHECK_ORDER)
    return graph


@pytest.fixture
def ready(line_side):
    """All nodes up, and an order would be taken."""
    for name in NODES:
        line_side.start(name)
    line_side.wait_until(lambda: line_side.action.server_is_ready() and line_side.checker.service_is_ready())
    line_side.wait_until(lambda: reason_against(line_side, tote="t1") == "", what="not ready")
    return line_side


def order(tote="t1", to="outfeed", shelf=-1, on="", at=(-0.08, 0.0)):
    return Order(order_id="o", tote=tote, to=to, shelf=shelf, on=on, at=list(at))


def reason_against(graph, **changes):
    reply = graph.ask(graph.checker.call_async(CheckOrder.Request(order=order(**changes))))
    assert reply.accepted == (reply.reason == "")
    return reply.reason


def send(graph, feedback=None, **changes):
    goal = CarryOutOrder.Goal(order=order(**changes))
    return graph.ask(graph.action.send_goal_async(goal, feedback_callback=feedback))


def mode(graph):
    return graph.newest[topics.CONTROL_STATUS.name].mode


def send_and_walk(graph, feedback=None):
    handle = send(graph, feedback)
    assert handle.accepted
    graph.wait_until(lambda: mode(graph) == "walking", 30.0, "it does not walk")
    graph.spin(1.0)
    assert mode(graph) == "walking"
    return handle


def pelvis_height(graph):
    return graph.newest[topics.SIMULATION_STATE.name].qpos[2]


def assert_comes_to_stand(graph, within_s=8.0):
    """It has stood upright in one place for a second and a half before the time is up; the step under way ends first."""
    until = time.monotonic() + within_s
    moved = np.inf
    while moved > 0.03:
        assert time.monotonic() < until, f"moved {moved:.3f} m in the last 1.5 s"
        before = np.array(graph.newest[topics.SIMULATION_STATE.name].qpos[:2])
        graph.spin(1.5)
        moved = np.linalg.norm(graph.newest[topics.SIMULATION_STATE.name].qpos[:2] - before)
    assert pelvis_height(graph) > 0.6


@pytest.mark.parametrize(("changes", "words"), [
    ({"tote": "t11"}, ("unknown tote 't11'", "did you mean 't1'")),
    ({"to": "outfed"}, ("unknown station 'outfed'", "did you mean 'outfeed'")),
    ({"to": "rack_1", "shelf": 7, "at": ()}, ("shelf", "7")),
    ({"to": "outfeed", "at": (5.0, 0.0)}, ("order.at", "5.0"))])  # fmt: skip
def test_an_impossible_order_is_refused_with_the_reason(ready, changes, words):
    reason = reason_against(ready, **changes)
    assert all(word in reason for word in words), reason
    assert "\n" not in reason
    assert not send(ready, **changes).accepted
    assert reason in ready.log("mission_node")


def test_an_order_is_fed_back_and_cancelled_and_others_must_wait(ready):
    feedback = []
    handle = send_and_walk(ready, lambda message: feedback.append(message.feedback))
    assert "busy with t1 to outfeed" in reason_against(ready)
    assert not send(ready).accepted
    ready.wait_until(lambda: any(f.sub_task == "approach" and f.progress > 0 for f in feedback), 10.0)
    assert ready.ask(handle.cancel_goal_async()).goals_canceling
    reply = ready.ask(handle.get_result_async(), 20.0)
    assert reply.status == GoalStatus.STATUS_CANCELED
    assert (reply.result.success, reply.result.reason) == (False, "cancelled")
    assert_comes_to_stand(ready)
    assert mode(ready) in ("standing", "holding")
    assert reason_against(ready) == ""  # it had not touched the tote


def test_policy_killed_in_mid_walk_leaves_the_robot_standing_with_a_reason(ready):
    handle = send_and_walk(ready)
    ready.kill("policy_node")
    reply = ready.ask(handle.get_result_async(), 20.0)
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert reply.result.reason == "policy_lost" and "policy_node" in reply.result.detail
    status = ready.newest[topics.CONTROL_STATUS.name]
    assert status.mode == "holding" and "old" in status.reason
    assert_comes_to_stand(ready)
    assert "policy_lost" in ready.diagnostics["mission_node"][1]
    assert "holding" in ready.diagnostics["control_node"][1]
    assert "policy_node" in reason_against(ready)


def test_mission_killed_in_mid_walk_leaves_the_robot_standing_with_a_reason(ready):
    send_and_walk(ready)
    ready.kill("mission_node")
    ready.wait_until(lambda: mode(ready) == "holding", 10.0, "it does not hold")
    assert "old" in ready.newest[topics.CONTROL_STATUS.name].reason
    assert_comes_to_stand(ready)
    ready.wait_until(lambda: "mission has been silent" in ready.diagnostics["policy_node"][1], 5.0)
    assert "mission has been silent" in ready.newest[topics.POLICY_STATUS.name].problem
