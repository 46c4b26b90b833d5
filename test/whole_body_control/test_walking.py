"""The walker on the model it is made of: a point mass on a leg without mass."""

from itertools import pairwise

import numpy as np
import pytest

from humanoid_control.whole_body_control import walking

DT, HEIGHT = 0.004, 0.68


class Pendulum:
    """A centre of mass of constant height over two feet that go exactly where they are told."""

    def __init__(self):
        self.gait, self.walk = walking.default_gait(), np.zeros(1, walking.WALK)[0]
        self.com, self.velocity = np.array([0.0, 0.0, HEIGHT]), np.zeros(3)
        self.soles = np.array([[0.0, 0.11, 0.0], [0.0, -0.11, 0.0]])
        self.yaw = np.zeros(2)
        self.time = 0.0
        self.footholds = []  # (side, x, y) in the frame of the foot that carried

    def step(self, command, acceleration=(0.0, 0.0)):
        walk, omega = self.walk, np.sqrt(9.81 / HEIGHT)
        ankles = self.soles.copy()
        for side in (0, 1):
            ankles[side] += [-walking.SOLE_FORWARD * np.cos(self.yaw[side]), -walking.SOLE_FORWARD * np.sin(self.yaw[side]),
                             walking.ANKLE_HEIGHT]  # fmt: skip
        touching = (self.soles[:, 2] < 1e-3).astype(np.int64)
        steps, support = int(walk["steps"]), int(walk["support"])
        walking.step(self.gait, walk, self.com, self.velocity, self.soles, self.yaw, ankles, touching,
                     np.asarray(command, float), HEIGHT, 0.0, DT)  # fmt: skip
        if walk["steps"] > steps:
            swing = 1 - support
            c, s = np.cos(self.yaw[support]), np.sin(self.yaw[support])
            way = self.soles[swing] - self.soles[support]
            self.footholds.append((swing, c * way[0] + s * way[1], -s * way[0] + c * way[1]))
            self.soles[swing, 2] = 0.0
        for side in (0, 1):
            if walk["contact"][side] == 0:
                yaw = walk["foot_yaw"]
                self.yaw[side] = yaw
                forward = walking.SOLE_FORWARD * np.array([np.cos(yaw), np.sin(yaw)])
                self.soles[side, :2] = walk["foot_position"][:2] + forward
                self.soles[side, 2] = max(walk["foot_position"][2] - walking.ANKLE_HEIGHT, 0.0)
        push = omega**2 * (self.com[:2] - walk["pressure"]) + acceleration
        self.com[:2] += DT * self.velocity[:2] + 0.5 * DT**2 * push
        self.velocity[:2] += DT * push
        self.time += DT

    def run(self, seconds, command, acceleration=(0.0, 0.0)):
        for _ in range(round(seconds / DT)):
            self.step(command, acceleration)

    @property
    def divergent(self):
        return self.com[:2] + self.velocity[:2] / np.sqrt(9.81 / HEIGHT)

    @property
    def distance_to_feet(self):
        return np.linalg.norm(self.com[:2] - self.soles[:, :2].mean(axis=0))


def test_standing_still_takes_no_step():
    pendulum = Pendulum()
    pendulum.run(3.0, (0, 0, 0))
    assert pendulum.walk["steps"] == 0 and pendulum.walk["mode"] == walking.STANDING
    assert np.linalg.norm(pendulum.com[:2]) < 0.01


@pytest.mark.parametrize("command", [(0.3, 0, 0), (-0.2, 0, 0), (0, 0.15, 0), (0, 0, 0.6), (0.2, 0.05, 0.4)])
def test_steps_alternate_and_stay_within_reach(command):
    pendulum = Pendulum()
    pendulum.run(8.0, command)
    sides = [side for side, _, _ in pendulum.footholds]
    assert len(sides) > 10
    assert all(a != b for a, b in pairwise(sides))
    gait = pendulum.gait
    for side, x, y in pendulum.footholds:
        outward = y if side == 0 else -y
        assert -gait["backward_reach"] - 0.01 < x < gait["forward_reach"] + 0.01
        assert gait["narrowest"] - 0.02 < outward < gait["widest"] + 0.02


@pytest.mark.parametrize("command", [(0.3, 0, 0), (-0.2, 0, 0), (0, 0.15, 0), (0, -0.15, 0)])
def test_mean_velocity_is_the_one_asked_for(command):
    pendulum = Pendulum()
    pendulum.run(3.0, command)
    start = pendulum.com.copy()
    pendulum.run(9.6, command)
    assert (pendulum.com - start)[:2] / 9.6 == pytest.approx(command[:2], abs=0.03)


def test_turns_at_the_rate_asked_for():
    pendulum = Pendulum()
    pendulum.run(3.0, (0, 0, 0.5))
    start = pendulum.yaw.mean()
    pendulum.run(4.8, (0, 0, 0.5))
    assert (pendulum.yaw.mean() - start) / 4.8 == pytest.approx(0.5, abs=0.08)


def test_stands_when_told_with_the_feet_side_by_side():
    pendulum = Pendulum()
    pendulum.run(4.0, (0.3, 0, 0.2))
    pendulum.run(4.0, (0, 0, 0))
    assert pendulum.walk["mode"] == walking.STANDING
    steps = int(pendulum.walk["steps"])
    pendulum.run(2.0, (0, 0, 0))
    assert pendulum.walk["steps"] == steps
    yaw = pendulum.yaw.mean()
    way = pendulum.soles[0] - pendulum.soles[1]
    assert abs(np.cos(yaw) * way[0] + np.sin(yaw) * way[1]) < 0.06
    assert pendulum.distance_to_feet < 0.05


@pytest.mark.parametrize("direction", range(8))
def test_a_push_while_standing_is_caught_by_steps(direction):
    pendulum = Pendulum()
    pendulum.run(1.0, (0, 0, 0))
    angle = direction * np.pi / 4
    pendulum.run(0.2, (0, 0, 0), 4.0 * np.array([np.cos(angle), np.sin(angle)]))
    pendulum.run(4.0, (0, 0, 0))
    assert pendulum.walk["steps"] > 0
    assert pendulum.walk["mode"] == walking.STANDING
    assert pendulum.distance_to_feet < 0.05


def test_random_pushes_and_commands_never_give_nan_nor_a_fall():
    rng = np.random.default_rng(0)
    pendulum = Pendulum()
    for _ in range(60):
        command = rng.uniform(-1, 1, 3) * (0.3, 0.15, 0.6) * rng.integers(0, 2)
        push = rng.uniform(-1, 1, 2) * 0.9
        for _ in range(round(rng.uniform(0.2, 0.8) / DT)):
            pendulum.step(command, push)
            for name in ("foot_position", "com_acceleration", "pressure", "foothold"):
                assert np.isfinite(pendulum.walk[name]).all()
        assert pendulum.distance_to_feet < 0.4


def test_the_swing_foot_arrives_at_the_foothold():
    pendulum = Pendulum()
    pendulum.run(3.0, (0.3, 0, 0))
    for _ in range(6):
        steps = int(pendulum.walk["steps"])
        foothold = None
        while pendulum.walk["steps"] == steps:
            foothold = pendulum.walk["foothold"].copy()
            swing = 1 - int(pendulum.walk["support"])
            pendulum.step((0.3, 0, 0))
        assert np.linalg.norm(pendulum.soles[swing, :2] - foothold) < 0.01
