"""Who drives, and when that changes: nobody unsure goes on, nobody stays in charge for longer than needed, nothing jerks."""

from types import SimpleNamespace

import numpy as np
import pytest

from humanoid_control.teleoperation.handover import HANDED_BACK
from humanoid_control.types import FRAME_ODOM, WholeBodyTarget
from policies.escalation.escalating import FADE_S, MOST_ESCALATIONS, SLOWEST_S, UNSURE_S, Escalating, Tier
from policies.escalation.person import PATIENCE_S, NoOperator, Person, StandIn
from policies.policy import DONE, FAILED, RUNNING, PolicyOutput

PERIOD_S = 0.02


class Made:
    """A policy that does as it is told: a function of time makes its (uncertainty, sub-task, outcome)."""

    needs, period_s = frozenset({"poses"}), PERIOD_S

    def __init__(self, name, says=lambda t: (0.0, "carry", RUNNING), x=0.0) -> None:
        self.name, self.says, self.x, self.resets, self.done = name, says, x, 0, 0

    def forget(self):
        pass

    def reset(self, factory, order):
        self.resets += 1

    def order_done(self):
        self.done += 1

    def act(self, observation):
        uncertainty, subtask, outcome = self.says(observation.stamp_s)
        hands = np.tile([self.x, 0.0, 0.8, 0.0, 0.0, 0.0, 1.0], (2, 1))
        target = WholeBodyTarget(observation.stamp_s, FRAME_ODOM, hand_poses=hands, hand_active=np.ones(2, bool))
        return PolicyOutput((target,), PERIOD_S, subtask, outcome=outcome, uncertainty=uncertainty, detail="cannot" if outcome == FAILED else "")


ESTIMATE = SimpleNamespace(position=np.array([0.0, 0.0, 0.72]), orientation=np.array([0.0, 0.0, 0.0, 1.0]))


def drive(policy, seconds, begin=0.0):
    return [policy.act(SimpleNamespace(stamp_s=round(begin + k * PERIOD_S, 3), estimate=ESTIMATE)) for k in range(round(seconds / PERIOD_S))]


def tiers_of(small, *others):
    policy = Escalating([Tier("small", small, 0.5), *(Tier(other.name, other) for other in others)])
    policy.reset(None, None)
    return policy


def test_who_is_sure_drives_alone():
    policy = tiers_of(Made("small"), Made("scripted"))
    assert {output.tier for output in drive(policy, 5.0)} == {"small"} and not policy.switches


def test_one_odd_look_is_no_reason_but_a_while_is():
    policy = tiers_of(Made("small", lambda t: (0.9 if t == 1.0 or t >= 3.0 else 0.1, "reach", RUNNING)), Made("scripted"))
    assert {output.tier for output in drive(policy, 3.0)} == {"small"}
    outputs = drive(policy, 1.0, begin=3.0)
    assert outputs[-1].tier == "scripted"
    (switch,) = policy.switches
    assert (switch.before, switch.after, switch.subtask) == ("small", "scripted", "reach")
    assert 3.0 + UNSURE_S - 0.05 <= switch.stamp_s <= 3.0 + UNSURE_S + 0.05 and "unsure: 0.90 of 0.50" in switch.reason
    assert "unsure" in outputs[-1].problem


def test_no_number_is_unsure():
    policy = tiers_of(Made("small", lambda t: (np.nan, "reach", RUNNING)), Made("scripted"))
    assert drive(policy, 1.0)[-1].tier == "scripted"


def test_who_fails_is_followed_at_once_and_the_last_ones_failure_is_the_orders():
    policy = tiers_of(Made("small", lambda t: (0.0, "carry", FAILED)), Made("scripted", lambda t: (0.0, "carry", FAILED if t > 1.0 else RUNNING)))
    outputs = drive(policy, 2.0)
    assert outputs[0].tier == "scripted" and policy.switches[0].reason == "cannot"
    assert outputs[-1].outcome == FAILED and outputs[-1].detail == "cannot"


def test_who_does_not_get_on_is_followed():
    policy = tiers_of(Made("small", lambda t: (0.0, "ready", RUNNING)), Made("scripted"))
    assert {output.tier for output in drive(policy, SLOWEST_S - 1.0)} == {"small"}
    drive(policy, 2.0, begin=SLOWEST_S - 1.0)
    assert "ready does not get on" in policy.switches[0].reason


