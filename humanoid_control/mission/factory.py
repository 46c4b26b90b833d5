"""A factory: its stations, totes, zones, people and orders, read from a YAML file and checked.

`load_factory` gives a `Factory` that can be: every key is known and in range, nothing overlaps, every order has a place
to go, and everything the robot shall handle is within its reach. What cannot be is refused with one line that names the
file, the key, the value and what is allowed. The same file serves simulation and the real floor; nothing here knows
about either.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from shapely.geometry import Polygon

from humanoid_control.errors import FactoryError
from humanoid_control.mission.load_carriers import LOAD_CARRIERS, LoadCarrier

MIN_SURFACE_HEIGHT = 0.40  # m; what the hands reach: surfaces a tote is taken from or set down on
MAX_SURFACE_HEIGHT = 1.00
MAX_REACH_DEPTH = 0.33  # m from a station's front edge to the middle of a tote on it
MIN_SHELF_CLEARANCE = 0.35  # m above each shelf
MAX_TOTE_MASS = 20.0  # kg, the most a VDA 4500 small load carrier may weigh
TOLERANCE = 1e-6  # m, for sums of decimal numbers in files


# --- values -------------------------------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number(low: float, high: float) -> Any:
    """Returns the type of a number from `low` to `high`."""

    def check(value: Any) -> float:
        if not (_is_number(value) and low <= value <= high):
            raise PydanticCustomError("number", f"must be a number from {low:g} to {high:g}")
        return float(value)

    return Annotated[float, PlainValidator(check)]


def _numbers(names: str, *bounds: tuple[float, float]) -> Any:
    """Returns the type of a list of numbers called `names`, each within its own bounds."""
    labels = names.split()
    allowed = ", ".join(f"{label} from {low:g} to {high:g}" for label, (low, high) in zip(labels, bounds))

    def check(value: Any) -> tuple[float, ...]:
        if (
            not isinstance(value, tuple)
            or len(value) != len(bounds)
            or not all(_is_number(x) and low <= x <= high for x, (low, high) in zip(value, bounds))
        ):
            raise PydanticCustomError("numbers", f"must be [{', '.join(labels)}] with {allowed}")
        return tuple(float(x) for x in value)

    return Annotated[tuple[float, ...], PlainValidator(check)]


class Spread(BaseModel):
    """How far a value varies: between two numbers, or by a half-width around the file's own value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    half_width: float | None = None
    range: tuple[float, float] | None = None

    def interval(self, nominal: float) -> tuple[float, float]:
        """Returns the lowest and the highest value, for a file's own value `nominal`."""
        if self.range is not None:
            return self.range
        return nominal - self.half_width, nominal + self.half_width


def _spread(low: float, high: float) -> Any:
    """Returns the type of a `Spread`: a half-width, or a range within `low` and `high`."""

    def check(value: Any) -> Spread:
        if isinstance(value, Spread):
            return value
        if _is_number(value) and 0 <= value <= high - low:
            return Spread(half_width=float(value))
        if isinstance(value, tuple) and len(value) == 2 and all(_is_number(x) and low <= x <= high for x in value):
            if value[0] <= value[1]:
                return Spread(range=(float(value[0]), float(value[1])))
        raise PydanticCustomError(
            "spread",
            f"must be a half-width from 0 to {high - low:g}, or [lowest, highest] within {low:g} and {high:g}",
        )

    return Annotated[Spread, PlainValidator(check)]


def _flag() -> Any:
    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise PydanticCustomError("flag", "must be true or false")
        return value

    return Annotated[bool, PlainValidator(check)]


def _count(low: int, high: int) -> Any:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise PydanticCustomError("count", f"must be a whole number from {low} to {high}")
        return value

    return Annotated[int, PlainValidator(check)]


def _choice(values: Iterable[Any]) -> Any:
    values = tuple(values)

    def check(value: Any) -> Any:
        if isinstance(value, bool) or value not in values:
            raise PydanticCustomError("choice", f"must be {_one_of(values)}", {"hint": closest(value, values)})
        return value

    return Annotated[Any, PlainValidator(check)]


def _name() -> Any:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not value or not all(c.isalnum() or c in "_-." for c in value):
            raise PydanticCustomError("name", "must be a name of letters, digits, '_', '-' and '.'")
        return value

    return Annotated[str, PlainValidator(check)]


def _one_of(values: Iterable[Any]) -> str:
    return "one of " + ", ".join(str(value) for value in values) if len(tuple(values)) > 1 else str(tuple(values)[0])


def closest(value: Any, known: Iterable[Any]) -> str:
    """Returns `; did you mean 'x'?` for the known name most like `value`, or nothing if none is like it."""
    matches = difflib.get_close_matches(str(value), [str(name) for name in known], n=1, cutoff=0.6)
    return f"; did you mean '{matches[0]}'?" if matches else ""


