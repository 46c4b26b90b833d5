"""Expert and learner by turns (Kelly et al. 2019, HG-DAgger): demonstrations from where a learner gets to.

A learner is given the states it makes itself, not only those of its teacher: it drives for some seconds, then the expert takes
over whatever has become of the order, goes on for some seconds, and gives it back. What the expert does is learnt.
"""

from __future__ import annotations

import math

import numpy as np

from humanoid_control.mission.factory import Factory, Order
from policies.policy import RUNNING, Observation, Policy, PolicyOutput, Watcher

LEARNER_S, EXPERT_S = (2.0, 14.0), (2.5, 6.0)  # s of a turn
MOST_TURNS = 4  # of the learner in an order
LAST_TURN_S = 50.0  # s of an order, from which on the expert keeps it


class Turns:
    """A policy of two. See `policies.policy.Policy`.

    Args:
        expert: who has the last turn.
        learner: who has the first; without one all turns are the expert's.
        rng: turns are drawn from.

    Attributes:
        is_expert: whether the expert drove last.
    """

    def __init__(self, expert: Policy, learner: Policy | None, rng: np.random.Generator) -> None:
        self._expert, self._learner, self._rng = expert, learner, rng
        self.name, self.period_s = expert.name, expert.period_s
        self.needs = frozenset().union(*(policy.needs for policy in self._policies))
        self.is_expert = True

    def forget(self) -> None:
        """See `Policy.forget`."""
        for policy in self._policies:
            policy.forget()

    @property
    def _policies(self) -> tuple[Policy, ...]:
        return (self._expert,) if self._learner is None else (self._expert, self._learner)

    def reset(self, factory: Factory, order: Order) -> None:
        """See `Policy.reset`."""
        self._factory, self._order = factory, order
        for policy in self._policies:
            policy.reset(factory, order)
        self.is_expert, self._turns = self._learner is None, 0
        self._begun_s: float | None = None
        self._until_s = math.inf

    def act(self, observation: Observation) -> PolicyOutput:
        """See `Policy.act`."""
        now = observation.stamp_s
        if self._begun_s is None:
            self._begun_s = now
            if not self.is_expert:
                self._until_s = now + self._rng.uniform(*LEARNER_S)
        if now >= self._until_s:
            self._change(now)
        if self.is_expert and isinstance(self._learner, Watcher):
            self._learner.watch(observation)
        output = (self._expert if self.is_expert else self._learner).act(observation)
        if not self.is_expert and output.outcome != RUNNING:  # it believes to be done, or gave up: who knows better ends it
            self._change(now)
            self._until_s = math.inf
            output = self._expert.act(observation)
        return output

    def order_done(self) -> None:
        """See `Policy.order_done`."""
        for policy in self._policies:
            policy.order_done()

    def _change(self, now: float) -> None:
        self.is_expert = not self.is_expert
        (self._expert if self.is_expert else self._learner).reset(self._factory, self._order)
        if not self.is_expert:
            self._until_s = now + self._rng.uniform(*LEARNER_S)
            return
        self._turns += 1
        keeps = self._turns >= MOST_TURNS or now - self._begun_s > LAST_TURN_S
        self._until_s = math.inf if keeps else now + self._rng.uniform(*EXPERT_S)
