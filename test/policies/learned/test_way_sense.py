"""The way a learned policy is told: around what stands there, in its own frame, from what localisation sees."""

import numpy as np
import pytest
import shapely

from humanoid_control.mission.factory import parse_factory
from humanoid_control.mission.placement import initial_placements, ordered_placement
from humanoid_control.transforms import inverse, planar, to_pose
from humanoid_control.types import BaseEstimate
from perception.poses import ObjectPose, PoseSet, surface_name
from policies.learned.way_sense import STAND_OFFS, WAY_NAMES, WaySense

FACTORY = """
version: 1
name: around
floor: {size: [8.0, 6.0], friction: 0.9}
robot: {start: [-2.5, 0.0, 0.0]}
stations:
  - {name: infeed, kind: table, pose: [2.5, 0.0, 0.0], size: [0.5, 1.0], height: 0.70}
  - {name: wall, kind: table, pose: [0.0, 0.0, 1.5708], size: [1.6, 0.5], height: 0.70}
  - {name: outfeed, kind: table, pose: [-3.4, 0.0, 3.1416], size: [0.5, 1.0], height: 0.70}
totes:
  - {name: t1, kind: klt_3147, station: infeed, at: [-0.08, 0.1, 0.0], mass: 1.5, colour: [0.1, 0.3, 0.8]}
orders:
  - {tote: t1, to: outfeed, at: [-0.08, 0.0]}
"""


@pytest.fixture(scope="module")
def factory():
    return parse_factory(FACTORY, source="around")


def seen(factory, odom_from_map, pose):
    """What a robot at (x, y, yaw) in `map` sees and believes."""
    odom_from_base = odom_from_map @ planar(*pose, 0.7)
    quaternion = to_pose(odom_from_base)[3:]
    estimate = BaseEstimate(0.0, odom_from_base[:3, 3], quaternion, np.zeros(3), np.zeros(3), np.eye(6), np.ones(2, bool), np.zeros(2))
    surfaces = {}
    for station in factory.stations:
        x, y, yaw = station.pose
        name = surface_name(station.name, 0)
        surfaces[name] = ObjectPose(name, inverse(odom_from_base) @ odom_from_map @ planar(x, y, yaw, 0.7), np.eye(6), 0.0)
    return PoseSet(0.0, {}, surfaces), estimate


ODOM_FROM_MAP = planar(1.0, -2.0, 0.4)


def sense(factory):
    made, placements = WaySense(factory), initial_placements(factory)
    order = factory.orders[0]
    made.begin(placements[order.tote], ordered_placement(factory, order, placements))
    return made


def test_who_follows_the_points_gets_there_and_touches_nothing(factory):
    way, pose, footprints = sense(factory), np.array([-2.5, 0.0, 0.0]), [s.footprint for s in factory.stations]
    left = []
    for _ in range(200):
        numbers = dict(zip(WAY_NAMES, way.way(*seen(factory, ODOM_FROM_MAP, pose))))
        step = np.array([numbers["way_to_source.x"], numbers["way_to_source.y"]])
        left.append(numbers["way_to_source.left"])
        if np.linalg.norm(step) < 0.05:
            break
        heading = np.arctan2(step[1], step[0])
        pose = pose + [0.05 * np.cos(pose[2] + heading), 0.05 * np.sin(pose[2] + heading), 0.0]
        pose[2] += 0.5 * heading
        assert min(shapely.distance(area, shapely.Point(pose[:2])) for area in footprints) > 0.2
    assert pose[:2] == pytest.approx([2.5 - 0.08 - STAND_OFFS[0], 0.1], abs=0.08)
    assert left[0] > 5.0 and left[-1] < 0.06 and np.all(np.diff(left) < 0.05)


def test_the_next_corner_is_told_in_the_robots_own_axes(factory):
    numbers = dict(zip(WAY_NAMES, sense(factory).way(*seen(factory, ODOM_FROM_MAP, np.array([-2.5, 1.2, np.pi])))))
    assert np.hypot(numbers["way_to_source.x"], numbers["way_to_source.y"]) > 0.5
    assert numbers["way_to_source.x"] < 0.0 < numbers["way_to_goal.left"]  # the tote is behind its back


def test_a_corner_that_is_reached_is_followed_by_the_next_and_who_leaves_the_way_is_given_another(factory):
    way, pose = sense(factory), np.array([-2.5, 0.0, 0.0])
    first = way.way(*seen(factory, ODOM_FROM_MAP, pose))
    at_corner = np.array([*(pose[:2] + first[:2]), 0.0])
    second = way.way(*seen(factory, ODOM_FROM_MAP, at_corner))
    assert np.hypot(*second[:2]) > 0.3 and second[2] == pytest.approx(first[2] - np.hypot(*first[:2]), abs=0.05)
    aside = way.way(*seen(factory, ODOM_FROM_MAP, at_corner + [-0.5, 0.6, 0.0]))
    assert aside[2] > second[2]


def test_numbers_do_not_depend_on_where_odometry_began(factory):
    pose = np.array([-1.01, 1.52, 0.7])
    one, other = (sense(factory).way(*seen(factory, begun, pose)) for begun in (ODOM_FROM_MAP, planar(-3.0, 0.5, -1.2)))
    np.testing.assert_allclose(one, other, atol=1e-6)
