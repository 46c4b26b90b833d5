"""Pictures for people: what is known is drawn where it is, and the image it was drawn into stays as it was."""

import numpy as np
import pytest

from humanoid_control.mission.factory import load_factory
from humanoid_control.robot_model import PACKAGE_ROOT
from humanoid_control.transforms import transform
from perception.camera_model import CameraModel
from perception.drawing import FRESH, NEVER, OLD, draw_poses
from perception.poses import ObjectPose, PoseSet

FACTORY = load_factory(PACKAGE_ROOT / "config/factories/line_side.yaml")
CAMERA = CameraModel("head_camera", 640, 360, np.array([[470.0, 0, 319.5], [0, 470.0, 179.5], [0, 0, 1]]))
GREY = np.full((360, 640, 3), 90, np.uint8)
# A base that looks along its x axis through its camera.
CAMERA_FROM_BASE = transform(np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), np.zeros(3))


def drawn(place, stamp_s=10.0, spread=0.01):
    poses = PoseSet(10.0, {"t1": ObjectPose("t1", transform(np.eye(3), np.array(place)), spread**2 * np.eye(6), stamp_s)})
    return draw_poses(GREY, CAMERA, CAMERA_FROM_BASE, poses, FACTORY)


def changed(picture):
    rows, columns = np.nonzero((picture != GREY).any(axis=2))
    return rows, columns


def has(picture, colour):
    return bool((picture == colour).all(axis=2).any())


def test_a_tote_is_drawn_where_it_is_and_the_image_stays():
    rows, columns = changed(drawn([1.5, 0.0, -0.2]))
    assert abs(columns.mean() - 320) < 25 and 180 < rows.mean() < 260
    _, further_left = changed(drawn([1.5, 0.4, -0.2]))
    assert further_left.mean() < columns.mean() - 80
    assert (GREY == 90).all()


@pytest.mark.parametrize(("stamp_s", "colour"), [(9.9, FRESH), (5.0, OLD), (-np.inf, NEVER)])
def test_its_colour_tells_when_it_was_seen(stamp_s, colour):
    picture = drawn([1.5, 0.0, -0.2], stamp_s)
    assert [has(picture, one) for one in (FRESH, OLD, NEVER)] == [colour == one for one in (FRESH, OLD, NEVER)]


def test_the_less_is_known_the_larger_the_ellipse():
    assert np.ptp(changed(drawn([1.5, 0.0, -0.2], spread=0.2))[1]) > np.ptp(changed(drawn([1.5, 0.0, -0.2]))[1]) + 30


@pytest.mark.parametrize("place", [[-1.0, 0.0, 0.0], [1.0, 1e4, 0.0]])
def test_what_cannot_be_seen_draws_nothing(place):
    assert len(changed(drawn(place))[0]) == 0


def test_surfaces_are_outlined():
    pose = ObjectPose("rack_1/0", transform(np.eye(3), np.array([1.5, 0.0, -0.3])), 1e-4 * np.eye(6), 10.0)
    picture = draw_poses(GREY, CAMERA, CAMERA_FROM_BASE, PoseSet(10.0, {}, {"rack_1/0": pose}), FACTORY).astype(int)
    blue = picture[..., 2] - picture[..., 0] > 50
    assert 200 < blue.sum() < 5000
    assert (picture[~blue] == 90).mean() > 0.99
