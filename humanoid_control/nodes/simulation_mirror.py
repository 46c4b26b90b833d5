"""The same scene as in the simulation's process, following its true state: privileged."""

from __future__ import annotations

import mujoco
import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.robot_spec import build_robot_spec
from humanoid_control.simulation.scene import FactoryWorld, build_scene


class SimulationMirror:
    """A scene compiled from the same factory and seed, so that positions are all it needs to be told.

    Attributes:
        episode: as drawn.
        scene, data: MuJoCo's model and state.
        world: the factory's part.
    """

    def __init__(self, factory: Factory, seed: int, *, tags: bool = False) -> None:
        """Builds the scene.

        Args:
            factory, seed: of the simulation.
            tags: totes and stations carry AprilTags; positions are the same without.

        Raises:
            SimulationError: it cannot be built.
        """
        self.episode = draw_episode(factory, seed)
        self.scene = build_scene(self.episode, build_robot_spec(RobotModel.load()), tags=tags)
        self.world = FactoryWorld(self.scene, self.episode)
        self.data = mujoco.MjData(self.scene)

    def problem_with(self, factory: str, seed: int, size: int) -> str:
        """Why a state is of another simulation; empty if it is of this one."""
        here = self.episode.factory.name
        if (factory, seed) != (here, self.episode.seed):
            return f"the simulation runs factory {factory}, seed {seed}; this node was told {here}, seed {self.episode.seed}"
        return "" if size == self.scene.nq else f"the state has {size} positions; the scene has {self.scene.nq}"

    def show(self, qpos: np.ndarray, time_s: float) -> None:
        """Takes a state over; what is computed from it is up to the caller."""
        self.data.time = time_s
        self.data.qpos[:] = qpos
        self.world.step_actors(self.data, time_s)
