"""Expert and learner by turns: who drives when, and that the expert goes on from wherever it got to."""

from pathlib import Path

import numpy as np
import pytest

from humanoid_control.mission.factory import load_factory
from humanoid_control.types import WholeBodyTarget
from policies.data import schema
from policies.data.demonstration import demonstrate
from policies.data.turns import EXPERT_S, LAST_TURN_S, LEARNER_S, MOST_TURNS, Turns
from policies.policy import DONE, RUNNING, PolicyOutput
from policies.registry import make_policy

FACTORIES = Path(__file__).resolve().parents[3] / "config" / "factories"


class Made:
    """A policy that says who it is."""

    needs, period_s = frozenset(), 0.02

    def __init__(self, name: str, done_from_s: float = np.inf) -> None:
        self.name, self.resets, self.done_from_s = name, 0, done_from_s

    def forget(self):
        pass

    def reset(self, factory, order):
        self.resets += 1

    def order_done(self):
        pass

    def watch(self, observation):
        self.watched = observation.stamp_s

    def act(self, observation):
        outcome = DONE if observation.stamp_s >= self.done_from_s else RUNNING
        return PolicyOutput((WholeBodyTarget(observation.stamp_s),), 0.02, self.name, outcome=outcome)


def driven(turns, onlooker, seconds):
    return [turns.act(onlooker.observe(round(0.02 * tick, 3), with_poses=False)).subtask for tick in range(round(seconds / 0.02))]


@pytest.fixture
def onlooker(line_side_file):
    from types import SimpleNamespace

    return SimpleNamespace(observe=lambda now, with_poses: SimpleNamespace(stamp_s=now))


def test_the_learner_begins_the_expert_has_the_last_turn(onlooker):
    expert, learner = Made("expert"), Made("learner")
    turns = Turns(expert, learner, np.random.default_rng(3))
    turns.reset(None, None)
    said = driven(turns, onlooker, LAST_TURN_S + 40.0)
    changes = np.flatnonzero(np.array(said[1:]) != np.array(said[:-1])) + 1
    assert said[0] == "learner" and said[-1] == "expert" and 1 <= len(changes) <= 2 * MOST_TURNS - 1
    assert learner.watched > LAST_TURN_S  # it sees on while the expert drives
    lengths = np.diff([0, *changes]) * 0.02
    assert (lengths[::2] <= LEARNER_S[1] + 0.04).all() and (lengths[::2] >= LEARNER_S[0] - 0.04).all()
    assert (lengths[1::2] <= EXPERT_S[1] + 0.04).all()
    assert expert.resets == 1 + (len(changes) + 1) // 2  # each turn begins with a look at what has become of the order


def test_a_learner_that_believes_to_be_done_is_followed_by_the_expert(onlooker):
    turns = Turns(Made("expert"), Made("learner", done_from_s=1.0), np.random.default_rng(3))
    turns.reset(None, None)
    said = driven(turns, onlooker, 10.0)
    assert said[:50] == ["learner"] * 50 and set(said[50:]) == {"expert"}


def test_without_a_learner_all_turns_are_the_experts(onlooker):
    turns = Turns(Made("expert"), None, np.random.default_rng(3))
    turns.reset(None, None)
    assert set(driven(turns, onlooker, 60.0)) == {"expert"} and turns.is_expert


@pytest.mark.slow
@pytest.mark.parametrize("task", ["table_to_conveyor", "stack_to_stack"])
def test_the_expert_goes_on_with_what_another_began(task):
    """The other is the scripted policy too: whatever it was about when it was cut off, the order is carried out."""
    from humanoid_control.robot_model import RobotModel

    model, factory = RobotModel.load(), load_factory(FACTORIES / f"{task}.yaml")
    (made,) = demonstrate(model, factory, 7, rate_hz=10, noise=0.0, learner=make_policy("scripted", model))
    assert made.outcome == "success", made.detail
    expert = made.columns[schema.EXPERT]
    assert 0.1 < expert.mean() < 0.9 and not expert[0]
    assert (made.columns[schema.CLEAN_STEPS][~expert] == 0).all() and (made.columns[schema.CLEAN_STEPS][expert] > 0).all()
