"""What the 3D view draws lies where it is."""

import numpy as np
import pytest

from humanoid_control.mission.factory import load_factory
from humanoid_control.nodes.factory_file import find_factory_file
from humanoid_control.operator_page.scene import FloorShapes, RobotShapes, SeenThing, place_totes
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import inverse, planar, to_pose, transform
from humanoid_control.types import BaseEstimate, ImuSample, RobotState


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


def standing(model, yaw):
    pose = to_pose(planar(1.0, 2.0, yaw, 0.75))
    imu = ImuSample(pose[3:], np.zeros(3), np.zeros(3))
    state = RobotState(0.0, np.zeros(29), np.zeros(29), np.zeros(29), imu, np.full(2, 0.06), np.zeros(2))
    return state, BaseEstimate(0.0, pose[:3], pose[3:], np.zeros(3), np.zeros(3), np.zeros((6, 6)), np.ones(2, bool), np.zeros(2))


def test_links_turn_with_the_robot_and_hands_are_told_from_where_it_stands(model):
    shapes = RobotShapes(model)
    (ahead, hands), (turned, same) = shapes.place(*standing(model, 0.0)), shapes.place(*standing(model, np.pi / 2))
    for before, after in zip(np.array(ahead), np.array(turned)):
        offset = before[:2] - [1.0, 2.0]
        np.testing.assert_allclose(after[:2] - [1.0, 2.0], [-offset[1], offset[0]], atol=1e-3)
        assert abs(after[2] - before[2]) < 1e-3
    np.testing.assert_allclose(hands, same, atol=1e-3)
    assert hands[0][1] > 0 > hands[1][1]


def test_every_shape_of_the_urdf_is_drawn_with_its_size(model):
    rows = RobotShapes(model).shapes
    assert len(rows) == model.urdf.count("<visual>")
    assert all(min(size) > 0 and max(size) < 1.0 and len(pose) == 7 and max(colour) <= 1.0 for _, _, size, pose, colour in rows)
    assert len({tuple(colour) for *_, colour in rows}) > 1


def test_the_floor_lies_where_the_best_known_surface_says(model):
    factory = load_factory(find_factory_file("line_side"))
    floor = FloorShapes(factory)
    odom_from_map, odom_from_base = planar(0.3, -0.2, 0.4), planar(1.0, 0.5, -0.7, 0.75)

    def surface(station, error, **more):
        map_from_surface = station.map_from_station @ transform(np.eye(3), np.array([0.0, 0.0, station.surfaces[0]]))
        return SeenThing(f"{station.name}/0", inverse(odom_from_base) @ odom_from_map @ planar(error, 0, 0) @ map_from_surface, **more)

    first, second, third = factory.stations
    told = [surface(first, 0.5, spread=1.0, was_seen=True), surface(second, 0.0, spread=0.1, was_seen=True), surface(third, 0.9, spread=0.0, was_seen=False)]
    np.testing.assert_allclose(floor.odom_from_map(odom_from_base, told), odom_from_map, atol=1e-9)
    assert floor.odom_from_map(odom_from_base, []) is None
    assert {row[0] for row in floor.labels} == {station.name for station in factory.stations} and set(floor.totes) == {tote.name for tote in factory.totes}
    tote = SeenThing("t1", inverse(odom_from_base) @ planar(2.0, 1.0, 0.0, 0.7), 0.0, True)
    np.testing.assert_allclose(place_totes(odom_from_base, [tote])[0][1][:3], [2.0, 1.0, 0.7], atol=1e-3)
