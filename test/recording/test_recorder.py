"""The recorder: what is kept is whole, whoever is killed, and the disk may be full."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from humanoid_control.recording.bag import METADATA, bag_file, read_bag
from humanoid_control.recording.card import CARD, INTERRUPTED, SUBTASK, SUCCESS, Card
from humanoid_control.recording.errors import RecordingError
from humanoid_control.recording.recorder import BLACK_BOX, Recorder, recover
from humanoid_control.recording.segments import RecordedTopic, SegmentWriter, read_messages, read_topics

LATCHED_QOS = "- history: keep_last\n  depth: 1\n  reliability: reliable\n  durability: transient_local\n"
TOPICS = [
    RecordedTopic("/robot/number", "std_msgs/msg/UInt64", "uint64 data\n", "RIHS01_" + "0" * 64),
    RecordedTopic("/robot/words", "std_msgs/msg/String", "string data\n", qos=LATCHED_QOS),
]
NUMBER, WORDS = 0, 1


def number(value):
    return b"\x00\x01\x00\x00" + value.to_bytes(8, "little")


@pytest.fixture
def recorder(tmp_path, clock):
    made = Recorder(tmp_path / "episodes", TOPICS, box_s=20.0, reserve_bytes=0, wall_ns=clock, monotonic_ns=clock)
    yield made
    made.close()


def feed(recorder, clock, seconds, *, first=0, rate_hz=10):
    for value in range(first, first + round(seconds * rate_hz)):
        recorder.add(NUMBER, number(value))
        recorder.tick()
        clock.sleep(1.0 / rate_hz)


def values(folder, topic="/robot/number"):
    return [int.from_bytes(message.data[4:12], "little") for _, channel, message in read_bag(folder) if channel.topic == topic]


def test_an_episode_has_all_that_came_between_its_begin_and_its_end(recorder, clock, wait_for):
    recorder.add(WORDS, b"the description")
    feed(recorder, clock, 3)
    name = recorder.begin(operator="Ada", task="bring t1")
    feed(recorder, clock, 12, first=100)
    recorder.event(SUBTASK, "reach")
    feed(recorder, clock, 2, first=220)
    assert recorder.end(outcome=SUCCESS, note="neat") == name
    feed(recorder, clock, 1, first=900)
    folder = wait_for(recorder.folder, name)
    assert values(folder) == list(range(100, 240))
    card = Card.read(folder / CARD)
    assert (card.operator, card.task, card.outcome, card.note) == ("Ada", "bring t1", SUCCESS, "neat")
    assert card.duration_s == pytest.approx(14.0) and card.messages["/robot/number"] == 140
    assert card.spans(SUBTASK) == [(pytest.approx(12.0), pytest.approx(14.0), "reach")]
    first = next(read_bag(folder))
    assert (first[0].name, first[1].topic, first[2].data) == ("std_msgs/msg/String", "/robot/words", b"the description")
    assert sum(1 for _, channel, _ in read_bag(folder) if channel.topic == "/robot/words") == 1
    about = yaml.safe_load((folder / METADATA).read_text())["rosbag2_bagfile_information"]
    assert about["message_count"] == 141 and about["storage_identifier"] == "mcap"
    assert about["topics_with_message_count"][0]["topic_metadata"]["type_description_hash"] == TOPICS[0].type_hash
    assert about["relative_file_paths"] == [bag_file(folder).name]


def test_the_black_box_reaches_back_as_far_as_it_should_and_no_farther(recorder, clock):
    feed(recorder, clock, 60)
    segments = sorted((recorder.folder / BLACK_BOX).glob("*.mcap"))
    recorder.tick()
    kept = [message for segment in segments for message in read_messages(segment)]
    back_s = (clock.ns - kept[0].log_ns) / 1e9
    assert 20.0 <= back_s <= 32.0


def test_an_episode_that_is_discarded_leaves_nothing(recorder, clock):
    recorder.begin()
    feed(recorder, clock, 2)
    recorder.end(keep=False)
    assert not [path for path in recorder.folder.iterdir() if path.is_dir() and path.name != BLACK_BOX]


def test_what_cannot_be_is_refused_with_the_way_out(recorder, clock, tmp_path):
    with pytest.raises(RecordingError, match="no episode is being recorded"):
        recorder.end()
    name = recorder.begin()
    with pytest.raises(RecordingError, match=f"{name} is being recorded; keep or discard it first"):
        recorder.begin()
    with pytest.raises(RecordingError, match="no outcome 'fine'; allowed: success"):
        recorder.end(outcome="fine")
    with pytest.raises(RecordingError, match="another recorder works in"):
        Recorder(recorder.folder, TOPICS)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RecordingError, match="cannot be recorded in"):
        Recorder(blocked / "episodes", TOPICS)


def test_a_disk_with_too_little_room_takes_no_episode(tmp_path):
    recorder = Recorder(tmp_path, TOPICS, reserve_bytes=1 << 60)
    with pytest.raises(RecordingError, match="GB left; .* stay free: remove episodes"):
        recorder.begin()
    recorder.close()


def test_a_disk_that_fills_up_ends_the_episode_and_keeps_what_it_has(recorder, clock, wait_for, monkeypatch):
    name = recorder.begin()
    feed(recorder, clock, 12)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(SegmentWriter, "add", full)
        recorder.add(NUMBER, number(120))
    assert recorder.card is None and "No space left" in recorder.problem and name in recorder.problem and recorder.missed == 1
    folder = wait_for(recorder.folder, name)
    assert values(folder) == list(range(120))
    card = Card.read(folder / CARD)
    assert card.outcome == INTERRUPTED and "No space left" in card.events[-1].text
    feed(recorder, clock, 1)  # and goes on when there is room again
    recorder.begin()


def test_a_clock_that_is_set_leaves_no_gap_and_is_noted(tmp_path, clock, wall, wait_for):
    recorder = Recorder(tmp_path, TOPICS, reserve_bytes=0, wall_ns=wall, monotonic_ns=clock)
    name = recorder.begin()
    for value in range(100):
        wall.ns = clock.ns + (3600 * 10**9 if value >= 50 else 0)
        feed(recorder, clock, 0.1, first=value)
    recorder.end()
    folder = wait_for(tmp_path, name)
    stamps = [message.log_time for _, _, message in read_bag(folder)]
    assert max(b - a for a, b in zip(stamps, stamps[1:])) < 2e8
    assert [event.text for event in Card.read(folder / CARD).events] == ["the system's clock was set by +3600.0 s; the episode's goes on as it was"]
    recorder.close()


WRITER = """
import sys, time
from pathlib import Path
from humanoid_control.recording.recorder import Recorder
from test_recorder import TOPICS, number
recorder = Recorder(Path(sys.argv[1]), TOPICS, reserve_bytes=0)
if sys.argv[2] == "episode":
    recorder.begin(operator="Ada")
