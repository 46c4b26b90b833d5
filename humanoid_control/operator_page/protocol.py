"""What a page may say: every message is checked whole before anything of it counts.

A message is a JSON object of at most `MOST_BYTES`, whose `type` says which of the classes here it is.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from humanoid_control.errors import HumanoidControlError

MOST_BYTES = 4096
AXES, BUTTONS = 6, 8  # of the package joy's common gamepads, as `teleoperation.gamepad.GamepadLayout` reads them
MOST_POSITION = 10.0  # m, of a hand
UNIT_WITHIN = 1e-2  # of a quaternion's length
MOST_NAME, MOST_NOTE = 40, 200  # characters
MOST_ORDERS = 1000
POSE = "pose"
OUTCOMES = ("", "success", "failure", "unknown")

STOP, RESUME, TAKE_OVER, HAND_BACK, CONFIRM_FLOOR = "stop", "resume", "take_over", "hand_back", "confirm_floor"
START_EPISODE, END_EPISODE = "start_episode", "end_episode"
REQUESTS = (STOP, RESUME, TAKE_OVER, HAND_BACK, CONFIRM_FLOOR, START_EPISODE, END_EPISODE)
FOR_ALL = (STOP,)  # that need no control: whoever sees the robot may stop it


class ProtocolError(HumanoidControlError):
    """What came is no message of the page."""


@dataclass(frozen=True)
class Hello:
    """The first message.

    Attributes:
        token: that lets in.
        name: of the person.
    """

    token: str
    name: str


@dataclass(frozen=True)
class Lane:
    """The first message of a further connection, which carries inputs alone.

    Attributes:
        key: that its page was told.
    """

    key: str


@dataclass(frozen=True)
class Input:
    """What the operator does now.

    Attributes:
        sent_s: on the page's clock.
        axes: (6,) -1 to 1, as of a gamepad.
        buttons: (8,) 0 or 1.
        hands: left and right, each (7,) m and quaternion xyzw, in axes that the operator faces; None: not told.
    """

    sent_s: float
    axes: tuple[float, ...]
    buttons: tuple[int, ...]
    hands: tuple[tuple[float, ...] | None, tuple[float, ...] | None]


@dataclass(frozen=True)
class Ask:
    """A button that was pressed: a request of a node.

    Attributes:
        number: by which the page knows the answer.
        what: one of `REQUESTS`.
        task: of an episode that begins.
        order: which of the factory's orders that episode is of; None: of none.
        keep, outcome, note: of an episode that ends.
    """

    number: int
    what: str
    task: str = ""
    order: int | None = None
    keep: bool = True
    outcome: str = ""
    note: str = ""


@dataclass(frozen=True)
class Control:
    """Control is wanted, or given back."""

    wanted: bool


@dataclass(frozen=True)
class Watch:
    """The cameras that are looked at."""

    cameras: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """An image or a pose was shown: the next may come.

    Attributes:
        stream: the camera, or `POSE`.
        number: as it was sent.
    """

    stream: str
    number: int


@dataclass(frozen=True)
class Ping:
    """Asks what the time is here; the page reckons its distance by it."""

    sent_s: float


Message = Hello | Lane | Input | Ask | Control | Watch | Seen | Ping


def read_message(data: str, cameras: tuple[str, ...]) -> Message:
    """The message of a text.

    Args:
        data: the text.
        cameras: that there are.

    Raises:
        ProtocolError: it is none.
    """
    if len(data) > MOST_BYTES:
        raise ProtocolError(f"{len(data)} characters; {MOST_BYTES} at most")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise ProtocolError("no JSON") from None
    if not isinstance(fields, dict):
        raise ProtocolError("no JSON object")
    kind = fields.pop("type", None)
    if not isinstance(kind, str) or kind not in _READERS:
        raise ProtocolError(f"no such type; there are {', '.join(_READERS)}")
    try:
        return _READERS[kind](fields, cameras)
    except KeyError as error:
        raise ProtocolError(f"{kind}: {error.args[0]} is missing") from None


def _hello(fields: dict, _cameras: tuple[str, ...]) -> Hello:
    _only(fields, "token", "name")
    return Hello(_text(fields["token"], "token", 200), _line(fields["name"], "name", MOST_NAME))


def _lane(fields: dict, _cameras: tuple[str, ...]) -> Lane:
    _only(fields, "key")
    return Lane(_text(fields["key"], "key", 200))


def _input(fields: dict, _cameras: tuple[str, ...]) -> Input:
    _only(fields, "t", "axes", "buttons", "hands")
    hands = _list(fields["hands"], "hands", 2)
    buttons = _list(fields["buttons"], "buttons", BUTTONS)
    if any(type(button) is not int or button not in (0, 1) for button in buttons):
        raise ProtocolError("buttons: each is 0 or 1")
    return Input(
        _number(fields["t"], "t", 0.0, 1e12), tuple(_number(axis, "axes", -1.0, 1.0) for axis in _list(fields["axes"], "axes", AXES)),
        tuple(buttons), tuple(None if hand is None else _pose(hand) for hand in hands),
    )  # fmt: skip


def _ask(fields: dict, _cameras: tuple[str, ...]) -> Ask:
    _only(fields, "number", "what", "task", "order", "keep", "outcome", "note")
    if type(fields["number"]) is not int or not 0 <= fields["number"] < 2**31:
        raise ProtocolError("ask: number is a whole number")
    what = _one_of(fields["what"], "what", REQUESTS)
    keep = fields.get("keep", True)
    if type(keep) is not bool:
        raise ProtocolError("ask: keep is true or false")
    order = fields.get("order")
    if order is not None and (type(order) is not int or not 0 <= order < MOST_ORDERS):
        raise ProtocolError("ask: order is a whole number")
    return Ask(fields["number"], what, _line(fields.get("task", ""), "task", MOST_NOTE), order, keep,
               _one_of(fields.get("outcome", ""), "outcome", OUTCOMES), _line(fields.get("note", ""), "note", MOST_NOTE))  # fmt: skip


def _control(fields: dict, _cameras: tuple[str, ...]) -> Control:
    _only(fields, "wanted")
    if type(fields["wanted"]) is not bool:
        raise ProtocolError("control: wanted is true or false")
    return Control(fields["wanted"])


def _watch(fields: dict, cameras: tuple[str, ...]) -> Watch:
    _only(fields, "cameras")
    wanted = fields["cameras"]
    if not isinstance(wanted, list) or len(wanted) > len(cameras):
        raise ProtocolError(f"watch: cameras is a list of {', '.join(cameras)}")
    return Watch(tuple(dict.fromkeys(_one_of(camera, "cameras", cameras) for camera in wanted)))


def _seen(fields: dict, cameras: tuple[str, ...]) -> Seen:
    _only(fields, "stream", "number")
    if type(fields["number"]) is not int or not 0 <= fields["number"] < 2**53:
        raise ProtocolError("seen: number is a whole number")
    return Seen(_one_of(fields["stream"], "stream", (*cameras, POSE)), fields["number"])


def _ping(fields: dict, _cameras: tuple[str, ...]) -> Ping:
    _only(fields, "t")
    return Ping(_number(fields["t"], "t", 0.0, 1e12))


_READERS = {"hello": _hello, "lane": _lane, "input": _input, "ask": _ask, "control": _control, "watch": _watch, "seen": _seen, "ping": _ping}


def _only(fields: dict, *known: str) -> None:
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise ProtocolError(f"{unknown[0][:MOST_NAME]!r} is none of {', '.join(known)}")


def _number(value: Any, name: str, low: float, high: float) -> float:
    # No comparison with a bool, and none that a whole number of 4,000 digits could break.
    if type(value) not in (int, float) or not low <= value <= high or not math.isfinite(value):
        raise ProtocolError(f"{name}: a number from {low:g} to {high:g} is needed")
    return float(value)


def _list(value: Any, name: str, count: int) -> list:
    if not isinstance(value, list) or len(value) != count:
        raise ProtocolError(f"{name}: a list of {count} is needed")
    return value


def _pose(value: Any) -> tuple[float, ...]:
    pose = [_number(each, "hands", -MOST_POSITION, MOST_POSITION) for each in _list(value, "hands", 7)]
    length = math.hypot(*pose[3:])
    if abs(length - 1.0) > UNIT_WITHIN:
        raise ProtocolError("hands: a unit quaternion is needed")
    return (*pose[:3], *(each / length for each in pose[3:]))


def _text(value: Any, name: str, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ProtocolError(f"{name}: a text of at most {most} characters is needed")
    return value


def _line(value: Any, name: str, most: int) -> str:
    """Text that may stand in a log: one line, which ROS can carry."""
    text = _text(value, name, most)
    if not text.isprintable() or re.search("[\ud800-\udfff]", text):
        raise ProtocolError(f"{name}: only printable characters are allowed")
    return text.strip()


def _one_of(value: Any, name: str, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        raise ProtocolError(f"{name}: one of {', '.join(filter(None, known))} is needed")
    return value
