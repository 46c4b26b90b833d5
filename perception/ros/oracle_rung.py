"""The rung `oracle` on topics: what the simulation tells of itself, as poses. Privileged."""

from __future__ import annotations

import mujoco
import numpy as np
from humanoid_interfaces.msg import SimulationState

from humanoid_control.mission.factory import Factory
from humanoid_control.nodes.health import OK, WARN
from humanoid_control.nodes.life_cycle import ManagedNode
from humanoid_control.nodes.polled import Polled
from humanoid_control.nodes.simulation_mirror import SimulationMirror
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.qos import create_publisher
from perception.oracle import OraclePoses
from perception.ros.pose_messages import poses_to_message


class OracleRung:
    """See the module; each method is one of the node's life cycle."""

    def __init__(self, node: ManagedNode, factory: Factory) -> None:
        """Takes the node's parameters over."""
        self._node, self._factory = node, factory
        self._next_s = -np.inf

    def configure(self) -> None:
        """Builds the scene anew.

        Raises:
            SimulationError: it cannot be built.
        """
        self._mirror = SimulationMirror(self._factory, self._node.parameters.seed)
        self._source = OraclePoses(self._mirror.world, self._mirror.data)
        self._detections = create_publisher(self._node, topics.DETECTIONS)

    def activate(self) -> None:
        """Listens to the simulation."""
        self._states = Polled(self._node, topics.SIMULATION_STATE)

    def deactivate(self) -> None:
        """Listens no more."""
        self._states.destroy()

    def look(self) -> None:
        """Tells the newest state's poses, when they are due."""
        for message in self._states.take():
            self._take_state(message)

    def _take_state(self, message: SimulationState) -> None:
        stamp = conversions.time_from_message(message.header.stamp)
        period_s = 1.0 / self._node.parameters.rate_hz
        if stamp < self._next_s and self._next_s - stamp <= period_s:
            return
        self._next_s = stamp + 0.99 * period_s
        health = self._node.health
        problem = self._mirror.problem_with(message.factory, message.seed, len(message.qpos))
        if problem:
            health.set(WARN, problem)
            return
        self._mirror.show(message.qpos, stamp)
        mujoco.mj_kinematics(self._mirror.scene, self._mirror.data)
        poses = self._source.read()
        self._detections.publish(poses_to_message(poses))
        health.values = {"totes": len(poses.totes), "surfaces": len(poses.surfaces), "people": len(poses.people)}
        health.set(OK, f"{self._node.parameters.poses}: sees")
