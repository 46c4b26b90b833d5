"""Whether an order is done or has failed, judged from the true state of the simulation.

The rules are the factory format's. Where it leaves room they are decided here:

- Fall: the pelvis is lower than `FALLEN_HEIGHT` or tilted by more than `FALLEN_TILT`, or a part of the robot other than
  its feet touches the floor.
- Dropped: any tote touches the floor or lies on its side, or the ordered tote touches nothing for `FREE_FALL_S`, in
  which it falls five centimetres.
- Hit: the sum of all forces of the robot on one tote or one station, as a vector, exceeds `HIT_FORCE` in a physics step.
  Fingers that close on a lip from both sides push against each other and cancel in that sum, as do two palms; a knock
  does not. Feet count: a kicked table leg is a hit. Totes pressed by a tote in the robot's hands do not.
- Keep-out zone entered: the middle of the pelvis or a point of a foot is above it.
- At rest: slower than `REST_SPEED` and `REST_TURNING`, on the mean of `REST_WINDOW_S`, against its station, or, on a
  running belt, against the belt (it rides) or against the floor (it leans on the end stop and trembles).
- `at` on a running belt is compared across the belt with where the tote is, and along the belt with where it touched
  down, since it rides on from there.
- Stands on: touched it within `REST_WINDOW_S`; one that trembles on a running belt leaves it for moments.
- On a tote: within the play of the stacking step, aligned with it, and the lower tote is on the ordered station.
- Done: all of this and the robot's stand hold without a break for `HOLD_S`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numba
import numpy as np

from humanoid_control.errors import SimulationError
from humanoid_control.kernels import JIT
from humanoid_control.mission.factory import Conveyor, Order, Station, Tote
from humanoid_control.mission.load_carriers import STACKING_PLAY, STACKING_STEP
from humanoid_control.simulation.collision_groups import (
    BELT_END,
    CONTYPE,
    FLOOR,
    ROBOT_BODY,
    ROBOT_FOOT,
    ROBOT_HAND,
    STATION,
)
from humanoid_control.simulation.scene import ROBOT_ROOT, FactoryWorld, force_sensor_name

HIT_FORCE = 150.0  # N
TIME_ALLOWED_S, TIME_PER_METRE_S = 60.0, 12.0
AT_TOLERANCE = 0.05  # m
FALLEN_HEIGHT = 0.35  # m of the pelvis
FALLEN_TILT = math.radians(75.0)
FREE_FALL_S = 0.1
LYING_TILT = math.radians(60.0)
UPRIGHT_TILT = math.radians(5.0)
REST_SPEED, REST_TURNING = 0.02, 0.1  # m/s, rad/s
REST_WINDOW_S = 0.1
SUPPORT_TOLERANCE = 0.012  # m between a tote's bottom and the surface it is said to stand on
EDGE_TOLERANCE = 0.002  # m over a station's edge that still counts as wholly on it
STACK_TURN = 0.12  # rad against the tote below
LEG_REACH = 1.0  # m from the pelvis within which the feet are
STANDING_SPEED = 0.5  # m/s of the pelvis
HOLD_S = 0.5
LOOK_PERIOD = 20  # physics steps between looks at what changes slowly

# What a pair of geoms means, as bits.
_FALLEN, _ON_FLOOR, _FOOT_DOWN = 1, 2, 4
_NONE = -1
_ROBOT, _FLOOR_OWNER = -2, -3
REASONS = ("fall", "dropped", "hit", "keep_out", "timeout")


@numba.njit(**JIT)
def _hardest(sensors, addresses):
    """Index of a target on which the robot's force, three of the sensors' values from its address, is a hit; -1 for none."""
    for index in range(addresses.shape[0]):
        x, y, z = sensors[addresses[index]], sensors[addresses[index] + 1], sensors[addresses[index] + 2]
        if x * x + y * y + z * z > HIT_FORCE * HIT_FORCE:
            return index
    return -1


@numba.njit(**JIT)
def _seen(pairs, meaning):
    """What all pairs of geoms (N, 2) mean together."""
    seen = 0
    for k in range(pairs.shape[0]):
        seen |= meaning[pairs[k, 0], pairs[k, 1]]
    return seen


@dataclass(frozen=True)
class Verdict:
    """How an order ended.

    Attributes:
        done: the order is done.
        reason: why it failed: `fall`, `dropped`, `hit`, `keep_out` or `timeout`; empty if it is done.
        detail: what happened, for people.
        time_s: since the order began.
    """

    done: bool
    reason: str
    detail: str
    time_s: float


class Judge:
    """Follows orders in a running simulation, one at a time.

    Args:
        world: the scene, with the robot in it.

    Raises:
        SimulationError: the scene has no robot.
    """

    def __init__(self, world: FactoryWorld) -> None:
        model = world.model
        self._world = world
        self._factory = world.factory
        self._totes = [tote.name for tote in self._factory.totes]
        self._tote_bodies = np.array([world.tote_bodies[name] for name in self._totes], int)
        self._pelvis = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, ROBOT_ROOT)
        if self._pelvis < 0:
            raise SimulationError(f"the scene has no robot to judge: no body '{ROBOT_ROOT}'")
        self._pelvis_velocity = _free_joint_velocity(model, self._pelvis)
        self._find_geoms(model)
        self._zones = [
            (zone.name, np.array(zone.polygon, float), zone.area.buffer(LEG_REACH).bounds)
            for zone in self._factory.zones
            if zone.kind == "keep_out"
        ]
        self._order: Order | None = None
        # False while whoever carries the order out is not finished: what it still breaks then counts.
        self.accepts_done = True

    # --- the order ------------------------------------------------------------------------------------------------

    def begin(self, order: Order, data: mujoco.MjData) -> None:
        """Starts to judge `order`; its time runs from now."""
        self._order = order
        self._tote: Tote = self._factory.tote(order.tote)
        self._index = self._totes.index(order.tote)
        self._body = int(self._tote_bodies[self._index])
        self._station: Station = self._factory.station(order.to)
        self._target = len(self._totes) + [s.name for s in self._factory.stations].index(order.to)
        self._belt_speed = self._station.speed if isinstance(self._station, Conveyor) else 0.0
        self._began_s = data.time
        start = self._station_under(data) or self._factory.tote_station(order.tote)
        self._time_allowed_s = time_allowed(start, self._station)
        self._steps = 0
        self._untouched_since_s = data.time
        self._good_since_s = math.inf
        self._seen_at: tuple[float, np.ndarray, np.ndarray] | None = None
        self._velocity, self._turning = np.full(3, math.inf), math.inf
        self._touched_down: np.ndarray | None = None
        self._supported_s = -math.inf
        self._lacking = "not begun"
        self._verdict: Verdict | None = None

    def allow_longer(self, seconds: float) -> None:
        """The order may take so much more time."""
        self._time_allowed_s += seconds

    @property
    def lacking(self) -> str:
        """What the order still lacks, as of the last look; empty if nothing."""
        return self._lacking

    def update(self, data: mujoco.MjData) -> Verdict | None:
        """Looks at the simulation; call at every physics step, before or after it.

        Returns:
            the verdict as soon as there is one, and from then on; None before.

        Raises:
            SimulationError: no order was begun.
        """
        if self._order is None:
            raise SimulationError("no order was begun")
        if self._verdict is not None:
            return self._verdict
        hit = _hardest(data.sensordata, self._force_addresses)
        if hit >= 0:
            force = float(np.linalg.norm(data.sensordata[self._force_addresses[hit] :][:3]))
            self._end(data, "hit", f"{self._target_name(hit)} was hit with {force:.0f} N")
            return self._verdict
        pairs = data.contact.geom
        seen = _seen(pairs, self._meaning)
        if seen & (_FALLEN | _ON_FLOOR) or self._steps % LOOK_PERIOD == 0:
            self._look(data, pairs, seen)
        self._steps += 1
        return self._verdict

    def _end(self, data: mujoco.MjData, reason: str, detail: str) -> None:
        self._verdict = Verdict(not reason, reason, detail, float(data.time - self._began_s))

    def _look(self, data: mujoco.MjData, pairs: np.ndarray, seen: int) -> None:
        meanings = self._meaning[pairs[:, 0], pairs[:, 1]]
        partners = self._partners(pairs)
        problem = (
            self._fall(data, pairs, meanings, seen)
            or self._drop(data, pairs, meanings, seen, partners)
            or self._zone_entered(data)
        )
        if problem:
            self._end(data, *problem)
            return
        self._watch_motion(data)
        self._lacking = self._what_lacks(data, partners, seen)
        if self._lacking:
            self._good_since_s = math.inf
        else:
            self._good_since_s = min(self._good_since_s, data.time)
            if data.time - self._good_since_s >= HOLD_S - 1e-9 and self.accepts_done:
                self._end(data, "", f"{self._tote.name} stands on {self._order.on or self._station.name}")
                return
        if data.time - self._began_s > self._time_allowed_s:
            self._end(data, "timeout", f"after {self._time_allowed_s:.0f} s: {self._lacking or 'not held long enough'}")

    # --- failures -------------------------------------------------------------------------------------------------

    def _fall(self, data, pairs, meanings, seen) -> tuple[str, str] | None:
        if seen & _FALLEN:
            pair = pairs[np.flatnonzero(meanings & _FALLEN)[0]]
            geom = int(pair[0] if self._owner[pair[0]] == _ROBOT else pair[1])
            model = self._world.model
            return "fall", f"{model.body(model.geom_bodyid[geom]).name} touches the floor"
        height, up = float(data.xpos[self._pelvis, 2]), float(data.xmat[self._pelvis, 8])
        if height < FALLEN_HEIGHT:
            return "fall", f"the pelvis is {height:.2f} m above the floor"
        if up < math.cos(FALLEN_TILT):
            return "fall", f"the pelvis is tilted by {math.degrees(math.acos(max(up, -1.0))):.0f} degrees"
        return None

    def _drop(self, data, pairs, meanings, seen, partners) -> tuple[str, str] | None:
        if seen & _ON_FLOOR:
            pair = pairs[np.flatnonzero(meanings & _ON_FLOOR)[0]]
            return "dropped", f"{self._target_name(self._owner[pair].max())} is on the floor"
        ups = data.xmat[self._tote_bodies, 8]
        lying = np.flatnonzero(ups < math.cos(LYING_TILT))
        if lying.size:
            return "dropped", f"{self._totes[lying[0]]} lies on its side"
        if partners.size:
            self._untouched_since_s = data.time
        elif data.time - self._untouched_since_s > FREE_FALL_S:
            return "dropped", f"{self._tote.name} falls"
        return None

    def _zone_entered(self, data: mujoco.MjData) -> tuple[str, str] | None:
        pelvis_x, pelvis_y = data.xpos[self._pelvis, :2].tolist()
        for name, polygon, (low_x, low_y, high_x, high_y) in self._zones:
            if not (low_x < pelvis_x < high_x and low_y < pelvis_y < high_y):
                continue
            points = np.vstack((data.geom_xpos[self._feet, :2], data.xpos[self._pelvis, :2]))
            inside = _inside(points, polygon)
            if inside.any():
                x, y = points[np.flatnonzero(inside)[0]]
                return "keep_out", f"zone {name} was entered at [{x:.2f}, {y:.2f}]"
        return None

    # --- success --------------------------------------------------------------------------------------------------

    def _what_lacks(self, data: mujoco.MjData, partners: np.ndarray, seen: int) -> str:
        support = self._target if self._order.on is None else self._totes.index(self._order.on)
        if (partners == support).any():
            self._supported_s = data.time
        supported = data.time - self._supported_s <= REST_WINDOW_S
        position = self._position_in_station(data, self._body)
        if not (partners >= 0).any():
            self._touched_down = None
        elif supported and self._touched_down is None:
            self._touched_down = position
        if not supported:
            return f"{self._tote.name} does not stand on {self._order.on or self._station.name}"
        if (partners == _ROBOT).any():
            return f"{self._tote.name} is not released"
        if data.xmat[self._body, 8] < math.cos(UPRIGHT_TILT):
            return f"{self._tote.name} is not upright"
        place = self._place_lacks(data, position) if self._order.on is None else self._stack_lacks(data)
        return place or self._rest_lacks() or self._stand_lacks(data, seen)

    def _place_lacks(self, data: mujoco.MjData, position: np.ndarray) -> str:
        name, station = self._tote.name, self._station
        shelf = self._order.shelf or 0
        if abs(data.xpos[self._body, 2] - station.surface_height(shelf)) > SUPPORT_TOLERANCE:
            return (
                f"{name} is not on shelf {shelf} of {station.name}"
                if self._order.shelf is not None
                else (f"{name} does not stand flat on {station.name}")
            )
        if not self._wholly_on_station(data, self._body, self._tote):
            return f"{name} is not wholly on {station.name}"
        if self._order.at is not None:
            where = position.copy()
            if self._belt_speed > 0 and self._touched_down is not None:
                where[1] = self._touched_down[1]
            distance = float(np.linalg.norm(where - self._order.at))
            if distance > AT_TOLERANCE:
                return f"{name} is {100 * distance:.0f} cm from where it was ordered"
        return ""

    def _stack_lacks(self, data: mujoco.MjData) -> str:
        below = self._order.on
        lower = int(self._tote_bodies[self._totes.index(below)])
        turn = data.xmat[lower].reshape(3, 3)
        offset = turn.T @ (data.xpos[self._body] - data.xpos[lower])
        relative = turn.T @ data.xmat[self._body].reshape(3, 3)
        carrier = self._factory.tote(below).carrier
        if abs(offset[2] - carrier.stacking_height) > STACKING_STEP + 0.002:
            return f"{self._tote.name} does not stand flat on {below}"
        if np.abs(offset[:2]).max() > STACKING_PLAY + 0.004 or abs(relative[1, 0]) > math.sin(STACK_TURN):
            return f"{self._tote.name} is not in the rim of {below}"
        if not self._wholly_on_station(data, lower, self._factory.tote(below)):
            return f"{below} is not on {self._station.name}"
        return ""

    def _watch_motion(self, data: mujoco.MjData) -> None:
        """Renews the tote's mean velocity at the end of each window."""
        position, rotation = data.xpos[self._body].copy(), data.xmat[self._body].reshape(3, 3).copy()
        if self._seen_at is not None:
            since, before, turned = self._seen_at
            window = data.time - since
            if window < REST_WINDOW_S - 1e-9:
                return
            self._velocity = (position - before) / window
            cosine = (np.sum(turned * rotation) - 1) / 2
            self._turning = math.acos(min(1.0, max(-1.0, cosine))) / window
        self._seen_at = data.time, position, rotation

    def _rest_lacks(self) -> str:
        if self._turning > REST_TURNING:
            return f"{self._tote.name} still turns"
        speed = np.linalg.norm(self._velocity)
        if self._belt_speed > 0:
            along = np.array([-math.sin(self._station.yaw), math.cos(self._station.yaw), 0.0])
            speed = min(speed, np.linalg.norm(self._velocity - self._belt_speed * along))
        return f"{self._tote.name} still moves" if speed > REST_SPEED else ""

    def _stand_lacks(self, data: mujoco.MjData, seen: int) -> str:
        speed = np.linalg.norm(data.qvel[self._pelvis_velocity : self._pelvis_velocity + 3])
        if not seen & _FOOT_DOWN or speed > STANDING_SPEED:
            return "the robot does not stand"
        return ""

    # --- geometry and contacts ------------------------------------------------------------------------------------

    def _partners(self, pairs: np.ndarray) -> np.ndarray:
        """Returns the owners of what touches the ordered tote."""
        first, second = self._owner[pairs[:, 0]], self._owner[pairs[:, 1]]
        return np.concatenate((second[first == self._index], first[second == self._index]))

    def _position_in_station(self, data: mujoco.MjData, body: int) -> np.ndarray:
        x, y = data.xpos[body, :2]
        return np.array(self._station.in_station((x, y, 0.0))[:2])

    def _wholly_on_station(self, data: mujoco.MjData, body: int, tote: Tote) -> bool:
        rotation = data.xmat[body].reshape(3, 3)
        yaw = math.atan2(rotation[1, 0], rotation[0, 0]) - self._station.yaw
        half_x, half_y = tote.carrier.width / 2, tote.carrier.length / 2
        cos, sin = abs(math.cos(yaw)), abs(math.sin(yaw))
        extent = np.array([cos * half_x + sin * half_y, sin * half_x + cos * half_y])
        limit = np.array(self._station.size) / 2 + EDGE_TOLERANCE
        return bool((np.abs(self._position_in_station(data, body)) + extent <= limit).all())

    def _station_under(self, data: mujoco.MjData) -> Station | None:
        for station in self._factory.stations:
            x, y, _ = station.in_station((*data.xpos[self._body, :2], 0.0))
            if abs(x) <= station.size[0] / 2 and abs(y) <= station.size[1] / 2:
                return station
        return None

    def _target_name(self, target: int) -> str:
        if target < len(self._totes):
            return self._totes[target]
        return self._factory.stations[target - len(self._totes)].name

    def _find_geoms(self, model: mujoco.MjModel) -> None:
        """Fills `_owner` (tote, then station, by index; or robot, floor, none) and `_meaning` of pairs of geoms."""
        owner = np.full(model.ngeom, _NONE, np.int32)
        foot = model.geom_contype == CONTYPE[ROBOT_FOOT]
        robot = foot | np.isin(model.geom_contype, (CONTYPE[ROBOT_HAND], CONTYPE[ROBOT_BODY]))
        floor = model.geom_contype == CONTYPE[FLOOR]
        owner[robot], owner[floor] = _ROBOT, _FLOOR_OWNER
        for index, body in enumerate(self._tote_bodies):
            owner[model.geom_bodyid == body] = index
        stations = {station.name: index for index, station in enumerate(self._factory.stations)}
        for geom in np.flatnonzero(np.isin(model.geom_contype, (CONTYPE[STATION], CONTYPE[BELT_END]))):
            name = model.geom(int(geom)).name.split("/")[0]
            if name in stations:
                owner[geom] = len(self._totes) + stations[name]
        # A link with a sole may touch the floor with its other geoms too without having fallen.
        on_foot = np.isin(model.geom_bodyid, model.geom_bodyid[foot])
        tote = (owner >= 0) & (owner < len(self._totes))
        meaning = (
            _FALLEN * _pairs(robot & ~on_foot, floor)
            + _ON_FLOOR * _pairs(tote, floor)
            + _FOOT_DOWN * _pairs(robot & on_foot, floor)
        )
        self._owner, self._meaning = owner, meaning.astype(np.uint8)
        names = self._totes + list(stations)
        self._force_addresses = np.array([model.sensor(force_sensor_name(name)).adr[0] for name in names], np.int64)
        self._feet = np.flatnonzero(foot)


