"""Sends orders to the action, waits for the judge's verdict, and listens to what the report wants."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.action import ActionClient

from humanoid_control.errors import HumanoidControlError
from humanoid_control.mission.factory import Factory, Order
from humanoid_control.nodes.run_listener import RunListener
from humanoid_control.report.run_record import OrderRecord, RunRecord
from humanoid_control.ros import topics
from humanoid_control.ros.conversions import order_to_message
from humanoid_interfaces import msg
from humanoid_interfaces.action import CarryOutOrder
from humanoid_interfaces.srv import CheckOrder

START_TIMEOUT_S = 120.0
VERDICT_TIMEOUT_S = 8.0
ORDER_TIMEOUT_S = 600.0
ASK_PERIOD_S = 0.2
SETTLED_S = 0.6  # of simulated time, after which the robot stands
NOT_YET = ("nothing was ever heard", "control_node", "policy_node")  # reasons that pass when nodes have started


class NodesError(HumanoidControlError):
    """The nodes do not start, are gone, or do not answer."""


class OrderClient:
    """Sends one order after the other.

    Attributes:
        listener: hears the run.
    """

    def __init__(self, factory: Factory, seed: int, *, trouble: Callable[[], str]) -> None:
        """Starts ROS, and subscribes.

        Args:
            factory: in which the orders are.
            seed: of its episode.
            trouble: asked while waiting; what it says ends the waiting, unless it says nothing.
        """
        self._trouble = trouble
        rclpy.init()
        self._node = rclpy.create_node("order_client")
        self.listener = RunListener(self._node, factory, seed)
        self._action = ActionClient(self._node, CarryOutOrder, topics.CARRY_OUT_ORDER)
        self._checker = self._node.create_client(CheckOrder, topics.CHECK_ORDER)
        self._began: tuple[float, float] | None = None
        self._ended: tuple[float, float] | None = None

    def _wait_until(self, is_so: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Serves ROS until something is so.

        Raises:
            NodesError: it never is, or there is trouble.
        """
        until = time.monotonic() + timeout_s
        while not is_so():
            rclpy.spin_once(self._node, timeout_sec=0.05)
            self.listener.listen()
            trouble = self._trouble()
            if trouble:
                raise NodesError(trouble)
            if time.monotonic() > until:
                problems = "; ".join(f"{node}: {text}" for node, text in self.listener.newest_problem.items())
                raise NodesError(f"{what} within {timeout_s:.0f} s{f' ({problems})' if problems else ''}")

    def _ask(self, future: Any, what: str) -> Any:
        self._wait_until(future.done, START_TIMEOUT_S, what)
        return future.result()

    def _reason_against(self, message: msg.Order) -> str:
        reply = self._ask(self._checker.call_async(CheckOrder.Request(order=message)), "the mission did not answer")
        return reply.reason

    def wait_until_ready(self, order: Order) -> None:
        """Waits until all nodes are up and have found each other: the mission judges the order itself.

        Raises:
            NodesError: they never are.
        """
        silence = "no mission_node answered"
        self._wait_until(self._action.server_is_ready, START_TIMEOUT_S, silence)
        self._wait_until(self._checker.service_is_ready, START_TIMEOUT_S, silence)
        message, until = order_to_message(order), time.monotonic() + START_TIMEOUT_S
        while (reason := self._reason_against(message)).startswith(NOT_YET):
            if time.monotonic() > until:
                raise NodesError(reason)
            time.sleep(ASK_PERIOD_S)
        self._wait_until(lambda: self.listener.now_s > SETTLED_S, START_TIMEOUT_S, "the simulation did not run")
        self._began = self._ended = time.monotonic(), self.listener.now_s

    def carry_out(self, order: Order, order_id: str, *, show: Callable[[str, float], None]) -> OrderRecord:
        """Sends an order and waits for its end and for the judge's verdict.

        Args:
            order: to be carried out.
            order_id: by which the sender knows it.
            show: told the sub-task and the progress (0 to 1).

        Raises:
            NodesError: a node is gone, or nobody answers.
        """
        listener, began = self.listener, self.listener.now_s
        name, message, known = f"{order.tote} to {order.on or order.to}", order_to_message(order, order_id), set(listener.verdicts)

        def refused(reason: str) -> OrderRecord:
            return self._keep(OrderRecord(name, began, began, False, None, "refused", reason))

        reason = self._reason_against(message)
        if reason:
            return refused(reason)
        sent = self._action.send_goal_async(
            CarryOutOrder.Goal(order=message), feedback_callback=lambda m: show(m.feedback.sub_task, m.feedback.progress))  # fmt: skip
        handle = self._ask(sent, "the order was not answered")
        if not handle.accepted:
            return refused("see the log of mission_node")
        future = handle.get_result_async()
        self._wait_until(future.done, ORDER_TIMEOUT_S, "the order did not end")
        result, ended, until = future.result().result, listener.now_s, time.monotonic() + VERDICT_TIMEOUT_S
        self._ended = time.monotonic(), ended
        self._wait_until(lambda: set(listener.verdicts) - known or time.monotonic() > until, ORDER_TIMEOUT_S, "no verdict")
        verdict = next((verdict for key, verdict in listener.verdicts.items() if key not in known), None)
        if verdict is None:
            return self._keep(OrderRecord(name, began, ended, result.success, None, result.reason or "not_done", result.detail,
                                          "no verdict"))  # fmt: skip
        seen = verdict.detail if verdict.done else f"{verdict.reason}: {verdict.detail}"
        return self._keep(OrderRecord(name, began, ended, result.success, verdict.done, result.reason or verdict.reason,
                                      result.detail, seen))  # fmt: skip

    def _keep(self, order: OrderRecord) -> OrderRecord:
        self.listener.record.orders.append(order)
        return order

    def close(self) -> RunRecord:
        """The record of the run; ROS is shut down."""
        record = self.listener.finish()
        if self._began is not None:
            record.wall_s, record.simulated_s = (end - begin for begin, end in zip(self._began, self._ended))
        self._node.destroy_node()
        rclpy.try_shutdown()
        return record
