"""`humanoid bench recorder`: what the recorder costs and loses under full load, and what is left of it after `kill -9`.

A process publishes all state at 250 Hz and three cameras of 640x480 at 30 Hz; the recorder is the real node, in a domain of its
own. The peer, where it is installed, is the writer of the package `rosbags`, on the same messages.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from humanoid_control.bench.report import Report, progress
from humanoid_control.errors import ConfigurationError
from humanoid_control.recording.bag import bag_file, read_bag
from humanoid_control.recording.pack_episode import RUNNING
from humanoid_control.recording.recorder import recover
from humanoid_control.recording.segments import SegmentWriter, read_messages, read_topics
from humanoid_control.ros import topics
from humanoid_control.ros.domain import use_domain
from humanoid_control.ros.environment import environment_for_children, prepare_environment

MINUTES, QUICK_SECONDS = 10.0, 5.0
KILLS, QUICK_KILLS = 50, 2
KILL_AFTER_S = (0.3, 3.0)
CAMERAS, CAMERA_HZ, WIDTH, HEIGHT, JPEG_QUALITY = topics.CAMERAS[:3], 30.0, 640, 480, 90
STATES = (topics.ROBOT_STATE, topics.BASE_ESTIMATE, topics.JOINT_COMMAND, topics.WHOLE_BODY_TARGET, topics.CONTROL_STATUS, topics.POLICY_STATUS)
TIMEOUT_S = 60.0
WARM_UP_S, SETTLE_S = 2.0, 1.0  # of messages that do not count, until everybody knows everybody; until what was sent has come, or both sides know each other
REFUSED, PAUSED_MS = "refused", "paused_ms"  # in the load's answer, beside topics
SERVICES = topics.START_EPISODE, topics.END_EPISODE


def run(report: Report, *, quick: bool, n: int = KILLS, seed: int = 0, minutes: float = MINUTES) -> None:
    """Measures; `n` is how often it is killed, `seed` of when, `minutes` how long it is under full load.

    Raises:
        ConfigurationError: a node does not start.
    """
    prepare_environment()
    use_domain()
    import rclpy

    rclpy.init()
    try:
        node = rclpy.create_node("recorder_bench")
        with tempfile.TemporaryDirectory() as folder:
            if minutes:
                _full_load(report, node, Path(folder) / "load", QUICK_SECONDS if quick else 60.0 * minutes)
            if n:
                _kills(report, node, Path(folder) / "kills", QUICK_KILLS if quick else n, random.Random(seed))
        node.destroy_node()
    finally:
        rclpy.try_shutdown()


def _full_load(report: Report, node: Any, folder: Path, seconds: float) -> None:
    with _client(node, topics.START_EPISODE) as begin, _client(node, topics.END_EPISODE) as end, _recorder(folder) as recorder, _load() as load:
        _wait_for(begin, end)
        _sent(load, WARM_UP_S)
        name = _ask(node, begin, task="bench")
        before, begun = _cpu_s(recorder.pid), time.monotonic()
        sent = _sent(load, seconds)
        cores = (_cpu_s(recorder.pid) - before) / (time.monotonic() - begun)
        segments = sorted((folder / f"{RUNNING}{name}").glob("*.mcap"))
        if importlib.util.find_spec("rosbags"):
            _writers(report, segments[-2:] if len(segments) > 1 else segments, folder.parent)
        _ask(node, end, keep=True)
        bag = _packed(folder, name)
    found = Counter(channel.topic.lstrip("/") for _, channel, _ in read_bag(bag))
    what = f"{len(CAMERAS)} cameras {WIDTH}x{HEIGHT} at {CAMERA_HZ:g} Hz, all state at 250 Hz, {seconds:g} s"
    report.add_value(f"{what}: recorder", cores, "cores")
    refused, paused_ms = sent.pop(REFUSED, 0), sent.pop(PAUSED_MS, 0)
    report.add_value("messages sent", sent.total(), "messages")
    report.add_value("messages that DDS did not take within 100 ms", refused, "messages", n=refused + sent.total())
    report.add_value("longest pause of who sends them", paused_ms, "ms")
    missing = sent - found
    report.add_value("messages missing in the bag", missing.total(), "messages", n=sent.total())
    if missing:
        report.notes.append(f"missing: {', '.join(f'{count} of /{name}' for name, count in sorted(missing.items()))}")
    report.add_value("bag", bag_file(bag).stat().st_size / 1e6, "MB")


def _writers(report: Report, segments: list[Path], folder: Path) -> None:
    """Messages a second of CPU, ours and the peer's, on the same ones."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    topics_ = read_topics(segments[0])
    index = {topic.name: number for number, topic in enumerate(topics_)}
    messages = [message for segment in segments for message in read_messages(segment)]
    begun = time.process_time()
    writer = SegmentWriter(folder / "ours.mcap", topics_)
    for message in messages:
        writer.add(index[message.topic], message.data, log_ns=message.log_ns, publish_ns=message.publish_ns)
    writer.close()
    report.add_value("writing alone, a segment: ours", len(messages) / (time.process_time() - begun), "messages/CPU-s", n=len(messages))
    begun = time.process_time()
    with Writer(folder / "peer", version=9, storage_plugin=StoragePlugin.MCAP) as peer:
        connections = [peer.add_connection(topic.name, topic.type_name, msgdef=topic.definition, rihs01=topic.type_hash) for topic in topics_]
        for message in messages:
            peer.write(connections[index[message.topic]], message.log_ns, message.data)
    report.add_value("writing alone, a bag: rosbags", len(messages) / (time.process_time() - begun), "messages/CPU-s", n=len(messages), peer=True)


