"""The operator's page in a real browser, beside real nodes."""

import re
import shutil
import time

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from humanoid_control.operator_page.server import LANES
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.qos import create_publisher
from humanoid_control.teleoperation.gamepad import GamepadLayout
from policies.evaluation.page_in_browser import FLAGS, headset_file

playwright = pytest.importorskip("playwright.sync_api", reason="no browser to drive: scripts/set_up.sh browser")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: scripts/set_up.sh browser")

LAYOUT = GamepadLayout()
PATIENCE_S = 60.0  # a busy machine without a graphics card draws slowly
GAMEPAD = """
window.pad = {connected: true, mapping: "standard", id: "a gamepad", axes: [0, 0, 0, 0],
              buttons: Array.from({length: 17}, () => ({pressed: false, value: 0}))};
navigator.getGamepads = () => [window.pad];
"""
WEAR = """
window.device = new IWER.XRDevice(IWER.metaQuest3);
window.device.installRuntime({forceInstall: true});
// Whether a controller's place is seen, and not guessed at; iwer's own are always guessed at.
window.see = (controller, isSeen) => { controller.inputSource.gripSpace[IWER.P_SPACE].emulated = !isSeen; };
Object.values(window.device.controllers).forEach((controller) => window.see(controller, true));
"""


@pytest.fixture(scope="module")
def node(graph, tmp_path_factory):
    graph.state = tmp_path_factory.mktemp("state")
    graph.listen(topics.JOY, *topics.OPERATOR_HANDS, topics.CONTROL_STATUS)
    graph.start("control_node")
    graph.start("operator_page_node", port=0, folder=graph.state)
    graph.wait_until(lambda: "the operator's page: http" in graph.log("operator_page_node"), what="no page")
    graph.camera = create_publisher(graph.node, topics.camera_topics("head_camera")["image_raw/compressed"])
    graph.wait_until(lambda: topics.CONTROL_STATUS.name in graph.newest)
    return graph


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def url_of(node):
    return re.findall(r"page: (\S+)", node.log("operator_page_node"))[-1]


@pytest.fixture
def open_page(node, browser):
    """Opens pages, each in a browser of its own, that must not complain in their consoles."""
    contexts, complaints = [], []

    def make(name="Ada", script="", **options):
        context = browser.new_context(**{"viewport": {"width": 1000, "height": 600}, **options})
        contexts.append(context)
        context.set_default_timeout(PATIENCE_S * 1000)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.add_init_script(f"localStorage.setItem('name', {name!r}); {script}")
        page.goto(url_of(node))
        page.locator("#seat", has_text="in control").wait_for()
        return page

    make.complaints = complaints
    yield make
    for context in contexts:
        context.close()


def wait(node, page, is_so, what, timeout_s=PATIENCE_S):
    """Lets both the browser and ROS go on."""
    until = time.monotonic() + timeout_s
    while not is_so():
        node.spin(0.05)
        page.wait_for_timeout(20)
        assert time.monotonic() < until, f"{what}; the page says: {page.inner_text('#banner')}"


def take_control(node, page):
    page.click("#control")
    page.locator("#seat", has_text="you are in control").wait_for()
    count = len(node.heard[topics.JOY.name])
    wait(node, page, lambda: len(node.heard[topics.JOY.name]) > count, "nothing is driven")


def is_held(node, clutch):
    return node.newest[topics.JOY.name].buttons[clutch] == 1


def test_the_page_shows_an_image_with_its_age_and_the_robot_and_complains_of_nothing(node, open_page):
    page = open_page()
    wait(node, page, node.camera.get_subscription_count, "nobody looks")
    picture = np.zeros((90, 160, 3), np.uint8)
    picture[:, :, 2] = 200  # red
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    colour = "(() => [...document.getElementById('picture').getContext('2d').getImageData(80, 45, 1, 1).data])()"

    def is_shown():
        message = CompressedImage(format="jpeg", data=data)
        message.header.stamp = node.newest[topics.CONTROL_STATUS.name].header.stamp
        node.camera.publish(message)
        red, green, _, _ = page.evaluate(colour)
        return red > 150 and green < 60

    wait(node, page, is_shown, "no red picture")
    wait(node, page, lambda: re.fullmatch(r"\d+ ms old", page.inner_text("#age")), "no age")
    wait(node, page, lambda: page.locator(".hand-L").is_visible(), "no robot")
    wait(node, page, lambda: "camera lost" in page.inner_text("#lost"), "the camera's silence is not told")
    assert page.inner_text("#mode") in ("standing", "holding") and "control" in page.inner_text("#health")
    assert "token" not in page.url and open_page.complaints == []


