"""A bag that `ros2 bag` takes: one chunked, compressed MCAP file and its metadata.yaml, in a folder that is whole or not there."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from mcap.reader import make_reader
from mcap.records import Channel, Message, Schema
from mcap.writer import CompressionType, Writer

from humanoid_control.recording.errors import RecordingError
from humanoid_control.recording.segments import RecordedTopic, read_messages, read_topics, register

METADATA = "metadata.yaml"
CHUNK_BYTES = 1 << 20
VERSION = 9  # of rosbag2's metadata, as ROS 2 Jazzy and later write it
PART = ".part-"  # what the name of a folder begins with while it is written


def pack(segments: Sequence[Path], folder: Path, *, begin_ns: int = 0, end_ns: int | None = None, files: dict[str, str] | None = None) -> int:
    """Makes a bag of segments; returns how many messages it has.

    Args:
        segments: files of `SegmentWriter`, the oldest first; all of the same topics.
        folder: of the bag, which must not be there.
        begin_ns, end_ns: what was received before or after is left out; what is latched is kept.
        files: texts that belong into the folder, by name.

    Raises:
        RecordingError: there is nothing to pack, or the folder is there already.
        OSError: the disk does not take it; nothing is left behind then.
    """
    if folder.exists():
        raise RecordingError(f"{folder} is there already")
    topics = next((found for found in map(read_topics, segments) if found), None)
    if topics is None:
        raise RecordingError(f"{folder.name}: nothing was recorded")
    part = folder.with_name(f"{PART}{os.getpid()}-{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        name = f"{folder.name}_0.mcap"
        counts, first_ns, last_ns = _write(segments, part / name, topics, begin_ns, end_ns)
        (part / METADATA).write_text(_metadata(name, topics, counts, first_ns, last_ns))
        for file, text in (files or {}).items():
            (part / file).write_text(text)
        for path in part.iterdir():
            _synchronise(path)
        part.rename(folder)
        _synchronise(folder.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return sum(counts.values())


def _write(segments: Sequence[Path], path: Path, topics: Sequence[RecordedTopic], begin_ns: int, end_ns: int | None) -> tuple[Counter, int, int]:
    index = {topic.name: number for number, topic in enumerate(topics)}
    latched = {topic.name for topic in topics if "durability: transient_local" in topic.qos}
    counts: Counter[str] = Counter()
    kept: dict[str, bytes] = {}
    first_ns = last_ns = 0
    with path.open("xb") as file:
        writer = Writer(file, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
        channels = register(writer, topics)
        for segment in segments:
            for message in read_messages(segment):
                if end_ns is not None and message.log_ns > end_ns:
                    continue
                if message.topic in latched:  # each segment repeats it, for whoever has that segment alone
                    if kept.get(message.topic) == message.data:
                        continue
                    kept[message.topic] = message.data
                elif message.log_ns < begin_ns:
                    continue
                log_ns = max(message.log_ns, begin_ns)
                writer.add_message(channels[index[message.topic]], log_time=log_ns, data=message.data, publish_time=message.publish_ns)
                counts[message.topic] += 1
                first_ns, last_ns = min(first_ns or log_ns, log_ns), max(last_ns, log_ns)
        writer.finish()
    return counts, first_ns, last_ns


def _metadata(name: str, topics: Sequence[RecordedTopic], counts: Counter, first_ns: int, last_ns: int) -> str:
    duration, start, total = {"nanoseconds": last_ns - first_ns}, {"nanoseconds_since_epoch": first_ns}, sum(counts.values())
    rows = [{
        "topic_metadata": {"name": topic.name, "type": topic.type_name, "serialization_format": "cdr",
                           "offered_qos_profiles": yaml.safe_load(topic.qos) or [] if topic.qos else [],
                           "type_description_hash": topic.type_hash},
        "message_count": counts[topic.name],
    } for topic in topics]  # fmt: skip
    return yaml.safe_dump({"rosbag2_bagfile_information": {
        "version": VERSION, "storage_identifier": "mcap", "duration": duration, "starting_time": start, "message_count": total,
        "topics_with_message_count": rows, "compression_format": "", "compression_mode": "", "relative_file_paths": [name],
        "files": [{"path": name, "starting_time": start, "duration": duration, "message_count": total}], "custom_data": None, "ros_distro": "",
    }}, sort_keys=False)  # fmt: skip


def read_bag(folder: Path) -> Iterator[tuple[Schema, Channel, Message]]:
    """The messages of a bag in the order they were received: as the package `mcap` has them.

    Args:
        folder: of the bag.

    Raises:
        RecordingError: there is no whole bag.
    """
    path = bag_file(folder)
    with path.open("rb") as file:
        yield from make_reader(file).iter_messages()


def bag_file(folder: Path) -> Path:
    """The MCAP file of a bag.

    Raises:
        RecordingError: there is none.
    """
    files = sorted(folder.glob("*.mcap"))
    if len(files) != 1 or not (folder / METADATA).is_file():
        raise RecordingError(f"{folder} is no whole bag: one .mcap file and {METADATA} are needed")
    return files[0]


def remove(folder: Path) -> None:
    """Removes a folder, which is whole or not there for whoever looks meanwhile."""
    gone = folder.with_name(f"{PART}{os.getpid()}-gone-{folder.name}")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _synchronise(path: Path) -> None:
    """Brings a file or a folder to the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
