"""Tracks of totes: right, named, robust, and as sure as they can be."""

from dataclasses import replace

import numpy as np
import pytest

from humanoid_control.transforms import inverse, planar, wrapped, yaw_of
from perception.errors import PerceptionError
from perception.tracking import hands
from perception.tracking.tote_tracker import ToteTracker

START = np.diag([0.05, 0.05, 0.08]) ** 2
CHI2_4_P90, CHI2_4_P99 = 7.8, 13.3


def begin(world):
    tracker = ToteTracker(world.factory, world.rig)
    tracker.expect(world.odom_from_map, START)
    tracker.advance(world.states.newest)
    return tracker


def look(world, tracker, names, times=1, looked_for=(), **how):
    for _ in range(times):
        tracker.advance(world.step())
        tracker.take([world.see(name, **how) for name in names], world.states, looked_for=looked_for)


def error_of(world, tracker, name):
    """(4,) x, y, z, yaw in `base_link`, and its normalised square."""
    pose = tracker.poses(world.states.newest)[name]
    truth = world.true_in_base(name)
    turn = wrapped(yaw_of(pose.base_from_object) - yaw_of(truth))
    error = np.append(pose.base_from_object[:3, 3] - truth[:3, 3], turn - np.pi * round(turn / np.pi))
    rows = [0, 1, 2, 5]
    return error, float(error @ np.linalg.solve(pose.covariance[np.ix_(rows, rows)], error))


def two_totes(factory, gap=0.06):
    """The factory with a second tote of the same kind beside the first."""
    first = factory.totes[0]
    x, y, yaw = first.at
    second = first.model_copy(update={"name": "t2", "at": (x, y + first.carrier.length + gap, yaw)})
    return factory.model_copy(update={"totes": (first, second)})


def test_a_tote_is_told_only_once_it_was_seen(line_side, make_world):
    world = make_world(line_side)
    tracker = begin(world)
    assert not tracker.poses(world.states.newest)
    look(world, tracker, ["t1"])
    assert list(tracker.poses(world.states.newest)) == ["t1"]


def test_covariances_hold_though_all_images_share_errors(line_side, make_world):
    normalised, errors = [], []
    for seed in range(100):
        world = make_world(line_side, seed, mounting_error=True)
        tracker = begin(world)
        look(world, tracker, ["t1"], times=40)
        error, squared = error_of(world, tracker, "t1")
        normalised.append(squared)
        errors.append(np.linalg.norm(error[:3]))
    assert np.median(errors) < 0.01
    # 90% are due; of 100 draws fewer than 79% are less likely than 1 in 1000.
    assert np.mean(np.array(normalised) < CHI2_4_P90) > 0.79
    assert np.max(normalised) < 25.0


def test_more_images_from_one_place_do_not_make_it_sure(line_side, make_world):
    world = make_world(line_side)
    tracker = begin(world)
    look(world, tracker, ["t1"], times=20)
    first = np.sqrt(np.trace(tracker.tracks["t1"].filter.covariance[:3, :3]))
    look(world, tracker, ["t1"], times=200)
    assert np.sqrt(np.trace(tracker.tracks["t1"].filter.covariance[:3, :3])) > 0.8 * first


def test_half_a_turn_makes_the_same_tote(line_side, make_world):
    world = make_world(line_side)
    tracker = begin(world)
    for turned in (False, True, True, False):
        look(world, tracker, ["t1"], turned=turned)
    assert tracker.health.refused == 0
    assert error_of(world, tracker, "t1")[1] < CHI2_4_P99


def test_neighbours_keep_their_names(line_side, make_world):
    world = make_world(two_totes(line_side))
    tracker = begin(world)
    look(world, tracker, ["t1", "t2"], times=10)
    look(world, tracker, ["t2"], times=10)
    for name in ("t1", "t2"):
        assert np.linalg.norm(error_of(world, tracker, name)[0][:3]) < 0.02


def test_one_of_two_that_could_be_either_is_not_named(line_side, make_world):
    """The start may be off by half a tote: alone, neither can be told from the other."""
    world = make_world(two_totes(line_side, gap=0.01))
    between = (world.totes["t1"][:3, 3] + world.totes["t2"][:3, 3]) / 2
    world.totes["t1"][:3, 3] = between
    tracker = begin(world)
    tracker.expect(world.odom_from_map, np.diag([0.2, 0.2, 0.1]) ** 2)
    look(world, tracker, ["t1"], times=3)
    assert not tracker.poses(world.states.newest)


