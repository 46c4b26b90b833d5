"""The scripted policy: what it refuses, and how real episodes in the in-process runtime end."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from humanoid_control.errors import OrderError
from humanoid_control.mission.factory import Order, Randomise, RobotPlace, load_factory
from humanoid_control.standing_body import LimbKinematics
from humanoid_control.whole_body_control.controller import standing_posture
from perception.poses import PoseSet
from policies.evaluation.episode_record import EpisodeWatch, record_episode
from policies.policy import FAILED, RUNNING
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from policies import runtime
from policies.registry import make_policy
from policies.runtime import run_episode
from policies.scripted import carry_out_order
from policies.subtasks import SUBTASKS


FACTORIES = Path(__file__).resolve().parents[2] / "config" / "factories"


@pytest.fixture
def policy(model):
    return make_policy("scripted", model)


def act_for(policy, onlooker, seconds: float, *, with_poses: bool = True):
    outputs = []
    for tick in range(round(seconds / policy.period_s)):
        outputs.append(policy.act(onlooker.observe(tick * policy.period_s, with_poses=with_poses)))
    return outputs


# --- what is refused, without a simulation ------------------------------------------------------------------------


@pytest.mark.parametrize("order, named", [
    (Order(tote="t9", to="outfeed"), "t9"),
    (Order(tote="t1", to="nowhere"), "nowhere"),
    (Order(tote="t1", to="outfeed", on="t9"), "t9"),
])  # fmt: skip
def test_an_order_for_what_is_not_there_is_refused_by_name(policy, line_side, order, named):
    with pytest.raises(OrderError, match=named):
        policy.reset(line_side, order)


def test_without_poses_it_stands_and_then_says_what_is_missing(policy, onlooker, line_side):
    policy.reset(line_side, line_side.orders[0])
    outputs = act_for(policy, onlooker, 6.0, with_poses=False)
    assert outputs[0].outcome == RUNNING and outputs[-1].outcome == FAILED
    assert "no pose" in outputs[-1].detail and "t1" in outputs[-1].detail
    assert all(not output.targets[0].base_velocity.any() for output in outputs)


def test_hands_that_another_left_with_a_tote_stay_so_until_it_is_seen(policy, onlooker, line_side, model):
    policy.reset(line_side, line_side.orders[0])
    joints = standing_posture(model)
    joints[[model.joint_names.index(f"{side}_shoulder_pitch_joint") for side in ("left", "right")]] -= 1.0
    for tick in range(20):
        seen = onlooker.observe(0.02 * tick, with_poses=False)
        state = replace(seen.state, joint_positions=joints, gripper_openings=np.full(2, 0.018))
        (target,) = policy.act(replace(seen, state=state)).targets
        assert target.hand_active.all() and not target.gripper_openings.any() and not target.base_velocity.any()
        hands = LimbKinematics(model).base_from_hands(joints)
        np.testing.assert_allclose(target.hand_poses[:, :3], [(onlooker.base @ hand)[:3, 3] for hand in hands], atol=1e-9)


def test_a_tote_never_seen_is_not_walked_to(policy, onlooker, line_side):
    policy.reset(line_side, line_side.orders[0])
    onlooker.sees_totes = False
    outputs = act_for(policy, onlooker, 6.0)
    assert outputs[-1].outcome == FAILED and "t1" in outputs[-1].detail
    assert all(not output.targets[0].base_velocity.any() for output in outputs)


def test_a_failed_order_stays_failed_and_stands(policy, onlooker, line_side):
    policy.reset(line_side, line_side.orders[0])
    onlooker.sees_totes = False
    act_for(policy, onlooker, 6.0)
    onlooker.sees_totes = True
    for output in act_for(policy, onlooker, 1.0):
        assert output.outcome == FAILED and not output.targets[0].base_velocity.any()


def test_it_walks_to_a_tote_it_sees_and_says_so(make_onlooker, policy, line_side):
    onlooker = make_onlooker( line_side.model_copy(update={"robot": RobotPlace(start=(0.0, -1.5, 0.5))}))
    policy.reset(line_side, line_side.orders[0])
    outputs = act_for(policy, onlooker, 0.5)
    assert outputs[-1].outcome == RUNNING and outputs[-1].subtask == "approach"
    assert "t1" in outputs[-1].reason and 0.0 <= outputs[-1].progress < 0.5
    target = outputs[-1].targets[0]
    assert target.stamp_s == pytest.approx(0.48)
    assert np.linalg.norm(target.base_velocity) > 0.1


def test_a_new_order_forgets_how_the_last_one_ended(policy, onlooker, line_side):
    policy.reset(line_side, line_side.orders[0])
    onlooker.sees_totes = False
    act_for(policy, onlooker, 6.0)
    onlooker.sees_totes = True
    policy.reset(line_side, line_side.orders[0])
    assert act_for(policy, onlooker, 0.1)[-1].outcome == RUNNING


# --- episodes in the simulation -----------------------------------------------------------------------------------


class SeenEnough(Exception):
    """Ends an episode once it has shown what it should."""


def put_tote(floor: SimulatedFactory, name: str, moved_by: np.ndarray) -> None:
    """Moves a tote by hand, (3,) m in the map, and leaves it at rest."""
    data, model = floor.robot.data, floor.robot.scene
    joint = model.body(floor.world.tote_bodies[name]).jntadr[0]
    position, velocity = model.jnt_qposadr[joint], model.jnt_dofadr[joint]
    data.qpos[position : position + 3] += moved_by
    data.qvel[velocity : velocity + 6] = 0.0


def test_a_whole_order_is_carried_out(whole_episode):
    """The demo's order, everything of `randomise` drawn, the estimator in the loop."""
    record = whole_episode
    assert record["success"], record["orders"]
    (order,) = record["orders"]
    assert {"reach", "grip", "carry", "set_down", "let_go"} <= set(order["durations_s"])
    assert 10.0 < order["time_s"] < 90.0
    assert sum(order["durations_s"].values()) == pytest.approx(order["time_s"], abs=0.1)
    assert 2.0 < record["walked_m"] < 10.0
    assert record["drift_m"] < 0.1 * record["walked_m"]


