"""The last tier: a person. Who that is and how they are asked is not known here: an operator's page, or a stand-in."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from humanoid_control.mission.factory import Factory, Order
from humanoid_control.teleoperation.handover import WAIT_FOR_PERSON
from policies.policy import FAILED, RUNNING, Observation, Policy, PolicyOutput

PATIENCE_S = 120.0  # without a target, after which the order is given up
PERIOD_S = 0.02


class Operator(Protocol):
    """Who can be asked to take over, and may do so unasked."""

    def takes_over(self) -> bool:
        """Whether a person has taken over, and has not handed back."""

    def begin(self, factory: Factory, order: Order) -> None:
        """From now on an order is theirs: it is too hard for the others, or they have taken over."""

    def answer(self, observation: Observation) -> PolicyOutput | None:
        """What the person wants now; None while nobody drives. Without targets they drive, but are silent.

        An outcome that a person alone has, `humanoid_control.teleoperation.handover.HANDED_BACK`, gives the order back.
        """


class NoOperator:
    """Nobody is there. See `Operator`."""

    def takes_over(self) -> bool:
        """See `Operator.takes_over`."""
        return False

    def begin(self, factory: Factory, order: Order) -> None:
        """See `Operator.begin`."""

    def answer(self, observation: Observation) -> PolicyOutput | None:
        """See `Operator.answer`."""
        return None


class StandIn:
    """A policy in a person's place, who comes after a while: for tests and simulations. See `Operator`.

    Args:
        policy: what the person would do.
        comes_after_s: s that it takes.
    """

    def __init__(self, policy: Policy, comes_after_s: float = 5.0) -> None:
        self._policy, self._after_s = policy, comes_after_s

    def takes_over(self) -> bool:
        """See `Operator.takes_over`: only when asked."""
        return False

    def begin(self, factory: Factory, order: Order) -> None:
        """See `Operator.begin`."""
        self._policy.reset(factory, order)
        self._asked_s: float | None = None

    def answer(self, observation: Observation) -> PolicyOutput | None:
        """See `Operator.answer`."""
        self._asked_s = observation.stamp_s if self._asked_s is None else self._asked_s
        return self._policy.act(observation) if observation.stamp_s - self._asked_s >= self._after_s else None


class Person:
    """The tier of a person: while none drives it has no target, and the robot holds. See `policies.policy.Policy`.

    Args:
        operator: who is asked.
    """

    name = "person"
    needs: frozenset[str] = frozenset()
    period_s = PERIOD_S

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._asked = False

    def forget(self) -> None:
        """See `Policy.forget`."""

    def reset(self, factory: Factory, order: Order) -> None:
        """See `Policy.reset`."""
        self._factory, self._order = factory, order
        self._asked, self._waits_since_s = False, None

    def order_done(self) -> None:
        """See `Policy.order_done`."""

    def takes_over(self) -> bool:
        """Whether a person has taken over."""
        return self._operator.takes_over()

    def act(self, observation: Observation) -> PolicyOutput:
        """See `Policy.act`."""
        now = observation.stamp_s
        if not self._asked:
            self._operator.begin(self._factory, self._order)
            self._asked = True
        output = self.attend(observation) or PolicyOutput((), PERIOD_S, WAIT_FOR_PERSON, "it is too hard for the others")
        if output.targets or output.outcome != RUNNING:
            self._waits_since_s = None
            return output
        self._waits_since_s = now if self._waits_since_s is None else self._waits_since_s
        if now - self._waits_since_s <= PATIENCE_S:
            return output
        return replace(output, outcome=FAILED, detail=f"no person drove for {PATIENCE_S:g} s")

    def attend(self, observation: Observation) -> PolicyOutput | None:
        """What the person wants, with an order or without; None while nobody drives."""
        return self._operator.answer(observation)
