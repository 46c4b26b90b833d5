"""Messages on disk as they come: MCAP files of some seconds each, readable up to the message their writer was killed at.

Chunks and indices, which make a file fast to read, would keep the newest messages in memory; they come when an episode is
packed (`bag.py`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcap.exceptions import McapError
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, IndexType, Writer

ENCODING, SCHEMA_ENCODING, PROFILE, LIBRARY = "cdr", "ros2msg", "ros2", "humanoid_control"
BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class RecordedTopic:
    """A topic as a record knows it.

    Attributes:
        name: in full, with its namespace.
        type_name: such as `sensor_msgs/msg/Imu`.
        definition: its message definition and those it needs, as MCAP's `ros2msg` has them.
        type_hash: `RIHS01_…`; empty where it is not known.
        qos: offered, as rosbag2's YAML.
    """

    name: str
    type_name: str
    definition: str
    type_hash: str = ""
    qos: str = ""


@dataclass(frozen=True)
class RecordedMessage:
    """One message as it came.

    Attributes:
        topic: name of its topic.
        log_ns, publish_ns: when it was received and sent, ns since the epoch.
        data: its bytes.
    """

    topic: str
    log_ns: int
    publish_ns: int
    data: bytes


class SegmentWriter:
    """Appends messages to one file.

    Args:
        path: of the file, which must not be there.
        topics: that may come; messages name them by their index.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, topics: Sequence[RecordedTopic]) -> None:
        self.path = path
        self._file = path.open("xb", buffering=BUFFER_BYTES)
        self._writer = Writer(self._file, use_chunking=False, compression=CompressionType.NONE, index_types=IndexType.NONE)
        self._channels = register(self._writer, topics)

    def add(self, topic: int, data: bytes, *, log_ns: int, publish_ns: int) -> None:
        """Appends a message.

        Args:
            topic: index of its topic.
            data: its bytes.
            log_ns, publish_ns: when it was received and sent.

        Raises:
            OSError: the disk does not take it.
        """
        self._writer.add_message(self._channels[topic], log_time=log_ns, data=data, publish_time=publish_ns)

    def flush(self) -> None:
        """Gives what was appended to the operating system, which keeps it though this process be killed.

        Raises:
            OSError: the disk does not take it.
        """
        self._file.flush()

    def close(self) -> None:
        """Ends the file; a disk that is full leaves it without its end, as a kill would."""
        try:
            self._writer.finish()
        finally:
            self._file.close()


def register(writer: Writer, topics: Sequence[RecordedTopic]) -> list[int]:
    """Starts a file with all its topics and returns their channels."""
    writer.start(profile=PROFILE, library=LIBRARY)
    schemas: dict[str, int] = {}
    channels = []
    for topic in topics:
        if topic.type_name not in schemas:
            schemas[topic.type_name] = writer.register_schema(topic.type_name, SCHEMA_ENCODING, topic.definition.encode())
        metadata = {"offered_qos_profiles": topic.qos, "topic_type_hash": topic.type_hash}
        channels.append(writer.register_channel(topic.name, ENCODING, schemas[topic.type_name], metadata))
    return channels


def read_topics(path: Path) -> list[RecordedTopic]:
    """The topics that a file knows."""
    schemas: dict[int, Schema] = {}
    topics: dict[int, RecordedTopic] = {}
    for record in _records(path):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel) and record.id not in topics:
            schema = schemas[record.schema_id]
            topics[record.id] = RecordedTopic(record.topic, schema.name, schema.data.decode(), record.metadata.get("topic_type_hash", ""),
                                              record.metadata.get("offered_qos_profiles", ""))  # fmt: skip
        elif isinstance(record, Message):
            break  # all topics stand at the beginning
    return list(topics.values())


def read_messages(path: Path) -> Iterator[RecordedMessage]:
    """The messages of a file, in the order they came, up to where it was cut off."""
    names: dict[int, str] = {}
    for record in _records(path):
        if isinstance(record, Channel):
            names[record.id] = record.topic
        elif isinstance(record, Message):
            yield RecordedMessage(names[record.channel_id], record.log_time, record.publish_time, record.data)


def _records(path: Path) -> Iterator[object]:
    with path.open("rb") as file:
        try:
            yield from StreamReader(file).records
        except (McapError, struct.error, ValueError):
            return  # its writer was killed here
