"""A person drives: hands by any tracker that publishes poses, hands and walking by a gamepad.

It listens to `/joy` (`sensor_msgs/Joy`) and to `/operator/left_hand` and `/operator/right_hand` (`geometry_msgs/PoseStamped`),
and publishes whole-body targets while it is in control, which `/take_over` and `/hand_back` begin and end: to control, or,
where a policy runs beside it, to the policy's node, which alone tells control and passes on what the person wants.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace

import numpy as np
from humanoid_interfaces import msg
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.serialization import deserialize_message
from rclpy.task import Future
from std_srvs.srv import Trigger

from humanoid_control.errors import HumanoidControlError
from humanoid_control.inverse_kinematics import warm_up
from humanoid_control.nodes.health import OK, WARN
from humanoid_control.nodes.life_cycle import ManagedNode, start
from humanoid_control.nodes.polled import Polled
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.node_main import run_node
from humanoid_control.ros.parameters import parameter
from humanoid_control.ros.polling_executor import PollingExecutor
from humanoid_control.ros.qos import create_publisher
from humanoid_control.teleoperation.gamepad import Gamepad
from humanoid_control.teleoperation.handover import DRIVES, HANDED_BACK, PERSON, TELEOPERATE
from humanoid_control.teleoperation.operator_input import HandInput, OperatorInput
from humanoid_control.teleoperation.retargeting import TIMEOUT_S, Retargeting, TeleoperationLimits
from humanoid_control.transforms import from_pose
from humanoid_control.types import BaseEstimate, ControlStatus, RobotState

NAME = "teleop_node"
PERIOD_S, POLL_PERIOD_S = 0.02, 0.004
TAKES_OVER_WITHIN_S = 1.0  # until the policy's node passes on what the person wants
UNIT_WITHIN = 1e-2  # of a quaternion's length
LEAST_ELAPSED_S, MOST_ELAPSED_S = 0.0, 0.1  # between two messages of a gamepad, that sticks move hands for


@dataclass(frozen=True)
class TeleopParameters:
    """See config/teleop_node.yaml."""

    scale: float = parameter(1.0, "m of the robot's hand for each m of the operator's", minimum=0.1, maximum=2.0)
    hand_speed: float = parameter(0.6, "m/s of hands, at most", minimum=0.05, maximum=1.0)
    walk_speed: float = parameter(0.35, "m/s ahead at full stick", minimum=0.0, maximum=0.4)
    in_control: bool = parameter(False, "drive from the start, without /take_over: where nobody else does")
    beside_policy: bool = parameter(False, "a policy_node with `operator: true` has the say, and passes on what the person wants; else control is told")
    autostart: bool = parameter(True, "configure and activate by itself")


class TeleopNode(ManagedNode):
    """See the module."""

    def __init__(self) -> None:
        """Makes the node.

        Raises:
            ConfigurationError: a parameter is wrong.
        """
        super().__init__(NAME, TeleopParameters)

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        warm_up()
        p, usual = self.parameters, TeleoperationLimits()
        limits = replace(usual, scale=p.scale, hand_speed=p.hand_speed, walk=(p.walk_speed, *usual.walk[1:]))
        self._retargeting = Retargeting(RobotModel.load(), limits, period_s=PERIOD_S)
        self._targets = create_publisher(self, topics.OPERATOR_TARGET if p.beside_policy else topics.WHOLE_BODY_TARGET)
        self._status = create_publisher(self, topics.OPERATOR_STATUS if p.beside_policy else topics.POLICY_STATUS)

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        self._in_control, self._driving = self.parameters.in_control, False
        self._word, self._said_s = DRIVES if self._in_control else "", 0.0
        self._policy: msg.PolicyStatus | None = None
        self._policy_came = -np.inf
        self._asked: tuple[Future, float] | None = None
        self._next_s = -np.inf
        self._forget()
        self._clock_s: float | None = None  # the robot's, by its newest state
        self._state: RobotState | None = None
        self._estimate: BaseEstimate | None = None
        self._control: ControlStatus | None = None
        self._control_came = -np.inf
        # Raw: most states are only asked for their time, and estimates are wanted with the others alone.
        self._states, self._estimates = (Polled(self, topic, raw=True) for topic in (topics.ROBOT_STATE, topics.BASE_ESTIMATE))
        self._inputs = [
            (Polled(self, topics.CONTROL_STATUS), self._take_control),
            (Polled(self, topics.JOY), self._take_joy), (Polled(self, topics.OPERATOR_HANDS[0]), lambda message: self._take_hand(0, message)),
            (Polled(self, topics.OPERATOR_HANDS[1]), lambda message: self._take_hand(1, message)),
        ]  # fmt: skip
        if self.parameters.beside_policy:
            self._inputs.append((Polled(self, topics.POLICY_STATUS), self._take_policy))
        else:
            self._inputs.append((Polled(self, topics.CURRENT_ORDER), self._take_order))
        self._order_id = ""
        self._told = Polled(self, topics.WHOLE_BODY_TARGET)  # looked at when a person begins
        self._told_openings: np.ndarray | None = None
        self._tell_timer = self.create_timer(1.0 / topics.POLICY_STATUS.rate_hz, self._tell)
        # A group of its own: while taking over waits for the policy, all else goes on.
        self._offers = [self.create_service(Trigger, topics.TAKE_OVER, self._take_over, callback_group=MutuallyExclusiveCallbackGroup()),
                        self.create_service(Trigger, topics.HAND_BACK, self._hand_back)]  # fmt: skip

    def deactivate(self) -> None:
        """See `ManagedNode.deactivate`."""
        self.destroy_timer(self._tell_timer)
        for service in self._offers:
            self.destroy_service(service)
        for ear in (self._states, self._estimates, *(ear for ear, _ in self._inputs), self._told):
            ear.destroy()
        self._driving = False

    def _forget(self) -> None:
        """Nothing was heard of the operator yet."""
        self._gamepad = Gamepad()
        self._tracked: list[tuple[float, np.ndarray | None] | None] = [None, None]
        self._by_tracker = [False, False]
        self._joy: tuple[tuple[HandInput, HandInput], bool, np.ndarray] | None = None
        self._joy_s = -np.inf

    # --- what is heard ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Takes in whatever is new, and tells what the person wants when that is due."""
        if not self.is_active:
            return
        states = self._states.take()
        for data in states:
            self._clock_s = 1e-9 * conversions.stamp_of_data(data)
        for ear, take in self._inputs:
            for message in ear.take():
                try:
                    take(message)
                except HumanoidControlError as error:
                    self.health.set(WARN, str(error))
        if states and self._is_due():
            try:
                self._take_state(states[-1])
            except HumanoidControlError as error:
                self.health.set(WARN, str(error))
        if self._asked is not None and (self._policy_passes_on() or time.monotonic() > self._asked[1]):
            (answer, _), self._asked = self._asked, None
            answer.set_result(None)

    def _take_policy(self, message: msg.PolicyStatus) -> None:
        self._policy, self._policy_came = message, time.monotonic()

    def _take_order(self, message: msg.Order) -> None:
        self._order_id = message.order_id

    def _take_control(self, message: msg.ControlStatus) -> None:
        self._control, self._control_came = conversions.control_status_from_message(message), time.monotonic()
        if self._control.mode == "stopped":
            self._driving = False  # begins anew from wherever the robot is then

    def _take_joy(self, message) -> None:
        if self._clock_s is None:
            return
        now = self._clock_s
        elapsed_s = float(np.clip(now - self._joy_s, LEAST_ELAPSED_S, MOST_ELAPSED_S))
        tracked = tuple(each is not None for each in self._tracked)
        self._joy, self._joy_s = self._gamepad.read(message.axes, message.buttons, elapsed_s, tracked), now

    def _take_hand(self, side: int, message) -> None:
        if self._clock_s is None:
            return
        pose = conversions.pose_from_message(message.pose)
        # Trackers that have lost a hand say so in many ways: by no numbers, or by no rotation.
        is_pose = bool(np.isfinite(pose).all()) and abs(np.linalg.norm(pose[3:]) - 1.0) < UNIT_WITHIN
        self._tracked[side] = self._clock_s, from_pose(pose) if is_pose else None

    # --- driving ------------------------------------------------------------------------------------------------------

    def _is_due(self) -> bool:
        """Whether it is time for a target."""
        now = self._clock_s
        if now < self._next_s - MOST_ELAPSED_S:  # another control, whose clock begins anew: what was heard is of the old one
            self._driving, self._next_s = False, now
            self._forget()
        return now >= self._next_s

    def _take_state(self, data: bytes) -> None:
        now = self._clock_s
        # On a grid: counted from when each was taken, targets came every 22 ms, for whose hands 20 were reckoned.
        self._next_s = max(self._next_s + PERIOD_S, now + 0.5 * PERIOD_S)
        for estimate in self._estimates.take():
            self._estimate = conversions.base_estimate_from_message(deserialize_message(estimate, msg.BaseEstimate))
        self._state = conversions.robot_state_from_message(deserialize_message(data, msg.RobotState))
        if not self._in_control or self._estimate is None or self._control is None or self._control.mode == "stopped":
            return
        begins = not self._driving
        if begins:
            for target in self._told.take():
                self._told_openings = np.array(target.gripper_openings)
            self._retargeting.begin(self._state, self._estimate, self._told_openings)
            self._driving = True
        given = self._given(now)
        if given is not None:
            try:
                self._retargeting.take(given)
            except HumanoidControlError as error:  # the robot holds, as if it had not come
                self.health.set(WARN, str(error))
        self._targets.publish(conversions.whole_body_target_to_message(self._retargeting.target(now)))
        if begins:
            self._tell()  # not before there is a target to pass on
        if self._retargeting.holds:
            self.health.set(WARN, f"holds: {self._retargeting.holds}", kind="holds")
        else:
            self.health.set(OK, "the operator drives")

    def _given(self, now: float) -> OperatorInput | None:
        """What the operator does; None where the gamepad, which has the clutches, is silent."""
        if self._joy is None or now - self._joy_s > TIMEOUT_S:
            return None
        hands, drives, walk = self._joy
        placed = []
        for side, (hand, tracked) in enumerate(zip(hands, self._tracked)):
            # A tracker that has fallen silent is no hand: its clutch opens. So it does when another begins to tell where the hand is.
            pose = hand.pose if tracked is None else tracked[1] if now - tracked[0] <= TIMEOUT_S else None
            by_tracker = tracked is not None
            placed.append(replace(hand, pose=pose if by_tracker == self._by_tracker[side] else None))
            self._by_tracker[side] = by_tracker
        return OperatorInput(self._joy_s, tuple(placed), drives, walk)

    # --- what is asked, and told --------------------------------------------------------------------------------------

    def _reason_against_taking_over(self) -> str:
        """Why a person cannot drive now; empty if they can."""
        if self._state is None or self._estimate is None or self._control is None:
            return "nothing was heard of the robot yet; start control_node"
        silent_s = time.monotonic() - self._control_came
        if silent_s > TAKES_OVER_WITHIN_S:
            return f"control_node has been silent for {silent_s:.0f} s: is it running?"
        if self._control.mode == "stopped":
            return f"control stopped: {self._control.reason}; put it right and call /{topics.RESUME}"
        if self._clock_s - self._joy_s > TAKES_OVER_WITHIN_S:
            return f"nothing comes on /{topics.JOY.name}, which has the clutches: start what publishes it"
        if self.parameters.beside_policy and time.monotonic() - self._policy_came > topics.POLICY_STATUS.timeout_s:
            return "nothing is heard of policy_node, which has the say; start it, or this node with beside_policy: false"
        return ""

    async def _take_over(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        was_in_control = self._in_control
        response.message = "" if was_in_control else self._reason_against_taking_over()
        if not response.message and not was_in_control:
            self._say(DRIVES)
            if self.parameters.beside_policy:
                self._asked = Future(executor=self.executor), time.monotonic() + TAKES_OVER_WITHIN_S
                await self._asked[0]
                if not self._policy_passes_on():
                    self._say(HANDED_BACK)
                    response.message = f"policy_node does not pass on what a person wants: {self._policy.problem or 'is its parameter operator true?'}"
        response.success = not response.message
        if response.success:
            response.message = "the operator was in control" if was_in_control else "the operator is in control"
        else:
            self.get_logger().warning(f"taking over refused: {response.message}")
        return response

    def _hand_back(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = True, "the operator has let go"
        self._say(HANDED_BACK)
        self.health.set(OK, "waits for /take_over")
        return response

    def _policy_passes_on(self) -> bool:
        return self._policy is not None and (self._policy.tier, self._policy.sub_task) == (msg.PolicyStatus.TIER_OPERATOR, TELEOPERATE)

    def _say(self, word: str) -> None:
        """Drives from now on, or lets go."""
        self._word, self._said_s = word, self._state.stamp_s if self._state is not None else 0.0
        self._in_control, self._driving = word == DRIVES, False
        if not self._in_control:
            self._tell()

    def _tell(self) -> None:
        beside_policy = self.parameters.beside_policy
        if not self._in_control and not beside_policy or self._in_control and not self._driving and beside_policy:
            return  # nobody else speaks for the operator, and there is nothing to say; there is nothing yet to pass on
        stamp_s = self._said_s if beside_policy else self._state.stamp_s if self._state is not None else 0.0
        self._status.publish(msg.PolicyStatus(
            header=conversions.make_header(stamp_s), policy=PERSON, order_id=self._order_id, sub_task=TELEOPERATE if self._in_control else "",
            reason="a person drives" if self._in_control else "", problem=self._retargeting.holds if self._in_control else "",
            outcome=self._word if beside_policy else "", uncertainty=float("nan"), tier=msg.PolicyStatus.TIER_OPERATOR))  # fmt: skip


def main() -> int:
    """Runs the node."""
    return run_node(lambda: start(TeleopNode()), make_executor=lambda: PollingExecutor(POLL_PERIOD_S))


if __name__ == "__main__":
    sys.exit(main())