def test_a_missed_grip_is_noticed_and_tried_again(model, line_side):
    """Somebody pushes the tote away from the hands that reach for it: they close on nothing, let go, and grip anew."""
    near_the_edge = line_side.totes[0].model_copy(update={"at": (-0.13, 0.0, 0.0)})
    factory = line_side.model_copy(update={"totes": (near_the_edge,), "randomise": Randomise()})
    seen, moved = [], False

    def meddle(floor, loop, output):
        nonlocal moved
        if output is None:
            return
        if not seen or seen[-1] != output.subtask:
            seen.append(output.subtask)
        if output.subtask == "reach" and not moved:
            moved = True
            put_tote(floor, "t1", np.array([0.12, 0.0, 0.0]))
        if moved and seen.count("lift") and output.subtask == "step_back":
            raise SeenEnough

    watch = EpisodeWatch(meddle)
    with pytest.raises(SeenEnough):
        result = run_episode(model, factory, 0, policy=make_policy("scripted", model), on_tick=watch)
        raise AssertionError(f"ended before it held the tote: {result.orders}, after {seen}")
    assert seen.count("reach") == 2 and "let_go" in seen and seen[-2:] == ["lift", "step_back"]
    assert watch.timelines[0].retries == 1
    assert "missed the grip" in watch.timelines[0].problem


def alter_totes(monkeypatch, altered):
    """Has a policy's pose source tell other totes than it sees: what `altered` makes of them."""
    make_source = runtime.pose_source

    class Altered:
        def __init__(self, source):
            self._source = source
            self.update = source.update

        def read(self) -> PoseSet:
            poses = self._source.read()
            return replace(poses, totes=altered(poses.totes))

    monkeypatch.setattr(runtime, "pose_source", lambda *asked, **more: Altered(make_source(*asked, **more)))


def test_a_tote_taken_away_ends_the_order_with_a_reason(model, line_side, monkeypatch):
    """It goes out of sight before the hands are there, and it is not where it was: one try, then a plain failure."""
    monkeypatch.setattr(carry_out_order, "MAX_TRIES", 1)
    taken = False

    alter_totes(monkeypatch, lambda totes: {} if taken else totes)

    def take_away(floor, loop, output):
        nonlocal taken
        if output is not None and output.subtask == "reach" and not taken:
            taken = True
            put_tote(floor, "t1", np.array([0.10, 0.30, 0.0]))

    record = record_episode(model, line_side, 3, policy=make_policy("scripted", model), poses="oracle", listeners=(take_away,))
    (order,) = record["orders"]
    assert taken and not order["done"]
    assert order["reason"] == "gave_up" and order["detail"]
    assert not order["control_stop"]


