"""Totes for MuJoCo, made of boxes: a shell, a rim lip to grip, and seats for a tote on top."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import mujoco
import numpy as np

from humanoid_control.mission.load_carriers import (
    LIP_THICKNESS,
    STACKING_PLAY,
    STACKING_STEP,
    WALL_THICKNESS,
    LoadCarrier,
)
from humanoid_control.simulation.collision_groups import (
    TOTE_BOTTOM,
    TOTE_LIP,
    TOTE_SHELL,
    TOTE_UNDERSIDE,
    VISUAL,
    assign,
)

FOOT_RADIUS = 0.006
FOOT_RELIEF = 0.0015  # the floor plate is this far above the feet: it touches only where a foot is over an edge
FLOOR_THICKNESS = 0.006
SEAT_THICKNESS = 0.006
SEAT_REACH = 0.004  # of a seat beyond where a foot may stand
LOAD_DENSITY = 900.0  # kg/m^3, metal parts with the air between them
HIDDEN_GROUP = 3  # shown only in a viewer that asks for it

# Fingers and what stands on or in the rim meet stiff plastic: no deeper than tenths of a millimetre at 40 N.
LIP_SOLREF = (0.004, 1.0)
LIP_SOLIMP = (0.95, 0.99, 0.0005, 0.5, 2.0)
FOOT_SOLREF = (0.008, 1.0)


@dataclass(frozen=True)
class _Block:
    centre: np.ndarray
    half: np.ndarray

    @property
    def volume(self) -> float:
        return float(8 * np.prod(self.half))


def _between(low: Iterable[float], high: Iterable[float]) -> _Block:
    low, high = np.asarray(low, float), np.asarray(high, float)
    return _Block((low + high) / 2, (high - low) / 2)


def shell_blocks(carrier: LoadCarrier) -> dict[str, list[_Block]]:
    """Returns the boxes a tote is made of, by part: `floor`, `walls`, `lips`, `seats`."""
    wall_x, wall_y = carrier.wall_half_extents
    foot_x, foot_y = carrier.bottom_half_extents
    inner_x, inner_y = wall_x - WALL_THICKNESS, wall_y - WALL_THICKNESS
    out_x, out_y, top = carrier.width / 2, carrier.length / 2, carrier.height
    floor_z = FOOT_RELIEF + FLOOR_THICKNESS
    under_lip = top - LIP_THICKNESS
    seat_top = top - STACKING_STEP
    # The innermost place of a foot's middle, off by the play.
    seat_x = foot_x - FOOT_RADIUS - STACKING_PLAY - SEAT_REACH
    seat_y = foot_y - FOOT_RADIUS - STACKING_PLAY - SEAT_REACH
    blocks: dict[str, list[_Block]] = {
        "underside": [_between((-foot_x, -foot_y, FOOT_RELIEF), (foot_x, foot_y, floor_z))],
        "floor": [_between((-wall_x, -wall_y, floor_z), (wall_x, wall_y, floor_z + WALL_THICKNESS))],
        "walls": [],
        "lips": [],
        "seats": [],
    }
    for sign in (-1, 1):
        xs, ys = sorted((sign * inner_x, sign * wall_x)), sorted((sign * inner_y, sign * wall_y))
        blocks["walls"].append(_between((xs[0], -wall_y, floor_z), (xs[1], wall_y, under_lip)))
        blocks["walls"].append(_between((-inner_x, ys[0], floor_z), (inner_x, ys[1], under_lip)))
        xs, ys = sorted((sign * inner_x, sign * out_x)), sorted((sign * inner_y, sign * out_y))
        blocks["lips"].append(_between((-out_x, ys[0], under_lip), (out_x, ys[1], top)))
        blocks["lips"].append(_between((xs[0], -inner_y, under_lip), (xs[1], inner_y, top)))
        for other in (-1, 1):
            xs, ys = sorted((sign * seat_x, sign * inner_x)), sorted((other * seat_y, other * inner_y))
            blocks["seats"].append(_between((xs[0], ys[0], seat_top - SEAT_THICKNESS), (xs[1], ys[1], seat_top)))
    return blocks


def _load_block(carrier: LoadCarrier, mass: float) -> _Block | None:
    """The parts inside: as high as their mass needs, at most to the lip."""
    load = mass - carrier.empty_mass
    if load <= 1e-6:
        return None
    half_x, half_y = (half - WALL_THICKNESS - 0.004 for half in carrier.wall_half_extents)
    bottom = FOOT_RELIEF + FLOOR_THICKNESS + WALL_THICKNESS
    full = carrier.height - LIP_THICKNESS - 0.01 - bottom
    height = float(np.clip(load / (LOAD_DENSITY * 4 * half_x * half_y), 0.015, full))
    return _between((-half_x, -half_y, bottom), (half_x, half_y, bottom + height))


def mass_properties(carrier: LoadCarrier, mass: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the centre of mass (3,) in m and the inertia about it (3,) in kg m^2 of a tote of `mass` in all."""
    shell = [block for part, blocks in shell_blocks(carrier).items() for block in blocks]
    volume = sum(block.volume for block in shell)
    pieces = [(block, carrier.empty_mass * block.volume / volume) for block in shell]
    load = _load_block(carrier, mass)
    if load is not None:
        pieces.append((load, mass - carrier.empty_mass))
    masses = np.array([piece for _, piece in pieces])
    centres = np.array([block.centre for block, _ in pieces])
    centre = masses @ centres / masses.sum()
    inertia = np.zeros(3)
    for block, piece in pieces:
        squares = (2 * block.half) ** 2
        offset = (block.centre - centre) ** 2
        inertia += piece * ((squares.sum() - squares) / 12 + offset.sum() - offset)
    return centre, inertia


