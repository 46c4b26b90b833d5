"""Takes orders as an action, one at a time, has the policy carry them out and tells how they go.

The current order is repeated ten times a second: a policy that no longer hears it drops it. A policy or a control that
falls silent ends the order here.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from dataclasses import dataclass

from humanoid_interfaces.action import CarryOutOrder
from humanoid_interfaces.msg import ControlStatus, Order, PolicyStatus
from humanoid_interfaces.srv import CheckOrder
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from humanoid_control.errors import FactoryError, OrderError
from humanoid_control.mission import factory as factories
from humanoid_control.mission.mission import Mission
from humanoid_control.nodes.factory_file import DESCRIPTION, find_factory
from humanoid_control.nodes.health import ERROR, OK, WARN, Health
from humanoid_control.nodes.polled import Polled
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.node_main import run_node
from humanoid_control.ros.parameters import NODE_OPTIONS, declare_parameters, parameter
from humanoid_control.ros.qos import create_publisher
from humanoid_control.teleoperation.handover import TELEOPERATE, WAIT_FOR_PERSON

NAME = "mission_node"
LISTEN_PERIOD_S = POLL_PERIOD_S = 0.04
FEEDBACK_PERIOD_S = 0.5
STAND_TIMEOUT_S = 5.0
HELD_PAYLOAD = 0.3  # kg in both hands together, from which on something is held
HANDS_FULL = ("lift", "carry", "align", "set_down")
# Whoever has done one of these may have moved the tote.
MOVED = (*HANDS_FULL, "grip", "grip_lip", "pull", "draw_near", "step_back", "let_go", TELEOPERATE)


@dataclass(frozen=True)
class MissionParameters:
    """See config/mission_node.yaml."""

    factory: str = parameter("line_side", DESCRIPTION)
    queue_length: int = parameter(0, "orders that may wait for the one in work; others are refused", minimum=0, maximum=100)
    silence_s: float = parameter(2.0, "without a status of policy or control, after which the order ends",
                                 minimum=0.2, maximum=30.0)  # fmt: skip


@dataclass(frozen=True)
class _End:
    """How an order ended: a word, and a sentence."""

    reason: str = ""
    detail: str = ""


class MissionNode(Node):
    """See the module."""

    def __init__(self) -> None:
        """Starts to take orders.

        Raises:
            HumanoidControlError: a parameter or the factory is wrong.
        """
        super().__init__(NAME, **NODE_OPTIONS)
        self._settings = declare_parameters(self, MissionParameters)
        self._mission = Mission(find_factory(self._settings.factory))
        self._health = Health(self)
        self._turn, self._ear = threading.Lock(), threading.Lock()
        self._count = itertools.count(1)
        self._waiting = 0
        self._current = Order()
        self._policy: tuple[float, PolicyStatus] | None = None
        self._control: tuple[float, ControlStatus] | None = None
        self._ending = False
        group = ReentrantCallbackGroup()
        self._orders = create_publisher(self, topics.CURRENT_ORDER)
        self._policy_statuses = Polled(self, topics.POLICY_STATUS)
        self._control_statuses = Polled(self, topics.CONTROL_STATUS)
        self._listen_timer = self.create_timer(LISTEN_PERIOD_S, self._listen)
        self.create_service(CheckOrder, topics.CHECK_ORDER, self._check, callback_group=group)
        self.create_service(Trigger, topics.CONFIRM_FLOOR, self._confirm_floor, callback_group=group)
        self._server = ActionServer(
            self, CarryOutOrder, topics.CARRY_OUT_ORDER, self._carry_out, callback_group=group,
            goal_callback=self._judge_goal, cancel_callback=lambda handle: CancelResponse.ACCEPT)  # fmt: skip
        self._heartbeat_timer = self.create_timer(1.0 / topics.CURRENT_ORDER.rate_hz, self._tell_order, callback_group=group)
        self._health.set(OK, "waits for orders")

    # --- what is heard ------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        with self._ear:
            for message in self._policy_statuses.take():
                self._policy = time.monotonic(), message
            for message in self._control_statuses.take():
                self._control = time.monotonic(), message

    def _silent(self) -> _End | None:
        """Who has fallen silent, if anybody."""
        self._listen()  # this process may have slept itself
        for name, newest, node in (("control", self._control, "control_node"), ("policy", self._policy, "policy_node")):
            if newest is None:
                return _End(f"{name}_lost", f"nothing was ever heard of {node}; start it")
            silence = time.monotonic() - newest[0]
            if silence > self._settings.silence_s:
                return _End(f"{name}_lost", f"{node} has been silent for {silence:.1f} s")
        return None

    def _stopped(self) -> _End | None:
        if self._control is not None and self._control[1].mode == ControlStatus.MODE_STOPPED:
            return _End("stopped", f"control stopped: {self._control[1].reason}; put it right and call /{topics.RESUME}")
        return None

    # --- what is asked ------------------------------------------------------------------------------------------------

    def _reason_against(self, message: Order, *, queue: bool) -> str:
        """Why an order cannot be taken now; empty if it can."""
        end = self._silent() or self._stopped()
        if end is not None:
            return end.detail
        try:
            order = conversions.order_from_message(message)
        except OrderError as error:
            return str(error)
        if queue and self._mission.order is not None and self._waiting < self._settings.queue_length:
            return self._mission_names(order)
        return self._mission.reason_against(order)

    def _mission_names(self, order: factories.Order) -> str:
        """What is wrong with the names of an order that waits; places are looked at when its turn comes."""
        try:
            self._mission.factory.tote(order.tote)
            self._mission.factory.station(order.to)
        except FactoryError as error:
            return f"order: {error}"
        return ""

    def _judge_goal(self, goal: CarryOutOrder.Goal) -> GoalResponse:
        reason = self._reason_against(goal.order, queue=True)
        if not reason:
            return GoalResponse.ACCEPT
        self.get_logger().warning(f"order refused: {reason}")
        self._health.values["last refusal"] = reason
        self._health.publish()
        return GoalResponse.REJECT

    def _check(self, request: CheckOrder.Request, response: CheckOrder.Response) -> CheckOrder.Response:
        response.reason = self._reason_against(request.order, queue=True)
        response.accepted = not response.reason
        return response

    def _confirm_floor(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._mission.unblock()
        self._health.set(OK, "waits for orders")
        response.success = True
        return response

    # --- an order -----------------------------------------------------------------------------------------------------

    def _tell_order(self) -> None:
        if self.context.ok():
            self._orders.publish(self._current)

    def _carry_out(self, handle: ServerGoalHandle) -> CarryOutOrder.Result:
        self._waiting += 1
        with self._turn:
            self._waiting -= 1
            message = handle.request.order
            message.order_id = f"{message.order_id or 'order'}#{next(self._count)}"
            began = self._robot_clock()
            reason = self._reason_against(message, queue=False)
            if handle.is_cancel_requested:
                end = _End("cancelled", "before it began")
            elif reason:
                end = _End("refused", reason)
            else:
                self._mission.begin(conversions.order_from_message(message))
                self._health.set(OK, f"carries out order {message.order_id}: {message.tote} to {message.to}")
                end = self._follow(handle, message)
                if self.context.ok():
                    self._finish(end)
        if not self.context.ok():
            return CarryOutOrder.Result()  # nobody can hear it any more
        return self._answer(handle, end, max(0.0, self._robot_clock() - began))

    def _follow(self, handle: ServerGoalHandle, message: Order) -> _End:
        """Waits for the order's end, and passes on how it goes."""
        self._current = message
        self._tell_order()
        told, told_at, begun_at = None, 0.0, time.monotonic()
        self._has_moved, self._last_sub_task = False, ""
        try:
            while True:
                time.sleep(POLL_PERIOD_S)
                end = self._silent() or self._stopped()
                if end is not None:
                    return end
                if self._ending or not self.context.ok():
                    return _End("stopped", "the mission was shut down")
                if handle.is_cancel_requested:
                    return self._cancel(message)
                status = self._policy[1]
                now = time.monotonic()
                if status.order_id != message.order_id:
                    if now - begun_at > 2.0 * self._settings.silence_s:
                        return _End("policy_lost", "policy_node does not take the order over")
                    continue
                self._has_moved |= status.sub_task in MOVED
                if status.sub_task != WAIT_FOR_PERSON:  # hands are meanwhile as they were
                    self._last_sub_task = status.sub_task
                if status.outcome == "done":
                    return _End()
                if status.outcome != "running":
                    return _End("gave_up", status.problem or "the policy gave up")
                news = status.sub_task, status.problem
                if status.sub_task and (news != told or now - told_at > FEEDBACK_PERIOD_S):
                    told, told_at = news, now
                    detail = f"{status.reason}; {status.problem}" if status.problem else status.reason
                    handle.publish_feedback(CarryOutOrder.Feedback(
                        sub_task=status.sub_task, progress=status.progress, detail=detail))  # fmt: skip
        finally:
            self._current = Order()
            self._tell_order()

    def _cancel(self, message: Order) -> _End:
        """Withdraws the order and waits until the robot stands."""
        self._current = Order()
        self._tell_order()
        until = time.monotonic() + STAND_TIMEOUT_S
        time.sleep(0.3)
        while time.monotonic() < until and self._control[1].mode == ControlStatus.MODE_WALKING:
            time.sleep(POLL_PERIOD_S)
        return _End("cancelled", f"the robot stands; it was doing: {self._policy[1].sub_task or 'nothing'}")

    def _finish(self, end: _End) -> None:
        payload = sum(self._control[1].payload_masses) if self._control is not None else 0.0
        self._mission.finish(done=not end.reason, reason=end.reason, has_moved=self._has_moved or self._last_sub_task in MOVED,
                             in_hands=self._last_sub_task in HANDS_FULL or payload > HELD_PAYLOAD)  # fmt: skip
        if not end.reason:
            self._health.set(OK, "waits for orders")
        else:
            level = WARN if end.reason == "cancelled" else ERROR
            self._health.set(level, "; ".join(filter(None, (f"{end.reason}: {end.detail}", self._mission.blocked))))

    def _answer(self, handle: ServerGoalHandle, end: _End, duration: float) -> CarryOutOrder.Result:
        if not end.reason:
            handle.succeed()
        elif end.reason == "cancelled":
            handle.canceled()
        else:
            handle.abort()
        text = "done" if not end.reason else f"{end.reason}: {end.detail}"
        self.get_logger().info(f"order {handle.request.order.order_id} after {duration:.1f} s: {text}")
        return CarryOutOrder.Result(success=not end.reason, reason=end.reason, detail=end.detail, duration=duration)

    def _robot_clock(self) -> float:
        return conversions.time_from_message(self._control[1].header.stamp) if self._control is not None else 0.0

    def destroy_node(self) -> None:
        """Ends the order in work."""
        self._ending = True
        super().destroy_node()


def main() -> int:
    """Runs the node."""
    return run_node(MissionNode, make_executor=lambda: MultiThreadedExecutor(num_threads=6))


if __name__ == "__main__":
    sys.exit(main())
