"""What only the simulation knows at one instant, for teachers, critics and people who ask what went wrong."""

from __future__ import annotations

import mujoco
import numpy as np

from humanoid_control.mission.factory import Order
from humanoid_control.mission.placement import Placement
from humanoid_control.simulation.collision_groups import CONTYPE, ROBOT_HAND
from humanoid_control.simulation.robot_spec import CAMERA_FIELD_OF_VIEW
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from humanoid_control.transforms import inverse, planar, to_pose, yaw_of
from humanoid_control.types import SIDES
from perception.simulated_cameras import HEIGHT, WIDTH
from perception.true_cameras import camera_from_map
from policies.data import schema
from policies.learned.eyes import FARTHEST
from policies.learned.rotations import to_columns

AROUND = 0.6  # m about a tote's middle, in which it and what is believed of it lie


class Truth:
    """Reads the columns `privileged.*` from a running simulation.

    Args:
        floor: the simulation.
    """

    def __init__(self, floor: SimulatedFactory) -> None:
        self._floor = floor
        scene = floor.scene
        first = int(scene.joint("floating_base").dofadr[0])
        self._base_velocity = slice(first, first + 6)
        hands = scene.geom_contype == CONTYPE[ROBOT_HAND]
        owner = [scene.body(int(body)).name.split("_")[0] for body in scene.geom_bodyid]
        self._side = np.array([SIDES.index(name) if hand and name in SIDES else -1 for name, hand in zip(owner, hands)])

    def begin(self, order: Order, place: Placement) -> None:
        """An order begins.

        Args:
            order: which.
            place: where its tote shall stand.
        """
        self._order, self._place = order, place
        self._tote = self._floor.episode.factory.tote(order.tote)

    def columns(self) -> dict[str, np.ndarray | str]:
        """One frame's; poses are in the true `base_footprint` but for that of the base, which is in `map`."""
        world, robot = self._floor.world, self._floor.robot
        data = robot.data
        base = robot.true_base_pose()
        footprint = planar(*base[:2, 3], yaw_of(base))
        to_footprint = inverse(footprint)
        turn = to_footprint[:3, :3]
        tote = world.tote_pose(data, self._order.tote)
        twist, motion = world.tote_velocity(data, self._order.tote), data.qvel[self._base_velocity]
        return {
            schema.TOTE_POSE: _numbers(to_footprint @ tote),
            schema.TOTE_VELOCITY: np.concatenate([turn @ twist[:3], turn @ tote[:3, :3] @ twist[3:]]),
            schema.GOAL_POSE: _numbers(to_footprint @ self._goal(data)),
            schema.BASE_POSE: to_pose(base),
            schema.BASE_VELOCITY: np.concatenate([turn @ motion[:3], turn @ base[:3, :3] @ motion[3:6]]),
            schema.MASS: np.array([self._tote.mass]),
            schema.FRICTION: np.array([self._floor.episode.friction]),
            schema.HAND_FORCES: self._hand_forces(data),
            schema.LACKING: self._floor.lacking,
        }

    def footprint_from_tote(self) -> np.ndarray:
        """(4, 4) the order's tote in the true `base_footprint`."""
        base = self._floor.robot.true_base_pose()
        return inverse(planar(*base[:2, 3], yaw_of(base))) @ self._floor.world.tote_pose(self._floor.robot.data, self._order.tote)

    def may_show_tote(self, camera: str) -> bool:
        """Whether a camera looks about to where the order's tote is, by so much room that a belief of its place may be far off."""
        data = self._floor.robot.data
        tote = (camera_from_map(data, camera) @ self._floor.world.tote_pose(data, self._order.tote))[:3, 3]
        distance = float(np.linalg.norm(tote))
        if distance < AROUND or distance > FARTHEST + AROUND:
            return distance < AROUND
        to_corner = np.arctan(np.tan(np.radians(CAMERA_FIELD_OF_VIEW[camera]) / 2) * np.hypot(1.0, WIDTH / HEIGHT))
        return bool(np.arccos(tote[2] / distance) < to_corner + np.arcsin(AROUND / distance))

    def _goal(self, data: mujoco.MjData) -> np.ndarray:
        """(4, 4) map_from_tote when it stands as ordered."""
        place, factory = self._place, self._floor.episode.factory
        if place.on is not None:
            below = self._floor.world.tote_pose(data, place.on).copy()
            below[:3, 3] += below[:3, 2] * factory.tote(place.on).carrier.stacking_height
            return below
        height = factory.station(place.station).surface_height(place.shelf)
        x, y, yaw = place.pose
        return self._floor.world.station_pose(place.station) @ planar(x, y, yaw, height)

    def _hand_forces(self, data: mujoco.MjData) -> np.ndarray:
        """(2,) N between each hand and the order's tote: the sum of the contacts' normal forces."""
        forces, wrench = np.zeros(2), np.zeros(6)
        tote = self._floor.world.tote_bodies[self._order.tote]
        bodies = self._floor.scene.geom_bodyid
        for index in range(data.ncon):
            first, second = data.contact.geom[index]
            for hand, other in ((first, second), (second, first)):
                if self._side[hand] >= 0 and bodies[other] == tote:
                    mujoco.mj_contactForce(self._floor.scene, data, index, wrench)
                    forces[self._side[hand]] += abs(wrench[0])
        return forces


def _numbers(pose: np.ndarray) -> np.ndarray:
    return np.concatenate([pose[:3, 3], to_columns(pose)])
