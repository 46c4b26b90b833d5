"""Jobs carried out on a Ray cluster: `policies.evaluation.workers.run_jobs` over machines.

What a job gives comes back as a value, so that the machines need not share a disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray

from humanoid_control.errors import HumanoidControlError
from policies.evaluation.workers import ONE_THREAD, WorkerError

CPUS = 1  # of a worker


class _Worker:
    """One process of the cluster."""

    def __init__(self, make_worker: Callable[..., Callable], arguments: tuple) -> None:
        self._make_worker, self._arguments, self._carry_out = make_worker, arguments, None

    def carry_out(self, job: Any) -> Any:
        """What the job gives, or the text of an error that the user can put right."""
        try:
            if self._carry_out is None:
                self._carry_out = self._make_worker(*self._arguments)
            return True, self._carry_out(job, None)
        except HumanoidControlError as error:
            return False, str(error)


def run_jobs_on_ray(make_worker: Callable[..., Callable], arguments: tuple, jobs: Iterable[Any], *, workers: int) -> Iterator[Any]:
    """Yields what each job gives, as soon as it is there, in no particular order.

    It joins the cluster that `RAY_ADDRESS` names, or begins one on this machine.

    Args:
        make_worker: called once in each process with `arguments`; returns the function that carries out a job:
            `job, send -> result`. What it sends on the way is lost.
        arguments: of `make_worker`.
        jobs: given out in their order.
        workers: processes, at most; no more than the cluster has cores.

    Raises:
        WorkerError: if a process or a machine dies.
        HumanoidControlError: whatever of that kind a worker raises, or if the cluster has no cores.
    """
    was_up = ray.is_initialized()
    if not was_up:
        _join()
    try:
        cores = int(ray.cluster_resources().get("CPU", 0))
        if cores < CPUS:
            raise HumanoidControlError("the Ray cluster has no cores; start one with: ray start --head")
        actor = ray.remote(num_cpus=CPUS, runtime_env={"env_vars": ONE_THREAD})(_Worker)
        idle = [actor.remote(make_worker, arguments) for _ in range(min(workers, cores // CPUS))]
        yield from _served(idle, iter(jobs))
    finally:
        if not was_up:
            ray.shutdown()


def _join() -> None:
    try:
        ray.init(address="auto", logging_level=logging.ERROR, log_to_driver=False)
    except ConnectionError:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)


def _served(idle: list, queue: Iterator[Any]) -> Iterator[Any]:
    busy: dict = {}
    for job in queue:
        if not idle:
            yield _next(idle, busy)
        worker = idle.pop()
        busy[worker.carry_out.remote(job)] = worker, job
    while busy:
        yield _next(idle, busy)


def _next(idle: list, busy: dict) -> Any:
    """The next result; its worker is idle again."""
    done, _ = ray.wait(list(busy), num_returns=1)
    worker, job = busy.pop(done[0])
    try:
        is_good, value = ray.get(done[0])
    except ray.exceptions.RayTaskError as error:
        raise RuntimeError(f"a worker failed on {job}:\n{error}") from None
    except ray.exceptions.RayError as error:
        raise WorkerError(f"the process that carried out {job} died ({' '.join(str(error).split())[:200]})") from None
    if not is_good:
        raise HumanoidControlError(value)
    idle.append(worker)
    return value
