"""Clocks that are set by hand, patience for what is packed by another process, and a simulated order that was recorded."""

import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from humanoid_interfaces.msg import Order, PolicyStatus, SimulationState, Verdict
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage

from humanoid_control.mission.factory import load_factory
from humanoid_control.recording.bag import bag_file, pack
from humanoid_control.recording.card import CARD, DONE, FACTORY, FAILURE, SUBTASK, SUCCESS, TIER, VERDICT, Card, Event
from humanoid_control.recording.segments import RecordedTopic, SegmentWriter, read_messages, read_topics
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.definitions import definition_of
from humanoid_control.ros.environment import prepare_environment
from perception.oracle import OraclePoses
from perception.ros.pose_messages import poses_to_message
from policies.registry import make_policy
from policies.runtime import run_episode


class Clock:
    def __init__(self):
        self.ns = 1_800_000_000 * 10**9

    def __call__(self):
        return self.ns

    def sleep(self, seconds):
        self.ns += round(seconds * 1e9)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def wall():
    return Clock()


@pytest.fixture
def wait_for():
    def wait(folder, name, timeout_s=20.0):
        until = time.monotonic() + timeout_s
        while not (folder / name / CARD).is_file():
            assert time.monotonic() < until, f"{name} was not packed: {sorted(path.name for path in folder.iterdir())}"
            time.sleep(0.05)
        return folder / name

    return wait


# --- a simulated order, recorded as the nodes would: by the same conversions, without DDS ------------------------------------------

ROOT = Path(__file__).resolve().parents[2]
LINE_SIDE = ROOT / "config" / "factories" / "line_side.yaml"
REAL_SEED = 11
CAMERA = "head_camera"
IMAGE_SIZE = (64, 36)
STATUS_PERIOD_S, DETECTIONS_PERIOD_S, IMAGE_PERIOD_S, IMAGE_DELAY_S = 0.1, 0.04, 1 / 15, 0.06


def shade(stamp_s):
    """How bright the image is that was exposed at a time: it tells its own."""
    return round(40 + 170 * (0.5 + 0.5 * np.sin(0.37 * stamp_s)))


