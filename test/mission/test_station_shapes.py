"""Whether the simulated stations are made of the parts that the rest of the software knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from humanoid_control.mission import station_shapes
from humanoid_control.mission.factory import load_factory
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.scene import build_scene

FACTORIES = Path(__file__).resolve().parents[2] / "config" / "factories"


@pytest.mark.parametrize("path", sorted(FACTORIES.glob("*.yaml")), ids=lambda p: p.stem)
def test_simulation_is_made_of_the_same_parts(path):
    factory = load_factory(path)
    scene = build_scene(draw_episode(factory.model_copy(update={"randomise": type(factory.randomise)()}), 0))
    for station in factory.stations:
        parts = station_shapes.solid_parts(station)
        assert len({part.name for part in parts}) == len(parts)
        for part in parts:
            geom = scene.geom(f"{station.name}/{part.name}")
            np.testing.assert_allclose(geom.size, (np.array(part.high) - part.low) / 2, atol=1e-9)
            np.testing.assert_allclose(geom.pos, (np.array(part.high) + part.low) / 2, atol=1e-9)
