"""Publishes the robot's description and the frames of its links: what robot_state_publisher does, where that is missing."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pinocchio as pin
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from humanoid_control.nodes.control_node import make_transform
from humanoid_control.nodes.polled import Polled
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.node_main import run_node
from humanoid_control.ros.parameters import NODE_OPTIONS, declare_parameters, parameter
from humanoid_control.ros.polling_executor import PollingExecutor
from humanoid_control.ros.qos import create_publisher

NAME = "description_node"
POLL_PERIOD_S = 0.01


@dataclass(frozen=True)
class DescriptionParameters:
    """See config/description_node.yaml."""

    rate_hz: float = parameter(20.0, "of the moving links' frames", minimum=1.0, maximum=250.0)


class LinkFrames:
    """Where each link lies in the link before it; knows no ROS.

    Attributes:
        fixed: (parent, child, (4, 4) parent_from_child) of links that never move.
    """

    def __init__(self, model: RobotModel) -> None:
        """Reads the tree of the URDF."""
        self._model, self._data = model.full, model.full.createData()
        self._configuration = pin.neutral(model.full)
        fixed, self._moving = [], []
        for joint in ElementTree.fromstring(model.urdf).iter("joint"):
            if joint.find("parent") is None:
                continue
            links = joint.find("parent").get("link"), joint.find("child").get("link")
            (fixed if joint.get("type") == "fixed" else self._moving).append(links)
        self.fixed = self._between(fixed)

    def moving(self, names: Sequence[str], positions: Sequence[float]) -> list[tuple[str, str, np.ndarray]]:
        """(parent, child, (4, 4) parent_from_child) of links behind moving joints.

        Args:
            names: of joints; unknown ones are passed over, missing ones stay where they were.
            positions: rad or m.
        """
        for name, position in zip(names, positions):
            if self._model.existJointName(name):
                self._configuration[self._model.joints[self._model.getJointId(name)].idx_q] = position
        return self._between(self._moving)

    def _between(self, links: Sequence[tuple[str, str]]) -> list[tuple[str, str, np.ndarray]]:
        pin.framesForwardKinematics(self._model, self._data, self._configuration)
        places = self._data.oMf
        return [(parent, child, places[self._frame(parent)].actInv(places[self._frame(child)]).homogeneous)
                for parent, child in links]  # fmt: skip

    def _frame(self, link: str) -> int:
        return self._model.getFrameId(link, pin.FrameType.BODY)


class DescriptionNode(Node):
    """See the module."""

    def __init__(self) -> None:
        """Publishes what never changes, and waits for joint states."""
        super().__init__(NAME, **NODE_OPTIONS)
        parameters = declare_parameters(self, DescriptionParameters)
        model = RobotModel.load()
        self._frames = LinkFrames(model)
        self._period_s = 1.0 / parameters.rate_hz
        self._next_s = -np.inf
        self._tf = create_publisher(self, topics.TF)
        static = create_publisher(self, topics.TF_STATIC)
        static.publish(TFMessage(transforms=[make_transform(0.0, *link) for link in self._frames.fixed]))
        create_publisher(self, topics.ROBOT_DESCRIPTION).publish(String(data=model.urdf))
        self._joint_states = Polled(self, topics.JOINT_STATES)
        self.get_logger().info(f"describes the robot: {len(self._frames.fixed)} fixed frames")

    def look(self) -> None:
        """Tells where links are, when that is due."""
        for message in self._joint_states.take():
            self._take_joint_states(message)

    def _take_joint_states(self, message: JointState) -> None:
        stamp = conversions.time_from_message(message.header.stamp)
        if stamp < self._next_s and self._next_s - stamp <= self._period_s:
            return
        self._next_s = stamp + self._period_s
        if not self._tf.get_subscription_count():
            return
        links = self._frames.moving(message.name, message.position)
        self._tf.publish(TFMessage(transforms=[make_transform(stamp, *link) for link in links]))


def main() -> int:
    """Runs the node."""
    return run_node(DescriptionNode, make_executor=lambda: PollingExecutor(POLL_PERIOD_S))


if __name__ == "__main__":
    sys.exit(main())
