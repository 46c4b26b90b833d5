"""The student on topics: it works by the images of a real camera node, and stands when they stop coming."""

import numpy as np
from rclpy.action import ActionClient

from humanoid_control.ros import topics
from humanoid_interfaces.action import CarryOutOrder
from humanoid_interfaces.msg import Order
from perception import simulated_calibration

FACTORY, SEED, RATE = "table_to_conveyor", 3, 0.5  # of wall time: cameras are rendered on whatever this machine has


def test_it_walks_by_images_and_stands_when_cameras_are_lost(graph, tmp_path):
    calibration = tmp_path / "cameras.yaml"
    assert simulated_calibration.main(["--factory", FACTORY, "--seed", str(SEED), "--out", str(calibration)]) == 0
    graph.listen(topics.CONTROL_STATUS, topics.POLICY_STATUS, topics.SIMULATION_STATE)
    episode = {"factory": FACTORY, "seed": SEED}
    graph.start("control_node", robot="mujoco", rate_factor=RATE, **episode)
    graph.start("perception_node", poses="oracle", robot="mujoco", calibration=calibration, **episode)
    graph.start("camera_node", cameras="true", **episode)
    graph.start("policy_node", policy="student", factory=FACTORY, calibration=calibration)
    graph.start("mission_node", factory=FACTORY)
    action = ActionClient(graph.node, CarryOutOrder, topics.CARRY_OUT_ORDER)
    graph.wait_until(action.server_is_ready)
    graph.wait_until(lambda: topics.POLICY_STATUS.name in graph.newest and topics.CONTROL_STATUS.name in graph.newest)

    handles = []

    def is_accepted():
        order = Order(order_id="o", tote="t1", to="outfeed", shelf=-1, at=[-0.08, 0.0])
        handles.append(graph.ask(action.send_goal_async(CarryOutOrder.Goal(order=order))))
        return handles[-1].accepted

    graph.wait_until(is_accepted, what="the order is not taken")
    graph.wait_until(lambda: graph.newest[topics.CONTROL_STATUS.name].mode == "walking", 30.0, "it does not walk")
    graph.spin(2.0)
    status = graph.newest[topics.POLICY_STATUS.name]
    assert (status.outcome, status.sub_task, status.policy) == ("running", "approach", "student")
    assert np.linalg.norm(graph.newest[topics.SIMULATION_STATE.name].qpos[:2]) > 0.05

    graph.kill("camera_node")
    graph.wait_until(lambda: "camera: none came for" in graph.newest[topics.POLICY_STATUS.name].problem, 20.0, "it misses no images")
    graph.wait_until(lambda: graph.newest[topics.CONTROL_STATUS.name].mode == "standing", 20.0, "it does not stand")
    reply = graph.ask(handles[-1].get_result_async(), 40.0)
    assert not reply.result.success and "an image of" in reply.result.detail and "did not come within 5 s" in reply.result.detail
