"""The whole controller on the simulated robot: noisy sensors, unknown friction, delay, the estimator in the loop."""

import numpy as np
import pytest

from policies.bench.push import CARRYING_AT_S, Case, PushTrial
from humanoid_control.robot_model import RobotModel
from humanoid_control.types import WholeBodyTarget
from humanoid_control.whole_body_control import walking
from humanoid_control.whole_body_control.controller import standing_posture


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


class Run:
    """A robot on an empty floor that is told what to do second by second."""

    def __init__(self, model, seed=0):
        self._trial = PushTrial(model, Case("standing", 0.0), seed)
        self.robot, self.loop, self.controller = self._trial.robot, self._trial.loop, self._trial.loop.controller

    def follow(self, seconds, **wanted):
        """Runs with a target; fails if the robot falls or control stops."""
        end = self.robot.data.time + seconds
        while self.robot.data.time < end:
            self.loop.submit(WholeBodyTarget(self.robot.data.time, **wanted))
            command = self.loop.step()
            assert not self.loop.safety.is_stopped, self.loop.safety.reason
            assert np.isfinite(command.torques).all() and np.isfinite(command.positions).all()
            self.robot.wait_next_tick()
            assert self.robot.data.qpos[2] > 0.4

    def walk(self, velocity, seconds):
        self.follow(seconds, base_velocity=np.asarray(velocity, float))

    @property
    def pose(self):
        matrix = self.robot.true_base_pose()
        return np.array([*matrix[:2, 3], np.arctan2(matrix[1, 0], matrix[0, 0])])


@pytest.mark.parametrize("velocity", [(0.3, 0.0), (-0.2, 0.0), (0.0, 0.15)])
def test_walks_at_the_speed_asked_for(model, velocity):
    run = Run(model, seed=1)
    run.walk((*velocity, 0.0), 2.5)
    start = run.pose
    run.walk((*velocity, 0.0), 3.84)
    moved = run.pose - start
    c, s = np.cos(start[2]), np.sin(start[2])
    way = np.array([c * moved[0] + s * moved[1], -s * moved[0] + c * moved[1]]) / 3.84
    assert way == pytest.approx(velocity, abs=0.05)


def test_turns_on_the_spot(model):
    run = Run(model, seed=2)
    run.walk((0, 0, 0.6), 2.5)
    start = run.pose
    run.walk((0, 0, 0.6), 2.88)
    moved = run.pose - start
    assert moved[2] / 2.88 == pytest.approx(0.6, abs=0.1)
    assert np.linalg.norm(moved[:2]) < 0.2


def test_walks_stands_and_walks_again(model):
    run = Run(model, seed=3)
    for _ in range(2):
        run.walk((0.3, 0, 0), 2.5)
        run.walk((0, 0, 0), 2.5)
        assert run.controller.walk["mode"] == walking.STANDING
        steps = run.loop.status().step_count
        run.walk((0, 0, 0), 1.0)
        assert run.loop.status().step_count == steps


@pytest.mark.parametrize(("height", "pitch"), [(0.58, 0.0), (0.72, 0.7), (0.60, 0.6)])
def test_squats_and_bends_and_comes_up_again(model, height, pitch):
    run = Run(model, seed=4)
    run.follow(0.5)
    run.follow(2.5, pelvis_height=height, torso_pitch=pitch)
    assert run.robot.data.qpos[2] == pytest.approx(height, abs=0.035)
    torso = run.robot.data.body("torso_link").xmat.reshape(3, 3)
    assert np.arctan2(-torso[2, 0], torso[0, 0]) == pytest.approx(pitch, abs=0.12)
    run.follow(2.0)
    assert run.robot.data.qpos[2] == pytest.approx(0.72, abs=0.025)
    assert run.loop.status().step_count == 0
    run.walk((0.2, 0, 0), 1.5)
    assert run.loop.status().step_count > 0


def test_hands_follow_targets_in_odom_and_come_back(model):
    run = Run(model, seed=5)
    run.follow(0.5)
    poses = np.tile([0.30, 0.2, 0.95, 0, 0, 0, 1.0], (2, 1))
    poses[1, 1] = -0.2
    run.follow(2.0, frame="odom", hand_poses=poses, hand_active=np.ones(2, bool))
    assert run.loop.status().hand_errors.max() < 0.02
    run.follow(1.5)
    arms = run.robot.data.qpos[run.robot._joints[15:, 0]]
    assert np.abs(arms - standing_posture(model)[15:]).max() < 0.25


def test_weighs_the_tote_it_holds(model):
    for seed, kind in ((6, "klt_3147"), (7, "klt_4147")):
        trial = PushTrial(model, Case("carrying", 0.0, carries=True), seed, kind)
        masses = []
        while trial.time_s < CARRYING_AT_S + 1.0:
            assert not trial._tick()
            masses.append(trial.loop.status().payload_masses.sum())
        assert np.mean(masses[-200:]) == pytest.approx(2.0, abs=0.3)
        assert masses[100] == 0.0


@pytest.mark.parametrize(("case", "direction"), [
    (Case("standing", 70.0), 0.0), (Case("standing", 70.0), 2.0), (Case("walking", 40.0, speed=0.3), 1.57),
    (Case("walking", 40.0, speed=0.3), -2.4), (Case("carrying", 40.0, speed=0.3, carries=True), 0.8),
])  # fmt: skip
def test_survives_a_push(model, case, direction):
    assert PushTrial(model, case, 8).run(direction, case.force, 0.3) == ""
