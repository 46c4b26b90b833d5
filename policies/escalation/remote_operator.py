"""A person elsewhere, who takes over and hands back by messages: who listens to them tells them here. Knows nothing of ROS."""

from __future__ import annotations

from dataclasses import replace

from humanoid_control.mission.factory import Factory, Order
from humanoid_control.teleoperation.handover import DRIVES, HANDED_BACK, TELEOPERATE
from humanoid_control.types import WholeBodyTarget
from policies.escalation.person import PERIOD_S
from policies.policy import Observation, PolicyOutput

SILENCE_S = 0.1  # without a target of a person who drives, from which on the robot holds
SLACK_S = 0.02  # by which what is newest may be ahead of the observation


class RemoteOperator:
    """Whether a person drives, and what they want, as last heard. See `policies.escalation.person.Operator`.

    Who drives does so until they hand back: silence is no handing back, as a policy that went on by itself might hit who is
    about to reach in.
    """

    def __init__(self) -> None:
        self._word: tuple[str, float] | None = None
        self._drives = self._has_handed_back = False
        self._problem = ""
        self._target: WholeBodyTarget | None = None
        self._refused = ""

    def hear_word(self, word: str, said_s: float, problem: str = "") -> None:
        """Takes what the operator's node says, again and again.

        Args:
            word: `DRIVES`, `HANDED_BACK`, or nothing: nobody has said anything to it yet.
            said_s: when it was said, on the robot's clock: the same word of another time was said anew.
            problem: why the person's hands are not followed; empty if they are.
        """
        is_news = (word, said_s) != self._word
        if word == HANDED_BACK and is_news:
            self._has_handed_back = self._word is not None  # what was said before anybody listened is of no order of ours
        if word:
            self._drives = word == DRIVES
        self._word, self._problem = (word, said_s), problem

    def hear_target(self, target: WholeBodyTarget) -> None:
        """Takes what the person wants."""
        self._target, self._refused = target, ""

    def refuse_target(self, reason: str) -> None:
        """Takes note that what the person wants cannot be passed on: the robot holds until something comes that can."""
        self._target, self._refused = None, reason

    def takes_over(self) -> bool:
        """See `Operator.takes_over`."""
        return self._drives

    def begin(self, factory: Factory, order: Order) -> None:
        """See `Operator.begin`."""
        self._has_handed_back = False

    def answer(self, observation: Observation) -> PolicyOutput | None:
        """See `Operator.answer`."""
        if self._has_handed_back and not self._drives:
            self._has_handed_back = False
            return PolicyOutput((), PERIOD_S, TELEOPERATE, outcome=HANDED_BACK)
        if not self._drives:
            return None
        now = observation.stamp_s
        age_s = now - self._target.stamp_s if self._target is not None else float("inf")
        if -SLACK_S <= age_s <= SILENCE_S:
            return PolicyOutput((replace(self._target, stamp_s=now),), PERIOD_S, TELEOPERATE, "a person drives", problem=self._problem)
        silent = f"has been silent for {age_s:.1f} s" if 0.0 < age_s < float("inf") else "is silent so far"
        why = f"the operator's target is refused: {self._refused}" if self._refused else f"the person who drives {silent}"
        return PolicyOutput((), PERIOD_S, TELEOPERATE, "a person drives", problem=f"{why}; the robot holds")
