"""The corners of totes and their symmetries."""

import numpy as np
import pytest

from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.simulation.load_carriers import shell_blocks
from humanoid_control.transforms import rotation_x, rotation_z, transform
from perception.keypoints import BOTTOM, HALF_TURN, MIRROR, RIM, canonical, faces_away, half_turned, tote_corners


@pytest.mark.parametrize("carrier", LOAD_CARRIERS.values(), ids=LOAD_CARRIERS)
def test_corners_lie_on_what_the_simulated_tote_is_made_of(carrier):
    corners = tote_corners(carrier)
    blocks = shell_blocks(carrier)
    for part, rows in (("lips", RIM), ("walls", BOTTOM)):
        low = np.min([block.centre - block.half for block in blocks[part]], axis=0)
        high = np.max([block.centre + block.half for block in blocks[part]], axis=0)
        ends = np.array([np.where(corner > 0, high, low) for corner in corners[rows, :2] @ np.eye(2, 3)])
        assert np.allclose(corners[rows, :2], ends[:, :2], atol=1e-9)
        assert np.allclose(corners[rows, 2], high[2] if part == "lips" else low[2], atol=1e-9)


@pytest.mark.parametrize("carrier", LOAD_CARRIERS.values(), ids=LOAD_CARRIERS)
def test_symmetries_permute_the_corners(carrier):
    corners = tote_corners(carrier)
    assert np.allclose(corners @ rotation_z(np.pi).T, corners[HALF_TURN])
    assert np.allclose(corners * (1, -1, 1), corners[MIRROR])


def test_of_two_equal_poses_one_is_canonical():
    rng = np.random.default_rng(0)
    for _ in range(50):
        upright = rotation_x(np.pi / 2 + rng.uniform(-0.9, 0.9)) @ rotation_z(rng.uniform(-np.pi, np.pi))
        pose = transform(upright, rng.uniform((-0.3, -0.3, 0.4), (0.3, 0.3, 2.0)))
        assert faces_away(pose) != faces_away(half_turned(pose))
        assert np.array_equal(canonical(pose), canonical(half_turned(pose)))
        assert np.allclose(half_turned(half_turned(pose)), pose)
