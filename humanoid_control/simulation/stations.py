"""Tables, racks and conveyors for MuJoCo: a body each, so that all forces on one can be summed."""

from __future__ import annotations

from collections.abc import Iterable

import mujoco
import numpy as np

from humanoid_control.mission.factory import Conveyor, Rack, Station, Table
from humanoid_control.mission.placement import BELT_STOP
from humanoid_control.mission.station_shapes import (
    BELT_THICKNESS,
    LEG,
    POST,
    POST_ABOVE_TOP,
    TOP_THICKNESS,
    Part,
    solid_parts,
)
from humanoid_control.simulation.collision_groups import BELT_END, STATION, VISUAL, assign

BELT_STOP_HEIGHT = 0.025  # m above the belt
BELT_STOP_RADIUS = 0.01
BELT_MASS = 300.0  # kg: friction of totes hardly slows it within a step
STEEL = (0.55, 0.57, 0.60, 1.0)
DARK = (0.16, 0.17, 0.18, 1.0)
WARNING = (0.95, 0.75, 0.1, 1.0)


def station_body_name(station: str) -> str:
    """Returns the name of the body that holds all parts of a station, its running belt included."""
    return f"{station}/station"


def belt_body_name(station: str) -> str:
    """Returns the name of the body that is the running belt of a conveyor; its joint is called the same."""
    return f"{station}/belt"


def add_station(spec: mujoco.MjSpec, station: Station, *, colour: Iterable[float], friction: float) -> None:
    """Adds a station to the world of `spec`; its geoms are called after it, with `/` and the part behind."""
    _Builder(spec, station, (*colour, 1.0), friction).build()


class _Builder:
    """Adds boxes given in a station's frame."""

    def __init__(self, spec: mujoco.MjSpec, station: Station, colour: tuple[float, ...], friction: float) -> None:
        self._station = station
        self._colour = colour
        self._friction = friction
        self._half_x, self._half_y = station.size[0] / 2, station.size[1] / 2
        self._body = spec.worldbody.add_body(
            name=station_body_name(station.name),
            pos=[station.pose[0], station.pose[1], 0.0],
            quat=[np.cos(station.yaw / 2), 0.0, 0.0, np.sin(station.yaw / 2)],
        )

    def build(self) -> None:
        if isinstance(self._station, Table):
            self._table(self._station)
        elif isinstance(self._station, Rack):
            self._rack(self._station)
        else:
            self._conveyor(self._station)

    def _box(self, part, low, high, rgba=None, *, group=STATION, body=None):
        low, high = np.asarray(low, float), np.asarray(high, float)
        geom = (body or self._body).add_geom(
            name=f"{self._station.name}/{part}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=(low + high) / 2,
            size=(high - low) / 2,
            rgba=rgba or self._colour,
        )
        assign(geom, group)
        geom.friction = [self._friction, 0.005, 0.0001]
        return geom

    def _solid(self, part: Part, rgba=None, body=None) -> None:
        self._box(part.name, part.low, part.high, rgba, body=body)

    def _table(self, table: Table) -> None:
        x, y, under = self._half_x, self._half_y, table.height - TOP_THICKNESS
        top, *legs = solid_parts(table)
        self._solid(top)
        for leg in legs:
            self._solid(leg, STEEL)
        inset = LEG / 2
        for sign in (-1, 1):  # aprons, drawn only
            xs = sorted((sign * (x - inset), sign * (x - inset - 0.02)))
            self._box(f"apron{sign}", (xs[0], -y + LEG, under - 0.06), (xs[1], y - LEG, under), STEEL, group=VISUAL)

    def _rack(self, rack: Rack) -> None:
        x, y = self._half_x, self._half_y
        steel = tuple(0.75 * np.array(self._colour[:3])) + (1.0,)
        for part in solid_parts(rack):
            self._solid(part, steel if part.name.startswith("post") else (0.80, 0.80, 0.78, 1.0))
        for shelf, height in enumerate(rack.shelves):
            for sign in (-1, 1):  # beams hide the shelf's edge
                xs = sorted((sign * x, sign * (x - 0.012)))
                beam = (xs[0], -y, height - 0.045), (xs[1], y, height - 0.001)
                self._box(f"beam{shelf}{sign}", *beam, group=VISUAL)
        for sign in (-1, 1):  # a brace at each end
            ys = sorted((sign * (y + 0.006), sign * (y + POST - 0.006)))
            for index, height in enumerate((0.12, rack.shelves[-1] + POST_ABOVE_TOP - 0.05)):
                self._box(f"brace{sign}{index}", (-x, ys[0], height), (x, ys[1], height + 0.03), steel, group=VISUAL)

    def _conveyor(self, conveyor: Conveyor) -> None:
        x, y, top = self._half_x, self._half_y, conveyor.height
        under = top - BELT_THICKNESS
        running = conveyor.speed > 0
        belt, front, back, *legs = solid_parts(conveyor)
        self._solid(belt, DARK, self._running_belt() if running else None)
        for sign, rail in ((-1, front), (1, back)):
            self._solid(rail)
            roller = self._body.add_geom(
                name=f"{conveyor.name}/roller{sign}",
                type=mujoco.mjtGeom.mjGEOM_CYLINDER,
                pos=[0.0, sign * y, top - BELT_THICKNESS / 2],
                quat=[np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0],
                size=[BELT_THICKNESS / 2, x, 0.0],
                rgba=DARK,
            )
            assign(roller, VISUAL)
        for leg in legs:
            self._solid(leg, STEEL)
        count = max(2, int(2 * y / 0.2))
        for index in range(count):  # arrow marks along the front rail
            middle = -y + (index + 0.5) * 2 * y / count
            mark = (-x - 0.001, middle - 0.03, under - 0.06), (-x, middle + 0.03, under - 0.03)
            self._box(f"mark{index}", *mark, WARNING, group=VISUAL)
        if running:
            self._belt_stop(x, y, top)

    def _belt_stop(self, x: float, y: float, top: float) -> None:
        """A low roller across the end of the belt: a tote leans on it with its wall and neither tips nor climbs."""
        geom = self._body.add_geom(
            name=f"{self._station.name}/end",
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            pos=[0.0, y - BELT_STOP + BELT_STOP_RADIUS, top + BELT_STOP_HEIGHT],
            quat=[np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0],
            size=[BELT_STOP_RADIUS, x - BELT_STOP_RADIUS, 0.0],
            rgba=WARNING,
        )
        assign(geom, BELT_END)
        geom.friction, geom.priority, geom.solref = [0.05, 0.001, 0.0001], 2, [0.02, 1.0]
        for sign in (-1, 1):
            xs = sorted((sign * x, sign * (x - 0.015)))
            post = (xs[0], y - BELT_STOP, top - 0.02), (xs[1], y - 0.005, top + BELT_STOP_HEIGHT)
            self._box(f"end_post{sign}", *post, STEEL, group=VISUAL)

    def _running_belt(self) -> mujoco.MjsBody:
        name = belt_body_name(self._station.name)
        body = self._body.add_body(name=name)
        body.mass, body.inertia, body.explicitinertial = BELT_MASS, [10.0, 10.0, 10.0], True
        body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 1, 0])
        return body
