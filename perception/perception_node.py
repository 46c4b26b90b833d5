"""Publishes what is seen of totes, stations and people, in base_link, with covariances, from a rung of perception.

`oracle` reads the simulation's truth: it is privileged, and refuses to serve a real robot. `fiducial`, `detector` and
`tracker` look at colour images; they see no people.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from humanoid_control.errors import ConfigurationError
from humanoid_control.nodes.factory_file import DESCRIPTION, find_factory
from humanoid_control.nodes.life_cycle import ManagedNode, start
from humanoid_control.ros import topics
from humanoid_control.ros.node_main import run_node
from humanoid_control.ros.parameters import parameter
from humanoid_control.ros.polling_executor import PollingExecutor
from perception.poses import RUNGS

NAME = "perception_node"
ORACLE = "oracle"
POLL_PERIOD_S = 0.01


@dataclass(frozen=True)
class PerceptionParameters:
    """See config/perception_node.yaml."""

    poses: str = parameter(ORACLE, "rung of perception", choices=RUNGS)
    robot: str = parameter("mujoco", "the robot it looks from; privileged rungs serve mujoco only")
    factory: str = parameter("line_side", DESCRIPTION)
    seed: int = parameter(0, "of the simulated episode; for oracle", minimum=0)
    rate_hz: float = parameter(25.0, "of detections", minimum=1.0, maximum=50.0)
    cameras: tuple[str, ...] = parameter(topics.CAMERAS[:2], "that are looked through", choices=topics.CAMERAS)
    calibration: str = parameter("", "file of `humanoid calibrate`; empty: nominal mounting, with the covariance of that")
    models: str = parameter("", "folder of the networks; empty: the shipped ones")
    stale_s: float = parameter(0.5, "without a state of the robot, after which no poses are told", minimum=0.1, maximum=5.0)
    lost_s: float = parameter(2.0, "without a usable image, after which a camera is lost", minimum=0.2, maximum=10.0)
    autostart: bool = parameter(True, "configure and activate by itself")


class PerceptionNode(ManagedNode):
    """See the module."""

    def __init__(self) -> None:
        """Makes the node.

        Raises:
            HumanoidControlError: a parameter or the factory is wrong, or a privileged rung is asked for a real robot.
        """
        super().__init__(NAME, PerceptionParameters)
        p = self.parameters
        if p.poses == ORACLE and p.robot != "mujoco":
            raise ConfigurationError(f"{NAME}: poses:=oracle reads the simulation's truth and cannot serve robot '{p.robot}'; "
                                     "it serves robot mujoco only")  # fmt: skip
        if not p.cameras or len(set(p.cameras)) < len(p.cameras):
            raise ConfigurationError(f"{NAME}: parameter 'cameras' is {list(p.cameras)}; it must be one or more, none twice")
        factory = find_factory(p.factory)
        # Only what the rung needs is imported: vision runs where there is no simulation.
        if p.poses == ORACLE:
            from perception.ros.oracle_rung import OracleRung

            self._rung = OracleRung(self, factory)
        else:
            from perception.ros.vision_rung import VisionRung

            self._rung = VisionRung(self, factory)

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        self._rung.configure()

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        self._rung.activate()

    def deactivate(self) -> None:
        """See `ManagedNode.deactivate`."""
        self._rung.deactivate()

    def look(self) -> None:
        """Takes in whatever is new."""
        if self.is_active:
            self._rung.look()


def main() -> int:
    """Runs the node."""
    return run_node(lambda: start(PerceptionNode()), make_executor=lambda: PollingExecutor(POLL_PERIOD_S))


if __name__ == "__main__":
    sys.exit(main())
