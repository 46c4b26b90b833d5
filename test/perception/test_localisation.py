"""Map to odom from stations: right, robust against wrong matches, and honest; and surfaces as high as they are."""

from dataclasses import replace

import numpy as np
import pytest

from humanoid_control.mission.factory import load_factory
from humanoid_control.robot_model import PACKAGE_ROOT, RobotModel
from humanoid_control.simulation.robot_spec import CAMERA_FIELD_OF_VIEW
from humanoid_control.transforms import inverse, planar, quaternion, rotation_of_vector, transform, wrapped, yaw_of
from humanoid_control.types import BaseEstimate, ImuSample, RobotState
from humanoid_control.whole_body_control.controller import standing_posture
from perception.camera_model import CameraModel
from perception.camera_rig import CameraRig, StateBuffer
from perception.errors import PerceptionError
from perception.landmarks import SurfaceSighting, map_surfaces
from perception.localisation import START_PATIENCE_S, Localiser
from perception.tracking.shared_error_filter import SharedErrorFilter
from perception.tracking.tote_track import ToteTrack

MODEL = RobotModel.load()
DEVIATION = np.array([0.003, 0.003, 0.006, 0.008, 0.008, 0.008])
POINT_DEVIATION = 0.005
OFF = (0.06, -0.05, 0.08)  # where the robot really starts, in its own frame
CAMERA = "head_camera"
CHI2_3_P90, CHI2_3_P99 = 6.25, 11.3
RAISED = 0.03  # m, how much higher than in the file surfaces are


class Floor:
    """The truth: a robot on the factory's floor, and its odometry."""

    def __init__(self, name="line_side", seed=0, off=OFF):
        self.random = np.random.default_rng(seed)
        self.factory = load_factory(PACKAGE_ROOT / f"config/factories/{name}.yaml")
        self.surfaces = map_surfaces(self.factory)
        cameras = {}
        for camera, fov in CAMERA_FIELD_OF_VIEW.items():
            focal = 180 / np.tan(np.radians(fov / 2))
            cameras[camera] = CameraModel(camera, 640, 360, np.array([[focal, 0, 319.5], [0, focal, 179.5], [0, 0, 1]]))
        small = {camera: np.eye(6) * 1e-8 for camera in cameras}
        self.rig = CameraRig(MODEL, cameras, mounting={camera: np.zeros(6) for camera in cameras}, mounting_covariance=small)
        self.joints, self.states, self.now = standing_posture(MODEL), StateBuffer(length_s=100.0, max_gap_s=1.0), 0.0
        x, y, yaw = self.factory.robot.start
        self.map_from_base = planar(x, y, yaw, 0.72) @ planar(*off)
        self.odom_from_base = planar(0.0, 0.0, 0.0, 0.72)
        self.bias = {}
        self.localiser = Localiser(self.factory, self.rig)
        self.step()

    @property
    def odom_from_map(self):
        return self.odom_from_base @ inverse(self.map_from_base)

    def step(self, elapsed_s=0.1):
        self.now += elapsed_s
        imu = ImuSample(np.array([0.0, 0, 0, 1]), np.zeros(3), np.array([0.0, 0, 9.81]))
        state = RobotState(self.now, self.joints, np.zeros(29), np.zeros(29), imu, np.zeros(2), np.zeros(2))
        base = self.odom_from_base
        self.states.add(state, BaseEstimate(self.now, base[:3, 3], quaternion(base[:3, :3]), np.zeros(3), np.zeros(3), np.eye(6),
                                            np.ones(2, bool), np.zeros(2)))  # fmt: skip
        self.localiser.advance(self.states.newest)

    def surface_in_base(self, name):
        pose = self.surfaces[name].map_from_surface.copy()
        pose[2, 3] += RAISED
        return inverse(self.map_from_base) @ pose

    def whole(self, name, *, shift=np.eye(4)):
        base_from_camera = self.rig.base_from_camera(CAMERA, self.joints)
        share = self.bias.setdefault(name, self.random.normal(size=6))
        error = DEVIATION * (np.sqrt(0.5) * share + np.sqrt(0.5) * self.random.normal(size=6))
        pose = inverse(base_from_camera) @ shift @ self.surface_in_base(name)
        pose = transform(rotation_of_vector(error[3:]) @ pose[:3, :3], pose[:3, 3] + error[:3])
        return SurfaceSighting(name, CAMERA, self.now, pose, np.diag(DEVIATION**2))

    def front(self, name):
        """A surface of which one edge alone is seen: level with the camera's axis, it tells the fall and not the distance."""
        sighting = self.whole(name)
        rotation = sighting.camera_from_surface[:3, :3]
        sight = sighting.camera_from_surface[:3, 3] / np.linalg.norm(sighting.camera_from_surface[:3, 3])
        along = rotation[:, 1]
        across = np.cross(sight, along)
        across /= np.linalg.norm(across)
        certain = np.outer(across, across)
        covariance = sighting.covariance.copy()
        covariance[:3, :3] = 0.004**2 * certain + 1.0 * (np.eye(3) - certain)
        unknown = (np.eye(3) - certain) @ self.random.normal(0.0, 0.2, 3)
        pose = inverse(self.rig.base_from_camera(CAMERA, self.joints)) @ self.surface_in_base(name)
        pose[:3, 3] += unknown + 0.004 * across * self.random.normal()
        return replace(sighting, camera_from_surface=pose, covariance=covariance, white_share=1.0)

    def take(self, *sightings):
        self.localiser.take(sightings, self.states)

    def wait(self):
        """As long as it takes until surfaces count that no tote helped to tell apart."""
        self.take(self.whole(next(iter(self.surfaces))))
        self.step(START_PATIENCE_S)

    def error(self):
        """(3,) of where the robot believes to be on the map, and its normalised square."""
        error = inverse(self.odom_from_map) @ self.localiser.odom_from_map
        arm = self.localiser.odom_from_map[:2, 3] - self.odom_from_base[:2, 3]
        to_base = np.eye(3)  # from the map's origin in odom to where the base is
        to_base[:2, 2] = arm[1], -arm[0]
        difference = self.localiser.odom_from_map[:2, 3] - self.odom_from_map[:2, 3]
        full = np.append(difference, yaw_of(error))
        normalised = float(full @ np.linalg.solve(self.localiser.covariance, full))
        return to_base @ full, normalised


