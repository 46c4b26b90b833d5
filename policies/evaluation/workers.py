"""Processes that carry out jobs one at a time, each the same whatever the others do.

Each is started afresh (spawn) with one thread for linear algebra: a sum split over threads rounds differently. They
ignore Ctrl-C, which is the caller's to handle.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

from humanoid_control.errors import HumanoidControlError

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}
JOIN_TIMEOUT_S = 5.0

Send = Callable[[Any], None]


class WorkerError(HumanoidControlError):
    """A worker process ended before its job was done."""


def run_jobs(make_worker: Callable[..., Callable], arguments: tuple, jobs: Iterable[Any], *, workers: int) -> Iterator[Any]:
    """Yields what each job gives, as soon as it is there, in no particular order.

    Args:
        make_worker: called once in each process with `arguments`; returns the function that carries out a job:
            `job, send -> result`. What it sends on the way is yielded too. Both must be importable by name.
        arguments: of `make_worker`.
        jobs: given out in their order.
        workers: number of processes.

    Raises:
        WorkerError: if a process dies.
        HumanoidControlError: whatever of that kind a worker raises.
    """
    context = multiprocessing.get_context("spawn")
    queue = iter(jobs)
    processes, busy = {}, {}
    try:
        with _inherited_settings():
            for _ in range(workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, make_worker, arguments), daemon=True)
                process.start()
                theirs.close()
                processes[ours] = process
        for connection in processes:
            _give(connection, queue, busy)
        while busy:
            for connection in wait(list(busy)):
                try:
                    kind, value = connection.recv()
                except (EOFError, ConnectionError):
                    raise WorkerError(_obituary(processes[connection], busy[connection])) from None
                if kind == "error":
                    raise HumanoidControlError(value)
                if kind == "crash":
                    raise RuntimeError(f"a worker failed on {busy[connection]}:\n{value}")
                if kind == "done":
                    del busy[connection]
                    _give(connection, queue, busy)
                yield value
    finally:
        for connection, process in processes.items():
            connection.close()
            process.terminate()
        for process in processes.values():
            process.join(JOIN_TIMEOUT_S)


def _give(connection: Connection, queue: Iterator[Any], busy: dict[Connection, Any]) -> None:
    for job in queue:
        busy[connection] = job
        try:
            connection.send(job)
        except OSError:
            pass  # it is dead already; `wait` will tell
        return


@contextmanager
def _inherited_settings():
    """What processes started within inherit: a process that is born ignoring Ctrl-C keeps to it from its first line."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _obituary(process, job: Any) -> str:
    process.join(JOIN_TIMEOUT_S)
    code = process.exitcode
    cause = f"killed by {signal.Signals(-code).name}; is there enough memory?" if code and code < 0 else f"exit code {code}"
    return f"the process that carried out {job} died ({cause})"


def _serve(connection: Connection, make_worker: Callable[..., Callable], arguments: tuple) -> None:
    """A worker process's main."""
    try:
        carry_out = make_worker(*arguments)
        while True:
            job = connection.recv()
            connection.send(("done", carry_out(job, lambda value: connection.send(("note", value)))))
    except (EOFError, BrokenPipeError):
        return  # the caller is gone
    except HumanoidControlError as error:
        connection.send(("error", str(error)))
    except Exception:
        connection.send(("crash", traceback.format_exc()))


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
