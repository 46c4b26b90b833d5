"""What is written down of a policy's own account of an order."""

from __future__ import annotations

import pytest

from humanoid_control.errors import TargetError
from humanoid_control.types import WholeBodyTarget
from policies.evaluation.episode_record import OrderTimeline, record_episode
from policies.policy import FAILED, PolicyOutput, Switch
from policies.registry import make_policy


def told(timeline: OrderTimeline, *steps: tuple[str, float]) -> OrderTimeline:
    for subtask, progress in steps:
        timeline.note(PolicyOutput((), 0.02, subtask, progress=progress), 0.004)
    return timeline


def test_time_is_added_up_by_subtask():
    timeline = told(OrderTimeline(), ("walk", 0.1), ("walk", 0.1), ("grip", 0.3), ("walk", 0.5))
    assert timeline.durations_s == pytest.approx({"walk": 0.012, "grip": 0.004})
    assert timeline.retries == 0


def test_going_back_in_the_plan_is_a_retry_however_many_steps_back_it_goes():
    timeline = told(OrderTimeline(), ("walk", 0.1), ("grip", 0.3), ("let_go", 0.2), ("walk", 0.05), ("grip", 0.3), ("lift", 0.4))
    assert timeline.retries == 1
    assert told(timeline, ("let_go", 0.2), ("walk", 0.05)).retries == 2


def test_who_drove_for_how_long_is_told_and_why_that_changed():
    timeline = OrderTimeline()
    change = Switch(3.0, "small", "scripted", "reach", "unsure")
    for k in range(200):
        output = PolicyOutput((), 0.02, "reach", tier="small" if k < 150 else "scripted", switches=(change,) if k == 150 else ())
        for _ in range(5):  # one output lasts for several ticks of control
            timeline.note(output, 0.004)
    assert timeline.tiers_s == pytest.approx({"small": 3.0, "scripted": 1.0})
    assert timeline.switches == [{"time_s": 3.0, "from": "small", "to": "scripted", "subtask": "reach", "reason": "unsure"}]


def test_how_unsure_it_was_is_what_it_was_above_for_a_while():
    timeline = OrderTimeline()
    for uncertainty in [0.1] * 50 + [0.9] * 5 + [0.2] * 50 + [0.4] * 30 + [0.1] * 20:
        timeline.note(PolicyOutput((), 0.02, "reach", uncertainty=uncertainty), 0.02)
    assert timeline.unsure == 0.4  # not the one odd look of 0.1 s


class Failing:
    """A policy that raises or gives up after some calls."""

    name, needs, period_s = "failing", frozenset(), 0.02

    def __init__(self, error: Exception | None = None) -> None:
        self._error, self._calls = error, 0

    def forget(self) -> None:
        pass

    def reset(self, factory, order) -> None:
        pass

    def act(self, observation) -> PolicyOutput:
        self._calls += 1
        if self._calls > 10 and self._error is not None:
            raise self._error
        outcome = {"outcome": FAILED, "detail": "has no idea"} if self._calls > 10 else {}
        return PolicyOutput((WholeBodyTarget(observation.stamp_s),), 0.02, "wonder", **outcome)


def test_a_policy_that_gives_up_is_a_failure_with_its_reason(model, penned_in):
    record = record_episode(model, penned_in, 1, policy=Failing(), poses="oracle")
    assert not record["success"]
    assert (record["orders"][0]["reason"], record["orders"][0]["detail"]) == ("gave_up", "has no idea")
    assert record["orders"][0]["subtask"] == "wonder"


def test_an_error_on_the_way_is_a_failure_and_not_the_campaigns_end(model, penned_in):
    record = record_episode(model, penned_in, 1, policy=Failing(TargetError("no number")), poses="oracle")
    assert not record["success"] and record["drift_m"] is None
    (order,) = record["orders"]
    assert order["reason"] == "error" and order["detail"] == "TargetError: no number" and not order["done"]
    assert record["simulated_s"] > 0.6


def test_a_bug_is_not_a_failed_order(model, penned_in):
    with pytest.raises(ZeroDivisionError):
        record_episode(model, penned_in, 1, policy=Failing(ZeroDivisionError()), poses="oracle")


def test_the_same_seed_ends_in_the_same_state_and_another_does_not(model, penned_in):
    states = [record_episode(model, penned_in, seed, policy=make_policy("scripted", model), poses="oracle")["final_state"]
              for seed in (4, 4, 5)]  # fmt: skip
    assert states[0] == states[1] != states[2]
