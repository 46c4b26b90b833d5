"""The last tier: a person. Who that is and how they are asked is not known here: an operator's page, or a stand-in."""

from __future__ import annotations

from typing import Protocol

from humanoid_control.mission.factory import Factory, Order
from policies.policy import FAILED, Observation, Policy, PolicyOutput

HANDED_BACK = "handed_back"  # an outcome that a person alone has: the smallest tier goes on
PATIENCE_S = 120.0  # without an answer, after which the order is given up
PERIOD_S = 0.02


class Operator(Protocol):
    """Who can be asked to take over."""

    def begin(self, factory: Factory, order: Order) -> None:
        """An order is too hard for the others: please take over."""

    def answer(self, observation: Observation) -> PolicyOutput | None:
        """What the person wants now; None while nobody drives. `HANDED_BACK` as its outcome gives the order back."""


class NoOperator:
    """Nobody is there. See `Operator`."""

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

    def begin(self, factory: Factory, order: Order) -> None:
        """See `Operator.begin`."""
        self._policy.reset(factory, order)
        self._asked_s: float | None = None

    def answer(self, observation: Observation) -> PolicyOutput | None:
        """See `Operator.answer`."""
        self._asked_s = observation.stamp_s if self._asked_s is None else self._asked_s
        return self._policy.act(observation) if observation.stamp_s - self._asked_s >= self._after_s else None


class Person:
    """The tier of a person: until one answers it has no target, and the robot holds. See `policies.policy.Policy`.

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

    def act(self, observation: Observation) -> PolicyOutput:
        """See `Policy.act`."""
        now = observation.stamp_s
        if not self._asked:
            self._operator.begin(self._factory, self._order)
            self._asked = True
        output = self._operator.answer(observation)
        if output is not None:
            self._waits_since_s = None
            return output
        self._waits_since_s = now if self._waits_since_s is None else self._waits_since_s
        gives_up = now - self._waits_since_s > PATIENCE_S
        detail = f"no person took over within {PATIENCE_S:g} s" if gives_up else ""
        return PolicyOutput((), PERIOD_S, "wait_for_person", "it is too hard for the others", problem=detail or "waits for a person",
                            outcome=FAILED if gives_up else "running", detail=detail)  # fmt: skip
