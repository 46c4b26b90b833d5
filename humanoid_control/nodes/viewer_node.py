"""Shows the simulation in MuJoCo's viewer; needs a screen."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import mujoco
import rclpy
from rclpy.node import Node

from humanoid_control.errors import ConfigurationError
from humanoid_control.nodes.factory_file import DESCRIPTION, find_factory
from humanoid_control.nodes.polled import Polled
from humanoid_control.nodes.simulation_mirror import SimulationMirror
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.node_main import run_node
from humanoid_control.ros.parameters import NODE_OPTIONS, declare_parameters, parameter

NAME = "viewer_node"
PERIOD_S = 1.0 / 30.0


@dataclass(frozen=True)
class ViewerParameters:
    """Its parameters."""

    factory: str = parameter("line_side", DESCRIPTION)
    seed: int = parameter(0, "of the simulated episode", minimum=0)
    tags: bool = parameter(False, "totes and stations carry AprilTags")


class ViewerNode(Node):
    """See the module."""

    def __init__(self) -> None:
        """Opens the viewer.

        Raises:
            HumanoidControlError: there is no screen, or a parameter or the factory is wrong.
        """
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise ConfigurationError("the viewer needs a screen, and neither DISPLAY nor WAYLAND_DISPLAY is set; leave out "
                                     "viewer:=true, or film with video:=FILE.mp4")  # fmt: skip
        super().__init__(NAME, **NODE_OPTIONS)
        parameters = declare_parameters(self, ViewerParameters)
        self._mirror = SimulationMirror(find_factory(parameters.factory), parameters.seed, tags=parameters.tags)
        import mujoco.viewer

        try:
            self._viewer = mujoco.viewer.launch_passive(self._mirror.scene, self._mirror.data)
        except Exception as error:  # GLFW's own kinds, and the viewer's
            raise ConfigurationError(f"the viewer does not open on {os.environ.get('DISPLAY')}: {error}") from None
        self._states = Polled(self, topics.SIMULATION_STATE)
        self._draw_timer = self.create_timer(PERIOD_S, self._draw)

    def _draw(self) -> None:
        if not self._viewer.is_running():
            rclpy.try_shutdown()
            return
        for message in self._states.take():
            if not self._mirror.problem_with(message.factory, message.seed, len(message.qpos)):
                with self._viewer.lock():
                    self._mirror.show(message.qpos, conversions.time_from_message(message.header.stamp))
                    mujoco.mj_forward(self._mirror.scene, self._mirror.data)
        self._viewer.sync()


def main() -> int:
    """Runs the node."""
    return run_node(ViewerNode)


if __name__ == "__main__":
    sys.exit(main())