def test_it_begins_where_the_file_has_the_robot_and_unsure():
    floor = Floor()
    error, normalised = floor.error()
    assert np.abs(error) == pytest.approx(np.abs(OFF), abs=0.02)
    assert normalised < CHI2_3_P99


def test_surfaces_put_it_right():
    floor = Floor()
    floor.wait()
    for _ in range(20):
        floor.step()
        floor.take(floor.whole("infeed/0"))
    error, normalised = floor.error()
    assert floor.localiser.health.taken >= 20
    assert np.linalg.norm(error[:2]) < 0.012
    assert abs(error[2]) < 0.02
    assert normalised < CHI2_3_P99


def test_the_covariance_is_that_of_the_errors():
    normalised = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        floor = Floor(seed=seed, off=random.normal(0, [0.06, 0.06, 0.09]))
        for _ in range(15):
            floor.step()
            floor.take(floor.whole("infeed/0"))
        normalised.append(floor.error()[1])
    assert np.mean(np.array(normalised) < CHI2_3_P90) > 0.8


@pytest.mark.parametrize("count", [1, 4])
def test_the_covariance_holds_a_mounting_error_that_all_surfaces_share(count):
    normalised = []
    spread = np.repeat([0.004, 0.008], 3)
    for seed in range(40):
        floor = Floor("racks", seed=seed, off=(0.0, 0.0, 0.0))
        floor.rig.set_mounting(CAMERA, np.zeros(6), covariance=np.diag(spread**2))
        wrong = spread * np.random.default_rng(1000 + seed).normal(size=6)
        tilt = transform(rotation_of_vector(wrong[3:]), wrong[:3])
        for _ in range(10):
            floor.step()
            for name in list(floor.surfaces)[:count]:
                seen = floor.whole(name)
                floor.take(replace(seen, camera_from_surface=tilt @ seen.camera_from_surface))
        normalised.append(floor.error()[1])
    assert np.mean(np.array(normalised) < CHI2_3_P90) > 0.8


