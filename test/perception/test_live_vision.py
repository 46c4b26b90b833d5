"""Vision in threads: nobody waits, newer images replace older ones, and poses stop rather than lie."""

import os
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from perception.camera_model import CameraModel
from perception.errors import PerceptionError
from perception.frame import CameraFrame
from perception.live_vision import LOOKING_NICENESS, LiveVision
from perception.poses import ObjectPose, PoseSet
from perception.vision import CameraHealth, VisionHealth

MODEL = CameraModel("left", 64, 36, np.array([[47.0, 0, 31.5], [0, 47.0, 17.5], [0, 0, 1]]))
IMAGE = np.zeros((36, 64, 3), np.uint8)
PATIENCE_S = 10.0


class Eyes:
    """Stands for `VisionPoses`: looks as long as it is told to, and remembers what it was given."""

    map_from_odom = np.eye(4)

    def __init__(self):
        self.health = VisionHealth({name: CameraHealth() for name in ("left", "right")})
        self.may_look = threading.Event()
        self.may_look.set()
        self.looking = threading.Event()
        self.seen, self.stamps, self.intrinsics = [], [], {}
        self.updating, self.held = [], {}  # events that states wait for, by stamp
        self.error = None

    def update(self, state, estimate):
        self.updating.append(state.stamp_s)
        assert state.stamp_s not in self.held or self.held[state.stamp_s].wait(PATIENCE_S)
        self.stamps.append(state.stamp_s)

    def set_camera(self, name, camera):
        self.intrinsics[name] = camera

    def take(self, frames):
        self.looking.set()
        assert self.may_look.wait(PATIENCE_S)
        self.looking.clear()
        if self.error:
            raise self.error
        for frame in frames:
            self.seen.append((frame.camera, frame.stamp_s))
            self.health.cameras[frame.camera].stamp_s = frame.stamp_s
            self.health.cameras[frame.camera].used += 1

    def read(self):
        return PoseSet(self.stamps[-1], {"t1": ObjectPose("t1", np.eye(4), np.eye(6), -np.inf)})


def until(is_so):
    patience = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < patience
        time.sleep(0.002)


@pytest.fixture
def make_live():
    made = []

    def make():
        eyes, told, now = Eyes(), [], [100.0]
        live = LiveVision(eyes, rung="tracker", rate_hz=25.0, on_poses=lambda poses, pose: told.append(poses.stamp_s),
                          clock=lambda: now[0])  # fmt: skip
        made.append((live, eyes))
        live.start()
        return SimpleNamespace(
            live=live, eyes=eyes, told=told, now=now, state=lambda stamp_s: live.add_state(SimpleNamespace(stamp_s=stamp_s), None),
            frame=lambda stamp_s, camera="left": live.add_frame(CameraFrame(camera, stamp_s, IMAGE)))  # fmt: skip

    yield make
    for live, eyes in made:
        eyes.may_look.set()
        live.end()


@pytest.fixture
def live(make_live):
    return make_live()


def test_images_that_come_while_it_looks_replace_older_ones_and_nobody_waits(live):
    live.eyes.may_look.clear()
    live.state(0.0)
    live.state(1.0)
    live.frame(0.1)
    until(live.eyes.looking.is_set)
    for stamp_s in (0.2, 0.3, 0.4):
        live.frame(stamp_s)
    live.state(1.02)
    until(lambda: live.eyes.stamps == [0.0, 1.0, 1.02])  # states are taken in meanwhile
    live.eyes.may_look.set()
    until(lambda: len(live.eyes.seen) == 2)
    assert live.eyes.seen == [("left", 0.1), ("left", 0.4)]
    assert "2 dropped" in live.live.figures()["left"] and "0 dropped" in live.live.figures()["right"]


def test_cameras_take_turns(live):
    live.eyes.may_look.clear()
    live.state(0.0)
    live.state(1.0)
    live.frame(0.1, "left")
    until(live.eyes.looking.is_set)
    live.frame(0.2, "left")
    live.frame(0.3, "right")
    live.eyes.may_look.set()
    until(lambda: len(live.eyes.seen) == 3)
    assert [camera for camera, _ in live.eyes.seen] == ["left", "right", "left"]


def test_an_image_waits_for_the_states_of_its_time(live):
    live.state(1.0)
    live.frame(1.05)
    live.frame(1.0, "right")
    until(lambda: live.eyes.seen == [("right", 1.0)])
    live.state(1.06)
    until(lambda: live.eyes.seen[1:] == [("left", 1.05)])


