"""The operator's page over real DDS: what a page does goes out, what robot and recorder say comes in."""

import asyncio
import json
import random
import re
import threading

import aiohttp
import pytest
from humanoid_interfaces.msg import PolicyStatus
from humanoid_interfaces.srv import Stop
from sensor_msgs.msg import CompressedImage, Joy

from humanoid_control.nodes.health import ERROR
from humanoid_control.recording.card import CARD, Card
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.qos import create_publisher
from humanoid_control.teleoperation.gamepad import GamepadLayout

LEFT_CLUTCH = GamepadLayout().clutches[0]
IDLE = {"axes": [0.0, 0.0, 1.0, 0.0, 0.0, 1.0], "buttons": [0] * 8, "hands": [None, None]}
HAND = [0.3, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0]


class Page:
    """A page in a thread of its own; keeps the newest of each kind of message."""

    def __init__(self, url):
        self.base, self.token = url.split("/#token=")
        self.newest, self.images, self.answers = {}, [], []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.run(self._open())

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10.0)

    async def _open(self):
        self.session = aiohttp.ClientSession()
        self.socket = await self.session.ws_connect(f"{self.base}/socket", origin=self.base)
        await self.socket.send_json({"type": "hello", "token": self.token, "name": "Ada"})
        self.listener = asyncio.create_task(self._listen())

    async def _listen(self):
        async for message in self.socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                length = int.from_bytes(message.data[:4], "little")
                self.images.append((json.loads(message.data[4 : 4 + length]), message.data[4 + length :]))
            else:
                fields = json.loads(message.data)
                self.newest[fields["type"]] = fields
                if fields["type"] == "answer":
                    self.answers.append(fields)

    def say(self, kind, **fields):
        self.run(self.socket.send_json({"type": kind, **fields}))

    def do(self, **changes):
        self.say("input", t=self.loop.time(), **{**IDLE, **changes})

    def close(self):
        self.run(self.socket.close())
        self.run(self.session.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


@pytest.fixture(scope="module")
def node(graph, tmp_path_factory):
    graph.state = tmp_path_factory.mktemp("state")
    graph.listen(topics.JOY, *topics.OPERATOR_HANDS)
    graph.start("operator_page_node", port=0, folder=graph.state)
    graph.wait_until(lambda: "the operator's page: http" in graph.log("operator_page_node"), what="no page")
    graph.wait_until(lambda: graph.node.count_publishers(topics.JOY.name) == 1 and graph.diagnostics.get("operator_page_node"))
    return graph


@pytest.fixture
def page(node):
    made = Page(re.search(r"page: (\S+)", node.log("operator_page_node"))[1])
    yield made
    made.close()


def press(graph, page, what, **more):
    page.answers.clear()
    page.say("ask", number=1, what=what, **more)
    graph.wait_until(lambda: page.answers, 20.0, f"no answer to {what}")
    return page.answers[0]


def test_what_the_operator_does_goes_out_until_the_page_is_gone(node, page):
    page.say("control", wanted=True)
    page.do()
    node.wait_until(lambda: topics.JOY.name in node.newest, 10.0)
    held = [int(button == LEFT_CLUTCH) for button in range(8)]
    for _ in range(10):
        page.do(buttons=held, hands=[HAND, None])
        node.spin(0.02)
    node.wait_until(lambda: node.newest[topics.JOY.name].buttons[LEFT_CLUTCH] == 1, 10.0)
    hand = node.newest[topics.OPERATOR_HANDS[0].name]
    assert list(conversions.pose_from_message(hand.pose)) == HAND and len(node.newest[topics.JOY.name].axes) == 6
    page.run(page.socket.close())
    node.spin(0.3)
    count = len(node.heard[topics.JOY.name])
    node.spin(0.5)
    assert len(node.heard[topics.JOY.name]) == count
    node.wait_until(lambda: node.figures["operator_page_node"]["operator"] == "nobody", 10.0)


def test_stop_needs_no_control_and_calls_the_service_with_who_pressed_it(node, page):
    assert "nobody offers /stop" in press(node, page, "stop")["message"]
    reasons = []

    def stop(request, response):
        reasons.append(request.reason)
        response.success, response.message = True, "stopped"
        return response

    service = node.node.create_service(Stop, topics.STOP, stop)
    node.wait_until(lambda: "stop" in page.newest.get("status", {}).get("services", ()), 20.0)
    answer = press(node, page, "stop")
    assert answer["success"] and reasons == ["Ada pressed stop on the operator's page"]
    assert "only watch" in press(node, page, "resume")["message"]
    node.node.destroy_service(service)


def test_images_are_asked_for_while_somebody_looks_and_come_as_they_are(node, page):
    row = topics.camera_topics("head_camera")["image_raw/compressed"]
    camera = create_publisher(node.node, row)
    node.spin(0.3)
    assert camera.get_subscription_count() == 0
    page.say("watch", cameras=["head_camera"])
    node.wait_until(lambda: camera.get_subscription_count() == 1, 10.0)

    def shown():
        camera.publish(CompressedImage(format="jpeg", data=b"\xff\xd8 a picture"))
        return page.images

    node.wait_until(shown, 10.0)
    head, data = page.images[0]
    assert head["camera"] == "head_camera" and data == b"\xff\xd8 a picture"
    page.say("watch", cameras=[])
    node.wait_until(lambda: camera.get_subscription_count() == 0, 10.0)


def test_the_policy_and_another_gamepad_are_told(node, page):
    policy, joy = create_publisher(node.node, topics.POLICY_STATUS), create_publisher(node.node, topics.JOY)
    joy.publish(Joy())

    def told():
        policy.publish(PolicyStatus(policy="learned", sub_task="grip", reason="in reach", uncertainty=float("nan"), tier=PolicyStatus.TIER_LEARNED))
        status = page.newest.get("status", {})
        return status.get("policy") and status["rivals"] == 1

    node.wait_until(told, 10.0)
    row = page.newest["status"]["policy"]
    assert (row["sub_task"], row["reason"], row["tier"], row["uncertainty"]) == ("grip", "in reach", "learned", None) and row["age"] < 5.0
    assert "another 1 publish /joy" in node.diagnostics["operator_page_node"][1]
    node.node.destroy_publisher(joy)


def test_an_episode_is_begun_and_discarded_and_a_full_disk_is_told(node, page, tmp_path):
    node.start("recorder_node", folder=tmp_path / "episodes", reserve_gb=0.0)
    page.say("control", wanted=True)
    node.wait_until(lambda: {"start_episode", "end_episode"} <= set(page.newest.get("status", {}).get("services", ())), 30.0)
    begun = press(node, page, "start_episode", task="stand")
    assert begun["success"], begun
    node.wait_until(lambda: (page.newest["status"]["recorder"] or {}).get("episode") == begun["message"], 20.0)
    assert press(node, page, "end_episode", keep=False)["success"]
    node.processes["recorder_node"].send_signal(2)
    assert node.processes["recorder_node"].wait(30) == 0
    node.wait_until(lambda: "start_episode" not in page.newest["status"]["services"], 30.0)
    node.start("recorder_node", folder=tmp_path / "full", reserve_gb=10_000.0)
    node.wait_until(lambda: "start_episode" in page.newest["status"]["services"], 30.0)
    refused = press(node, page, "start_episode", task="stand")
    assert not refused["success"] and "GB" in refused["message"]


def test_there_are_no_orders_to_choose_where_the_mission_tells_them(node, page):
    node.wait_until(lambda: "status" in page.newest, 20.0)
    assert page.newest["welcome"]["scene"]["orders"] == []
    page.say("control", wanted=True)
    refused = press(node, page, "start_episode", order=0)
    assert not refused["success"] and "no such order" in refused["message"]


def test_robot_and_scene_are_where_control_says(node, page):
    node.start("control_node")
    node.wait_until(lambda: "pose" in page.newest, what="no pose")
    assert {kind for _, kind, _, _, _ in page.newest["welcome"]["scene"]["robot"]} <= {"box", "cylinder", "sphere"}
    pose = page.newest["pose"]
    assert len(pose["links"]) == 1 + max(row[0] for row in page.newest["welcome"]["scene"]["robot"])
    left, right = pose["hands"]
    assert left[1] > 0.05 > -0.05 > right[1] and 0.3 < left[2] < 1.3 and len(pose["openings"]) == 2
    assert 0.5 < pose["base"][2] < 1.0


def test_a_thousand_wrong_messages_of_fifty_pages_cost_control_no_tick(node, page):
    """What is served, and to whom, is the page's process: control counts the ticks that it had to give up, and there are none."""
    node.start("control_node")
    node.wait_until(lambda: node.figures.get("control_node", {}).get("ticks"), what="control does not tick")
    before = node.figures["control_node"]
    draw = random.Random(7)
    wrong = ("{", "[" * 3000, "x" * 100_000, json.dumps({"type": "input", "t": 1.0, **IDLE, "axes": [9] * 6}), json.dumps({"type": "reboot"}),
             json.dumps({"type": "ask", "number": 1, "what": "resume", "task": "y" * 5000}), bytes(range(256)))  # fmt: skip

    async def intrude(session, count):
        while count:
            try:
                socket = await session.ws_connect(f"{page.base}/socket", origin=page.base)
            except aiohttp.WSServerHandshakeError as error:
                assert error.status == 503  # too many pages at once
                await asyncio.sleep(0.01)
                continue
            count -= 1
            try:
                await socket.send_json({"type": "hello", "token": draw.choice((page.token, "wrong")), "name": "Eve"})
                message = draw.choice(wrong)
                await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(message))
                async for _ in socket:  # until it is closed
                    pass
            except (aiohttp.ClientError, ConnectionError):
                pass  # closed while it was said
            await socket.close()

    async def attack():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as crowd:
            await asyncio.gather(*(intrude(crowd, 20) for _ in range(50)))

    attacked = asyncio.run_coroutine_threadsafe(attack(), page.loop)
    node.wait_until(attacked.done, 120.0, "the crowd is not turned away")
    attacked.result()
    count = int(node.figures["control_node"]["ticks"])
    node.wait_until(lambda: int(node.figures["control_node"]["ticks"]) > count, 10.0, "control ticks no more")
    after, served = node.figures["control_node"], node.figures["operator_page_node"]
    assert int(served["malformed messages"]) > 300 and int(served["wrong tokens"]) > 300
    assert after["time given up s"] == before["time given up s"]  # deadlines are absolute: a tick that came late was made up for
    assert node.diagnostics["control_node"][0] != ERROR


