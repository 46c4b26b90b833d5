"""Attention: what is looked at in an image, and how often."""

from itertools import islice

import numpy as np
import pytest

from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.transforms import inverse, planar, transform
from perception.attention import (
    EAGER_PERIOD_S,
    FARTHEST_SURFACE,
    FARTHEST_TOTE,
    MOST_COST,
    MOST_TOTES,
    SEARCH_COST,
    SEARCH_PERIOD_S,
    SURE_DEVIATION,
    SURFACE_COST,
    SURFACE_PERIOD_S,
    TOTE_COST,
    TOTE_PERIOD_S,
    WIDE_SURFACE_COST,
    Attention,
)
from perception.camera_model import CameraModel
from perception.poses import ObjectPose
from perception.tracking.shared_error_filter import SharedErrorFilter
from perception.tracking.tote_track import ToteTrack

CAMERA = CameraModel("head_camera", 640, 360, np.array([[470.0, 0, 319.5], [0, 470.0, 179.5], [0, 0, 1]]))
# It looks along odom's x, level, 0.2 m above the totes' bottoms.
ODOM_FROM_CAMERA = transform(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.0, 0.0, 0.2]))
PERIOD_S = 1 / 15


def tote(x, y=0.0, *, deviation=0.005, seen=True):
    filtered = SharedErrorFilter(np.array([x, y, 0.0, 0.0]), np.diag([deviation**2] * 4))
    track = ToteTrack("", LOAD_CARRIERS["klt_3147"], filtered, sightings=int(seen))
    return track, planar(x, y, 0.0)


def held(x, y=0.0, z=0.0):
    track, _ = tote(x, y)
    track.held = True
    return track, planar(x, y, 0.0, z)


def looks(attention, totes, seconds):
    return [attention.totes(CAMERA, k * PERIOD_S, ODOM_FROM_CAMERA, totes) for k in range(round(seconds / PERIOD_S))]


def test_a_tracked_tote_is_looked_at_again_and_again_where_it_should_be():
    shown = looks(Attention(), {"t1": tote(0.8)}, 2.0)
    assert sum(len(look.boxes) for look in shown) == pytest.approx(2.0 / (2 * PERIOD_S), abs=1)  # in every other image
    assert TOTE_PERIOD_S < 2 * PERIOD_S
    left, top, right, bottom = shown[0].boxes[0]
    middle, _ = CAMERA.project((inverse(ODOM_FROM_CAMERA) @ [0.8, 0.0, 0.07, 1.0])[None, :3])
    assert left < middle[0, 0] < right and top < middle[0, 1] < bottom


@pytest.mark.parametrize("where", [
    tote(FARTHEST_TOTE + 0.3), tote(-0.8), tote(0.8, 2.0), tote(0.8, deviation=2 * SURE_DEVIATION)])  # fmt: skip
def test_a_tote_out_of_reach_out_of_view_or_badly_known_is_not(where):
    assert not any(len(look.boxes) for look in looks(Attention(), {"t1": where}, 1.0))


@pytest.mark.parametrize(("carried", "is_looked_at"), [
    (held(0.45), False),  # before most of it
    (held(0.6, 0.36), True),  # beside it
    (held(1.2), True),  # behind it
    (tote(0.45), True)])  # fmt: skip
def test_a_tote_behind_one_that_is_held_is_not_looked_at(carried, is_looked_at):
    shown = looks(Attention(), {"below": tote(0.8), "carried": carried}, 1.0)
    assert any("below" in look.looked_at for look in shown) == is_looked_at
    assert any("carried" in look.looked_at for look in shown)
    assert all("below" in look.in_view for look in shown)


def test_the_whole_image_is_searched_now_and_then_and_sooner_for_what_was_never_seen():
    calm = sum(look.search for look in looks(Attention(), {"t1": tote(0.8)}, 6.0))
    eager = sum(look.search for look in looks(Attention(), {"t1": tote(0.8, seen=False)}, 6.0))
    assert calm == pytest.approx(6.0 / SEARCH_PERIOD_S, abs=2)
    assert 1.5 * calm < eager <= 6.0 / EAGER_PERIOD_S + 1


