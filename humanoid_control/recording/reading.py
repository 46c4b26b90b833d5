"""A recorded episode to be read from: what came on each topic, by the robot's clock, without ROS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from mcap.exceptions import McapError
from mcap.records import Schema
from mcap_ros2.decoder import DecoderFactory

from humanoid_control.mission.factory import Factory, parse_factory
from humanoid_control.recording.bag import read_bag
from humanoid_control.recording.card import CARD, FACTORY, Card
from humanoid_control.recording.errors import RecordingError
from humanoid_control.ros import topics
from humanoid_control.ros.from_messages import stamp_of_data

COMPRESSED = "image_raw/compressed"
_HEADER = ("std_msgs/Header", "std_msgs/msg/Header")


class Stream:
    """What came on one topic, in the order it was received.

    Attributes:
        name: of the topic, without the robot's namespace.
        stamps_s: (N,) by the header, on the robot's clock; NaN where messages have none.
        log_ns, sent_ns: (N,) when it was received and sent, by the recorder's clock.
    """

    def __init__(self, name: str, schema: Schema | None = None) -> None:
        self.name = name
        self._schema, self._data, self._log_ns, self._sent_ns, self._stamps_ns = schema, [], [], [], []
        self._has_header = schema is not None and _begins_with_header(schema)

    def _add(self, data: bytes, log_ns: int, sent_ns: int, *, keep: bool) -> None:
        self._log_ns.append(log_ns)
        self._sent_ns.append(sent_ns)
        if self._has_header:
            self._stamps_ns.append(stamp_of_data(data))
        if keep:
            self._data.append(data)

    def __len__(self) -> int:
        return len(self._log_ns)

    @cached_property
    def log_ns(self) -> np.ndarray:
        return np.array(self._log_ns, np.int64)

    @cached_property
    def sent_ns(self) -> np.ndarray:
        return np.array(self._sent_ns, np.int64)

    @cached_property
    def stamps_s(self) -> np.ndarray:
        return 1e-9 * np.array(self._stamps_ns, np.int64) if self._has_header else np.full(len(self), np.nan)

    @cached_property
    def _decode(self) -> Any:
        return DecoderFactory().decoder_for("cdr", self._schema)

    def message(self, index: int) -> SimpleNamespace:
        """One message, decoded: its fields are attributes."""
        return self._decode(self._data[index])

    def messages(self) -> list[SimpleNamespace]:
        """All of them."""
        return [self._decode(data) for data in self._data]

    def values(self, *fields: str, every: int = 1) -> tuple[np.ndarray, ...]:
        """(N / every, ...) of each field of numbers."""
        messages = [self._decode(data) for data in self._data[::every]]
        return tuple(np.array([getattr(message, field) for message in messages], float) for field in fields)

    def newest(self, times_s: np.ndarray) -> np.ndarray:
        """(T,) index of the newest message whose stamp is at or before each time; -1: there is none."""
        return np.searchsorted(self.stamps_s, np.asarray(times_s) + 1e-9, side="right") - 1


class Recording:
    """An episode that was recorded.

    Attributes:
        folder: where it lies.
        card: what is known of it.
    """

    def __init__(self, folder: Path) -> None:
        """Reads all but images, which `images` does.

        Args:
            folder: of the episode.

        Raises:
            RecordingError: card or bag cannot be read.
        """
        self.folder, self.card = folder, Card.read(folder / CARD)
        self._streams: dict[str, Stream] = {}
        names = sorted((topic.name.lstrip("/") for topic in topics.TOPICS), key=len, reverse=True)
        try:
            for schema, channel, message in read_bag(folder):
                name = next((name for name in names if channel.topic.endswith(f"/{name}")), channel.topic.lstrip("/"))
                if name not in self._streams:
                    self._streams[name] = Stream(name, schema)
                self._streams[name]._add(message.data, message.log_time, message.publish_time, keep=not name.endswith(COMPRESSED))
        except (McapError, OSError) as error:
            raise RecordingError(f"{folder.name} cannot be read: {error or type(error).__name__}") from None

    def stream(self, topic: topics.Topic) -> Stream:
        """What came on a topic; nothing, if nothing came."""
        return self._streams.get(topic.name.lstrip("/"), Stream(topic.name.lstrip("/")))

    @property
    def cameras(self) -> tuple[str, ...]:
        """Those of which there are images."""
        return tuple(camera for camera in topics.CAMERAS if f"{camera}/{COMPRESSED}" in self._streams)

    def camera(self, name: str) -> Stream:
        """A camera's images, of which only the times are kept."""
        return self._streams.get(f"{name}/{COMPRESSED}", Stream(name))

    def images(self, camera: str, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yields images by their index in the camera's stream, as JPEG.

        Args:
            camera: its name.
            indices: which, sorted and each once.
        """
        stream, wanted, number = self.camera(camera), iter(indices), -1
        following = next(wanted, None)
        for _, channel, message in read_bag(self.folder) if following is not None else ():
            if not channel.topic.endswith(f"/{camera}/{COMPRESSED}"):
                continue
            number += 1
            if number == following:
                yield number, bytes(stream._decode(message.data).data)
                following = next(wanted, None)
                if following is None:
                    return

    @cached_property
    def factory(self) -> Factory | None:
        """The factory file as it was; None where the recorder was told of none.

        Raises:
            FactoryError: it is wrong.
        """
        path = self.folder / FACTORY
        return parse_factory(path.read_text(encoding="utf-8"), source=str(path)) if path.is_file() else None

    def robot_time_s(self, log_ns: np.ndarray | int) -> np.ndarray:
        """(...) s on the robot's clock at which something was received.

        Raises:
            RecordingError: no state of the robot was recorded.
        """
        states = self.stream(topics.ROBOT_STATE)
        if len(states) < 2:
            raise RecordingError(f"{self.folder.name} holds no robot_state, so nothing is known of the robot's clock")
        log_s = 1e-9 * (np.asarray(log_ns, np.int64) - self.card.begun_ns)
        return np.interp(log_s, 1e-9 * (states.log_ns - self.card.begun_ns), states.stamps_s)

    def episode_time_s(self, robot_s: np.ndarray) -> np.ndarray:
        """(...) s from the episode's begin of times on the robot's clock."""
        states = self.stream(topics.ROBOT_STATE)
        return np.interp(robot_s, states.stamps_s, 1e-9 * (states.log_ns - self.card.begun_ns))


def _begins_with_header(schema: Schema) -> bool:
    for line in schema.data.decode().splitlines():
        words = line.partition("#")[0].split()
        if not words or "=" in line.partition("#")[0]:
            continue  # a comment, or a constant
        return words[0] in _HEADER
    return False
