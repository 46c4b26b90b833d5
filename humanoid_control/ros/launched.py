"""A launch file's nodes, for as long as somebody needs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from humanoid_control.ros.environment import environment_for_children

KILLED_WITHIN_S = 10.0


@contextmanager
def launched(arguments: Sequence[str], *, log: Path | None = None, environment: Mapping[str, str] | None = None,
             end_timeout_s: float = 30.0) -> Iterator[subprocess.Popen]:  # fmt: skip
    """The nodes of a launch file; whatever happens, no process stays behind.

    Args:
        arguments: of `humanoid launch`.
        log: file for all that they say; None: nobody reads it.
        environment: variables that they have beside this process's.
        end_timeout_s: that they are given to end in good order.
    """
    with nullcontext(subprocess.DEVNULL) if log is None else log.open("w") as output:
        process = subprocess.Popen([sys.executable, "-m", "humanoid_control.cli", "launch", *arguments], stdout=output, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, env=environment_for_children(os.environ | (environment or {})), start_new_session=True)  # fmt: skip
        try:
            yield process
        finally:
            for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):  # the last has the runner kill what still runs
                if process.poll() is None:
                    process.send_signal(sign)
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(end_timeout_s if sign == signal.SIGINT else KILLED_WITHIN_S)