def test_two_cameras_never_search_at_once():
    attention = Attention()
    other = CameraModel("head_forward_camera", 640, 360, CAMERA.matrix)
    searched = {"head_camera": 0, "head_forward_camera": 0}
    for k in range(60):
        both = [attention.totes(camera, k * PERIOD_S, ODOM_FROM_CAMERA, {}).search for camera in (CAMERA, other)]
        assert not all(both)
        for name, did in zip(searched, both, strict=True):
            searched[name] += did
    assert min(searched.values()) >= 4


def test_of_many_totes_all_get_their_turn_and_near_ones_more_often():
    totes = {f"t{k}": tote(0.7 + 0.25 * k) for k in range(7)}
    attention, turns = Attention(), dict.fromkeys(totes, 0)
    for k in range(90):
        look = attention.totes(CAMERA, k * PERIOD_S, ODOM_FROM_CAMERA, totes)
        assert len(look.boxes) <= MOST_TOTES
        for name in totes:
            turns[name] += attention._looked_s["head_camera", name] == k * PERIOD_S
    assert min(turns.values()) > 20
    assert turns["t0"] >= turns["t6"]


def test_surfaces_near_enough_take_turns():
    attention, looked = Attention(), []
    camera_from_base = inverse(ODOM_FROM_CAMERA)
    surfaces = {name: ObjectPose(name, planar(x, 0.0, 0.0, -0.3), np.eye(6), 0.0)
                for name, x in (("near", 0.6), ("farther", 1.5), ("away", FARTHEST_SURFACE + 0.5))}  # fmt: skip
    for k in range(90):
        for name, camera_from_surface in islice(attention.surfaces("head_camera", k * PERIOD_S, camera_from_base, surfaces), 1):
            np.testing.assert_allclose(camera_from_surface, camera_from_base @ surfaces[name].base_from_object)
            looked.append((name, k * PERIOD_S))
    assert {name for name, _ in looked} == {"near", "farther"}
    for name in ("near", "farther"):
        times = np.array([when for which, when in looked if which == name])
        assert len(times) > 20
        assert np.diff(times).min() >= SURFACE_PERIOD_S


def test_in_a_search_only_what_was_never_seen_or_is_unsure_counts_as_searched_for():
    totes = {"sure": tote(0.8), "unsure": tote(0.9, 0.3, deviation=2 * SURE_DEVIATION), "new": tote(0.9, -0.3, seen=False)}
    attention = Attention()
    first, second = (attention.totes(CAMERA, k * 0.5 * PERIOD_S, ODOM_FROM_CAMERA, totes) for k in (0, 1))
    assert first.looked_at == ("sure",) and set(first.searched_for) == {"unsure", "new"} and len(first.passed_over) == 0
    assert second.looked_at == () and len(second.passed_over) == 1  # a moment later it is no use to look again
    assert set(second.in_view) == set(totes)


def test_what_images_of_one_moment_cost_is_limited_and_nothing_waits_for_ever():
    totes = {f"t{k}": tote(0.7 + 0.1 * k, 0.3 * (k % 3 - 1)) for k in range(6)} | {"new": tote(0.9, -0.3, seen=False)}
    camera_from_base = inverse(ODOM_FROM_CAMERA)
    surfaces = {name: ObjectPose(name, planar(x, 0.0, 0.0, -0.3), np.eye(6) * deviation**2, 0.0)
                for name, x, deviation in (("known", 0.6, 0.002), ("unknown", 0.9, 0.1))}  # fmt: skip
    cameras = [CameraModel(name, 640, 360, CAMERA.matrix) for name in ("head_camera", "head_forward_camera", "left_wrist_camera")]
    attention, done = Attention(), dict.fromkeys([*totes, "search", *surfaces], 0)
    for k in range(90):
        cost = 0.0
        for camera in cameras:
            look = attention.totes(camera, k * PERIOD_S, ODOM_FROM_CAMERA, totes)
            cost += TOTE_COST * len(look.looked_at) + SEARCH_COST * look.search
            for name in look.looked_at:
                done[name] += 1
            done["search"] += look.search
            for name, _ in [] if look.search else islice(attention.surfaces(camera.name, k * PERIOD_S, camera_from_base, surfaces), 1):
                cost += {"known": SURFACE_COST, "unknown": WIDE_SURFACE_COST}[name]
                done[name] += 1
        assert cost <= MOST_COST
    assert done.pop("new") == 0 and min(done.values()) >= 10, done
