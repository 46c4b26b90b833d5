"""Which orders are taken, and what becomes of a tote whose order failed."""

import pytest

from humanoid_control.errors import OrderError
from humanoid_control.installation import share_folder
from humanoid_control.mission.factory import Order, load_factory
from humanoid_control.mission.mission import Mission

THERE = Order(tote="t1", to="outfeed", at=(-0.08, 0.0))
BACK = Order(tote="t1", to="infeed", at=(-0.08, 0.0))


@pytest.fixture
def mission():
    return Mission(load_factory(share_folder() / "config/factories/line_side.yaml"))


def test_orders_are_taken_one_at_a_time(mission):
    assert mission.reason_against(THERE) == ""
    mission.begin(THERE)
    assert "busy with t1 to outfeed" in mission.reason_against(BACK)
    with pytest.raises(OrderError, match="busy"):
        mission.begin(BACK)
    mission.finish(done=True)
    assert mission.placements["t1"].station == "outfeed"
    assert mission.reason_against(BACK) == ""


@pytest.mark.parametrize(("order", "words"), [
    (Order(tote="t11", to="outfeed"), "unknown tote 't11'; known: t1; did you mean 't1'"),
    (Order(tote="t1", to="outfed"), "did you mean 'outfeed'"),
    (Order(tote="t1", to="rack_1", shelf=5), "shelf"),
    (Order(tote="t1", to="outfeed", at=(0.0, 9.0)), "wholly on outfeed"),
    (Order(tote="t1", to="outfeed", on="t1"), "itself")])  # fmt: skip
def test_an_impossible_order_says_what_is_wrong(mission, order, words):
    assert words in mission.reason_against(order)
    assert "\n" not in mission.reason_against(order)


def test_no_free_place_is_a_reason(tmp_path):
    text = (share_folder() / "config/factories/line_side.yaml").read_text()
    text = text.replace("size: [0.5, 1.6], height: 0.65", "size: [0.5, 0.45], height: 0.65")
    totes = text.replace("zones:", "  - {name: t2, kind: klt_3147, station: outfeed, at: [-0.08, 0.0, 0.0], mass: 1.0, colour: [1, 0, 0]}\nzones:")
    head, _, tail = totes.partition("orders:")
    path = tmp_path / "full.yaml"
    path.write_text(head + "orders:\n  - {tote: t1, to: rack_1, shelf: 1}\n" + tail[tail.index("randomise:"):])
    mission = Mission(load_factory(path))
    assert "no room for t1 on station outfeed" in mission.reason_against(Order(tote="t1", to="outfeed"))


def test_a_tote_left_in_the_hands_blocks_until_a_person_confirms(mission):
    mission.begin(THERE)
    mission.finish(done=False, reason="cancelled", in_hands=True, has_moved=True)
    assert "t1 is still in the robot's hands" in mission.reason_against(BACK)
    mission.unblock()
    assert mission.reason_against(THERE) == ""


def test_a_tote_that_may_lie_anywhere_is_not_fetched(mission):
    mission.begin(THERE)
    mission.finish(done=False, reason="dropped", has_moved=True)
    assert "nobody knows where t1 is" in mission.reason_against(THERE)
    mission.unblock()
    assert mission.reason_against(THERE) == ""


def test_an_order_that_failed_before_the_tote_was_touched_can_be_sent_again(mission):
    mission.begin(THERE)
    mission.finish(done=False, reason="cancelled")
    assert mission.reason_against(THERE) == ""
