"""The operator's page in a headless Chromium with an emulated headset: what it shows, and a person's hands on it."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from humanoid_control.errors import ConfigurationError
from humanoid_control.installation import share_folder
from humanoid_control.transforms import from_pose, to_pose
from policies.evaluation.person import DrivingError, Handling, Sight

HEADSET = "build/iwer/package/build/iwer.min.js"
# It runs as whoever tries, maybe root; and asks nothing of the network.
FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
WORN = {"width": 320, "height": 240}  # what a headset has drawn twice is drawn small
# Started by root, Chromium gives its drawing more right to the processor than the robot's control has: that is taken from it.
MODESTLY = "exec setpriv --bounding-set=-sys_nice"
PATIENCE_S = 60.0
LOOK_MS = 10
FRAME_MS = 50  # a machine without a graphics card would do nothing but draw
DRAW_SELDOM = f"""
const drawSoon = window.requestAnimationFrame.bind(window);
let drawn = 0;
window.requestAnimationFrame = (draw) => drawSoon(function look(now) {{
  if (now !== drawn && now - drawn < {FRAME_MS}) return drawSoon(look);
  drawn = now;
  draw(now);
}});
"""
OFFER_HEADSET = """
window.device = new IWER.XRDevice(IWER.metaQuest3);
window.device.installRuntime({forceInstall: true});
const controllers = ["left", "right"].map((side) => window.device.controllers[side]);
for (const {inputSource} of controllers) {
  const grip = inputSource.gripSpace[IWER.P_SPACE];
  grip.emulated = false; // its place is seen, and not guessed at
  grip.offsetMatrix.set([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]); // where the controller is, the hand is
}
// hands: [x, y, z, qx, qy, qz, qw] each, x ahead of the person; sticks: ahead, left, turning.
window.handle = ({hands, held, grip, sticks}) => {
  controllers.forEach((controller, side) => {
    const [ahead, left, up, x, y, z, w] = hands[side];
    controller.position.set(-left, up, -ahead);
    controller.quaternion.set(-y, z, -x, w);
    controller.updateButtonValue("squeeze", held ? 1 : 0);
    controller.updateButtonValue("trigger", grip);
  });
  controllers[0].updateAxes("thumbstick", -sticks[1], -sticks[0]);
  controllers[1].updateAxes("thumbstick", -sticks[2], 0);
};
"""


class PageInBrowser:
    """One page.

    Attributes:
        status: what it was told last of control, policy, recorder, nodes; empty before.
        images: how many it was sent.
        stalls_s: s between two poses that came 0.3 s or more apart.
    """

    def __init__(self, browser, url: str, name: str, *, viewport: dict[str, int], script: str = "", rate: float = 1.0) -> None:
        self._rate = rate
        self._context = browser.new_context(viewport=viewport)
        self._context.set_default_timeout(PATIENCE_S * 1000)
        self.page = self._context.new_page()
        self._pose: dict | None = None
        self._pose_s = 0.0
        self.status: dict = {}
        self.images, self.stalls_s = 0, []
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._hear))
        self.page.add_init_script(f"localStorage.setItem('name', {name!r}); {script}")
        self.page.goto(url)
        self.page.locator("#seat", has_text="in control").wait_for()

    def _hear(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self.images += 1
            return
        fields = json.loads(data)
        if fields["type"] == "status":
            self.status = fields
        elif fields["type"] == "pose":
            now = time.monotonic()
            if self._pose is not None and now - self._pose_s > 0.3:
                self.stalls_s.append(now - self._pose_s)
            self._pose, self._pose_s = fields, now

    @property
    def mode(self) -> str:
        """Of control, as the page shows it."""
        return (self.status.get("control") or {}).get("mode", "")

    @property
    def episode(self) -> str:
        """That is recorded now; empty: none."""
        return (self.status.get("recorder") or {}).get("episode", "")

    @property
    def images_shown_after(self) -> dict[str, str]:
        """How long after they were taken its images were shown, the way back to the server included."""
        values = self.status["diagnostics"].get("operator_page_node", {}).get("values", {})
        return {name: value for name, value in values.items() if name.startswith("images shown after")}

    @property
    def banner(self) -> str:
        """What it says is wrong."""
        return self.page.inner_text("#banner")

    def wait(self, is_so: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
        """Lets the page go on until something is so.

        Raises:
            DrivingError: it never is.
        """
        until = time.monotonic() + timeout_s
        while not is_so():
            if time.monotonic() > until:
                raise DrivingError(f"{what}; the page says: {self.banner or 'nothing'}")
            self.page.wait_for_timeout(LOOK_MS)

    def take_control(self) -> None:
        """Presses the button, and waits until the page drives."""
        self.page.click("#control")
        self.page.locator("#seat", has_text="you are in control").wait_for()
        self.wait(lambda: self.status["seat"]["is_yours"] and self.status["seat"]["has_let_go"], "it does not drive")

    def press(self, selector: str) -> None:
        """Presses a button once the page offers it."""
        self.wait(lambda: self.page.locator(selector).is_enabled(), f"{selector} is not offered")
        self.page.click(selector)

    def wear_headset(self) -> None:
        """Enters VR."""
        self.press("#vr")
        self.page.locator("#vr", has_text="Leave VR").wait_for()

    def take_off_headset(self) -> None:
        """Leaves VR: by the page's button, though the headset's view is before it."""
        self.page.dispatch_event("#vr", "click")
        self.page.locator("#vr", has_text="Enter VR").wait_for()

    def next_sight(self) -> Sight:
        """The next that the page shows of the robot.

        Raises:
            DrivingError: it shows nothing more.
        """
        before = self._pose_s
        self.wait(lambda: self._pose_s > before, "no pose comes")
        pose = self._pose
        return Sight(
            self._rate * self._pose_s, _matrix(pose["footprint"]), tuple(_matrix(hand) for hand in pose["hands"]), np.array(pose["openings"]),
            {name: _matrix(tote) for name, tote, _ in pose["totes"]}, None if pose["map"] is None else _matrix(pose["map"]), self.mode == "walking",
            self.status["seat"]["has_let_go"],
        )  # fmt: skip

    def handle(self, handling: Handling) -> None:
        """Has headset and controllers do something."""
        self.page.evaluate("(done) => window.handle(done)", {
            "hands": [[float(number) for number in to_pose(hand)] for hand in handling.hands], "held": handling.held, "grip": handling.grip,
            "sticks": [float(stick) for stick in handling.sticks]})  # fmt: skip

    def close(self) -> None:
        """Closes it."""
        self._context.close()


def _matrix(pose: list[float]) -> np.ndarray:
    """(4, 4) of a pose that was rounded on its way."""
    numbers = np.array(pose)
    numbers[3:] /= np.linalg.norm(numbers[3:])
    return from_pose(numbers)


@contextmanager
def chromium() -> Iterator:
    """A headless browser.

    Raises:
        ConfigurationError: there is none, or no headset for it.
    """
    path = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None or not headset_file().is_file():
        raise ConfigurationError("Chromium, Playwright or the emulated headset are missing: scripts/set_up.sh browser")
    with sync_playwright() as play, tempfile.TemporaryDirectory() as folder:
        modest = Path(folder, "chromium")
        modest.write_text(f"#!/bin/sh\n{MODESTLY} {path} \"$@\"\n")
        modest.chmod(0o700)
        browser = play.chromium.launch(executable_path=modest, args=FLAGS)
        yield browser
        browser.close()


def headset_file() -> Path:
    """Of the emulated headset."""
    return share_folder() / HEADSET


def open_with_headset(browser, url: str, name: str, *, rate: float) -> PageInBrowser:
    """A page whose browser has a headset.

    Args:
        browser: of `chromium`.
        url: of the page.
        name: of the person.
        rate: simulated time over wall time: where the robot is slow, so is the person.
    """
    return PageInBrowser(browser, url, name, viewport=WORN, script=DRAW_SELDOM + headset_file().read_text() + OFFER_HEADSET, rate=rate)