class Record:
    """A policy and a listener for `run_episode`, which records what both would send."""

    def __init__(self, policy, folder, factory_file, *, tier=0, begin_s=0.0, operator=""):
        self._policy, self._tier, self._operator = policy, tier, operator
        self.name, self.needs, self.period_s = policy.name, policy.needs, policy.period_s
        self.clock, self.begun_ns = Clock(), Clock().ns
        self._topics = [topics.ROBOT_STATE, topics.BASE_ESTIMATE, topics.JOINT_COMMAND, topics.WHOLE_BODY_TARGET, topics.CONTROL_STATUS,
                        topics.POLICY_STATUS, topics.CURRENT_ORDER, topics.DETECTIONS, topics.SIMULATION_STATE, topics.SIMULATION_VERDICT,
                        topics.camera_topics(CAMERA)["image_raw/compressed"]]  # fmt: skip
        self._rows = [RecordedTopic(f"/{t.name}", t.type_name, definition_of(t.type_name)) for t in self._topics]
        self.folder, self.card, self._counts = folder, None, Counter()
        self._text = factory_file.read_text()
        self._begin_s, self._said, self._order, self._number = begin_s, None, None, 0
        self._next = dict.fromkeys(("status", "detections", "image"), 0.0)
        self.shade = shade
        self.subtasks = []  # (robot's time, sub-task) as the policy says it, without the delay of its status

    def _add(self, topic, message, at_s):
        self.clock.ns = max(self.clock.ns, self.begun_ns + round(1e9 * at_s))
        self._writer.add(self._topics.index(topic), serialize_message(message), log_ns=self.clock.ns, publish_ns=self.clock.ns)
        self._counts[f"/{topic.name}"] += 1

    def _event(self, kind, text):
        self.card.events.append(Event(self.clock.ns, kind, text))

    def _is_due(self, what, now, period_s):
        if now < self._next[what] - 1e-9:
            return False
        self._next[what] = now + period_s - 1e-6
        return True

    def forget(self):
        self._policy.forget()

    def reset(self, factory, order):
        self._policy.reset(factory, order)
        self._order = order
        self._number += 1

    def order_done(self):
        self._policy.order_done()

    def act(self, observation):
        output = self._policy.act(observation)
        self.subtasks.append((observation.stamp_s, output.subtask))
        if self.card is None:
            return output
        now, heard = observation.stamp_s, observation.stamp_s + 0.002
        if self._is_due("detections", now, DETECTIONS_PERIOD_S):
            self._add(topics.DETECTIONS, poses_to_message(observation.poses), heard)
        self._add(topics.WHOLE_BODY_TARGET, conversions.whole_body_target_to_message(output.targets[0]), heard)
        said = output.subtask, output.outcome
        if self._is_due("status", now, STATUS_PERIOD_S) or said[1] != (self._said or said)[1]:
            self._add(topics.CURRENT_ORDER, conversions.order_to_message(self._order, str(self._number)), heard)
            self._add(topics.POLICY_STATUS, PolicyStatus(
                header=conversions.make_header(now), policy=self.name, order_id=str(self._number), sub_task=output.subtask, reason=output.reason,
                next_sub_task=output.next_subtask, problem=output.problem, progress=float(output.progress), outcome=output.outcome,
                uncertainty=0.0, tier=self._tier), heard)  # fmt: skip
        if self._said is None or said[0] != self._said[0]:
            self._event(SUBTASK, output.subtask)
        self._said = said
        return output

    def on_tick(self, floor, loop, output):
        now = loop.state.stamp_s
        heard = now + 0.001
        if self.card is None and now >= self._begin_s:
            self.clock.ns = self.begun_ns + round(1e9 * heard)
            self.card = Card("recorded", begun_ns=self.clock.ns, operator=self._operator, task="an order", factory=floor.episode.factory.name,
                             seed=floor.episode.seed, hashes={"factory": "f" * 64, "model": "m" * 64, "code": "c" * 64})  # fmt: skip
            self._writer = SegmentWriter(self.folder / "1.mcap", self._rows)
            self._event(TIER, ("scripted", "learned", "operator")[self._tier])
        if self.card is None:
            return
        if output is None:  # nobody has an order yet, but all look and tell
            self._source = getattr(self, "_source", None) or OraclePoses(floor.world, floor.robot.data)
            self._source.update(loop.state, loop.estimate())
            if self._is_due("detections", now, DETECTIONS_PERIOD_S):
                self._add(topics.DETECTIONS, poses_to_message(self._source.read()), heard)
            if self._is_due("status", now, STATUS_PERIOD_S):
                self._add(topics.CURRENT_ORDER, Order(), heard)
                self._add(topics.POLICY_STATUS, PolicyStatus(header=conversions.make_header(now), policy=self.name), heard)
        self._add(topics.ROBOT_STATE, conversions.robot_state_to_message(loop.state), heard)
        self._add(topics.BASE_ESTIMATE, conversions.base_estimate_to_message(loop.estimate()), heard)
        self._add(topics.JOINT_COMMAND, conversions.joint_command_to_message(loop.sent), heard)
        if loop.tick_count % 5 == 0:
            self._add(topics.CONTROL_STATUS, conversions.control_status_to_message(loop.status(), loop.estimate()), heard)
            # Physics has gone on by a tick: what is true now is of the coming state.
            self._add(topics.SIMULATION_STATE, SimulationState(
                header=conversions.make_header(float(floor.robot.data.time), "map"), factory=floor.episode.factory.name, seed=floor.episode.seed,
                qpos=floor.robot.data.qpos.copy()), heard)  # fmt: skip
        if self._is_due("image", now, IMAGE_PERIOD_S):
            image = np.full((IMAGE_SIZE[1], IMAGE_SIZE[0], 3), shade(now), np.uint8)
            message = CompressedImage(header=conversions.make_header(max(now - IMAGE_DELAY_S, 0.0)), format="jpeg")
            image[:] = shade(max(now - IMAGE_DELAY_S, 0.0))
            image[: 4] = 255 * (np.arange(IMAGE_SIZE[0]) % 2)[None, :, None]  # no two cameras' images are the very same
            image[4, 0] = self._next["image"] * 1e4 % 251
            message.data = cv2.imencode(".jpg", image)[1].tobytes()
            self._add(topics.camera_topics(CAMERA)["image_raw/compressed"], message, heard)

    def finish(self, results, outcome=None):
        """Ends the episode as the recorder's node would, but packs it here, where others wait for it; returns its folder."""
        verdict = results[-1].verdict
        now = (self.clock.ns - self.begun_ns) * 1e-9
        self._add(topics.SIMULATION_VERDICT, Verdict(header=conversions.make_header(now), order_id=str(self._number), done=verdict.done,
                                                     reason=verdict.reason, detail=verdict.detail, duration=verdict.time_s), now)  # fmt: skip
        self._event(VERDICT, DONE if verdict.done else f"{verdict.reason}: {verdict.detail}")
        self._writer.close()
        card = self.card
        card.ended_ns, card.outcome, card.messages = self.clock.ns, outcome or (SUCCESS if verdict.done else FAILURE), dict(self._counts)
        pack([self.folder / "1.mcap"], self.folder / card.name, files={CARD: card.to_json(), FACTORY: self._text})
        return self.folder / card.name


