"""A person takes over from any policy, asked or unasked, and hands back: faded, held when silent, never by mistake."""

from types import SimpleNamespace

import numpy as np
import pytest

from humanoid_control.teleoperation.handover import DRIVES, HANDED_BACK, TELEOPERATE, WAIT_FOR_PERSON
from humanoid_control.types import FRAME_BASE_FOOTPRINT, FRAME_ODOM, WholeBodyTarget
from policies.escalation.escalating import FADE_S, Escalating, Tier
from policies.escalation.person import PATIENCE_S, Person
from policies.escalation.remote_operator import SILENCE_S, RemoteOperator
from policies.policy import FAILED, RUNNING, PolicyOutput
from policies.registry import make_policy

PERIOD_S = 0.02
ESTIMATE = SimpleNamespace(position=np.array([1.0, 2.0, 0.72]), orientation=np.array([0.0, 0.0, 0.0, 1.0]))


def target(stamp_s, x, frame=FRAME_ODOM):
    hands = np.tile([x, 0.0, 0.8, 0.0, 0.0, 0.0, 1.0], (2, 1))
    return WholeBodyTarget(stamp_s, frame, hand_poses=hands, hand_active=np.ones(2, bool))


class Robotic:
    """A policy whose hands are at one place; it fails when told to."""

    needs, period_s = frozenset({"poses"}), PERIOD_S

    def __init__(self, name, x=1.3):
        self.name, self.x, self.resets, self.fails = name, x, 0, False

    def forget(self):
        pass

    def reset(self, factory, order):
        self.resets += 1

    def order_done(self):
        pass

    def act(self, observation):
        outcome = FAILED if self.fails else RUNNING
        return PolicyOutput((target(observation.stamp_s, self.x),), PERIOD_S, "carry", outcome=outcome, detail="it slipped" if self.fails else "")


class Scene:
    """A policy with a person beside it, and a clock."""

    def __init__(self, *tiers):
        self.operator = RemoteOperator()
        self.policy = Escalating([*tiers, Tier("person", Person(self.operator), gives_back=False)])
        self.policy.reset(None, None)
        self.now = 10.0
        self.operator.hear_word("", 0.0)

    def observation(self):
        self.now = round(self.now + PERIOD_S, 3)
        return SimpleNamespace(stamp_s=self.now, estimate=ESTIMATE)

    def play(self, seconds, x=None, *, with_order=True):
        """Acts for a while; with `x`, where the person wants hands before the robot's middle, they are not silent."""
        outputs = []
        for _ in range(round(seconds / PERIOD_S)):
            observation = self.observation()
            if x is not None:
                self.operator.hear_target(target(self.now - 0.01, x, FRAME_BASE_FOOTPRINT))
            outputs.append((self.policy.act if with_order else self.policy.attend)(observation))
        return outputs

    def say(self, word):
        self.operator.hear_word(word, self.now)


def in_odom(output):
    (wanted,) = output.targets
    return wanted.hand_poses[0, 0] + (ESTIMATE.position[0] if wanted.frame == FRAME_BASE_FOOTPRINT else 0.0)


def test_a_person_takes_over_unasked_and_hands_back_and_neither_jerks():
    scene = Scene(Tier("scripted", Robotic("scripted")))
    outputs = scene.play(1.0)
    scene.say(DRIVES)
    outputs += scene.play(1.0, 0.4)
    scene.say(HANDED_BACK)
    outputs += scene.play(1.0, 0.4)
    assert [output.tier for output in outputs[::50]] == ["scripted", "person", "scripted"]
    x = np.array([in_odom(output) for output in outputs])
    assert x[0] == x[-1] == pytest.approx(1.3) and x[99] == pytest.approx(1.4)
    assert np.abs(np.diff(x)).max() <= 0.1 * PERIOD_S / FADE_S + 1e-9
    assert [(one.before, one.after, one.subtask, one.reason) for one in scene.policy.switches] == [
        ("scripted", "person", "carry", "a person takes over"), ("person", "scripted", TELEOPERATE, "handed back")]  # fmt: skip
    assert not any(output.problem for output in outputs)
    assert scene.policy.tiers[0].policy.resets == 2  # it looks anew at where hands and tote are


def test_who_fails_asks_for_a_person_and_says_why_until_one_comes_who_may_also_tell_it_to_try_again():
    scripted = Robotic("scripted")
    scene = Scene(Tier("scripted", scripted))
    scene.play(0.5)
    scripted.fails = True
    waiting = scene.play(1.0)[-1]
    assert (waiting.tier, waiting.subtask, waiting.problem) == ("person", WAIT_FOR_PERSON, "please take over: it slipped")
    assert in_odom(waiting) == pytest.approx(1.3) and not waiting.targets[0].base_velocity.any()
    scene.say(DRIVES)
    driving = scene.play(1.0, 0.5)[-1]
    assert (driving.subtask, driving.problem) == (TELEOPERATE, "it slipped") and in_odom(driving) == pytest.approx(1.5)
    scene.say(HANDED_BACK)
    assert scene.play(0.1)[-1].subtask == WAIT_FOR_PERSON  # it fails again
    scripted.fails = False
    scene.say(HANDED_BACK)
    assert scene.play(0.1)[-1].tier == "scripted"


