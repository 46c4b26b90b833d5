"""What vision says of itself: levels, reasons, remedies; one line always."""

import numpy as np
import pytest

from perception.poses import ObjectPose, PoseSet
from perception.vision import CameraHealth, VisionHealth
from perception.vision_report import report

SEES = {"left": CameraHealth(9.9, used=90), "right": CameraHealth(9.8, used=90)}


def judged(cameras=SEES, **changes):
    given = {"rung": "tracker", "now_s": 10.0, "silence_s": 0.01, "waited_s": 60.0, "stale_s": 0.5, **changes}
    result = report(VisionHealth(cameras, restarted_s=given.pop("restarted_s", -np.inf)), **given)
    assert "\n" not in result.message
    return result


def test_all_well():
    assert judged() == judged(now_s=10.1) and (judged().level, judged().tells) == ("ok", True)


@pytest.mark.parametrize(("changes", "level", "tells", "words"), [
    ({"now_s": None, "waited_s": 1.0}, "warn", False, "start control_node"),
    ({"now_s": None, "problem": "covariance is [nan]"}, "error", False, "covariance is [nan]"),
    ({"silence_s": 0.6}, "error", False, "no state of the robot for 0.6 s (0.5 s allowed)"),
    ({"now_s": 20.0}, "error", False, "left: no image for 10.1 s"),
    ({"people": ("p1", "p2")}, "warn", True, "people (p1, p2) are not seen by this rung: keep the fence closed"),
    ({"uncalibrated": ("left",)}, "warn", True, "left not calibrated, poses are less certain: run humanoid calibrate"),
    ({"restarted_s": 9.0}, "warn", True, "clock went back")])  # fmt: skip
def test_what_is_wrong_is_told_with_what_helps(changes, level, tells, words):
    result = judged(**changes)
    assert (result.level, result.tells) == (level, tells)
    assert words in result.message


def test_a_restart_to_a_time_that_is_still_to_come_is_no_news():
    assert judged(restarted_s=50.0).level == "ok"


def test_one_camera_lost_is_named_with_its_reason():
    result = judged({"left": CameraHealth(9.9, used=9), "right": CameraHealth(5.0, "frozen: 9 frames in a row are the same", used=3)},
                    arrived={"right": 9.9})  # fmt: skip
    assert (result.level, result.tells) == ("warn", True)
    assert "right is lost (frozen: 9 frames in a row are the same)" in result.message


def test_a_camera_that_was_refused_and_then_unplugged_sends_nothing():
    black = {**SEES, "right": CameraHealth(5.0, "black: 99% of it", used=3, refused=1)}
    assert "right is lost (black: 99% of it)" in judged(black, arrived={"right": 9.8}).message
    assert "right is lost (no image for 4.0 s)" in judged(black, arrived={"right": 6.0}).message


def test_a_computer_that_is_too_slow_is_told_from_a_camera_that_sends_nothing():
    assert "free a processor" in judged(now_s=11.5, arrived={"left": 11.4, "right": 11.4}).message
    assert "no image for 1.6 s" in judged(now_s=11.5, arrived={"left": 9.9, "right": 9.8}).message


def test_before_the_first_image_it_waits_and_later_complains():
    nothing = {"left": CameraHealth()}
    assert judged(nothing, waited_s=1.0).level == "warn" and judged(nothing).level == "error"
    assert judged({**SEES, "left": CameraHealth()}, waited_s=1.0).level == "ok"
    assert "left is lost (no image yet)" in judged({**SEES, "left": CameraHealth()}).message
    assert judged({"left": CameraHealth(problem="black: 99% of it", refused=1)}, waited_s=1.0).level == "error"


def test_figures_do_not_make_it_another_message():
    assert judged(now_s=20.0).kind == judged(now_s=21.0).kind
    assert judged(now_s=20.0).kind != judged(people=("p1",)).kind


def test_fiducials_that_show_no_tag_say_so():
    unseen = PoseSet(10.0, {"t1": ObjectPose("t1", np.eye(4), np.eye(6), -np.inf)})
    assert "no tags seen" in judged(rung="fiducial", poses=unseen).message
    assert judged(rung="tracker", poses=unseen).level == "ok"
    seen = PoseSet(10.0, {"t1": ObjectPose("t1", np.eye(4), np.eye(6), 9.0)})
    assert judged(rung="fiducial", poses=seen).level == "ok"
