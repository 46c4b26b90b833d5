"""Episodes with other colours, textures and light than their factory's: the looks of training images, or those kept apart."""

from __future__ import annotations

from dataclasses import replace

import mujoco

from humanoid_control.errors import ConfigurationError
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.episode import Episode
from humanoid_control.simulation.robot_spec import build_robot_spec
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from perception.training import scenes

PLAIN = "plain"
LOOKS = ("held_out", "training", PLAIN)
TAG = "tag/"  # how the names of tags' geoms and materials begin


def check_look(look: str) -> None:
    """Refuses what is no look.

    Raises:
        ConfigurationError: naming those there are.
    """
    if look not in LOOKS:
        raise ConfigurationError(f"There is no look '{look}'; allowed: {', '.join(LOOKS)}.")


def painted_floor(model: RobotModel, episode: Episode, look: str, *, tags: bool = False) -> SimulatedFactory:
    """The simulation of an episode, repainted; everything but what it looks like is the episode's own.

    Args:
        model: the robot.
        episode: as drawn; the paint is drawn from a stream of its own.
        look: one of `LOOKS`; `plain` leaves the episode as it is.
        tags: totes and stations carry AprilTags, which keep their black and white.

    Raises:
        ConfigurationError: there is no such look.
        SimulationError: the scene cannot be built.
    """
    check_look(look)
    if look == PLAIN:
        return SimulatedFactory(model, episode, tags=tags)
    paints, rng = scenes.LOOKS[look], episode.stream(f"look/{look}")
    totes = tuple(tote.model_copy(update={"colour": scenes.tote_colour(rng, paints)}) for tote in episode.factory.totes)
    episode = replace(episode, factory=episode.factory.model_copy(update={"totes": totes}))
    spec = build_robot_spec(model)
    scenes.add_materials(spec, rng)
    floor = SimulatedFactory(model, episode, tags=tags, robot_spec=spec)
    scene = floor.scene
    scenes.fill_textures(scene, rng, paints)
    materials, colours = scene.geom_matid.copy(), scene.geom_rgba.copy()
    scenes.paint(scene, rng, paints, episode.factory)
    _keep_tags(scene, materials, colours)
    return floor


def _keep_tags(scene: mujoco.MjModel, materials, colours) -> None:
    """Tags stay as they were, and nothing else is painted with one."""
    for geom in range(scene.ngeom):
        material = int(scene.geom_matid[geom])
        if scene.geom(geom).name.startswith(TAG):
            scene.geom_matid[geom], scene.geom_rgba[geom] = materials[geom], colours[geom]
        elif material >= 0 and scene.mat(material).name.startswith(TAG):
            scene.geom_matid[geom] = -1