for value in range(10**9):
    recorder.add(0, number(value))
    recorder.tick()
    print(value, flush=True)
    time.sleep(0.002)
"""


def killed_while_recording(folder, what, after_s):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), what], stdout=subprocess.PIPE, text=True,
                               cwd=Path(__file__).parent, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    process.stdout.readline()
    time.sleep(after_s)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    return int(rest[-1]) if rest else 0


@pytest.mark.parametrize("after_s", (0.02, 0.4, 1.1))
def test_a_recorder_that_is_killed_loses_less_than_a_second_and_harms_no_earlier_episode(tmp_path, clock, after_s):
    earlier = Recorder(tmp_path, TOPICS, reserve_bytes=0)
    name = earlier.begin()
    earlier.add(NUMBER, number(7))
    earlier.end(outcome=SUCCESS)
    earlier.close()
    before = bag_file(tmp_path / name).read_bytes()
    last = killed_while_recording(tmp_path, "episode", after_s)
    recovered, _ = recover(tmp_path)
    if last > 0.3 / 0.002:  # flushed at least once
        folder = tmp_path / recovered[0]
        found = values(folder)
        assert found == list(range(len(found))) and last - found[-1] < 1.0 / 0.002
        card = Card.read(folder / CARD)
        assert card.outcome == INTERRUPTED and card.operator == "Ada" and card.note == "the recorder was killed"
    assert bag_file(tmp_path / name).read_bytes() == before
    assert recover(tmp_path) == ([], [])


def test_the_black_box_of_a_recorder_that_died_is_an_episode(tmp_path):
    last = killed_while_recording(tmp_path, "nothing", 1.0)
    ((name,), _) = recover(tmp_path)
    assert name.endswith("black_box") and values(tmp_path / name)[-1] > last - 500
    assert Card.read(tmp_path / name / CARD).note == "the last minute before the recorder died"


def test_a_segment_that_is_cut_off_anywhere_is_read_up_to_there(tmp_path):
    path = tmp_path / "1.mcap"
    writer = SegmentWriter(path, TOPICS)
    for value in range(20):
        writer.add(NUMBER, number(value), log_ns=value, publish_ns=value)
    writer.close()
    whole, cut = path.read_bytes(), tmp_path / "2.mcap"
    assert read_topics(path) == TOPICS
    before = -1
    for length in range(0, len(whole), 7):
        cut.write_bytes(whole[:length])
        found = [message.log_ns for message in read_messages(cut)]
        assert found == list(range(len(found))) and len(found) >= before
        before = len(found)
    assert before == 20


def test_after_a_clock_is_set_back_segments_and_flushes_go_on(tmp_path, clock, wall):
    recorder = Recorder(tmp_path, TOPICS, box_s=20.0, reserve_bytes=0, wall_ns=wall, monotonic_ns=clock)
    for value in range(300):
        wall.ns = clock.ns - (3600 * 10**9 if value >= 10 else 0)
        feed(recorder, clock, 0.1, first=value)
    segments = sorted((tmp_path / BLACK_BOX).glob("*.mcap"))
    assert 4 <= len(segments) <= 7 and (clock.ns - int(segments[-1].stem)) / 1e9 < 6.0
    recorder.close()


def test_messages_stay_in_order_when_the_process_has_to_wait_between_its_looks_at_clocks(tmp_path, clock, wall, wait_for):
    recorder = Recorder(tmp_path, TOPICS, reserve_bytes=0, wall_ns=wall, monotonic_ns=clock)
    name = recorder.begin()
    for value in range(20):
        wall.ns = clock.ns + (200_000_000 if value % 5 == 4 else 0)  # looked at 0.2 s after the other
        recorder.add(NUMBER, number(value), received_ns=clock.ns)
        clock.sleep(0.01)
    recorder.end()
    assert values(wait_for(tmp_path, name)) == list(range(20))
    recorder.close()


def test_leftovers_without_a_card_or_with_nothing_in_them_stop_nobody(tmp_path, clock):
    for name, whole in (("one", True), ("two", False)):
        folder = tmp_path / f".running-{name}"
        folder.mkdir()
        (folder / CARD).write_text("")
        if whole:
            writer = SegmentWriter(folder / "1800000000000000000.mcap", TOPICS)
            writer.add(NUMBER, number(5), log_ns=1_800_000_000_000_000_001, publish_ns=1)
            writer.close()
    recorder = Recorder(tmp_path, TOPICS, reserve_bytes=0, wall_ns=clock, monotonic_ns=clock)
    assert recorder.recovered == ["one"] and values(tmp_path / "one") == [5]
    assert not list(tmp_path.glob(".running-*"))
    recorder.close()


def test_two_who_pack_the_same_episode_make_it_once_and_whole(tmp_path):
    folder = tmp_path / ".running-long"
    folder.mkdir()
    writer = SegmentWriter(folder / "1800000000000000000.mcap", TOPICS)
    for value in range(30_000):
        writer.add(NUMBER, number(value), log_ns=1_800_000_000_000_000_000 + value, publish_ns=1)
    writer.close()
    Card("long", begun_ns=1_800_000_000_000_000_000).write(folder / CARD)
    packers = [subprocess.Popen([sys.executable, "-m", "humanoid_control.recording.pack_episode", str(folder)]) for _ in range(3)]
    assert [packer.wait() for packer in packers] == [0, 0, 0]
    assert values(tmp_path / "long") == list(range(30_000))
    assert not list(tmp_path.glob(".*"))


def test_what_could_not_be_packed_is_packed_when_there_is_room(recorder, clock, monkeypatch, wait_for):
    name = recorder.begin()
    feed(recorder, clock, 1)
    with monkeypatch.context() as context:
        context.setattr(sys, "executable", "/bin/false")
        recorder.end()
        for packer in recorder._packers.values():
            packer.wait()
        feed(recorder, clock, 1)
    assert f"{name} could not be packed" in recorder.problem
    feed(recorder, clock, 31)
    wait_for(recorder.folder, name)
    for packer in recorder._packers.values():
        packer.wait()
    feed(recorder, clock, 1)
    assert recorder.problem == ""
