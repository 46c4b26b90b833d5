"""Whether an episode can be trusted: what is missing, late or frozen, stands still, jumps, or ended otherwise than its card says."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mcap.exceptions import McapError
from mcap_ros2.decoder import DecoderFactory

from humanoid_control.recording.bag import read_bag
from humanoid_control.recording.card import CARD, DONE, FAILURE, INTERRUPTED, SUCCESS, VERDICT, Card
from humanoid_control.recording.errors import RecordingError
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import topics

STREAM_HZ = 5.0  # from which messages are a stream
GAP_PERIODS, SHORTEST_GAP_S = 4.0, 0.1  # of a stream's usual period, and at least so long, by the robot's clock: messages are missing
LATE_S = 0.5  # from sent to received, by the robot's clock
FROZEN_S = 0.5  # of the very same image
IDLE_S, STILL_RAD_S = 10.0, 0.02  # without a joint that moves
JUMP_RAD = 0.2  # of what a joint is told, from one command to the next
SATURATED_SHARE, NEAR_LIMIT_RAD = 0.05, 1e-3  # of the time, of a joint at its limit
SHORTEST_S = 1.0
BEHIND_STAMP = 12  # bytes of CDR: encapsulation, s and ns
STATE, COMMAND, IMAGE = "/robot_state", "/joint_command", "/compressed"  # how topics' names end
INPUTS = ("/joy", "/left_hand", "/right_hand")  # of an operator, whose hand, browser or network may falter: the robot, too, heard nothing then, and held
TARGET, TARGET_GAP_S = "/whole_body_target", topics.WHOLE_BODY_TARGET.timeout_s  # for so long control goes by the last one
DRIVING = (TARGET, *INPUTS)  # what comes from when somebody drives until he no longer does


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with an episode, or odd.

    Attributes:
        kind: in a word.
        text: what, where and when.
        is_error: whether it should not be learnt from.
    """

    kind: str
    text: str
    is_error: bool = True


@dataclass
class _Stream:
    log_s: list[float] = field(default_factory=list)
    sent_s: list[float] = field(default_factory=list)


def check_episode(folder: Path) -> list[Finding]:
    """What is wrong with an episode; nothing, if all is well.

    Args:
        folder: of the episode.
    """
    try:
        card = Card.read(folder / CARD)
        return _check(folder, card)
    except (RecordingError, McapError, OSError) as error:
        return [Finding("broken", str(error) or type(error).__name__)]


def _check(folder: Path, card: Card) -> list[Finding]:
    streams: dict[str, _Stream] = defaultdict(_Stream)
    joints: dict[str, list[tuple[float, np.ndarray]]] = {STATE: [], COMMAND: []}
    velocities: list[np.ndarray] = []
    stamps: list[float] = []
    images: dict[str, tuple[bytes, float]] = {}
    frozen: dict[str, float] = defaultdict(float)
    decoders, factory = {}, DecoderFactory()
    for schema, channel, message in read_bag(folder):
        topic, time_s = channel.topic, (message.log_time - card.begun_ns) / 1e9
        stream = streams[topic]
        stream.log_s.append(time_s)
        stream.sent_s.append((message.publish_time - card.begun_ns) / 1e9)
        if topic.endswith(IMAGE):
            digest = hashlib.blake2b(message.data[BEHIND_STAMP:], digest_size=8).digest()
            before, since_s = images.get(topic, (b"", time_s))
            images[topic] = digest, since_s if digest == before else time_s
            frozen[topic] = max(frozen[topic], time_s - images[topic][1])
        kind = next((ending for ending in joints if topic.endswith(ending)), None)
        if kind is not None:
            if topic not in decoders:
                decoders[topic] = factory.decoder_for("cdr", schema)
            said = decoders[topic](message.data)
            joints[kind].append((time_s, np.array(said.joint_positions if kind == STATE else said.positions)))
            if kind == STATE:
                velocities.append(np.abs(said.joint_velocities).max())
                stamps.append(said.header.stamp.sec + 1e-9 * said.header.stamp.nanosec)
    clock = _RobotClock(np.array([time_s for time_s, _ in joints[STATE]]), np.array(stamps))
    findings = [*_of_card(card), *_of_streams(streams, card, clock)]
    if clock.goes_back_s:
        findings.append(Finding("time jump", f"the robot's clock goes back by {clock.goes_back_s:.3f} s"))
    findings += [Finding("frozen camera", f"{topic} showed the very same image for {seconds:.1f} s") for topic, seconds in frozen.items() if seconds > FROZEN_S]
    return findings + _of_joints(joints, np.array(velocities), card)


def _of_card(card: Card) -> list[Finding]:
    findings = []
    if card.outcome == INTERRUPTED:
        findings.append(Finding("interrupted", card.note or "it was cut off"))
    if card.duration_s < SHORTEST_S:
        findings.append(Finding("short", f"it lasts {card.duration_s:.2f} s"))
    verdicts = [event.text for event in card.events if event.kind == VERDICT]
    if verdicts and card.outcome in (SUCCESS, FAILURE) and (verdicts[-1] == DONE) != (card.outcome == SUCCESS):
        findings.append(Finding("wrong outcome", f"its card says {card.outcome}, the judge said: {verdicts[-1]}"))
    return findings


