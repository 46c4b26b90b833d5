"""What a learned policy is not left to learn: when a sub-task is over, what may follow, and that hands hold something."""

import numpy as np
import pytest

from humanoid_control.errors import OrderError
from humanoid_control.mission.factory import load_factory
from humanoid_control.nodes.factory_file import find_factory_file
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import planar
from humanoid_control.types import BaseEstimate, WholeBodyTarget
from humanoid_control.whole_body_control.controller import standing_posture
from policies.learned.nearing import FARTHEST, SPEED, Nearing, lip_distance
from policies.learned.pose_policy import MISSED_S, OVERDUE_S, PosePolicy
from policies.learned.pose_space import Memory
from policies.scripted.grips import hand_at_near_lip
from policies.scripted.motions import OPEN
from policies.scripted.pulling import Pull
from policies.scripted.stepping_back import LONGEST_S, StepBack
from policies.subtasks import SUBTASKS

LONG_S, NOW = 100.0, 10.0


class Look:
    """Of an observation, the fingers."""

    def __init__(self, openings):
        self.state = self
        self.gripper_openings = np.array(openings)


@pytest.fixture(scope="module")
def policy():
    made = PosePolicy(RobotModel.load())
    factory = load_factory(find_factory_file("stack_to_stack"))
    made.reset(factory, factory.orders[0])
    return made


def following(policy, subtask, elapsed_s, off=(0.0, 0.0, 0.0)):
    """The sub-tasks that may come after one that has lasted so long, with a tote so many m off its place."""
    policy._memory = Memory(SUBTASKS.index(subtask), elapsed_s)
    policy._place = np.array([0.0, 0.0, 0.8])
    policy._source.odom_from_tote = planar(off[0], off[1], 0.0, 0.8 + off[2])
    return {SUBTASKS[k] for k in np.flatnonzero(policy._may_follow(NOW)[0])}


def test_no_sub_task_in_which_it_stands_lasts_for_ever(policy):
    assert following(policy, "lift", 1.0) == {"lift", "step_back"}
    assert following(policy, "lift", LONG_S) == {"step_back"}
    assert "carry" in following(policy, "carry", LONG_S)  # walking takes as long as the way is


def test_it_walks_back_with_no_tote_that_hardly_rose(policy):
    policy._lifts_from = 0.8
    assert following(policy, "lift", 1.0, off=(0.0, 0.0, 0.02)) == {"lift"}
    assert following(policy, "lift", 1.0, off=(0.0, 0.0, 0.08)) == {"lift", "step_back"}
    assert following(policy, "lift", LONG_S, off=(0.0, 0.0, 0.02)) == {"step_back"}  # not for ever
    policy._lifts_from = 0.0


def test_a_tote_is_let_go_on_its_place_and_nowhere_else(policy):
    assert following(policy, "set_down", OVERDUE_S) == {"set_down", "let_go"}
    assert following(policy, "set_down", LONG_S) == {"let_go"}
    assert following(policy, "set_down", LONG_S, off=(0.0, 0.0, 0.1)) == {"set_down", "let_go"}  # in the air: not yet
    assert following(policy, "set_down", LONG_S, off=(0.03, 0.0, 0.01)) == {"set_down"}  # beside the rim that takes it


def test_hands_that_closed_on_nothing_are_told(policy):
    policy._memory = Memory(SUBTASKS.index("grip"), MISSED_S)
    policy._check_grip(Look((0.018, 0.019)))
    for openings in ((0.006, 0.006), (0.018, 0.005), (0.018, 0.06)):
        with pytest.raises(OrderError, match="hands did not get hold of upper: .* mm between the pads"):
            policy._check_grip(Look(openings))
    policy._memory = Memory(SUBTASKS.index("grip"), 0.5 * MISSED_S)
    policy._check_grip(Look((0.09, 0.09)))  # they are closing


@pytest.mark.parametrize("is_to_be_pulled, comes", [(False, "reach"), (True, "reach_lip")])
def test_hands_reach_where_it_stands_before_the_tote_and_for_what_the_tote_needs(policy, is_to_be_pulled, comes):
    policy._is_to_be_pulled = is_to_be_pulled
    policy._walking.begin()
    assert following(policy, "ready", LONG_S) == {"ready"}
    policy._walking._arrived_s = NOW - 1.0
    assert following(policy, "ready", 1.0) == {comes}
    assert following(policy, "align", 1.0) == {"set_down"}
    policy._walking.begin()
    assert following(policy, "align", 1.0) == {"align"}