def test_a_tote_known_badly_is_not_reached_for(model, line_side, monkeypatch):
    def blurred(totes):
        return {name: replace(pose, covariance=np.diag([0.05**2] * 6)) for name, pose in totes.items()}

    alter_totes(monkeypatch, blurred)
    record = record_episode(model, line_side, 3, policy=make_policy("scripted", model), poses="oracle")
    (order,) = record["orders"]
    assert order["reason"] == "gave_up" and "does not see t1 well enough: to 50 mm" in order["detail"]
    assert "reach" not in order["durations_s"]


# --- a tote at the back of a shelf --------------------------------------------------------------------------------


def pull_from_back(**tote):
    factory = load_factory(FACTORIES / "pull_from_back.yaml")
    (far,) = factory.totes
    start = RobotPlace(start=(0.25, 0.0, 0.0))
    return factory.model_copy(update={"totes": (far.model_copy(update=tote),), "randomise": Randomise(), "robot": start})


@pytest.mark.parametrize("mass", [0.6, 2.5])
def test_a_tote_far_back_is_pulled_to_the_edge_before_it_is_gripped(model, mass):
    factory = pull_from_back(mass=mass)
    rack, seen, poses = factory.station("rack_1"), [], []

    def look(floor, loop, output):
        if output is None:
            return
        if not seen or seen[-1] != output.subtask:
            seen.append(output.subtask)
        body = floor.robot.data.body(floor.world.tote_bodies["t1"])
        if output.subtask == "pull":
            poses.append(np.degrees(np.arccos(min(body.xmat[8], 1.0))))
        if seen.count("approach") == 2:
            poses.append(rack.in_station((*body.xpos[:2], 0.0))[0] - rack.front_x)
            raise SeenEnough

    with pytest.raises(SeenEnough):
        result = run_episode(model, factory, 0, policy=make_policy("scripted", model), on_tick=look)
        raise AssertionError(f"ended before the tote was near: {result.orders}, after {seen}")
    *tilts, depth = poses
    assert seen == ["approach", "ready", "reach_lip", "grip_lip", "pull", "let_go", "step_back", "approach"]
    assert max(tilts) < 15.0
    half = factory.totes[0].carrier.width / 2
    assert half < depth < half + 0.12  # wholly on the shelf, close behind its edge


def test_a_tote_near_the_edge_is_not_pulled(make_onlooker, policy):
    factory = pull_from_back(at=(-0.15, 0.0, 0.0))
    policy.reset(factory, factory.orders[0])
    outputs = act_for(policy, make_onlooker(factory), 0.2)
    assert "far back" not in outputs[-1].reason and outputs[-1].next_subtask == "reach"


def test_a_missed_lip_is_noticed_and_tried_again(model):
    """Somebody pushes the tote further back while the hands reach for its lip: they close on nothing, and come again."""
    factory = pull_from_back(at=(0.06, 0.0, 0.0))
    seen, moved = [], False

    def meddle(floor, loop, output):
        nonlocal moved
        if output is None:
            return
        if not seen or seen[-1] != output.subtask:
            seen.append(output.subtask)
        if output.subtask == "reach_lip" and not moved:
            moved = True
            put_tote(floor, "t1", np.array([0.05, 0.0, 0.0]))
        if moved and seen.count("pull"):
            raise SeenEnough

    watch = EpisodeWatch(meddle)
    with pytest.raises(SeenEnough):
        result = run_episode(model, factory, 0, policy=make_policy("scripted", model), on_tick=watch)
        raise AssertionError(f"ended before it pulled: {result.orders}, after {seen}")
    assert seen.count("reach_lip") == 2 and watch.timelines[0].retries == 1
    assert "missed the near lip" in watch.timelines[0].problem


def test_its_words_are_known_to_learned_policies():
    said = set(re.findall(r'_say\(\s*"(\w+)"', Path(carry_out_order.__file__).read_text()))
    said |= set(carry_out_order.BRINGING) - {carry_out_order.LEAVE, carry_out_order.OVER}
    assert {"approach", "grip", "pull", "carry", "set_down"} <= said <= set(SUBTASKS)
