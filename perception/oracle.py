"""True poses from the simulation: privileged, for training, evaluation and the lower rungs' reference only."""

from __future__ import annotations

import mujoco
import numpy as np

from humanoid_control.simulation.scene import FactoryWorld
from humanoid_control.types import BaseEstimate, RobotState
from perception.poses import ObjectPose, PoseSet, surface_name

COVARIANCE = np.diag([1e-8] * 6)


class OraclePoses:
    """What a perfect camera without occlusion would see.

    Attributes:
        is_privileged: true; whoever assembles what runs on the robot refuses such a source.
    """

    is_privileged = True

    def __init__(self, world: FactoryWorld, data: mujoco.MjData) -> None:
        """Reads from a running simulation.

        Args:
            world: the factory's part of the scene.
            data: the scene's state.
        """
        self._world = world
        self._data = data
        self._base = world.model.body("base_link").id
        self._surfaces = {}
        for station in world.factory.stations:
            for shelf, height in enumerate(station.surfaces):
                pose = world.station_pose(station.name).copy()
                pose[2, 3] = height
                self._surfaces[surface_name(station.name, shelf)] = pose

    def update(self, state: RobotState, estimate: BaseEstimate) -> None:
        """See `PoseSource.update`; the truth needs no help."""

    def read(self) -> PoseSet:
        """See `PoseSource.read`."""
        data, now = self._data, float(self._data.time)
        rotation = data.xmat[self._base].reshape(3, 3)
        base_from_map = np.eye(4)
        base_from_map[:3, :3] = rotation.T
        base_from_map[:3, 3] = -rotation.T @ data.xpos[self._base]

        def seen(name: str, map_from_object: np.ndarray) -> ObjectPose:
            return ObjectPose(name, base_from_map @ map_from_object, COVARIANCE, now)

        people = {}
        for person in self._world.factory.people:
            x, y = self._world.person_position(person.name, now)
            people[person.name] = (base_from_map @ np.array([x, y, 0.0, 1.0]))[:2]
        return PoseSet(
            stamp_s=now,
            totes={name: seen(name, self._world.tote_pose(data, name)) for name in self._world.tote_bodies},
            surfaces={name: seen(name, pose) for name, pose in self._surfaces.items()},
            people=people,
        )
