"""The smallest policy that is sure of itself drives; what is too hard for it goes to the next, and comes back.

A policy is itself: whatever asks one policy to carry out an order asks this one, which has several, called tiers, the smallest
first and a person last. A tier gives an order up when it is too unsure for a while, when it does not get on, when it fails,
or when it says that it is done and the next one sees that it is not. The next goes on from where hands and tote are. When what
was too hard is over and the lower tier, which looks on, is sure again, it is given the order back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from humanoid_control.footprint import odom_from_footprint
from humanoid_control.mission.factory import Factory, Order
from humanoid_control.types import WholeBodyTarget
from policies.escalation.person import HANDED_BACK
from policies.learned.chunks import faded
from policies.policy import DONE, FAILED, RUNNING, Observation, Policy, PolicyOutput, Switch

UNSURE_S = 0.4  # s above a tier's limit, before it gives up: one odd look is no reason
SURE_SHARE, SURE_S = 0.6, 1.0  # of the limit, below which the lower tier is sure again, and for how long
LEAST_S = 2.0  # s that a tier drives before it gives back
MOST_ESCALATIONS = 4  # in one order, after which the tier that has it keeps it
FADE_S = 0.3  # s from one tier's targets to the next one's
SLOWEST_S = 20.0  # s in one sub-task without getting on, walking aside
WALKING_S = 45.0
WALKING = frozenset({"approach", "carry"})


@dataclass(frozen=True)
class Tier:
    """One who can drive.

    Attributes:
        name: of the tier.
        policy: who it is.
        limit: its uncertainty above which the next tier is asked; None: it is never unsure.
        gives_back: whether the order is taken from it when the lower tier is sure again; a person gives it back.
    """

    name: str
    policy: Policy
    limit: float | None = None
    gives_back: bool = True


class Escalating:
    """Carries out one order at a time by the smallest tier that can. See `policies.policy.Policy`.

    Attributes:
        switches: of the order under way.
    """

    name = "learned"

    def __init__(self, tiers: Sequence[Tier]) -> None:
        """Takes the tiers, the smallest first.

        Raises:
            ValueError: there is none, or their periods differ.
        """
        if not tiers or len({tier.policy.period_s for tier in tiers}) != 1:
            raise ValueError("tiers must be one or more, of equal periods")
        self.tiers = tuple(tiers)
        self.needs = frozenset().union(*(tier.policy.needs for tier in tiers))
        self.period_s = tiers[0].policy.period_s
        self.switches: list[Switch] = []

    def forget(self) -> None:
        """See `Policy.forget`."""
        for tier in self.tiers:
            tier.policy.forget()

    def reset(self, factory: Factory, order: Order) -> None:
        """See `Policy.reset`."""
        self._factory, self._order = factory, order
        for tier in self.tiers:
            tier.policy.reset(factory, order)
        self._at = 0
        self.switches = []
        self._since_s: float | None = None
        self._unsure_s = self._sure_s = 0.0
        self._subtask, self._in_subtask_s = "", 0.0
        self._last: WholeBodyTarget | None = None
        self._before: WholeBodyTarget | None = None
        self._ended = RUNNING

    def order_done(self) -> None:
        """See `Policy.order_done`."""
        for tier in self.tiers:
            tier.policy.order_done()

    def act(self, observation: Observation) -> PolicyOutput:
        """See `Policy.act`."""
        now = observation.stamp_s
        if self._since_s is None:
            self._since_s = now
        switched = len(self.switches)
        output = self.tiers[self._at].policy.act(observation)
        if self._ended == RUNNING:
            reason = self._too_hard(output)
            while reason and self._at + 1 < len(self.tiers):
                self._switch(self._at + 1, now, reason)
                output = self.tiers[self._at].policy.act(observation)
                reason = output.detail or "it failed" if output.outcome == FAILED else ""
            if output.outcome == HANDED_BACK:
                self._switch(0, now, "handed back")
                output = self.tiers[0].policy.act(observation)
            elif self._at > 0 and output.outcome == RUNNING and self.tiers[self._at].gives_back:
                output = self._given_back(observation, output)
            self._ended = output.outcome
            if output.outcome == DONE:
                self.order_done()
        holds = self._last.still(now) if self._last is not None else WholeBodyTarget(stamp_s=now)
        target = output.targets[0] if output.targets else holds
        share = (now - self._since_s) / FADE_S
        if self._before is not None and share < 1.0:
            target = faded(self._before, target, max(share, 0.0), odom_from_footprint(observation.estimate))
        self._last = target
        return replace(output, targets=(target,), tier=self.tiers[self._at].name, switches=tuple(self.switches[switched:]),
                       problem=output.problem or (self.switches[-1].reason if self._at > 0 and self.switches else ""))  # fmt: skip

    def _too_hard(self, output: PolicyOutput) -> str:
        """Why the tier that drives should not go on; empty if it should."""
        if output.outcome == FAILED:
            return output.detail or "it failed"
        if self._at + 1 == len(self.tiers):
            return ""
        if output.outcome == DONE:
            return "" if self.tiers[self._at].limit is None else "it says that it is done: looked at again"
        if output.subtask != self._subtask:
            self._subtask, self._in_subtask_s = output.subtask, 0.0
        self._in_subtask_s += self.period_s
        limit = self.tiers[self._at].limit
        if limit is None:
            return ""
        if self._in_subtask_s > (WALKING_S if output.subtask in WALKING else SLOWEST_S):
            return f"{output.subtask} does not get on for {self._in_subtask_s:.0f} s"
        self._unsure_s = self._unsure_s + self.period_s if not output.uncertainty <= limit else 0.0  # NaN is unsure
        return f"unsure: {output.uncertainty:.2f} of {limit:.2f}" if self._unsure_s >= UNSURE_S else ""

    def _given_back(self, observation: Observation, output: PolicyOutput) -> PolicyOutput:
        """The output of the lower tier, if it may have the order back; it looks on."""
        lower, now = self.tiers[self._at - 1], observation.stamp_s
        seen = lower.policy.act(observation)
        if seen.outcome != RUNNING:
            lower.policy.reset(self._factory, self._order)
            self._sure_s = 0.0
            return output
        limit = lower.limit if lower.limit is not None else np.inf
        self._sure_s = self._sure_s + self.period_s if seen.uncertainty < SURE_SHARE * limit else 0.0
        changed = output.subtask != self._subtask
        self._subtask = output.subtask
        escalated = sum(self._index(one.after) > self._index(one.before) for one in self.switches)
        if escalated >= MOST_ESCALATIONS or not changed or self._sure_s < SURE_S or now - self._since_s < LEAST_S:
            return output
        self._switch(self._at - 1, now, f"sure again: {seen.uncertainty:.2f} of {limit:.2f}", reset=False)
        return seen

    def _index(self, name: str) -> int:
        return next(index for index, tier in enumerate(self.tiers) if tier.name == name)

    def _switch(self, to: int, now: float, reason: str, *, reset: bool = True) -> None:
        self.switches.append(Switch(now, self.tiers[self._at].name, self.tiers[to].name, self._subtask, reason))
        self._at, self._since_s, self._before = to, now, self._last
        self._unsure_s = self._sure_s = self._in_subtask_s = 0.0
        if reset:
            self.tiers[to].policy.reset(self._factory, self._order)
