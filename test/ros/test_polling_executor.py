"""Nodes that look for their messages themselves, in a real process: looks, timers, and services that wait for what a look brings."""

import signal
import subprocess
import sys

PROGRAM = """
import sys
import rclpy.node
from rclpy.task import Future
from std_srvs.srv import Trigger
from humanoid_control.ros.domain import use_domain
from humanoid_control.ros.node_main import run_node
from humanoid_control.ros.polling_executor import PollingExecutor

class Trial(rclpy.node.Node):
    def __init__(self):
        super().__init__("trial")
        self.looks, self.ticks, self.asked, self.answer = 0, 0, None, None
        self.create_timer(0.1, self.tick)
        self.create_service(Trigger, "wait", self.wait)
        self.client = self.create_client(Trigger, "wait")

    def look(self):
        self.looks += 1
        if "fail" in sys.argv:
            raise ZeroDivisionError("a look went wrong")
        if self.answer is None and self.client.service_is_ready():
            self.answer = self.client.call_async(Trigger.Request())
        if self.asked is not None and not self.asked.done():
            self.asked.set_result("seen by a look")

    def tick(self):
        self.ticks += 1
        if self.answer is not None and self.answer.done():
            print(self.answer.result().message, self.looks > 3 * self.ticks, flush=True)

    async def wait(self, request, response):
        self.asked = Future(executor=self.executor)
        response.message = await self.asked
        return response

use_domain()
sys.exit(run_node(Trial, make_executor=lambda: PollingExecutor(0.005)))
"""


def start(*arguments):
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_node_looks_more_often_than_its_timers_come_and_its_services_may_wait_for_a_look():
    process = start()
    assert process.stdout.readline() == "seen by a look True\n", process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


def test_what_a_look_raises_ends_the_node():
    process = start("fail")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.endswith("ZeroDivisionError: a look went wrong\n")
