"""Where edges are expected, what moves them in the image, and the fit that brings a surface to its edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from humanoid_control.mission.factory import Conveyor, Rack, Table
from humanoid_control.transforms import rotation_x, rotation_z, transform
from perception import edges as edges_module
from perception.camera_model import CameraModel
from perception.edges import ACROSS, BINS, EdgeFinder, _fit, cut_strips, expected_points, rows_of, surface_edges
from perception.frame import CameraFrame

CAMERA = CameraModel("head_camera", 640, 360, np.array([[460.0, 0, 319.5], [0, 460.0, 179.5], [0, 0, 1.0]]))
STATIONS = (
    Table(name="table", kind="table", pose=(0, 0, 0), size=(0.5, 1.0), height=0.7),
    Rack(name="rack", kind="rack", pose=(0, 0, 0), size=(0.45, 1.2), shelves=(0.45, 0.85)),
    Conveyor(name="belt", kind="conveyor", pose=(0, 0, 0), size=(0.5, 1.6), height=0.65, speed=0.1),
)


def view(distance: float = 0.5, height: float = 0.55, pitch: float = 0.7) -> np.ndarray:
    """(4, 4) camera_from_surface of a camera before the front edge, looking down."""
    # Optical axes: x right (-y of the surface), y down, z forward (x of the surface).
    facing = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    rotation = rotation_x(pitch) @ facing
    return transform(rotation, -rotation @ np.array([-0.25 - distance, 0.05, height]))


@pytest.mark.parametrize("station", STATIONS, ids=lambda s: s.kind)
def test_points_lie_on_edges_in_the_image_and_look_outwards(station):
    pose = view()
    edges = surface_edges(station, 0)
    expected = expected_points(edges, pose, CAMERA, margin=5.0)
    assert len(expected.points) >= 4
    assert (expected.pixels > 5).all() and (expected.pixels < (634, 354)).all()
    np.testing.assert_allclose(np.linalg.norm(expected.across, axis=1), 1.0)
    for point, pixel, across, index in zip(expected.points, expected.pixels, expected.across, expected.edge):
        inwards = CAMERA.project((pose[:3, :3] @ (point + 0.01 * edges[index].inside) + pose[:3, 3])[None])[0][0] - pixel
        assert across @ inwards < 0


@pytest.mark.parametrize("station", STATIONS, ids=lambda s: s.kind)
def test_rows_are_the_derivative_of_where_edges_are(station):
    pose = view()
    expected = expected_points(surface_edges(station, 0), pose, CAMERA, margin=5.0)
    rows = rows_of(expected, pose, CAMERA)
    for k in range(4):
        step = np.zeros(4)
        step[k] = 1e-5
        moved = pose @ transform(rotation_z(step[3]), step[:3])
        pixels = CAMERA.project(expected.points @ moved[:3, :3].T + moved[:3, 3])[0]
        change = np.einsum("ij,ij->i", pixels - expected.pixels, expected.across) / 1e-5
        np.testing.assert_allclose(rows[:, k], change, rtol=1e-3, atol=0.1)


def test_fit_finds_the_move_in_spite_of_strips_that_err():
    rng = np.random.default_rng(1)
    pose = view()
    expected = expected_points(surface_edges(STATIONS[0], 0), pose, CAMERA, margin=5.0)
    rows = rows_of(expected, pose, CAMERA)
    move = np.array([0.02, -0.015, 0.01, 0.02])
    offsets = rows @ move + 0.2 * rng.normal(size=len(rows))
    wrong = rng.choice(len(rows), len(rows) // 6, replace=False)
    offsets[wrong] += 15.0
    step, information = _fit(rows, offsets, np.full(len(rows), 0.5), np.array([1.0, 1, 1, 1]) / 0.1**2)
    deviations = np.sqrt(np.diag(np.linalg.inv(information + 1e-3 * np.eye(4))))
    assert (np.abs(step - move) < 4 * deviations + 1e-3).all()
    assert np.abs(step - move)[:3].max() < 0.006


def test_strip_shows_the_edge_where_it_is():
    pose = view()
    expected = expected_points(surface_edges(STATIONS[0], 0)[:1], pose, CAMERA, margin=30.0)
    image = np.zeros((360, 640, 3), np.uint8)
    front = float(expected.pixels[:, 1].mean())
    image[: int(round(front))] = 200  # the top, above the front edge in the image
    strips = cut_strips(image, expected, reach=12.0)
    assert strips.shape == (len(expected.points), BINS, ACROSS, 3)
    for strip in strips[:, :, ACROSS // 2, 0].astype(float):
        assert abs(np.argmin(np.diff(strip)) - (BINS / 2 - 1)) <= 6
        assert strip[:6].mean() > 190 and strip[-6:].mean() < 10


def searched(monkeypatch, share, prior, attempt=0, boxes=()):
    """Looks for a surface where in a share of the strips an edge is in sight; the sighting, and where strips were cut first."""
    finder, cut = EdgeFinder(), []

    def read(strips, reach):
        count = len(strips)
        return np.zeros(count), np.full(count, 0.5), np.where(np.arange(count) < share * count, 0.9, 0.1)

    def blank(rgb, expected, reach):
        cut.append(expected.pixels)
        return np.zeros((len(expected.points), BINS, ACROSS, 3), np.uint8)

    monkeypatch.setattr(finder, "read", read)
    monkeypatch.setattr(edges_module, "cut_strips", blank)
    pose = view()
    frame = CameraFrame("head_camera", 0.0, np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8))
    return finder.look(frame, CAMERA, surface_edges(STATIONS[0], 0), pose, name="s/0", prior=prior, attempt=attempt, boxes=boxes), cut[0]


WIDE, NARROW = np.array([0.1, 0.1, 0.03, 0.1]), np.array([0.003, 0.003, 0.003, 0.005])


def test_where_a_surface_may_be_anywhere_few_strips_are_another_line(monkeypatch):
    assert searched(monkeypatch, 0.35, WIDE)[0] is None
    assert searched(monkeypatch, 0.80, WIDE)[0] is not None
    assert searched(monkeypatch, 0.35, NARROW)[0] is not None  # hands and totes may hide the rest


def test_each_attempt_at_a_surface_that_may_be_anywhere_begins_elsewhere(monkeypatch):
    first = [searched(monkeypatch, 0.8, WIDE, attempt)[1] for attempt in range(5)]
    assert len({tuple(np.round(pixels.mean(axis=0), 1)) for pixels in first}) == 5
    again = [searched(monkeypatch, 0.8, NARROW, attempt)[1] for attempt in range(2)]
    np.testing.assert_array_equal(*again)


def box_at(x: float, y: float, z: float) -> np.ndarray:
    """(8, 3) m, corners of a box of 40 x 30 x 15 cm on a place of the surface, in the camera's frame."""
    corners = np.array([(a, b, c) for a in (-0.2, 0.2) for b in (-0.15, 0.15) for c in (0.0, 0.15)]) + (x, y, z)
    return corners @ view()[:3, :3].T + view()[:3, 3]


