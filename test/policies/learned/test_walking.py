"""How a learned policy walks: along far ways, and never into people or stations."""

import numpy as np
import pytest

from humanoid_control.mission.factory import load_factory
from humanoid_control.mission.path_planning import FloorMap
from humanoid_control.nodes.factory_file import find_factory_file
from humanoid_control.transforms import inverse, planar, to_pose
from humanoid_control.types import BaseEstimate
from perception.poses import ObjectPose, PoseSet, surface_name
from policies.learned.walking import BLOCKED_S, Walking
from policies.scripted.navigation import EMPTY_HANDED, FACE_FORWARD_BEYOND

FACTORY = load_factory(find_factory_file("rack_to_table"))
STATION = FACTORY.stations[0]
AHEAD = np.array([0.3, 0.0, 0.0])


def seen_from(x, y, yaw, people=()):
    """Poses and estimate of a robot that stands before the first station's front."""
    map_from_footprint = STATION.map_from_station @ planar(STATION.front_x + x, y, yaw)
    base = planar(0.0, 0.0, 0.0, 0.72)
    surface = inverse(map_from_footprint @ base) @ STATION.map_from_station @ planar(0.0, 0.0, 0.0, STATION.surfaces[0])
    poses = PoseSet(stamp_s=0.0, surfaces={surface_name(STATION.name, 0): ObjectPose(STATION.name, surface, np.eye(6), 0.0)},
                    people={f"p{k}": np.array(person) for k, person in enumerate(people)})  # fmt: skip
    pose = to_pose(base)
    return poses, BaseEstimate(stamp_s=0.0, position=pose[:3], orientation=pose[3:], linear_velocity=np.zeros(3), angular_velocity=np.zeros(3), covariance=np.eye(6),
                               contacts=np.ones(2, bool), foot_forces=np.full(2, 170.0))  # fmt: skip


def walking(x=-1.5, y=0.0, yaw=0.0, way=(1.0, 0.0, 0.5, 1.0, 0.0, 0.5), people=()):
    made = Walking(FACTORY, FloorMap(FACTORY))
    poses, estimate = seen_from(x, y, yaw, people)
    made.look(poses, estimate, np.array(way))
    return lambda wanted, subtask, now=0.0: made.velocity(wanted, subtask, poses, estimate, now)


def test_a_far_way_is_followed_and_the_last_stretch_is_the_networks():
    left = (0.0, 1.0, FACE_FORWARD_BEYOND + 0.5) * 2
    velocity, problem, _ = walking(way=left)(AHEAD, "approach")
    assert velocity[2] == pytest.approx(EMPTY_HANDED.turning) and abs(velocity[0]) < 0.05 and not problem
    velocity, _, _ = walking(way=left)(AHEAD, "align")
    assert (velocity == AHEAD).all()
    velocity, _, _ = walking(way=(0.0, 0.5, FACE_FORWARD_BEYOND - 0.1) * 2)(AHEAD, "approach")
    assert (velocity == AHEAD).all()


def test_it_waits_for_a_person_ahead_and_not_for_one_behind():
    velocity, problem, too_long = walking(people=[(0.7, 0.1)])(AHEAD, "align")
    assert not velocity.any() and problem == "a person 0.7 m ahead: waiting" and not too_long
    assert walking(people=[(-0.7, 0.0)])(AHEAD, "align")[0][0] == AHEAD[0]


def test_it_does_not_walk_into_a_station_and_says_when_that_was_for_too_long():
    ask = walking(x=-0.25)
    velocity, problem, too_long = ask(AHEAD, "ready")
    assert velocity[0] < 0.1 and problem == f"{STATION.name} is in its way" and not too_long
    assert ask(AHEAD, "ready", BLOCKED_S + 0.1)[2]
    assert not ask(-AHEAD, "ready", BLOCKED_S + 0.2)[2]  # it wants to go back: nothing is in the way
    assert not ask(AHEAD, "ready", BLOCKED_S + 0.3)[2]
