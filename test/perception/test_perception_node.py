"""Poses and images as messages, and what the node refuses."""

import array
import subprocess
import sys

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image

from humanoid_control.errors import ConfigurationError
from humanoid_control.ros.environment import environment_for_children, prepare_environment
from humanoid_control.transforms import planar
from perception.camera_model import CameraModel
from perception.frame import CameraFrame, FrameCheck
from perception.poses import ObjectPose, PoseSet
from perception.ros.image_messages import camera_from_message, frame_from_message, frame_to_message
from perception.ros.pose_messages import poses_from_message, poses_to_message


def make_poses():
    covariance = np.diag(np.arange(1.0, 7.0))
    tote = ObjectPose("t1", planar(0.5, -0.2, 0.3, 0.7), covariance, 12.34)
    surface = ObjectPose("rack/1", planar(1.0, 0.1, -0.1, 0.8), covariance, 12.34)
    return PoseSet(12.34, {"t1": tote}, {"rack/1": surface}, {"p1": np.array([2.0, 1.0])})


def test_poses_survive_the_message():
    poses = poses_from_message(poses_to_message(make_poses()))
    assert poses.stamp_s == pytest.approx(12.34, abs=1e-9)
    for there, here in ((poses.totes["t1"], make_poses().totes["t1"]), (poses.surfaces["rack/1"], make_poses().surfaces["rack/1"])):
        np.testing.assert_allclose(there.base_from_object, here.base_from_object, atol=1e-12)
        np.testing.assert_allclose(there.covariance, here.covariance)
    np.testing.assert_allclose(poses.people["p1"], [2.0, 1.0])


def test_poses_in_another_frame_are_refused():
    message = poses_to_message(make_poses())
    message.header.frame_id = "map"
    with pytest.raises(ConfigurationError, match="'map'.*'base_link'"):
        poses_from_message(message)


def test_a_pose_that_is_not_finite_is_not_believed():
    message = poses_to_message(make_poses())
    message.detections[0].results[0].pose.pose.position.x = float("nan")
    assert "t1" not in poses_from_message(message).totes


def test_what_was_never_seen_stays_so():
    poses = make_poses()
    unseen = ObjectPose("t2", np.eye(4), np.eye(6), -np.inf)
    there = poses_from_message(poses_to_message(PoseSet(poses.stamp_s, {**poses.totes, "t2": unseen}, poses.surfaces)))
    assert there.totes["t2"].stamp_s == -np.inf
    assert there.totes["t1"].stamp_s == pytest.approx(12.34, abs=1e-9)


# --- images -------------------------------------------------------------------------------------------------------

PIXELS = np.random.default_rng(0).integers(20, 200, (36, 64, 3), dtype=np.uint8)
MODEL = CameraModel("head_camera", 64, 36, np.array([[47.0, 0, 31.5], [0, 47.0, 17.5], [0, 0, 1]]))


def image(**changes):
    values = {"height": 36, "width": 64, "step": 192, "encoding": "rgb8", "data": array.array("B", PIXELS.tobytes()), **changes}
    message = Image(**values)
    message.header.stamp.sec = 7
    return message


def problem_of(message):
    frame = frame_from_message("head_camera", message)
    return FrameCheck(MODEL).problem(frame)


def test_images_survive_the_message():
    frame = frame_from_message("head_camera", frame_to_message(CameraFrame("head_camera", 7.5, PIXELS)))
    assert (frame.camera, frame.stamp_s, frame.encoding) == ("head_camera", 7.5, "rgb8")
    assert (frame.rgb == PIXELS).all()
    assert problem_of(image()) == ""


def test_rows_may_be_longer_than_their_pixels():
    padded = np.concatenate([PIXELS.reshape(36, 192), np.full((36, 8), 255, np.uint8)], axis=1)
    frame = frame_from_message("head_camera", image(step=200, data=array.array("B", padded.tobytes())))
    assert (frame.rgb == PIXELS).all()


@pytest.mark.parametrize(("message", "words"), [
    (image(encoding="bgr8"), "encoding bgr8, not rgb8"), (image(encoding="mono8", step=64), "mono8"),
    (image(data=array.array("B", b"12345")), "image is 5 uint8, not 36 x 64 x 3"), (image(data=array.array("B")), "image is 0"),
    (image(height=18, step=384, width=128), "image is 18 x 128 x 3"), (image(step=10), "not 36 x 64 x 3")])  # fmt: skip
def test_images_that_are_not_what_they_say_are_named(message, words):
    assert words in problem_of(message)


def test_a_camera_info_is_the_camera_it_describes():
    info = CameraInfo(**{name: value for name, value in MODEL.camera_info_fields().items()})
    assert camera_from_message("head_camera", info).matches(MODEL)


@pytest.mark.parametrize(("changes", "words"), [
    ({"k": [-47.0, 0, 31.5, 0, 47.0, 17.5, 0, 0, 1]}, "fx, fy > 0"), ({"k": [np.nan, 0, 31.5, 0, 47.0, 17.5, 0, 0, 1]}, "finite"),
    ({"k": [0.0] * 9}, "fx"), ({"width": 0}, "0 x 36"), ({"width": 20}, "principal point"), ({"distortion_model": "fisheye"}, "fisheye"),
    ({"d": [np.inf] * 5}, "distortion")])  # fmt: skip
def test_a_camera_info_that_is_none_is_refused_by_name(changes, words):
    info = CameraInfo(**{**MODEL.camera_info_fields(), **changes})
    with pytest.raises(ConfigurationError, match=words) as error:
        camera_from_message("head_camera", info)
    assert "head_camera" in str(error.value) and "\n" not in str(error.value)


# --- what ends the node -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "words"), [
    (("robot:=g1",), ("oracle", "g1")), (("poses:=traker",), ("traker", "did you mean tracker")),
    (("cameras:=[head_camera, head_camera]",), ("cameras", "twice")), (("cameras:=[back_camera]",), ("cameras", "back_camera"))])  # fmt: skip
def test_what_cannot_be_ends_it_with_one_line(given, words):
    prepare_environment()
    arguments = [part for one in given for part in ("-p", one)]
    done = subprocess.run([sys.executable, "-m", "perception.perception_node", "--ros-args", *arguments],
                          env=environment_for_children(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and all(word in done.stderr for word in words), done.stderr
