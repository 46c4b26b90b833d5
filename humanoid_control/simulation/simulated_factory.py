"""A running simulation of one episode: the robot's driver, the factory around it, and the judge who watches."""

from __future__ import annotations

import mujoco

from humanoid_control.mission.factory import Order
from humanoid_control.robot_model import RobotModel
from humanoid_control.robots.mujoco_robot import MujocoRobot
from humanoid_control.simulation.episode import Episode
from humanoid_control.simulation.judge import Judge, Verdict
from humanoid_control.simulation.robot_spec import build_robot_spec
from humanoid_control.simulation.scene import FactoryWorld, build_scene
from humanoid_control.simulation.sensors import SensorNoise
from humanoid_control.whole_body_control.controller import standing_posture

CONTROL_PERIOD_S = 0.004


class SimulatedFactory:
    """One episode, placed and ready to run; its clock starts at 0.

    Attributes:
        episode: as drawn.
        world: the factory's part; privileged.
        robot: the driver.
        order: the one being judged, once one was begun.
        verdict: of that order, once there is one; privileged.
    """

    def __init__(
        self, model: RobotModel, episode: Episode, *, tags: bool = False, robot_spec: mujoco.MjSpec | None = None
    ) -> None:
        """Builds an episode's scene and puts everything in its place.

        Args:
            model: the robot.
            episode: as drawn.
            tags: totes and stations carry AprilTags.
            robot_spec: the robot where it wears something; by default it is `build_robot_spec`'s.

        Raises:
            SimulationError: the scene cannot be built.
        """
        self.episode = episode
        self.scene = build_scene(self.episode, robot_spec or build_robot_spec(model), tags=tags)
        self.world = FactoryWorld(self.scene, self.episode)
        self._judge = Judge(self.world)
        self._is_judging = False
        self.order: Order | None = None
        self.verdict: Verdict | None = None
        self.robot = MujocoRobot(
            model, self.scene, period_s=CONTROL_PERIOD_S, noise=SensorNoise().scaled(self.episode.sensor_noise),
            delay_s=1e-3 * self.episode.delay_ms, rng=self.episode.stream("sensors"), on_physics_step=self._before_step,
        )  # fmt: skip
        self.robot.place(self.episode.factory.robot.start, standing_posture(model))
        self.world.reset(self.robot.data)

    def _before_step(self, scene: mujoco.MjModel, data: mujoco.MjData) -> None:
        self.world.step_actors(data, data.time)
        if self._is_judging:
            self.verdict = self._judge.update(data)

    def begin(self, order: Order) -> None:
        """Starts to judge an order, whatever became of the one before."""
        self._judge.begin(order, self.robot.data)
        self._judge.accepts_done = False
        self.order = order
        self.verdict = None
        self._is_judging = True

    def accept_done(self) -> None:
        """The policy says that it is done: from now on the judge may agree."""
        self._judge.accepts_done = True

    def allow_longer(self, seconds: float) -> None:
        """A person had the order for so long: it may take that much more."""
        if self._is_judging:
            self._judge.allow_longer(seconds)

    def end(self) -> None:
        """Ends judging: the order was given up."""
        self._is_judging = False

    @property
    def lacking(self) -> str:
        """What the order still lacks, as of the judge's last look."""
        return self._judge.lacking
