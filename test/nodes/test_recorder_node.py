"""The recorder beside real nodes: what they sent is in the episode, and another reads it as ROS 2 would."""

import time

import pytest
from humanoid_interfaces.msg import Order, PolicyStatus, RobotState, Verdict
from humanoid_interfaces.srv import EndEpisode, StartEpisode
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader

from humanoid_control.hashes import file_hash
from humanoid_control.nodes.factory_file import find_factory_file
from humanoid_control.recording.bag import bag_file, read_bag
from humanoid_control.recording.card import CARD, FACTORY, SUCCESS, Card
from humanoid_control.robot_model import default_urdf_path
from humanoid_control.ros import topics
from humanoid_control.ros.definitions import definition_of, type_hash_of
from humanoid_control.ros.qos import create_publisher


@pytest.fixture(scope="module")
def recorded(graph, tmp_path_factory):
    folder = tmp_path_factory.mktemp("episodes")
    graph.listen(topics.RECORDER_STATUS, topics.ROBOT_STATE)
    graph.start("control_node")
    graph.start("description_node")
    graph.start("recorder_node", folder=folder, reserve_gb=0.0, factory="line_side")
    graph.wait_until(lambda: topics.RECORDER_STATUS.name in graph.newest and topics.ROBOT_STATE.name in graph.newest)
    return graph, folder


def call(graph, kind, name, **fields):
    client = graph.node.create_client(kind, name)
    graph.wait_until(client.service_is_ready, what=f"no service {name}")
    return graph.ask(client.call_async(kind.Request(**fields)))


def packed(graph, folder, name):
    graph.wait_until(lambda: (folder / name / CARD).is_file(), 30.0, f"{name} is not packed")
    return folder / name


def test_an_episode_holds_what_was_sent_and_others_read_it(recorded):
    graph, folder = recorded
    started = call(graph, StartEpisode, topics.START_EPISODE, operator_name="Ada", task="stand")
    assert started.success, started.message
    again = call(graph, StartEpisode, topics.START_EPISODE)
    assert not again.success and "is being recorded; keep or discard it first" in again.message
    graph.heard.clear()
    graph.spin(3.0)
    status = graph.newest[topics.RECORDER_STATUS.name]
    assert status.episode == started.name and status.messages > 1000 and status.missed == 0 and status.duration > 2.0
    heard = list(graph.heard[topics.ROBOT_STATE.name])
    assert call(graph, EndEpisode, topics.END_EPISODE, keep=True, outcome="success").success
    bag = packed(graph, folder, started.name)
    card = Card.read(bag / CARD)
    assert (card.operator, card.task, card.outcome) == ("Ada", "stand", SUCCESS)
    assert card.factory == "line_side" and card.seed == 0 and (bag / FACTORY).read_text() == find_factory_file("line_side").read_text()
    assert card.hashes["factory"] == file_hash(find_factory_file("line_side")) and card.hashes["model"] == file_hash(default_urdf_path())
    by_topic = {}
    for _, channel, message in read_bag(bag):
        by_topic.setdefault(channel.topic, []).append(message)
    states = [deserialize_message(message.data, RobotState) for message in by_topic["/robot_state"]]
    missing = [index for index, message in enumerate(heard) if message not in states]
    assert max(missing, default=0) < 60, f"of {len(heard)}: {missing}"  # the first may have waited here from before
    assert len(states) >= len(heard) - 60 > 100
    assert {"/robot_description", "/tf_static", "/joint_command", "/control_status", "/simulation/state"} <= set(by_topic)
    assert all(message.publish_time <= message.log_time + 10**7 for message in by_topic["/robot_state"])
    with AnyReader([bag]) as reader:  # by another's hand: metadata.yaml, schemas and indices
        assert reader.message_count == sum(map(len, by_topic.values()))
        connection = next(c for c in reader.connections if c.topic == "/robot_state")
        assert connection.digest == type_hash_of("humanoid_interfaces/msg/RobotState")
        _, _, raw = next(reader.messages([connection]))
        assert reader.deserialize(raw, connection.msgtype).header.stamp.sec == states[0].header.stamp.sec


