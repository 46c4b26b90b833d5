"""One process of a launch: started in a session of its own, its output marked, its end reported."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable

from humanoid_control.ros.environment import environment_for_children
from humanoid_control.ros.launching.context import LaunchError, ProcessRequest

# Once a process has ended, how long to wait for its last lines: a child of its own may keep the pipe open for ever.
_LAST_LINES_TIMEOUT_S = 0.5


class LaunchedProcess:
    """A running process, silent until `watch` is called.

    Attributes:
        request: what was asked for.
        label: its name and number among all of the launch.
        exit_code: as `subprocess` has it, negative for a signal; None while it runs.
    """

    def __init__(
        self,
        request: ProcessRequest,
        label: str,
        *,
        show_line: Callable[[str, str], None],
        report_exit: Callable[[LaunchedProcess], None],
    ) -> None:
        self.request = request
        self.label = label
        self.exit_code: int | None = None
        self._show_line = show_line
        self._report_exit = report_exit
        environment = environment_for_children({**os.environ, **request.environment, "PYTHONUNBUFFERED": "1"})
        try:
            # In a session of its own Ctrl-C reaches only the launch, which then stops everything in order.
            self._process = subprocess.Popen(
                request.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise LaunchError(f"{request.name} cannot be started: {error.strerror}: {request.command[0]}") from None
        self._reader = threading.Thread(target=self._read, name=f"{label} output", daemon=True)

    def watch(self) -> None:
        """Shows its output and reports its end from now on."""
        self._reader.start()
        threading.Thread(target=self._wait, name=f"{self.label} exit", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process and to all that it started."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass  # it ended meanwhile, which is what signals are sent for

    def _read(self) -> None:
        with self._process.stdout:
            for line in self._process.stdout:
                self._show_line(self.label, line.rstrip("\n"))

    def _wait(self) -> None:
        self.exit_code = self._process.wait()
        self._reader.join(_LAST_LINES_TIMEOUT_S)
        self._report_exit(self)


def describe_exit(exit_code: int) -> str:
    """An exit code in words, a signal by its name."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"exit code {exit_code} ({signal.Signals(-exit_code).name})"
    except ValueError:
        return f"exit code {exit_code}"
