"""How a learned policy gets hold of a near lip: the last centimetres are worked out, not learnt.

The network brings the hands before the lip. From there both go straight to where the lip is between their pads, as the scripted
policy's do, and close once they are there: learnt, one tote in five was missed by a few cm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from humanoid_control.mission.load_carriers import LoadCarrier
from humanoid_control.transforms import interpolated
from policies.scripted.grips import hand_at_near_lip

SPEED = 0.12  # m/s
SETTLE_S = 0.25  # s that hands take to be where they are wanted
NEAR = 0.07  # m from the lip, from which they do so
FARTHEST = 0.12  # m the same, if the network says that they are to close; hands that are farther are on their way, and may have to go around something


class Nearing:
    """Moves both hands straight onto the near lip of a tote.

    Args:
        hands: (4, 4) each, where they are wanted, in `odom`.
        odom_from_tote: (4, 4), facing as the robot does.
        carrier: the tote.
    """

    def __init__(self, hands: Sequence[np.ndarray], odom_from_tote: np.ndarray, carrier: LoadCarrier) -> None:
        self._hands, self._goals = list(hands), lip_grips(odom_from_tote, carrier)
        self._length = lip_distance(hands, odom_from_tote, carrier)
        self._since_s = 0.0

    @property
    def is_over(self) -> bool:
        """Whether hands have had the time to get there."""
        return self._since_s >= self._length / SPEED + SETTLE_S

    def step(self, dt: float) -> list[np.ndarray]:
        """(4, 4) each, where hands are wanted a moment of `dt` s later."""
        self._since_s += dt
        share = min(self._since_s * SPEED / max(self._length, 1e-6), 1.0)
        return [interpolated(hand, goal, share) for hand, goal in zip(self._hands, self._goals)]


def lip_grips(odom_from_tote: np.ndarray, carrier: LoadCarrier) -> list[np.ndarray]:
    """(4, 4) each, left and right in `odom`: hands with the near lip between their pads."""
    return [odom_from_tote @ hand_at_near_lip(carrier, side) for side in (0, 1)]


def lip_distance(hands: Sequence[np.ndarray], odom_from_tote: np.ndarray, carrier: LoadCarrier) -> float:
    """Metres to the near lip for that of both hands (4, 4) in `odom` which is farther from it."""
    return max(float(np.linalg.norm(hand[:3, 3] - grip[:3, 3])) for hand, grip in zip(hands, lip_grips(odom_from_tote, carrier)))
