"""The vectors of body and order say what is there."""

from pathlib import Path

import numpy as np
import pytest

from humanoid_control.errors import OrderError
from humanoid_control.mission.factory import Order, load_factory
from humanoid_control.transforms import planar
from perception.poses import PoseSet
from policies.learned.observation_space import GOAL_NAMES, GOAL_SIZE, BodySense, OrderSense

FACTORIES = Path(__file__).resolve().parents[3] / "config" / "factories"


def named(names, values):
    return dict(zip(names, values, strict=True))


def test_state_of_a_robot_that_stands(model, onlooker):
    body = BodySense(model)
    seen = onlooker.observe(0.5)
    state = named(body.names, body.state(seen.state, seen.estimate, seen.control))
    assert len(set(body.names)) == len(body.names) == 94
    assert [state[f"gravity.{axis}"] for axis in "xyz"] == pytest.approx([0, 0, -1])
    assert state["base_height"] == pytest.approx(0.72)
    assert state["left_knee_joint.position"] == seen.state.joint_positions[model.joint_names.index("left_knee_joint")]
    assert state["left_hand.y"] == pytest.approx(-state["right_hand.y"], abs=1e-3) and state["left_hand.y"] > 0.1
    assert 0.5 < state["left_hand.z"] < 1.2
    assert state["left_foot_contact"] == 1.0


def test_velocity_is_told_as_the_robot_sees_it(model, make_onlooker, line_side):
    start = line_side.robot.model_copy(update={"start": (0.0, 0.0, 1.5707963267948966)})
    seen = make_onlooker(line_side.model_copy(update={"robot": start})).observe(0.0)
    moving = type(seen.estimate)(**{**seen.estimate.__dict__, "linear_velocity": np.array([0.0, 0.3, 0.0])})
    body = BodySense(model)
    state = named(body.names, body.state(seen.state, moving, seen.control))
    assert [state["base_velocity.x"], state["base_velocity.y"]] == pytest.approx([0.3, 0.0], abs=1e-9)


def test_goal_is_where_the_file_says_seen_from_the_robot(onlooker, line_side):
    order = OrderSense(line_side)
    order.begin(line_side.orders[0])
    goal = named(GOAL_NAMES, order.goal(onlooker.poses(0.0), onlooker.observe(0.0).estimate))
    assert len(GOAL_NAMES) == len(set(GOAL_NAMES)) == GOAL_SIZE
    assert [goal[f"source_place.{axis}"] for axis in "xyz"] == pytest.approx([0.67, 0.0, 0.70], abs=1e-5)
    # The conveyor stands behind the robot and faces it: what is 8 cm nearer to its front is nearer to the robot.
    assert [goal[f"goal_place.{axis}"] for axis in "xyz"] == pytest.approx([-0.92, 0.0, 0.65], abs=1e-5)
    assert goal["goal_place.cos_yaw"] == pytest.approx(-1.0) and goal["source_place.cos_yaw"] == pytest.approx(1.0)
    assert (goal["tote.klt_3147"], goal["tote.klt_4147"]) == (1.0, 0.0)
    assert order.text == "bring a klt_3147 from a table to a conveyor"


def test_goal_turns_with_the_robot(make_onlooker, line_side):
    order = OrderSense(line_side)
    order.begin(line_side.orders[0])
    start = line_side.robot.model_copy(update={"start": (0.1, -0.2, 0.6)})
    there = make_onlooker(line_side.model_copy(update={"robot": start}))
    goal = named(GOAL_NAMES, order.goal(there.poses(0.0), there.observe(0.0).estimate))
    x, y = (np.linalg.inv(planar(0.1, -0.2, 0.6)) @ [0.67, 0.0, 0.0, 1.0])[:2]
    assert [goal["source_place.x"], goal["source_place.y"]] == pytest.approx([x, y])


def test_a_tote_that_was_moved_is_fetched_from_its_new_place(onlooker, line_side):
    order = OrderSense(line_side)
    order.begin(line_side.orders[0])
    order.done()
    order.begin(Order(tote="t1", to="infeed", at=(-0.08, 0.1)))
    goal = named(GOAL_NAMES, order.goal(onlooker.poses(0.0), onlooker.observe(0.0).estimate))
    assert goal["source_place.x"] == pytest.approx(-0.92)
    assert order.text == "bring a klt_3147 from a conveyor to a table"


def test_a_stack_is_as_high_as_what_is_below():
    factory = load_factory(FACTORIES / "stacks.yaml")
    order = OrderSense(factory)
    stacked = next(order_ for order_ in factory.orders if order_.on is not None)
    for earlier in factory.orders[: factory.orders.index(stacked)]:
        order.begin(earlier)
        order.done()
    order.begin(stacked)
    assert order.place.on == stacked.on
    assert "another tote" in order.text


def test_unseen_surfaces_keep_the_goal_or_refuse(onlooker, line_side):
    order = OrderSense(line_side)
    order.begin(line_side.orders[0])
    estimate = onlooker.observe(0.0).estimate
    with pytest.raises(OrderError, match="infeed/0 was never seen"):
        order.goal(PoseSet(0.0), estimate)
    before = order.goal(onlooker.poses(0.0), estimate)
    assert order.goal(PoseSet(0.0), estimate, before=before) is before


def test_orders_for_what_is_not_there_are_refused(line_side):
    with pytest.raises(OrderError, match="t9"):
        OrderSense(line_side).begin(Order(tote="t9", to="outfeed"))


def test_what_is_set_on_another_tote_goes_to_where_that_one_is_seen(make_onlooker):
    factory = load_factory(FACTORIES / "stack_to_stack.yaml")
    order = OrderSense(factory)
    order.begin(factory.orders[0])
    moved = tuple(tote.model_copy(update={"at": (-0.05, 0.04, 0.1)}) if tote.name == "ground" else tote for tote in factory.totes)
    there = make_onlooker(factory.model_copy(update={"totes": moved}))
    poses, estimate = there.poses(0.0), there.observe(0.0).estimate
    goal = named(GOAL_NAMES, order.goal(poses, estimate))
    assert goal["goal_place.z"] == pytest.approx(0.62 + factory.tote("ground").carrier.stacking_height, abs=2e-3)
    assert [goal["goal_place.x"], goal["goal_place.y"]] == pytest.approx(poses.totes["ground"].base_from_object[:2, 3], abs=5e-3)


def test_how_much_room_a_station_leaves(make_onlooker):
    factory = load_factory(FACTORIES / "conveyor_to_rack.yaml")
    order = OrderSense(factory)
    order.begin(factory.orders[0].model_copy(update={"shelf": 0}))
    there = make_onlooker(factory)
    goal = named(GOAL_NAMES, order.goal(there.poses(0.0), there.observe(0.0).estimate))
    assert goal["source_surface.free_height"] == 1.0
    assert goal["goal_surface.free_height"] == pytest.approx(0.82 - 0.45 - 0.02)
    assert 0.1 < goal["source_surface.leg_room"] < 0.4 and 0.1 < goal["goal_surface.leg_room"] < 0.4
