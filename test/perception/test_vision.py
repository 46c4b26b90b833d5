"""What the vision rungs make of their input: cameras that become known, bad images, clocks that go back."""

import numpy as np
import pytest

from humanoid_control.mission.factory import load_factory
from humanoid_control.robot_model import PACKAGE_ROOT, RobotModel
from humanoid_control.transforms import inverse
from humanoid_control.types import BaseEstimate, ImuSample, RobotState
from humanoid_control.whole_body_control.controller import standing_posture
from perception.camera_model import CameraModel
from perception.camera_rig import CameraRig
from perception.errors import PerceptionError
from perception.frame import CameraFrame
from perception.latest_sightings import LatestSightings
from perception.tracking.sighting import NETWORK_WHITE_SHARE, ToteSighting
from perception.tracking.tote_tracker import ToteTracker
from perception.vision import VisionPoses

MODEL = RobotModel.load()
FACTORY = load_factory(PACKAGE_ROOT / "config/factories/line_side.yaml")
CAMERA = "head_camera"
WIDE = CameraModel(CAMERA, 64, 36, np.array([[47.0, 0, 31.5], [0, 47.0, 17.5], [0, 0, 1]]))


def self_knowledge(stamp_s, x=0.0):
    imu = ImuSample(np.array([0.0, 0, 0, 1]), np.zeros(3), np.array([0.0, 0, 9.81]))
    state = RobotState(stamp_s, standing_posture(MODEL), np.zeros(29), np.zeros(29), imu, np.full(2, 0.05), np.zeros(2))
    return state, BaseEstimate(stamp_s, np.array([x, 0.0, 0.72]), np.array([0.0, 0, 0, 1]), np.zeros(3), np.zeros(3), np.eye(6),
                               np.ones(2, bool), np.zeros(2))  # fmt: skip


def picture(stamp_s, seed=0, camera=CAMERA):
    return CameraFrame(camera, stamp_s, np.random.default_rng(seed).integers(20, 220, (36, 64, 3), dtype=np.uint8))


@pytest.fixture
def vision():
    made = VisionPoses("fiducial", FACTORY, CameraRig(MODEL, {CAMERA: None}))
    for step in range(50):
        made.update(*self_knowledge(0.02 * step))
    return made


def test_a_camera_is_of_use_from_its_camera_info_on(vision):
    vision.take([picture(0.1)])
    assert vision.health.cameras[CAMERA].problem == "its camera info has not come yet"
    vision.set_camera(CAMERA, WIDE)
    vision.take([picture(0.2)])
    health = vision.health.cameras[CAMERA]
    assert (health.problem, health.used, health.refused) == ("", 1, 1)
    assert "camera info" in health.last_problem
    vision.set_camera(CAMERA, None)
    vision.take([picture(0.3)])
    assert health.used == 1 and health.refused == 2


@pytest.mark.parametrize(("frame", "words"), [
    (CameraFrame(CAMERA, 0.5, np.zeros((36, 64, 3), np.uint8)), "black"),
    (CameraFrame(CAMERA, 0.5, np.full((36, 64, 3), 255, np.uint8)), "overexposed"),
    (CameraFrame(CAMERA, 0.5, np.zeros((18, 32, 3), np.uint8)), "18 x 32 x 3"),
    (CameraFrame(CAMERA, 0.5, np.zeros((36, 64, 3), np.uint8), "bgr8"), "bgr8"),
    (picture(7.0), "no state of the robot"), (picture(0.5, camera="back_camera"), "no camera 'back_camera'")])  # fmt: skip
def test_what_cannot_be_used_is_left_out_and_named(vision, frame, words):
    vision.set_camera(CAMERA, WIDE)
    vision.take([frame])
    assert words in vision.health.cameras[frame.camera].problem
    vision.take([picture(0.6)])
    assert vision.health.cameras[CAMERA].problem == "" and vision.health.cameras[CAMERA].used == 1


def test_after_the_clock_went_back_everything_begins_anew(vision):
    vision.set_camera(CAMERA, WIDE)
    vision.take([picture(0.5)])
    vision.update(*self_knowledge(0.0, x=1.0))
    vision.update(*self_knowledge(0.04, x=1.0))
    assert vision.health.restarts == 1
    assert vision.health.lost(0.04) == (CAMERA,)
    assert vision.read().stamp_s == 0.04
    np.testing.assert_allclose((vision.map_from_odom @ [1.0, 0.0, 0.0, 1.0])[:2], FACTORY.robot.start[:2], atol=1e-9)
    vision.take([picture(0.02, seed=1)])
    assert vision.health.cameras[CAMERA].problem == ""


def test_all_surfaces_near_by_are_looked_for_though_the_nearest_is_always_seen(monkeypatch):
    vision = VisionPoses("tracker", FACTORY, CameraRig(MODEL, {CAMERA: WIDE}))
    vision.update(*self_knowledge(0.0))
    at, looked_for = vision._states.newest, []

    def look(*_, name, **__):
        looked_for.append(name)
        return "seen"

    monkeypatch.setattr(vision._finder, "look", look)
    for k in range(60):
        vision._find_surfaces(picture(k / 15), at, vision._attention)
    assert len(set(looked_for)) >= 2
    assert min(looked_for.count(name) for name in set(looked_for)) >= 10


def test_what_is_seen_while_the_clock_goes_back_leaves_nothing_behind(monkeypatch):
    vision = VisionPoses("tracker", FACTORY, CameraRig(MODEL, {CAMERA: WIDE}))
    for stamp_s in (600.0, 600.04):
        vision.update(*self_knowledge(stamp_s))

    def look(*_, **__):  # the clock goes back in the middle of it
        vision.update(*self_knowledge(0.0))
        return []

    monkeypatch.setattr(vision._detector, "look", look)
    vision.take([picture(600.02)])
    assert vision.health.restarts == 1 and vision.health.cameras[CAMERA].used == 1
    assert vision.health.cameras[CAMERA].stamp_s == -np.inf
    assert not vision._attention._looked_s and not vision._attention._searched_s


def test_nothing_is_told_before_the_first_state():
    with pytest.raises(PerceptionError, match="no state of the robot"):
        VisionPoses("fiducial", FACTORY, CameraRig(MODEL, {CAMERA: WIDE})).read()


def test_what_single_images_showed_grows_unsure_with_time_and_way():
    rig = CameraRig(MODEL, {CAMERA: WIDE})
    vision = VisionPoses("fiducial", FACTORY, rig)  # for its states
    latest, tracker = LatestSightings(FACTORY, rig), ToteTracker(FACTORY, rig)
    vision.update(*self_knowledge(0.0))
    at = vision._states.newest
    tracker.expect(inverse(vision.map_from_odom), 1e-4 * np.eye(3))
    odom_from_camera = at.odom_from_base @ rig.base_from_camera(CAMERA, at.joint_positions)
    seen = inverse(odom_from_camera) @ tracker.tracks["t1"].pose
    sighting = ToteSighting(FACTORY.tote("t1").kind, "", CAMERA, 0.0, seen, 1e-6 * np.eye(6), NETWORK_WHITE_SHARE)
    latest.take([sighting], at, tracker.tracks)

    def spread(stamp_s, x):
        vision.update(*self_knowledge(stamp_s, x))
        now = vision._states.newest
        latest.advance(now)
        return np.trace(latest.poses(now)["t1"].covariance[:3, :3])

    first = spread(0.02, 0.0)
    stood = spread(60.0, 0.0)
    walked = spread(61.0, 0.5)
    assert first < stood
    assert walked > stood + 1e-5
