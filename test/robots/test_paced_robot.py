"""A paced robot keeps time with the wall: absolute deadlines, made up when late, forgotten when hopeless."""

import time

import pytest

from humanoid_control.robot_model import RobotModel
from humanoid_control.robots import paced_robot
from humanoid_control.robots.fake_robot import FakeRobot
from humanoid_control.robots.paced_robot import PacedRobot


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleep moves, and `clock.now += ...`."""
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(paced_robot, "time", clock)
    return clock


def make(**options):
    robot = PacedRobot(FakeRobot(RobotModel.load()), **options)
    robot.connect()
    return robot


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_ticks_take_their_period_over_the_rate_factor(clock, factor):
    robot = make(rate_factor=factor)
    began = clock.now
    for _ in range(100):
        robot.wait_next_tick()
    assert clock.now - began == pytest.approx(100 * 0.004 / factor)
    assert robot.read().stamp_s == pytest.approx(0.4)


def test_lost_time_is_made_up(clock):
    robot = make()
    began = clock.now
    for tick in range(100):
        robot.wait_next_tick()
        if tick == 50:
            clock.now += 0.1
    assert clock.now - began == pytest.approx(0.46, abs=0.005)  # 49 ticks gave a fifth of their time back
    for _ in range(200):
        robot.wait_next_tick()
    assert clock.now - began == pytest.approx(1.2)
    assert robot.forgotten_s == 0.0


def test_time_lost_for_good_is_forgotten_and_told(clock):
    robot = make()
    robot.wait_next_tick()
    clock.now += 5.0
    robot.wait_next_tick()
    assert robot.forgotten_s == pytest.approx(5.0 - 0.004, abs=0.01)
    before = clock.now
    robot.wait_next_tick()
    assert clock.now - before == pytest.approx(0.004)


def test_factor_zero_does_not_wait(clock):
    robot = make(rate_factor=0.0)
    began = clock.now
    for _ in range(100):
        robot.wait_next_tick()
    assert clock.now == began


def test_real_time_is_kept():
    robot = make()
    began = time.monotonic()
    for _ in range(50):
        robot.wait_next_tick()
    assert 0.19 < time.monotonic() - began < 0.6
