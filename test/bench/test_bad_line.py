"""A line that delays and loses packets, with the kernel's own TCP on both sides."""

import os
import socket
import threading
import time

import pytest

from humanoid_control.bench.bad_line import FAR, NEAR, bad_line
from humanoid_control.errors import ConfigurationError


@pytest.fixture(scope="module", autouse=True)
def a_line_can_be_made():
    try:
        with bad_line(delay_s=0.0, loss=0.0, seed=0):
            pass
    except ConfigurationError as error:
        pytest.skip(str(error))


def test_every_packet_is_delayed_each_way_and_nothing_of_a_connection_is_lost():
    sent = os.urandom(100_000)

    def echo(server):
        connection, (address, _) = server.accept()
        with connection:
            assert address == FAR
            got = b""
            while len(got) < len(sent):
                got += connection.recv(65536)
            connection.sendall(got)

    with bad_line(delay_s=0.05, loss=0.05, seed=1), socket.create_server((NEAR, 0)) as server:
        thread = threading.Thread(target=echo, args=(server,), daemon=True)
        thread.start()
        began = time.monotonic()
        with socket.create_connection((FAR, server.getsockname()[1]), timeout=30.0) as client:
            assert time.monotonic() - began > 0.1
            client.sendall(sent)
            got = b""
            while len(got) < len(sent):
                got += client.recv(65536)
        thread.join()
    assert got == sent


def test_the_share_that_was_asked_for_is_lost_and_the_same_again_for_the_same_seed():
    def arrived():
        with bad_line(delay_s=0.0, loss=0.3, seed=2), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:  # fmt: skip
            near.bind((NEAR, 0))
            near.settimeout(1.0)
            numbers = []
            for number in range(200):
                far.sendto(bytes([number]), (FAR, near.getsockname()[1]))
            try:
                while True:
                    numbers.append(near.recv(1)[0])
            except TimeoutError:
                return numbers

    first = arrived()
    assert 110 < len(first) < 170 and arrived() == first
