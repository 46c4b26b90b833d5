"""Chunks: what is wanted between steps, at their end, and where one takes over from another."""

import numpy as np
import pytest

from humanoid_control.transforms import planar, to_pose
from humanoid_control.types import FRAME_BASE_FOOTPRINT, FRAME_ODOM, WholeBodyTarget
from policies.learned.chunks import Chunk, ChunkPlayer, faded


def chunk(begin_s, values):
    """One number a step: the height of the pelvis."""
    return Chunk(begin_s, 0.1, np.array(values, float)[:, None], lambda step, stamp_s: WholeBodyTarget(stamp_s, pelvis_height=float(step[0])))


def test_between_steps_it_is_a_straight_line_and_after_the_last_nothing():
    player = ChunkPlayer(0.1)
    assert player.target(0.0, np.eye(4)) is None
    player.take(chunk(1.0, [0.6, 0.7, 0.5]), 1.0)
    for now, height in ((1.0, 0.6), (1.05, 0.65), (1.1, 0.7), (1.15, 0.6), (1.2, 0.5)):
        target = player.target(now, np.eye(4))
        assert target.stamp_s == now and target.pelvis_height == pytest.approx(height)
    assert player.target(1.21, np.eye(4)) is None


def test_a_new_chunk_takes_over_without_a_jump_even_if_it_is_late():
    player = ChunkPlayer(0.1)
    player.take(chunk(0.0, [0.70] * 16), 0.0)
    before = player.target(0.3, np.eye(4)).pelvis_height
    player.take(chunk(0.25, [0.60] * 16), 0.3)  # it follows from what was seen 50 ms ago
    heights = [player.target(0.3 + 0.004 * k, np.eye(4)).pelvis_height for k in range(40)]
    assert heights[0] == pytest.approx(before) and heights[-1] == pytest.approx(0.60)
    assert np.abs(np.diff(heights)).max() < 0.005


def test_a_hand_fades_from_the_floor_to_what_is_carried_along_where_it_is():
    odom_from_footprint, hand = planar(2.0, 1.0, 0.5), planar(0.4, 0.2, 0.1, 0.9)
    on_floor = WholeBodyTarget(0.0, FRAME_ODOM, hand_poses=np.array([to_pose(odom_from_footprint @ hand)] * 2), hand_active=np.ones(2, bool))
    carried = WholeBodyTarget(0.0, FRAME_BASE_FOOTPRINT, np.array([0.2, 0, 0]), np.array([to_pose(hand)] * 2), np.ones(2, bool))
    for share in (0.0, 0.5, 1.0):
        between = faded(on_floor, carried, share, odom_from_footprint)
        assert between.frame == FRAME_BASE_FOOTPRINT
        np.testing.assert_allclose(between.hand_poses[:, :3], carried.hand_poses[:, :3], atol=1e-9)
        np.testing.assert_allclose(between.base_velocity, share * carried.base_velocity)


def test_who_is_to_stand_stands_at_once():
    walks, stands = WholeBodyTarget(0.0, base_velocity=np.array([0.3, 0, 0])), WholeBodyTarget(0.0)
    assert not faded(walks, stands, 0.1, np.eye(4)).base_velocity.any()
