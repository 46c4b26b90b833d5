"""The table of who touches whom."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from humanoid_control.simulation.collision_groups import (
    BELT_END,
    CLUTTER,
    CONAFFINITY,
    CONTYPE,
    FLOOR,
    GROUPS,
    PERSON,
    ROBOT_BODY,
    ROBOT_FOOT,
    ROBOT_HAND,
    STATION,
    TOTE_BOTTOM,
    TOTE_LIP,
    TOTE_SHELL,
    VISUAL,
    assign,
    can_touch,
    group_of,
)


def test_touching_goes_both_ways():
    for first in GROUPS:
        for second in GROUPS:
            assert can_touch(first, second) == can_touch(second, first)


def test_every_group_owns_one_bit():
    bits = [CONTYPE[group] for group in GROUPS]
    assert len(set(bits)) == len(bits)
    assert all(bit.bit_count() == 1 and 0 < bit < 2**31 for bit in bits)
    assert all(group_of(CONTYPE[group]) == group for group in GROUPS)
    with pytest.raises(KeyError):
        group_of(3)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ROBOT_FOOT, FLOOR), (ROBOT_FOOT, STATION), (ROBOT_HAND, TOTE_SHELL), (ROBOT_HAND, TOTE_LIP),
        (ROBOT_HAND, STATION), (ROBOT_HAND, PERSON), (ROBOT_HAND, ROBOT_BODY), (ROBOT_BODY, ROBOT_BODY),
        (ROBOT_BODY, STATION), (ROBOT_BODY, TOTE_SHELL), (ROBOT_BODY, PERSON), (ROBOT_BODY, FLOOR),
        (TOTE_BOTTOM, STATION), (TOTE_BOTTOM, FLOOR), (TOTE_BOTTOM, TOTE_LIP), (TOTE_LIP, TOTE_LIP),
        (TOTE_SHELL, BELT_END), (ROBOT_HAND, CLUTTER),
    ],
)  # fmt: skip
def test_groups_that_must_touch_do(first, second):
    assert can_touch(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (TOTE_SHELL, STATION), (TOTE_SHELL, FLOOR), (TOTE_SHELL, TOTE_SHELL), (TOTE_BOTTOM, TOTE_BOTTOM),
        (FLOOR, STATION), (STATION, STATION), (PERSON, STATION), (PERSON, FLOOR), (ROBOT_FOOT, TOTE_SHELL),
    ],
)  # fmt: skip
def test_groups_that_would_only_cost_time_do_not_touch(first, second):
    assert not can_touch(first, second)


def test_visual_touches_nothing():
    geom = assign(SimpleNamespace(contype=1, conaffinity=1), VISUAL)
    assert geom.contype == geom.conaffinity == CONTYPE[VISUAL] == CONAFFINITY[VISUAL] == 0
