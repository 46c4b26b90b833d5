"""Hands under a shelf stay under it; above it, beside it and before it they are free."""

import numpy as np
import pytest

from humanoid_control.mission.factory import load_factory
from humanoid_control.mission.headroom import HAND_ABOVE, HAND_AROUND, Headroom
from humanoid_control.mission.reach import BOARD, free_height
from humanoid_control.nodes.factory_file import find_factory_file
from humanoid_control.mission.station_shapes import SHELF_THICKNESS

FACTORY = load_factory(find_factory_file("rack_to_table"))
RACK = FACTORY.stations[0]
ROOM = Headroom(FACTORY)


def at(x, y, z):
    """(3,) a place behind the rack's front, in `map`."""
    return (RACK.map_from_station @ np.array([RACK.front_x + x, y, z, 1.0]))[:3]


def test_under_the_upper_shelf_a_hand_may_go_up_to_its_board():
    low, high = RACK.surfaces[:2]
    roof = high - SHELF_THICKNESS - HAND_ABOVE
    here = at(0.1, 0.0, low + 0.1)
    assert ROOM.excess(np.array([at(0.1, 0.0, roof - 0.001)]), here[None]) == 0.0
    assert ROOM.excess(np.array([at(0.1, 0.0, roof + 0.03)]), here[None]) == pytest.approx(0.03)
    both = np.array([at(0.1, -0.2, roof + 0.01), at(0.1, 0.2, roof + 0.02)])
    assert ROOM.excess(both, np.array([here, here])) == pytest.approx(0.02)
    assert free_height(RACK, 0) == pytest.approx(high - low - BOARD)


def test_before_above_and_beside_it_hands_are_free():
    low, high = RACK.surfaces[:2]
    here = at(0.1, 0.0, low + 0.1)[None]
    assert ROOM.excess(at(-HAND_AROUND - 0.01, 0.0, high)[None], here) == 0.0
    assert ROOM.excess(at(0.1, 0.0, high + 0.3)[None], at(0.1, 0.0, high + 0.2)[None]) == 0.0
    assert ROOM.excess(at(0.1, 0.5 * RACK.size[1] + 0.2, high)[None], here) == 0.0
