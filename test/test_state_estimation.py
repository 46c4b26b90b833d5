"""The state estimator on the simulated robot: drift, velocity, contacts, covariance."""

import mujoco
import numpy as np
import pytest

from policies.bench.push import Case, PushTrial
from humanoid_control.robot_model import RobotModel
from humanoid_control.state_estimation import StateEstimator
from humanoid_control.transforms import from_pose, inverse


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


class Walk:
    """What the estimator said and what was true, tick by tick."""

    def __init__(self, model, seed, seconds=12.0, force=0.0):
        trial = PushTrial(model, Case("walking", force, speed=0.3), seed)
        robot, loop = trial.robot, trial.loop
        scene, data = robot.scene, robot.data
        feet = np.full(scene.ngeom, -1)
        for side, name in enumerate(("left", "right")):
            feet[scene.geom_bodyid == scene.body(f"{name}_ankle_roll_link").id] = side
        base = int(scene.joint("floating_base").dofadr[0])
        wrench = np.zeros(6)
        rows = []
        while trial.time_s < seconds:
            forces = np.zeros(2)
            for index in range(data.ncon):
                side = max(feet[data.contact.geom1[index]], feet[data.contact.geom2[index]])
                if side >= 0:
                    mujoco.mj_contactForce(scene, data, index, wrench)
                    forces[side] += wrench[0]
            truth, speed = robot.true_base_pose(), data.qvel[base : base + 3].copy()
            trial._force = np.array([0.0, force, 0.0]) if 5.0 < trial.time_s < 5.2 else np.zeros(3)
            assert not trial._tick()
            estimate = loop.estimate()
            rows.append((data.time, truth, estimate, speed, forces))
        self.time = np.array([r[0] for r in rows])
        self.truths, self.estimates = [r[1] for r in rows], [r[2] for r in rows]
        self.true_velocity = np.array([r[3] for r in rows])
        self.velocity = np.array([e.linear_velocity for e in self.estimates])
        self.true_forces = np.array([r[4] for r in rows])
        self.forces = np.array([e.foot_forces for e in self.estimates])
        self.contacts = np.array([e.contacts for e in self.estimates])

    def drift_per_metre(self):
        """Error of the way between first and last tick, per metre walked."""
        poses = [from_pose(np.concatenate([e.position, e.orientation])) for e in (self.estimates[100], self.estimates[-1])]
        true = inverse(self.truths[100]) @ self.truths[-1]
        error = (inverse(poses[0]) @ poses[1])[:3, 3] - true[:3, 3]
        return np.linalg.norm(error[:2]) / np.linalg.norm(true[:2, 3]), abs(error[2])


@pytest.fixture(scope="module")
def walk(model):
    return Walk(model, seed=3)


def test_drifts_less_than_15_millimetres_a_metre_and_not_in_height(walk):
    drift, height = walk.drift_per_metre()
    assert drift < 0.015
    assert height < 0.02


def test_velocity_follows_the_truth(walk):
    error = (walk.velocity - walk.true_velocity)[100:]
    assert np.sqrt((error**2).mean(axis=0)).max() < 0.04


def test_velocity_follows_the_truth_through_a_push(model):
    walk = Walk(model, seed=4, seconds=7.0, force=40.0)
    pushed = (walk.time > 5.0) & (walk.time < 6.5)
    assert np.abs(walk.true_velocity[pushed, 1]).max() > 0.2
    assert np.abs((walk.velocity - walk.true_velocity)[pushed]).max() < 0.25


def test_knows_which_foot_carries(walk):
    carries = walk.true_forces[100:] > 100.0
    lifted = walk.true_forces[100:] < 1.0
    assert walk.contacts[100:][carries].mean() > 0.97
    assert walk.contacts[100:][lifted].mean() < 0.05
    assert np.abs(walk.forces[100:].sum(axis=1) - walk.true_forces[100:].sum(axis=1)).mean() < 40.0


def test_covariance_stays_symmetric_positive_and_grows_with_the_way(walk):
    early, late = walk.estimates[200].covariance, walk.estimates[-1].covariance
    for covariance in (early, late):
        assert np.abs(covariance - covariance.T).max() < 1e-9
        assert np.linalg.eigvalsh(0.5 * (covariance + covariance.T)).min() > 0.0
    assert late[0, 0] > early[0, 0]
    assert late[3, 3] < 0.01


def test_starts_between_the_feet_on_the_floor(model):
    trial = PushTrial(model, Case("standing", 0.0), 0)
    estimator = StateEstimator(model)
    estimator.update(trial.robot.read(), np.zeros(35), np.ones(2, np.int64))
    soles = [trial.robot.data.site(name).xpos for name in ("l_sole", "r_sole")]
    middle = 0.5 * (soles[0] + soles[1])
    assert estimator.record["base_position"] == pytest.approx(trial.robot.data.qpos[:3] - middle, abs=0.01)
