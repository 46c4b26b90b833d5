"""The frames of the description node, put together, are pinocchio's forward kinematics."""

import numpy as np
import pinocchio as pin
import pytest

from humanoid_control.nodes.description_node import LinkFrames
from humanoid_control.robot_model import RobotModel


@pytest.mark.parametrize("seed", range(3))
def test_frames_chain_to_forward_kinematics(seed):
    model = RobotModel.load()
    rng = np.random.default_rng(seed)
    positions = rng.uniform(model.position_lower, model.position_upper)
    fingers = rng.uniform(model.finger_lower, model.finger_upper, 4)
    frames = LinkFrames(model)
    above = {child: (parent, pose) for parent, child, pose in
             [*frames.fixed, *frames.moving([*model.joint_names, *model.finger_names], [*positions, *fingers])]}  # fmt: skip
    q = pin.neutral(model.full)
    for name, value in zip([*model.joint_names, *model.finger_names], [*positions, *fingers]):
        q[model.full.joints[model.full.getJointId(name)].idx_q] = value
    data = model.full.createData()
    pin.framesForwardKinematics(model.full, data, q)
    base = data.oMf[model.full.getFrameId("base_link", pin.FrameType.BODY)]
    for link in ("l_gripper", "r_sole", "head_camera_optical", "left_dex1_finger_link_2"):
        pose, frame = np.eye(4), link
        while frame != "base_link":
            frame, step = above[frame]
            pose = step @ pose
        expected = base.actInv(data.oMf[model.full.getFrameId(link, pin.FrameType.BODY)]).homogeneous
        np.testing.assert_allclose(pose, expected, atol=1e-9)


def test_unknown_joints_are_passed_over():
    frames = LinkFrames(RobotModel.load())
    before = frames.moving([], [])
    after = frames.moving(["no_such_joint"], [1.0])
    for (_, _, first), (_, _, second) in zip(before, after):
        np.testing.assert_array_equal(first, second)
