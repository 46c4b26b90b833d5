"""A running simulation of one episode: what it lets happen to an order it judges."""

import pytest

from humanoid_control.control_loop import ControlLoop
from humanoid_control.mission.factory import load_factory
from humanoid_control.nodes.factory_file import find_factory_file
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.judge import time_allowed
from humanoid_control.simulation.simulated_factory import SimulatedFactory


@pytest.fixture
def floor():
    return SimulatedFactory(RobotModel.load(), draw_episode(load_factory(find_factory_file("line_side")), 0))


def test_an_order_may_take_as_much_longer_as_a_person_had_it(floor):
    factory = floor.episode.factory
    (order,) = factory.orders
    floor.allow_longer(100.0)  # of no order
    floor.robot.connect()
    loop = ControlLoop(floor.robot)
    for _ in range(150):  # everything comes to rest
        loop.step()
        floor.robot.wait_next_tick()
    floor.begin(order)
    allowed_s = float(floor.robot.data.time) + time_allowed(factory.tote_station(order.tote), factory.station(order.to))
    floor.allow_longer(20.0)
    for over_s, reason in ((19.0, None), (21.0, "timeout")):
        floor.robot.data.time = allowed_s + over_s
        for _ in range(10):
            floor.robot.wait_next_tick()
        assert (floor.verdict.reason if floor.verdict is not None else None) == reason
