"""`humanoid bench teleoperation`: from what an operator does to the joint command that has changed, over DDS.

The nodes are those of a launch file, with the simulated robot, in a domain of their own. An operator here publishes a gamepad
and both hands at 50 Hz, or sends them by a page's connection as the operator's page does; at odd moments one message has a hand somewhere else,
or a trigger let go. The time is taken from just before that message is published to when control published the first joint command that
differs. With a page, hands then sway for a minute, and it is told how large the steps of joint commands were, and how often the robot held for want
of inputs; also over a line that delays and loses packets.
"""

from __future__ import annotations

import gc
import math
import os
import random
import subprocess
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from humanoid_control.bench.bad_line import FAR, NEAR, bad_line

from humanoid_control.bench.report import Report, progress
from humanoid_control.errors import ConfigurationError
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import topics
from humanoid_control.ros.domain import use_domain
from humanoid_control.ros.environment import prepare_environment
from humanoid_control.ros.launched import launched
from humanoid_control.ros.page_connection import PageConnection, page_url
from humanoid_control.teleoperation.handover import TELEOPERATE
from humanoid_control.teleoperation.retargeting import RAMP_S, TIMEOUT_S

EVENTS, QUICK_EVENTS = 100, 2  # of each kind, in each row
INPUT_HZ, LOOK_S = 50.0, 0.001
TICK_S = 0.004  # of control
APART_S = (0.7, 1.1)  # from one event to the next: hands have come to a stand
STEP_M = 0.05  # of a hand, up and down by turns
LOST_S = 0.5  # after an event, from which on its command is not waited for
SWAY_S, QUICK_SWAY_S, SWAY_M, SWAY_HZ = 60.0, 3.0, 0.06, 0.4  # of both hands, up and down against each other
DELAY_S, LOSS = 0.08, 0.05  # of the bad line, each way
BEFORE_S, ABOVE = 0.25, 3.0  # s before an event in which arms' commands show how much they move anyway; how often more counts as moved
START_TIMEOUT_S, END_TIMEOUT_S = 120.0, 30.0
VIDEO = "head_camera"


@dataclass(frozen=True)
class _Case:
    """What is launched, and how the operator's inputs come there.

    Attributes:
        arguments: of the launch file.
        video: somebody looks at a camera.
        page: inputs and images go by the operator's page.
        is_bad: and that by a line that delays and loses packets.
    """

    arguments: tuple[str, ...]
    video: bool = False
    page: bool = False
    is_bad: bool = False


CASES = {
    "to control": _Case(("teleop", "cameras:=false", "page:=false")),
    "to control, video": _Case(("teleop", "page:=false"), video=True),
    "through the policy": _Case(("factory", "teleop:=true")),
    "through the policy, video": _Case(("factory", "teleop:=true", "cameras:=true"), video=True),
    "page, video": _Case(("teleop", "page_port:=0"), video=True, page=True),
    "page, bad network": _Case(("teleop", "page_port:=0", f"page_host:={NEAR}"), video=True, page=True, is_bad=True),
}


def run(report: Report, *, quick: bool, n: int = EVENTS, seed: int = 0, case: str = "") -> None:
    """Measures; `n` is the number of events of each kind, `seed` of their moments, `case` one of `CASES`.

    Raises:
        ConfigurationError: there is no such case, the nodes do not start, or no bad line can be made here.
    """
    if case and case not in CASES:
        raise ConfigurationError(f"bench teleoperation has no case '{case}'; allowed: {', '.join(CASES)}.")
    for name, each in CASES.items():
        if not case or name == case:
            _measure(report, name, each, QUICK_EVENTS if quick else n, QUICK_SWAY_S if quick else SWAY_S, seed)
    report.notes.append("load average {:.1f}, {:.1f}, {:.1f} on {} cores at the end".format(*os.getloadavg(), os.cpu_count()))