def test_hands_close_on_the_near_lip_once_they_have_been_brought_onto_it(policy):
    policy._off_lip = 2 * FARTHEST
    assert following(policy, "reach_lip", 1.0) == {"reach_lip"}
    policy._off_lip = 0.5 * FARTHEST
    assert following(policy, "reach_lip", 1.0) == {"reach_lip", "grip_lip"}
    tote = planar(1.0, 0.5, 0.3, 0.8)
    hands = [tote @ hand_at_near_lip(policy._carrier, side, off=0.05) for side in (0, 1)]
    policy._nearing = Nearing(hands, tote, policy._carrier)
    assert following(policy, "reach_lip", LONG_S) == {"reach_lip"}
    before = hands
    while not policy._nearing.is_over:
        hands = policy._nearing.step(0.02)
        assert all(np.linalg.norm(now[:3, 3] - then[:3, 3]) <= SPEED * 0.02 + 1e-9 for now, then in zip(hands, before))
        before = hands
    assert lip_distance(hands, tote, policy._carrier) < 1e-9
    assert following(policy, "reach_lip", 1.0) == {"grip_lip"}
    policy._nearing = None


def test_fingers_are_open_until_the_lip_is_between_them(policy):
    closing = WholeBodyTarget(stamp_s=NOW, gripper_openings=np.zeros(2))
    assert (policy._reaching_lip(closing).gripper_openings == OPEN).all()


def test_hands_that_do_not_come_to_the_near_lip_are_told(policy):
    policy._memory = Memory(SUBTASKS.index("reach_lip"), LONG_S)
    policy._source.odom_from_tote = planar(2.0, 0.0, 0.0, 0.8)
    look = Look((0.09, 0.09))
    look.joint_positions = standing_posture(RobotModel.load())
    look.estimate = BaseEstimate(0.0, np.array([0.0, 0.0, 0.72]), np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3), np.zeros(3), np.eye(6), np.ones(2, bool), np.zeros(2))
    with pytest.raises(OrderError, match="did not come to the near lip of upper: one is .* mm from it"):
        policy._check_reach(look, np.eye(4))


def test_the_near_lip_is_pulled_once_both_hands_hold_it(policy):
    policy._memory = Memory(SUBTASKS.index("grip_lip"), 0.5)
    policy._check_grip(Look((0.09, 0.02)))
    assert following(policy, "grip_lip", 0.5) == {"grip_lip"}
    policy._check_grip(Look((0.021, 0.023)))
    assert following(policy, "grip_lip", 0.5) == {"pull"}
    policy._memory = Memory(SUBTASKS.index("grip_lip"), MISSED_S)
    with pytest.raises(OrderError, match="hands did not get hold"):
        policy._check_grip(Look((0.005, 0.023)))


def test_it_steps_back_once_its_fingers_are_open(policy):
    policy._memory = Memory(SUBTASKS.index("let_go"), 1.0)
    policy._check_grip(Look((0.09, 0.03)))
    assert following(policy, "let_go", LONG_S) == {"let_go"}
    policy._check_grip(Look((0.09, 0.08)))
    assert following(policy, "let_go", 1.0) == {"let_go", "step_back"}
    assert following(policy, "let_go", LONG_S) == {"step_back"}


def test_it_steps_back_straight_and_bent_as_before_and_nothing_follows_till_then(policy):
    bent = WholeBodyTarget(stamp_s=NOW, torso_pitch=0.4, pelvis_height=0.66, gripper_openings=np.full(2, OPEN))
    policy._step_back, policy._leaves_with, now = StepBack(np.zeros(3), 0.3, NOW), bent, NOW
    x = 0.0
    while policy._step_back is not None:
        assert following(policy, "step_back", LONG_S) == {"step_back"}
        target = policy._stepping_back(WholeBodyTarget(stamp_s=now), planar(x, 0.0, 0.0), now)
        assert target.torso_pitch == 0.4 and target.pelvis_height == 0.66 and target.stamp_s == now
        x += 0.02 * target.base_velocity[0]
        now += 0.02
    assert -0.31 < x <= -0.3 and not target.base_velocity.any()
    assert "carry" in following(policy, "step_back", 1.0)


def test_a_step_back_that_something_holds_ends():
    held = StepBack(np.zeros(3), 0.3, NOW)
    assert held.velocity(np.array([0.0, 0.0, 0.1]), NOW + 1.0)[2] < 0.0  # turns back to its heading
    assert held.velocity(np.zeros(3), NOW + LONGEST_S) is None


def test_a_pull_goes_on_to_its_end_and_no_further(policy):
    policy._pull = Pull(np.zeros(3), (np.eye(4), np.eye(4)), 0.1)
    assert following(policy, "pull", LONG_S) == {"pull"}
    while not policy._pull.is_over:
        policy._pull.step(np.zeros(3), 0.02)
    after = following(policy, "pull", 1.0)
    policy._pull = None
    assert "let_go" in after and "pull" not in after
