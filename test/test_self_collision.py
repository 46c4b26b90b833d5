"""Self-collision distances: against brute force, against finite differences, and which pairs are watched."""

import numpy as np
import pytest

from humanoid_control.rigid_body import forward_kinematics, motion_record, tree_record
from humanoid_control.robot_model import RobotModel
from humanoid_control.self_collision import (
    capsule_distances,
    distance_row,
    hull_capsules,
    pair_names,
    pairs_record,
    proximity_record,
)

POINTS = np.linspace(0.0, 1.0, 201)


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


@pytest.fixture(scope="module")
def pairs(model):
    return pairs_record(model)


def rotation_of(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def distances_at(model, pairs, joints, rotation, margin=np.inf):
    tree, motion, proximity = tree_record(model.tree), motion_record(), proximity_record()
    forward_kinematics(tree, rotation, joints, motion)
    smallest = capsule_distances(pairs, motion, margin, proximity)
    return smallest, proximity, tree, motion


def random_joints(model, rng):
    return rng.uniform(model.position_lower, model.position_upper)


def test_distances_agree_with_brute_force(model, pairs):
    rng = np.random.default_rng(0)
    capsules = hull_capsules(model)
    for _ in range(6):
        _, proximity, _, motion = distances_at(model, pairs, random_joints(model, rng), rotation_of(rng))
        for k in range(int(pairs["pair_count"])):
            ends = []
            for index in (pairs["first"][k], pairs["second"][k]):
                c = capsules[index]
                start, end = (motion["position"][c.body] + motion["rotation"][c.body] @ x for x in (c.start, c.end))
                ends.append((start + POINTS[:, None] * (end - start), c.radius, np.linalg.norm(end - start)))
            (first, r1, l1), (second, r2, l2) = ends
            brute = np.linalg.norm(first[:, None] - second[None], axis=-1).min() - r1 - r2
            spacing = (l1 + l2) / (len(POINTS) - 1)
            distance = proximity["distance"][k]
            assert distance <= brute + 1e-12
            assert distance >= brute - spacing
            # The witness points lie on the axes and are as far apart as the distance says.
            p, q = proximity["point"][k]
            assert np.linalg.norm(q - p) - r1 - r2 == pytest.approx(distance, abs=1e-12)
            assert np.linalg.norm(first - p, axis=1).min() <= l1 / (len(POINTS) - 1)
            assert np.linalg.norm(second - q, axis=1).min() <= l2 / (len(POINTS) - 1)


def test_gradient_agrees_with_finite_differences(model, pairs):
    rng = np.random.default_rng(1)
    row, h, checked = np.zeros(35), 1e-6, 0
    for _ in range(3):
        joints, rotation = random_joints(model, rng), rotation_of(rng)
        _, proximity, tree, motion = distances_at(model, pairs, joints, rotation)
        numeric = np.zeros((int(pairs["pair_count"]), 29))
        for j in range(29):
            above, below = joints.copy(), joints.copy()
            above[j] += h
            below[j] -= h
            plus = distances_at(model, pairs, above, rotation)[1]["distance"]
            minus = distances_at(model, pairs, below, rotation)[1]["distance"]
            numeric[:, j] = ((plus - minus) / (2 * h))[: len(numeric)]
        for k in range(len(numeric)):
            p, q = proximity["point"][k]
            if np.linalg.norm(q - p) < 0.01:
                continue  # axes about to cross: the distance has a kink there
            distance_row(tree, pairs, motion, proximity, k, row)
            np.testing.assert_allclose(row[6:], numeric[k], atol=2e-5)
            assert not row[:6].any()
            checked += 1
    assert checked > 300


def test_distances_do_not_depend_on_the_base(model, pairs):
    rng = np.random.default_rng(2)
    joints = random_joints(model, rng)
    first = distances_at(model, pairs, joints, np.eye(3))[1]["distance"].copy()
    second = distances_at(model, pairs, joints, rotation_of(rng))[1]["distance"]
    np.testing.assert_allclose(first, second, atol=1e-12)


def test_distances_below_the_margin_are_exact_and_others_are_lower_bounds(model, pairs):
    rng = np.random.default_rng(3)
    count, margin = int(pairs["pair_count"]), 0.05
    for _ in range(200):
        joints = random_joints(model, rng)
        exact = distances_at(model, pairs, joints, np.eye(3))[1]["distance"][:count].copy()
        bounded = distances_at(model, pairs, joints, np.eye(3), margin)[1]["distance"][:count]
        near = exact < margin
        np.testing.assert_array_equal(bounded[near], exact[near])
        assert (bounded[~near] >= margin).all()
        assert (bounded <= exact + 1e-12).all()


def test_closest_pair_is_reported(model, pairs):
    rng = np.random.default_rng(4)
    smallest, proximity, *_ = distances_at(model, pairs, random_joints(model, rng), np.eye(3))
    count = int(pairs["pair_count"])
    assert smallest == proximity["distance"][:count].min() == proximity["distance"][proximity["closest"]]


def test_no_watched_pair_touches_at_the_zero_configuration(model, pairs):
    assert distances_at(model, pairs, np.zeros(29), np.eye(3))[0] > 0


def test_hands_are_watched_against_torso_head_and_each_other(model, pairs):
    names = {frozenset(pair) for pair in pair_names(model, pairs)}
    for other in ("torso_link", "head_link", "pelvis", "left_hip_yaw_link", "right_dex1_base_link"):
        assert frozenset(("left_dex1_base_link", other)) in names


def test_pairs_that_joint_limits_keep_apart_are_not_watched(model, pairs):
    names = {frozenset(pair) for pair in pair_names(model, pairs)}
    assert frozenset(("left_elbow_link", "left_wrist_pitch_link")) not in names
    assert frozenset(("left_knee_link", "left_ankle_roll_link")) not in names
    assert frozenset(("pelvis", "head_link")) not in names


def test_left_out_pairs_never_touch(model, pairs):
    """Fresh configurations, not those the pairs were chosen with."""
    everything = pairs.copy()
    count = int(pairs["capsule_count"])
    parents = model.tree.parents
    body = pairs["body"]
    watched = set(zip(pairs["first"].tolist(), pairs["second"].tolist(), strict=True))
    left_out = [
        (i, j)
        for i in range(count)
        for j in range(i + 1, count)
        if (i, j) not in watched and body[i] != body[j] and parents[body[i]] != body[j] and parents[body[j]] != body[i]
    ]
    everything["pair_count"] = len(left_out)
    for k, (i, j) in enumerate(left_out):
        everything["first"][k], everything["second"][k] = i, j
    rng = np.random.default_rng(5)
    smallest = min(distances_at(model, everything, random_joints(model, rng), np.eye(3))[0] for _ in range(1000))
    assert smallest > 0


def test_hand_hull_reaches_the_finger_tips(model):
    hand = next(c for c in hull_capsules(model) if c.link == "left_dex1_base_link")
    gripper = model.body_point("l_gripper")
    assert hand.end[0] + hand.radius == pytest.approx(gripper.translation[0] + 0.033)
