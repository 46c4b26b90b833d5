"""Runs a policy on topics: what the robot measures, believes and sees comes in, whole-body targets go out.

It follows the robot's clock: each state that is due is one call of the policy. What it may not go on without is watched:
when the mission falls silent or an input grows old, it says so and sends no further target, and control holds. Where a person
may take over (`operator`), they do so here: this node alone tells control what is wanted, and passes on what they want.
"""

from __future__ import annotations

import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from humanoid_interfaces import msg
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image
from vision_msgs.msg import Detection3DArray

from humanoid_control.control_loop import check_target
from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.hashes import file_hash
from humanoid_control.inverse_kinematics import warm_up
from humanoid_control.nodes.factory_file import DESCRIPTION, find_factory
from humanoid_control.nodes.health import ERROR, OK, WARN
from humanoid_control.nodes.life_cycle import ManagedNode, start
from humanoid_control.nodes.polled import Polled
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.node_main import run_node
from humanoid_control.ros.parameters import parameter
from humanoid_control.ros.polling_executor import PollingExecutor
from humanoid_control.ros.qos import create_publisher
from humanoid_control.teleoperation.handover import TELEOPERATE, WAIT_FOR_PERSON
from humanoid_control.transforms import from_pose, inverse
from humanoid_control.types import BaseEstimate, ControlStatus, WholeBodyTarget
from perception.frame import CameraFrame
from perception.mounting import rig_from_file
from perception.poses import PoseSet, carried_along
from perception.ros.image_messages import camera_from_message, frame_from_message
from perception.ros.pose_messages import poses_from_message
from policies.escalation.escalating import Escalating
from policies.escalation.remote_operator import RemoteOperator
from policies.policy import DONE, FAILED, IMAGES, POSES, RUNNING, Observation, Policy, PolicyOutput, Switch
from policies.registry import POLICIES, checkpoint_of, make_policy

NAME = "policy_node"
POLL_PERIOD_S = 0.004
WATCH_PERIOD_S = 0.1
ESTIMATE_MEMORY = 128  # ticks back to which poses can be matched: half a second


@dataclass(frozen=True)
class PolicyParameters:
    """See config/policy_node.yaml."""

    policy: str = parameter("scripted", "who decides", choices=tuple(POLICIES))
    checkpoint: str = parameter("", "file of a learned policy's network; empty: the one that ships")
    factory: str = parameter("line_side", DESCRIPTION)
    robot: str = parameter("mujoco", "the robot it acts for")
    calibration: str = parameter("", "file of `humanoid calibrate`, for a policy that looks at images; empty: the nominal mounting")
    stale_s: float = parameter(0.5, "age of poses, estimate or status at which the policy is not asked any more",
                               minimum=0.05, maximum=5.0)  # fmt: skip
    operator: bool = parameter(False, "a person may take over by teleop_node, and is asked where the policy fails")
    autostart: bool = parameter(True, "configure and activate by itself")


