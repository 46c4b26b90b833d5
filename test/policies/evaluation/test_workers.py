"""Processes of their own: results come, errors keep their text, a dead process is noticed."""

from __future__ import annotations

import importlib

import pytest

from humanoid_control.errors import HumanoidControlError
from policies.evaluation.workers import WorkerError, run_jobs

# What workers run must be importable by name in a fresh process, which a test module is not.
JOBS = """
import os, signal
from humanoid_control.errors import ConfigurationError

def environment(): return lambda name, send: os.environ[name]
def talkative(): return lambda job, send: (send(f"on the way to {job}"), job)[1]
def refusing(): raise ConfigurationError("no such thing")
def dying(): return lambda job, send: os.kill(os.getpid(), signal.SIGKILL)
def buggy(): return lambda job, send: 1 // 0
def patient(): return lambda job, send: signal.getsignal(signal.SIGINT) == signal.SIG_IGN
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    (tmp_path / "some_jobs.py").write_text(JOBS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.reload(importlib.import_module("some_jobs"))


def test_every_job_is_done_with_one_thread_for_linear_algebra(jobs):
    assert list(run_jobs(jobs.environment, (), ["OMP_NUM_THREADS"] * 3, workers=2)) == ["1"] * 3


def test_what_is_sent_on_the_way_comes_first(jobs):
    assert list(run_jobs(jobs.talkative, (), ["Rome"], workers=1)) == ["on the way to Rome", "Rome"]


def test_interrupting_the_terminal_does_not_reach_a_worker(jobs):
    assert list(run_jobs(jobs.patient, (), [1], workers=1)) == [True]


def test_a_users_mistake_keeps_its_text(jobs):
    with pytest.raises(HumanoidControlError, match="^no such thing$"):
        list(run_jobs(jobs.refusing, (), [1], workers=1))


def test_a_dead_process_is_said_with_its_job(jobs):
    with pytest.raises(WorkerError, match="carried out 7 died .killed by SIGKILL"):
        list(run_jobs(jobs.dying, (), [7], workers=1))


def test_a_bug_comes_with_its_traceback(jobs):
    with pytest.raises(RuntimeError, match="(?s)failed on 7.*ZeroDivisionError"):
        list(run_jobs(jobs.buggy, (), [7], workers=1))
