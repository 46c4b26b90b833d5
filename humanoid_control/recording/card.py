"""What is known of an episode besides its messages: who, what, how it ended, and what happened on the way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from humanoid_control.recording.errors import RecordingError

CARD, EVENTS = "episode.json", "events.jsonl"  # the second while it is recorded
FACTORY = "factory.yaml"  # the factory file as it was, where the recorder was told of one
SUCCESS, FAILURE, UNKNOWN, INTERRUPTED = "success", "failure", "unknown", "interrupted"
OUTCOMES = (SUCCESS, FAILURE, UNKNOWN, INTERRUPTED)
AUTOMATIC = "automatic"  # who tells sub-tasks where no person has
DONE = "done"  # of a verdict; else why not
SUBTASK, ORDER, VERDICT, TIER, SWITCH, PROBLEM = "subtask", "order", "verdict", "tier", "switch", "problem"  # kinds of events
PERSON, NOBODY = "operator", "nobody"  # who drives, besides `learned` and `scripted`: nobody while a person is waited for


@dataclass(frozen=True)
class Event:
    """Something that happened in an episode.

    Attributes:
        log_ns: when, on the clock of its messages.
        kind: `subtask`, `order`, `verdict`, `tier` (who drives: a person is an intervention), `switch` (who drives from then on,
            and why) or `problem`.
        text: what.
    """

    log_ns: int
    kind: str
    text: str


@dataclass(frozen=True)
class Segment:
    """A stretch of an episode in which one thing was done.

    Attributes:
        begin_s, end_s: from the episode's begin.
        subtask: what.
    """

    begin_s: float
    end_s: float
    subtask: str


@dataclass
class Card:
    """An episode's card.

    Attributes:
        name: of the episode.
        begun_ns, ended_ns: on the clock of its messages, ns since the epoch; 0: not yet.
        operator: who drove or watched.
        task: what was done, in words.
        outcome: one of `OUTCOMES`.
        note: of a person.
        events: what happened, the oldest first.
        messages: how many there are, by topic.
        hashes: SHA-256 of what drove, by what it is: factory file, robot model, code, networks.
        versions: of what recorded.
        factory: its name, as in the file; empty: not known.
        seed: of the simulation; None: it is none, or not known.
        done_before: the orders that were done before the episode since the recorder was started: totes are no longer where the
            factory file has them.
        segments: which sub-task it was where a person drove, or where a person has put it right.
        segmented_by: who says so: `automatic`, or a person's name.
    """

    name: str
    begun_ns: int = 0
    ended_ns: int = 0
    operator: str = ""
    task: str = ""
    outcome: str = UNKNOWN
    note: str = ""
    events: list[Event] = field(default_factory=list)
    messages: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    factory: str = ""
    seed: int | None = None
    done_before: list[dict[str, Any]] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    segmented_by: str = ""

    @property
    def duration_s(self) -> float:
        """From begin to end."""
        return max(self.ended_ns - self.begun_ns, 0) / 1e9

    def spans(self, kind: str) -> list[tuple[float, float, str]]:
        """Begin and end in s from the episode's begin, and text, of what lasts until the next event of its kind."""
        times = [((event.log_ns - self.begun_ns) / 1e9, event.text) for event in self.events if event.kind == kind]
        ends = [time for time, _ in times[1:]] + [self.duration_s]
        return [(max(begin, 0.0), end, text) for (begin, text), end in zip(times, ends) if text]

    @property
    def interventions(self) -> list[tuple[float, float]]:
        """Begin and end in s from the episode's begin, of what a person drove: what a trainer may weight."""
        return [(begin, end) for begin, end, text in self.spans(TIER) if text == PERSON]

    def to_json(self) -> str:
        """As a file holds it."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def write(self, path: Path) -> None:
        """Puts it in a file, whole or not at all.

        Raises:
            OSError: the disk does not take it.
        """
        new = path.with_name(f"{path.name}.new")
        new.write_text(self.to_json())
        new.replace(path)

    @classmethod
    def read(cls, path: Path) -> Card:
        """The card of a file.

        Raises:
            RecordingError: it cannot be read.
        """
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            return cls(**content | {"events": [Event(**event) for event in content.get("events", ())],
                                    "segments": [Segment(**segment) for segment in content.get("segments", ())]})  # fmt: skip
        except (OSError, ValueError, TypeError) as error:
            raise RecordingError(f"{path} is no card of an episode: {error}") from None