def test_a_key_holds_the_clutch_and_nothing_goes_out_before_taking_control(node, open_page):
    page = open_page()
    node.heard[topics.JOY.name].clear()
    page.keyboard.down("1")
    page.wait_for_timeout(500)
    node.spin(0.5)
    assert not node.heard[topics.JOY.name]
    page.keyboard.up("1")
    take_control(node, page)
    page.keyboard.down("1")
    wait(node, page, lambda: is_held(node, LAYOUT.clutches[0]), "no clutch")
    page.keyboard.up("1")
    wait(node, page, lambda: not is_held(node, LAYOUT.clutches[0]), "the clutch stays")
    page.keyboard.down("w")
    wait(node, page, lambda: is_held(node, LAYOUT.drive) and node.newest[topics.JOY.name].axes[LAYOUT.left_y] > 0.5, "it does not walk")
    page.keyboard.up("w")
    assert open_page.complaints == []


def test_inputs_go_out_by_turns_over_several_connections(node, open_page):
    page = open_page()
    ways = {}
    page.on("websocket", lambda socket: socket.on("framesent", lambda data: ways.setdefault(socket.url.rpartition("/")[2], set()).add(socket) if '"input"' in str(data) else None))
    page.reload()
    page.locator("#seat", has_text="in control").wait_for()
    take_control(node, page)
    wait(node, page, lambda: len(ways.get("lane", ())) == LANES and "socket" in ways, f"they go by {ways}")
    assert open_page.complaints == []


def settled(node, page, what):
    """Where it is on the page, once it stays there: a page that has just opened still makes room for what it learns."""
    boxes = [None]

    def stays():
        page.wait_for_timeout(300)
        boxes.append(page.locator(what).bounding_box())
        before, now = boxes[-2:]
        return before is not None and now is not None and all(abs(now[side] - before[side]) < 2.0 for side in ("x", "y"))  # a robot sways

    wait(node, page, stays, f"{what} does not stay")
    return boxes[-1]


def test_a_hand_is_dragged_in_the_view_with_its_clutch_held(node, open_page):
    page = open_page()
    take_control(node, page)
    box, hand = settled(node, page, "#view"), settled(node, page, ".hand-L")
    x, y = hand["x"] + hand["width"] / 2, hand["y"] + hand["height"] / 2
    assert box["x"] < x < box["x"] + box["width"]
    page.mouse.move(x, y)
    page.mouse.down()
    wait(node, page, lambda: is_held(node, LAYOUT.clutches[0]), "no clutch")
    before = conversions.pose_from_message(node.newest[topics.OPERATOR_HANDS[0].name].pose)
    page.mouse.move(x, y - 60, steps=5)
    moved = lambda: conversions.pose_from_message(node.newest[topics.OPERATOR_HANDS[0].name].pose) - before  # noqa: E731
    wait(node, page, lambda: moved()[2] > 0.1, "the hand does not rise")
    assert not is_held(node, LAYOUT.clutches[1])
    page.mouse.up()
    wait(node, page, lambda: not is_held(node, LAYOUT.clutches[0]), "the clutch stays")
    assert open_page.complaints == []


def test_a_gamepad_of_the_browser_drives(node, open_page):
    page = open_page(script=GAMEPAD)
    take_control(node, page)
    page.evaluate("pad.buttons[5] = {pressed: true, value: 1}; pad.buttons[7] = {pressed: true, value: 0.75}")
    wait(node, page, lambda: is_held(node, LAYOUT.clutches[1]) and node.newest[topics.JOY.name].axes[LAYOUT.triggers[1]] == -0.5, "no clutch with a trigger")
    assert page.inner_text("#gamepad") == "a gamepad"