def test_odometry_s_drift_is_made_good_and_owned_up_to():
    floor = Floor()
    for _ in range(10):
        floor.step()
        floor.take(floor.whole("infeed/0"))
    for _ in range(100):  # 2 m to and fro, of which odometry loses two centimetres and a degree
        floor.odom_from_base = floor.odom_from_base @ planar(0.02, 0.0, 0.0)
        floor.map_from_base = floor.map_from_base @ planar(0.0202, 0.0, 0.00017)
        floor.step()
    floor.map_from_base = floor.map_from_base @ planar(-2.0, 0.0, 0.0)
    floor.odom_from_base = floor.odom_from_base @ planar(-2.0, 0.0, 0.0)
    floor.step()
    drifted, normalised = floor.error()
    assert np.linalg.norm(drifted[:2]) > 0.01
    assert normalised < CHI2_3_P99
    for _ in range(10):
        floor.step()
        floor.take(floor.whole("infeed/0"))
    assert np.linalg.norm(floor.error()[0][:2]) < 0.01


# --- robustness ---------------------------------------------------------------------------------------------------


def test_while_an_edge_may_be_any_of_several_it_counts_only_once_a_tote_told_where_they_are():
    floor = Floor(off=(0.15, 0.1, 0.1))
    another_edge = planar(-0.18, 0.1, 0.08)  # of a tote, say: within what the start allows
    for _ in range(round(0.8 * START_PATIENCE_S / 0.1)):
        floor.step()
        floor.take(floor.whole("infeed/0", shift=another_edge))
    assert floor.localiser.health.taken == 0
    floor.localiser.take_totes([seen_tote(floor)])
    for _ in range(10):
        floor.step()
        floor.take(floor.whole("infeed/0"))
    assert floor.localiser.health.taken == 10 and np.linalg.norm(floor.error()[0][:2]) < 0.012


def test_where_no_tote_comes_in_sight_surfaces_count_all_the_same():
    floor = located()
    assert floor.localiser.health.taken == 15 and np.linalg.norm(floor.error()[0][:2]) < 0.012


def located(name="line_side"):
    floor = Floor(name)
    floor.wait()
    for _ in range(15):
        floor.step()
        floor.take(floor.whole(f"{floor.factory.stations[0].name}/0"))
    return floor


def test_a_surface_that_is_elsewhere_is_doubted_and_then_believed():
    floor = located()
    moved = planar(0.25, 0.1, 0.0)
    floor.take(floor.whole("infeed/0", shift=moved))
    assert floor.localiser.health.refused == 1
    assert np.linalg.norm(floor.error()[0][:2]) < 0.02
    floor.map_from_base = floor.map_from_base @ inverse(moved)  # it was the robot that was carried off
    for _ in range(60):
        floor.step()
        floor.take(floor.whole("infeed/0"))
    assert np.linalg.norm(floor.error()[0][:2]) < 0.02


def test_one_edge_tells_how_high_a_surface_is_as_far_as_its_distance_is_known():
    """The map's place is known from a station seen whole; another's front edge then tells that one's height."""
    floor = Floor(off=(0.0, 0.0, 0.0))
    floor.localiser._filter.covariance[:3, :3] *= 1e-4
    before = height_of(floor, "infeed/0")[1]
    for _ in range(10):
        floor.step()
        floor.take(floor.front("infeed/0"))
    height, deviation = height_of(floor, "infeed/0")
    assert deviation < 0.4 * before
    assert height == pytest.approx(floor.surface_in_base("infeed/0")[2, 3], abs=3 * deviation)
    unsure = Floor()
    for _ in range(10):
        unsure.step()
        unsure.take(unsure.front("infeed/0"))
    assert height_of(unsure, "infeed/0")[1] > 1.5 * deviation


def seen_tote(floor, *, off=0.0):
    """A track of a tote as it stands on the floor, `off` m along the map's x from where the file has it."""
    tote = floor.factory.totes[0]
    x, y, z, yaw = floor.factory.tote_pose(tote.name)
    pose = floor.odom_from_map @ planar(x + off, y, yaw, z + RAISED)
    mean = np.append(pose[:3, 3], yaw_of(pose))
    return ToteTrack(tote.name, tote.carrier, SharedErrorFilter(mean, np.eye(4) * 0.003**2), sightings=5)


def test_a_tote_that_nobody_moved_tells_roughly_where_the_map_is():
    floor = Floor(off=(0.15, 0.1, 0.1))
    before = np.sqrt(np.trace(floor.localiser.covariance[:2, :2]))
    for _ in range(20):  # it tells once, however often it is seen
        floor.localiser.take_totes([seen_tote(floor)])
    error, normalised = floor.error()
    assert normalised < CHI2_3_P99
    assert 0.03 < np.sqrt(np.trace(floor.localiser.covariance[:2, :2])) < before


