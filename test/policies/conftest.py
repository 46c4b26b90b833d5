"""What the tests of policies share: the robot, factories, and observations made up without a simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from humanoid_control.mission.factory import load_factory, parse_factory
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import from_pose, inverse, planar
from humanoid_control.types import BaseEstimate, ControlStatus, ImuSample, RobotState
from humanoid_control.whole_body_control.controller import standing_posture
from perception.poses import ObjectPose, PoseSet, surface_name
from policies.evaluation.campaign import Campaign, run_campaign
from policies.policy import Observation

ROOT = Path(__file__).resolve().parents[2]
LINE_SIDE = ROOT / "config" / "factories" / "line_side.yaml"
WHOLE_SEED = 11
STANDING_HEIGHT = 0.72  # m of base_link

# The robot stands in a pen it cannot leave: each episode is over as soon as a way is asked for.
PENNED_IN = """
version: 1
name: penned_in
floor: {size: [8.0, 6.0], friction: 0.9}
robot: {start: [-2.0, 0.0, 0.0]}
stations:
  - {name: infeed, kind: table, pose: [1.6, 0.0, 0.0], size: [0.5, 1.0], height: 0.70}
  - {name: outfeed, kind: table, pose: [1.6, 2.0, 0.0], size: [0.5, 1.0], height: 0.65}
totes:
  - {name: t1, kind: klt_3147, station: infeed, at: [-0.08, 0.0, 0.0], mass: 1.5, colour: [0.1, 0.3, 0.8]}
zones:
  - {name: wall, kind: keep_out, polygon: [[-0.6, -3.0], [-0.4, -3.0], [-0.4, 3.0], [-0.6, 3.0]]}
orders:
  - {tote: t1, to: outfeed, at: [-0.08, 0.0]}
randomise:
  tote_pose: [0.03, 0.10, 0.20]
  robot_start: [0.10, 0.10, 0.15]
  joint_friction: [0.0, 0.5]
  sensor_noise: 1.0
  delay_ms: [0, 8]
"""


@pytest.fixture(scope="session")
def model() -> RobotModel:
    return RobotModel.load()


@pytest.fixture
def line_side():
    return load_factory(LINE_SIDE)


@pytest.fixture(scope="session")
def whole_episode() -> dict:
    """The record of an episode of the demo's factory, carried out in a process of its own, which has done nothing else before."""
    return next(iter(run_campaign(Campaign(str(LINE_SIDE), "scripted"), [WHOLE_SEED], workers=1)))


@pytest.fixture
def penned_in_text() -> str:
    return PENNED_IN


@pytest.fixture
def penned_in(penned_in_text):
    return parse_factory(penned_in_text)


class Onlooker:
    """Makes observations of a robot that stands where the factory says, without a simulation.

    Attributes:
        sees_totes: whether totes are among the poses.
    """

    def __init__(self, model: RobotModel, factory) -> None:
        self.factory, self.sees_totes = factory, True
        self.base = planar(*factory.robot.start, STANDING_HEIGHT)
        self._joints = standing_posture(model)

    def poses(self, now: float) -> PoseSet:
        def seen(name: str, map_from_object: np.ndarray) -> ObjectPose:
            return ObjectPose(name, inverse(self.base) @ map_from_object, np.eye(6) * 1e-6, now)

        surfaces = {}
        for station in self.factory.stations:
            for shelf, height in enumerate(station.surfaces):
                surfaces[surface_name(station.name, shelf)] = planar(*station.pose, height)
        totes = {}
        for tote in self.factory.totes if self.sees_totes else ():
            x, y, z, yaw = self.factory.tote_pose(tote.name)
            totes[tote.name] = planar(x, y, yaw, z)
        return PoseSet(now, {n: seen(n, p) for n, p in totes.items()}, {n: seen(n, p) for n, p in surfaces.items()})

    def observe(self, now: float, *, with_poses: bool = True) -> Observation:
        still = ImuSample(np.array([0.0, 0, 0, 1]), np.zeros(3), np.array([0, 0, 9.81]))
        state = RobotState(now, self._joints, np.zeros(29), np.zeros(29), still, np.full(2, 0.08), np.zeros(2))
        position, half = self.base[:3, 3], 0.5 * self.factory.robot.start[2]
        estimate = BaseEstimate(now, position, np.array([0, 0, np.sin(half), np.cos(half)]), np.zeros(3), np.zeros(3),
                                np.eye(6), np.ones(2, bool), np.full(2, 170.0))  # fmt: skip
        assert np.allclose(from_pose(np.concatenate([position, estimate.orientation])), self.base)
        control = ControlStatus(now, "standing", "", np.zeros(2), np.zeros(2), 0)
        return Observation(now, state, estimate, control, self.poses(now) if with_poses else None)


@pytest.fixture
def make_onlooker(model):
    return lambda factory: Onlooker(model, factory)


@pytest.fixture
def onlooker(make_onlooker, line_side) -> Onlooker:
    return make_onlooker(line_side)