def _measure(report: Report, name: str, case: _Case, n: int, sway_s: float, seed: int) -> None:
    prepare_environment()
    use_domain()
    import rclpy

    rng = random.Random(seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if case.is_bad:
            stack.enter_context(bad_line(delay_s=DELAY_S, loss=LOSS, seed=seed))
        log = folder / "launch.log"
        own_token = {"XDG_STATE_HOME": str(folder)}  # and own certificate: the user's stay as they are
        launch = stack.enter_context(launched(case.arguments, log=log, environment=own_token, end_timeout_s=END_TIMEOUT_S))
        page = None
        if case.page:
            page = PageConnection(page_url(launch, log, START_TIMEOUT_S).replace(NEAR, FAR), VIDEO)
            stack.callback(page.close)
        rclpy.init()
        stack.callback(rclpy.try_shutdown)
        operator = _Operator(launch, rng, beside_policy=case.arguments[0] == "factory", video=case.video, page=page)
        operator.begin()
        gc.freeze()  # as nodes do: whoever measures shall not stop to tidy up
        for _ in progress(range(n), name):
            for act in (operator.move_hand, operator.let_go):
                operator.play(rng.uniform(*APART_S))
                act()
        if page is not None:
            operator.sway(sway_s)
            images_s = list(page.images_s)
    for what, times in operator.latencies.items():
        if times:
            report.add_latencies(f"{name}: {what}", times)
    asked = n * len(operator.latencies)
    report.add_value(f"{name}: not answered within {LOST_S:g} s", asked - sum(map(len, operator.latencies.values())), "answers", n=asked)
    if case.page:
        report.add_latencies(f"{name}: {VIDEO}, from taken to received", images_s)
        report.add_value(f"{name}: images of {VIDEO}", len(images_s) / operator.played_s, "Hz", n=len(images_s))
        holds_s = [(end_ns - begin_ns) / 1e9 for begin_ns, end_ns in operator.holds]
        report.add_value(f"{name}: held for want of inputs", len(holds_s), "times")
        report.add_value(f"{name}: held for want of inputs, of the time", sum(holds_s) / operator.played_s, "share")
        for what, is_of_hold in (("else", False), (f"held or within {RAMP_S:g} s after", True)):
            steps = [(step, joint) for sent_ns, step, joint in operator.steps if operator.is_of_hold(sent_ns) == is_of_hold]
            if steps:
                report.add_value(f"{name}: largest step of a command in a tick, {what}", max(steps)[0], "rad", n=len(steps))
                report.notes.append(f"{name}: largest step, {what}: {max(steps)[1]}")
    elif case.video:
        report.add_value(f"{name}: images of {VIDEO}", operator.images / operator.played_s, "Hz")


class _Operator:
    """Publishes a gamepad and both hands, clutches closed, and hears what comes of it.

    Args:
        launch: the nodes.
        rng: of moments.
        beside_policy: the person's targets go through the policy's node.
        video: looks at a camera.
        page: by which inputs and images go; None: by DDS.

    Attributes:
        latencies: s, by what.
        images: that came by DDS.
        played_s: since it began.
        steps: of commands from one tick to the next: when sent (ns since the epoch), the largest of all joints (rad), and which.
        holds: when the robot held for want of inputs, from and to, in ns since the epoch.
    """

    def __init__(self, launch: subprocess.Popen, rng: random.Random, *, beside_policy: bool, video: bool, page: PageConnection | None) -> None:
        import rclpy
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import Joy
        from std_srvs.srv import Trigger

        from humanoid_control.nodes.polled import Polled
        from humanoid_control.ros.qos import create_publisher

        self._launch, self._rng, self._beside_policy, self._rclpy, self._page = launch, rng, beside_policy, rclpy, page
        self._make_joy, self._make_pose, self._trigger = Joy, PoseStamped, Trigger
        self._node = node = rclpy.create_node("operator")
        if page is None:
            self._joy, self._hands = create_publisher(node, topics.JOY), [create_publisher(node, topic) for topic in topics.OPERATOR_HANDS]
        self._ears = {topic.name: Polled(node, topic, depth=50) for topic in (topics.JOINT_COMMAND, topics.WHOLE_BODY_TARGET, topics.OPERATOR_TARGET)}
        self._status = Polled(node, topics.POLICY_STATUS)
        self._video = Polled(node, topics.camera_topics(VIDEO)["image_raw/compressed"], raw=True) if video and page is None else None
        self._inputs = Polled(node, topics.JOY, depth=50)
        self._heard: dict[str, deque] = {name: deque(maxlen=500) for name in self._ears}
        self._model = RobotModel.load()
        self._arm = np.array([index for index, joint in enumerate(self._model.joint_names)
                              if joint.startswith("left_") and any(part in joint for part in ("shoulder", "elbow", "wrist"))])  # fmt: skip
        self._height, self._squeezed, self._next_s = 0.0, False, 0.0
        self._swaying_s: float | None = None  # since when
        self._command: tuple[float, np.ndarray] | None = None  # the last: its stamp and positions
        self._input_ns = 0
        self._count_anew()
        stages = (topics.OPERATOR_TARGET, topics.WHOLE_BODY_TARGET) if beside_policy else (topics.WHOLE_BODY_TARGET,)
        self._trigger_stages = {f"trigger to {topic.name}": topic.name for topic in stages} | {"trigger to gripper's command": topics.JOINT_COMMAND.name}
        self.latencies: dict[str, list[float]] = {"hand to arm's command": [], **{what: [] for what in self._trigger_stages}}

    def _count_anew(self) -> None:
        self.images, self.played_s, self.steps, self.holds = 0, 0.0, [], []

    def begin(self) -> None:
        """Waits until the person drives, and hands and grippers follow.

        Raises:
            ConfigurationError: that does not come.
        """
        until, self._drives, asked = time.monotonic() + START_TIMEOUT_S, False, None
        client = self._node.create_client(self._trigger, topics.TAKE_OVER)
        while not self._drives:
            if time.monotonic() > until or self._launch.poll() is not None:
                raise ConfigurationError(f"nobody can drive within {START_TIMEOUT_S:g} s; see what `humanoid doctor` says")
            self.play(0.1)
            if self._beside_policy and self._heard[topics.JOINT_COMMAND.name] and client.service_is_ready() and (asked is None or asked.done()):
                asked = client.call_async(self._trigger.Request())
            self._rclpy.spin_once(self._node, timeout_sec=0.0)
        for self._squeezed in (True, False):
            self.play(2.0)
        self._count_anew()
        if self._page is not None:
            self._page.images_s.clear()

    def play(self, seconds: float) -> None:
        """Goes on as it is for a while."""
        self.played_s += seconds
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if time.monotonic() >= self._next_s:
                self._publish()
            self._hear()
            time.sleep(LOOK_S)

    def _publish(self) -> None:
        # No two clocks keep step: messages come at all moments between two ticks of whoever takes them.
        self._next_s = time.monotonic() + self._rng.uniform(0.8, 1.2) / INPUT_HZ
        trigger = -1.0 if self._squeezed else 1.0
        sway = 0.0 if self._swaying_s is None else SWAY_M * math.sin(2.0 * math.pi * SWAY_HZ * (time.monotonic() - self._swaying_s))
        poses = [[0.3, 0.2, 1.2 + self._height + sway, 0.0, 0.0, 0.0, 1.0], [0.3, -0.2, 1.2 - sway, 0.0, 0.0, 0.0, 1.0]]
        axes, buttons = [0.0, 0.0, 1.0, 0.0, 0.0, trigger], [0, 0, 0, 0, 1, 1, 0, 0]
        if self._page is not None:
            self._page.do(axes, buttons if self._page.counts else [0] * len(buttons), poses)
            return
        for hand, (x, y, z, *_, w) in zip(self._hands, poses):
            message = self._make_pose()
            message.pose.position.x, message.pose.position.y, message.pose.position.z, message.pose.orientation.w = x, y, z, w
            hand.publish(message)
        self._joy.publish(self._make_joy(axes=axes, buttons=buttons))

    def _hear(self) -> None:
        for name, ear in self._ears.items():
            messages = ear.take_with_times()
            self._heard[name].extend((sent_ns, message) for message, sent_ns, _ in messages)
            if name == topics.JOINT_COMMAND.name:
                for message, sent_ns, _ in messages:
                    self._note_step(message, sent_ns)
        for _, sent_ns, _ in self._inputs.take_with_times():
            held_ns = self._input_ns + round(1e9 * TIMEOUT_S)
            if self._input_ns and sent_ns > held_ns:
                self.holds.append((held_ns, sent_ns))
            self._input_ns = sent_ns
        for status in self._status.take():
            self._drives = (status.tier, status.sub_task, status.problem) == (status.TIER_OPERATOR, TELEOPERATE, "")
        self.images += len(self._video.take()) if self._video is not None else 0

    def _note_step(self, message, sent_ns: int) -> None:
        stamp_s, positions = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec, np.array(message.positions)
        if self._command is not None and stamp_s > self._command[0]:
            ticks = max(round((stamp_s - self._command[0]) / TICK_S), 1)  # one may not have come
            steps = np.abs(positions - self._command[1]) / ticks
            self.steps.append((sent_ns, float(steps.max()), self._model.joint_names[int(steps.argmax())]))
        self._command = stamp_s, positions

    def is_of_hold(self, sent_ns: int) -> bool:
        """Whether a command was sent while the robot held for want of inputs, or while it came to speed again."""
        return any(begin_ns <= sent_ns <= end_ns + 1e9 * RAMP_S for begin_ns, end_ns in self.holds)

    def sway(self, seconds: float) -> None:
        """Has both hands go up and down for a while."""
        self._swaying_s = time.monotonic()
        self.play(seconds)
        self._swaying_s = None

    # --- events -------------------------------------------------------------------------------------------------------

    def move_hand(self) -> None:
        """The left hand is elsewhere, and the arm's command soon moves by more than it did before."""
        self._height = 0.0 if self._height else STEP_M
        acted_ns = self._act()
        speeds = [(sent_ns, np.array(message.velocities)[self._arm]) for sent_ns, message in self._heard[topics.JOINT_COMMAND.name]]
        before = np.array([speed for sent_ns, speed in speeds if acted_ns - 1e9 * BEFORE_S <= sent_ns <= acted_ns])
        usual = np.median(before, axis=0)
        most = ABOVE * np.abs(before - usual).max()
        self._note("hand to arm's command", acted_ns, [sent_ns for sent_ns, speed in speeds if sent_ns > acted_ns and np.abs(speed - usual).max() > most])

    def let_go(self) -> None:
        """The right trigger is let go, or squeezed, and the gripper told so."""
        self._squeezed = not self._squeezed
        acted_ns = self._act()
        for what, name in self._trigger_stages.items():
            told = [(sent_ns, message.gripper_openings[1]) for sent_ns, message in self._heard[name]]
            before = [opening for sent_ns, opening in told if sent_ns <= acted_ns][-1]
            self._note(what, acted_ns, [sent_ns for sent_ns, opening in told if sent_ns > acted_ns and abs(opening - before) > 1e-6])

    def _act(self) -> int:
        """Publishes what has just changed and waits for what comes of it; returns when, in ns since the epoch."""
        acted_ns = time.time_ns()
        self._publish()
        self.play(LOST_S)
        return acted_ns

    def _note(self, what: str, acted_ns: int, changed_ns: list[int]) -> None:
        if changed_ns:
            self.latencies[what].append((changed_ns[0] - acted_ns) / 1e9)