def test_an_image_from_before_work_began_is_dropped_without_a_word(live):
    live.state(9.0)
    live.frame(8.9)
    live.frame(9.0, "right")
    until(lambda: live.eyes.seen == [("right", 9.0)] and "1 dropped" in live.live.figures()["left"])
    live.frame(0.0)  # not from before, but without a stamp: for the check to name
    until(lambda: live.eyes.seen[1:] == [("left", 0.0)])


def test_poses_are_told_at_their_rate_once_a_camera_sees(live):
    live.state(1.0)
    until(lambda: live.eyes.stamps)
    assert live.told == [] and not live.live.report().tells
    live.frame(1.0)
    until(lambda: live.eyes.health.cameras["left"].used)
    for step in range(1, 101):
        live.state(1.0 + 0.016 * step)
        until(lambda step=step: len(live.eyes.stamps) == step + 1)
        live.frame(1.0 + 0.016 * step)
    until(lambda: len(live.told) >= 39)
    assert 39 <= len(live.told) <= 41  # 1.6 s
    assert min(np.diff(live.told)) > 0.015


def test_without_cameras_it_ceases_to_tell_and_says_what_helps(live):
    live.state(1.0)
    live.frame(1.0)
    until(lambda: live.eyes.seen)
    live.state(1.04)
    until(lambda: live.told)
    live.now[0] += 30
    live.state(31.0)
    until(lambda: len(live.eyes.stamps) == 3)
    report = live.live.report()
    assert report.level == "error" and not report.tells
    assert "left: no image for 30.0 s" in report.message and "right: no image yet" in report.message and "start" in report.message
    assert live.told[-1] < 2.0


def test_images_whose_stamps_are_wrong_are_told_from_no_images(live):
    live.state(50.0)
    live.frame(50.0, "left")
    until(lambda: live.eyes.seen)
    live.eyes.error = PerceptionError("no state of the robot for 0.000 s")
    live.frame(0.0, "right")
    until(lambda: live.eyes.health.cameras["right"].refused)
    assert "right is lost (no state of the robot for 0.000 s)" in live.live.report().message
    live.eyes.error = None
    live.state(50.9)
    live.frame(50.5, "left")
    live.state(51.3)
    until(lambda: live.eyes.health.cameras["left"].stamp_s == 50.5)
    assert "right is lost (no image for 1.3 s)" in live.live.report().message


def test_without_states_it_ceases_to_tell(live):
    assert "start control_node" in live.live.report().message
    live.state(1.0)
    live.frame(1.0)
    until(lambda: live.eyes.seen)
    live.state(1.04)
    until(lambda: live.told)
    assert live.live.report().tells
    live.now[0] += 0.7
    report = live.live.report()
    assert (report.level, report.tells) == ("error", False)
    assert "0.7 s" in report.message and "control_node" in report.message


def test_a_camera_whose_info_is_wrong_is_refused_by_that_reason_until_it_is_right(live):
    live.live.set_camera("left", "its camera info is wrong: fx is -1")
    live.state(0.0)
    live.state(1.0)
    live.frame(0.5)
    until(lambda: live.eyes.health.cameras["left"].refused == 1)
    assert live.eyes.health.cameras["left"].problem.endswith("fx is -1") and live.eyes.intrinsics["left"] is None
    live.live.set_camera("left", MODEL)
    live.frame(0.6)
    until(lambda: live.eyes.seen == [("left", 0.6)])
    assert live.eyes.intrinsics["left"] is MODEL


def test_what_an_image_makes_impossible_is_named_and_the_next_is_looked_at(live):
    live.eyes.error = PerceptionError("left saw tote '' of kind 'klt_9999'")
    live.state(0.0)
    live.state(1.0)
    live.frame(0.5)
    until(lambda: live.eyes.health.cameras["left"].refused == 1)
    assert "klt_9999" in live.live.figures()["left"]
    live.eyes.error = None
    live.frame(0.6)
    until(lambda: live.eyes.seen == [("left", 0.6)])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_in_a_thread_is_an_error_that_is_told(live):
    live.eyes.error = ZeroDivisionError("division by zero")
    live.state(0.0)
    live.state(1.0)
    live.frame(0.5)
    until(lambda: live.live.failure is not None)
    report = live.live.report()
    assert (report.level, report.tells) == ("error", False) and "division by zero" in report.message


