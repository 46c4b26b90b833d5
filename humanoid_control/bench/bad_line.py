"""A line that delays and loses packets, without the kernel's netem and without network namespaces: `bad_line(delay_s=..., loss=...)`.

Packets to `FAR` go out by a TUN device to a process, which drops or delays each and sends it back with source and destination
exchanged: so they come in at `NEAR`, as from `FAR`, and answers go the same way. Checksums stay right, and TCP on both sides is the
kernel's own: what it sends again, and when, is no model. It takes root (or CAP_NET_ADMIN), `/dev/net/tun` and the command `ip`.
"""

from __future__ import annotations

import argparse
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from humanoid_control.errors import ConfigurationError

NEAR, FAR = "10.231.0.1", "10.231.0.2"  # listen at one, connect to the other
DEVICE = "humanoid_bad"
READY, TIMEOUT_S = "ready", 10.0
_TUNSETIFF, _IFF_TUN_NO_PI = 0x400454CA, 0x1001  # linux/if_tun.h
_MOST_BYTES = 65536
_SOURCE, _DESTINATION = slice(12, 16), slice(16, 20)  # of an IPv4 header (RFC 791)


@contextmanager
def bad_line(*, delay_s: float, loss: float, seed: int) -> Iterator[None]:
    """The line, while it is needed.

    Args:
        delay_s: of each packet, each way.
        loss: share of packets that never arrive, each way.
        seed: of which.

    Raises:
        ConfigurationError: this machine lets nobody make one.
    """
    command = [sys.executable, "-m", "humanoid_control.bench.bad_line", str(delay_s), str(loss), str(seed)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if process.stdout.readline().strip() != READY:
            raise ConfigurationError(f"no line that loses packets can be made here: {process.stderr.read().strip().splitlines()[-1]}; "
                                     f"it takes root, /dev/net/tun and the command ip")  # fmt: skip
        yield
    finally:
        process.stdin.close()  # at which it ends
        process.wait(TIMEOUT_S)
        process.stdout.close()
        process.stderr.close()


def _exchanged(packet: bytes) -> bytes:
    return packet[:12] + packet[_DESTINATION] + packet[_SOURCE] + packet[20:]


def _run(delay_s: float, loss: float, rng: random.Random) -> None:
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", DEVICE.encode(), _IFF_TUN_NO_PI))
    for words in (f"addr add {NEAR}/30 dev {DEVICE}", f"link set {DEVICE} up"):
        subprocess.run(["ip", *words.split()], check=True)
    print(READY, flush=True)
    far = bytes(map(int, FAR.split(".")))
    due: list[tuple[float, int, bytes]] = []
    count = 0
    while True:
        wait_s = max(due[0][0] - time.monotonic(), 0.0) if due else None
        readable = select.select([device, sys.stdin], [], [], wait_s)[0]
        if sys.stdin in readable:
            return
        if device in readable:
            packet = os.read(device, _MOST_BYTES)
            if packet[0] >> 4 == 4 and packet[_DESTINATION] == far and rng.random() >= loss:
                count += 1
                heapq.heappush(due, (time.monotonic() + delay_s, count, _exchanged(packet)))
        while due and due[0][0] <= time.monotonic():
            os.write(device, heapq.heappop(due)[2])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a line that loses packets, until the input is closed")
    parser.add_argument("delay_s", type=float)
    parser.add_argument("loss", type=float)
    parser.add_argument("seed", type=int)
    given = parser.parse_args()
    _run(given.delay_s, given.loss, random.Random(given.seed))