class _RobotClock:
    """What the robot's clock shows at a time of the recorder's: a simulation that waits for a processor misses nothing meanwhile.

    Args:
        log_s: (N,) when the robot's states were received.
        stamps_s: (N,) when they were measured, on the robot's clock.

    Attributes:
        goes_back_s: how far it once goes back; then, and without states, the recorder's counts.
    """

    def __init__(self, log_s: np.ndarray, stamps_s: np.ndarray) -> None:
        self.goes_back_s = max(-float(np.diff(stamps_s).min(initial=0.0)), 0.0)
        self._log_s, self._stamps_s = log_s, stamps_s
        self._is_known = len(log_s) > 1 and log_s[-1] > log_s[0] and not self.goes_back_s

    def at(self, log_s: np.ndarray) -> np.ndarray:
        """(N,) s on the robot's clock; before its first state and after its last as it went between them."""
        if not self._is_known:
            return log_s
        first, last = self._log_s[[0, -1]]
        rate = (self._stamps_s[-1] - self._stamps_s[0]) / (last - first)
        return np.interp(log_s, self._log_s, self._stamps_s) + rate * (np.minimum(log_s - first, 0.0) + np.maximum(log_s - last, 0.0))


def _of_streams(streams: dict[str, _Stream], card: Card, clock: _RobotClock) -> list[Finding]:
    findings = [Finding("missing", f"there is no {topic[1:]} in it") for topic in (STATE, COMMAND) if not any(name.endswith(topic) for name in streams)]
    for topic, stream in sorted(streams.items()):
        log_s = np.array(stream.log_s)
        times = log_s if topic.endswith(DRIVING) else np.array([0.0, *log_s, card.duration_s])
        back_s = -np.diff(times).min(initial=0.0)
        periods, late_s = np.diff(clock.at(times)), float((clock.at(log_s) - clock.at(np.array(stream.sent_s))).max())
        if late_s > LATE_S:
            findings.append(Finding("late", f"{topic} came up to {late_s:.1f} s after it was sent"))
        if back_s > 0.0:
            findings.append(Finding("time jump", f"{topic} goes back in time by {back_s:.3f} s"))
        usual = max(float(np.median(np.diff(clock.at(log_s)))), _expected_period_s(topic)) if len(log_s) > 2 else np.inf
        if usual > 1.0 / STREAM_HZ:
            continue
        gaps = periods > max(GAP_PERIODS * usual, TARGET_GAP_S if topic.endswith(TARGET) else SHORTEST_GAP_S)
        if gaps.any():
            where = int(np.argmax(periods))
            is_input = topic.endswith(INPUTS)
            findings.append(Finding("paused" if is_input else "dropped",
                                    f"{topic} has {gaps.sum()} gaps, the longest of {periods[where]:.2f} s at {times[where]:.1f} s; "
                                    f"usually {1000 * usual:.0f} ms", is_error=not is_input))  # fmt: skip
    return findings


def _expected_period_s(topic: str) -> float:
    """s between messages by the table of topics; on some of them many nodes speak in turn, and their median says nothing."""
    rates = (each.rate_hz for each in topics.TOPICS if topic.endswith(f"/{each.name.lstrip('/')}"))
    return 1.0 / (next(rates, None) or np.inf)


def _of_joints(joints: dict[str, list[tuple[float, np.ndarray]]], fastest: np.ndarray, card: Card) -> list[Finding]:
    findings = []
    model = RobotModel.load()
    if joints[STATE]:
        times, positions = np.array([time_s for time_s, _ in joints[STATE]]), np.array([q for _, q in joints[STATE]])
        still = np.flatnonzero(np.diff(np.concatenate([[0], (fastest < STILL_RAD_S).astype(int), [0]])))
        longest = max((times[min(end, len(times) - 1)] - times[begin] for begin, end in zip(still[::2], still[1::2])), default=0.0)
        if longest > IDLE_S:
            findings.append(Finding("idle", f"no joint moves for {longest:.1f} s", is_error=False))
        at_limit = ((positions < model.position_lower + NEAR_LIMIT_RAD) | (positions > model.position_upper - NEAR_LIMIT_RAD)).mean(axis=0)
        findings += [Finding("saturated", f"{model.joint_names[joint]} is at its limit for {at_limit[joint]:.0%} of the time", is_error=False)
                     for joint in np.flatnonzero(at_limit > SATURATED_SHARE)]  # fmt: skip
    if len(joints[COMMAND]) > 1:
        told = np.array([q for _, q in joints[COMMAND]])
        jumps = np.abs(np.diff(told, axis=0))
        if jumps.max() > JUMP_RAD:
            row, joint = np.unravel_index(int(jumps.argmax()), jumps.shape)
            findings.append(Finding("jerk", f"{model.joint_names[joint]} is told to jump by {jumps[row, joint]:.2f} rad at {joints[COMMAND][row + 1][0]:.1f} s"))
    return findings


def digest_of_states(folder: Path) -> str:
    """By which an episode is known again, under whatever name: a hash of its robot states.

    Raises:
        RecordingError, McapError, OSError: it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for _, channel, message in read_bag(folder):
        if channel.topic.endswith(STATE):
            digest.update(message.data)
    return digest.hexdigest()


def duplicates_of(folders: list[Path]) -> list[tuple[Path, Path]]:
    """Episodes that are others under another name: their robot states are the same, byte by byte."""
    seen: dict[str, Path] = {}
    found = []
    for folder in folders:
        try:
            key = digest_of_states(folder)
        except (RecordingError, McapError, OSError):
            continue
        if key in seen:
            found.append((seen[key], folder))
        seen.setdefault(key, folder)
    return found
