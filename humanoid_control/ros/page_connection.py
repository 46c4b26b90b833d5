"""A page of the operator's page without a browser: says and hears what a page in a browser does, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import threading
import time
from collections.abc import Coroutine
from pathlib import Path

import aiohttp

from humanoid_control.demo import last_error
from humanoid_control.errors import ConfigurationError

ANSWERS_WITHIN_S = 20.0
_LOOK_S = 0.2


def page_url(nodes: subprocess.Popen, log: Path, timeout_s: float) -> str:
    """The page's address with its token, from the log of a launch file's nodes.

    Args:
        nodes: that were launched.
        log: what they say.
        timeout_s: that they may take.

    Raises:
        ConfigurationError: there is no page.
    """
    until = time.monotonic() + timeout_s
    while time.monotonic() < until and nodes.poll() is None:
        found = re.findall(r"the operator's page: (\S+)", log.read_text())
        if found:
            return found[-1]
        time.sleep(_LOOK_S)
    raise ConfigurationError(f"there is no operator's page: {last_error(log)}")


class PageConnection:
    """One page that looks at a camera and takes control; what it is sent counts as shown as soon as it is here.

    Attributes:
        counts: whether what is held counts; if not, everything has to be let go of once.
        images_s: s from when each image was taken to when it was here; on this machine, whose clock the server's is.
    """

    def __init__(self, url: str, camera: str) -> None:
        """Opens it.

        Args:
            url: as `page_url` gives it.
            camera: that is looked at.

        Raises:
            ConfigurationError: nobody answers.
        """
        self._base, self._token = url.split("/#token=")
        self._camera, self.counts, self.images_s = camera, False, []
        self._ways: list[aiohttp.ClientWebSocketResponse] = []
        self._turn = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="page", daemon=True)
        self._thread.start()
        try:
            self._do(self._open())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConfigurationError(f"the operator's page at {self._base} does not answer: {error or type(error).__name__}") from None

    def do(self, axes: list[float], buttons: list[int], hands: list[list[float]]) -> None:
        """Sends what the operator does now: as the page does, by turns over all its connections."""
        self._turn += 1
        way = self._ways[self._turn % len(self._ways)]
        message = {"type": "input", "t": time.monotonic(), "axes": axes, "buttons": buttons, "hands": hands}
        asyncio.run_coroutine_threadsafe(way.send_json(message), self._loop)

    def close(self) -> None:
        """Closes it."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _do(self, work: Coroutine) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWERS_WITHIN_S)

    async def _open(self) -> None:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False))  # the certificate is self-signed
        main = await self._connect("socket", {"type": "hello", "token": self._token, "name": "bench"})
        welcome = await main.receive_json()
        lanes = [await self._connect("lane", {"type": "lane", "key": welcome["key"]}) for _ in range(welcome["lanes"])]
        self._ways = [main, *lanes]
        await main.send_json({"type": "watch", "cameras": [self._camera]})
        await main.send_json({"type": "control", "wanted": True})
        self._listener = asyncio.create_task(self._listen(main))

    async def _connect(self, path: str, first: dict) -> aiohttp.ClientWebSocketResponse:
        socket = await self._session.ws_connect(f"{self._base}/{path}", origin=self._base)
        await socket.send_json(first)
        return socket

    async def _listen(self, main: aiohttp.ClientWebSocketResponse) -> None:
        async for message in main:
            if message.type == aiohttp.WSMsgType.BINARY:
                length = int.from_bytes(message.data[:4], "little")
                head = json.loads(message.data[4 : 4 + length])
                self.images_s.append(time.monotonic() - head["taken"])
                await main.send_json({"type": "seen", "stream": head["camera"], "number": head["number"]})
                continue
            fields = json.loads(message.data)
            if fields["type"] == "pose":
                await main.send_json({"type": "seen", "stream": "pose", "number": fields["number"]})
            elif fields["type"] == "status":
                self.counts = fields["seat"]["is_yours"] and fields["seat"]["has_let_go"]

    async def _close(self) -> None:
        self._listener.cancel()
        await self._session.close()