Name = _name()
Coordinate = (-100.0, 100.0)
Angle = (-6.2832, 6.2832)
Pose2 = _numbers("x y yaw", Coordinate, Coordinate, Angle)
Point2 = _numbers("x y", Coordinate, Coordinate)
Colour = _numbers("red green blue", (0, 1), (0, 1), (0, 1))


# --- the file's parts ---------------------------------------------------------------------------------------------


class _Part(BaseModel):
    """A mapping of the file: every key known, none changed after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise PydanticCustomError("mapping", f"must be a mapping with the keys {', '.join(cls.model_fields)}")
        for key in data:
            if key not in cls.model_fields:
                raise PydanticCustomError(
                    "unknown_key",
                    "unknown key '{key}'{hint}; allowed: {allowed}",
                    {
                        "key": str(key),
                        "hint": closest(key, cls.model_fields),
                        "allowed": ", ".join(cls.model_fields),
                    },
                )
        return data


class Floor(_Part):
    """The floor, centred on the origin of `map`; `size` (2,) in m."""

    size: _numbers("x y", (2.0, 200.0), (2.0, 200.0))
    friction: _number(0.1, 2.0)


class Light(_Part):
    """How the floor is lit; `direction` (3,) is where the light goes, in `map`."""

    ambient: _number(0, 1) = 0.35
    diffuse: _number(0, 1) = 0.7
    direction: _numbers("x y z", (-10, 10), (-10, 10), (-10, -0.01)) = (0.3, 0.2, -1.0)


class RobotPlace(_Part):
    """Where the robot starts: (x, y, yaw) in `map`."""

    start: Pose2


class _Station(_Part):
    name: Name
    pose: Pose2
    size: _numbers("x y", (0.1, 20.0), (0.1, 20.0))

    @property
    def surfaces(self) -> tuple[float, ...]:
        """Heights in m above the floor of what totes stand on, lowest first."""
        raise NotImplementedError

    @property
    def position(self) -> np.ndarray:
        """(2,) middle of the footprint in `map`."""
        return np.array(self.pose[:2])

    @property
    def yaw(self) -> float:
        """Heading of the station's x axis in `map`: the heading of a robot that works at its front."""
        return self.pose[2]

    @property
    def front_direction(self) -> np.ndarray:
        """(2,) unit vector in `map` along which the robot approaches the front: the station's +x."""
        return np.array([math.cos(self.yaw), math.sin(self.yaw)])

    @property
    def front_x(self) -> float:
        """x of the front edge in the station's frame."""
        return -self.size[0] / 2

    @property
    def map_from_station(self) -> np.ndarray:
        """(4, 4) pose of the station's frame, which lies on the floor in the middle of the footprint."""
        return pose_matrix(self.pose[0], self.pose[1], 0.0, self.pose[2])

    @property
    def footprint(self) -> Polygon:
        """The station's rectangle on the floor, in `map`."""
        return rectangle(self.pose, self.size)

    def surface_height(self, shelf: int = 0) -> float:
        """Returns the height in m above the floor of the top, the belt or a shelf.

        Raises:
            FactoryError: the station has no such shelf.
        """
        if not 0 <= shelf < len(self.surfaces):
            raise FactoryError(f"station {self.name}: no shelf {shelf}; allowed 0 to {len(self.surfaces) - 1}")
        return self.surfaces[shelf]

    def in_map(self, at: Iterable[float]) -> tuple[float, float, float]:
        """Returns the pose (x, y, yaw) in `map` of a pose `at` in the station's frame."""
        x, y, yaw = at
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return self.pose[0] + cos * x - sin * y, self.pose[1] + sin * x + cos * y, self.yaw + yaw

    def in_station(self, pose: Iterable[float]) -> tuple[float, float, float]:
        """Returns the pose (x, y, yaw) in the station's frame of a `pose` in `map`."""
        x, y, yaw = pose
        dx, dy = x - self.pose[0], y - self.pose[1]
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return cos * dx + sin * dy, -sin * dx + cos * dy, yaw - self.yaw


class Table(_Station):
    """A table; `height` of its top."""

    kind: Literal["table"]
    height: _number(0.05, 3.0)

    @property
    def surfaces(self) -> tuple[float, ...]:
        return (self.height,)


class Rack(_Station):
    """A rack; heights of its `shelves`, lowest first."""

    kind: Literal["rack"]
    shelves: tuple[_number(0.05, 5.0), ...]

    @property
    def surfaces(self) -> tuple[float, ...]:
        return self.shelves


class Conveyor(_Station):
    """A conveyor; its belt runs along its +y with `speed` in m/s."""

    kind: Literal["conveyor"]
    height: _number(0.05, 3.0)
    speed: _number(0.0, 0.5)

    @property
    def surfaces(self) -> tuple[float, ...]:
        return (self.height,)


