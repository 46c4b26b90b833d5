"""Listens only: records what the table of topics marks, as the bytes it came in, and nobody waits for it.

The last minute is always there as a black box. Episodes are begun and ended by services, or with each order.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from humanoid_interfaces.msg import Order, PolicyStatus, RecorderStatus, SimulationState, Verdict
from humanoid_interfaces.srv import EndEpisode, StartEpisode
from rclpy.serialization import deserialize_message
from std_msgs.msg import String

from humanoid_control.errors import HumanoidControlError
from humanoid_control.hashes import code_hash
from humanoid_control.mission.factory import parse_factory
from humanoid_control.nodes.factory_file import DESCRIPTION, find_factory_file
from humanoid_control.nodes.health import ERROR, OK
from humanoid_control.nodes.life_cycle import ManagedNode, start
from humanoid_control.nodes.polled import Polled
from humanoid_control.recording.card import (
    DONE, FACTORY, FAILURE, NOBODY, ORDER, PROBLEM, SUBTASK, SUCCESS, SWITCH, TIER, UNKNOWN, VERDICT,
)  # fmt: skip
from humanoid_control.recording.recorder import Recorder
from humanoid_control.recording.segments import RecordedTopic
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.definitions import definition_of, qos_text, type_hash_of
from humanoid_control.ros.node_main import run_node
from humanoid_control.ros.parameters import parameter
from humanoid_control.ros.polling_executor import PollingExecutor
from humanoid_control.ros.qos import PROFILES, create_publisher
from humanoid_control.teleoperation.handover import WAIT_FOR_PERSON

NAME = "recorder_node"
LISTEN_PERIOD_S = 0.02
WAITING_S = 4.0  # of messages that wait while this process sleeps
MOST_WAITING, FEWEST_WAITING = 1000, 100
BY_HAND, BY_ORDER = "by_hand", "by_order"
SETTLE_S = 0.5  # after an order's end: hands come away
JUDGE_S = 5.0  # after it, until which a simulation's judge is waited for
SHA256 = " sha256"  # how the names of figures in /diagnostics end that are hashes of what a node runs with


@dataclass(frozen=True)
class RecorderParameters:
    """See config/recorder_node.yaml."""

    folder: str = parameter("episodes", "of the episodes; the black box lies in it too, hidden")
    episodes: str = parameter(BY_HAND, "what an episode is: what services begin and end, or each order", choices=(BY_HAND, BY_ORDER))
    box_s: float = parameter(60.0, "that the black box reaches back", minimum=10.0, maximum=3600.0)
    reserve_gb: float = parameter(1.0, "that stay free on the disk", minimum=0.0, maximum=10_000.0)
    factory: str = parameter("", f"{DESCRIPTION}: kept with each episode; empty: episodes can neither be replayed nor told where totes go")
    operator: str = parameter("", "who drives or watches, for the cards of episodes by order")
    autostart: bool = parameter(True, "configure and activate by itself")


class RecorderNode(ManagedNode):
    """See the module."""

    def __init__(self) -> None:
        """Makes the node.

        Raises:
            HumanoidControlError: a parameter or the factory is wrong.
        """
        super().__init__(NAME, RecorderParameters)
        self._recorder: Recorder | None = None
        path = find_factory_file(self.parameters.factory) if self.parameters.factory else None
        self._factory = path.read_text(encoding="utf-8") if path is not None else ""
        self._factory_name = parse_factory(self._factory, source=str(path)).name if path is not None else ""

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        p = self.parameters
        self._rows = [topic for topic in topics.TOPICS if topic.is_recorded]
        self._recorder = Recorder(Path(p.folder).expanduser(), [self._recorded(topic) for topic in self._rows], box_s=p.box_s,
                                  reserve_bytes=round(1e9 * p.reserve_gb))  # fmt: skip
        if self._recorder.recovered:
            self.get_logger().warning(f"found what a recorder left that was killed: {', '.join(self._recorder.recovered)}")
        self._status = create_publisher(self, topics.RECORDER_STATUS)
        self._hashes = {"code": code_hash()} | ({"factory": _sha256(self._factory)} if self._factory else {})
        self._seed: int | None = None
        self._order: Order | None = None
        self._done: list[dict] = []

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        self._ears = [Polled(self, topic, depth=_depth(topic), raw=True) for topic in self._rows]
        self._order_id = self._judged_id = self._words = ""
        self._ended_ns, self._subtask, self._tier, self._verdict, self._outcome = 0, "", "", "", ""
        self._listeners = {topics.CURRENT_ORDER: (Order, self._hear_order), topics.POLICY_STATUS: (PolicyStatus, self._hear_policy),
                           topics.SIMULATION_VERDICT: (Verdict, self._hear_verdict), topics.SIMULATION_STATE: (SimulationState, self._hear_simulation),
                           topics.ROBOT_DESCRIPTION: (String, self._hear_description), topics.DIAGNOSTICS: (DiagnosticArray, self._hear_health)}  # fmt: skip
        self._tell_timer = self.create_timer(1.0 / topics.RECORDER_STATUS.rate_hz, self._tell)
        self._offers = [self.create_service(StartEpisode, topics.START_EPISODE, self._start_episode),
                        self.create_service(EndEpisode, topics.END_EPISODE, self._end_episode)]  # fmt: skip

    def deactivate(self) -> None:
        """See `ManagedNode.deactivate`."""
        self._listen()
        self.destroy_timer(self._tell_timer)
        for service in self._offers:
            self.destroy_service(service)
        for ear in self._ears:
            ear.destroy()

    def clean_up(self) -> None:
        """See `ManagedNode.clean_up`."""
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            recorder.close()

    def _recorded(self, topic: topics.Topic) -> RecordedTopic:
        return RecordedTopic(self.resolve_topic_name(topic.name), topic.type_name, definition_of(topic.type_name),
                             type_hash_of(topic.type_name), qos_text(PROFILES[topic.qos][0]))  # fmt: skip

    # --- what is heard ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Records what has come."""
        if self.is_active:
            self._listen()

    def _listen(self) -> None:
        recorder = self._recorder
        for number, (topic, ear) in enumerate(zip(self._rows, self._ears)):
            listener = self._listeners.get(topic)
            for data, sent_ns, received_ns in ear.take_with_times():
                if listener is not None:  # before it is written: what begins an episode belongs to it
                    listener[1](deserialize_message(data, listener[0]))
                recorder.add(number, data, publish_ns=sent_ns, received_ns=received_ns)
        recorder.tick()
        since_s = (recorder.now_ns() - self._ended_ns) / 1e9
        if self._ended_ns and since_s > SETTLE_S and (self._verdict or since_s > JUDGE_S or not self._has_judge()):
            self._ended_ns = 0
            if recorder.card is not None:
                recorder.end(outcome=self._judged())

    def _hear_order(self, message: Order) -> None:
        order = message.order_id if message.tote else ""
        if order == self._order_id and bool(message.tote) == bool(self._words):
            return
        self._order_id = order
        self._order = message if message.tote else self._order
        self._judged_id = order if message.tote else self._judged_id
        self._words = f"bring {message.tote} to {message.to}" if message.tote else ""
        if self.parameters.episodes == BY_ORDER and message.tote:
            if self._recorder.card is not None:
                self._recorder.end(outcome=self._judged())
            self._ended_ns = 0
            self._begin(operator=self.parameters.operator, task=self._words)
        elif self.parameters.episodes == BY_ORDER and not self._ended_ns:
            self._ended_ns = self._recorder.now_ns()
        if message.tote:
            self._outcome = ""
        if self._recorder.card is not None:
            self._recorder.card.task = self._recorder.card.task or self._words
        self._recorder.event(ORDER, self._words)

    def _hear_policy(self, message: PolicyStatus) -> None:
        tier = NOBODY if message.sub_task == WAIT_FOR_PERSON else conversions.tier_name(message.tier)
        if message.sub_task != self._subtask:
            self._subtask = message.sub_task
            self._recorder.event(SUBTASK, message.sub_task)
        if tier != self._tier:
            before, self._tier = self._tier, tier
            self._recorder.event(TIER, tier)
            if before:
                self._recorder.event(SWITCH, f"{tier} after {before}: {message.problem if tier == NOBODY else message.reason}")
        if message.outcome in ("done", "failed") and message.order_id == self._order_id and self._outcome != message.outcome:
            self._outcome = message.outcome
            if message.outcome == "done" and self._order is not None:
                self._note_done()
            if self.parameters.episodes == BY_ORDER:
                self._ended_ns = self._recorder.now_ns()

    def _note_done(self) -> None:
        """From now on a tote is elsewhere than the factory file has it: whoever reads later episodes must know."""
        try:
            self._done.append(conversions.order_from_message(self._order).model_dump(mode="json"))
        except HumanoidControlError as error:
            self._recorder.event(PROBLEM, str(error))

    def _hear_simulation(self, message: SimulationState) -> None:
        if message.seed == self._seed:
            return
        self._seed = message.seed
        if self._recorder.card is not None:
            self._recorder.card.seed = message.seed
        if self._factory and message.factory != self._factory_name:
            problem = f"the simulation runs factory {message.factory}; the recorder was told {self._factory_name}"
            self.get_logger().error(problem)
            self._recorder.event(PROBLEM, problem)

    def _hear_description(self, message: String) -> None:
        self._know("model", _sha256(message.data))

    def _hear_health(self, message: DiagnosticArray) -> None:
        for status in message.status:
            for value in status.values:
                if value.key.endswith(SHA256) and value.value:
                    self._know(value.key.removesuffix(SHA256), value.value)

    def _know(self, what: str, sha256: str) -> None:
        """What drives has a hash: of this episode and of those to come."""
        self._hashes[what] = sha256
        if self._recorder.card is not None:
            self._recorder.card.hashes[what] = sha256

    def _has_judge(self) -> bool:
        return self.context.ok() and self.count_publishers(topics.SIMULATION_VERDICT.name) > 0  # an episode may end with ROS itself

    def _hear_verdict(self, message: Verdict) -> None:
        if message.order_id != self._judged_id:
            return  # of an order before
        self._verdict = SUCCESS if message.done else FAILURE
        self._recorder.event(VERDICT, DONE if message.done else f"{message.reason}: {message.detail}")
        if self.parameters.episodes == BY_ORDER:
            self._ended_ns = self._recorder.now_ns()

    def _judged(self) -> str:
        """How the episode went, by the simulation's judge or, where there is none, by the policy."""
        return self._verdict or {"done": SUCCESS, "failed": FAILURE}.get(self._outcome, UNKNOWN)

    # --- what is asked ------------------------------------------------------------------------------------------------

    def _begin(self, *, operator: str, task: str) -> str:
        """Begins an episode; returns why it cannot, or nothing."""
        self._verdict = self._outcome = ""
        try:
            self._recorder.begin(
                operator=operator, task=task, hashes=dict(self._hashes), versions={"python": platform.python_version(), "mcap": version("mcap")},
                factory=self._factory_name, seed=self._seed, done_before=list(self._done),
                files={FACTORY: self._factory} if self._factory else None,
            )  # fmt: skip
        except HumanoidControlError as error:
            self.get_logger().error(str(error))
            return str(error)
        for kind, text in ((ORDER, self._words), (TIER, self._tier), (SUBTASK, self._subtask)):
            if text:
                self._recorder.event(kind, text)
        return ""

    def _start_episode(self, request: StartEpisode.Request, response: StartEpisode.Response) -> StartEpisode.Response:
        self._listen()  # what came before the call came before the episode
        response.message = self._begin(operator=request.operator_name, task=request.task)
        response.success = not response.message
        response.name = self._recorder.card.name if response.success else ""
        return response

    def _end_episode(self, request: EndEpisode.Request, response: EndEpisode.Response) -> EndEpisode.Response:
        self._listen()
        try:
            response.name = self._recorder.end(outcome=request.outcome or self._judged(), keep=request.keep, note=request.note)
            response.success = True
            if request.outcome == SUCCESS and self._words and self._outcome != "done":  # who drives by hand says it here
                self._note_done()
        except HumanoidControlError as error:
            response.message = str(error)
        return response

    def _tell(self) -> None:
        recorder = self._recorder
        card = recorder.card
        status = RecorderStatus(episode=card.name if card else "", duration=(recorder.now_ns() - card.begun_ns) / 1e9 if card else 0.0,
                                messages=recorder.messages if card else 0, missed=recorder.missed, free_space=float(recorder.free_bytes()),
                                problem=recorder.problem)  # fmt: skip
        status.header.stamp.sec, status.header.stamp.nanosec = divmod(recorder.now_ns(), 10**9)
        self._status.publish(status)
        if recorder.problem:
            self.health.set(ERROR, recorder.problem, kind="problem")
        else:
            self.health.set(OK, f"records {card.name}" if card else "keeps the last minute")
        self.health.values["missed"] = recorder.missed


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _depth(topic: topics.Topic) -> int:
    """Messages of a topic that may wait."""
    return min(max(round(WAITING_S * (topic.rate_hz or 0.0)), FEWEST_WAITING), MOST_WAITING)


def main() -> int:
    """Runs the node."""
    return run_node(lambda: start(RecorderNode()), make_executor=lambda: PollingExecutor(LISTEN_PERIOD_S))


if __name__ == "__main__":
    sys.exit(main())