def test_a_tote_far_from_its_place_or_carried_once_tells_nothing_of_the_map():
    for carried in (False, True):
        floor = located()
        before = floor.localiser.odom_from_map
        if carried:
            floor.localiser.take_totes([replace(seen_tote(floor), held=True)])
        floor.localiser.take_totes([seen_tote(floor, off=0.05 if carried else 1.0)])
        np.testing.assert_allclose(floor.localiser.odom_from_map[:2], before[:2], atol=3e-3)


# --- heights ------------------------------------------------------------------------------------------------------


def height_of(floor, name):
    pose = floor.localiser.surfaces(floor.states.newest)[name]
    return float(pose.base_from_object[2, 3]), float(np.sqrt(pose.covariance[2, 2]))


def test_a_surface_s_height_is_learnt_from_seeing_it():
    floor = located()
    height, deviation = height_of(floor, "infeed/0")
    assert height == pytest.approx(floor.surface_in_base("infeed/0")[2, 3], abs=3 * deviation)
    assert deviation < 0.01


def test_a_surface_s_height_is_learnt_from_the_tote_that_stands_on_it():
    floor = Floor()
    tote = floor.factory.totes[0]
    x, y, z, yaw = floor.factory.tote_pose(tote.name)
    pose = floor.odom_from_map @ planar(x, y, yaw, z + RAISED)
    mean = np.append(pose[:3, 3], yaw_of(pose))
    track = ToteTrack(tote.name, tote.carrier, SharedErrorFilter(mean, np.eye(4) * 0.004**2), sightings=5)
    before = height_of(floor, "infeed/0")
    for _ in range(100):
        floor.localiser.take_totes([track])
    height, deviation = height_of(floor, "infeed/0")
    assert height == pytest.approx(floor.surface_in_base("infeed/0")[2, 3], abs=0.005)
    assert 0.003 < deviation < before[1]
    outfeed = height_of(floor, "outfeed/0")
    assert outfeed[1] > 0.03


def test_a_height_learnt_wrongly_is_unlearnt():
    """From a tote on a tray, say; the map's place must not pay for it."""
    floor = Floor()
    tote = floor.factory.totes[0]
    x, y, z, yaw = floor.factory.tote_pose(tote.name)
    pose = floor.odom_from_map @ planar(x, y, yaw, z + RAISED + 0.05)
    track = ToteTrack(tote.name, tote.carrier, SharedErrorFilter(np.append(pose[:3, 3], yaw_of(pose)), np.eye(4) * 0.002**2), sightings=5)
    for _ in range(5):
        floor.localiser.take_totes([track])
    for _ in range(30):
        floor.step()
        floor.take(floor.whole("infeed/0"))
    height, deviation = height_of(floor, "infeed/0")
    assert height == pytest.approx(floor.surface_in_base("infeed/0")[2, 3], abs=3 * deviation)
    assert np.linalg.norm(floor.error()[0][:2]) < 0.015


def test_a_tote_in_the_hands_or_on_another_says_nothing_of_the_surface():
    floor = Floor()
    tote = floor.factory.totes[0]
    x, y, z, yaw = floor.factory.tote_pose(tote.name)
    before = height_of(floor, "infeed/0")
    for held, raised in ((True, 0.03), (False, 0.147)):
        pose = floor.odom_from_map @ planar(x, y, yaw, z + raised)
        mean = np.append(pose[:3, 3], wrapped(yaw_of(pose)))
        track = ToteTrack("t1", tote.carrier, SharedErrorFilter(mean, np.eye(4) * 1e-5), sightings=5, held=held)
        floor.localiser.take_totes([track])
    assert height_of(floor, "infeed/0") == before


# --- bad input ----------------------------------------------------------------------------------------------------


def test_an_unknown_surface_is_refused():
    floor = Floor()
    with pytest.raises(PerceptionError, match="surface 'attic/0'; the factory has infeed/0"):
        floor.take(replace(floor.whole("infeed/0"), name="attic/0"))


def test_before_the_first_state_there_is_no_place():
    floor = Floor()
    with pytest.raises(PerceptionError, match="has not begun"):
        _ = Localiser(floor.factory, floor.rig).odom_from_map
