"""What one call of a policy costs: CPU time of `act` on one core, while an order is carried out in simulation.

A learned policy thinks twice a second and plays its chunk in between; calls in which a network runs are a row of their own, and the
networks alone: a student's look at images too, and a call may have images of several cameras. The scripted policy carries out the same
order, as a measure.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnxruntime

from humanoid_control.bench.report import Report, progress
from humanoid_control.mission.factory import load_factory
from humanoid_control.nodes.factory_file import find_factory_file
from humanoid_control.robot_model import RobotModel
from policies.policy import Observation, Policy, PolicyOutput
from policies.registry import make_policy
from policies.runtime import run_episode

FACTORY, SEED = "table_to_conveyor", 1


class Timed:
    """A policy whose calls are timed. See `policies.policy.Policy`.

    Args:
        policy: whose.
        networks: s of CPU time of each run of a network so far.

    Attributes:
        act_s: CPU time of each call,
        thinks: whether a network ran in it.
    """

    def __init__(self, policy: Policy, networks: list[float]) -> None:
        self._policy, self._networks = policy, networks
        self.act_s: list[float] = []
        self.thinks: list[bool] = []
        self.name, self.needs, self.period_s = policy.name, policy.needs, policy.period_s
        self.forget, self.reset, self.order_done = policy.forget, policy.reset, policy.order_done

    def act(self, observation: Observation) -> PolicyOutput:
        """See `Policy.act`."""
        runs, began = len(self._networks), time.thread_time()
        output = self._policy.act(observation)
        self.act_s.append(time.thread_time() - began)
        self.thinks.append(len(self._networks) > runs)
        return output


@contextmanager
def networks_timed() -> Iterator[list[float]]:
    """While it is open: s of CPU time of each run of a network."""
    seconds: list[float] = []
    run = onnxruntime.InferenceSession.run

    def timed(*arguments, **named):
        began = time.thread_time()
        result = run(*arguments, **named)
        seconds.append(time.thread_time() - began)
        return result

    onnxruntime.InferenceSession.run = timed
    try:
        yield seconds
    finally:
        onnxruntime.InferenceSession.run = run


def run(report: Report, *, quick: bool) -> None:
    """Adds the rows: see the module.

    Args:
        report: of this benchmark.
        quick: makes no difference: it is one order.

    Raises:
        ConfigurationError: the network that ships is unfit.
    """
    model, factory = RobotModel.load(), load_factory(find_factory_file(FACTORY))
    for name in progress(("teacher", "student", "scripted"), "orders"):
        with networks_timed() as networks:
            clock = Timed(make_policy(name, model), networks)
            result = run_episode(model, factory, SEED, policy=clock)
        calls, thinks = np.array(clock.act_s), np.array(clock.thinks)
        if networks:
            report.add_times(f"{name}: networks alone, each run", networks, peer=False)
            report.add_times(f"{name}: act, with a network", calls[thinks], peer=False)
        report.add_times(f"{name}: act", calls, peer=name == "scripted")
        report.notes.append(f"{name}: {sum(order.verdict.done for order in result.orders)} of {len(factory.orders)} orders done; "
                            f"{calls.sum() / result.simulated_s:.1%} of a core")  # fmt: skip
