"""People who walk their paths to and fro: figures that push the robot but are pushed by nothing."""

from __future__ import annotations

import mujoco
import numpy as np

from humanoid_control.mission.factory import Person
from humanoid_control.simulation.collision_groups import PERSON, VISUAL, assign

HEIGHT = 1.74
HIP = 0.90
STRIDE = 0.7  # m a step
LEG_SWING = 0.45  # rad each way
CLOTHES = ((0.95, 0.55, 0.10, 1.0), (0.20, 0.25, 0.45, 1.0))
SKIN = (0.78, 0.60, 0.48, 1.0)
HELMET = (0.95, 0.85, 0.2, 1.0)
LEGS = ("left_leg", "right_leg")


def person_bodies(name: str) -> tuple[str, str, str]:
    """Returns the names of the bodies of a figure: the trunk and both legs, all of them mocap bodies."""
    return name, f"{name}/{LEGS[0]}", f"{name}/{LEGS[1]}"


def add_person(spec: mujoco.MjSpec, person: Person) -> None:
    """Adds a figure at the start of its path to the world of `spec`."""
    x, y, yaw = WalkingPath(person).pose_at(0.0)
    quat = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
    trunk_name, *leg_names = person_bodies(person.name)
    trunk = spec.worldbody.add_body(name=trunk_name, mocap=True, pos=[x, y, 0.0], quat=quat)
    hull = _capsule(trunk, (0, 0, 0.25), (0, 0, HEIGHT - 0.22), 0.22, (0, 0, 0, 0), PERSON)
    hull.name = f"{person.name}/hull"
    hull.group = 3
    vest, trousers = CLOTHES
    _capsule(trunk, (0, -0.08, 1.02), (0, 0.08, 1.02), 0.12, trousers)
    _capsule(trunk, (0, -0.07, 1.15), (0, -0.09, 1.35), 0.12, vest)
    _capsule(trunk, (0, 0.07, 1.15), (0, 0.09, 1.35), 0.12, vest)
    for side in (-1, 1):
        _capsule(trunk, (0, side * 0.21, 1.38), (0.02, side * 0.25, 1.10), 0.05, vest)
        _capsule(trunk, (0.02, side * 0.25, 1.10), (0.12, side * 0.22, 0.92), 0.04, SKIN)
    _capsule(trunk, (0, 0, 1.48), (0, 0, 1.58), 0.085, SKIN)
    _capsule(trunk, (-0.01, 0, 1.63), (0.01, 0, 1.64), 0.10, HELMET)
    for name, side in zip(leg_names, (1, -1)):
        leg = spec.worldbody.add_body(name=name, mocap=True, pos=[x, y, HIP], quat=quat)
        _capsule(leg, (0, side * 0.09, 0), (0, side * 0.09, -HIP + 0.12), 0.075, trousers)
        _capsule(leg, (-0.02, side * 0.09, -HIP + 0.05), (0.12, side * 0.09, -HIP + 0.04), 0.045, (0.1, 0.1, 0.1, 1))


def _capsule(body, start, end, radius, rgba, group=VISUAL):
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=[*start, *end], size=[radius, 0, 0], rgba=rgba)
    return assign(geom, group)


class WalkingPath:
    """Where a person is at any time: along the path and back, for ever.

    Args:
        person: with its path and speed.
    """

    def __init__(self, person: Person) -> None:
        points = np.array(person.path, float)
        steps = np.diff(points, axis=0)
        lengths = np.linalg.norm(steps, axis=1)
        keep = lengths > 1e-9
        self._starts, steps, self._lengths = points[:-1][keep], steps[keep], lengths[keep]
        self._directions = steps / self._lengths[:, None]
        self._ends = np.cumsum(self._lengths)
        self._length = float(self._ends[-1])
        self._speed = person.speed

    def pose_at(self, time_s: float) -> tuple[float, float, float]:
        """Returns (x, y, yaw) in `map`, facing where the person goes."""
        distance = (self._speed * time_s) % (2 * self._length)
        goes_back = distance > self._length
        along = 2 * self._length - distance if goes_back else distance
        leg = min(int(np.searchsorted(self._ends, along)), len(self._ends) - 1)
        direction = self._directions[leg]
        x, y = self._starts[leg] + (along - (self._ends[leg] - self._lengths[leg])) * direction
        yaw = np.arctan2(direction[1], direction[0]) + (np.pi if goes_back else 0.0)
        return float(x), float(y), float(yaw)

    def leg_angle_at(self, time_s: float) -> float:
        """Returns how far the left leg swings forward, in rad; the right one swings as far back."""
        return float(LEG_SWING * np.sin(np.pi * self._speed * time_s / STRIDE))
