"""Real nodes in processes of their own, over real DDS, in a domain of their own."""

import signal
import subprocess
import sys
import time
from collections import defaultdict

import pytest
import rclpy

from humanoid_control.ros import topics
from humanoid_control.ros.domain import use_domain
from humanoid_control.ros.environment import environment_for_children, prepare_environment
from humanoid_control.ros.qos import create_subscription

START_TIMEOUT_S = 90.0
MODULES = {
    "control_node": "humanoid_control.nodes.control_node",
    "description_node": "humanoid_control.nodes.description_node",
    "camera_node": "humanoid_control.nodes.camera_node",
    "viewer_node": "humanoid_control.nodes.viewer_node",
    "teleop_node": "humanoid_control.nodes.teleop_node",
    "operator_page_node": "humanoid_control.nodes.operator_page_node",
    "recorder_node": "humanoid_control.nodes.recorder_node",
    "mission_node": "humanoid_control.nodes.mission_node",
    "perception_node": "perception.perception_node",
    "policy_node": "policies.policy_node",
}


class Graph:
    """Nodes of one domain, and a node in this process that listens to them."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = {}
        use_domain()
        prepare_environment()
        rclpy.init()
        self.node = rclpy.create_node("test")
        self.newest = {}
        self.heard = defaultdict(list)
        self.diagnostics = {}
        self.figures = {}
        create_subscription(self.node, topics.DIAGNOSTICS, self._take_diagnostics)

    def _take_diagnostics(self, message):
        for status in message.status:
            self.diagnostics[status.name] = (status.level, status.message)
            self.figures[status.name] = {value.key: value.value for value in status.values}

    def listen(self, *wanted):
        for topic in wanted:
            def take(message, name=topic.name):
                self.newest[name] = message
                self.heard[name].append(message)

            create_subscription(self.node, topic, take)

    def start(self, name, environment=(), **parameters):
        """Starts a node, or finds it running."""
        if name in self.processes and self.processes[name].poll() is None:
            return self.processes[name]
        arguments = [part for key, value in parameters.items() for part in ("-p", f"{key}:={value}")]
        log = (self.folder / f"{name}.log").open("a")
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", MODULES[name], *(["--ros-args", *arguments] if arguments else [])],
            env={**environment_for_children(), "PYTHONFAULTHANDLER": "1", **dict(environment)}, stdout=log, stderr=subprocess.STDOUT)
        return self.processes[name]

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def wait_until(self, is_so, timeout_s=START_TIMEOUT_S, what=""):
        until = time.monotonic() + timeout_s
        while not is_so():
            rclpy.spin_once(self.node, timeout_sec=0.1)
            assert time.monotonic() < until, f"{what or 'not so'} after {timeout_s} s: {self.diagnostics}"

    def spin(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def ask(self, future, timeout_s=START_TIMEOUT_S):
        self.wait_until(future.done, timeout_s, "no answer")
        return future.result()

    def close(self):
        """Ends all nodes; each has to end well unless it was killed or had ended before.

        One after another, so that each is told from the others.
        """
        failures = []
        for name, process in self.processes.items():
            if process.poll() is not None:
                continue
            process.send_signal(signal.SIGCONT)  # a test that failed may have left it stopped
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(20)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # its log then has what each thread was doing
                code = process.wait()
            if code != 0:
                failures.append(f"{name} ended with {code}: {self.log(name)[-4000:]}")
        self.node.destroy_node()
        rclpy.try_shutdown()
        assert not failures, "\n".join(failures)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    graph = Graph(tmp_path_factory.mktemp("graph"))
    yield graph
    graph.close()
