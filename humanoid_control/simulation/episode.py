"""One episode: a factory with everything that varies drawn from a seed.

Each thing is drawn from a stream of its own, named after it, so that adding a tote or another entry of `randomise`
changes nothing else, and the same seed gives the same episode everywhere.
"""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from shapely.geometry import MultiPoint, Point, Polygon, box

from humanoid_control.mission.factory import (
    MAX_REACH_DEPTH,
    MAX_SURFACE_HEIGHT,
    MIN_SURFACE_HEIGHT,
    TOLERANCE,
    Conveyor,
    Factory,
    Rack,
    RobotPlace,
    Station,
    Tote,
    tote_footprint,
)
from humanoid_control.mission.factory_checks import robot_start_problem
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.mission.placement import fits_on, handled_heights
from humanoid_control.mission.reach import pullable_depth, reachable_depth

JOINT_COUNT = 29
NOMINAL_FRICTION = 0.8  # of totes and hands, where `randomise` says nothing
NOMINAL_JOINT_FRICTION = 0.1  # N m, around which a half-width in `randomise` spreads
DRAWS = 25  # of one thing, before its interval is narrowed
GROUP_DRAWS = 4  # of all totes on a surface together, of which each is drawn until it has room
SCALES = (1.0, 0.75, 0.5, 0.25, 0.12, 0.06)  # of the intervals; after them the file's own values

STATION_COLOURS = {"table": (0.72, 0.60, 0.44), "rack": (0.28, 0.42, 0.62), "conveyor": (0.30, 0.32, 0.35)}
FLOOR_COLOUR = (0.62, 0.63, 0.64)


@dataclass(frozen=True)
class ClutterItem:
    """An object that is no tote, fixed where it lies.

    Attributes:
        shape: `box` or `cylinder`.
        position: (3,) m, the middle of its bottom in `map`.
        yaw: rad.
        size: (3,) m, full extents; a cylinder's first two are its diameter.
        colour: (3,) red, green, blue.
    """

    shape: str
    position: tuple[float, float, float]
    yaw: float
    size: tuple[float, float, float]
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Episode:
    """What one episode is made of.

    Attributes:
        seed: what everything was drawn from; sensor noise draws from it too.
        factory: the factory with poses, heights, masses and colours as drawn.
        friction: of totes and hands.
        joint_friction: (29,) N m, or None to keep the robot model's own.
        delay_ms: from sensing to torque.
        sensor_noise: times the data sheet's; 0 for perfect sensors.
        light: times the factory's.
        camera_position_error, camera_angle_error: half-widths of the mounting errors, in m and rad.
        station_colours: red, green, blue by station name.
        floor_colour: red, green, blue.
        clutter: objects that are no totes.
    """

    seed: int
    factory: Factory
    friction: float
    joint_friction: tuple[float, ...] | None
    delay_ms: float
    sensor_noise: float
    light: float
    camera_position_error: float
    camera_angle_error: float
    station_colours: dict[str, tuple[float, float, float]]
    floor_colour: tuple[float, float, float]
    clutter: tuple[ClutterItem, ...]

    def camera_error(self, camera: str) -> np.ndarray:
        """Returns (6,) how far a camera sits off: translation in m and rotation vector in rad, in its own frame."""
        unit = stream(self.seed, f"camera_pose/{camera}").uniform(-1.0, 1.0, 6)
        return unit * np.repeat([self.camera_position_error, self.camera_angle_error], 3)

    def stream(self, name: str) -> np.random.Generator:
        """Returns a random stream of this episode for the thing called `name`, such as a sensor."""
        return stream(self.seed, name)


