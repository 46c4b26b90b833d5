"""Two streams about the same instants, brought together: what the robot measured, and where it believed it was."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

MEMORY = 128  # of each stream

_A = TypeVar("_A")
_B = TypeVar("_B")


class MatchingStates(Generic[_A, _B]):
    """Pairs of equal stamps, no more often than needed.

    Args:
        period_ns: between two pairs, at least.
    """

    def __init__(self, *, period_ns: int) -> None:
        self._period_ns = period_ns
        self._waiting: tuple[deque, deque] = (deque(maxlen=MEMORY), deque(maxlen=MEMORY))
        self._last_ns: int | None = None

    def add(self, firsts: Iterable[tuple[int, _A]], seconds: Iterable[tuple[int, _B]]) -> list[tuple[_A, _B]]:
        """Takes in what has come of both, each in its order; returns the pairs that are due, oldest first.

        When time goes back in a stream, what it brought before is forgotten.

        Args:
            firsts: stamps in ns, and what they belong to.
            seconds: the same.
        """
        for waiting, come in zip(self._waiting, (firsts, seconds), strict=True):
            for stamp_ns, item in come:
                if waiting and stamp_ns < waiting[-1][0]:
                    waiting.clear()
                    self._last_ns = None
                waiting.append((stamp_ns, item))
        others = dict(self._waiting[1])
        pairs = []
        for stamp_ns, item in self._waiting[0]:
            is_due = self._last_ns is None or stamp_ns >= self._last_ns + self._period_ns
            if is_due and stamp_ns in others:
                pairs.append((item, others[stamp_ns]))
                self._last_ns = stamp_ns
        return pairs