def test_what_is_carried_before_an_edge_is_not_taken_for_it(monkeypatch):
    everywhere = searched(monkeypatch, 0.9, NARROW)[1]
    carried = box_at(-0.45, 0.0, 0.15)
    left = searched(monkeypatch, 0.9, NARROW, boxes=[carried])[1]
    outline = cv2.convexHull(CAMERA.project(carried)[0].astype(np.float32))
    inside = [cv2.pointPolygonTest(outline, pixel.tolist(), False) >= 0 for pixel in everywhere]
    assert any(inside) and not all(inside)
    assert not any(cv2.pointPolygonTest(outline, pixel.tolist(), False) >= 0 for pixel in left)
    assert len(left) >= len(everywhere) - sum(inside) - 6  # but for the few beside it


def test_what_stands_behind_an_edge_hides_nothing_of_it(monkeypatch):
    behind = box_at(1.0, 0.0, -0.3)
    np.testing.assert_array_equal(searched(monkeypatch, 0.9, NARROW, boxes=[behind])[1], searched(monkeypatch, 0.9, NARROW)[1])
    aside = behind - (0.0, 0.0, 5.0)  # behind the camera itself
    np.testing.assert_array_equal(searched(monkeypatch, 0.9, NARROW, boxes=[aside])[1], searched(monkeypatch, 0.9, NARROW)[1])
