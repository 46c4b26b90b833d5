"""The control loop in a thread of its own: what others want comes in as the latest value, what happens goes out in a ring.

Nothing in the thread waits for anybody. The ring is allocated once; a reader who falls behind by more than its length
loses the oldest and is told how many.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from humanoid_control.control_loop import ControlLoop
from humanoid_control.errors import TargetError
from humanoid_control.types import BaseEstimate, ControlStatus, JointCommand, RobotState, WholeBodyTarget

RING_SIZE = 256  # ticks: a second at 250 Hz
STATUS_EVERY = 5  # ticks
TIMINGS = 1000  # ticks over which timings are told
# The interpreter lets a thread run 5 ms by default before another one gets its turn: more than a control period.
SWITCH_INTERVAL_S = 0.0005


@dataclass(frozen=True)
class Snapshot:
    """What one tick left behind.

    Attributes:
        state: as measured.
        sent: the command as really sent.
        estimate: of the base; None before the first usable state.
        status: of control; None in most ticks.
        truth: what `observe` returned; None in most ticks.
    """

    state: RobotState | None
    sent: JointCommand | None
    estimate: BaseEstimate | None
    status: ControlStatus | None
    truth: Any


class ControlThread:
    """Runs a control loop until told to end.

    Attributes:
        loop: what is run.
        has_news: set at every tick.
        failure: the error that ended the thread; None as long as all is well.
    """

    def __init__(self, loop: ControlLoop, *, observe: Callable[[], Any] | None = None,
                 observe_every: int = STATUS_EVERY) -> None:  # fmt: skip
        """Prepares the thread; `start` starts it.

        Args:
            loop: to be run; its robot is connected by the thread.
            observe: called in the thread between ticks, and its result handed out with the tick's snapshot.
            observe_every: ticks from one such call to the next.
        """
        self.loop = loop
        self.failure: Exception | None = None
        self.has_news = threading.Event()
        self._observe = observe
        self._observe_every = observe_every
        self._ring: list[Snapshot | None] = [None] * RING_SIZE
        self._written = self._read = 0
        self._newest_input: WholeBodyTarget | TargetError | None = None
        self._calls: deque[Callable[[], None]] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._timings = np.zeros((TIMINGS, 2))  # s: a step's duration, a tick's lateness
        self._ages: deque[float] = deque(maxlen=500)  # s, of targets when they were taken

    def start(self) -> None:
        """Starts the loop."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._thread.start()

    def end(self) -> None:
        """Lets the motors damp and waits for the thread's end; may be called more than once."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def submit(self, target: WholeBodyTarget | TargetError) -> None:
        """Hands over a target, or why there is none; a newer one takes its place."""
        self._newest_input = target

    def call(self, function: Callable[[], None]) -> None:
        """Has a function called in the thread, between two ticks."""
        self._calls.append(function)

    def take_snapshots(self) -> tuple[list[Snapshot], int]:
        """Everything new, oldest first, and how many were lost because nobody came for them in time."""
        self.has_news.clear()
        written = self._written
        first = max(self._read, written - RING_SIZE + 8)  # the oldest may be overwritten while they are read
        lost, self._read = first - self._read, written
        return [self._ring[i % RING_SIZE] for i in range(first, written)], lost

    def timings_ms(self) -> dict[str, float]:
        """How long steps took, how late ticks came, and how old targets were when they were taken."""
        count = min(self.loop.tick_count, TIMINGS)
        if not count:
            return {}
        steps, lateness = 1e3 * self._timings[:count].T
        values = {"step p50": np.median(steps), "step p99": np.percentile(steps, 99), "late p50": np.median(lateness),
                  "late p99": np.percentile(lateness, 99), "late max": lateness.max()}  # fmt: skip
        ages = list(self._ages)
        if ages:
            values |= {"target age p50": 1e3 * np.median(ages), "target age p99": 1e3 * np.percentile(ages, 99)}
        return {name: round(float(value), 3) for name, value in values.items()}

    def _run(self) -> None:
        robot = self.loop.robot
        try:
            robot.connect()
            while not self._stop.is_set():
                self._tick()
                robot.wait_next_tick()
        except Exception as error:  # whatever it is, motors damp and the node says why
            self.failure = error
        finally:
            robot.close()
            self.has_news.set()

    def _tick(self) -> None:
        loop = self.loop
        began = time.perf_counter()
        while self._calls:
            self._calls.popleft()()
        if self._newest_input is not None:
            self._take_input()
        loop.step()
        tick, state = loop.tick_count, loop.state
        self._ring[self._written % RING_SIZE] = Snapshot(
            state, loop.sent, loop.estimate() if state is not None else None,
            loop.status() if tick % STATUS_EVERY == 0 else None,
            self._observe() if self._observe is not None and tick % self._observe_every == 0 else None)  # fmt: skip
        self._written += 1
        timing = self._timings[tick % TIMINGS]
        timing[0] = time.perf_counter() - began
        timing[1] = max(getattr(loop.robot, "late_s", 0.0), 0.0)
        self.has_news.set()

    def _take_input(self) -> None:
        wanted, self._newest_input = self._newest_input, None
        if isinstance(wanted, TargetError):
            self.loop.refuse(str(wanted))
            return
        try:
            self.loop.submit(wanted)
        except TargetError:
            return  # it is in the loop's status
        if self.loop.state is not None:
            self._ages.append(self.loop.state.stamp_s + self.loop.robot.period_s - wanted.stamp_s)