class PolicyNode(ManagedNode):
    """See the module."""

    def __init__(self) -> None:
        """Makes the node.

        Raises:
            HumanoidControlError: a parameter or the factory is wrong.
        """
        super().__init__(NAME, PolicyParameters)
        self._factory = find_factory(self.parameters.factory)

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        warm_up()  # quick where kernels were compiled at set-up; elsewhere the robot must not wait for the compiler
        checkpoint = Path(self.parameters.checkpoint) if self.parameters.checkpoint else None
        self._model = RobotModel.load()
        self._operator = RemoteOperator() if self.parameters.operator else None
        self._policy: Policy = make_policy(self.parameters.policy, self._model, checkpoint=checkpoint, operator=self._operator)
        network = checkpoint_of(self.parameters.policy, checkpoint)
        self._hash = {"checkpoint sha256": file_hash(network)} if network is not None else {}  # for the cards of recorded episodes
        unknown = self._policy.needs - {POSES, IMAGES}
        if unknown:
            raise ConfigurationError(f"{NAME}: policy {self._policy.name} needs {', '.join(sorted(unknown))}, which no topic has")
        self._rig = rig_from_file(self._model, topics.CAMERAS, self.parameters.calibration)[0] if IMAGES in self._policy.needs else None
        self._policy.forget()
        self._targets = create_publisher(self, topics.WHOLE_BODY_TARGET)
        self._status = create_publisher(self, topics.POLICY_STATUS)
        self._next_s = -np.inf
        self._estimate: BaseEstimate | None = None
        self._estimates: deque[BaseEstimate] = deque(maxlen=ESTIMATE_MEMORY)
        self._control: ControlStatus | None = None
        self._poses: PoseSet | None = None
        self._frames: dict[str, CameraFrame] = {}  # of each camera the newest, that the policy has not had yet
        self._state_came = self._mission_came = time.monotonic()
        self._order_id, self._outcome, self._problem = "", "", ""
        self._output: PolicyOutput | None = None
        self._attended: PolicyOutput | None = None  # between orders, while a person drives
        self._held: WholeBodyTarget | None = None
        self._act_ms: deque[float] = deque(maxlen=500)

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        # Raw: most states are only asked for their time.
        self._states = Polled(self, topics.ROBOT_STATE, raw=True)
        self._inputs = [
            (Polled(self, topics.CURRENT_ORDER), self._take_order),
            (Polled(self, topics.BASE_ESTIMATE, depth=ESTIMATE_MEMORY), self._take_estimate),
            (Polled(self, topics.CONTROL_STATUS), self._take_control_status),
            (Polled(self, topics.DETECTIONS), self._take_detections),
        ]
        for camera in topics.CAMERAS if self._rig is not None else ():
            named = topics.camera_topics(camera)
            self._inputs += [(Polled(self, named["camera_info"]), partial(self._take_camera_info, camera)),
                             (Polled(self, named["image_raw"]), partial(self._take_image, camera))]  # fmt: skip
        if self._operator is not None:
            # The target first: who says that they drive is not silent.
            self._inputs += [(Polled(self, topics.OPERATOR_TARGET), self._take_operator_target),
                             (Polled(self, topics.OPERATOR_STATUS, depth=10), self._take_operator_status)]  # fmt: skip
        self._watch_timer = self.create_timer(WATCH_PERIOD_S, self._watch)

    def deactivate(self) -> None:
        """See `ManagedNode.deactivate`."""
        self.destroy_timer(self._watch_timer)
        for inputs in (self._states, *(inputs for inputs, _ in self._inputs)):
            inputs.destroy()
        self._outcome, self._order_id, self._held, self._attended = "", "", None, None

    def look(self) -> None:
        """Takes in whatever is new, and acts if a new state is due."""
        if not self.is_active:
            return
        for inputs, take in self._inputs:
            for message in inputs.take():
                take(message)
        for data in self._states.take():
            self._take_state(data)

    # --- inputs -------------------------------------------------------------------------------------------------------

    def _take_estimate(self, message: msg.BaseEstimate) -> None:
        try:
            self._estimate = conversions.base_estimate_from_message(message)
        except HumanoidControlError as error:
            self._give_up(str(error))
            return
        self._estimates.append(self._estimate)

    def _take_control_status(self, message: msg.ControlStatus) -> None:
        self._control = conversions.control_status_from_message(message)
        if self._control.mode == "stopped":
            self._held = self._attended = None  # after a stop the robot may be anywhere, and `odom` begins anew
            self._give_up(f"control stopped: {self._control.reason}")

    def _take_detections(self, message: Detection3DArray) -> None:
        try:
            self._poses = poses_from_message(message)
        except HumanoidControlError as error:
            self.health.set(WARN, str(error))

    def _take_camera_info(self, camera: str, message: CameraInfo) -> None:
        try:
            self._rig.set_intrinsics(camera, camera_from_message(camera, message))
        except ConfigurationError as error:
            self._rig.set_intrinsics(camera, None)
            self.health.set(WARN, f"the camera info of {camera} is wrong: {error}")

    def _take_image(self, camera: str, message: Image) -> None:
        self._frames[camera] = frame_from_message(camera, message)

    def _take_operator_target(self, message: msg.WholeBodyTarget) -> None:
        try:
            target = conversions.whole_body_target_from_message(message)
            check_target(target, model=self._model, base_position=self._estimate.position if self._estimate is not None else None)
        except HumanoidControlError as error:
            self._operator.refuse_target(str(error))
            return
        self._operator.hear_target(target)
        if self._operator.takes_over():
            self._next_s = -np.inf  # at the next state, not a period after the last one: a person waits for the robot

    def _take_operator_status(self, message: msg.PolicyStatus) -> None:
        self._operator.hear_word(message.outcome, conversions.time_from_message(message.header.stamp), message.problem)

    def _take_order(self, message: msg.Order) -> None:
        self._mission_came = time.monotonic()
        if message.order_id == self._order_id:
            return
        if self._outcome == RUNNING:
            self._problem = "the order was withdrawn"
            self._hold()
        self._order_id, self._outcome, self._output = message.order_id, "", None
        if message.tote:
            self._attended = None
            try:
                self._policy.reset(self._factory, conversions.order_from_message(message))
            except HumanoidControlError as error:
                self._outcome, self._problem = FAILED, str(error)
            else:
                self._outcome, self._problem = RUNNING, ""
                self._begin_from_held()
        self._publish_status()

    # --- acting -------------------------------------------------------------------------------------------------------

    def _take_state(self, data: bytes) -> None:
        self._state_came = time.monotonic()
        # CDR: four bytes that say how it is written, then the header's stamp.
        seconds, nanoseconds = struct.unpack_from("<iI" if data[1] & 1 else ">iI", data, 4)
        stamp = seconds + 1e-9 * nanoseconds
        period_s = self._policy.period_s
        if stamp < self._next_s and self._next_s - stamp <= period_s:
            return
        self._next_s = stamp + period_s - 1e-4
        if self._outcome == RUNNING:
            self._act(stamp, data)
        elif not self._attends(stamp, data) and self._held is not None:
            self._targets.publish(conversions.whole_body_target_to_message(replace(self._held, stamp_s=stamp)))

    def _act(self, stamp: float, data: bytes) -> None:
        problem = self._stale_input(stamp)
        if problem:
            self._problem = problem
            self.health.set(WARN, f"{problem}; sends no targets", kind="stale input")
            return
        began = time.perf_counter()
        try:
            self._output = self._policy.act(self._observation(stamp, data))
            self._send(self._output.targets[0])
        except HumanoidControlError as error:
            self._give_up(str(error))
            return
        self._act_ms.append(1e3 * (time.perf_counter() - began))
        self._problem = self._output.problem
        for one in self._output.switches:
            self._tell_switch(one)
        self._tell_health(self._output)
        if self._output.outcome in (DONE, FAILED):
            self._outcome = self._output.outcome
            self._problem = self._output.detail or self._problem if self._outcome == FAILED else ""
            self._publish_status()
            self.health.set(OK if self._outcome == DONE else WARN, f"order {self._order_id} {self._outcome} {self._problem}".strip())

    def _attends(self, stamp: float, data: bytes) -> bool:
        """Between orders: passes on what a person wants who has taken over; whether one has."""
        if self._operator is None or not (self._operator.takes_over() or self._attended is not None):
            return False
        problem = self._stale_input(stamp)
        if problem:
            self.health.set(WARN, f"{problem}; sends no targets", kind="stale input")
            return True
        self._begin_from_held()
        before, self._attended = self._attended, self._policy.attend(self._observation(stamp, data))
        if self._attended is None:
            self._tell_switch(Switch(stamp, before.tier, self._policy.name, before.subtask, "handed back"))
            return False
        if self._attended.targets:
            self._send(self._attended.targets[0])
        if before is None:
            self._tell_switch(Switch(stamp, self._policy.name, self._attended.tier, "", "a person takes over between orders"))
        self._tell_health(self._attended)
        return True

    def _observation(self, stamp: float, data: bytes) -> Observation:
        state = conversions.robot_state_from_message(deserialize_message(data, msg.RobotState))
        # An image may be a little ahead of the state it is acted on, and waits for the next.
        come = tuple(frame for frame in self._frames.values() if not frame.stamp_s > stamp)
        self._frames = {frame.camera: frame for frame in self._frames.values() if frame.stamp_s > stamp}
        return Observation(stamp, state, self._estimate, self._control, self._poses_now(), come, self._rig)

    def _send(self, target: WholeBodyTarget) -> None:
        self._targets.publish(conversions.whole_body_target_to_message(target))
        self._held = target.still(target.stamp_s)

    def _begin_from_held(self) -> None:
        """Who drives next begins from what is held now."""
        if isinstance(self._policy, Escalating):
            self._policy.held = self._held

    def _stale_input(self, stamp: float) -> str:
        """What the policy lacks; empty if nothing. A person who drives sees for themselves."""
        inputs = {topics.BASE_ESTIMATE.name: self._estimate, topics.CONTROL_STATUS.name: self._control}
        if POSES in self._policy.needs and not (self._operator is not None and self._operator.takes_over()):
            inputs[topics.DETECTIONS.name] = self._poses
        for name, value in inputs.items():
            if value is None:
                return f"no {name} yet"
            age = stamp - value.stamp_s
            if age > self.parameters.stale_s:
                return f"the newest {name} is {age:.2f} s old ({self.parameters.stale_s:.2f} s allowed)"
        return ""

    def _poses_now(self) -> PoseSet | None:
        """The newest poses as they lie from where the base is now: it has moved since they were seen."""
        poses = self._poses
        if poses is None or not self._estimates:
            return poses
        then = min(self._estimates, key=lambda estimate: abs(estimate.stamp_s - poses.stamp_s))
        return carried_along(poses, inverse(_odom_from_base(self._estimate)) @ _odom_from_base(then))

    # --- watching -----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        self.look()  # this process may have slept itself
        now = time.monotonic()
        silence = now - self._mission_came
        if self._outcome == RUNNING and silence > topics.CURRENT_ORDER.timeout_s:
            self._held = None
            self._give_up(f"the mission has been silent for {silence:.1f} s: its order is dropped")
        elif self._outcome == RUNNING and now - self._state_came > self.parameters.stale_s:
            self.health.set(ERROR, f"no {topics.ROBOT_STATE.name} for {now - self._state_came:.1f} s; sends no targets", kind="no state")
        elif self._outcome == "" and self._attended is None and self.is_active:
            self.health.set(OK, f"{self._policy.name}: waits for an order", kind="idle")
        self.health.values = dict(self._hash)
        if self._act_ms:
            self.health.values |= {"act p50 ms": round(float(np.median(self._act_ms)), 2),
                                  "act p99 ms": round(float(np.percentile(self._act_ms, 99)), 2)}  # fmt: skip
        self._publish_status()

    def _hold(self) -> None:
        """Stays as last wanted, from the next state on."""
        if self._held is not None:
            self._held = self._held.still(self._held.stamp_s)

    def _give_up(self, problem: str) -> None:
        """Ends the order; control holds, or follows what is held."""
        if self._outcome != RUNNING:
            return
        self._outcome, self._problem = FAILED, problem
        self.health.set(ERROR, problem)
        self._publish_status()

    def _tell_switch(self, switch: Switch) -> None:
        """Who drives from now on, and why: into the log, and by the status into the record."""
        self.get_logger().warning(f"{switch.after} takes over from {switch.before} in {switch.subtask or 'no sub-task'}: {switch.reason}")
        self._publish_status(reason=switch.reason)

    def _tell_health(self, output: PolicyOutput) -> None:
        if output.subtask == WAIT_FOR_PERSON:
            self.health.set(WARN, f"{output.problem}; call /{topics.TAKE_OVER}", kind="asks for a person")
        elif output.subtask == TELEOPERATE and output.problem:
            self.health.set(WARN, f"a person drives: {output.problem}", kind="a person is hindered")
        else:
            self.health.set(OK, f"{self._policy.name}: {output.subtask}", kind="a person drives" if output.subtask == TELEOPERATE else "acting")

    def _publish_status(self, *, reason: str = "") -> None:
        output = self._attended or self._output
        stamp = self._estimate.stamp_s if self._estimate is not None else 0.0
        self._status.publish(msg.PolicyStatus(
            header=conversions.make_header(stamp), policy=self._policy.name, order_id=self._order_id,
            sub_task=output.subtask if output else "", reason=reason or (output.reason if output else ""),
            next_sub_task=output.next_subtask if output else "", problem=self._attended.problem if self._attended else self._problem,
            progress=float(output.progress) if output else 0.0, outcome=self._outcome,
            uncertainty=float(output.uncertainty) if output else float("nan"), tier=self._tier(output)))  # fmt: skip

    def _tier(self, output: PolicyOutput | None) -> int:
        """Who is in charge, as the message tells it."""
        name = (output.tier if output is not None else "") or self._policy.name
        return {"scripted": msg.PolicyStatus.TIER_SCRIPTED, "person": msg.PolicyStatus.TIER_OPERATOR}.get(name, msg.PolicyStatus.TIER_LEARNED)


def _odom_from_base(estimate: BaseEstimate) -> np.ndarray:
    return from_pose(np.concatenate([estimate.position, estimate.orientation]))


def main() -> int:
    """Runs the node."""
    return run_node(lambda: start(PolicyNode()), make_executor=lambda: PollingExecutor(POLL_PERIOD_S))


if __name__ == "__main__":
    sys.exit(main())