def record_order(folder, *, factory_file=LINE_SIDE, seed=REAL_SEED, **kind):
    """Records an episode of the scripted policy; returns its folder and the record."""
    prepare_environment()
    model = RobotModel.load()
    record = Record(make_policy("scripted", model), folder, factory_file, **kind)
    results = run_episode(model, load_factory(factory_file), seed, policy=record, on_tick=record.on_tick).orders
    return record.finish(results), record


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """The demo's order, carried out by the scripted policy from the simulation's begin on; its folder and the record."""
    return record_order(tmp_path_factory.mktemp("real"))


def copy_episode(episode, folder, name, *, begin_s=None, end_s=None, **about):
    """An episode again under another name, or a piece of it, with another card."""
    card = Card.read(episode / CARD)
    begun_ns = card.begun_ns
    card.name = name
    if begin_s is not None:
        card.begun_ns, card.ended_ns = begun_ns + round(1e9 * begin_s), begun_ns + round(1e9 * end_s)
        card.events = [event for event in card.events if event.log_ns <= card.ended_ns]
    for key, value in about.items():
        setattr(card, key, value)
    folder.mkdir(exist_ok=True)
    files = {CARD: card.to_json(), FACTORY: (episode / FACTORY).read_text()}
    pack([bag_file(episode)], folder / name, begin_ns=card.begun_ns, end_ns=card.ended_ns, files=files)
    return folder / name


@pytest.fixture(scope="session")
def copied():
    return copy_episode


@pytest.fixture(scope="session")
def driven(real, tmp_path_factory):
    """The same order as if a person had driven, who says nothing of sub-tasks."""
    folder = tmp_path_factory.mktemp("driven")
    status, path = f"/{topics.POLICY_STATUS.name}", folder / "1.mcap"
    writer = SegmentWriter(path, read_topics(bag_file(real[0])))
    numbers = {topic.name: number for number, topic in enumerate(read_topics(bag_file(real[0])))}
    for message in read_messages(bag_file(real[0])):
        data = message.data
        if message.topic == status:
            said = deserialize_message(data, PolicyStatus)
            if said.order_id:
                said.tier, said.policy, said.sub_task = PolicyStatus.TIER_OPERATOR, "operator", "teleoperate"
            data = serialize_message(said)
        writer.add(numbers[message.topic], data, log_ns=message.log_ns, publish_ns=message.publish_ns)
    writer.close()
    card = Card.read(real[0] / CARD)
    card.name, card.operator = "driven", "Ada"
    card.events = [event for event in card.events if event.kind not in (SUBTASK, TIER)] + [Event(card.begun_ns, TIER, "operator")]
    pack([path], folder / "driven", files={CARD: card.to_json(), FACTORY: (real[0] / FACTORY).read_text()})
    return folder / "driven"