def time_allowed(start: Station, end: Station) -> float:
    """Returns the seconds an order between two stations may take."""
    return TIME_ALLOWED_S + TIME_PER_METRE_S * float(np.linalg.norm(end.position - start.position))


def _pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.outer(first, second) | np.outer(second, first)


def _free_joint_velocity(model: mujoco.MjModel, body: int) -> int:
    """Returns the address of the velocity of the free joint that moves `body`."""
    while body > 0:
        joint = model.body_jntadr[body]
        if joint >= 0 and model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            return int(model.jnt_dofadr[joint])
        body = model.body_parentid[body]
    raise SimulationError(f"the robot's body '{ROBOT_ROOT}' does not float: no free joint above it")


def _inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Returns for each of (N, 2) points whether it is inside a (M, 2) polygon: an odd number of edges to its right."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    y = points[:, 1, None]
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    rise = np.where(end[:, 1] == start[:, 1], 1.0, end[:, 1] - start[:, 1])
    x = start[:, 0] + (y - start[:, 1]) / rise * (end[:, 0] - start[:, 0])
    return (crosses & (points[:, 0, None] < x)).sum(axis=1) % 2 == 1


def warm_up() -> None:
    """Calls every kernel of this module once, so that it is compiled and cached."""
    _hardest(np.zeros(3), np.zeros(1, np.int64))
    for contacts in (np.zeros((0, 2), np.int32), np.zeros((1, 4), np.int32)[:, :2]):  # MuJoCo's are a part of more
        _seen(contacts, np.zeros((1, 1), np.uint8))
