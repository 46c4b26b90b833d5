"""Two streams brought together by their stamps."""

from perception.matching_states import MEMORY, MatchingStates


def stamped(*stamps):
    return [(stamp, f"at {stamp}") for stamp in stamps]


def test_equal_stamps_are_paired_no_more_often_than_needed():
    matching = MatchingStates(period_ns=10)
    pairs = matching.add(stamped(0, 4, 8, 12, 16, 20), stamped(0, 4, 8, 12, 16, 20))
    assert pairs == [("at 0", "at 0"), ("at 12", "at 12")]
    assert matching.add(stamped(24), stamped(24)) == [("at 24", "at 24")]


def test_the_later_one_of_a_pair_may_come_later():
    matching = MatchingStates(period_ns=10)
    assert matching.add(stamped(0, 12), []) == []
    assert matching.add([], stamped(0)) == [("at 0", "at 0")]
    assert matching.add([], stamped(12)) == [("at 12", "at 12")]


def test_what_was_lost_is_passed_over():
    matching = MatchingStates(period_ns=10)
    assert matching.add(stamped(0, 12, 16), stamped(0, 16)) == [("at 0", "at 0"), ("at 16", "at 16")]


def test_when_time_goes_back_it_begins_anew():
    matching = MatchingStates(period_ns=10)
    matching.add(stamped(1000), stamped(1000))
    assert matching.add(stamped(0), []) == []
    assert matching.add([], stamped(0)) == [("at 0", "at 0")]
    assert matching.add(stamped(12), stamped(12)) == [("at 12", "at 12")]


def test_a_stream_that_stands_still_costs_no_memory():
    matching = MatchingStates(period_ns=1)
    matching.add(stamped(*range(10 * MEMORY)), [])
    assert matching.add([], stamped(10 * MEMORY - 1, 0)) == []  # time went back
    assert sum(map(len, matching._waiting)) <= 2 * MEMORY
