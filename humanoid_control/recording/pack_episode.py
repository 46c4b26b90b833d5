"""Packs an episode that has ended: `python -m humanoid_control.recording.pack_episode FOLDER`, as the recorder calls it."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from humanoid_control.recording.bag import pack, remove
from humanoid_control.recording.card import CARD, EVENTS, INTERRUPTED, Card, Event
from humanoid_control.recording.errors import RecordingError
from humanoid_control.recording.segments import read_messages

NICENESS = 10
RUNNING = ".running-"  # what the folder of an episode begins with that is not packed yet


def pack_episode(running: Path) -> str:
    """Makes the bag of an episode's segments and removes them; returns its name, empty if nothing was in it.

    Who packs the same episode meanwhile is waited for.

    Args:
        running: folder of its card and segments. Of one whose recorder was killed the card has no end yet, or is not there.

    Raises:
        OSError: the disk does not take it; the segments stay.
    """
    with _alone(running) as is_there:
        return _pack(running) if is_there else ""


@contextmanager
def _alone(running: Path) -> Iterator[bool]:
    """Keeps other packers out; tells whether there is still something to pack."""
    try:
        descriptor = os.open(running, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield running.is_dir()
    finally:
        os.close(descriptor)


def _pack(running: Path) -> str:
    segments = sorted(running.glob("*.mcap"), key=lambda path: int(path.stem))
    try:
        card = Card.read(running / CARD)
    except RecordingError:  # killed before it was written, or while all was removed
        card = Card(running.name.removeprefix(RUNNING), begun_ns=int(segments[0].stem) if segments else 0)
    if not card.ended_ns:
        _end_late(card, running, segments)
    folder = running.parent / card.name
    if not card.messages or folder.exists():  # killed between making the one and removing the other
        remove(running)
        return card.name if folder.exists() else ""
    files = {path.name: path.read_text() for path in running.iterdir() if path.suffix != ".mcap" and path.name not in (CARD, EVENTS)}
    pack(segments, folder, begin_ns=card.begun_ns, end_ns=card.ended_ns, files=files | {CARD: card.to_json()})
    remove(running)
    return card.name


def _end_late(card: Card, running: Path, segments: list[Path]) -> None:
    """What the recorder would have written, had it not been killed."""
    counts: Counter[str] = Counter()
    card.ended_ns = card.begun_ns
    for segment in segments:
        for message in read_messages(segment):
            counts[message.topic] += 1
            card.ended_ns = max(card.ended_ns, message.log_ns)
    card.messages = dict(sorted(counts.items()))
    card.outcome, card.note = INTERRUPTED, card.note or "the recorder was killed"
    events = running / EVENTS
    for line in events.read_text().splitlines() if events.is_file() else ():
        try:
            card.events.append(Event(**json.loads(line)))
        except ValueError:
            break  # killed while it wrote it


def main() -> int:
    """Runs from a command line."""
    os.nice(NICENESS)
    try:
        pack_episode(Path(sys.argv[1]))
    except (RecordingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
