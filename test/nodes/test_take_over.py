"""A person takes over from the policy in mid-order and hands back: real nodes, over DDS, with the record of it."""

import os
import signal

import numpy as np
import pytest
from rclpy.action import ActionClient
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Joy
from std_srvs.srv import Trigger

from humanoid_control.recording.bag import read_bag
from humanoid_control.recording.card import CARD, NOBODY, PERSON, SWITCH, TIER, Card
from humanoid_control.recording.episodes import episodes_in
from humanoid_control.ros import topics
from humanoid_control.ros.qos import create_publisher
from humanoid_interfaces.action import CarryOutOrder
from humanoid_interfaces.msg import JointCommand, Order
from humanoid_interfaces.srv import CheckOrder

IDLE = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]  # triggers never squeezed: what is held stays held
CLUTCHES, RAISE = (4, 5), 3
ORDER = Order(order_id="o", tote="t1", to="outfeed", shelf=-1, at=[-0.08, 0.0])
STILL_RAD = 0.02  # of any joint's command from one tick to the next; the policy's own motions reach 0.027


class Operator:
    """A gamepad, and the buttons of a page."""

    def __init__(self, graph):
        self.graph, self.joy = graph, create_publisher(graph.node, topics.JOY)
        self.clients = {name: graph.node.create_client(Trigger, name) for name in (topics.TAKE_OVER, topics.HAND_BACK)}

    def do(self, seconds=0.02, pressed=()):
        for _ in range(max(round(seconds / 0.02), 1)):
            self.joy.publish(Joy(axes=IDLE, buttons=[int(button in pressed) for button in range(8)]))
            self.graph.spin(0.015)

    def until(self, is_so, timeout_s=60.0, what=""):
        for _ in range(round(timeout_s / 0.02)):
            if is_so():
                return
            self.do()
        raise AssertionError(f"{what}: {self.graph.newest.get(topics.POLICY_STATUS.name)}, {self.graph.diagnostics}")

    def ask(self, name, *, with_gamepad=True):
        self.graph.wait_until(self.clients[name].service_is_ready, what=f"no service {name}")
        future = self.clients[name].call_async(Trigger.Request())
        if not with_gamepad:
            return self.graph.ask(future)
        self.until(future.done, what=f"no answer of {name}")
        return future.result()


@pytest.fixture(scope="module")
def episodes(tmp_path_factory):
    return tmp_path_factory.mktemp("episodes")


@pytest.fixture(scope="module")
def operator(graph, episodes):
    graph.listen(topics.CONTROL_STATUS, topics.POLICY_STATUS, topics.WHOLE_BODY_TARGET)
    graph.start("control_node")
    graph.start("perception_node")
    graph.start("policy_node", operator="true")
    graph.start("mission_node")
    graph.start("teleop_node", beside_policy="true")
    graph.start("recorder_node", folder=episodes, episodes="by_order", reserve_gb=0.0)
    checker = graph.node.create_client(CheckOrder, topics.CHECK_ORDER)
    graph.wait_until(checker.service_is_ready)
    graph.wait_until(lambda: graph.ask(checker.call_async(CheckOrder.Request(order=ORDER))).accepted, what="no order would be taken")
    graph.wait_until(lambda: topics.POLICY_STATUS.name in graph.newest, what="policy_node says nothing")
    made = Operator(graph)
    graph.wait_until(lambda: made.joy.get_subscription_count() >= 2)  # the recorder's too
    return made


def status(graph):
    return graph.newest[topics.POLICY_STATUS.name]


def targets(graph):
    return graph.heard[topics.WHOLE_BODY_TARGET.name]


def heights(graph):
    return np.array([pose.position.z for pose in targets(graph)[-1].hand_poses])


def test_taking_over_is_refused_with_the_reason_while_no_gamepad_is_heard(graph, operator):
    answer = operator.ask(topics.TAKE_OVER, with_gamepad=False)
    assert not answer.success and "nothing comes on /joy" in answer.message