def test_a_wrong_detection_moves_nothing(line_side, make_world):
    world = make_world(line_side)
    tracker = begin(world)
    look(world, tracker, ["t1"], times=10)
    before = tracker.tracks["t1"].filter.mean.copy()
    sighting = world.see("t1")
    wrong = sighting.camera_from_tote.copy()
    wrong[:3, 3] += [0.1, 0.0, 0.15]
    tracker.take([replace(sighting, camera_from_tote=wrong)], world.states)
    assert np.abs(tracker.tracks["t1"].filter.mean - before).max() < 1e-9
    assert tracker.health.refused == 1


def test_a_tote_that_was_moved_unseen_is_doubted_and_then_believed(line_side, make_world):
    world = make_world(line_side)
    tracker = begin(world)
    look(world, tracker, ["t1"], times=10)
    world.totes["t1"] = planar(0.0, 0.12, 0.0) @ world.totes["t1"]
    look(world, tracker, ["t1"], times=60)
    assert np.linalg.norm(error_of(world, tracker, "t1")[0][:3]) < 0.02


def carried_off(line_side, make_world):
    world = make_world(line_side)
    tracker = begin(world)
    look(world, tracker, ["t1"], times=10)
    tracker.advance(world.step(2.0))
    world.totes["t1"] = planar(0.3, 0.9, 0.5) @ world.totes["t1"]
    return world, tracker


def test_a_tote_that_was_carried_off_is_found_elsewhere(line_side, make_world):
    world, tracker = carried_off(line_side, make_world)
    look(world, tracker, ["t1"], times=8, looked_for=["t1"])
    assert np.linalg.norm(error_of(world, tracker, "t1")[0][:3]) < 0.03


def test_a_tote_whose_place_nobody_looked_at_is_not_taken_for_another(line_side, make_world):
    """Behind the robot's back a tote may be where it was, whatever is seen before it."""
    world, tracker = carried_off(line_side, make_world)
    where = tracker.tracks["t1"].filter.mean.copy()
    look(world, tracker, ["t1"], times=30)
    assert np.abs(tracker.tracks["t1"].filter.mean - where).max() < 1e-6


def test_a_tote_that_is_not_where_it_was_is_told_less_and_less_surely(line_side, make_world):
    world, tracker = carried_off(line_side, make_world)
    before = np.trace(tracker.tracks["t1"].filter.covariance[:3, :3]) ** 0.5
    for _ in range(30):
        tracker.advance(world.step())
        tracker.take([], world.states, looked_for=["t1"])
    assert np.trace(tracker.tracks["t1"].filter.covariance[:3, :3]) ** 0.5 > max(3 * before, 0.03)
    look(world, tracker, ["t1"], times=8, looked_for=["t1"])
    assert tracker.tracks["t1"].looks_in_vain == 0


def test_where_a_tote_stands_no_other_is_found(line_side, make_world):
    """A tote seen wrongly, again and again, is not the one that is missing."""
    world = make_world(two_totes(line_side, gap=0.3))
    tracker = begin(world)
    look(world, tracker, ["t1", "t2"], times=10)
    tracker.advance(world.step(2.0))
    for _ in range(20):
        tracker.advance(world.step())
        sighting = world.see("t2")
        wrong = sighting.camera_from_tote.copy()
        wrong[:3, 3] *= 1.08
        tracker.take([sighting, replace(sighting, camera_from_tote=wrong)], world.states, looked_for=["t1"])
    assert tracker.tracks["t1"].looks_in_vain >= 20
    assert np.linalg.norm(error_of(world, tracker, "t1")[0][:3]) < 0.02


def test_walking_makes_unsure_and_standing_does_not(line_side, make_world):
    world = make_world(line_side)
    tracker = begin(world)
    look(world, tracker, ["t1"], times=10)

    def spread():
        return float(np.sqrt(np.trace(tracker.tracks["t1"].filter.covariance[:2, :2])))

    before = spread()
    for _ in range(50):
        tracker.advance(world.step())
    standing = spread()
    for _ in range(50):
        world.map_from_base = world.map_from_base @ planar(-0.02, 0.0, 0.0)
        tracker.advance(world.step())
    assert standing < 1.5 * before
    assert spread() > 0.008


# --- in the hands -------------------------------------------------------------------------------------------------


