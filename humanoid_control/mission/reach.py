"""Where a robot stands before a station, and how far away from there it handles a tote."""

from __future__ import annotations

import numpy as np

from humanoid_control.mission.factory import MAX_REACH_DEPTH, TOLERANCE, Conveyor, Rack, Station
from humanoid_control.mission.load_carriers import LoadCarrier
from humanoid_control.mission.station_shapes import solid_parts

# How far a leg reaches in front of the base in the last, slow steps up to a station and the first ones back, by height
# above the floor, at two heights of the pelvis. Measured at `SLOW`; test/mission/test_reach.py walks and
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
HEAVY = 3.0  # kg, what a tote of unknown mass is taken for
HAND_WIDTH, WRIST_WIDTH = 0.10, 0.175  # m that a hand takes beside a tote at its grip, and its wrist before the tote
STANCE_DISTANCE = 0.35  # m from the base to the middle of a tote that is gripped or set down, at least
EDGE_DISTANCE = 0.28  # m from the base to a station's front edge where nothing asks for more or less
BOARD = 0.02  # m that a shelf's board takes
PUSHED = 0.08  # m that a tote is pulled or pushed over its surface without trouble
# A tote further back is pulled to the edge by its near lip first. How far from the base its near edge may be for the waist to
# bear that, by the height of its bottom; no tote is pulled from lower (the body bends too far) or higher.
PULLED_TO = (0.04, 0.07)  # m from a surface's front edge to a tote that was pulled there, at least and at most
PULL_HEIGHTS = np.array([0.65, 0.75, 0.92])
PULL_REACH = np.array([0.51, 0.56, 0.56])


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
        for reach in (leg_reach(low, part.high[2] + raised, UPRIGHT_HEIGHT),
                      leg_reach(low, part.high[2] + raised, pelvis_height) - STANDING_SHARE):  # fmt: skip
            if reach > 0.0:
                distance = max(distance, reach + LEG_MARGIN - behind_edge)
    return distance


def leg_reach(low: float, high: float, pelvis_height: float) -> float:
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


def pull_reach(width: float | np.ndarray, bottom: float | np.ndarray) -> float | np.ndarray:
    """Metres from the base up to which the middle of a tote (width and height of its bottom in m) may be to be pulled by its near lip."""
    return np.interp(bottom, PULL_HEIGHTS, PULL_REACH) + 0.5 * width


def pull_distance(
    behind_edge: float | np.ndarray, width: float | np.ndarray, legs: float | np.ndarray, reach: float | np.ndarray
) -> float | np.ndarray:  # fmt: skip
    """Metres to pull a tote so that it stands close behind its surface's front edge, where the waist bears it.

    Args:
        behind_edge: m from the station's front edge to the tote's middle.
        width: m, of the tote from front to back.
        legs: m from the edge at which legs keep off the station.
        reach: m from the base up to which the tote is handled with ease.
    """
    return behind_edge - 0.5 * width - np.clip(reach - legs - 0.5 * width, *PULLED_TO)


def stance_distance(
    behind_edge: float | np.ndarray, legs: float | np.ndarray, reach: float | np.ndarray
) -> float | np.ndarray:  # fmt: skip
    """Metres from the base to the middle of a tote that is handled on a station.

    For a tote far behind the edge it stands as near as its legs may, for a near one as the waist bears it best.

    Args:
        behind_edge: m from the station's front edge to the tote's middle.
        legs: m from the edge at which legs keep off the station.
        reach: m from the base up to which the tote is handled with ease.
    """
    near = np.minimum(behind_edge + EDGE_DISTANCE, reach)
    return np.maximum(np.maximum(STANCE_DISTANCE, near), behind_edge + legs)


def pullable_depth(station: Station, carrier: LoadCarrier, bottom: float, y: float) -> float:
    """Metres behind a station's front edge up to which a tote can be pulled to that edge; arguments as `reachable_depth`.

    0 where none can: from a belt that runs, a surface below or above `PULL_HEIGHTS`, or under a higher shelf, where the body
    has no room.
    """
    if isinstance(station, Conveyor) and station.speed > 0.0:
        return 0.0
    low, high = PULL_HEIGHTS[[0, -1]]
    if not low - TOLERANCE <= bottom <= high + TOLERANCE or bottom < station.surfaces[-1] - TOLERANCE:
        return 0.0
    return float(pull_reach(carrier.width, bottom)) - leg_distance(station, y, pelvis_height=working_height(bottom))


def free_height(station: Station, shelf: int) -> float:
    """Metres above a surface that are free, at least; 1 where nothing is above it."""
    if isinstance(station, Rack) and shelf + 1 < len(station.shelves):
        return station.shelves[shelf + 1] - station.shelves[shelf] - BOARD
    return 1.0


def working_height(bottom: float) -> float:
    """Height in m of the pelvis when a tote whose bottom is at a height in m is gripped: low ones are taken squatting."""
    return float(np.interp(bottom, [0.40, 0.65], [SQUAT_HEIGHT, UPRIGHT_HEIGHT]))


def bearable_reach(length: float | np.ndarray, mass: float | np.ndarray, bottom: float | np.ndarray) -> float | np.ndarray:
    """Metres from the base to a tote's middle at which the waist's pitch motor (35 N m) bears it with 10% to spare.

    A fit to gravity torques of stance plans (docs/control.md): the arms' own weight counts most, so a longer tote, for
    which the hands are wider apart and the body bends more, has to be nearer, and so has a low one.

    Args:
        length: m, of the tote.
        mass: kg, as carried.
        bottom: m above the floor, where it stands.
    """
    bending = np.interp(bottom, [0.40, 0.45, 0.55, 0.65], [0.07, 0.06, 0.04, 0.0])
    return 0.42 - 0.30 * (length - 0.297) - 0.024 * (np.clip(mass, 0.5, HEAVY) - 1.5) - bending


def comfortable_depth(station: Station, carrier: LoadCarrier, bottom: float, y: float) -> float:
    """Metres behind a station's front edge up to which even a heavy tote is handled with ease; arguments as `reachable_depth`."""
    stance = leg_distance(station, y, pelvis_height=working_height(bottom))
    return min(float(bearable_reach(carrier.length, HEAVY, bottom)) + PUSHED - stance, reachable_depth(station, carrier, bottom, y))


def is_comfortable(station: Station, carrier: LoadCarrier, bottom: float, at: tuple[float, float]) -> bool:
    """Whether even a heavy tote is handled with ease at a place; `reachable_depth` says where the hands get at all.

    Args:
        station: the station.
        carrier: the tote.
        bottom: m above the floor, the height of its bottom.
        at: (x, y) m of its middle in the station's frame.
    """
    x, y = at
    if isinstance(station, Rack) and abs(y) + 0.5 * carrier.length + WRIST_WIDTH > 0.5 * station.size[1]:
        return False  # a post is where a wrist would be
    return x - station.front_x <= comfortable_depth(station, carrier, bottom, y)
