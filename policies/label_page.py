"""`humanoid episodes label EPISODE --page`: a page on this machine on which a person puts an episode's sub-tasks right.

It listens on the loopback address alone; a token in the page's address, and the address itself, keep other pages of the same
browser from saving. What is saved is on the card at once, whole or not at all, with the name of who saved it.
"""

from __future__ import annotations

import base64
import json
import math
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment, FileSystemLoader

from humanoid_control.errors import ConfigurationError
from humanoid_control.recording.card import CARD, Card, Segment
from humanoid_control.recording.errors import RecordingError
from humanoid_control.recording.reading import Recording
from humanoid_control.recording.report import COLOURS, FILM_HZ, film_of, subtask_spans
from policies.subtasks import BEGIN, SUBTASKS

LOOPBACK = "127.0.0.1"
MOST_BYTES, MOST_SEGMENTS, LONGEST_NAME = 1 << 18, 1000, 80
SLACK_S = 0.05  # that borders may lie beyond the episode's end, or over each other
NAMES = tuple(name for name in SUBTASKS if name != BEGIN)


class LabelPage:
    """The page of one episode, served until `close`.

    Args:
        folder: of the episode.
        port: to listen on; 0 takes any that is free.

    Attributes:
        address: of the page, with its token.

    Raises:
        RecordingError: the episode cannot be read.
        ConfigurationError: the port is taken.
    """

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder = folder
        recording = Recording(folder)
        film = film_of(recording) if recording.cameras else b""
        self._token = secrets.token_urlsafe(24)
        environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
        self._page = environment.get_template("label_page.html").render(
            name=folder.name, film=f"data:video/mp4;base64,{base64.b64encode(film).decode()}" if film else "", cameras=recording.cameras,
            about={"length_s": recording.card.duration_s, "names": NAMES, "colours": COLOURS, "frame_s": 1.0 / FILM_HZ,
                   "segments": [[begin, end, text if text in NAMES else ""] for begin, end, text in subtask_spans(recording.card)],
                   "by": recording.card.segmented_by, "token": self._token},
        )  # fmt: skip
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), self._handler())
        except OSError as error:
            raise ConfigurationError(f"port {port} of {LOOPBACK} cannot be used: {error.strerror}; give another with --port") from None
        self.address = f"http://{LOOPBACK}:{self._server.server_port}/?token={self._token}"

    def serve(self) -> None:
        """Serves until it is closed, or interrupted."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Ends serving."""
        self._server.shutdown()
        self._server.server_close()

    def save(self, content: Any) -> Card:
        """Puts what the page sent on the card.

        Args:
            content: `by`, and `segments` with begin, end in s and name of each.

        Raises:
            RecordingError: it is none that can be; with the reason.
            OSError: the disk does not take it.
        """
        card = Card.read(self.folder / CARD)
        by, segments = checked(content, card.duration_s)
        card.segments, card.segmented_by = segments, by
        card.write(self.folder / CARD)
        return card

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        page = self

        class Handler(BaseHTTPRequestHandler):
            """Hands out the page, and takes what it saves."""

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                if not self._is_ours() or not secrets.compare_digest(parse_qs(url.query).get("token", [""])[0].encode(), page._token.encode()):
                    self._answer(HTTPStatus.FORBIDDEN, "text/plain", "the address lacks its token: take the one that the command printed")
                elif url.path != "/":
                    self._answer(HTTPStatus.NOT_FOUND, "text/plain", "there is the page alone")
                else:
                    self._answer(HTTPStatus.OK, "text/html; charset=utf-8", page._page)

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                if not self._is_ours() or not secrets.compare_digest(self.headers.get("X-Token", "").encode(), page._token.encode()):
                    self._tell(HTTPStatus.FORBIDDEN, "no token")
                elif not length.isdigit() or int(length) > MOST_BYTES:
                    self._tell(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST_BYTES} bytes are taken")
                else:
                    self._save(self.rfile.read(int(length)))

            def _save(self, body: bytes) -> None:
                try:
                    card = page.save(json.loads(body))
                except (RecordingError, ValueError, RecursionError) as error:
                    self._tell(HTTPStatus.BAD_REQUEST, str(error))
                except OSError as error:
                    self._tell(HTTPStatus.INSUFFICIENT_STORAGE, f"it cannot be written: {error.strerror}")
                else:
                    self._tell(HTTPStatus.OK, f"saved: {len(card.segments)} sub-tasks by {card.segmented_by}")

            def _is_ours(self) -> bool:
                """Whether it was asked for by this address: a name that somebody else has point here is none."""
                return self.headers.get("Host") == f"{LOOPBACK}:{self.server.server_port}"

            def _tell(self, status: HTTPStatus, text: str) -> None:
                self._answer(status, "application/json", json.dumps({"message": text}))

            def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
                body = text.encode()
                self.send_response(status)
                for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store"),
                                    ("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY")):  # fmt: skip
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing: the command's output is for its user."""

        return Handler


def checked(content: Any, length_s: float) -> tuple[str, list[Segment]]:
    """Who says it, and the segments, of what a page sent.

    Args:
        content: as it came.
        length_s: of the episode.

    Raises:
        RecordingError: it is none that can be; with the reason.
    """
    if not isinstance(content, dict) or not isinstance(content.get("by"), str) or not isinstance(content.get("segments"), list):
        raise RecordingError("by and segments are needed")
    by = content["by"].strip()
    if not 0 < len(by) <= LONGEST_NAME or not by.isprintable():
        raise RecordingError(f"say who you are, in 1 to {LONGEST_NAME} letters")
    if len(content["segments"]) > MOST_SEGMENTS:
        raise RecordingError(f"{len(content['segments'])} sub-tasks are too many; {MOST_SEGMENTS} are allowed")
    made: list[Segment] = []
    for row in content["segments"]:
        if not isinstance(row, list) or len(row) != 3 or not all(isinstance(x, (int, float)) and math.isfinite(x) for x in row[:2]):
            raise RecordingError(f"a sub-task is begin, end and name; this is none: {json.dumps(row)[:80]}")
        begin, end, name = float(row[0]), float(row[1]), row[2]
        if name not in NAMES:
            raise RecordingError(f"'{str(name)[:40]}' is no sub-task; allowed: {', '.join(NAMES)}")
        if not (-SLACK_S <= begin < end <= length_s + SLACK_S) or (made and begin < made[-1].end_s - SLACK_S):
            raise RecordingError(f"{name} from {begin:.2f} to {end:.2f} s is not within the episode of {length_s:.2f} s, or over another")
        made.append(Segment(round(max(begin, made[-1].end_s if made else 0.0), 3), round(min(end, length_s), 3), name))
    return by, made


def serve(folder: Path, *, port: int) -> int:
    """Serves an episode's page until it is interrupted.

    Args:
        folder: of the episode.
        port: 0 takes any that is free.

    Raises:
        HumanoidControlError: the episode cannot be read, or the port is taken.
    """
    page = LabelPage(folder, port=port)
    print(f"{folder.name}: open {page.address}\nCtrl-C ends it; what was saved is on the card", flush=True)
    try:
        page.serve()
    except KeyboardInterrupt:
        pass
    return 0
