"""Who drives: one at a time, and only what came in time and was begun with empty hands. No I/O; time is passed in."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from humanoid_control.operator_page.protocol import Input
from humanoid_control.teleoperation.gamepad import GamepadLayout

SILENT_S = 5.0  # after which another may sit down
STALLED_S = 1.0  # after which whoever drives has to let go of everything first
LATE_S = 0.1  # by which a message may be later than the fastest of the last `LOOKED_BACK`
LOOKED_BACK = 250  # messages, 5 s: clocks drift apart by less than a millisecond in that time

_LAYOUT = GamepadLayout()
HELD = (*_LAYOUT.clutches, _LAYOUT.drive)  # buttons that move something while they are held


@dataclass
class _Sitting:
    who: int
    name: str
    heard_s: float
    has_let_go: bool = False


class ControlSeat:
    """The one seat from which the robot is driven.

    Attributes:
        late: messages that were left out because they had waited on their way.
        too_early: messages that were left out because something was held from the start.
    """

    def __init__(self) -> None:
        self._sitting: _Sitting | None = None
        self._ways: deque[float] = deque(maxlen=LOOKED_BACK)
        self.late = self.too_early = 0

    @property
    def holder(self) -> int | None:
        """Whose seat it is."""
        return self._sitting.who if self._sitting else None

    @property
    def name(self) -> str:
        """The name of who sits; empty: nobody does."""
        return self._sitting.name if self._sitting else ""

    @property
    def has_let_go(self) -> bool:
        """Whether what is held counts: whoever sits down has to have held nothing once."""
        return self._sitting is not None and self._sitting.has_let_go

    def silence_s(self, now_s: float) -> float:
        """For how long whoever sits has said nothing; infinite if nobody does."""
        return now_s - self._sitting.heard_s if self._sitting else math.inf

    def sit_down(self, who: int, name: str, now_s: float) -> str:
        """Takes the seat; returns why not, or nothing."""
        if self._sitting is not None and self._sitting.who != who and self.silence_s(now_s) < SILENT_S:
            return f"{self.name or 'somebody'} is in control; ask them to give it back"
        if self.holder != who:
            self._sitting = _Sitting(who, name, now_s)
            self._ways.clear()
        return ""

    def stand_up(self, who: int) -> None:
        """Leaves the seat, if it is theirs."""
        if self.holder == who:
            self._sitting = None

    def accepts(self, who: int, given: Input, now_s: float) -> bool:
        """Whether an input may move the robot.

        Args:
            who: sent it.
            given: the input.
            now_s: when it came.
        """
        if self._sitting is None or self._sitting.who != who:
            return False
        way = now_s - given.sent_s
        self._ways.append(way)
        if way - min(self._ways) > LATE_S:  # it waited somewhere with others: what it says is over
            self.late += 1
            return False
        if now_s - self._sitting.heard_s > STALLED_S:
            self._sitting.has_let_go = False
        self._sitting.heard_s = now_s
        if not self._sitting.has_let_go:
            self._sitting.has_let_go = not any(given.buttons[button] for button in HELD)
            self.too_early += not self._sitting.has_let_go
        return self._sitting.has_let_go
