"""One drives at a time, with what came in time and was begun with empty hands."""

from humanoid_control.operator_page.control_seat import LATE_S, SILENT_S, STALLED_S, ControlSeat
from humanoid_control.operator_page.protocol import Input

IDLE = Input(0.0, (0.0,) * 6, (0,) * 8, (None, None))


def given(sent_s, *pressed):
    return Input(sent_s, (0.0,) * 6, tuple(int(button in pressed) for button in range(8)), (None, None))


def test_one_sits_and_another_is_told_who():
    seat = ControlSeat()
    assert not seat.sit_down(1, "Ada", 0.0) and seat.accepts(1, given(0.0), 0.0)
    assert "Ada is in control" in seat.sit_down(2, "Bob", 1.0)
    assert not seat.accepts(2, given(1.0), 1.0) and seat.holder == 1
    seat.stand_up(2)
    assert seat.holder == 1
    seat.stand_up(1)
    assert not seat.sit_down(2, "Bob", 1.0) and seat.name == "Bob"
    assert not seat.accepts(1, given(1.1), 1.1)


def test_whoever_is_silent_may_be_followed_by_another():
    seat = ControlSeat()
    seat.sit_down(1, "Ada", 0.0)
    seat.accepts(1, given(0.0), 0.0)
    assert seat.sit_down(2, "Bob", SILENT_S - 0.1)
    assert not seat.sit_down(2, "Bob", SILENT_S + 0.1) and not seat.accepts(1, given(SILENT_S + 0.2), SILENT_S + 0.2)


def test_what_is_held_from_the_start_or_after_a_stall_moves_nothing():
    seat = ControlSeat()
    seat.sit_down(1, "Ada", 0.0)
    for button in (0, 4, 5):  # walking, and both clutches
        assert not seat.accepts(1, given(0.1, button), 0.1)
    assert seat.too_early == 3 and not seat.has_let_go
    assert seat.accepts(1, given(0.2), 0.2) and seat.accepts(1, given(0.3, 4), 0.3)
    later = 0.3 + STALLED_S + 0.1
    assert not seat.accepts(1, given(later, 4), later)
    assert seat.accepts(1, given(later + 0.02), later + 0.02) and seat.accepts(1, given(later + 0.04, 4), later + 0.04)


def test_what_waited_on_its_way_moves_nothing_and_what_is_new_does():
    seat = ControlSeat()
    seat.sit_down(1, "Ada", 100.0)
    for tick in range(50):
        assert seat.accepts(1, given(0.02 * tick), 100.08 + 0.02 * tick)  # 80 ms away, on another clock
    burst = [seat.accepts(1, given(1.0 + 0.02 * tick), 101.58) for tick in range(26)]  # the network stood still for half a second
    fresh = int(LATE_S / 0.02)
    assert not any(burst[: -fresh - 2]) and all(burst[-fresh + 1 :]) and seat.late == len(burst) - sum(burst)


def test_a_way_that_stays_longer_is_got_used_to():
    seat = ControlSeat()
    seat.sit_down(1, "Ada", 0.0)
    seat.accepts(1, given(0.0), 0.01)
    taken = [seat.accepts(1, given(0.02 * tick), 0.02 * tick + 0.25) for tick in range(1, 400)]
    assert not taken[10] and taken[-1]
