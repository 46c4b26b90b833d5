"""The small load carriers (VDA 4500) the robot handles: their sizes, and where hands may grip them.

A tote's frame has its origin in the middle of its bottom, x along its short side, y along its long side, z up. Its
hand grips are the lips of the short sides, at y = +-length / 2, so that a robot which looks along x has one grip at its
left and one at its right. Turned by half a turn it is the same tote.

Outside sizes and empty masses are the factory format's; lip, walls and stacking step are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

GRIP_LIP_DEPTH = 0.024  # how far the lip of a short side sticks out beyond the wall, for fingers to close on
LONG_LIP_DEPTH = 0.012  # the same on the long sides
LIP_THICKNESS = 0.018  # flat on top and underneath
WALL_THICKNESS = 0.003
STACKING_STEP = 0.004  # how deep a tote sinks into the rim of the one it stands on
STACKING_PLAY = 0.012  # how far off it may be set down there and still find its place


@dataclass(frozen=True)
class LoadCarrier:
    """One kind of tote.

    Attributes:
        kind: its name in factory files.
        length: m, outside, along y (over the grip lips).
        width: m, outside, along x.
        height: m, from the bottom to the top of the lip.
        empty_mass: kg.
    """

    kind: str
    length: float
    width: float
    height: float
    empty_mass: float

    @property
    def stacking_height(self) -> float:
        """Metres from this tote's bottom to the bottom of a tote that stands on it."""
        return self.height - STACKING_STEP

    @property
    def grip_height(self) -> float:
        """Metres from the bottom to the middle of the lip."""
        return self.height - LIP_THICKNESS / 2

    @property
    def wall_half_extents(self) -> tuple[float, float]:
        """Half the size over the walls' outer faces, along x and y."""
        return self.width / 2 - LONG_LIP_DEPTH, self.length / 2 - GRIP_LIP_DEPTH

    @property
    def bottom_half_extents(self) -> tuple[float, float]:
        """Half the size of the foot that finds its place in the rim of a tote below, along x and y."""
        wall_x, wall_y = self.wall_half_extents
        return wall_x - WALL_THICKNESS - STACKING_PLAY, wall_y - WALL_THICKNESS - STACKING_PLAY


LOAD_CARRIERS = {
    carrier.kind: carrier
    for carrier in (
        LoadCarrier("klt_3147", length=0.297, width=0.198, height=0.147, empty_mass=0.6),
        LoadCarrier("klt_4147", length=0.396, width=0.297, height=0.147, empty_mass=1.3),
    )
}
