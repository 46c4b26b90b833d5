"""A robot that stands, its cameras, and sightings with errors as a detector makes them."""

from dataclasses import replace

import numpy as np
import pytest

from humanoid_control.mission.factory import load_factory
from humanoid_control.robot_model import PACKAGE_ROOT, RobotModel
from humanoid_control.simulation.robot_spec import CAMERA_FIELD_OF_VIEW
from humanoid_control.transforms import inverse, planar, quaternion, rotation_of_vector, transform
from humanoid_control.types import BaseEstimate, ImuSample, RobotState
from humanoid_control.whole_body_control.controller import standing_posture
from perception.camera_model import CameraModel
from perception.camera_rig import CameraRig, StateBuffer, mounting_transform
from perception.tracking.sighting import ToteSighting

DEVIATION = np.array([0.002, 0.002, 0.005, 0.008, 0.008, 0.008])  # m, rad: of a sighting, in camera axes
MOUNTING_DEVIATION = np.repeat([1e-3, 2e-3], 3)


class World:
    """The truth, and what is measured of it."""

    def __init__(self, factory, seed=0, *, mounting_error=False):
        self.random = np.random.default_rng(seed)
        self.factory = factory
        self.model = MODEL
        cameras = {}
        for name, fov in CAMERA_FIELD_OF_VIEW.items():
            focal = 180 / np.tan(np.radians(fov / 2))
            cameras[name] = CameraModel(name, 640, 360, np.array([[focal, 0, 319.5], [0, focal, 179.5], [0, 0, 1]]))
        covariance = {name: np.diag(MOUNTING_DEVIATION**2) for name in cameras}
        self.rig = CameraRig(MODEL, cameras, mounting={name: np.zeros(6) for name in cameras}, mounting_covariance=covariance)
        self.mounting = {name: mounting_error * MOUNTING_DEVIATION * self.random.normal(size=6) for name in cameras}
        self.bias = {}
        self.states = StateBuffer(length_s=100.0, max_gap_s=1.0)
        self.joints = standing_posture(MODEL)
        self.map_from_base = planar(*factory.robot.start, 0.72)
        self.odom_from_map = np.eye(4)
        self.grip = (0.09, 0.0)  # opening (m) and force (N) of both grippers
        self.now = 0.0
        self.totes = {tote.name: transform_of(factory.tote_pose(tote.name)) for tote in factory.totes}
        self.step(0.0)

    def step(self, elapsed_s=0.1):
        """Time passes; returns the new state."""
        self.now += elapsed_s
        base = self.odom_from_map @ self.map_from_base
        imu = ImuSample(np.array([0.0, 0, 0, 1]), np.zeros(3), np.array([0.0, 0, 9.81]))
        state = RobotState(self.now, self.joints.copy(), np.zeros(29), np.zeros(29), imu, np.full(2, self.grip[0]),
                           np.full(2, self.grip[1]))  # fmt: skip
        self.states.add(state, BaseEstimate(self.now, base[:3, 3], quaternion(base[:3, :3]), np.zeros(3), np.zeros(3), np.eye(6),
                                            np.ones(2, bool), np.zeros(2)))  # fmt: skip
        return self.states.newest

    def map_from_camera(self, camera):
        """The true one, with its mounting error."""
        return self.map_from_base @ self.rig.base_from_camera(camera, self.joints) @ mounting_transform(self.mounting[camera])

    def noisy(self, camera, thing, map_from_thing, *, white_share, deviation=DEVIATION):
        """(4, 4) camera_from_thing with an error of which a part stays the same for this camera and thing."""
        share = self.bias.setdefault((camera, thing), self.random.normal(size=6))
        error = deviation * (np.sqrt(1 - white_share) * share + np.sqrt(white_share) * self.random.normal(size=6))
        pose = inverse(self.map_from_camera(camera)) @ map_from_thing
        return transform(rotation_of_vector(error[3:]) @ pose[:3, :3], pose[:3, 3] + error[:3])

    def see(self, name, *, camera="head_camera", named=False, turned=False, white_share=0.25):
        """A sighting of one tote now."""
        pose = self.noisy(camera, name, self.totes[name], white_share=white_share)
        sighting = ToteSighting(self.factory.tote(name).kind, name if named else "", camera, self.now, pose, np.diag(DEVIATION**2),
                                white_share)  # fmt: skip
        if turned:
            sighting = replace(sighting, camera_from_tote=pose @ np.diag([-1.0, -1.0, 1.0, 1.0]))
        return sighting

    def true_in_base(self, name):
        """(4, 4) base_from_tote."""
        return inverse(self.map_from_base) @ self.totes[name]


def transform_of(pose):
    x, y, z, yaw = pose
    return planar(x, y, yaw, z)


MODEL = RobotModel.load()


@pytest.fixture(scope="session")
def line_side():
    return load_factory(PACKAGE_ROOT / "config/factories/line_side.yaml")


@pytest.fixture(scope="session")
def racks():
    return load_factory(PACKAGE_ROOT / "config/factories/racks.yaml")


@pytest.fixture
def make_world():
    return World