STATION_KINDS = ("table", "rack", "conveyor")
Station = Union[Table, Rack, Conveyor]


class Tote(_Part):
    """A tote at the start: `at` (x, y, yaw) in its station's frame, or `on` another tote; `mass` is the whole."""

    name: Name
    kind: _choice(LOAD_CARRIERS)
    station: Name | None = None
    shelf: _count(0, 50) | None = None
    at: Pose2 | None = None
    on: Name | None = None
    mass: _number(0.0, MAX_TOTE_MASS)
    colour: Colour

    @property
    def carrier(self) -> LoadCarrier:
        """Its sizes."""
        return LOAD_CARRIERS[self.kind]


class Zone(_Part):
    """An area of the floor the robot must not enter (`keep_out`) or walks slowly in (`slow`)."""

    name: Name
    kind: _choice(("keep_out", "slow"))
    polygon: tuple[Point2, ...]

    @property
    def area(self) -> Polygon:
        """The zone in `map`."""
        return Polygon(self.polygon)


class Person(_Part):
    """A person who walks a path to and fro at `speed`."""

    name: Name
    path: tuple[Point2, ...]
    speed: _number(0.05, 3.0)


class Clutter(_Part):
    """How many objects that are no totes lie about."""

    count: _count(0, 100)


class Order(_Part):
    """Bring a tote to a station, `at` (x, y) in its frame, `on` a tote there, or to any free place."""

    tote: Name
    to: Name
    shelf: _count(0, 50) | None = None
    at: Point2 | None = None
    on: Name | None = None


class Randomise(_Part):
    """What is drawn anew for each episode; what is absent stays as the file has it."""

    tote_pose: _numbers("x y yaw", (0, 2), (0, 2), (0, math.pi)) | None = None
    tote_mass: _spread(0.0, MAX_TOTE_MASS) | None = None
    station_height: _spread(0.0, 3.0) | None = None
    robot_start: _numbers("x y yaw", (0, 10), (0, 10), (0, math.pi)) | None = None
    friction: _spread(0.05, 3.0) | None = None
    joint_friction: _spread(0.0, 5.0) | None = None
    light: _spread(0.0, 5.0) | None = None
    colours: _flag() = False
    camera_pose: _numbers("position angle", (0, 0.1), (0, 0.5)) | None = None
    sensor_noise: _number(0.0, 20.0) | None = None
    delay_ms: _spread(0.0, 100.0) | None = None


class Factory(_Part):
    """A whole factory, as its file describes it."""

    version: _choice((1,))
    name: Name
    floor: Floor
    light: Light = Light()
    robot: RobotPlace
    stations: tuple[Annotated[Station, Field(discriminator="kind")], ...]
    totes: tuple[Tote, ...]
    zones: tuple[Zone, ...] = ()
    people: tuple[Person, ...] = ()
    clutter: Clutter = Clutter(count=0)
    orders: tuple[Order, ...]
    randomise: Randomise = Randomise()

    def station(self, name: str) -> Station:
        """Returns the station called `name`; `FactoryError` if there is none."""
        return _named(self.stations, name, "station")

    def tote(self, name: str) -> Tote:
        """Returns the tote called `name`; `FactoryError` if there is none."""
        return _named(self.totes, name, "tote")

    def base_of(self, name: str) -> Tote:
        """Returns the tote at the bottom of the stack that tote `name` starts in: itself, if it stands on no other."""
        tote = self.tote(name)
        while tote.on is not None:
            tote = self.tote(tote.on)
        return tote

    def tote_station(self, name: str) -> Station:
        """Returns the station on which tote `name` starts."""
        return self.station(self.base_of(name).station)

    def tote_shelf(self, name: str) -> int:
        """Returns the shelf on which tote `name` starts; 0 where there are none."""
        return self.base_of(name).shelf or 0

    def tote_pose(self, name: str) -> tuple[float, float, float, float]:
        """Returns (x, y, z, yaw) in `map` of tote `name` at the start, from the file, not from any camera."""
        base = self.base_of(name)
        station = self.station(base.station)
        x, y, yaw = station.in_map(base.at)
        z = station.surface_height(base.shelf or 0)
        tote = self.tote(name)
        while tote.on is not None:
            tote = self.tote(tote.on)
            z += tote.carrier.stacking_height
        return x, y, z, yaw


def _named(things: Iterable[Any], name: str, what: str) -> Any:
    things = tuple(things)
    for thing in things:
        if thing.name == name:
            return thing
    names = [thing.name for thing in things]
    raise FactoryError(f"no {what} '{name}'; known: {', '.join(names) or 'none'}{closest(name, names)}")


# --- geometry -----------------------------------------------------------------------------------------------------