def test_two_at_once_one_drives_and_the_other_reads_who(node, open_page):
    ada, bob = open_page("Ada"), open_page("Bob")
    take_control(node, ada)
    bob.locator("#seat", has_text="Ada is in control").wait_for()
    bob.click("#control")
    bob.locator("#banner", has_text="Ada is in control; ask them").wait_for()
    assert bob.locator("[data-ask=take_over]").is_disabled()


@pytest.mark.skipif(not headset_file().is_file(), reason="no headset for tests: scripts/set_up.sh browser")
def test_a_headset_drives_hands_and_walks_with_the_picture_in_view(node, open_page):
    page = open_page(script=headset_file().read_text() + WEAR, viewport={"width": 480, "height": 320})  # what is drawn twice is drawn small
    take_control(node, page)
    page.click("#vr")
    page.locator("#vr", has_text="Leave VR").wait_for()
    page.evaluate("device.controllers.left.position.set(-0.25, 1.2, -0.4); device.controllers.right.position.set(0.25, 1.2, -0.4);")
    page.evaluate("device.controllers.left.updateButtonValue('squeeze', 1)")

    def wait_holding(is_so, what):
        """A machine so slow that the page fell silent has its operator let go and squeeze again."""

        def is_so_or_again():
            if "Let go" in page.inner_text("#banner"):
                page.evaluate("device.controllers.left.updateButtonValue('squeeze', 0); device.controllers.right.updateAxes('thumbstick', 0, 0)")
                page.locator("#banner", has_text="Let go").wait_for(state="hidden")
                page.evaluate("device.controllers.left.updateButtonValue('squeeze', 1)")
            return is_so()

        wait(node, page, is_so_or_again, what)

    def hand():
        return conversions.pose_from_message(node.newest[topics.OPERATOR_HANDS[0].name].pose)[:3]

    def joy():
        return node.newest[topics.JOY.name]

    wait_holding(lambda: is_held(node, LAYOUT.clutches[0]), "no clutch")
    before = hand()
    page.evaluate("device.controllers.left.position.set(-0.35, 1.4, -0.7)")  # left, up and ahead
    wait_holding(lambda: np.allclose(hand() - before, [0.3, 0.1, 0.2], atol=0.01), "the hand goes elsewhere")
    page.evaluate("device.controllers.left.updateButtonValue('trigger', 1)")
    wait_holding(lambda: joy().axes[LAYOUT.triggers[0]] == -1.0, "no grip")
    page.evaluate("see(device.controllers.left, false)")
    wait(node, page, lambda: not is_held(node, LAYOUT.clutches[0]), "a hand whose place is guessed at is held")
    page.evaluate("see(device.controllers.left, true)")
    wait_holding(lambda: is_held(node, LAYOUT.clutches[0]), "no clutch again")
    page.evaluate("device.controllers.left.connected = false")
    wait(node, page, lambda: not is_held(node, LAYOUT.clutches[0]), "a controller that is gone holds")

    def turns():
        page.evaluate("device.controllers.right.updateAxes('thumbstick', 1, 0)")
        return is_held(node, LAYOUT.drive) and joy().axes[LAYOUT.right_x] == -1.0

    wait_holding(turns, "it does not turn to the right")
    assert open_page.complaints == []


def test_stop_stops_the_robot_without_control_and_says_who_pressed_it(node, open_page):
    page = open_page("Bob")
    page.click("#stop")
    wait(node, page, lambda: node.newest[topics.CONTROL_STATUS.name].mode == "stopped", "it does not stop")
    page.locator("#banner", has_text="Bob pressed stop").wait_for()
    assert page.inner_text("#mode") == "stopped"


def test_a_page_left_open_comes_back_by_itself_without_control(node, open_page):
    page = open_page()
    take_control(node, page)
    port = int(re.search(r":(\d+)/#", url_of(node))[1])
    node.kill("operator_page_node")
    page.locator("#banner", has_text="Not connected: the robot holds").wait_for()
    page.keyboard.down("1")
    node.spin(0.5)
    node.heard[topics.JOY.name].clear()
    node.start("operator_page_node", port=port, folder=node.state)
    page.locator("#seat", has_text="nobody is in control").wait_for()
    node.spin(0.5)
    assert not node.heard[topics.JOY.name]
    page.keyboard.up("1")