def test_a_port_that_is_taken_leaves_the_node_alive_with_the_remedy(node):
    port = int(re.search(r":(\d+)/#", node.log("operator_page_node"))[1])
    folder = node.state
    node.processes["first"] = node.processes.pop("operator_page_node")
    node.start("operator_page_node", port=port, folder=folder)
    node.wait_until(lambda: "choose another host or port" in node.log("operator_page_node"), what="not told")
    assert node.processes["operator_page_node"].poll() is None


def test_off_loopback_there_is_no_plain_http(node, tmp_path):
    node.processes["second"] = node.processes.pop("operator_page_node")
    node.start("operator_page_node", host="0.0.0.0", port=0, folder=tmp_path)
    node.wait_until(lambda: "SHA-256 fingerprint" in node.log("operator_page_node"), what="no certificate")
    port = int(re.findall(r"page: https://\S+:(\d+)/#", node.log("operator_page_node"))[-1])

    async def ask(scheme):
        async with aiohttp.ClientSession() as session:
            return (await session.get(f"{scheme}://127.0.0.1:{port}/", ssl=False)).status

    assert asyncio.run(ask("https")) == 200
    with pytest.raises(aiohttp.ClientError):
        asyncio.run(ask("http"))


def test_an_episode_of_an_order_tells_it_until_it_ends_and_the_next_knows_it_was_done(node, tmp_path):
    node.processes["https"] = node.processes.pop("operator_page_node")
    if "recorder_node" in node.processes:
        node.processes["recorder_node"].send_signal(2)
        assert node.processes["recorder_node"].wait(30) == 0
    node.listen(topics.CURRENT_ORDER, topics.POLICY_STATUS)  # the new page below knows of no old recorder
    known = len(re.findall(r"page: http:", node.log("operator_page_node")))
    node.start("operator_page_node", port=0, folder=node.state, gives_orders=True)
    node.start("recorder_node", folder=tmp_path, reserve_gb=0.0)
    node.start("control_node")
    node.start("teleop_node", in_control=True)
    pages = lambda: re.findall(r"page: (http:\S+)", node.log("operator_page_node"))  # noqa: E731
    node.wait_until(lambda: len(pages()) > known, what="no page")
    page = Page(pages()[-1])
    node.wait_until(lambda: "status" in page.newest, 20.0)
    assert page.newest["welcome"]["scene"]["orders"] == ["bring t1 to outfeed"]
    page.say("control", wanted=True)
    node.wait_until(lambda: {"start_episode", "end_episode"} <= set(page.newest.get("status", {}).get("services", ())), 30.0)
    name = press(node, page, "start_episode", order=0)["message"]
    order = lambda: node.newest.get(topics.CURRENT_ORDER.name)  # noqa: E731
    node.wait_until(lambda: order() and (order().tote, order().to, order().order_id) == ("t1", "outfeed", name), 10.0)
    driver = lambda: node.newest.get(topics.POLICY_STATUS.name)  # noqa: E731
    node.wait_until(lambda: driver() and driver().order_id == name, what="the person is not told of it")
    assert press(node, page, "end_episode", outcome="success")["success"]
    node.wait_until(lambda: not order().tote, 10.0)
    second = press(node, page, "start_episode")["message"]
    assert press(node, page, "end_episode")["success"]
    cards = [tmp_path / each / CARD for each in (name, second)]
    node.wait_until(lambda: all(card.is_file() for card in cards), 30.0)
    first, later = (Card.read(card) for card in cards)
    assert (first.task, first.outcome, first.done_before) == ("bring t1 to outfeed", "success", [])
    assert [done["tote"] for done in later.done_before] == ["t1"]
    page.close()