def _kills(report: Report, node: Any, folder: Path, count: int, rng: random.Random) -> None:
    lost_s, opened, harmed, hashes = [], 0, 0, {}
    with _load() as load:
        _say(load, 1e9)
        for number in progress(range(count), "kill -9"):
            with _client(node, topics.START_EPISODE, number) as begin, _recorder(folder, number) as recorder:
                _wait_for(begin)
                _ask(node, begin, task="bench")
                time.sleep(rng.uniform(*KILL_AFTER_S))
                os.kill(recorder.pid, signal.SIGKILL)
                killed_ns = time.time_ns()
                recorder.wait()
            names, left = recover(folder)
            harmed += sum(hashlib.sha256(bag_file(folder / name).read_bytes()).hexdigest() != digest for name, digest in hashes.items())
            for name in names:
                last_ns = max(message.log_time for _, _, message in read_bag(folder / name))
                lost_s.append((killed_ns - last_ns) / 1e9)
                hashes[name] = hashlib.sha256(bag_file(folder / name).read_bytes()).hexdigest()
            opened += len(names) == 1
            if len(names) != 1:
                report.notes.append(f"kill {number}: recovered {', '.join(names) or 'nothing'}; not packed {', '.join(path.name for path in left) or 'nothing'}")
        load.kill()
    report.add_value("kill -9 in an episode: the file opens", opened / count, "rate", n=count)
    report.add_value("earlier episodes harmed", harmed, "episodes", n=count)
    report.add_value("lost at the most", max(lost_s, default=float("nan")), "s", n=count)
    report.add_value("lost usually", float(np.median(lost_s)) if lost_s else float("nan"), "s", n=count)


