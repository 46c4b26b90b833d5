"""The network that ships: whole, described, small, and it carries a tote."""

import hashlib
import json

import numpy as np

from humanoid_control.mission.factory import load_factory
from humanoid_control.nodes.factory_file import find_factory_file
from humanoid_control.robot_model import RobotModel
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


def test_it_carries_out_an_order_the_same_way_each_time():
    model, factory = RobotModel.load(), load_factory(find_factory_file("line_side"))
    first, again = (run_episode(model, factory, 3, policy=make_policy("learned", model)) for _ in range(2))
    assert first.success
    assert [order.verdict for order in first.orders] == [order.verdict for order in again.orders]
