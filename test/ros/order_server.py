"""A stand-in for the mission in a process of its own: carries out orders for tote t1, slowly, and refuses others."""

import sys
import time

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node

from humanoid_control.ros import topics
from humanoid_control.ros.node_main import run_node
from humanoid_interfaces.action import CarryOutOrder
from humanoid_interfaces.srv import CheckOrder

SUB_TASKS = ("walk", "grip", "carry", "set_down")


class OrderServer(Node):
    def __init__(self):
        super().__init__("order_server")
        self.create_service(CheckOrder, topics.CHECK_ORDER, self.check)
        self._server = ActionServer(
            self,
            CarryOutOrder,
            topics.CARRY_OUT_ORDER,
            self.carry_out,
            goal_callback=lambda goal: GoalResponse.REJECT if reason_against(goal.order) else GoalResponse.ACCEPT,
            cancel_callback=lambda handle: CancelResponse.ACCEPT,
        )

    def check(self, request, response):
        response.reason = reason_against(request.order)
        response.accepted = not response.reason
        return response

    def carry_out(self, handle):
        began = time.monotonic()
        for index, sub_task in enumerate(SUB_TASKS):
            handle.publish_feedback(
                CarryOutOrder.Feedback(
                    sub_task=sub_task, progress=index / len(SUB_TASKS), detail=f"{sub_task} {handle.request.order.tote}"
                )
            )
            until = time.monotonic() + 0.2
            while time.monotonic() < until:
                if handle.is_cancel_requested:
                    handle.canceled()
                    return CarryOutOrder.Result(success=False, reason="cancelled", duration=time.monotonic() - began)
                time.sleep(0.01)
        handle.succeed()
        return CarryOutOrder.Result(success=True, duration=time.monotonic() - began)


def reason_against(order):
    return "" if order.tote == "t1" else f"unknown tote '{order.tote}'; there is t1"


if __name__ == "__main__":
    sys.exit(run_node(OrderServer, make_executor=MultiThreadedExecutor))