def pose_matrix(x: float, y: float, z: float, yaw: float) -> np.ndarray:
    """Returns the (4, 4) transform of an upright frame at (x, y, z), turned by `yaw`."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return np.array([[cos, -sin, 0, x], [sin, cos, 0, y], [0, 0, 1, z], [0, 0, 0, 1]], float)


def rectangle(pose: Iterable[float], size: Iterable[float]) -> Polygon:
    """Returns the rectangle of `size` (x, y) around and turned by `pose` (x, y, yaw)."""
    x, y, yaw = pose
    half_x, half_y = (side / 2 for side in size)
    cos, sin = math.cos(yaw), math.sin(yaw)
    corners = ((half_x, half_y), (-half_x, half_y), (-half_x, -half_y), (half_x, -half_y))
    return Polygon([(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in corners])


def tote_footprint(carrier: LoadCarrier, pose: Iterable[float]) -> Polygon:
    """Returns the outside rectangle of a tote at `pose` (x, y, yaw), in the frame of `pose`."""
    return rectangle(pose, (carrier.width, carrier.length))


# --- reading ------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML without repeated keys, which plain YAML readers let overwrite each other in silence."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float, bool)):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a name", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' is there twice", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


# YAML 1.1 reads `on` as true, and a factory has a key of that name: only `true` and `false` are flags, as in YAML 1.2.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_factory(path: str | Path) -> Factory:
    """Returns the factory described by the YAML file at `path`.

    Raises:
        FactoryError: the file cannot be read, or describes something that cannot be; one line that says what.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FactoryError(f"{path}: cannot be read: {reason}") from None
    return parse_factory(text, source=str(path))


def parse_factory(text: str, *, source: str = "factory") -> Factory:
    """Returns the factory described by YAML `text`; errors name `source`.

    Raises:
        FactoryError: as `load_factory`.
    """
    try:
        data = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise FactoryError(f"{source}: {where}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FactoryError(f"{source}: not valid YAML: {_one_line(error)}") from None
    return build_factory(data, source=source)


def build_factory(data: Any, *, source: str = "factory") -> Factory:
    """Returns the factory described by `data`, as read from YAML; errors name `source`.

    Raises:
        FactoryError: as `load_factory`.
    """
    from humanoid_control.mission.factory_checks import check_factory

    data = _tuples(data)
    try:
        factory = Factory.model_validate(data)
    except ValidationError as error:
        raise FactoryError(f"{source}: {_explain(error, data)}") from None
    check_factory(factory, source=source)
    return factory


def _tuples(data: Any) -> Any:
    """Returns `data` with every list made a tuple, which is what frozen parts hold."""
    if isinstance(data, dict):
        return {key: _tuples(value) for key, value in data.items()}
    if isinstance(data, list):
        return tuple(_tuples(value) for value in data)
    return data


def _explain(error: ValidationError, data: Any) -> str:
    """Returns the first problem of `error` in one line: key path, what is allowed, value."""
    problems = error.errors(include_url=False)
    problem = problems[0]
    location = problem["loc"]
    if len(location) > 2 and location[0] == "stations" and location[2] in STATION_KINDS:
        location = location[:2] + location[3:]  # pydantic names the kind it chose, which is no key of the file
    path = key_path(location)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    kind = problem["type"]
    if kind == "missing":
        return f"{path}: missing, but required{more}"
    if kind == "unknown_key":
        return f"{path + ': ' if path else ''}{problem['msg']}{more}"
    if kind in ("union_tag_not_found", "model_attributes_type"):
        return f"{path}: missing key 'kind'; allowed: {', '.join(STATION_KINDS)}{more}"
    if kind == "union_tag_invalid":
        tag = _value_at(data, location).get("kind")
        return f"{path}.kind: must be {_one_of(STATION_KINDS)}; got {tag!r}{closest(tag, STATION_KINDS)}{more}"
    message = "must be a list" if kind == "tuple_type" else problem["msg"]
    hint = problem.get("ctx", {}).get("hint", "")
    return f"{path + ': ' if path else ''}{message}; got {_shown(problem['input'])}{hint}{more}"


def key_path(location: Iterable[str | int]) -> str:
    """Returns `stations[1].pose` for ("stations", 1, "pose")."""
    path = ""
    for key in location:
        path += f"[{key}]" if isinstance(key, int) else (f".{key}" if path else str(key))
    return path


def _value_at(data: Any, location: Iterable[str | int]) -> Any:
    for key in location:
        data = data[key]
    return data


def _shown(value: Any) -> str:
    """Returns `value` as the file has it, in one short line."""
    if isinstance(value, tuple):
        text = "[" + ", ".join(_shown(item) for item in value) + "]"
    elif value is None:
        text = "nothing"
    elif isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
