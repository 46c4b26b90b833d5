"""Clocks that are set by hand, and patience for what is packed by another process."""

import time

import pytest

from humanoid_control.recording.card import CARD


class Clock:
    def __init__(self):
        self.ns = 1_800_000_000 * 10**9

    def __call__(self):
        return self.ns

    def sleep(self, seconds):
        self.ns += round(seconds * 1e9)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def wall():
    return Clock()


@pytest.fixture
def wait_for():
    def wait(folder, name, timeout_s=20.0):
        until = time.monotonic() + timeout_s
        while not (folder / name / CARD).is_file():
            assert time.monotonic() < until, f"{name} was not packed: {sorted(path.name for path in folder.iterdir())}"
            time.sleep(0.05)
        return folder / name

    return wait
