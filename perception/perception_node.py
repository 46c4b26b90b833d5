"""Publishes what is seen of totes, stations and people, in base_link, with covariances.

For now one rung: `oracle`, which reads the simulation's truth. It is privileged, and refuses to serve a real robot.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import mujoco
import numpy as np
from humanoid_interfaces.msg import SimulationState

from humanoid_control.errors import ConfigurationError
from humanoid_control.nodes.factory_file import DESCRIPTION, find_factory
from humanoid_control.nodes.health import OK, WARN
from humanoid_control.nodes.life_cycle import ManagedNode, start
from humanoid_control.nodes.simulation_mirror import SimulationMirror
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.node_main import run_node
from humanoid_control.ros.parameters import parameter
from humanoid_control.ros.qos import create_publisher, create_subscription
from perception.oracle import OraclePoses
from perception.ros.pose_messages import poses_to_message

NAME = "perception_node"


@dataclass(frozen=True)
class PerceptionParameters:
    """See config/perception_node.yaml."""

    poses: str = parameter("oracle", "rung of perception", choices=("oracle",))
    robot: str = parameter("mujoco", "the robot it looks from; privileged rungs serve mujoco only")
    factory: str = parameter("line_side", DESCRIPTION)
    seed: int = parameter(0, "of the simulated episode", minimum=0)
    rate_hz: float = parameter(25.0, "of detections", minimum=1.0, maximum=50.0)
    autostart: bool = parameter(True, "configure and activate by itself")


class PerceptionNode(ManagedNode):
    """See the module."""

    def __init__(self) -> None:
        """Makes the node.

        Raises:
            HumanoidControlError: a parameter or the factory is wrong, or a privileged rung is asked for a real robot.
        """
        super().__init__(NAME, PerceptionParameters)
        p = self.parameters
        if p.robot != "mujoco":
            raise ConfigurationError(f"{NAME}: poses:=oracle reads the simulation's truth and cannot serve robot '{p.robot}'; "
                                     "it serves robot mujoco only")  # fmt: skip
        self._factory = find_factory(p.factory)
        self._subscription = None
        self._next_s = -np.inf

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        self._mirror = SimulationMirror(self._factory, self.parameters.seed)
        self._source = OraclePoses(self._mirror.world, self._mirror.data)
        self._detections = create_publisher(self, topics.DETECTIONS)

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        self._subscription = create_subscription(self, topics.SIMULATION_STATE, self._take_state)

    def deactivate(self) -> None:
        """See `ManagedNode.deactivate`."""
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None

    def _take_state(self, message: SimulationState) -> None:
        stamp = conversions.time_from_message(message.header.stamp)
        period_s = 1.0 / self.parameters.rate_hz
        if stamp < self._next_s and self._next_s - stamp <= period_s:
            return
        self._next_s = stamp + 0.99 * period_s
        problem = self._mirror.problem_with(message.factory, message.seed, len(message.qpos))
        if problem:
            self.health.set(WARN, problem)
            return
        self._mirror.show(message.qpos, stamp)
        mujoco.mj_kinematics(self._mirror.scene, self._mirror.data)
        poses = self._source.read()
        self._detections.publish(poses_to_message(poses))
        self.health.values = {"totes": len(poses.totes), "surfaces": len(poses.surfaces), "people": len(poses.people)}
        self.health.set(OK, f"{self.parameters.poses}: sees")


def main() -> int:
    """Runs the node."""
    return run_node(lambda: start(PerceptionNode()))


if __name__ == "__main__":
    sys.exit(main())