def test_between_orders_a_person_drives_and_hands_back(graph, operator):
    operator.do(0.5)
    answer = operator.ask(topics.TAKE_OVER)
    assert answer.success, answer.message
    assert (status(graph).tier, status(graph).sub_task) == (2, "teleoperate")
    operator.do(0.3, CLUTCHES)
    before = heights(graph)
    operator.do(1.0, (*CLUTCHES, RAISE))
    assert (heights(graph) > before + 0.05).all()
    assert operator.ask(topics.HAND_BACK).success
    operator.until(lambda: status(graph).tier == 0, what="not handed back")
    count, after = len(targets(graph)), heights(graph)
    operator.do(0.5, (*CLUTCHES, RAISE))
    assert len(targets(graph)) > count
    np.testing.assert_allclose(heights(graph), after, atol=1e-6)  # held as the person left them


def test_in_mid_order_a_person_takes_over_moves_the_tote_and_hands_back_and_the_order_gets_done(graph, operator, episodes):
    action = ActionClient(graph.node, CarryOutOrder, topics.CARRY_OUT_ORDER)
    graph.wait_until(action.server_is_ready)
    handle = graph.ask(action.send_goal_async(CarryOutOrder.Goal(order=ORDER)))
    assert handle.accepted
    result = handle.get_result_async()
    operator.until(lambda: status(graph).sub_task == "carry", what="it does not carry")
    operator.do(1.0)
    answer = operator.ask(topics.TAKE_OVER)
    assert answer.success, answer.message
    taken = len(graph.heard[topics.POLICY_STATUS.name])
    operator.until(lambda: graph.newest[topics.CONTROL_STATUS.name].mode != "walking", what="it does not come to a stand")
    assert max(targets(graph)[-1].gripper_openings) == 0.0  # the tote is held on to
    operator.do(0.3, CLUTCHES)
    before = heights(graph)
    operator.do(0.5, (*CLUTCHES, RAISE))
    operator.do(0.3, CLUTCHES)
    assert (heights(graph) > before + 0.02).all()

    os.kill(graph.processes["teleop_node"].pid, signal.SIGSTOP)
    operator.until(lambda: "has been silent for" in status(graph).problem, what="silence is not told")
    assert "the robot holds" in graph.diagnostics["policy_node"][1] and status(graph).tier == 2
    held = heights(graph)
    operator.do(0.5, (*CLUTCHES, RAISE))
    np.testing.assert_allclose(heights(graph), held, atol=1e-6)
    os.kill(graph.processes["teleop_node"].pid, signal.SIGCONT)
    operator.until(lambda: status(graph).problem == "", what="it does not go on")
    assert all(one.outcome == "running" for one in graph.heard[topics.POLICY_STATUS.name][taken:])

    assert operator.ask(topics.HAND_BACK).success
    operator.until(result.done, 90.0, "the order does not end")
    assert result.result().result.success, result.result().result.detail
    switches = [line for line in graph.log("policy_node").splitlines() if "takes over from" in line]
    assert any("person takes over from scripted in carry: a person takes over" in line for line in switches)
    assert any("scripted takes over from person in teleoperate: handed back" in line for line in switches)


def test_the_record_says_what_a_person_drove_and_no_joint_jumped(graph, operator, episodes):
    graph.wait_until(lambda: any(episodes.glob(f"2*/{CARD}")), what="no episode")
    (folder,) = episodes_in(episodes)
    card = Card.read(folder / CARD)
    assert card.outcome == "success"
    assert [event.text for event in card.events if event.kind == TIER] == ["scripted", PERSON, "scripted"]
    ((begin_s, end_s),) = card.interventions
    assert 1.0 < end_s - begin_s < card.duration_s - 5.0
    assert [event.text for event in card.events if event.kind == SWITCH] == ["operator after scripted: a person takes over", "scripted after operator: handed back"]
    assert not any(event.text == NOBODY for event in card.events)
    positions, sent_s = [], []
    for _, channel, message in read_bag(folder):
        if channel.topic.lstrip("/") == topics.JOINT_COMMAND.name:
            positions.append(deserialize_message(message.data, JointCommand).positions)
            sent_s.append((message.log_time - card.begun_ns) / 1e9)
    steps, sent_s = np.abs(np.diff(np.array(positions), axis=0)).max(axis=1), np.array(sent_s[1:])
    for switch_s in (begin_s, end_s):
        assert steps[np.abs(sent_s - switch_s) < 1.0].max() < STILL_RAD