def test_an_order_is_an_episode_with_its_sub_tasks_and_the_judges_outcome(graph, tmp_path):
    folder = tmp_path / "by_order"
    if "recorder_node" in graph.processes:
        graph.processes["recorder_node"].send_signal(2)
        assert graph.processes["recorder_node"].wait(30) == 0
    graph.start("recorder_node", folder=folder, reserve_gb=0.0, episodes="by_order", operator="Ada")
    senders = {topic: create_publisher(graph.node, topic) for topic in (topics.CURRENT_ORDER, topics.POLICY_STATUS, topics.SIMULATION_VERDICT)}
    graph.wait_until(lambda: all(sender.get_subscription_count() for sender in senders.values()))

    def tell(order, status, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            senders[topics.CURRENT_ORDER].publish(order)
            senders[topics.POLICY_STATUS].publish(status)
            graph.spin(0.1)

    tell(Order(), PolicyStatus(), 0.5)
    order = Order(order_id="7", tote="t1", to="outfeed")
    tell(order, PolicyStatus(order_id="7", sub_task="approach", outcome="running", tier=PolicyStatus.TIER_LEARNED), 1.0)
    person = {"order_id": "7", "outcome": "running", "tier": PolicyStatus.TIER_OPERATOR}
    tell(order, PolicyStatus(**person, sub_task="wait_for_person", problem="please take over: it slipped"), 0.5)
    tell(order, PolicyStatus(**person, sub_task="teleoperate", reason="a person drives"), 1.0)
    tell(order, PolicyStatus(order_id="7", sub_task="reach", outcome="running", tier=PolicyStatus.TIER_LEARNED, reason="handed back"), 1.0)
    senders[topics.SIMULATION_VERDICT].publish(Verdict(order_id="7", done=True))
    tell(Order(), PolicyStatus(), 1.0)
    graph.wait_until(lambda: list(folder.glob("[!.]*/" + CARD)), 30.0, "no episode")
    (bag,) = [path.parent for path in folder.glob("[!.]*/" + CARD)]
    card = Card.read(bag / CARD)
    assert (card.operator, card.task, card.outcome) == ("Ada", "bring t1 to outfeed", SUCCESS)
    assert [text for _, _, text in card.spans("subtask")][:4] == ["approach", "wait_for_person", "teleoperate", "reach"]
    tiers, switches = [text for _, _, text in card.spans("tier")], [event.text for event in card.events if event.kind == "switch"]
    assert tiers[tiers.index("learned") :][:4] == ["learned", "nobody", "operator", "learned"]  # before it: who drove when the order came
    assert switches[switches.index("nobody after learned: please take over: it slipped") :][:3] == [
        "nobody after learned: please take over: it slipped", "operator after nobody: a person drives", "learned after operator: handed back"]  # fmt: skip
    ((begin_s, end_s),) = card.interventions  # where a person was waited for, nobody intervened
    assert 0.0 < begin_s < end_s < card.duration_s
    assert bag_file(bag).stat().st_size > 1000


def test_definitions_are_whole_and_hashed_as_everyones():
    text = definition_of("sensor_msgs/msg/Imu")
    assert {line for line in text.splitlines() if line.startswith("MSG: ")} == {
        f"MSG: {name}" for name in ("std_msgs/Header", "builtin_interfaces/Time", "geometry_msgs/Quaternion", "geometry_msgs/Vector3")}
    assert type_hash_of("tf2_msgs/msg/TFMessage") == "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"


def test_its_health_is_told_again_and_again(graph, tmp_path):
    graph.listen(topics.DIAGNOSTICS)
    graph.start("recorder_node", folder=tmp_path, reserve_gb=0.0)
    told = lambda: [message for message in graph.heard[topics.DIAGNOSTICS.name] if message.status[0].name == "recorder_node"]  # noqa: E731
    graph.wait_until(told)
    count = len(told())
    graph.wait_until(lambda: len(told()) > count + 3, 30.0)
