"""Serves the page and its websocket, in a thread with an event loop of its own.

Every page has a task that sends it the newest of everything, as fast as it takes it; a slow one slows nobody down.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import ssl
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np
from aiohttp import WSMsgType, web

from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.operator_page.access import Token, is_own_host, is_own_origin, is_secret
from humanoid_control.operator_page.control_seat import ControlSeat
from humanoid_control.operator_page.exchange import Asked, Exchange
from humanoid_control.operator_page.page_device import PageDevice
from humanoid_control.operator_page.protocol import (
    FOR_ALL,
    MOST_BYTES,
    POSE,
    STOP,
    Ask,
    Control,
    Hello,
    Input,
    Lane,
    Message,
    Ping,
    ProtocolError,
    Seen,
    Watch,
    read_message,
)
from humanoid_control.operator_page.rates import Allowance

MOST_PAGES = 32  # open at once
MOST_STRANGERS, MOST_OF_ONE = 64, 8  # that have not said their token yet; of one address
LANES = 3  # further connections of a page: in one, all that is behind a lost packet waits until that was sent again
HELLO_S = 5.0  # to say it
HEARTBEAT_S = 10.0  # a connection that answers nothing for one and a half of it is dead; it drives nothing long before
SEND_S = 5.0  # that a message may take before the page counts as gone
POSE_PERIOD_S, STATUS_PERIOD_S = 0.05, 0.2
IN_FLIGHT = 2  # images of a camera, and poses, that a page has not shown yet: a browser that is behind lets them queue unseen
FORGOTTEN_S = 5.0  # after which one counts as shown
MOST_SHOWN = 300  # images over which it is told how old they were when pages had shown them
MOST_WAITING = 200_000  # bytes that the system may hold for a page before it gets nothing newer
MESSAGES = (400.0, 200.0)  # a second, saved up: a page that says more is closed
INPUTS, REQUESTS = (120.0, 60.0), (5.0, 10.0)  # what is more than that is left out
STARTING_S = 20.0
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Page:
    """One page that is open, whose token was right."""

    who: int
    name: str
    socket: web.WebSocketResponse
    request: web.Request
    lane_key: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    lanes: set[web.WebSocketResponse] = field(default_factory=set)
    newest_s: float = -1.0  # of its inputs, on its clock
    news: asyncio.Event = field(default_factory=asyncio.Event)
    answers: list[dict] = field(default_factory=list)
    cameras: tuple[str, ...] = ()
    sent: dict[str, int] = field(default_factory=dict)
    in_flight: dict[str, dict[int, tuple[float, float]]] = field(default_factory=dict)  # by stream and number: s when sent, and when it was so
    messages: Allowance = field(default_factory=lambda: Allowance(*MESSAGES))
    inputs: Allowance = field(default_factory=lambda: Allowance(*INPUTS))
    requests: Allowance = field(default_factory=lambda: Allowance(*REQUESTS))
    device: PageDevice = field(default_factory=PageDevice)

    def may_take(self, stream: str, now: float) -> bool:
        """Whether it has shown enough of a stream to be sent more."""
        flying = self.in_flight.setdefault(stream, {})
        for number in [number for number, (sent_s, _) in flying.items() if now - sent_s > FORGOTTEN_S]:
            del flying[number]
        return len(flying) < IN_FLIGHT

    def is_slow(self) -> bool:
        """Whether it has not taken yet what was sent."""
        transport = self.request.transport
        return transport is None or transport.get_write_buffer_size() > MOST_WAITING


class PageServer:
    """See the module.

    Attributes:
        port: it listens on.
        counts: what was refused or left out, by kind.
    """

    def __init__(self, exchange: Exchange, token: Token, *, host: str, port: int, names: tuple[str, ...], cameras: tuple[str, ...],
                 tls: ssl.SSLContext | None = None, clock: Callable[[], float] = time.monotonic) -> None:  # fmt: skip
        """Makes the server; `start` begins.

        Args:
            exchange: with the node.
            token: that lets in.
            host: name or address to bind to.
            port: to listen on; 0: any free one.
            names: by which the page may be asked for.
            cameras: that there are.
            tls: serves https.
            clock: s; `CameraImage.taken_s` is on it.
        """
        self._exchange, self._token, self._host, self.port = exchange, token, host, port
        self._names, self._cameras, self._tls, self._clock = names, cameras, tls, clock
        self._seat = ControlSeat()
        self._pages: dict[int, _Page] = {}
        self._strangers: Counter[str | None] = Counter()
        self._number = 0
        self._shown_s: deque[float] = deque(maxlen=MOST_SHOWN)
        self.counts: Counter[str] = Counter()
        self._files = _read_files()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready, self._failure = threading.Event(), ""
        self._thread = threading.Thread(target=self._run, name="operator page", daemon=True)

    def start(self) -> None:
        """Begins to serve.

        Raises:
            ConfigurationError: the port is taken, or the host is none of this machine.
        """
        self._thread.start()
        self._ready.wait(STARTING_S)
        if self._failure or not self._ready.is_set():
            raise ConfigurationError(f"the operator's page cannot be served on {self._host}:{self.port}: {self._failure or 'no answer'}; "
                                     "choose another host or port")  # fmt: skip

    def end(self) -> None:
        """Closes all pages and ends; may be called twice."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(STARTING_S)

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(middlewares=[self._guard], client_max_size=MOST_BYTES)
        app.add_routes([web.get("/socket", self._socket), web.get("/lane", self._lane), web.get("/{name:[a-z_]*(?:\\.[a-z]+)?}", self._file)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self.port, ssl_context=self._tls)
            await site.start()
        except OSError as error:
            self._failure = error.strerror or str(error)
            self._ready.set()
            await runner.cleanup()
            return
        self.port = runner.addresses[0][1]
        self._exchange.on_answer = lambda who, message: self._soon(self._answer, who, message)
        self._exchange.on_change = lambda: self._soon(self._wake)
        self._ready.set()
        watch = asyncio.create_task(self._watch_over())
        await self._ending.wait()
        watch.cancel()
        for page in list(self._pages.values()):
            await page.socket.close(code=1001, message=b"the robot's page ends")
        await runner.cleanup()

    def _soon(self, function, *given) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *given)
        except RuntimeError:
            pass  # it has ended meanwhile

    def _wake(self) -> None:
        for page in self._pages.values():
            page.news.set()

    def _answer(self, who: int, message: dict) -> None:
        page = self._pages.get(who)
        if page is not None:
            page.answers.append(message)
            page.news.set()

    async def _watch_over(self) -> None:
        """Tells the node what the server sees, and frees the seat of who is not heard any more."""
        while True:
            self._tell()
            await asyncio.sleep(STATUS_PERIOD_S)

    def _tell(self) -> None:
        seat, exchange = self._seat, self._exchange
        wanted = tuple(camera for camera in self._cameras if any(camera in page.cameras for page in self._pages.values()))
        exchange.wanted_cameras = wanted
        shown = {f"images shown after, p{share} ms": round(1e3 * float(np.percentile(self._shown_s, share))) for share in (50, 95) if self._shown_s}
        exchange.figures = {"pages": len(self._pages), "operator": seat.name if seat.holder is not None else "nobody",
                            "inputs that came late": seat.late, "inputs held from the start": seat.too_early, **shown, **self.counts}  # fmt: skip

    # --- what is served -----------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if not re.fullmatch(r"[\w.:\[\]-]+", host) or not is_own_host(host, self._names):
            self.counts["requests by another name"] += 1
            raise web.HTTPForbidden(text="asked for by a name that is none of this robot's; parameter 'names' has them")
        return await handler(request)

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"] or "index.html"
        if name not in self._files:
            raise web.HTTPNotFound(text="no such file")
        sockets = f"{'wss' if self._tls else 'ws'}://{request.headers['Host']}"
        return web.Response(body=self._files[name], content_type=TYPES[name.rpartition(".")[2]], charset="utf-8", headers={
            "Content-Security-Policy": f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
                                       f"connect-src 'self' {sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-cache",
        })  # fmt: skip

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        if len(self._pages) >= MOST_PAGES:
            raise self._too_many()
        socket, hello = await self._open(request)
        if hello is None:
            return socket
        if not isinstance(hello, Hello) or not self._token.is_right(hello.token):
            await self._turn_away(socket, b"the token is wrong: open the address that the robot's log shows")
            return socket
        self._number += 1
        page = _Page(self._number, hello.name, socket, request)
        self._pages[page.who] = page
        _log.info("%s looks at the robot's page from %s", page.name or "somebody", request.remote)
        sender = asyncio.create_task(self._send(page))
        try:
            await self._listen(page, socket)
        finally:
            self._seat.stand_up(page.who)
            del self._pages[page.who]
            sender.cancel()
            self._tell()
            await asyncio.gather(*(lane.close(code=1001, message=b"its page is closed") for lane in page.lanes))
        return socket

    async def _lane(self, request: web.Request) -> web.WebSocketResponse:
        """A further connection of a page, for its inputs."""
        socket, lane = await self._open(request)
        if lane is None:
            return socket
        page = next((page for page in self._pages.values() if isinstance(lane, Lane) and is_secret(lane.key, page.lane_key)), None)
        if page is None:
            await self._turn_away(socket, b"no page has such a key")
        elif len(page.lanes) >= LANES:
            await self._refuse(socket, ProtocolError(f"{LANES} lanes are open"))
        else:
            page.lanes.add(socket)
            try:
                await self._listen(page, socket)
            finally:
                page.lanes.discard(socket)
        return socket

    async def _open(self, request: web.Request) -> tuple[web.WebSocketResponse, Message | None]:
        """A connection and its first message; without one it is closed."""
        if not is_own_origin(request.headers.get("Origin"), "https" if self._tls else "http", request.headers["Host"]):
            self.counts["pages of elsewhere"] += 1
            raise web.HTTPForbidden(text="only the robot's own page may open this")
        strangers, remote = self._strangers, request.remote
        if strangers.total() >= MOST_STRANGERS or strangers[remote] >= MOST_OF_ONE:
            raise self._too_many()
        socket = web.WebSocketResponse(max_msg_size=MOST_BYTES, heartbeat=HEARTBEAT_S, compress=False, timeout=1.0)
        await socket.prepare(request)
        strangers[remote] += 1
        try:
            return socket, await self._receive_first(socket)
        finally:
            strangers[remote] -= 1
            if not strangers[remote]:
                del strangers[remote]

    def _too_many(self) -> web.HTTPServiceUnavailable:
        self.counts["too many pages"] += 1
        return web.HTTPServiceUnavailable(text=f"{len(self._pages)} pages are open; close one")

    async def _receive_first(self, socket: web.WebSocketResponse) -> Message | None:
        try:
            message = await asyncio.wait_for(socket.receive(), HELLO_S)
            if message.type != WSMsgType.TEXT:
                raise ProtocolError("no text")
            return read_message(message.data, self._cameras)
        except asyncio.TimeoutError:
            await socket.close(code=1008, message=b"no token came")
        except ProtocolError as error:
            await self._refuse(socket, error)
        return None

    async def _turn_away(self, socket: web.WebSocketResponse, why: bytes) -> None:
        self.counts["wrong tokens"] += 1
        await socket.close(code=4001, message=why)

    async def _refuse(self, socket: web.WebSocketResponse, error: Exception) -> None:
        self.counts["malformed messages"] += 1
        await socket.close(code=1008, message=f"no message of the page: {error}".encode()[:120])

    # --- what pages say -----------------------------------------------------------------------------------------------

    async def _listen(self, page: _Page, socket: web.WebSocketResponse) -> None:
        async for message in socket:
            now = self._clock()
            if not page.messages.take(now):
                self.counts["pages that said too much"] += 1
                await socket.close(code=1008, message=b"too many messages")
                return
            try:
                if message.type != WSMsgType.TEXT:
                    raise ProtocolError("no text" if message.type == WSMsgType.BINARY else f"more than {MOST_BYTES} bytes, or no text")
                said = read_message(message.data, self._cameras)
                if socket is not page.socket and not isinstance(said, Input):
                    raise ProtocolError("a lane carries inputs alone")
                self._take(page, said, now)
            except HumanoidControlError as error:
                await self._refuse(socket, error)
                return

    def _take(self, page: _Page, message, now: float) -> None:
        if isinstance(message, Input):
            self._take_input(page, message, now)
        elif isinstance(message, Seen):
            _, taken_s = page.in_flight.get(message.stream, {}).pop(message.number, (now, None))
            if taken_s is not None and message.stream != POSE:
                self._shown_s.append(now - taken_s)
            page.news.set()
        elif isinstance(message, Ping):
            self._answer(page.who, {"type": "pong", "t": message.sent_s, "now": now})
        elif isinstance(message, Watch):
            page.cameras = message.cameras
            self._tell()
            page.news.set()
        elif isinstance(message, Control):
            self._take_control(page, message.wanted, now)
        elif isinstance(message, Ask):
            self._take_ask(page, message, now)
        else:
            raise ProtocolError("hello was said already")

    def _take_input(self, page: _Page, given: Input, now: float) -> None:
        if not page.inputs.take(now):
            self.counts["inputs too often"] += 1
            return
        is_newest, page.newest_s = given.sent_s > page.newest_s, max(given.sent_s, page.newest_s)
        if is_newest and self._seat.accepts(page.who, given, now):
            self._exchange.drive(page.device.take(given, now))

    def _take_control(self, page: _Page, wanted: bool, now: float) -> None:
        before, problem = self._seat.holder, ""
        if wanted:
            problem = self._seat.sit_down(page.who, page.name, now)
            if not problem and before != page.who:
                page.device = PageDevice()
                _log.warning("%s is in control, from the page at %s", page.name or "somebody", page.request.remote)
        else:
            self._seat.stand_up(page.who)
            if before == page.who:
                _log.warning("%s gave control back", page.name or "somebody")
        self._answer(page.who, {"type": "control", "success": not problem, "message": problem})
        self._tell()
        self._wake()

    def _take_ask(self, page: _Page, ask: Ask, now: float) -> None:
        problem = ""
        if ask.what not in FOR_ALL and self._seat.holder != page.who:
            problem = "you only watch: take control first"
        elif not page.requests.take(now) and ask.what != STOP:
            self.counts["requests too often"] += 1
            problem = "too many requests: wait a second"
        if problem:
            self._answer(page.who, {"type": "answer", "number": ask.number, "what": ask.what, "success": False, "message": problem})
        else:
            self._exchange.ask(Asked(page.who, page.name, ask))

    # --- what pages are told ------------------------------------------------------------------------------------------

    async def _send(self, page: _Page) -> None:
        try:
            await self._tell_page(page, {"type": "welcome", "you": page.who, "lanes": LANES, "key": page.lane_key, "cameras": self._cameras,
                                         "scene": self._exchange.scene})  # fmt: skip
            told_pose = None
            pose_s, status_s, number = 0.0, 0.0, 0
            while True:
                while page.answers:
                    await self._tell_page(page, page.answers.pop(0))
                now, exchange = self._clock(), self._exchange
                if not page.is_slow():
                    if now - status_s >= STATUS_PERIOD_S:
                        status_s = now
                        await self._tell_page(page, {"type": "status", "seat": self._seat_of(page, now), **exchange.status})
                    if exchange.pose is not told_pose and now - pose_s >= POSE_PERIOD_S - 0.005 and page.may_take(POSE, now):
                        told_pose, pose_s, number = exchange.pose, now, number + 1
                        page.in_flight[POSE][number] = now, now
                        await self._tell_page(page, {"type": "pose", "number": number, **told_pose})
                    for camera in page.cameras:
                        await self._send_image(page, camera, now)
                try:
                    await asyncio.wait_for(page.news.wait(), POSE_PERIOD_S)
                except asyncio.TimeoutError:
                    pass
                page.news.clear()
        except (asyncio.TimeoutError, ConnectionError):
            self.counts["pages that took nothing"] += 1
            if page.request.transport is not None:
                page.request.transport.abort()

    async def _tell_page(self, page: _Page, message: dict) -> None:
        await asyncio.wait_for(page.socket.send_str(json.dumps(message, separators=(",", ":"), allow_nan=False)), SEND_S)

    async def _send_image(self, page: _Page, camera: str, now: float) -> None:
        image = self._exchange.images.get(camera)
        if image is None or image.number <= page.sent.get(camera, -1) or not page.may_take(camera, now):
            return
        page.sent[camera] = image.number
        page.in_flight[camera][image.number] = now, image.taken_s
        head = json.dumps({"camera": camera, "number": image.number, "taken": image.taken_s}).encode()
        await asyncio.wait_for(page.socket.send_bytes(struct.pack("<I", len(head)) + head + image.jpeg), SEND_S)

    def _seat_of(self, page: _Page, now: float) -> dict:
        """Who is in control, for one page."""
        seat = self._seat
        silence_s = seat.silence_s(now)
        return {"is_taken": seat.holder is not None, "is_yours": seat.holder == page.who, "name": seat.name, "has_let_go": seat.has_let_go,
                "silence": round(silence_s, 1) if seat.holder is not None else 0.0, "pages": len(self._pages)}  # fmt: skip


def _read_files() -> dict[str, bytes]:
    """All there is to serve, by name: no path of a request ever reaches the disk."""
    folder = files(__package__) / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in TYPES}
