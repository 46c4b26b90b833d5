"""What stations are made of, as far as one can run into it."""

from __future__ import annotations

from dataclasses import dataclass

from humanoid_control.mission.factory import Rack, Station, Table

TOP_THICKNESS = 0.035
LEG = 0.05
SHELF_THICKNESS = 0.012  # little, so that the clear height above the shelf below stays close to the file's
POST = 0.024
POST_ABOVE_TOP = 0.10
BELT_THICKNESS = 0.04
RAIL_HEIGHT, RAIL_DEPTH = 0.09, 0.03

@dataclass(frozen=True)
class Part:
    """A box in a station's frame.

    Attributes:
        name: of the part, unique in its station.
        low, high: (3,) m, opposite corners.
    """

    name: str
    low: tuple[float, float, float]
    high: tuple[float, float, float]


def solid_parts(station: Station) -> tuple[Part, ...]:
    """The boxes of a station that things touch, with its surfaces at the heights of the file."""
    half_x, half_y = station.size[0] / 2, station.size[1] / 2
    if isinstance(station, Table):
        under = station.height - TOP_THICKNESS
        return (Part("top", (-half_x, -half_y, under), (half_x, half_y, station.height)), *_legs(station, under))
    if isinstance(station, Rack):
        shelves = tuple(Part(f"shelf{k}", (-half_x, -half_y, height - SHELF_THICKNESS), (half_x, half_y, height))
                        for k, height in enumerate(station.shelves))  # fmt: skip
        top = station.shelves[-1] + POST_ABOVE_TOP
        # Posts are just outside the ends, so that the whole of a shelf is free.
        return shelves + tuple(_upright(f"post{k}", (sx * half_x, sx * (half_x - POST)), (sy * half_y, sy * (half_y + POST)), top)
                               for k, (sx, sy) in enumerate(_CORNERS))  # fmt: skip
    under = station.height - BELT_THICKNESS
    rails = tuple(Part(f"rail{sign}", (min(sign * half_x, sign * (half_x - RAIL_DEPTH)), -half_y, under - RAIL_HEIGHT),
                       (max(sign * half_x, sign * (half_x - RAIL_DEPTH)), half_y, under - 0.002)) for sign in (-1, 1))  # fmt: skip
    top = Part("top", (-half_x, -half_y, under), (half_x, half_y, station.height))
    return (top, *rails, *_legs(station, under - RAIL_HEIGHT))


_CORNERS = ((1, 1), (-1, 1), (-1, -1), (1, -1))


def _upright(name: str, xs: tuple[float, float], ys: tuple[float, float], top: float) -> Part:
    return Part(name, (min(xs), min(ys), 0.0), (max(xs), max(ys), top))


def _legs(station: Station, top: float) -> tuple[Part, ...]:
    x, y = station.size[0] / 2, station.size[1] / 2
    return tuple(_upright(f"leg{k}", (sx * (x - LEG), sx * x), (sy * (y - LEG), sy * y), top) for k, (sx, sy) in enumerate(_CORNERS))