def grasp(world, tracker, name="t1"):
    """Puts the tote between the hands, closes them, and returns where the hands are in the map."""
    carrier = world.factory.tote(name).carrier
    now = world.states.newest
    held = world.map_from_base @ inverse(now.odom_from_base) @ hands.odom_from_hands(world.rig, now)
    sides = [world.map_from_base @ world.rig.frame_pose(gripper, world.joints) for gripper in hands.GRIPPERS]
    assert np.linalg.norm(sides[0][:3, 3] - sides[1][:3, 3]) == pytest.approx(carrier.length, abs=0.12)
    world.totes[name] = planar(held[0, 3], held[1, 3], yaw_of(held), held[2, 3] - carrier.grip_height)
    world.grip = (0.018, 12.0)
    return held


@pytest.fixture
def carrying(line_side, make_world):
    """A world whose robot has taken t1, which its tracker saw just before."""
    world = make_world(line_side)
    left = world.model.joint_index("left_shoulder_roll_joint")
    world.joints[left], world.joints[left + 7] = -0.05, 0.05
    tote = line_side.totes[0].carrier
    tracker = ToteTracker(world.factory, world.rig)
    world.step()
    grip = world.grip
    held = grasp(world, tracker)
    world.grip = grip
    mean = world.totes["t1"]
    tracker.expect(world.odom_from_map @ mean @ inverse(transform_of_file(line_side)), START)
    tracker.advance(world.step())
    look(world, tracker, ["t1"], times=10)
    world.grip = (0.018, 12.0)
    tracker.advance(world.step())
    return world, tracker, held, tote


def transform_of_file(factory):
    x, y, z, yaw = factory.tote_pose("t1")
    return planar(x, y, yaw, z)


def test_what_both_hands_hold_moves_with_them_unseen(carrying):
    world, tracker, held, _ = carrying
    assert tracker.tracks["t1"].held
    held_from_tote = inverse(held) @ world.totes["t1"]
    before = np.sqrt(np.trace(tracker.tracks["t1"].filter.covariance[:3, :3]))
    for _ in range(30):
        world.map_from_base = world.map_from_base @ planar(0.02, 0.0, 0.03)
        world.joints[world.model.joint_index("waist_yaw_joint")] += 0.01
        tracker.advance(world.step())
    now = world.odom_from_map @ hands.odom_from_hands(world.rig, world.states.newest)
    world.totes["t1"] = now @ held_from_tote
    error, squared = error_of(world, tracker, "t1")
    assert squared < CHI2_4_P99
    assert np.linalg.norm(error[:3]) < 0.015
    assert np.sqrt(np.trace(tracker.tracks["t1"].filter.covariance[:3, :3])) < before + 0.01


def test_it_stays_where_it_is_let_go_and_is_less_sure(carrying):
    world, tracker, _, _ = carrying
    place, spread = tracker.tracks["t1"].pose, np.trace(tracker.tracks["t1"].filter.covariance)
    world.grip = (0.09, 0.0)
    tracker.advance(world.step())
    world.map_from_base = world.map_from_base @ planar(-0.3, 0.0, 0.0)
    tracker.advance(world.step())
    assert not tracker.tracks["t1"].held
    assert np.allclose(tracker.tracks["t1"].pose, place)
    assert np.trace(tracker.tracks["t1"].filter.covariance) > spread


def test_hands_that_hold_something_else_carry_no_tote(line_side, make_world):
    world = make_world(line_side)
    tracker = begin(world)
    look(world, tracker, ["t1"], times=5)
    world.grip = (0.018, 12.0)
    tracker.advance(world.step())
    assert not tracker.tracks["t1"].held


def test_a_late_image_of_a_carried_tote_is_of_where_it_was(carrying):
    world, tracker, held, _ = carrying
    held_from_tote = inverse(held) @ world.totes["t1"]
    late = world.see("t1")
    for _ in range(3):
        world.map_from_base = world.map_from_base @ planar(0.03, 0.0, 0.0)
        tracker.advance(world.step(0.02))
    tracker.take([late], world.states)
    assert tracker.health.refused == 0
    world.totes["t1"] = world.odom_from_map @ hands.odom_from_hands(world.rig, world.states.newest) @ held_from_tote
    assert error_of(world, tracker, "t1")[1] < CHI2_4_P99


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"kind": "klt_9999"}, {"name": "nobody"}])
def test_what_is_unknown_is_refused(line_side, make_world, change):
    world = make_world(line_side)
    tracker = begin(world)
    with pytest.raises(PerceptionError, match="known are kinds klt_3147, klt_4147 and totes t1"):
        tracker.take([replace(world.see("t1"), **change)], world.states)


def test_an_image_of_an_unknown_time_is_refused(line_side, make_world):
    world = make_world(line_side)
    tracker = begin(world)
    with pytest.raises(PerceptionError, match="no state of the robot"):
        tracker.take([replace(world.see("t1"), stamp_s=99.0)], world.states)