def add_tote(
    spec: mujoco.MjSpec,
    name: str,
    *,
    carrier: LoadCarrier,
    mass: float,
    colour: Iterable[float],
    friction: float,
) -> mujoco.MjsBody:
    """Adds a free-floating tote to the world of `spec` and returns its body, called `name`.

    Args:
        spec: the scene.
        name: of the body; its free joint is `name` with `/free` behind.
        carrier: its sizes.
        mass: kg, the whole: an empty tote and what is in it.
        colour: red, green, blue.
        friction: sliding friction of its lip and feet, whatever they touch.
    """
    body = spec.worldbody.add_body(name=name)
    body.add_joint(name=f"{name}/free", type=mujoco.mjtJoint.mjJNT_FREE)
    centre, inertia = mass_properties(carrier, mass)
    body.mass, body.ipos, body.inertia, body.explicitinertial = mass, centre, inertia, True

    colour = np.asarray(tuple(colour), float)
    rgba = {
        "underside": (*(0.7 * colour), 1.0),
        "floor": (*(0.8 * colour), 1.0),
        "walls": (*colour, 1.0),
        "lips": (*np.clip(1.15 * colour + 0.03, 0.0, 1.0), 1.0),
        "seats": (*(0.9 * colour), 1.0),
    }
    groups = {
        "underside": TOTE_UNDERSIDE,
        "floor": TOTE_SHELL,
        "walls": TOTE_SHELL,
        "lips": TOTE_LIP,
        "seats": TOTE_LIP,
    }
    for part, blocks in shell_blocks(carrier).items():
        for index, block in enumerate(blocks):
            geom = body.add_geom(
                name=f"{name}/{part}{index}",
                type=mujoco.mjtGeom.mjGEOM_BOX,
                pos=block.centre,
                size=block.half,
                rgba=rgba[part],
            )
            assign(geom, groups[part])
            geom.condim, geom.friction = 3, [friction, 0.0, 0.0]
            if part == "lips":  # its friction rules whatever grips it
                geom.priority, geom.solref, geom.solimp = 1, LIP_SOLREF, LIP_SOLIMP
    foot_x, foot_y = (half - FOOT_RADIUS for half in carrier.bottom_half_extents)
    for index, (x, y) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        geom = body.add_geom(
            name=f"{name}/foot{index}",
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            pos=[x * foot_x, y * foot_y, FOOT_RADIUS],
            size=[FOOT_RADIUS, 0, 0],
            rgba=(*(0.7 * colour), 1.0),
            group=HIDDEN_GROUP,
        )
        assign(geom, TOTE_BOTTOM)
        geom.condim, geom.friction, geom.priority, geom.solref = 3, [friction, 0.0, 0.0], 1, FOOT_SOLREF
    _add_looks(body, name, carrier, mass)
    return body


def _add_looks(body: mujoco.MjsBody, name: str, carrier: LoadCarrier, mass: float) -> None:
    """A load of parts, and a white label on each long wall."""
    load = _load_block(carrier, mass)
    if load is not None:
        _visual(body, load.centre, load.half, (0.42, 0.40, 0.38, 1.0))
        top = load.centre[2] + load.half[2]
        pitch = 0.075
        counts = [max(1, int(2 * half / pitch)) for half in load.half[:2]]
        for row in range(counts[0]):
            for column in range(counts[1]):
                x = (row - (counts[0] - 1) / 2) * pitch
                y = (column - (counts[1] - 1) / 2) * pitch
                part = body.add_geom(
                    type=mujoco.mjtGeom.mjGEOM_CYLINDER,
                    pos=[x, y, top + 0.003],
                    size=[0.027, 0.006, 0],
                    rgba=(0.62, 0.63, 0.66, 1.0) if (row + column) % 2 else (0.55, 0.48, 0.38, 1.0),
                )
                assign(part, VISUAL)
    wall_x, _ = carrier.wall_half_extents
    for sign in (-1, 1):
        x = sign * (wall_x + 0.0006)
        _visual(body, (x, 0.0, 0.072), (0.0006, 0.052, 0.026), (0.93, 0.93, 0.9, 1.0))
        for line in range(3):
            _visual(
                body,
                (sign * (wall_x + 0.0012), -0.01, 0.086 - 0.013 * line),
                (0.0006, 0.034, 0.003),
                (0.1, 0.1, 0.1, 1.0),
            )


def _visual(body: mujoco.MjsBody, centre: Iterable[float], half: Iterable[float], rgba: Iterable[float]) -> None:
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=tuple(centre), size=tuple(half), rgba=tuple(rgba))
    assign(geom, VISUAL)
