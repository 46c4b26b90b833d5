"""How a learned policy walks: along far ways, and never into people or stations."""

import numpy as np
import pytest

from humanoid_control.mission.factory import load_factory
from humanoid_control.mission.path_planning import FloorMap
from humanoid_control.nodes.factory_file import find_factory_file
from humanoid_control.transforms import inverse, planar, to_pose
from humanoid_control.types import BaseEstimate
from perception.poses import ObjectPose, PoseSet, surface_name
from policies.learned.walking import BLOCKED_S, STANDS_S, Walking
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


def test_a_far_way_is_followed_and_near_its_end_the_network_walks():
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


def step_up(distance, left=0.0, x=-1.5):
    """Asks for the velocity, time by time, of one that steps up to so many m ahead and to the left."""
    made = Walking(FACTORY, FloorMap(FACTORY))
    poses, estimate = seen_from(x, 0.0, 0.0)
    made.look(poses, estimate, np.array((1.0, 0.0, 0.5) * 2))
    made.aim(np.array([distance, left, 0.0]))
    return made, lambda now: made.velocity(AHEAD, "ready", poses, estimate, now)[0]


def test_the_last_steps_lead_to_the_stance_and_end_there():
    made, ask = step_up(0.2, left=0.1)
    assert not made.steps_up
    velocity = ask(0.0)
    assert made.steps_up and velocity[0] > 0.1 and velocity[1] > 0.05 and not made.has_arrived(10.0)
    made.aim(np.array([0.01, 0.0, 0.0]))
    assert not ask(1.0).any() and not made.has_arrived(1.0) and made.has_arrived(1.0 + STANDS_S)
    made.aim(np.array([0.05, 0.0, 0.0]))  # it sways: it has been there all the same
    assert not ask(2.0).any()
    made.aim(None)
    assert not made.steps_up and not made.has_arrived(3.0)


def test_on_its_straight_way_to_a_stance_no_station_holds_it_off_and_beside_it_one_does():
    assert step_up(0.1, x=-0.2)[1](0.0)[0] == pytest.approx(0.09)
    assert step_up(0.1, left=0.3, x=-0.2)[1](0.0)[0] < 0.03
