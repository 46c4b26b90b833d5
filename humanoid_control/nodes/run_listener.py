"""Listens to a run and keeps what its report needs; nobody waits for it."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node

from humanoid_control.mission.factory import Factory
from humanoid_control.nodes.polled import Polled
from humanoid_control.nodes.simulation_mirror import SimulationMirror
from humanoid_control.report.run_record import RunRecord, SubTask
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.conversions import time_from_message
from humanoid_control.transforms import from_pose, yaw_of

ESTIMATE_EVERY = 5  # messages


class RunListener:
    """Fills a `RunRecord` from the topics.

    Attributes:
        record: so far.
        verdicts: by order id.
        newest_problem: of any node, by its name, where its diagnostics are not ok.
        now_s: simulated time of the newest estimate.
    """

    def __init__(self, node: Node, factory: Factory, seed: int) -> None:
        """Subscribes."""
        self.record = RunRecord(factory, seed)
        self.verdicts: dict[str, object] = {}
        self.newest_problem: dict[str, str] = {}
        self.now_s = 0.0
        self._mirror = SimulationMirror(factory, seed)
        self._base = int(self._mirror.scene.joint("floating_base").qposadr[0])
        self._estimates: list[list[float]] = []
        self._controls: list[list[float]] = []
        self._truths: list[list[float]] = []
        self._totes: dict[str, list[list[float]]] = {tote.name: [] for tote in factory.totes}
        self._count = 0
        self._inputs = [
            (Polled(node, topics.BASE_ESTIMATE, depth=250), self._take_estimate),
            (Polled(node, topics.CONTROL_STATUS, depth=100), self._take_control),
            (Polled(node, topics.SIMULATION_STATE, depth=100), self._take_truth),
            (Polled(node, topics.POLICY_STATUS, depth=50), self._take_policy),
            (Polled(node, topics.SIMULATION_VERDICT, depth=10), self._take_verdict),
            (Polled(node, topics.DIAGNOSTICS, depth=50), self._take_diagnostics),
        ]

    def listen(self) -> None:
        """Takes in what has come; call at least twice a second."""
        for inputs, take in self._inputs:
            for message in inputs.take():
                take(message)

    def finish(self) -> RunRecord:
        """The record, complete."""
        self.listen()
        record = self.record
        record.estimate = np.array(self._estimates).reshape(-1, 9)
        record.control = np.array(self._controls).reshape(-1, 6)
        record.truth = np.array(self._truths).reshape(-1, 4)
        record.tote_paths = {name: np.array(path).reshape(-1, 3) for name, path in self._totes.items()}
        return record

    def _take_estimate(self, message) -> None:
        self.now_s = time_from_message(message.header.stamp)
        self._count += 1
        if self._count % ESTIMATE_EVERY:
            return
        odom_from_base = from_pose(np.concatenate([message.position, message.orientation]))
        velocity = odom_from_base[:3, :3].T @ message.linear_velocity
        self._estimates.append([self.now_s, *message.position[:2], yaw_of(odom_from_base), *velocity, *message.foot_forces])

    def _take_control(self, message) -> None:
        status = conversions.control_status_from_message(message)
        self._controls.append([status.stamp_s, *status.hand_errors, *status.payload_masses, status.step_count])
        self.record.modes.append(status.mode)

    def _take_truth(self, message) -> None:
        if self._mirror.problem_with(message.factory, message.seed, len(message.qpos)):
            return
        stamp, b = time_from_message(message.header.stamp), self._base
        x, y, _, w, qx, qy, qz = message.qpos[b : b + 7]
        yaw = np.arctan2(2 * (w * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))
        self._truths.append([stamp, x, y, yaw])
        for name, body in self._mirror.world.tote_bodies.items():
            address = int(self._mirror.scene.jnt_qposadr[self._mirror.scene.body_jntadr[body]])
            self._totes[name].append([stamp, *message.qpos[address : address + 2]])

    def _take_policy(self, message) -> None:
        if message.outcome != "running" or not message.sub_task:
            return
        subtasks, stamp = self.record.subtasks, time_from_message(message.header.stamp)
        last = subtasks[-1] if subtasks else None
        if last is not None and last.name == message.sub_task and stamp - last.ended_s < 1.0:
            subtasks[-1] = SubTask(last.name, last.began_s, stamp, last.problem or message.problem)
        else:
            began = last.ended_s if last is not None and stamp - last.ended_s < 1.0 else stamp
            subtasks.append(SubTask(message.sub_task, began, stamp, message.problem))

    def _take_verdict(self, message) -> None:
        self.verdicts[message.order_id] = message

    def _take_diagnostics(self, message) -> None:
        for status in message.status:
            if status.level == b"\x00":
                self.newest_problem.pop(status.name, None)
            else:
                self.newest_problem[status.name] = status.message
            if status.name.endswith("control_node"):
                self.record.timings = {value.key: float(value.value) for value in status.values
                                       if value.key.startswith(("step", "late", "target age"))}  # fmt: skip
