"""`humanoid bench teleoperation`: from what an operator does to the joint command that has changed, over DDS.

The nodes are those of a launch file, with the simulated robot, in a domain of their own. An operator here publishes a gamepad
and both hands at 50 Hz; at odd moments one message has a hand somewhere else, or a trigger let go. The time is taken from just
before that message is published to when control published the first joint command that differs.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import deque

import numpy as np

from humanoid_control.bench.report import Report, progress
from humanoid_control.errors import ConfigurationError
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import topics
from humanoid_control.ros.domain import use_domain
from humanoid_control.ros.environment import prepare_environment
from humanoid_control.ros.launched import launched
from humanoid_control.teleoperation.handover import TELEOPERATE

EVENTS, QUICK_EVENTS = 100, 2  # of each kind, in each row
INPUT_HZ, LOOK_S = 50.0, 0.001
APART_S = (0.7, 1.1)  # from one event to the next: hands have come to a stand
STEP_M = 0.05  # of a hand, up and down by turns
LOST_S = 0.5  # after an event, from which on its command is not waited for
BEFORE_S, ABOVE = 0.25, 3.0  # s before an event in which arms' commands show how much they move anyway; how often more counts as moved
START_TIMEOUT_S, END_TIMEOUT_S = 120.0, 30.0
VIDEO = "head_camera"
CASES = {
    "to control": ("teleop",),
    "to control, video": ("teleop", "cameras:=true"),
    "through the policy": ("factory", "teleop:=true"),
    "through the policy, video": ("factory", "teleop:=true", "cameras:=true"),
}


def run(report: Report, *, quick: bool, n: int = EVENTS, seed: int = 0, case: str = "") -> None:
    """Measures; `n` is the number of events of each kind, `seed` of their moments, `case` one of `CASES`.

    Raises:
        ConfigurationError: there is no such case, or the nodes do not start.
    """
    if case and case not in CASES:
        raise ConfigurationError(f"bench teleoperation has no case '{case}'; allowed: {', '.join(CASES)}.")
    for name, arguments in CASES.items():
        if not case or name == case:
            _measure(report, name, arguments, QUICK_EVENTS if quick else n, random.Random(seed))
    report.notes.append("load average {:.1f}, {:.1f}, {:.1f} on {} cores at the end".format(*os.getloadavg(), os.cpu_count()))


def _measure(report: Report, name: str, arguments: tuple[str, ...], n: int, rng: random.Random) -> None:
    prepare_environment()
    use_domain()
    import rclpy

    with launched(arguments, end_timeout_s=END_TIMEOUT_S) as launch:
        rclpy.init()
        try:
            operator = _Operator(launch, rng, beside_policy=arguments[0] == "factory", video="cameras:=true" in arguments)
            operator.begin()
            for _ in progress(range(n), name):
                for act in (operator.move_hand, operator.let_go):
                    operator.play(rng.uniform(*APART_S))
                    act()
        finally:
            rclpy.try_shutdown()
    for what, times in operator.latencies.items():
        if times:
            report.add_latencies(f"{name}: {what}", times)
    asked = n * len(operator.latencies)
    report.add_value(f"{name}: not answered within {LOST_S:g} s", asked - sum(map(len, operator.latencies.values())), "answers", n=asked)
    if operator.video_hz:
        report.add_value(f"{name}: images of {VIDEO}", operator.video_hz, "Hz")


class _Operator:
    """Publishes a gamepad and both hands, clutches closed, and hears what comes of it.

    Attributes:
        latencies: s, by what.
    """

    def __init__(self, launch: subprocess.Popen, rng: random.Random, *, beside_policy: bool, video: bool) -> None:
        import rclpy
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import Joy
        from std_srvs.srv import Trigger

        from humanoid_control.nodes.polled import Polled
        from humanoid_control.ros.qos import create_publisher

        self._launch, self._rng, self._beside_policy, self._rclpy = launch, rng, beside_policy, rclpy
        self._make_joy, self._make_pose, self._trigger = Joy, PoseStamped, Trigger
        self._node = node = rclpy.create_node("operator")
        self._joy, self._hands = create_publisher(node, topics.JOY), [create_publisher(node, topic) for topic in topics.OPERATOR_HANDS]
        self._ears = {topic.name: Polled(node, topic, depth=50) for topic in (topics.JOINT_COMMAND, topics.WHOLE_BODY_TARGET, topics.OPERATOR_TARGET)}
        self._status = Polled(node, topics.POLICY_STATUS)
        self._video = Polled(node, topics.camera_topics(VIDEO)["image_raw/compressed"], raw=True) if video else None
        self._heard: dict[str, deque] = {name: deque(maxlen=500) for name in self._ears}
        self._arm = np.array([index for index, joint in enumerate(RobotModel.load().joint_names)
                              if joint.startswith("left_") and any(part in joint for part in ("shoulder", "elbow", "wrist"))])  # fmt: skip
        self._height, self._squeezed, self._next_s = 0.0, False, 0.0
        self._images, self._played_s = 0, 0.0
        stages = (topics.OPERATOR_TARGET, topics.WHOLE_BODY_TARGET) if beside_policy else (topics.WHOLE_BODY_TARGET,)
        self._trigger_stages = {f"trigger to {topic.name}": topic.name for topic in stages} | {"trigger to gripper's command": topics.JOINT_COMMAND.name}
        self.latencies: dict[str, list[float]] = {"hand to arm's command": [], **{what: [] for what in self._trigger_stages}}

    @property
    def video_hz(self) -> float:
        """Images a second that came."""
        return self._images / self._played_s if self._played_s else 0.0

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
        self._images, self._played_s = 0, 0.0

    def play(self, seconds: float) -> None:
        """Goes on as it is for a while."""
        self._played_s += seconds
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
        for side, hand in enumerate(self._hands):
            message = self._make_pose()
            message.pose.position.x, message.pose.position.y, message.pose.orientation.w = 0.3, 0.2 * (1 - 2 * side), 1.0
            message.pose.position.z = 1.2 + (self._height if side == 0 else 0.0)
            hand.publish(message)
        self._joy.publish(self._make_joy(axes=[0.0, 0.0, 1.0, 0.0, 0.0, trigger], buttons=[0, 0, 0, 0, 1, 1, 0, 0]))

    def _hear(self) -> None:
        for name, ear in self._ears.items():
            self._heard[name].extend((sent_ns, message) for message, sent_ns, _ in ear.take_with_times())
        for status in self._status.take():
            self._drives = (status.tier, status.sub_task, status.problem) == (status.TIER_OPERATOR, TELEOPERATE, "")
        self._images += len(self._video.take()) if self._video is not None else 0

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
