"""How high hands may go under shelves: boards above them are known from the factory's file."""

from __future__ import annotations

import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.mission.station_shapes import solid_parts

HAND_AROUND, HAND_ABOVE = 0.06, 0.07  # m from the middle between a hand's pads to its outside, to the sides and upwards


class Headroom:
    """The undersides of a factory's stations.

    Args:
        factory: as in its file.
    """

    def __init__(self, factory: Factory) -> None:
        parts = [(station, part) for station in factory.stations for part in solid_parts(station) if part.low[2] > 0.0]
        self._part_from_map = np.array([np.linalg.inv(station.map_from_station)[:2] for station, _ in parts]).reshape(-1, 2, 4)
        self._low = np.array([part.low for _, part in parts]).reshape(-1, 3)
        self._high = np.array([part.high for _, part in parts]).reshape(-1, 3)

    def excess(self, wanted: np.ndarray, here: np.ndarray) -> float:
        """Metres by which hands would be too high where they are wanted; 0 if they would not.

        Args:
            wanted: (N, 3) m in `map`, where hands shall be.
            here: (N, 3) m, where they are: what is below a hand is no roof for it.
        """
        most = 0.0
        for point, at in zip(wanted, here):
            inside = (self._part_from_map @ np.array([*point, 1.0]))  # (P, 2)
            over = ((inside > self._low[:, :2] - HAND_AROUND) & (inside < self._high[:, :2] + HAND_AROUND)).all(axis=1)
            roofs = self._low[over & (self._low[:, 2] > at[2]), 2]
            if len(roofs):
                most = max(most, float(point[2] - (roofs.min() - HAND_ABOVE)))
        return most