@contextmanager
def _recorder(folder: Path, number: int = 0) -> Iterator[subprocess.Popen]:
    # Services of a recorder that was killed are still announced for a while: each has names of its own.
    renamed = [part for name in SERVICES for part in ("-r", f"{name}:={name}_{number}")]
    command = [sys.executable, "-m", "humanoid_control.nodes.recorder_node", "--ros-args", "-p", f"folder:={folder}", "-p", "reserve_gb:=0.0", *renamed]
    process = subprocess.Popen(command, env=environment_for_children(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(TIMEOUT_S)


@contextmanager
def _load() -> Iterator[subprocess.Popen]:
    process = subprocess.Popen([sys.executable, "-m", "humanoid_control.ros.recorder_bench"], env=environment_for_children(), text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _say(load: subprocess.Popen, seconds: float) -> None:
    load.stdin.write(f"{seconds}\n")
    load.stdin.flush()


def _sent(load: subprocess.Popen, seconds: float) -> Counter:
    """Has the load publish for a while; returns how many messages of each topic it sent, once the last has come."""
    _say(load, seconds)
    sent = Counter(json.loads(load.stdout.readline()))
    time.sleep(SETTLE_S)
    return sent


@contextmanager
def _client(node: Any, service: str, number: int = 0) -> Iterator[Any]:
    from humanoid_interfaces.srv import EndEpisode, StartEpisode

    client = node.create_client({topics.START_EPISODE: StartEpisode, topics.END_EPISODE: EndEpisode}[service], f"{service}_{number}")
    try:
        yield client
    finally:
        node.destroy_client(client)


def _wait_for(*clients: Any) -> None:
    """Until a recorder that starts can be asked."""
    if not all(client.wait_for_service(TIMEOUT_S) for client in clients):
        raise ConfigurationError("recorder_node does not start; see what `humanoid doctor` says")
    # A client knows its service before the service knows the client; what is answered to one that was not known for 100 ms is thrown away
    # (rmw_fastrtps: "client will not receive response").
    time.sleep(SETTLE_S)


def _ask(node: Any, client: Any, **fields: Any) -> str:
    """Asks a recorder; returns the episode's name."""
    import rclpy

    future = client.call_async(client.srv_type.Request(**fields))
    rclpy.spin_until_future_complete(node, future, timeout_sec=TIMEOUT_S)
    if not future.done() or not future.result().success:
        raise ConfigurationError(f"recorder_node refuses: {future.result().message if future.done() else 'no answer'}")
    return future.result().name


def _packed(folder: Path, name: str) -> Path:
    until = time.monotonic() + 10 * TIMEOUT_S
    while not (folder / name).is_dir():
        if time.monotonic() > until:
            raise ConfigurationError(f"{name} was not packed within {10 * TIMEOUT_S:g} s")
        time.sleep(0.2)
    return folder / name


def _cpu_s(pid: int) -> float:
    """s of CPU time of a process so far, its threads' too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- the load, in a process of its own -----------------------------------------------------------------------------------


def _publish() -> None:
    """Publishes for as many s as each line of the input says, and answers how many messages of each topic were sent."""
    import rclpy
    from rclpy.serialization import serialize_message

    from humanoid_control.ros.qos import create_publisher

    prepare_environment()
    rclpy.init()
    node = rclpy.create_node("load")
    rng = np.random.default_rng(0)
    rows = []
    for topic in STATES:
        rows.append((topic.name, create_publisher(node, topic), topic.rate_hz, [serialize_message(topic.message_class()())]))
    for camera in CAMERAS:
        topic = topics.camera_topics(camera)["image_raw/compressed"]
        rows.append((topic.name, create_publisher(node, topic), CAMERA_HZ, [_picture(topic, rng) for _ in range(5)]))
    for line in sys.stdin:
        seconds, sent = float(line), Counter()
        begun = time.monotonic()
        due, looked = [begun] * len(rows), begun
        while (now := time.monotonic()) < begun + seconds:
            sent[PAUSED_MS], looked = max(sent[PAUSED_MS], round(1e3 * (now - looked))), now
            for number, (name, publisher, rate_hz, messages) in enumerate(rows):
                if now >= due[number]:
                    # As timers do: what a pause left out is not made up for, or a machine that slept would have hundreds sent at once.
                    due[number] = max(due[number] + 1.0 / rate_hz, now)
                    is_taken = publisher.publish(messages[sent[name] % len(messages)])
                    sent[name if is_taken else REFUSED] += 1
            time.sleep(max(min(due) - time.monotonic(), 0.0))
        print(json.dumps(sent), flush=True)
    rclpy.try_shutdown()


def _picture(topic: topics.Topic, rng: np.random.Generator) -> bytes:
    """A serialised image that compresses like a photograph."""
    import array

    import cv2
    from rclpy.serialization import serialize_message

    coarse = rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
    pixels = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(int) + rng.normal(0, 4, (HEIGHT, WIDTH, 3)).astype(int)
    _, data = cv2.imencode(".jpg", pixels.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return serialize_message(topic.message_class()(format="rgb8; jpeg compressed bgr8", data=array.array("B", data.tobytes())))


if __name__ == "__main__":
    argparse.ArgumentParser(description="the load of `humanoid bench recorder`").parse_args()
    _publish()