def test_what_was_handed_back_before_is_no_answer_to_a_later_question():
    scripted = Robotic("scripted")
    scene = Scene(Tier("scripted", scripted))
    scene.say(DRIVES)
    scene.play(0.5, 0.4)
    scene.say(HANDED_BACK)
    said_s = scene.now
    scene.play(0.5)
    scripted.fails = True
    for _ in range(10):
        scene.operator.hear_word(HANDED_BACK, said_s)
        assert scene.play(0.1)[-1].subtask == WAIT_FOR_PERSON


def test_a_person_who_falls_silent_stays_in_charge_and_the_robot_holds_and_says_so():
    scene = Scene(Tier("scripted", Robotic("scripted")))
    scene.say(DRIVES)
    scene.play(1.0, 0.4)
    outputs = scene.play(1.0)
    silent = [bool(output.problem) for output in outputs]
    assert silent.index(True) * PERIOD_S == pytest.approx(SILENCE_S, abs=2 * PERIOD_S)
    assert "silent for 1.0 s; the robot holds" in outputs[-1].problem and outputs[-1].tier == "person"
    assert np.ptp([in_odom(output) for output in outputs[10:]]) == 0.0
    scene.operator.hear_word("", 0.0)  # their node was started anew: that is no handing back
    assert scene.play(0.1)[-1].tier == "person"
    assert scene.play(0.1, 0.4)[-1].problem == ""
    gave_up = scene.play(PATIENCE_S + 1.0)[-1]
    assert gave_up.outcome == FAILED and "no person drove for 120 s" in gave_up.detail


def test_what_cannot_be_passed_on_is_held_with_the_reason():
    scene = Scene(Tier("scripted", Robotic("scripted")))
    scene.say(DRIVES)
    scene.play(1.0, 0.4)
    scene.operator.refuse_target("The target's pelvis_height is 2 m")
    held = scene.play(0.1)[-1]
    assert "pelvis_height is 2 m; the robot holds" in held.problem and in_odom(held) == pytest.approx(1.4)


def test_an_order_comes_back_to_who_can_take_it_up_and_a_persons_turns_are_no_escalations():
    small, scripted = Robotic("small"), Robotic("scripted")
    scene = Scene(Tier("small", small, 0.5, takes_up=False), Tier("scripted", scripted))
    for _ in range(6):
        scene.say(DRIVES)
        assert scene.play(0.2, 0.4)[-1].tier == "person"
        scene.say(HANDED_BACK)
        assert scene.play(0.2)[0].tier == "scripted"
    scripted.act = lambda observation, act=scripted.act: PolicyOutput(act(observation).targets, PERIOD_S, str(int(observation.stamp_s)))
    assert scene.play(8.0)[-1].tier == "small"  # which looks on, and is sure


def test_between_orders_a_person_drives_from_what_is_held():
    scene = Scene(Tier("scripted", Robotic("scripted")))
    assert scene.policy.attend(scene.observation()) is None
    scene.say(DRIVES)
    assert scene.play(0.1, with_order=False)[-1].targets == ()  # silent so far, and there is nothing to hold
    scene.policy.held = target(scene.now, 1.2)
    scene.say(HANDED_BACK)
    scene.play(0.1, with_order=False)
    scene.say(DRIVES)
    outputs = scene.play(1.0, 0.3, with_order=False)
    x = np.array([in_odom(output) for output in outputs])
    assert x[0] == pytest.approx(1.2) and x[-1] == pytest.approx(1.3) and np.abs(np.diff(x)).max() <= 0.1 * PERIOD_S / FADE_S + 1e-9
    scene.say(HANDED_BACK)
    assert scene.policy.attend(scene.observation()) is None


def test_an_order_that_begins_while_a_person_drives_is_theirs_at_once():
    scene = Scene(Tier("scripted", Robotic("scripted")))
    scene.say(DRIVES)
    assert {output.tier for output in scene.play(0.5, 0.4)} == {"person"}


def test_the_scripted_policy_has_a_person_above_it_only_where_one_may_take_over(model):
    assert make_policy("scripted", model).needs == {"poses"} and not isinstance(make_policy("scripted", model), Escalating)
    attended = make_policy("scripted", model, operator=RemoteOperator())
    assert (attended.name, [tier.name for tier in attended.tiers]) == ("scripted", ["scripted", "person"])
