"""The smallest policy that is sure of itself drives; what is too hard for it goes to the next, and comes back.

A policy is itself: whatever asks one policy to carry out an order asks this one, which has several, called tiers, the smallest
first and a person last. A tier gives an order up when it is too unsure for a while, when it does not get on, when it fails,
or when it says that it is done and the next one sees that it is not. The next goes on from where hands and tote are. When what
was too hard is over and the lower tier, which looks on, is sure again, it is given the order back. A person may take over
unasked at any time, with an order or without, and is the only one who gives it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from humanoid_control.footprint import odom_from_footprint
from humanoid_control.mission.factory import Factory, Order
from humanoid_control.teleoperation.handover import HANDED_BACK, WAIT_FOR_PERSON
from humanoid_control.types import WholeBodyTarget
from policies.escalation.person import Person
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
        takes_up: whether it can go on with what a person has begun: a network that has not followed it cannot.
    """

    name: str
    policy: Policy
    limit: float | None = None
    gives_back: bool = True
    takes_up: bool = True


class Escalating:
    """Carries out one order at a time by the smallest tier that can. See `policies.policy.Policy`.

    Attributes:
        name: what it is called on the command line.
        switches: of the order under way.
        held: what was wanted last, which is held until somebody wants something else; who drives the policy sets it where
            another had the say before the order. None: nothing.
    """

    def __init__(self, tiers: Sequence[Tier], *, name: str = "learned") -> None:
        """Takes the tiers, the smallest first.

        Raises:
            ValueError: there is none, or their periods differ.
        """
        if not tiers or len({tier.policy.period_s for tier in tiers}) != 1:
            raise ValueError("tiers must be one or more, of equal periods")
        self.name, self.tiers = name, tuple(tiers)
        self.needs = frozenset().union(*(tier.policy.needs for tier in tiers))
        self.period_s = tiers[0].policy.period_s
        self.switches: list[Switch] = []
        self.held: WholeBodyTarget | None = None
        self._person = next((index for index, tier in enumerate(tiers) if isinstance(tier.policy, Person)), None)
        self._attends = False

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
        self._subtask, self._in_subtask_s, self._doing, self._too_hard_because = "", 0.0, "", ""
        self.held = self._before = None
        self._ended, self._attends = RUNNING, False

    def order_done(self) -> None:
        """See `Policy.order_done`."""
        for tier in self.tiers:
            tier.policy.order_done()

    def takes_over(self) -> bool:
        """Whether a person has taken over, who then needs nothing that the other tiers do."""
        return self._person is not None and self.tiers[self._person].policy.takes_over()

    def act(self, observation: Observation) -> PolicyOutput:
        """See `Policy.act`."""
        now = observation.stamp_s
        if self._since_s is None:
            self._since_s = now
        switched = len(self.switches)
        if self._ended == RUNNING and self._at != self._person and self.takes_over():
            self._switch(self._person, now, "a person takes over")
        output = self.tiers[self._at].policy.act(observation)
        if self._ended == RUNNING:
            if output.outcome == HANDED_BACK:
                self._switch(next((index for index, tier in enumerate(self.tiers[: self._at]) if tier.takes_up), 0), now, "handed back")
                output = self.tiers[self._at].policy.act(observation)
            reason = self._too_hard(output)
            while reason and self._at + 1 < len(self.tiers):
                self._switch(self._at + 1, now, reason)
                self._too_hard_because = reason
                output = self.tiers[self._at].policy.act(observation)
                reason = output.detail or "it failed" if output.outcome == FAILED else ""
            if self._at > 0 and output.outcome == RUNNING and self.tiers[self._at].gives_back:
                output = self._given_back(observation, output)
            self._ended = output.outcome
            if output.outcome == DONE:
                self.order_done()
        self._doing = output.subtask
        problem = f"please take over: {self._too_hard_because}" if output.subtask == WAIT_FOR_PERSON else output.problem
        return replace(output, targets=(self._faded(observation, output),), tier=self.tiers[self._at].name, switches=tuple(self.switches[switched:]),
                       problem=output.detail or problem or self._too_hard_because)  # fmt: skip

    def attend(self, observation: Observation) -> PolicyOutput | None:
        """Between orders: what a person wants who has taken over, without a target if nothing can be held; None while nobody has.

        Args:
            observation: of now; no poses are needed.
        """
        if not self.takes_over():
            self._attends = False
            return None
        if not self._attends:
            self._attends, self._before, self._since_s = True, self.held, observation.stamp_s
        output = self.tiers[self._person].policy.attend(observation)
        if not output.targets and self.held is None:
            return replace(output, tier=self.tiers[self._person].name)
        return replace(output, targets=(self._faded(observation, output),), tier=self.tiers[self._person].name)

    def _faded(self, observation: Observation, output: PolicyOutput) -> WholeBodyTarget:
        """What is wanted now, beginning from what was when another drove; without a target, what was wanted last is held."""
        now = observation.stamp_s
        holds = self.held.still(now) if self.held is not None else WholeBodyTarget(stamp_s=now)
        target = output.targets[0] if output.targets else holds
        share = (now - self._since_s) / FADE_S
        if self._before is not None and share < 1.0:
            target = faded(self._before, target, max(share, 0.0), odom_from_footprint(observation.estimate))
        self.held = target
        return target

    def _too_hard(self, output: PolicyOutput) -> str:
        """Why the tier that drives should not go on; empty if it should."""
        if output.outcome == FAILED:
            return output.detail or "it failed"
        if self._at + 1 == len(self.tiers):
            return ""
        if output.outcome == DONE:
            is_last_word = self.tiers[self._at].limit is None or self._at + 1 == self._person
            return "" if is_last_word else "it says that it is done: looked at again"
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
        changed = output.subtask != self._doing
        escalated = sum(self._index(one.before) < self._index(one.after) != self._person for one in self.switches)
        if escalated >= MOST_ESCALATIONS or not changed or self._sure_s < SURE_S or now - self._since_s < LEAST_S:
            return output
        self._switch(self._at - 1, now, f"sure again: {seen.uncertainty:.2f} of {limit:.2f}", reset=False)
        return seen

    def _index(self, name: str) -> int:
        return next(index for index, tier in enumerate(self.tiers) if tier.name == name)

    def _switch(self, to: int, now: float, reason: str, *, reset: bool = True) -> None:
        self.switches.append(Switch(now, self.tiers[self._at].name, self.tiers[to].name, self._doing, reason))
        self._at, self._since_s, self._before, self._too_hard_because = to, now, self.held, ""
        self._unsure_s = self._sure_s = self._in_subtask_s = 0.0
        if reset:
            self.tiers[to].policy.reset(self._factory, self._order)
