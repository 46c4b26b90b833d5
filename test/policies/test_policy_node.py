"""What the policy's node adds to the policy: poses that are matched to the robot's motion since they were seen."""

import numpy as np

from humanoid_control.transforms import inverse, planar
from perception.poses import ObjectPose, PoseSet, carried_along


def test_poses_stay_where_they_are_in_odom_while_the_base_moves():
    then, now = planar(1.0, 2.0, 0.3, 0.75), planar(1.1, 2.05, 0.5, 0.74)
    odom_from_tote = planar(2.0, 2.2, 1.0, 0.7)
    seen = PoseSet(3.0, totes={"t1": ObjectPose("t1", inverse(then) @ odom_from_tote, np.eye(6), 3.0)},
                   people={"p1": (inverse(then) @ np.array([3.0, 1.0, 0.0, 1.0]))[:2]})  # fmt: skip
    moved = carried_along(seen, inverse(now) @ then)
    np.testing.assert_allclose(now @ moved.totes["t1"].base_from_object, odom_from_tote, atol=1e-12)
    np.testing.assert_allclose((now @ np.array([*moved.people["p1"], 0.0, 1.0]))[:2], [3.0, 1.0], atol=0.01)
    assert moved.totes["t1"].stamp_s == 3.0