@pytest.mark.parametrize("method", ["getpriority", "setpriority"])
def test_a_system_that_allows_no_other_priority_is_looked_on_all_the_same(monkeypatch, make_live, method):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, method, refuse)
    live = make_live()
    live.state(0.0)
    live.state(1.0)
    live.frame(0.5)
    until(lambda: live.eyes.seen == [("left", 0.5)])
    assert live.live.failure is None


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priorities of their own")
@pytest.mark.parametrize(("niceness", "wanted"), [(0, LOOKING_NICENESS), (10, 10)])
def test_looking_is_made_nicer_and_never_less_so(monkeypatch, make_live, niceness, wanted):
    asked = []
    monkeypatch.setattr(os, "getpriority", lambda *arguments: niceness)
    monkeypatch.setattr(os, "setpriority", lambda which, who, priority: asked.append(priority))
    make_live()
    until(lambda: asked)
    assert asked == [wanted]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_before_its_first_image_is_an_error_that_is_told(monkeypatch, make_live):
    def fail(*arguments):
        raise RuntimeError("no such priority")

    monkeypatch.setattr(os, "setpriority", fail)
    live = make_live()
    until(lambda: live.live.failure is not None)
    assert live.live.report().level == "error"


def test_after_the_clock_went_back_images_of_the_old_time_are_dropped_and_poses_go_on(live):
    live.eyes.may_look.clear()
    live.state(49.8)
    live.state(50.0)
    live.frame(49.9)
    until(live.eyes.looking.is_set)
    live.frame(50.0)
    live.state(0.0)
    live.eyes.may_look.set()
    live.frame(0.0, "right")
    until(lambda: live.eyes.seen[-1:] == [("right", 0.0)])
    assert ("left", 50.0) not in live.eyes.seen
    live.state(0.04)
    until(lambda: live.told and live.told[-1] == 0.04)


def test_after_the_clock_went_back_the_first_image_waits_for_the_states_of_its_time(live):
    live.eyes.held = {0.0: threading.Event()}
    live.state(50.0)
    until(lambda: live.eyes.stamps == [50.0])
    live.state(0.0)
    live.frame(0.0)
    until(lambda: live.eyes.updating == [50.0, 0.0])
    time.sleep(0.05)
    assert live.eyes.seen == []  # nobody knows yet where the robot was then
    live.eyes.held[0.0].set()
    until(lambda: live.eyes.seen == [("left", 0.0)])


def test_a_state_of_the_old_time_that_is_still_taken_in_lets_no_image_of_the_new_one_be_looked_at(live):
    live.eyes.held = {50.0: threading.Event(), 0.0: threading.Event()}
    live.state(50.0)
    until(lambda: live.eyes.updating == [50.0])
    live.state(0.0)
    live.frame(0.0)
    live.eyes.held[50.0].set()
    until(lambda: live.eyes.updating == [50.0, 0.0])
    time.sleep(0.05)
    assert live.eyes.seen == []
    live.eyes.held[0.0].set()
    until(lambda: live.eyes.seen == [("left", 0.0)])


@pytest.mark.parametrize("when", ["looked at", "being looked at"])
def test_no_latency_is_that_of_an_image_from_before_the_clock_went_back(live, when):
    live.state(50.0)
    until(lambda: live.eyes.stamps)
    if when == "being looked at":
        live.eyes.may_look.clear()
    live.frame(50.0, "right")
    until(lambda: live.eyes.looking.is_set() or live.eyes.seen)
    until(lambda: live.eyes.looking.is_set() == (when == "being looked at"))
    live.state(0.0)
    live.eyes.may_look.set()
    live.state(0.02)
    live.frame(0.01)
    until(lambda: ("left", 0.01) in live.eyes.seen)
    until(lambda: live.live.add_state(SimpleNamespace(stamp_s=0.1), None) or "image to poses p50 ms" in live.live.figures())
    assert float(live.live.figures()["image to poses p50 ms"]) == pytest.approx(90, abs=1)


def test_figures_tell_rate_latency_and_what_was_seen(live):
    live.state(0.0)
    live.state(1.0)
    live.frame(0.9)
    until(lambda: live.eyes.seen)
    live.state(1.1)
    until(lambda: live.live.figures()["poses a second"] != "0.0")
    figures = live.live.figures()
    assert float(figures["image to poses p50 ms"]) == pytest.approx(200, abs=1)
    assert {"looking p50 ms", "looking p99 ms", "image to poses p99 ms"} <= set(figures)
    assert figures["tote t1"] == "not seen yet, 1000 mm uncertain"