def stream(seed: int, name: str) -> np.random.Generator:
    """Returns the random stream of the thing called `name` in the episode with this `seed`."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def draw_episode(factory: Factory, seed: int) -> Episode:
    """Returns the episode that `seed` makes of `factory`.

    Totes stay wholly on their stations, apart from each other and, where orders move them, within reach; stations keep
    heights the hands reach; the robot starts where it can stand. A draw that breaks one of these is drawn again, and
    after many failures from narrower and narrower intervals around the file's own values, which keep all of them.

    Args:
        factory: as loaded, with its `randomise`.
        seed: 0 or more.

    Raises:
        ValueError: `seed` is negative.
    """
    if seed < 0:
        raise ValueError(f"seed must be 0 or more; got {seed}")
    vary = factory.randomise
    stations = tuple(_drawn_station(factory, station, seed) for station in factory.stations)
    places = _drawn_tote_places(factory, seed)
    totes = tuple(_drawn_tote(factory, tote, places, seed) for tote in factory.totes)
    drawn = factory.model_copy(update={"stations": stations, "totes": totes})
    drawn = drawn.model_copy(update={"robot": RobotPlace(start=_drawn_start(drawn, seed))})
    position_error, angle_error = vary.camera_pose or (0.0, 0.0)
    return Episode(
        seed=seed,
        factory=drawn,
        friction=_drawn(vary.friction, NOMINAL_FRICTION, seed, "friction", low=0.05),
        joint_friction=_drawn_joint_friction(factory, seed),
        delay_ms=_drawn(vary.delay_ms, 0.0, seed, "delay_ms", low=0.0),
        sensor_noise=vary.sensor_noise or 0.0,
        light=_drawn(vary.light, 1.0, seed, "light", low=0.05),
        camera_position_error=position_error,
        camera_angle_error=angle_error,
        station_colours={station.name: _station_colour(factory, station, seed) for station in factory.stations},
        floor_colour=_floor_colour(factory, seed),
        clutter=_drawn_clutter(drawn, seed),
    )


# --- single values ------------------------------------------------------------------------------------------------


def _drawn(spread, nominal: float, seed: int, name: str, *, low: float = -np.inf, high: float = np.inf) -> float:
    if spread is None:
        return nominal
    return float(np.clip(stream(seed, name).uniform(*spread.interval(nominal)), low, high))


def _drawn_joint_friction(factory: Factory, seed: int) -> tuple[float, ...] | None:
    spread = factory.randomise.joint_friction
    if spread is None:
        return None
    lowest, highest = spread.interval(NOMINAL_JOINT_FRICTION)
    values = stream(seed, "joint_friction").uniform(max(lowest, 0.0), highest, JOINT_COUNT)
    return tuple(float(value) for value in values)


def _drawn_station(factory: Factory, station: Station, seed: int) -> Station:
    """A rack keeps the distances of its shelves; a range of heights is meant for its lowest one."""
    spread = factory.randomise.station_height
    if spread is None:
        return station
    lowest = station.surfaces[0]
    shift = _drawn(spread, lowest, seed, f"station_height/{station.name}") - lowest
    highest = station.surfaces[-1] + handled_heights(factory)[station.name]
    shift = float(np.clip(shift, min(0.0, MIN_SURFACE_HEIGHT - lowest), max(0.0, MAX_SURFACE_HEIGHT - highest)))
    if isinstance(station, Rack):
        return station.model_copy(update={"shelves": tuple(height + shift for height in station.shelves)})
    return station.model_copy(update={"height": station.height + shift})


def _drawn_tote(factory: Factory, tote: Tote, places: dict[str, tuple[float, float, float]], seed: int) -> Tote:
    vary = factory.randomise
    mass = _drawn(vary.tote_mass, tote.mass, seed, f"tote_mass/{tote.name}", low=tote.carrier.empty_mass)
    update = {"mass": mass, "at": places.get(tote.name)}
    if vary.colours:
        update["colour"] = _vivid(stream(seed, f"colours/tote/{tote.name}"))
    return tote.model_copy(update=update)


# --- places -------------------------------------------------------------------------------------------------------


def _until_possible(draw: Callable[[float], object], *, tries: int = DRAWS) -> object:
    """Returns the first result of `draw(scale)` that is not None, with a scale that shrinks from 1 to 0.

    At 0 it draws the file's own values, which are possible: they were checked when it was read.
    """
    for scale in SCALES:
        for _ in range(tries):
            result = draw(scale)
            if result is not None:
                return result
    return draw(0.0)


def _drawn_start(factory: Factory, seed: int) -> tuple[float, float, float]:
    widths = factory.randomise.robot_start
    start = factory.robot.start
    if widths is None:
        return start
    random = stream(seed, "robot_start")

    def draw(scale: float) -> tuple[float, float, float] | None:
        offset = scale * random.uniform(-1.0, 1.0, 3) * widths
        candidate = tuple(float(value) for value in np.add(start, offset))
        return candidate if robot_start_problem(factory, candidate) is None else None

    return _until_possible(draw)


def _drawn_tote_places(factory: Factory, seed: int) -> dict[str, tuple[float, float, float]]:
    """Returns `at` of every tote that stands on no other, by name."""
    standing = [tote for tote in factory.totes if tote.on is None]
    widths = factory.randomise.tote_pose
    if widths is None:
        return {tote.name: tote.at for tote in standing}
    ordered = {factory.base_of(order.tote).name for order in factory.orders}
    streams = {tote.name: stream(seed, f"tote_pose/{tote.name}") for tote in standing}

    def draw_one(tote: Tote, scale: float, taken: list[Polygon]) -> tuple[float, float, float] | None:
        station = factory.station(tote.station)
        at = np.add(tote.at, scale * streams[tote.name].uniform(-1.0, 1.0, 3) * widths)
        if not fits_on(station, tote.carrier, at):
            return None
        if tote.name in ordered and not _is_within_reach(station, tote, at):
            return None
        footprint = tote_footprint(tote.carrier, at)
        return None if any(footprint.intersects(other) for other in taken) else tuple(float(x) for x in at)

    def draw_group(group: list[Tote], scale: float) -> dict[str, tuple[float, float, float]] | None:
        places: dict[str, tuple[float, float, float]] = {}
        taken: list[Polygon] = []
        for tote in group:
            tries = (draw_one(tote, scale, taken) for _ in range(DRAWS))
            at = next((at for at in tries if at is not None), None) if scale else tote.at
            if at is None:
                return None
            places[tote.name] = at
            taken.append(tote_footprint(tote.carrier, at))
        return places

    places: dict[str, tuple[float, float, float]] = {}
    groups: dict[tuple[str, int], list[Tote]] = {}
    for tote in standing:
        groups.setdefault((tote.station, tote.shelf or 0), []).append(tote)
    for group in groups.values():
        places |= _until_possible(lambda scale, group=group: draw_group(group, scale), tries=GROUP_DRAWS)
    return places


def _is_within_reach(station: Station, tote: Tote, at: tuple[float, float, float]) -> bool:
    """Whether hands get to a tote `at` a place; one that has to be pulled nearer in the file may have to be here."""

    def is_near(where: tuple[float, float, float], deepest: Callable[..., float]) -> bool:
        height = station.surface_height(tote.shelf or 0)
        return where[0] - station.front_x <= deepest(station, tote.carrier, height, where[1]) + TOLERANCE

    return is_near(at, reachable_depth) or (is_near(at, pullable_depth) and not is_near(tote.at, reachable_depth))


# --- colours ------------------------------------------------------------------------------------------------------


def _vivid(random: np.random.Generator) -> tuple[float, float, float]:
    return colorsys.hsv_to_rgb(random.uniform(), random.uniform(0.55, 0.95), random.uniform(0.35, 0.9))


def _muted(random: np.random.Generator, around: tuple[float, float, float]) -> tuple[float, float, float]:
    hue, saturation, value = colorsys.rgb_to_hsv(*around)
    hue += random.uniform(-0.15, 0.15)
    saturation = float(np.clip(saturation + random.uniform(-0.15, 0.15), 0.0, 1.0))
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, float(np.clip(value + random.uniform(-0.2, 0.2), 0.15, 0.95)))


def _station_colour(factory: Factory, station: Station, seed: int) -> tuple[float, float, float]:
    colour = STATION_COLOURS[station.kind]
    return _muted(stream(seed, f"colours/station/{station.name}"), colour) if factory.randomise.colours else colour


def _floor_colour(factory: Factory, seed: int) -> tuple[float, float, float]:
    return _muted(stream(seed, "colours/floor"), FLOOR_COLOUR) if factory.randomise.colours else FLOOR_COLOUR


# --- clutter ------------------------------------------------------------------------------------------------------

WORKING_DEPTH = 1.1  # m kept free before a station's front
WALKING_ROOM = 0.7  # m kept free around the ways between the start and the stations
STATION_CLUTTER_MIN = 0.03  # m, the smallest strip at a station's back on which something is put
CLUTTER_TRIES = 200


def _drawn_clutter(factory: Factory, seed: int) -> tuple[ClutterItem, ...]:
    """Objects at the backs of stations, behind where totes are handled, and on the floor off the robot's ways.

    Where neither has room an object is left out.
    """
    busy_floor = _busy_floor(factory)
    taken: list[Polygon] = []
    items = []
    for index in range(factory.clutter.count):
        random = stream(seed, f"clutter/{index}")
        size = random.uniform((0.03, 0.03, 0.04), (0.09, 0.09, 0.16))
        shape = ("box", "cylinder")[random.integers(2)]
        colour = _vivid(random)
        where = _clutter_on_station(factory, size, random, taken) if random.uniform() < 0.5 else None
        where = where or _clutter_on_floor(factory, size * 2.5, random, [busy_floor, *taken])
        if where is None:
            continue
        position, extents = where
        radius = max(extents[:2]) * 0.75
        taken.append(Point(position[:2]).buffer(radius))
        items.append(ClutterItem(shape, position, float(random.uniform(-np.pi, np.pi)), extents, colour))
    return tuple(items)


def _busy_floor(factory: Factory) -> Polygon:
    """The floor the robot needs: around its start, before the stations, and between all of these."""
    spots = [Point(factory.robot.start[:2])]
    busy = Polygon()
    for station in factory.stations:
        front = box(station.front_x - WORKING_DEPTH, -station.size[1] / 2 - 0.3, station.front_x, station.size[1] / 2)
        corners = [Point(station.in_map((x, y, 0.0))[:2]) for x, y in front.exterior.coords]
        busy = busy.union(MultiPoint(corners).convex_hull).union(station.footprint.buffer(0.15))
        spots.append(Point(station.in_map((station.front_x - 0.4, 0.0, 0.0))[:2]))
    busy = busy.union(MultiPoint(spots).convex_hull.buffer(WALKING_ROOM))
    for person in factory.people:
        busy = busy.union(MultiPoint(person.path).convex_hull.buffer(0.4))
    return busy


def _clutter_on_station(factory, size, random, taken):
    station = factory.stations[random.integers(len(factory.stations))]
    if isinstance(station, Conveyor):
        return None
    shelf = int(random.integers(len(station.surfaces)))
    reach = max(max(carrier.width, carrier.length) / 2 for carrier in LOAD_CARRIERS.values())
    low = station.front_x + MAX_REACH_DEPTH + reach
    low = min(low, station.size[0] / 2 - 2 * STATION_CLUTTER_MIN)  # a narrow strip at the back is left in any case
    for tote in factory.totes:
        if tote.on is None and tote.station == station.name:
            low = max(low, tote_footprint(tote.carrier, tote.at).bounds[2] + 0.02)
    for order in factory.orders:
        if order.to == station.name and order.at is not None:
            carrier = factory.tote(order.tote).carrier
            low = max(low, tote_footprint(carrier, (*order.at, 0.0)).bounds[2] + 0.07)
    strip = station.size[0] / 2 - low
    if strip < STATION_CLUTTER_MIN:
        return None
    extents = np.minimum(size, (0.8 * strip, 0.8 * strip, 1.0))
    radius = np.hypot(*extents[:2]) / 2
    for _ in range(CLUTTER_TRIES):
        x = station.size[0] / 2 - strip / 2
        y = random.uniform(-1, 1) * (station.size[1] / 2 - radius)
        where = station.in_map((x, y, 0.0))[:2]
        if not any(Point(where).buffer(radius).intersects(other) for other in taken):
            position = (float(where[0]), float(where[1]), float(station.surface_height(shelf)))
            return position, tuple(float(x) for x in extents)
    return None


def _clutter_on_floor(factory, size, random, taken):
    radius = np.hypot(*size[:2]) / 2
    half = np.array(factory.floor.size) / 2 - radius
    for _ in range(CLUTTER_TRIES):
        where = random.uniform(-half, half)
        if not any(Point(where).buffer(radius).intersects(other) for other in taken):
            return (float(where[0]), float(where[1]), 0.0), tuple(float(x) for x in size)
    return None
