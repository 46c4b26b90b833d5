"""Records all the time: into a black box of the last minute, and what belongs to an episode into that too.

Segments of some seconds are written once. The black box forgets the oldest; an episode keeps links to its own until they are
packed into a bag, by another process, when it ends. A process that is killed leaves segments that are readable up to the last
flush, and who comes next packs them.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from humanoid_control.recording.bag import PART, remove
from humanoid_control.recording.card import CARD, EVENTS, INTERRUPTED, OUTCOMES, PROBLEM, UNKNOWN, Card, Event
from humanoid_control.recording.errors import RecordingError
from humanoid_control.recording.pack_episode import RUNNING, pack_episode
from humanoid_control.recording.segments import RecordedTopic, SegmentWriter

BLACK_BOX, LOCK = ".black_box", ".lock"
SEGMENT_S, FLUSH_S = 5.0, 0.25
CLOCK_STEP_S = 0.5  # by which the system's clock may leave ours
RETRY_S = 30.0  # until what could not be packed is packed again
LONGEST_WAIT_S = 10.0  # of a message, from being received to being taken: beyond it, its time of reception is no time of ours
LATE_NAMES = "black_box"  # what episodes are called that nobody began


class Recorder:
    """Takes messages and keeps them.

    Args:
        folder: of the episodes; the black box and what is not finished lie in it too, hidden.
        topics: that may come; messages name them by their index.
        box_s: how many s the black box reaches back, at least.
        reserve_bytes: that stay free on the disk; no episode is begun or goes on with less.
        wall_ns, monotonic_ns: clocks.

    Attributes:
        card: of the episode that is recorded; None: none is.
        problem: why the last episode ended by itself, or nothing is written; empty: all is well.
        missed: messages that were not written, since the start.

    Raises:
        RecordingError: the folder cannot be written, or another recorder works in it.
    """

    def __init__(self, folder: Path, topics: Sequence[RecordedTopic], *, box_s: float = 60.0, reserve_bytes: int = 1 << 30,
                 wall_ns=time.time_ns, monotonic_ns=time.monotonic_ns) -> None:  # fmt: skip
        self.folder, self.card, self.problem, self.missed = folder, None, "", 0
        self._topics, self._box_s, self._reserve = list(topics), box_s, reserve_bytes
        self._wall_ns, self._monotonic_ns = wall_ns, monotonic_ns
        self._offset_ns = wall_ns() - monotonic_ns()
        self._latched = {number: b"" for number, topic in enumerate(topics) if "durability: transient_local" in topic.qos}
        self._segment: SegmentWriter | None = None
        self._segments: list[tuple[Path, int]] = []  # of the black box, and when each was begun
        self._begun_ns = self._flushed_ns = 0
        self._counts: Counter[int] = Counter()
        self._newest_ns = [0] * len(self._topics)  # of each topic
        self._written, self._step_s = 0, 0.0  # bytes of the episode, about; how far the system's clock has left ours
        self._packers: dict[Path, subprocess.Popen] = {}
        self._to_retry: dict[Path, int] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / LOCK).open("a")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.recovered, left = recover(folder)
            self._box = folder / BLACK_BOX
            self._box.mkdir(exist_ok=True)
        except BlockingIOError:
            raise RecordingError(f"another recorder works in {folder}; end it, or name another folder") from None
        except OSError as error:
            raise RecordingError(f"episodes cannot be recorded in {folder}: {error.strerror}") from None
        self._to_retry = {running: 0 for running in left}

    def now_ns(self) -> int:
        """ns since the epoch, on a clock that is never set while the recorder runs."""
        return self._offset_ns + self._monotonic_ns()

    # --- messages -----------------------------------------------------------------------------------------------------

    def add(self, topic: int, data: bytes, *, publish_ns: int = 0, received_ns: int = 0) -> None:
        """Takes a message.

        Args:
            topic: index of its topic.
            data: its bytes.
            publish_ns, received_ns: when it was sent and received, by the system's clock; 0: not known.
        """
        now = self.now_ns()
        waited_ns = self._wall_ns() - received_ns if received_ns else 0
        log_ns = now - waited_ns if 0 <= waited_ns < LONGEST_WAIT_S * 1e9 else now
        # A process that has to wait between its two looks at clocks reckons too early; what came later was received later.
        log_ns = self._newest_ns[topic] = max(log_ns, self._newest_ns[topic])
        if topic in self._latched:
            self._latched[topic] = data
        try:
            if self._segment is None or now - self._begun_ns > SEGMENT_S * 1e9:
                self._next_segment(now)
            self._segment.add(topic, data, log_ns=log_ns, publish_ns=publish_ns or log_ns)
            self._counts[topic] += 1
            self._written += len(data)
        except OSError as error:
            self._fail(error)

    def tick(self) -> None:
        """To be called some ten times a second: brings what came to the disk, and looks after it."""
        now = self.now_ns()
        if now - self._flushed_ns > FLUSH_S * 1e9:
            self._flushed_ns = now
            try:
                if self._segment is not None:
                    self._segment.flush()
            except OSError as error:
                self._fail(error)
            if self.card is not None and self.free_bytes() < self._reserve + self._written:  # it is written once more to be packed
                self._cut_off(f"the disk has only {self.free_bytes() / 1e9:.1f} GB left")
            step_s = (self._wall_ns() - self._monotonic_ns() - self._offset_ns) / 1e9
            if abs(step_s - self._step_s) > CLOCK_STEP_S:
                self.event(PROBLEM, f"the system's clock was set by {step_s - self._step_s:+.1f} s; the episode's goes on as it was")
                self._step_s = step_s
            self._look_after_packers(now)

    def _look_after_packers(self, now: int) -> None:
        for running, packer in list(self._packers.items()):
            if packer.poll() is None:
                continue
            del self._packers[running]
            if packer.returncode != 0:
                self._to_retry[running] = now + round(RETRY_S * 1e9)
                self.problem = f"{_name_of(running)} could not be packed, perhaps for want of room: {self.free_bytes() / 1e9:.1f} GB; it is tried again"
            elif self.problem.startswith(_name_of(running)):
                self.problem = ""
        for running, due_ns in list(self._to_retry.items()):
            if now >= due_ns:
                del self._to_retry[running]
                self._pack(running)

    def _pack(self, running: Path) -> None:
        # Another process: packing takes a while, and this one listens. Of another session: who interrupts this one means no harm to it.
        self._packers[running] = subprocess.Popen([sys.executable, "-m", "humanoid_control.recording.pack_episode", str(running)],
                                                  start_new_session=True)  # fmt: skip

    @property
    def messages(self) -> int:
        """In the episode so far."""
        return self._counts.total()

    def free_bytes(self) -> int:
        """On the disk; none where there is no disk any more."""
        try:
            return shutil.disk_usage(self.folder).free
        except OSError:
            return 0

    def _next_segment(self, now: int) -> None:
        self._end_segment()
        path = self._box / f"{now}.mcap"
        segment = SegmentWriter(path, self._topics)
        self._segments.append((path, now))
        self._begun_ns, self._segment = now, segment
        if self.card is not None:
            os.link(path, self._running / path.name)
        for topic, data in self._latched.items():
            if data:
                segment.add(topic, data, log_ns=now, publish_ns=now)
        while len(self._segments) > 2 and now - self._segments[1][1] > self._box_s * 1e9:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        try:
            self._segments.pop(0)[0].unlink(missing_ok=True)
        except OSError:
            pass  # of a disk that is gone

    def _end_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def _fail(self, error: OSError) -> None:
        """The disk takes no more: the episode ends, the black box gives up what is oldest and is tried again."""
        self.missed += 1
        try:
            self._end_segment()
        except OSError:
            pass
        self.problem = f"nothing can be written in {self.folder}: {error.strerror}"
        if self.card is not None:
            self._cut_off(self.problem)
        elif self._segments:
            self._forget_oldest()

    # --- episodes -----------------------------------------------------------------------------------------------------

    @property
    def _running(self) -> Path:
        return self.folder / f"{RUNNING}{self.card.name}"

    def begin(self, *, files: dict[str, str] | None = None, **about: Any) -> str:
        """Begins an episode; returns its name.

        Args:
            files: texts that belong to it, by name.
            about: what its card says from the start: operator, task, hashes and others of its attributes.

        Raises:
            RecordingError: one is recorded already, or the disk has no room.
        """
        if self.card is not None:
            raise RecordingError(f"{self.card.name} is being recorded; keep or discard it first")
        if self.free_bytes() < self._reserve:
            raise RecordingError(f"the disk of {self.folder} has only {self.free_bytes() / 1e9:.1f} GB left; {self._reserve / 1e9:.1f} GB stay free: "
                                 "remove episodes, or name another folder")  # fmt: skip
        now = self.now_ns()
        name = datetime.fromtimestamp(now / 1e9, timezone.utc).strftime("%Y-%m-%d_%H-%M-%S_") + secrets.token_hex(2)
        self._written = 0
        self.card = Card(name, begun_ns=now, **about)
        try:
            self._running.mkdir()
            for file, text in (files or {}).items():
                (self._running / file).write_text(text)
            self.card.write(self._running / CARD)
            self._next_segment(now)
            self._counts.clear()
        except OSError as error:
            self.card = None
            raise RecordingError(f"{name} cannot be recorded: {error.strerror}") from None
        self.problem = ""
        return name

    def event(self, kind: str, text: str) -> None:
        """Notes what happens; outside of episodes nothing."""
        if self.card is None:
            return
        event = Event(self.now_ns(), kind, text)
        self.card.events.append(event)
        try:
            with (self._running / EVENTS).open("a") as file:
                file.write(json.dumps(asdict(event), ensure_ascii=False) + "\n")
        except OSError as error:
            self.problem = f"what happens cannot be noted: {error.strerror}"

    def end(self, *, outcome: str = UNKNOWN, keep: bool = True, note: str = "") -> str:
        """Ends the episode; returns its name. It is in its place when it is packed, some seconds later.

        Args:
            outcome: one of `OUTCOMES`.
            keep: whether it is kept.
            note: for its card.

        Raises:
            RecordingError: none is recorded, or there is no such outcome.
        """
        if self.card is None:
            raise RecordingError("no episode is being recorded")
        if outcome not in OUTCOMES:
            raise RecordingError(f"there is no outcome '{outcome}'; allowed: {', '.join(OUTCOMES)}")
        card, running = self.card, self._running
        card.ended_ns, card.outcome, card.note = self.now_ns(), outcome, note
        card.messages = {self._topics[number].name: count for number, count in sorted(self._counts.items())}
        self.card = None
        try:
            self._end_segment()
        except OSError as error:
            self.problem = f"the end of {card.name} is missing: {error.strerror}"
        try:
            if keep:
                card.write(running / CARD)
                self._pack(running)
            else:
                remove(running)
        except OSError as error:
            self.problem = f"{card.name} could not be {'packed' if keep else 'discarded'}: {error.strerror}"
            self._to_retry[running] = self.now_ns() + round(RETRY_S * 1e9)
        return card.name

    def _cut_off(self, why: str) -> None:
        self.event(PROBLEM, why)
        self.problem = f"{self.end(outcome=INTERRUPTED, note=why)} was ended: {why}"

    def close(self) -> None:
        """Ends everything; an episode that is being recorded is kept as interrupted."""
        if self.card is not None:
            self.end(outcome=INTERRUPTED, note="the recorder was ended")
        try:
            self._end_segment()
        except OSError:
            pass
        for packer in self._packers.values():
            packer.wait()
        shutil.rmtree(self._box, ignore_errors=True)
        self._lock.close()


def _name_of(running: Path) -> str:
    return running.name.removeprefix(RUNNING)


def recover(folder: Path) -> tuple[list[str], list[Path]]:
    """Packs what a recorder that was killed has left; returns the episodes' names, and the folders that could not be packed.

    Args:
        folder: of the episodes, in which no recorder works.
    """
    for part in folder.glob(f"{PART}*"):
        shutil.rmtree(part, ignore_errors=True)
    box = folder / BLACK_BOX
    left = sorted(box.glob("*.mcap")) if box.is_dir() else []
    running = sorted(folder.glob(f"{RUNNING}*"))
    if left and not any(_is_under_way(path) for path in running):
        # Nobody recorded an episode: the last minute is one.
        begun = datetime.fromtimestamp(int(left[0].stem) / 1e9, timezone.utc).strftime("%Y-%m-%d_%H-%M-%S")
        path = folder / f"{RUNNING}{begun}_{LATE_NAMES}"
        path.mkdir(exist_ok=True)
        Card(f"{begun}_{LATE_NAMES}", begun_ns=int(left[0].stem), note="the last minute before the recorder died").write(path / CARD)
        for segment in left:
            segment.rename(path / segment.name)
        running.append(path)
    names, failed = [], []
    for path in running:
        try:
            names.append(pack_episode(path))
        except (OSError, RecordingError, ValueError):
            failed.append(path)
    shutil.rmtree(box, ignore_errors=True)
    return [name for name in names if name], failed


def _is_under_way(running: Path) -> bool:
    """Whether its recorder was killed before it ended."""
    try:
        return not Card.read(running / CARD).ended_ns
    except RecordingError:
        return False
