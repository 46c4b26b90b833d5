"""The fence around stations: nobody walks into one, whoever is clear of all walks as they wish, and the way back is free."""

import numpy as np
import pytest
from shapely.affinity import affine_transform
from shapely.geometry import box

from humanoid_control.mission.factory import load_factory
from humanoid_control.mission.reach import LEG_HALF_WIDTH, UPRIGHT_HEIGHT, leg_distance, leg_reach
from humanoid_control.mission.station_shapes import solid_parts
from humanoid_control.mission.walking_fence import BEHIND, BRAKES_S, HIGHEST, TRUNK, WalkingFence
from humanoid_control.nodes.factory_file import find_factory_file
from humanoid_control.transforms import planar

FACTORY = load_factory(find_factory_file("rack_to_table"))
FENCE = WalkingFence(FACTORY)
RNG = np.random.default_rng(5)
PLACES = RNG.uniform([-1.3, -1.3, -3.2], [1.3, 1.3, 3.2], (150, 3))
VELOCITIES = RNG.uniform([-0.4, -0.2, -0.8], [0.4, 0.2, 0.8], (60, 3))


def at(place):
    """(4, 4) a place relative to the first station's front, in `map`."""
    station = FACTORY.stations[0]
    return station.map_from_station @ planar(station.front_x + place[0], place[1], place[2])


def true_gap(map_from_footprint):
    """Metres between the outlines of legs and of the nearest part, by another library; 0 where they overlap."""

    def placed(shape, pose):
        return affine_transform(shape, [pose[0, 0], pose[0, 1], pose[1, 0], pose[1, 1], pose[0, 3], pose[1, 3]])

    nearest = np.inf
    for station in FACTORY.stations:
        for part in solid_parts(station):
            if part.low[2] <= HIGHEST:
                ahead = max(leg_reach(part.low[2], part.high[2], UPRIGHT_HEIGHT), TRUNK)
                legs = placed(box(-BEHIND, -LEG_HALF_WIDTH, ahead, LEG_HALF_WIDTH), map_from_footprint)
                nearest = min(nearest, legs.distance(placed(box(*part.low[:2], *part.high[:2]), station.map_from_station)))
    return nearest


@pytest.mark.parametrize("place", PLACES)
def test_a_gap_is_never_told_larger_than_it_is_and_an_overlap_never_as_a_gap(place):
    told, _ = FENCE.gap(at(place), UPRIGHT_HEIGHT)
    true = true_gap(at(place))
    assert told <= true + 1e-9 or not np.isfinite(told)
    assert (told > 0.0) == (true > 0.0) or abs(told) < 1e-6


@pytest.mark.parametrize("place, velocity", list(zip(PLACES, VELOCITIES)))
def test_who_heeds_it_walks_into_nothing_and_is_not_driven(place, velocity):
    pose = at(place)
    before, _ = FENCE.gap(pose, UPRIGHT_HEIGHT)
    for _ in range(100):  # two seconds
        allowed, _ = FENCE.limited(velocity, pose, UPRIGHT_HEIGHT)
        assert np.linalg.norm(allowed * [1, 1, 0.3]) <= np.linalg.norm(velocity * [1, 1, 0.3]) + 1e-9
        pose = pose @ planar(*(0.02 * allowed))
    assert FENCE.gap(pose, UPRIGHT_HEIGHT)[0] > min(before, 0.0) - 0.004


def test_far_from_everything_and_on_the_way_back_a_velocity_stays_as_it_is():
    ahead, back = np.array([0.4, 0.1, 0.2]), np.array([-0.2, 0.0, 0.0])
    allowed, station = FENCE.limited(ahead, at((-1.4, 0.0, 0.0)), UPRIGHT_HEIGHT)
    assert (allowed == ahead).all() and station == ""
    allowed, station = FENCE.limited(back, at((-0.25, 0.0, 0.0)), UPRIGHT_HEIGHT)
    assert (allowed == back).all() and station == ""


@pytest.mark.parametrize("y", [0.0, 0.1])
def test_it_stops_where_legs_come_to_a_stand_at_work_and_says_before_what(y):
    station = FACTORY.stations[0]
    stance = leg_distance(station, y)
    gap, name = FENCE.gap(at((-stance, y, 0.0)), UPRIGHT_HEIGHT)
    assert 0.0 < gap < 0.05 and name == station.name
    allowed, name = FENCE.limited(np.array([0.4, 0.0, 0.0]), at((-stance, y, 0.0)), UPRIGHT_HEIGHT)
    assert allowed[0] <= gap / BRAKES_S + 1e-9 and name == station.name
