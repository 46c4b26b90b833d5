"""The networks that ship: whole, described, small; the teacher's carries a tote, the student's sees it."""

import hashlib
import json

import numpy as np
import pytest

from humanoid_control.footprint import odom_from_footprint
from humanoid_control.mission.factory import load_factory
from humanoid_control.nodes.factory_file import find_factory_file
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import inverse, planar, yaw_of
from perception.detector import FILES
from perception.network_file import DEFAULT_FOLDER
from policies.learned import student
from policies.learned.pose_policy import DEFAULT
from policies.registry import make_policy
from policies.runtime import run_episode

MOST_PARAMETERS = 5_000_000


def test_it_is_the_one_its_card_tells_of_and_the_card_says_where_it_comes_from():
    card = json.loads(DEFAULT.with_suffix(".json").read_text())
    assert card["sha256"] == hashlib.sha256(DEFAULT.read_bytes()).hexdigest()
    assert card["parameters"] <= MOST_PARAMETERS
    assert {"data_hash", "demonstrations", "command", "options", "limit", "calibration", "standing", "longest", "following"} <= set(card)
    assert np.isfinite(card["limit"])


def test_the_student_is_what_its_card_tells_of_and_all_its_networks_are_small():
    cards = [json.loads((student.DEFAULT.parent / f"{name}.json").read_text()) for name in (student.NAME, student.SIGHT)]
    for card in cards:
        assert card["sha256"] == hashlib.sha256((student.DEFAULT.parent / card["file"]).read_bytes()).hexdigest()
        assert {"command", "options", "steps", "not_trained_on"} <= set(card)
    eyes = sum(json.loads((DEFAULT_FOLDER / f"{file}.json").read_text())["parameters"] for file in FILES.values())
    assert eyes + sum(card["parameters"] for card in cards) <= MOST_PARAMETERS
    assert cards[0]["teacher_sha256"] == json.loads(DEFAULT.with_suffix(".json").read_text())["sha256"]


class _Enough(Exception):
    """Ends an episode that was watched for long enough."""


def test_the_student_knows_where_its_tote_is_before_it_gets_there():
    model, factory = RobotModel.load(), load_factory(find_factory_file("table_to_conveyor"))
    policy, off = make_policy("student", model), []

    def look(floor, loop, output):
        if output is None or floor.robot.data.time < 4.0:
            return
        base = floor.robot.true_base_pose()
        true = inverse(planar(*base[:2, 3], yaw_of(base))) @ floor.world.tote_pose(floor.robot.data, factory.orders[0].tote)
        believed = inverse(odom_from_footprint(loop.estimate())) @ policy._source.odom_from_tote
        off.append(np.linalg.norm(believed[:3, 3] - true[:3, 3]))
        if floor.robot.data.time > 7.0:
            raise _Enough

    with pytest.raises(_Enough):
        run_episode(model, factory, 3, policy=policy, poses="tracker", on_tick=look)
    assert np.median(off) < 0.015  # m


def test_it_carries_out_an_order_the_same_way_each_time():
    model, factory = RobotModel.load(), load_factory(find_factory_file("line_side"))
    first, again = (run_episode(model, factory, 3, policy=make_policy("learned", model)) for _ in range(2))
    assert first.success
    assert [order.verdict for order in first.orders] == [order.verdict for order in again.orders]
