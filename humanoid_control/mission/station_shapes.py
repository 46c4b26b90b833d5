"""What stations are made of, as far as one can run into it; and how far from one a robot's legs keep clear of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humanoid_control.mission.factory import MAX_REACH_DEPTH, Rack, Station, Table
from humanoid_control.mission.load_carriers import LoadCarrier

TOP_THICKNESS = 0.035
LEG = 0.05
SHELF_THICKNESS = 0.012  # little, so that the clear height above the shelf below stays close to the file's
POST = 0.024
POST_ABOVE_TOP = 0.10
BELT_THICKNESS = 0.04
RAIL_HEIGHT, RAIL_DEPTH = 0.09, 0.03

# How far a leg reaches in front of the base in the last, slow steps up to a station and the first ones back, by height
# above the floor, at two heights of the pelvis. Measured at `SLOW`; test/mission/test_station_shapes.py walks and
# measures again. Standing takes less.
SLOW = 0.09  # m/s
LEG_HEIGHTS = np.array([0.0, 0.10, 0.20, 0.30, 0.34, 0.38, 0.40, 0.44, 0.48, 0.52, 0.56, 0.60])
LEG_REACH_UPRIGHT = np.array([0.19, 0.17, 0.215, 0.23, 0.235, 0.235, 0.225, 0.203, 0.183, 0.16, 0.13, 0.0])  # pelvis at 0.72 m
STANDING_SHARE = 0.03  # m less while it stands
SQUAT_HEIGHT = 0.60  # m
LEG_REACH_SQUATTING = np.array([0.21, 0.24, 0.305, 0.305, 0.30, 0.285, 0.25, 0.21, 0.16, 0.0, 0.0, 0.0])
LEG_HALF_WIDTH = 0.24  # m from the middle of the robot to the outside of a leg that walks
LEG_MARGIN = 0.015  # m for where the robot really comes to a stand
BODY_DISTANCE = 0.17  # m from the base to a station that leaves all room to the legs: trunk and thighs need that much
UPRIGHT_HEIGHT = 0.72  # m

# How far from the base the middle of a tote may be for both hands to get to its rims, by the height of its bottom.
REACH_HEIGHTS = np.array([0.40, 0.70, 0.80, 0.90, 1.00])
REACH = np.array([0.60, 0.60, 0.58, 0.56, 0.52])


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


def leg_distance(station: Station, y: float, *, raised: float = 0.0, pelvis_height: float = UPRIGHT_HEIGHT) -> float:
    """Metres from a station's front edge at which a robot stands before it without touching it with its legs.

    Args:
        station: as in the file.
        y: m along the station's front, where the robot's middle is.
        raised: m, how much higher than in the file the station is seen to be.
        pelvis_height: m, how low it gets there, standing; it walks up upright.
    """
    distance = BODY_DISTANCE
    for part in solid_parts(station):
        if part.low[0] > station.front_x + LEG_REACH_SQUATTING.max() or not (
                part.low[1] - LEG_HALF_WIDTH < y < part.high[1] + LEG_HALF_WIDTH):  # fmt: skip
            continue
        behind_edge = part.low[0] - station.front_x
        low = max(part.low[2] + raised, 0.0) if part.low[2] > 0.0 else 0.0
        for reach in (_leg_reach(low, part.high[2] + raised, UPRIGHT_HEIGHT),
                      _leg_reach(low, part.high[2] + raised, pelvis_height) - STANDING_SHARE):  # fmt: skip
            if reach > 0.0:
                distance = max(distance, reach + LEG_MARGIN - behind_edge)
    return distance


def _leg_reach(low: float, high: float, pelvis_height: float) -> float:
    """Metres that a walking leg is in front of the base between two heights; 0 above it."""
    heights = np.concatenate([[low, high], LEG_HEIGHTS[(LEG_HEIGHTS > low) & (LEG_HEIGHTS < high)]])
    share = float(np.clip((UPRIGHT_HEIGHT - pelvis_height) / (UPRIGHT_HEIGHT - SQUAT_HEIGHT), 0.0, 1.0))
    upright, squatting = (np.interp(heights, LEG_HEIGHTS, reach) for reach in (LEG_REACH_UPRIGHT, LEG_REACH_SQUATTING))
    return float(((1 - share) * upright + share * squatting).max())


def reachable_depth(station: Station, carrier: LoadCarrier, bottom: float, y: float) -> float:
    """Metres behind a station's front edge up to which the middle of a tote there is within reach of both hands.

    Args:
        station: the station.
        carrier: the tote.
        bottom: m above the floor, the height of its bottom.
        y: m along the station's front.
    """
    longer = max(carrier.length - 0.297, 0.0)
    reach = float(np.interp(bottom, REACH_HEIGHTS, REACH)) - 0.3 * longer
    return min(reach - leg_distance(station, y, pelvis_height=working_height(bottom)), MAX_REACH_DEPTH)


def working_height(bottom: float) -> float:
    """Height in m of the pelvis when a tote whose bottom is at a height in m is gripped: low ones are taken squatting."""
    return float(np.interp(bottom, [0.40, 0.65], [SQUAT_HEIGHT, UPRIGHT_HEIGHT]))
