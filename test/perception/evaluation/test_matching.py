"""Which tote a sighting is of, and that its covariance knows of the camera's mounting."""

import numpy as np
import pytest

from humanoid_control.transforms import planar, rotation_of_vector, transform
from perception.camera_rig import mounting_transform
from perception.evaluation.comparison import CHI2_90, compare
from perception.evaluation.matching import match_sightings
from perception.tracking.sighting import ToteSighting, pose_covariance

AHEAD = {"near": planar(0.0, 0.0, 0.0, 1.0), "behind": planar(0.0, 0.0, 0.0, 1.35)}  # z is the line of sight


def sighting(pose: np.ndarray, *, name: str = "", covariance: np.ndarray = 1e-6 * np.eye(6)) -> ToteSighting:
    return ToteSighting("klt_3147", name, "head_camera", 0.0, pose, covariance, 0.25)


def at(x: float, z: float, **also) -> ToteSighting:
    return sighting(planar(x, 0.0, 0.0, z), **also)


def test_each_tote_takes_the_nearest_and_what_is_near_none_is_false():
    matches = match_sightings([at(0.9, 1.0), at(0.0, 1.36), at(0.01, 1.0)], AHEAD, ("near", "behind"))
    assert matches.told == {"near": 2, "behind": 1} and matches.doubles == () and matches.false == (0,)


def test_a_tote_hidden_behind_takes_no_sighting_of_the_one_in_view():
    matches = match_sightings([at(0.0, 1.25)], AHEAD, ("near",))
    assert matches.told == {"near": 0}


def test_a_second_sighting_is_a_double_though_a_hidden_tote_is_nearer():
    matches = match_sightings([at(0.0, 1.0), at(0.0, 1.3)], AHEAD, ("near",))
    assert matches.told == {"near": 0} and matches.doubles == (1,) and matches.false == ()


def test_a_tote_that_is_too_far_to_be_in_view_makes_no_sighting_false():
    totes = AHEAD | {"far": planar(0.0, 0.0, 0.0, 4.0)}
    matches = match_sightings([at(0.0, 4.1), at(0.0, 4.3)], totes, ("near", "behind"))
    assert matches.told == {"far": 0} and matches.doubles == (1,) and matches.false == ()


def test_a_name_is_of_its_own_tote_only():
    totes = {"t1": planar(0.0, 0.0, 0.0, 1.0), "t2": planar(0.6, 0.0, 0.0, 1.0)}
    matches = match_sightings([at(0.0, 1.0, name="t2"), at(0.6, 1.01, name="t2"), at(0.6, 1.0, name="t2")], totes, totes)
    assert matches.told == {"t2": 2} and matches.doubles == (1,) and matches.false == (0,)


@pytest.mark.parametrize("mounting_deviation", [(0.001, 0.002), (0.004, 0.008)])
def test_truths_lie_in_the_region_of_a_sighting_through_a_camera_that_sits_a_little_off(mounting_deviation):
    rng = np.random.default_rng(4)
    mounting_covariance = np.diag(np.repeat(mounting_deviation, 3) ** 2)
    seen_covariance = np.diag(np.repeat([0.002, 0.004], 3) ** 2)
    believed = transform(rotation_of_vector(np.array([1.9, -0.5, 0.4])), np.array([0.1, 0.02, 0.4]))
    inside = []
    for _ in range(1500):
        base_from_tote = planar(*rng.uniform(0.4, 1.2, 2), rng.uniform(-3, 3), -0.1)
        really = believed @ mounting_transform(rng.multivariate_normal(np.zeros(6), mounting_covariance))
        pose = np.linalg.inv(really) @ base_from_tote
        error = rng.multivariate_normal(np.zeros(6), seen_covariance)
        pose = transform(rotation_of_vector(error[3:]) @ pose[:3, :3], pose[:3, 3] + error[:3])
        seen = sighting(pose, covariance=seen_covariance)
        covariance = pose_covariance(seen, believed, mounting_covariance)
        inside.append(compare(believed @ pose, covariance, base_from_tote).nees <= CHI2_90)
    assert np.mean(inside) == pytest.approx(0.90, abs=0.025)
