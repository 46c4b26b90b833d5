"""How often somebody may do something."""

from __future__ import annotations


class Allowance:
    """A token bucket.

    Args:
        rate_hz: at which it fills.
        most: that can be saved up.
    """

    def __init__(self, rate_hz: float, most: float) -> None:
        self._rate_hz, self._most, self._left, self._asked_s = rate_hz, most, most, None

    def take(self, now_s: float) -> bool:
        """Whether it may be done now; it is counted then."""
        elapsed_s = 0.0 if self._asked_s is None else max(0.0, now_s - self._asked_s)
        self._left, self._asked_s = min(self._most, self._left + self._rate_hz * elapsed_s), now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
