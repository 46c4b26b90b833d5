"""What keeps walking legs off stations: a fence around each, as near as legs may come.

A walking velocity is changed as little as is needed for the robot not to come nearer to any part of a station than it can
brake for (a control barrier, Ames et al. 2019). It slides along what it would have walked into, and stops before it.
"""

from __future__ import annotations

import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.mission.reach import LEG_HALF_WIDTH, SQUAT_HEIGHT, UPRIGHT_HEIGHT, leg_reach
from humanoid_control.mission.station_shapes import solid_parts

BEHIND = 0.12  # m that a leg reaches behind the base
TRUNK = 0.12  # m that the body reaches ahead above the legs
HIGHEST = 1.4  # m, above which the robot is not
BRAKES_S = 0.5  # s in which a step comes to rest
TURNING_ARM = 0.3  # m: a rad/s is changed as readily as this many m/s
ROUNDS = 12  # over all parts, for one that pushes towards another
_CORNERS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, 1.0]])
WITHIN = 1.5  # m around the robot, where parts count


class WalkingFence:
    """The parts of a factory's stations, as rectangles on the floor.

    Args:
        factory: as in its file.
    """

    def __init__(self, factory: Factory) -> None:
        middles, halves, axes, reaches, self._stations = [], [], [], [], []
        for station in factory.stations:
            for part in solid_parts(station):
                low, high = np.array(part.low), np.array(part.high)
                if low[2] > HIGHEST:
                    continue
                place = station.map_from_station
                middles.append((place @ np.array([*(0.5 * (low + high))[:2], 0.0, 1.0]))[:2])
                halves.append(0.5 * (high - low)[:2])
                axes.append(place[:2, 0])
                reaches.append([max(leg_reach(low[2], high[2], height), TRUNK) for height in (UPRIGHT_HEIGHT, SQUAT_HEIGHT)])
                self._stations.append(station.name)
        self._middles, self._halves = np.array(middles).reshape(-1, 2), np.array(halves).reshape(-1, 2)
        self._axes, self._reaches = np.array(axes).reshape(-1, 2), np.array(reaches).reshape(-1, 2)

    def limited(self, velocity: np.ndarray, map_from_footprint: np.ndarray, pelvis_height: float) -> tuple[np.ndarray, str]:
        """The nearest velocity (3,) that walks into no station, and the station that had the most to say; empty for none.

        Args:
            velocity: (3,) m/s ahead, m/s to the left, rad/s, as wanted.
            map_from_footprint: (4, 4) where the robot is.
            pelvis_height: m: squatting, legs reach further ahead.
        """
        _, gaps, normals, levers, stations = self._gaps(map_from_footprint, pelvis_height)
        rows = np.column_stack([np.repeat(normals, 4, axis=0), levers.ravel() / TURNING_ARM])
        limits = np.maximum(gaps.ravel(), 0.0) / BRAKES_S
        scale = np.array([1.0, 1.0, TURNING_ARM])
        wanted = velocity * scale
        changed, said = wanted.copy(), np.zeros(len(rows))
        for _ in range(ROUNDS):
            over = rows @ changed - limits
            if not (over > 1e-6).any():
                break
            worst = int(over.argmax())
            changed = changed - rows[worst] * over[worst] / (rows[worst] @ rows[worst])
            said[worst] += over[worst]
        else:
            if (rows @ changed - limits > 1e-3).any():  # between parts with no way but back
                changed = np.zeros(3)
        return changed / scale, stations[int(said.argmax()) // 4] if said.any() else ""

    def gap(self, map_from_footprint: np.ndarray, pelvis_height: float) -> tuple[float, str]:
        """Metres that walking legs are off the nearest part of a station, below 0 where they overlap, and which station that is.

        Arguments as in `limited`; infinite where none is near.
        """
        gaps, *_, stations = self._gaps(map_from_footprint, pelvis_height)
        if not len(gaps):
            return np.inf, ""
        nearest = int(gaps.argmin())
        return float(gaps[nearest]), stations[nearest]

    def _gaps(self, map_from_footprint: np.ndarray, pelvis_height: float) -> tuple[np.ndarray, ...]:
        """Of each part that is near: how far off it is in m (N,), and its corners or the robot's before it (N, 4); where it is in
        `base_footprint` (N, 2), how much a turn to the left closes the gap of each corner, m (N, 4), and whose it is.

        Two rectangles are apart by what the best of their four axes tells: never more than they are.
        """
        ahead, here = map_from_footprint[:2, 0], map_from_footprint[:2, 3]
        near = np.flatnonzero(np.linalg.norm(self._middles - here, axis=1) - np.linalg.norm(self._halves, axis=1) < WITHIN)
        turn = np.array([ahead, [-ahead[1], ahead[0]]])  # (2, 2) base_footprint from map
        along = self._axes[near] @ turn.T  # (N, 2) a part's x in `base_footprint`
        across = np.column_stack([-along[:, 1], along[:, 0]])
        middles, halves = (self._middles[near] - here) @ turn.T, self._halves[near]
        squat = np.clip((UPRIGHT_HEIGHT - pelvis_height) / (UPRIGHT_HEIGHT - SQUAT_HEIGHT), 0.0, 1.0)
        reach = self._reaches[near] @ np.array([1.0 - squat, squat])
        body = np.column_stack([0.5 * (reach - BEHIND), np.zeros(len(near))])  # middles of the robot's rectangles
        body_halves = np.column_stack([0.5 * (reach + BEHIND), np.full(len(near), LEG_HALF_WIDTH)])
        away = middles - body
        own = np.broadcast_to(np.eye(2), (len(near), 2, 2))
        axes = np.concatenate([own, np.stack([along, across], 1)], 1)  # (N, 4, 2)
        towards = np.einsum("nai,ni->na", axes, away)
        axes = axes * np.where(towards < 0.0, -1.0, 1.0)[..., None]
        robots = np.einsum("nai,ni->na", np.abs(axes), body_halves)
        parts = (np.abs(np.einsum("nai,ni->na", axes, along)) * halves[:, :1]
                 + np.abs(np.einsum("nai,ni->na", axes, across)) * halves[:, 1:])  # fmt: skip
        apart = np.abs(towards) - robots - parts
        best = apart.argmax(axis=1)
        rows = np.arange(len(near))
        normals, gaps = axes[rows, best], apart[rows, best]
        # Where they would touch: corners of the robot at a part's side, or corners of a part at the robot's side; two at once,
        # where sides are parallel, and a turn that frees one does not free the other.
        own_corners = _CORNERS * body_halves[:, None]  # (N, 4, 2) from the rectangle's middle
        others = (_CORNERS[:, :1] * halves[:, None, :1]) * along[:, None] + (_CORNERS[:, 1:] * halves[:, None, 1:]) * across[:, None]
        of_robot = (best >= 2)[:, None, None]
        corners = np.where(of_robot, body[:, None] + own_corners, middles[:, None] + others)
        deep = np.where(of_robot[..., 0], (own_corners * normals[:, None]).sum(-1) - robots[rows, best, None],
                        -(others * normals[:, None]).sum(-1) - parts[rows, best, None])  # fmt: skip
        levers = corners[..., 0] * normals[:, None, 1] - corners[..., 1] * normals[:, None, 0]
        return gaps, gaps[:, None] - deep, normals, levers, [self._stations[index] for index in near]
