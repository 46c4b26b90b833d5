"""Owns the actuators: runs the control loop on a robot, takes targets over and tells what happens.

The loop has a thread of its own (see `control_thread`); a second thread publishes what it left behind, and hands over what came by
topic; the executor's callbacks hand over what is asked. With `robot: mujoco` the same process holds the simulation, in lockstep with the loop, with its
belts and people, and the judge.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from humanoid_interfaces.msg import Order, PolicyStatus, SimulationState, Verdict, WholeBodyTarget
from humanoid_interfaces.srv import Stop
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Empty
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from humanoid_control.control_loop import ControlLoop, warm_up
from humanoid_control.errors import ConfigurationError, FactoryError, OrderError, RobotError, TargetError
from humanoid_control.nodes.control_thread import ControlThread, Snapshot
from humanoid_control.nodes.factory_file import DESCRIPTION, find_factory
from humanoid_control.nodes.health import ERROR, OK, PERIOD_S, WARN, Health
from humanoid_control.nodes.polled import Polled
from humanoid_control.robot_model import RobotModel
from humanoid_control.robots.fake_robot import FakeRobot
from humanoid_control.robots.paced_robot import PacedRobot
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.node_main import run_node
from humanoid_control.ros.parameters import NODE_OPTIONS, declare_parameters, parameter
from humanoid_control.ros.qos import create_publisher
from humanoid_control.teleoperation.handover import PERSON
from humanoid_control.transforms import from_pose, inverse, planar, to_pose, yaw_of
from humanoid_control.types import FRAME_BASE_FOOTPRINT, FRAME_ODOM

NAME = "control_node"
FRAME_BASE = "base_link"
FRAME_IMU = "imu_in_pelvis"
SLOW_EVERY = 5  # ticks between messages for stock tools and people: 50 Hz
STATUSES_WAITING = 10  # of the policy, until they are looked at
WATCH_PERIOD_S = 0.2
LOOK_PERIOD_S = 0.1  # between two looks at who listens: messages for nobody are not made
DISCOVERY_S = 3.0  # that other nodes of the domain are given to be seen
CLAIM = "_control_claim"
LEVELS = {"standing": OK, "walking": OK, "holding": WARN, "stopped": ERROR}


@dataclass(frozen=True)
class ControlParameters:
    """See config/control_node.yaml."""

    robot: str = parameter("mujoco", "driver", choices=("mujoco", "fake"))
    factory: str = parameter("line_side", f"{DESCRIPTION}; for the driver mujoco")
    seed: int = parameter(0, "of the episode drawn from the factory; for the driver mujoco", minimum=0)
    tags: bool = parameter(False, "totes and stations carry AprilTags; for the driver mujoco")
    rate_factor: float = parameter(1.0, "simulated time over wall time; 0: as fast as it goes", minimum=0.0, maximum=100.0)
    check_domain: bool = parameter(True, "refuse to start beside another control_node of this domain and namespace")


class ControlNode(Node):
    """See the module."""

    def __init__(self) -> None:
        """Starts control.

        Raises:
            HumanoidControlError: a parameter, the factory or the robot is wrong, or another control_node is running.
        """
        super().__init__(NAME, **NODE_OPTIONS)
        self.thread: ControlThread | None = None
        self.simulation = None
        self._ending = threading.Event()
        parameters = declare_parameters(self, ControlParameters)
        claim = _Claim(self) if parameters.check_domain else None
        self._health = Health(self)
        model = RobotModel.load()
        self._model = model
        warm_up()  # quick where kernels were compiled at set-up; elsewhere the loop must not wait for the compiler
        robot = self._make_robot(parameters, model)
        loop = ControlLoop(PacedRobot(robot, rate_factor=parameters.rate_factor))
        self.thread = ControlThread(loop, observe=self._observe if self.simulation is not None else None)
        if claim is not None:
            claim.check()
        self._make_topics()
        self._lost = self._published = 0
        self._wanted: set[str] = set()
        self._looked_s = -np.inf
        self._clock_began: tuple[float, float] | None = None
        self.thread.start()
        self._publisher = threading.Thread(target=self._publish_all, name="publisher", daemon=True)
        self._publisher.start()
        self._watch_timer = self.create_timer(WATCH_PERIOD_S, self._watch)
        self._figures_timer = self.create_timer(PERIOD_S, self._tell_figures)
        where = f"in factory {parameters.factory}, seed {parameters.seed}" if self.simulation is not None else ""
        self.get_logger().info(f"controls robot {parameters.robot} at {1 / robot.period_s:.0f} Hz {where}")

    def _make_robot(self, parameters: ControlParameters, model: RobotModel):
        if parameters.robot == "fake":
            return FakeRobot(model)
        from humanoid_control.simulation.episode import draw_episode  # only where they are wanted: they are heavy
        from humanoid_control.simulation.simulated_factory import SimulatedFactory

        episode = draw_episode(find_factory(parameters.factory), parameters.seed)
        self.simulation = SimulatedFactory(model, episode, tags=parameters.tags)
        self._order_id = self._judged_id = ""
        self._told_verdict, self._policy_said_s = None, np.inf
        return self.simulation.robot

    def _make_topics(self) -> None:
        self._senders = {topic.name: create_publisher(self, topic) for topic in (
            topics.ROBOT_STATE, topics.BASE_ESTIMATE, topics.JOINT_COMMAND, topics.CONTROL_STATUS, topics.JOINT_STATES,
            topics.IMU, topics.ODOM, topics.TF)}
        self._inputs = [(Polled(self, topics.WHOLE_BODY_TARGET), self._take_target)]
        self.create_service(Stop, topics.STOP, self._stop)
        self.create_service(Trigger, topics.RESUME, self._resume)
        fingers = self._model.finger_names
        self._joint_names = [*self._model.joint_names, *fingers]
        self._finger_sides = [0 if name.startswith("left") else 1 for name in fingers]
        if self.simulation is not None:
            for topic in (topics.CLOCK, topics.SIMULATION_STATE, topics.SIMULATION_VERDICT):
                self._senders[topic.name] = create_publisher(self, topic)
            # Of an order that is done, the mission says so after the policy: heard at once, both must count.
            self._inputs += [(Polled(self, topics.POLICY_STATUS, depth=STATUSES_WAITING), self._take_policy_status),
                             (Polled(self, topics.CURRENT_ORDER), self._take_order)]

    # --- in: only handed over; topics by the publishing thread, which wakes up at each tick anyway, services by the executor ----

    def _listen(self) -> None:
        for ear, take in self._inputs:
            for message in ear.take():
                take(message)

    def _take_target(self, message: WholeBodyTarget) -> None:
        try:
            self.thread.submit(conversions.whole_body_target_from_message(message))
        except TargetError as error:
            self.thread.submit(error)

    def _stop(self, request: Stop.Request, response: Stop.Response) -> Stop.Response:
        reason = request.reason or "a stop was requested"
        self.thread.call(lambda: self.thread.loop.stop(reason))
        response.success = self.thread.is_alive
        response.message = "" if response.success else "control has ended already"
        return response

    def _resume(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.thread.call(self.thread.loop.reset)
        response.success = self.thread.is_alive
        response.message = "" if response.success else "control has ended"
        return response

    def _take_order(self, message: Order) -> None:
        """Has the judge watch the order that the mission has begun."""
        if message.order_id == self._order_id:
            return
        self._order_id = message.order_id
        if not message.tote:
            return  # what was finished is judged to its end
        try:
            order = conversions.order_from_message(message)
            self.simulation.episode.factory.tote(order.tote)
            self.simulation.episode.factory.station(order.to)
        except (OrderError, FactoryError) as error:
            self.get_logger().warning(f"the judge cannot follow: {error}")
            return
        order_id = message.order_id

        def begin() -> None:
            self.simulation.begin(order)
            self._judged_id = order_id

        self.thread.call(begin)

    def _take_policy_status(self, message: PolicyStatus) -> None:
        said_s = conversions.time_from_message(message.header.stamp)
        since_s, self._policy_said_s = said_s - self._policy_said_s, said_s
        if not message.order_id or message.order_id not in (self._order_id, self._judged_id):
            return
        if message.outcome == "done" or message.policy == PERSON:
            self.thread.call(self.simulation.accept_done)
        if message.tier == PolicyStatus.TIER_OPERATOR and 0.0 < since_s < topics.POLICY_STATUS.timeout_s:
            self.thread.call(lambda: self.simulation.allow_longer(since_s))

    # --- out: the publishing thread -----------------------------------------------------------------------------------

    def _observe(self) -> tuple[np.ndarray, object]:
        """Runs in the control thread."""
        return self.simulation.robot.data.qpos.copy(), self.simulation.verdict

    def _publish_all(self) -> None:
        try:
            while not self._ending.is_set():
                if self.thread.has_news.wait(0.2):
                    self._listen()
                    self._publish_news()
        except Exception:  # of rclpy's own kinds, when ROS goes down beneath this thread
            if self._ending.is_set() or not self.context.ok():
                return
            raise

    def _publish_news(self) -> None:
        if time.monotonic() - self._looked_s > LOOK_PERIOD_S:
            self._looked_s = time.monotonic()
            self._wanted = {name for name, sender in self._senders.items() if sender.get_subscription_count()}
        snapshots, lost = self.thread.take_snapshots()
        self._lost += lost
        for snapshot in snapshots:
            if snapshot.state is None:
                continue
            self._publish_tick(snapshot, self._wanted)
            if snapshot.status is not None and snapshot.estimate is not None:
                self._publish_status(snapshot)
            if snapshot.truth is not None:
                self._publish_truth(snapshot)
            if self._published % SLOW_EVERY == 0 and snapshot.estimate is not None:
                self._publish_slow(snapshot, self._wanted)
            self._published += 1

    def _publish(self, topic: topics.Topic, message: object) -> None:
        self._senders[topic.name].publish(message)

    def _publish_tick(self, snapshot: Snapshot, wanted: set[str]) -> None:
        if topics.CLOCK.name in wanted:
            self._publish(topics.CLOCK, Clock(clock=conversions.time_to_message(snapshot.state.stamp_s)))
        if topics.BASE_ESTIMATE.name in wanted and snapshot.estimate is not None:
            self._publish(topics.BASE_ESTIMATE, conversions.base_estimate_to_message(snapshot.estimate))
        if topics.ROBOT_STATE.name in wanted:
            self._publish(topics.ROBOT_STATE, conversions.robot_state_to_message(snapshot.state))
        if topics.JOINT_COMMAND.name in wanted and snapshot.sent is not None:
            self._publish(topics.JOINT_COMMAND, conversions.joint_command_to_message(snapshot.sent))

    def _publish_status(self, snapshot: Snapshot) -> None:
        status = snapshot.status
        if topics.CONTROL_STATUS.name in self._wanted:
            self._publish(topics.CONTROL_STATUS, conversions.control_status_to_message(status, snapshot.estimate))
        message = f"{status.mode}: {status.reason}" if status.reason else status.mode
        kind = status.mode if LEVELS[status.mode] != OK else "fine"
        self._health.set(LEVELS[status.mode], message, kind=kind)

    def _publish_slow(self, snapshot: Snapshot, wanted: set[str]) -> None:
        state, estimate = snapshot.state, snapshot.estimate
        if topics.JOINT_STATES.name in wanted:
            fingers = [self._model.finger_from_opening(state.gripper_openings[side]) for side in self._finger_sides]
            still = [0.0] * len(fingers)
            self._publish(topics.JOINT_STATES, JointState(
                header=conversions.make_header(state.stamp_s), name=self._joint_names,
                position=[*state.joint_positions.tolist(), *fingers], velocity=[*state.joint_velocities.tolist(), *still],
                effort=[*state.joint_torques.tolist(), *still]))  # fmt: skip
        if topics.IMU.name in wanted:
            imu = state.pelvis_imu
            self._publish(topics.IMU, Imu(
                header=conversions.make_header(state.stamp_s, FRAME_IMU), orientation=_quaternion(imu.orientation),
                angular_velocity=_vector(imu.angular_velocity), linear_acceleration=_vector(imu.linear_acceleration)))  # fmt: skip
        if not wanted & {topics.ODOM.name, topics.TF.name}:
            return
        odom_from_base = from_pose(np.concatenate([estimate.position, estimate.orientation]))
        if topics.ODOM.name in wanted:
            message = Odometry(header=conversions.make_header(estimate.stamp_s, FRAME_ODOM), child_frame_id=FRAME_BASE)
            message.pose.pose = conversions.pose_to_message(np.concatenate([estimate.position, estimate.orientation]))
            covariance = np.zeros((6, 6))
            covariance[:3, :3] = estimate.covariance[:3, :3]
            message.pose.covariance = covariance.ravel()
            message.twist.twist.linear = _vector(odom_from_base[:3, :3].T @ estimate.linear_velocity)
            message.twist.twist.angular = _vector(estimate.angular_velocity)
            self._publish(topics.ODOM, message)
        if topics.TF.name in wanted:
            footprint = planar(odom_from_base[0, 3], odom_from_base[1, 3], yaw_of(odom_from_base))
            stamp = estimate.stamp_s
            self._publish(topics.TF, TFMessage(transforms=[
                make_transform(stamp, FRAME_ODOM, FRAME_BASE_FOOTPRINT, footprint),
                make_transform(stamp, FRAME_BASE_FOOTPRINT, FRAME_BASE, inverse(footprint) @ odom_from_base)]))  # fmt: skip

    def _publish_truth(self, snapshot: Snapshot) -> None:
        qpos, verdict = snapshot.truth
        stamp = snapshot.state.stamp_s
        episode = self.simulation.episode
        if topics.SIMULATION_STATE.name in self._wanted:
            self._publish(topics.SIMULATION_STATE, SimulationState(
                header=conversions.make_header(stamp, "map"), factory=episode.factory.name, seed=episode.seed, qpos=qpos))
        if verdict is not None and verdict is not self._told_verdict:
            self._told_verdict = verdict
            self._publish(topics.SIMULATION_VERDICT, Verdict(
                header=conversions.make_header(stamp), order_id=self._judged_id, done=verdict.done,
                reason=verdict.reason, detail=verdict.detail, duration=verdict.time_s))  # fmt: skip

    # --- watching -----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        thread = self.thread
        if not thread.is_alive:
            raise RobotError(f"control has ended: {thread.failure or 'it was told to'}")
        if not self._publisher.is_alive() and not self._ending.is_set():
            raise RobotError("publishing has ended; its error is above")

    def _tell_figures(self) -> None:
        thread = self.thread
        loop = thread.loop
        self._health.values = {**thread.timings_ms(), "ticks": loop.tick_count, "overruns": loop.overrun_count,
                               "unpublished ticks": self._lost,
                               "time given up s": round(loop.robot.forgotten_s, 3)}  # fmt: skip
        if loop.state is not None:
            now = time.monotonic(), loop.state.stamp_s
            self._clock_began = self._clock_began or now
            elapsed = now[0] - self._clock_began[0]
            if elapsed > 1.0:
                self._health.values["real time factor"] = round((now[1] - self._clock_began[1]) / elapsed, 4)

    def destroy_node(self) -> None:
        """Lets the motors damp, then ends."""
        self._ending.set()
        if self.thread is not None:
            self.thread.end()
        super().destroy_node()


class _Claim:
    """Tells every node of the domain that this one controls the robot; who claimed first stays.

    A topic's name carries the claim, as the graph is known without a message being sent.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._began = time.monotonic()
        self._token = f"t{time.time_ns():020d}_{os.getpid()}"
        self._publisher = node.create_publisher(Empty, f"{CLAIM}/{self._token}", 1)

    def check(self) -> None:
        """Gives up if there is an earlier claim.

        Raises:
            ConfigurationError: so it is.
        """
        time.sleep(max(0.0, self._began + DISCOVERY_S - time.monotonic()))
        prefix = f"{self._node.get_namespace().rstrip('/')}/{CLAIM}/"
        for name, _ in self._node.get_topic_names_and_types():
            if name.startswith(prefix) and name.removeprefix(prefix) < self._token:
                domain = os.environ.get("ROS_DOMAIN_ID") or "0"
                process = name.rpartition("_")[2]
                raise ConfigurationError(
                    f"another {NAME} (process {process}) runs in ROS domain {domain}, namespace "
                    f"{self._node.get_namespace()}; stop it, or set ROS_DOMAIN_ID to another number")


def make_transform(stamp_s: float, parent: str, child: str, parent_from_child: np.ndarray) -> TransformStamped:
    """The message of a transform (4, 4)."""
    pose = to_pose(parent_from_child)
    message = TransformStamped(header=conversions.make_header(stamp_s, parent), child_frame_id=child)
    message.transform.translation = _vector(pose[:3])
    message.transform.rotation = _quaternion(pose[3:])
    return message


def _vector(values: np.ndarray) -> Vector3:
    x, y, z = map(float, values)
    return Vector3(x=x, y=y, z=z)


def _quaternion(values: np.ndarray) -> Quaternion:
    x, y, z, w = map(float, values)
    return Quaternion(x=x, y=y, z=z, w=w)


def main() -> int:
    """Runs the node."""
    return run_node(ControlNode)


if __name__ == "__main__":
    sys.exit(main())
