"""The control loop's thread: what goes in and out of it, without ROS."""

import time

import pytest

from humanoid_control.control_loop import ControlLoop
from humanoid_control.errors import RobotError, TargetError
from humanoid_control.nodes.control_thread import RING_SIZE, ControlThread
from humanoid_control.robot_model import RobotModel
from humanoid_control.robots.fake_robot import FakeRobot
from humanoid_control.robots.paced_robot import PacedRobot
from humanoid_control.types import WholeBodyTarget


@pytest.fixture
def fake():
    return FakeRobot(RobotModel.load())


@pytest.fixture
def thread(fake):
    thread = ControlThread(ControlLoop(PacedRobot(fake)), observe=lambda: "truth")
    yield thread
    thread.end()
    assert fake.is_stopped and not fake.is_connected


def collect(thread, is_enough, timeout_s=10.0):
    snapshots, until = [], time.monotonic() + timeout_s
    while not is_enough(snapshots):
        thread.has_news.wait(0.1)
        snapshots += thread.take_snapshots()[0]
        assert time.monotonic() < until
    return snapshots


def newest_status(snapshots):
    return next((s.status for s in reversed(snapshots) if s.status is not None), None)


def test_every_tick_comes_out_once_and_in_order(thread):
    thread.start()
    snapshots = [s for s in collect(thread, lambda s: len(s) > 50) if s.state is not None]
    stamps = [s.state.stamp_s for s in snapshots]
    assert all(b - a == pytest.approx(0.004) for a, b in zip(stamps, stamps[1:]))
    assert sum(s.truth == "truth" for s in snapshots) >= len(snapshots) // 5 - 1


def test_who_comes_too_late_is_told_what_was_lost(fake):
    thread = ControlThread(ControlLoop(PacedRobot(fake, rate_factor=20.0)))
    thread.start()
    while thread.loop.tick_count < 2 * RING_SIZE:
        time.sleep(0.01)
    snapshots, lost = thread.take_snapshots()
    assert lost >= RING_SIZE - 50
    assert len(snapshots) <= RING_SIZE
    thread.end()


def test_a_target_that_could_not_be_read_is_refused_with_its_reason(thread):
    thread.start()
    collect(thread, lambda s: len(s) > 5)
    thread.submit(TargetError("its frame is 'moon'"))
    snapshots = collect(thread, lambda s: newest_status(s) is not None and "moon" in newest_status(s).reason)
    assert newest_status(snapshots).mode in ("holding", "stopped")


def test_only_the_newest_target_counts(thread):
    thread.submit(WholeBodyTarget(0.0, pelvis_height=float("nan")))
    thread.submit(WholeBodyTarget(0.0))
    thread.start()
    snapshots = collect(thread, lambda s: newest_status(s) is not None)
    assert "finite" not in newest_status(snapshots).reason


def test_calls_are_made_in_the_thread(thread):
    names = []
    thread.call(lambda: names.append(__import__("threading").current_thread().name))
    thread.start()
    collect(thread, lambda s: names)
    assert names == ["control"]


def test_a_robot_that_cannot_be_reached_ends_the_thread_with_the_reason(fake):
    fake.is_silent = True
    thread = ControlThread(ControlLoop(PacedRobot(fake)))
    thread.start()
    thread.has_news.wait(5.0)
    thread._thread.join(5.0)
    assert not thread.is_alive
    assert isinstance(thread.failure, RobotError)
