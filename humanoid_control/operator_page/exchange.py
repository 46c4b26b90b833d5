"""What the page's server and the node's threads leave for each other: the newest of everything, and nobody waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from humanoid_control.operator_page.page_device import Driven
from humanoid_control.operator_page.protocol import Ask

MOST_ASKS = 20  # that wait to be asked


@dataclass(frozen=True)
class CameraImage:
    """The newest image of a camera.

    Attributes:
        number: counts up.
        jpeg: its file.
        taken_s: when it was, on the server's monotonic clock.
    """

    number: int
    jpeg: bytes
    taken_s: float


@dataclass(frozen=True)
class Asked:
    """A request of a page, to be answered by `Exchange.answer`.

    Attributes:
        who: asked; -1: the server itself.
        name: of the person.
        ask: what for.
    """

    who: int
    name: str
    ask: Ask


class Exchange:
    """Attributes are replaced whole, and read without a lock.

    Attributes:
        scene: what never changes of robot and floor; sent once.
        pose: where everything is, for the 3D view; None: nobody knows yet.
        status: what everybody does, and how they are.
        images: by camera.
        wanted_cameras: that somebody looks at.
        figures: of the server, for /diagnostics.
        on_answer: called by the node with (who, message) for a page.
        on_change: called by the node when there is something new to show.
    """

    def __init__(self) -> None:
        self.scene: dict = {}
        self.pose: dict | None = None
        self.status: dict = {}
        self.images: dict[str, CameraImage] = {}
        self.wanted_cameras: tuple[str, ...] = ()
        self.figures: dict[str, object] = {}
        self.on_answer: Callable[[int, dict], None] = _nobody
        self.on_change: Callable[[], None] = _nobody
        self._lock = threading.Lock()
        self._driven: Driven | None = None
        self._asks: deque[Asked] = deque(maxlen=MOST_ASKS)

    def drive(self, driven: Driven) -> None:
        """Leaves what shall go out; what was not taken yet is old."""
        with self._lock:
            self._driven = driven

    def ask(self, asked: Asked) -> None:
        """Leaves a request."""
        with self._lock:
            self._asks.append(asked)

    def take(self) -> tuple[Driven | None, list[Asked]]:
        """What shall go out, and the requests, since the last time."""
        with self._lock:
            driven, self._driven = self._driven, None
            asks = list(self._asks)
            self._asks.clear()
        return driven, asks


def _nobody(*_given: object) -> None:
    """Nobody listens yet."""
