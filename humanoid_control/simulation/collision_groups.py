"""Who can touch whom in the simulated scene: one table for the robot's model, the stations, the totes and the people.

MuJoCo lets two geoms touch when `contype` of one shares a bit with `conaffinity` of the other. Here every group owns
one bit, its `contype`, and its `conaffinity` is the union of the bits of the groups it may touch, so that a geom is
described completely by the name of its group. Pairs are few on purpose: most of the time of a physics step is contacts.
"""

from __future__ import annotations

from typing import Any

FLOOR = "floor"
STATION = "station"  # tables, racks, belts and their frames
BELT_END = "belt_end"  # the low stop at the end of a running belt: holds totes at their walls
TOTE_BOTTOM = "tote_bottom"  # the four feet a tote stands on
TOTE_UNDERSIDE = "tote_underside"  # its floor plate, just above the feet: carries it where a foot is over an edge
TOTE_SHELL = "tote_shell"  # its walls: never touch what it stands on
TOTE_LIP = "tote_lip"  # the rim: what fingers grip, what a stacked tote stands on, what neighbours bump into
ROBOT_FOOT = "robot_foot"
ROBOT_HAND = "robot_hand"  # fingers, palms, and what else shall touch a tote on purpose
ROBOT_BODY = "robot_body"  # the rest of the robot; also touches itself
PERSON = "person"
CLUTTER = "clutter"
VISUAL = "visual"  # touches nothing

GROUPS = (
    FLOOR, STATION, TOTE_BOTTOM, TOTE_UNDERSIDE, TOTE_SHELL, TOTE_LIP,
    ROBOT_FOOT, ROBOT_HAND, ROBOT_BODY, PERSON, CLUTTER, BELT_END,
)  # fmt: skip

TOUCHING = (
    (FLOOR, (TOTE_BOTTOM, TOTE_UNDERSIDE, TOTE_LIP, ROBOT_FOOT, ROBOT_HAND, ROBOT_BODY, CLUTTER)),
    (STATION, (TOTE_BOTTOM, TOTE_UNDERSIDE, TOTE_LIP, ROBOT_FOOT, ROBOT_HAND, ROBOT_BODY, CLUTTER)),
    (BELT_END, (TOTE_BOTTOM, TOTE_UNDERSIDE, TOTE_SHELL, TOTE_LIP, ROBOT_HAND, ROBOT_BODY, CLUTTER)),
    (TOTE_BOTTOM, (TOTE_LIP,)),
    (TOTE_UNDERSIDE, (ROBOT_HAND, ROBOT_BODY)),
    (TOTE_SHELL, (ROBOT_HAND, ROBOT_BODY)),
    (TOTE_LIP, (TOTE_LIP, ROBOT_HAND, ROBOT_BODY, CLUTTER)),
    (ROBOT_HAND, (ROBOT_HAND, ROBOT_BODY, PERSON, CLUTTER)),
    (ROBOT_BODY, (ROBOT_BODY, PERSON, CLUTTER)),
    (CLUTTER, (CLUTTER,)),
)

CONTYPE = {group: 1 << bit for bit, group in enumerate(GROUPS)} | {VISUAL: 0}
CONAFFINITY = dict.fromkeys(GROUPS, 0) | {VISUAL: 0}
for _group, _others in TOUCHING:
    for _other in _others:
        CONAFFINITY[_group] |= CONTYPE[_other]
        CONAFFINITY[_other] |= CONTYPE[_group]


def assign(geom: Any, group: str) -> Any:
    """Returns `geom` (of a `mujoco.MjSpec`) after giving it the collision bits of `group`."""
    geom.contype = CONTYPE[group]
    geom.conaffinity = CONAFFINITY[group]
    return geom


def can_touch(first: str, second: str) -> bool:
    """Returns whether geoms of the two groups may touch, if they are on different bodies."""
    return bool(CONTYPE[first] & CONAFFINITY[second])


def group_of(contype: int) -> str:
    """Returns the name of the group a compiled geom's `contype` belongs to.

    Raises:
        KeyError: the bits belong to no group.
    """
    for group, bits in CONTYPE.items():
        if bits == contype:
            return group
    raise KeyError(f"contype {contype} belongs to no collision group")
