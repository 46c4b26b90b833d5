"""Carries out a launch: starts processes, waits for what happens, and stops everything in good order."""

from __future__ import annotations

import heapq
import itertools
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from humanoid_control.ros.launching.actions import LaunchDescription
from humanoid_control.ros.launching.context import LaunchContext, LaunchError, ProcessRequest
from humanoid_control.ros.launching.process import LaunchedProcess, describe_exit

# How a process may end after it was asked to stop.
_GOOD_ENDS = (0, -signal.SIGINT, 128 + signal.SIGINT)
_ESCALATION = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


class LaunchService:
    """The live `Runtime`.

    Everything runs in the thread that calls `run`; processes, output and signals only put events into a queue.
    """

    def __init__(self, *, write_line: Callable[[str], None]) -> None:
        self._write_line = write_line
        self._write_lock = threading.Lock()
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count(1)
        self._running: dict[LaunchedProcess, tuple[object, Callable[[int], None] | None]] = {}
        self._exit_handlers: list[tuple[object | None, Callable[[int], None]]] = []
        self._stops_asked = 0
        self._shutting_down = False
        self._failures: list[str] = []

    def run(self, description: LaunchDescription, context: LaunchContext) -> int:
        """Carries out a launch file until all its processes have ended.

        Returns:
            0 when every process ended well: by itself with 0, or when asked to.
        """
        handlers = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            self._call(lambda: description.visit(context))
            while self._running or (self._timers and not self._shutting_down):
                self._wait_for_event()
        finally:
            for process in self._running:
                process.send(signal.SIGKILL)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return 1 if self._failures else 0

    def declare(self, argument: object, context: LaunchContext) -> None:
        """Nothing to do: arguments were checked before anything was started."""

    def start(self, request: ProcessRequest, action: object, on_exit: Callable[[int], None] | None) -> None:
        if self._shutting_down:
            return
        process = LaunchedProcess(
            request,
            f"{request.name}-{next(self._count)}",
            show_line=self._show,
            report_exit=lambda ended: self._events.put(lambda: self._on_exit(ended)),
        )
        self._running[process] = (action, on_exit)
        self.log(f"{process.label}: started, pid {process.pid}")
        process.watch()

    def call_when_exited(self, action: object | None, callback: Callable[[int], None]) -> None:
        self._exit_handlers.append((action, callback))

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._count), callback))

    def shut_down(self, reason: str) -> None:
        if self._shutting_down:
            return
        self._shutting_down = True
        self.log(f"shutting down: {reason}")
        for process in tuple(self._running):
            self._stop(process)

    def log(self, text: str) -> None:
        self._show("launch", text)

    def _stop(self, process: LaunchedProcess, step: int = 0) -> None:
        """Asks a process to stop, and ever more firmly while it does not."""
        if process not in self._running:
            return
        if step:
            self.log(f"{process.label}: still running, sending {_ESCALATION[step].name}")
        process.send(_ESCALATION[step])
        timeouts = (process.request.sigterm_timeout_s, process.request.sigkill_timeout_s)
        if step < len(timeouts):
            self.call_later(timeouts[step], lambda: self._stop(process, step + 1))

    def _on_signal(self, number: int, frame: Any) -> None:
        self._events.put(lambda: self._on_stop_asked(signal.Signals(number).name))

    def _on_stop_asked(self, signal_name: str) -> None:
        """The first signal stops everything in order; who sends further ones does not want to wait."""
        self._stops_asked += 1
        if not self._shutting_down:
            self.shut_down(signal_name)
            return
        for process in tuple(self._running):
            self._stop(process, min(self._stops_asked - 1, len(_ESCALATION) - 1))

    def _on_exit(self, process: LaunchedProcess) -> None:
        action, on_exit = self._running.pop(process)
        end = describe_exit(process.exit_code)
        if self._shutting_down and process.exit_code not in _GOOD_ENDS:
            self._fail(f"{process.label} did not stop well: {end}")
        elif not self._shutting_down and process.exit_code != 0:
            self._fail(f"{process.label} died: {end}")
        else:
            self.log(f"{process.label}: ended, {end}")
        # What it may have started and left behind.
        process.send(signal.SIGKILL)
        if self._shutting_down:
            return
        if process.request.respawn:
            self.call_later(process.request.respawn_delay_s, lambda: self.start(process.request, action, on_exit))
            return
        callbacks = [on_exit] if on_exit is not None else []
        callbacks += [callback for target, callback in self._exit_handlers if target in (None, action)]
        for callback in callbacks:
            self._call(lambda callback=callback: callback(process.exit_code))

    def _wait_for_event(self) -> None:
        """Lets the next thing happen: an event, or a timer when its time has come."""
        timeout_s = None
        if self._timers:
            timeout_s = max(0.0, self._timers[0][0] - time.monotonic())
        try:
            callback = self._events.get(timeout=timeout_s)
        except queue.Empty:
            callback = heapq.heappop(self._timers)[2]
        self._call(callback)

    def _call(self, callback: Callable[[], None]) -> None:
        """Carries out actions; an error in them ends the launch."""
        try:
            callback()
        except LaunchError as error:
            self._fail(str(error))
            self.shut_down("the launch file is wrong")

    def _fail(self, text: str) -> None:
        self._failures.append(text)
        self.log(f"error: {text}")

    def _show(self, label: str, text: str) -> None:
        with self._write_lock:
            try:
                self._write_line(f"[{label}] {text}")
            except BrokenPipeError:
                # Processes must not block on output that nobody reads.
                self._write_line = lambda line: None
                self._events.put(lambda: self.shut_down("nobody reads the output any more"))
