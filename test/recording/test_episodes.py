"""`humanoid episodes`: lists, shows, finds what is wrong, and takes a person's word."""

import json
import struct

import numpy as np
import pytest

from humanoid_control.cli import main
from humanoid_control.recording.card import CARD, FAILURE, SUBTASK, SUCCESS, VERDICT, Card
from humanoid_control.recording.quality import check_episode
from humanoid_control.recording.recorder import Recorder
from humanoid_control.recording.segments import RecordedTopic

HEADER = "std_msgs/Header header\n"
HEADER_TYPES = ("=" * 80 + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
                + "=" * 80 + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n")  # fmt: skip
TOPICS = [
    RecordedTopic("/robot_state", "humanoid_interfaces/msg/RobotState", f"{HEADER}float64[29] joint_positions\nfloat64[29] joint_velocities\n{HEADER_TYPES}"),
    RecordedTopic("/joint_command", "humanoid_interfaces/msg/JointCommand", f"{HEADER}float64[29] positions\n{HEADER_TYPES}"),
    RecordedTopic("/head_camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage", f"{HEADER}string format\nuint8[] data\n{HEADER_TYPES}"),
    RecordedTopic("/joy", "sensor_msgs/msg/Joy", f"{HEADER}float32[] axes\nint32[] buttons\n{HEADER_TYPES}"),
    RecordedTopic("/whole_body_target", "humanoid_interfaces/msg/WholeBodyTarget", f"{HEADER}float64 torso_pitch\n{HEADER_TYPES}"),
]
STATE, COMMAND, IMAGE, JOY, TARGET = range(5)


def header(time_s):
    # CDR, little endian: sec, nanosec, an empty frame (length 1, NUL), aligned to eight bytes behind the encapsulation.
    return b"\x00\x01\x00\x00" + struct.pack("<iII", int(time_s), int(time_s % 1 * 1e9), 1) + b"\x00" + b"\x00" * 3


def joints(time_s, *rows):
    return header(time_s) + b"".join(np.asarray(row, "<f8").tobytes() for row in rows)


class Taker:
    """Records an episode of which a test says what is wrong with it."""

    def __init__(self, folder, clock, wait_for):
        self.clock, self._wait_for = clock, wait_for
        self.recorder = Recorder(folder, TOPICS, reserve_bytes=0, wall_ns=self.clock, monotonic_ns=self.clock)

    def take(self, *, seconds=4.0, without=(), frozen=(9.0, 9.0), jump_at=None, moving=True, outcome=SUCCESS, verdict="done", late_s=0.0, waits=(), clock_back_s=0.0, drives=(), targets=()):
        recorder, clock = self.recorder, self.clock
        name = recorder.begin(operator="Ada", task="bring t1 to outfeed")
        recorder.event(SUBTASK, "reach")
        begun, count = clock.ns, round(seconds * 50)
        for tick in range(count):
            time_s = tick / 50
            angle = 0.05 + (0.1 * np.sin(3 * time_s) if moving else 0.0)
            if not any(begin <= time_s < end for begin, end in without):
                recorder.add(STATE, joints(time_s if time_s < 2.0 else time_s - clock_back_s, [angle] * 29, [0.3 if moving else 0.0] * 29), publish_ns=clock.ns - round(1e9 * late_s))
            recorder.add(COMMAND, joints(time_s, [angle + (0.5 if jump_at is not None and time_s >= jump_at else 0.0)] * 29))
            if any(begin <= time_s < end for begin, end in drives):
                recorder.add(JOY, header(time_s) + struct.pack("<II", 0, 0))
            if any(begin <= time_s < end for begin, end in targets):
                recorder.add(TARGET, header(time_s) + struct.pack("<d", 0.0))
            if tick % 5 == 0:
                shown = frozen[0] if frozen[0] <= time_s < frozen[1] else time_s
                recorder.add(IMAGE, header(time_s) + b"x" * 60 + struct.pack("<d", shown))
            recorder.tick()
            waited_s = sum(seconds for at_s, seconds in waits if time_s >= at_s)
            clock.ns = begun + round(1e9 * ((tick + 1) / 50 + waited_s))
        recorder.event(VERDICT, verdict)
        recorder.end(outcome=outcome)
        return self._wait_for(recorder.folder, name)


@pytest.fixture
def taker(tmp_path, clock, wait_for):
    made = Taker(tmp_path / "episodes", clock, wait_for)
    yield made
    made.recorder.close()


def test_a_good_episode_has_no_findings_and_is_shown(taker, capsys, tmp_path):
    episode = taker.take()
    assert check_episode(episode) == []
    assert main(["episodes", "list", str(episode.parent), "--json", str(tmp_path / "list.json")]) == 0
    (row,) = json.loads((tmp_path / "list.json").read_text())["episodes"]
    assert (row["name"], row["outcome"], row["operator"], row["messages"]) == (episode.name, SUCCESS, "Ada", 440)
    assert main(["episodes", "show", str(episode)]) == 0
    shown = capsys.readouterr().out
    assert "bring t1 to outfeed, success, 4.0 s" in shown and "subtask: reach 0.0 to 4.0" in shown and "/robot_state" in shown
    assert main(["episodes", "check", str(episode.parent)]) == 0
    assert "1 of 1 episodes can be trusted" in capsys.readouterr().out


@pytest.mark.parametrize(("wrong", "kind", "text"), [
    ({"without": [(1.0, 1.5)]}, "dropped", "/robot_state has 1 gaps, the longest of 0.5"),
    ({"without": [(3.0, 9.0)]}, "dropped", "/robot_state has 1 gaps, the longest of 1.0"),
    ({"frozen": (1.0, 3.0)}, "frozen camera", "/head_camera/image_raw/compressed showed the very same image for 1.9 s"),
    ({"jump_at": 2.0}, "jerk", "is told to jump by 0.5"),
    ({"late_s": 0.7}, "late", "/robot_state came up to 0.7 s after it was sent"),
    ({"verdict": "dropped: t1 fell"}, "wrong outcome", "its card says success, the judge said: dropped: t1 fell"),
    ({"clock_back_s": 1.0}, "time jump", "the robot's clock goes back by 0.98"),
    ({"seconds": 0.5}, "short", "it lasts 0.50 s"),
    ({"without": [(0.0, 99.0)]}, "missing", "there is no robot_state in it"),
])  # fmt: skip
def test_what_is_wrong_is_found_and_named(taker, wrong, kind, text):
    findings = check_episode(taker.take(**wrong))
    assert [finding.kind for finding in findings] == [kind] and text in findings[0].text and findings[0].is_error


def test_a_simulation_that_waited_for_a_processor_has_dropped_nothing(taker):
    assert check_episode(taker.take(waits=[(1.0, 0.7), (2.0, 1.3)])) == []
    (finding,) = check_episode(taker.take(waits=[(1.0, 0.7)], without=[(1.5, 2.0)]))
    assert finding.kind == "dropped" and "/robot_state has 1 gaps, the longest of 0.5" in finding.text


def test_an_operator_who_falters_is_odd_but_no_error(taker):
    assert check_episode(taker.take(drives=[(1.0, 3.0)])) == []
    (finding,) = check_episode(taker.take(drives=[(1.0, 2.0), (2.24, 3.0)]))
    assert finding.kind == "paused" and "/joy has 1 gaps, the longest of 0.26 s" in finding.text and not finding.is_error


def test_a_target_may_be_late_for_as_long_as_control_goes_by_the_one_before(taker):
    assert check_episode(taker.take(targets=[(1.0, 2.0), (2.14, 3.0)])) == []
    (finding,) = check_episode(taker.take(targets=[(1.0, 2.0), (2.24, 3.0)]))
    assert finding.kind == "dropped" and "/whole_body_target has 1 gaps, the longest of 0.26 s" in finding.text and finding.is_error


def test_standing_about_is_odd_but_no_error(taker, capsys):
    episode = taker.take(seconds=12.0, moving=False)
    (finding,) = check_episode(episode)
    assert finding.kind == "idle" and not finding.is_error
    assert main(["episodes", "check", str(episode)]) == 0 and "odd: idle" in capsys.readouterr().out


def test_duplicates_and_broken_ones_are_found(taker, capsys):
    first = taker.take()
    second = taker.take()
    taker.take(jump_at=None, seconds=3.0)
    broken = taker.take(seconds=2.0)
    bag = next(broken.glob("*.mcap"))
    bag.write_bytes(bag.read_bytes()[:2000])
    assert main(["episodes", "check", str(first.parent)]) == 1
    said = capsys.readouterr().out
    assert f"{second.name}: duplicate: the same as {first.name}" in said or f"{first.name}: duplicate: the same as {second.name}" in said
    assert f"{broken.name}: broken" in said and "2 of 4 episodes can be trusted" in said


def test_a_persons_word_goes_on_the_card(taker, capsys):
    episode = taker.take()
    assert main(["episodes", "label", str(episode), "--outcome", "failure", "--note", "it tilted"]) == 0
    card = Card.read(episode / CARD)
    assert (card.outcome, card.note, card.operator) == (FAILURE, "it tilted", "Ada")
    assert main(["episodes", "label", str(episode)]) == 1
    assert "give --outcome, --note or both, or --page" in capsys.readouterr().err


def test_a_folder_without_episodes_says_how_to_get_some(tmp_path, capsys):
    assert main(["episodes", "list", str(tmp_path)]) == 1
    assert f"holds no episode: no folder with {CARD} in it; record some with `humanoid launch factory record:=" in capsys.readouterr().err
    assert main(["episodes", "show", str(tmp_path / "nothing")]) == 1
    assert "is no episode" in capsys.readouterr().err
