"""The page's server on a free port, and pages that talk to it as a browser does."""

import asyncio
import json
import time

import aiohttp
import pytest

from humanoid_control.operator_page.access import Token, own_names
from humanoid_control.operator_page.exchange import Exchange
from humanoid_control.operator_page.server import PageServer

CAMERAS = ("head_camera", "left_wrist_camera")
IDLE = {"axes": [0.0, 0.0, 1.0, 0.0, 0.0, 1.0], "buttons": [0] * 8, "hands": [None, None]}


class NotedExchange(Exchange):
    """Notes all that is left for the node."""

    def __init__(self):
        super().__init__()
        self.driven, self.asked = [], []

    def drive(self, driven):
        super().drive(driven)
        self.driven.append(driven)

    def ask(self, asked):
        super().ask(asked)
        self.asked.append(asked)


class Served:
    """A server, and what it leaves for the node."""

    def __init__(self, folder, **options):
        self.exchange = NotedExchange()
        self.token = Token(folder)
        self.scheme = "https" if "tls" in options else "http"
        self.server = PageServer(self.exchange, self.token, host="127.0.0.1", port=0, names=own_names(), cameras=CAMERAS, **options)
        self.driven, self.asked = self.exchange.driven, self.exchange.asked
        self.server.start()
        self.url = f"{self.scheme}://127.0.0.1:{self.server.port}"

    async def open(self, session, **hello):
        """A page whose token is right, or whatever is said instead."""
        socket = await session.ws_connect(f"{self.url}/socket", origin=self.url)
        await socket.send_json({"type": "hello", "token": self.token.text, "name": "Ada", **hello})
        return Page(socket)

    async def open_lane(self, session, key):
        """A further connection of the page that was told the key."""
        socket = await session.ws_connect(f"{self.url}/lane", origin=self.url)
        await socket.send_json({"type": "lane", "key": key})
        return Page(socket)


class Page:
    """One page."""

    def __init__(self, socket):
        self.socket = socket

    async def say(self, kind, **fields):
        await self.socket.send_json({"type": kind, **fields})

    async def hear(self, kind, is_it=lambda fields: True):
        """The next message of a kind that is so."""
        while True:
            message = await self.socket.receive(30.0)
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), (kind, message)
            if message.type == aiohttp.WSMsgType.TEXT:
                fields = json.loads(message.data)
                if fields["type"] == kind and is_it(fields):
                    return fields

    async def hear_image(self):
        """Head and bytes of the next image."""
        while True:
            message = await self.socket.receive(30.0)
            if message.type == aiohttp.WSMsgType.BINARY:
                length = int.from_bytes(message.data[:4], "little")
                return json.loads(message.data[4 : 4 + length]), message.data[4 + length :]
            assert message.type == aiohttp.WSMsgType.TEXT, message

    async def closing(self):
        """The code that the server closes it with."""
        while True:
            message = await self.socket.receive(30.0)
            if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
                return self.socket.close_code

    async def do(self, **changes):
        """An input of now."""
        await self.say("input", t=time.monotonic(), **{**IDLE, **changes})

    async def sit_down(self):
        """Takes control; the reason why not, or nothing."""
        await self.say("control", wanted=True)
        return (await self.hear("control"))["message"]


@pytest.fixture
def serve():
    """Makes servers, and ends them."""
    made = []

    def make(folder, **options):
        made.append(Served(folder, **options))
        return made[-1]

    yield make
    for each in made:
        each.server.end()


@pytest.fixture
def served(serve, tmp_path):
    return serve(tmp_path)


@pytest.fixture
def play(served):
    """Runs a story of pages: a coroutine that is given the server and a session."""

    def run(story, timeout_s=60.0):
        async def whole():
            async with aiohttp.ClientSession() as session:
                return await asyncio.wait_for(story(served, session), timeout_s)

        return asyncio.run(whole())

    return run