def test_done_is_looked_at_again_by_who_knows():
    small, scripted = Made("small", lambda t: (0.0, "let_go", DONE)), Made("scripted", lambda t: (0.0, "step_back", DONE if t > 2.0 else RUNNING))
    policy = tiers_of(small, scripted)
    outputs = drive(policy, 3.0)
    assert [output.outcome for output in outputs].index(DONE) == pytest.approx(2.02 / PERIOD_S, abs=2)
    assert small.done == scripted.done == 1


def test_the_order_comes_back_at_a_change_of_subtask_when_the_small_one_is_sure_again():
    small = Made("small", lambda t: (0.9 if t < 3.0 else 0.1, "reach", RUNNING))
    scripted = Made("scripted", lambda t: (0.0, "reach" if t < 6.0 else "carry", RUNNING))
    policy = tiers_of(small, scripted)
    outputs = drive(policy, 8.0)
    back = [output.tier for output in outputs].index("small", 100)
    assert back * PERIOD_S == pytest.approx(6.0, abs=0.05) and "sure again" in policy.switches[1].reason


def test_it_does_not_go_to_and_fro_for_ever():
    small = Made("small", lambda t: (0.9 if t % 10.0 < 5.0 else 0.1, "reach", RUNNING))
    scripted = Made("scripted", lambda t: (0.0, str(int(t)), RUNNING))
    policy = tiers_of(small, scripted)
    outputs = drive(policy, 200.0)
    assert sum(switch.after == "scripted" for switch in policy.switches) == MOST_ESCALATIONS and outputs[-1].tier == "scripted"


def test_hands_are_handed_over_without_a_jerk():
    policy = tiers_of(Made("small", lambda t: (0.9, "reach", RUNNING), x=0.0), Made("scripted", x=0.1))
    x = np.array([output.targets[0].hand_poses[0, 0] for output in drive(policy, 2.0)])
    assert x[0] == 0.0 and x[-1] == pytest.approx(0.1)
    assert np.abs(np.diff(x)).max() <= 0.1 * PERIOD_S / FADE_S + 1e-9


def test_a_person_is_asked_last_and_the_robot_holds_what_it_has_until_one_comes():
    small, scripted = Made("small", lambda t: (0.0, "carry", FAILED if t > 1.0 else RUNNING), x=0.3), Made("scripted", lambda t: (0.0, "carry", FAILED))
    driver = Made("driver", lambda t: (0.0, "carry", RUNNING), x=0.4)
    policy = tiers_of(small, scripted, Person(StandIn(driver, comes_after_s=5.0)))
    outputs = drive(policy, 5.5)
    waiting = outputs[-1]
    assert waiting.tier == "person" and waiting.subtask == "wait_for_person" and waiting.outcome == RUNNING
    assert waiting.targets[0].hand_active.all() and waiting.targets[0].hand_poses[0, 0] == pytest.approx(0.3)
    assert not waiting.targets[0].base_velocity.any()
    assert drive(policy, 2.0, begin=5.5)[-1].targets[0].hand_poses[0, 0] == pytest.approx(0.4)


def test_a_person_gives_back_to_the_smallest():
    small = Made("small", lambda t: (0.0, "carry", FAILED if 1.0 < t < 2.0 else RUNNING))
    driver = Made("driver", lambda t: (0.0, "carry", HANDED_BACK if t > 4.0 else RUNNING))
    policy = Escalating([Tier("small", small, 0.5), Tier("person", Person(StandIn(driver, comes_after_s=0.0)), gives_back=False)])
    policy.reset(None, None)
    tiers = [output.tier for output in drive(policy, 6.0)]
    assert tiers[-1] == "small" and tiers[round(3.0 / PERIOD_S)] == "person"


def test_without_a_person_the_order_is_given_up_in_the_end():
    policy = tiers_of(Made("small", lambda t: (0.0, "carry", FAILED)), Person(NoOperator()))
    outputs = drive(policy, PATIENCE_S + 1.0)
    assert outputs[-1].outcome == FAILED and "no person drove for 120 s" in outputs[-1].detail
