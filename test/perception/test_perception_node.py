"""Poses as messages, and the oracle's refusal to serve a real robot."""

import subprocess
import sys

import numpy as np
import pytest

from humanoid_control.errors import ConfigurationError
from humanoid_control.ros.environment import environment_for_children, prepare_environment
from humanoid_control.transforms import planar
from perception.poses import ObjectPose, PoseSet
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


def test_the_oracle_refuses_a_real_robot():
    prepare_environment()
    done = subprocess.run([sys.executable, "-m", "perception.perception_node", "--ros-args", "-p", "robot:=g1"],
                          env=environment_for_children(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "oracle" in done.stderr and "g1" in done.stderr
