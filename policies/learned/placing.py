"""How a learned policy sets a tote down: the last centimetres are measured, not learnt.

What the network wants brings the tote near its place. From there both hands go on by as much as the tote is seen to be off,
and it does not go down, nor is it let go, beside its place: it would fall off the rim of another, or lie in the way.
"""

from __future__ import annotations

import numpy as np

SHARE = 3.0  # 1/s of what the tote is off, that hands go
FASTEST = 0.05  # m/s
WITHIN = 0.04  # m off its place, from where on they do: before, the network is on its way
WITHIN_HELD = 0.12  # m the same while it is held up over a surface: who lowers it has nothing better in mind
BELOW, TOUCHES = 0.03, 0.003  # m above its place, between which they do
RISE = 0.06  # m/s that hands are held up with, faster than a network lowers a tote
PLACED_WITHIN, LOW = 0.05, 0.008  # m that a tote may be off on a surface; m above it, below which it must be over its place
STACKED_WITHIN, RIM = 0.012, 0.02  # the same on another tote, whose rim takes it
PATIENCE_S = 3.0  # s of being held up, after which it is given up


class Placing:
    """What is added to where hands are wanted while a tote is set down.

    Attributes:
        shift: (3,) m in `odom`, since the order began.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """An order begins."""
        self.shift = np.zeros(3)
        self._held_s = 0.0

    def step(self, off: np.ndarray, *, is_stacked: bool, dt: float) -> bool:
        """Goes on for a moment of setting down.

        Args:
            off: (3,) m that the tote is seen to be from its place, along the axes of `odom`.
            is_stacked: its place is on another tote.
            dt: s since the last one.

        Returns:
            Whether it has been held up for too long.
        """
        away, held = float(np.hypot(off[0], off[1])), is_misplaced(off, is_stacked=is_stacked)
        if away < (WITHIN_HELD if held and not is_stacked else WITHIN) and TOUCHES < off[2] < BELOW:
            self.shift[:2] -= off[:2] * dt * min(SHARE, FASTEST / max(away, 1e-6))
        if held:
            self.shift[2] += RISE * dt
            self._held_s += dt
        elif away < (STACKED_WITHIN if is_stacked else PLACED_WITHIN):  # up and down again beside it is no end of being held up
            self._held_s = 0.0
        return self._held_s > PATIENCE_S


def is_misplaced(off: np.ndarray, *, is_stacked: bool) -> bool:
    """Whether a tote is about to come down beside its place.

    Args:
        off: (3,) m that it is from its place, the last of them upwards.
        is_stacked: its place is on another tote.
    """
    within, low = (STACKED_WITHIN, RIM) if is_stacked else (PLACED_WITHIN, LOW)
    return bool(off[2] < low and np.hypot(off[0], off[1]) > within)


def is_placed(off: np.ndarray) -> bool:
    """Whether a tote (3,) m from its place stands on it."""
    return bool(np.hypot(off[0], off[1]) < PLACED_WITHIN and abs(off[2]) < RIM)
