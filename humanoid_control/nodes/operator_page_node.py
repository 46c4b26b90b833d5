"""Serves the operator's page: shows what robot, policy and recorder say, and sends out what the page's operator does.

What a page does goes out as a gamepad (`/joy`) and two tracked hands, which `teleop_node` retargets; its buttons call services.
It runs in two threads: ROS here, the server in its own, with the newest of everything between them.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped
from humanoid_interfaces import msg
from humanoid_interfaces.srv import EndEpisode, StartEpisode, Stop
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Joy
from std_srvs.srv import Trigger

from humanoid_control.errors import HumanoidControlError
from humanoid_control.nodes.factory_file import DESCRIPTION, find_factory
from humanoid_control.nodes.health import OK, WARN
from humanoid_control.nodes.life_cycle import ManagedNode, start
from humanoid_control.nodes.polled import Polled
from humanoid_control.operator_page.access import Token, is_loopback, make_tls, own_names, state_folder
from humanoid_control.operator_page.exchange import Asked, CameraImage, Exchange
from humanoid_control.operator_page.page_device import Driven
from humanoid_control.operator_page.protocol import CONFIRM_FLOOR, END_EPISODE, HAND_BACK, RESUME, START_EPISODE, STOP, TAKE_OVER, Ask
from humanoid_control.operator_page.scene import FloorShapes, RobotShapes, SeenThing, base_of, place_robot, place_totes, rounded
from humanoid_control.operator_page.server import PageServer
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.node_main import run_node
from humanoid_control.ros.parameters import parameter
from humanoid_control.ros.polling_executor import PollingExecutor
from humanoid_control.ros.qos import create_publisher
from humanoid_control.transforms import from_pose, to_pose
from humanoid_control.types import BaseEstimate, RobotState

NAME = "operator_page_node"
LOOK_PERIOD_S, POSE_PERIOD_S, STATUS_PERIOD_S = 0.005, 0.05, 0.2
NEWS_WAITING = 50  # messages of /diagnostics: of all nodes, from one look at them to the next
ANSWER_S = 5.0  # until a service counts as silent
STALE_S = 1.0  # after which a target is no more drawn
SERVICES = {STOP: (Stop, topics.STOP), RESUME: (Trigger, topics.RESUME), TAKE_OVER: (Trigger, topics.TAKE_OVER),
            HAND_BACK: (Trigger, topics.HAND_BACK), CONFIRM_FLOOR: (Trigger, topics.CONFIRM_FLOOR),
            START_EPISODE: (StartEpisode, topics.START_EPISODE), END_EPISODE: (EndEpisode, topics.END_EPISODE)}  # fmt: skip
LEVELS = {b"\0": "ok", b"\1": "warning", b"\2": "error", b"\3": "stale"}


@dataclass(frozen=True)
class OperatorPageParameters:
    """See config/operator_page_node.yaml."""

    host: str = parameter("127.0.0.1", "address to bind to; 0.0.0.0 for all of this machine: served by https then")
    port: int = parameter(8470, "to listen on; 0: any free one", minimum=0, maximum=65535)
    tls: str = parameter("auto", "https: off loopback, or always", choices=("auto", "always"))
    names: tuple[str, ...] = parameter((), "further host names and addresses by which the page may be asked for")
    folder: str = parameter("", "of token and certificate; empty: $XDG_STATE_HOME/humanoid_control or ~/.local/state/humanoid_control")
    factory: str = parameter("line_side", DESCRIPTION)
    gives_orders: bool = parameter(False, "an episode may be of an order of the factory, which is told while it lasts: where no mission_node tells orders")
    autostart: bool = parameter(True, "configure and activate by itself")


class OperatorPageNode(ManagedNode):
    """See the module."""

    def __init__(self) -> None:
        """Makes the node.

        Raises:
            ConfigurationError: a parameter is wrong.
        """
        super().__init__(NAME, OperatorPageParameters)
        self._server: PageServer | None = None

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        p = self.parameters
        self._factory = find_factory(p.factory)
        self._robot, self._floor = RobotShapes(RobotModel.load()), FloorShapes(self._factory)
        folder = Path(p.folder).expanduser() if p.folder else state_folder()
        self._token, names = Token(folder), own_names(p.names)
        is_open = not is_loopback(p.host)
        addresses = ("127.0.0.1", "::1", *([p.host] if is_open and p.host not in ("0.0.0.0", "::") else []))
        tls, fingerprint = make_tls(folder, (*names, *addresses)) if is_open or p.tls == "always" else (None, "")
        self._exchange = Exchange()
        self._exchange.scene = {"robot": self._robot.shapes, "floor": self._floor.shapes, "labels": self._floor.labels,
                                "zones": self._floor.zones, "totes": self._floor.totes, "orders": self._floor.orders if p.gives_orders else []}  # fmt: skip
        self._server = PageServer(self._exchange, self._token, host=p.host, port=p.port, names=names, cameras=topics.CAMERAS, tls=tls)
        self._server.start()
        shown = names[1] if p.host in ("0.0.0.0", "::") else p.host
        url = f"{'https' if tls else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{self._server.port}/#token={self._token.text}"
        self.get_logger().info(f"the operator's page: {url}")
        if fingerprint:
            self.get_logger().info(f"its certificate's SHA-256 fingerprint, to be compared with what the browser shows: {fingerprint}")

    def clean_up(self) -> None:
        """See `ManagedNode.clean_up`."""
        if self._server is not None:
            self._server.end()
            self._server = None

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        self._state_data: bytes | None = None  # the newest, which most often is only asked for its time
        self._state: RobotState | None = None
        self._estimate: BaseEstimate | None = None
        self._pose_due_s = 0.0
        self._heard: dict[str, tuple[float, object]] = {}
        self._diagnostics: dict[str, tuple[float, dict]] = {}
        self._odom_from_map: np.ndarray | None = None
        self._totes: list[list] = []
        self._cameras: dict[str, Polled] = {}
        self._count, self._trouble = 0, ""
        self._joy, *self._hands = (create_publisher(self, topic) for topic in (topics.JOY, *topics.OPERATOR_HANDS))
        self._callers = {what: self.create_client(kind, name) for what, (kind, name) in SERVICES.items()}
        self._waiting: dict = {}
        self._order = msg.Order()
        self._orders = create_publisher(self, topics.CURRENT_ORDER) if self.parameters.gives_orders else None
        self._states = Polled(self, topics.ROBOT_STATE, raw=True)
        self._estimates, self._detections, self._reports = (
            Polled(self, topics.BASE_ESTIMATE), Polled(self, topics.DETECTIONS), Polled(self, topics.DIAGNOSTICS, depth=NEWS_WAITING))
        self._told_by = {topic.name: Polled(self, topic) for topic in (
            topics.WHOLE_BODY_TARGET, topics.CONTROL_STATUS, topics.POLICY_STATUS, topics.RECORDER_STATUS, topics.CURRENT_ORDER)}  # fmt: skip
        self._timers_of_page = [self.create_timer(STATUS_PERIOD_S, self._tell_status),
                                self.create_timer(1.0 / topics.CURRENT_ORDER.rate_hz, self._tell_order)]  # fmt: skip

    def deactivate(self) -> None:
        """See `ManagedNode.deactivate`."""
        for timer in self._timers_of_page:
            self.destroy_timer(timer)
        for ear in (self._states, self._estimates, self._detections, self._reports, *self._told_by.values(), *self._cameras.values()):
            ear.destroy()
        for publisher in filter(None, (self._joy, *self._hands, self._orders)):
            self.destroy_publisher(publisher)
        for caller in self._callers.values():
            self.destroy_client(caller)

    def look(self) -> None:
        """Sends out what the page's operator does, takes the newest images in and, less often, all else that pages show."""
        if not self.is_active:
            return
        self._take()
        self._take_images()
        if time.monotonic() >= self._pose_due_s:
            self._pose_due_s = time.monotonic() + POSE_PERIOD_S
            self._listen()
            self._tell_pose()

    # --- from the page ------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        driven, asks = self._exchange.take()
        if driven is not None:
            self._publish(driven)
        for asked in asks:
            self._call(asked)
        wanted = self._exchange.wanted_cameras
        for camera in set(self._cameras) - set(wanted):
            self._cameras.pop(camera).destroy()
            self._exchange.images = {name: image for name, image in self._exchange.images.items() if name != camera}
        for camera in set(wanted) - set(self._cameras):
            self._cameras[camera] = Polled(self, topics.camera_topics(camera)["image_raw/compressed"])

    def _publish(self, driven: Driven) -> None:
        joy = Joy(axes=driven.axes, buttons=driven.buttons)
        joy.header.stamp = self.get_clock().now().to_msg()
        for publisher, pose in zip(self._hands, driven.hands):
            publisher.publish(PoseStamped(header=joy.header, pose=conversions.pose_to_message(pose)))
        self._joy.publish(joy)  # last: with it the poses count

    def _call(self, asked: Asked) -> None:
        ask, caller = asked.ask, self._callers[asked.ask.what]
        if ask.what == STOP:
            self.get_logger().warning(f"{asked.name or 'somebody'} stops the robot from the page")
        if ask.order is not None and not (self._orders is not None and ask.order < len(self._factory.orders)):
            self._answer(asked, False, "there is no such order here")
            return
        if not caller.service_is_ready():
            self._answer(asked, False, f"nobody offers /{SERVICES[ask.what][1]}: is its node running?")
            return
        if ask.what == STOP:
            request = Stop.Request(reason=f"{asked.name or 'somebody'} pressed stop on the operator's page")
        elif ask.what == START_EPISODE:
            request = StartEpisode.Request(operator_name=asked.name, task=ask.task)
        elif ask.what == END_EPISODE:
            request = EndEpisode.Request(keep=ask.keep, outcome=ask.outcome, note=ask.note)
        else:
            request = Trigger.Request()
        future = caller.call_async(request)
        self._waiting[future] = time.monotonic(), asked
        future.add_done_callback(self._take_answer)

    def _take_answer(self, future) -> None:
        _, asked = self._waiting.pop(future, (0.0, None))
        if asked is not None and not future.cancelled():
            answer = future.result()
            if answer.success:
                self._note_order(asked.ask, answer)
            self._answer(asked, answer.success, answer.message or getattr(answer, "name", ""))

    def _note_order(self, ask: Ask, answer) -> None:
        """An episode has begun, maybe of an order, or ended, and its order with it."""
        if ask.what == START_EPISODE and ask.order is not None:
            self._order = conversions.order_to_message(self._factory.orders[ask.order], answer.name)
        elif ask.what in (START_EPISODE, END_EPISODE):
            self._order = msg.Order()
        self._tell_order()

    def _tell_order(self) -> None:
        if self._orders is not None:
            self._orders.publish(self._order)

    def _answer(self, asked: Asked, success: bool, message: str) -> None:
        self._exchange.on_answer(asked.who, {"type": "answer", "number": asked.ask.number, "what": asked.ask.what,
                                             "success": success, "message": message})  # fmt: skip

    # --- what is heard ------------------------------------------------------------------------------------------------

    def _hear_diagnostics(self, message) -> None:
        now = time.monotonic()
        for status in message.status:
            values = {value.key: value.value for value in status.values}
            self._diagnostics[status.name] = now, {"level": LEVELS.get(status.level, "stale"), "message": status.message, "values": values}

    def _listen(self) -> None:
        """Takes the newest of everything but images."""
        try:
            self._take_state()
            if self._state_data is not None:
                self._state = conversions.robot_state_from_message(deserialize_message(self._state_data, msg.RobotState))
            for message in self._estimates.take():
                self._estimate = conversions.base_estimate_from_message(message)
            self._trouble = ""
        except HumanoidControlError as error:
            self._trouble = str(error)
        for message in self._detections.take():
            self._take_detections(message)
        for name, ear in self._told_by.items():
            for message in ear.take():
                self._heard[name] = time.monotonic(), message
        for message in self._reports.take():
            self._hear_diagnostics(message)

    def _take_state(self) -> None:
        self._state_data = (self._states.take() or [self._state_data])[-1]

    def _take_images(self) -> None:
        for camera, ear in self._cameras.items():
            for message in ear.take():
                self._take_state()
                now_s = 1e-9 * conversions.stamp_of_data(self._state_data) if self._state_data is not None else 0.0  # on the robot's clock
                age_s = now_s - conversions.time_from_message(message.header.stamp)
                self._count += 1
                image = CameraImage(self._count, bytes(message.data), time.monotonic() - max(age_s, 0.0))
                self._exchange.images = {**self._exchange.images, camera: image}
                self._exchange.on_change()

    def _take_detections(self, message) -> None:
        if self._estimate is None:
            return
        odom_from_base, found = base_of(self._estimate), {"tote": [], "surface": []}
        for detection in message.detections:
            for result in detection.results[:1]:
                pose = conversions.pose_from_message(result.pose.pose)
                if result.hypothesis.class_id in found and np.isfinite(pose).all():
                    spread = float(np.trace(np.reshape(result.pose.covariance, (6, 6))[:3, :3]))
                    found[result.hypothesis.class_id].append(SeenThing(detection.id, from_pose(pose), spread, result.hypothesis.score > 0))
        placed = self._floor.odom_from_map(odom_from_base, found["surface"])
        self._odom_from_map = self._odom_from_map if placed is None else placed
        self._totes = place_totes(odom_from_base, found["tote"])

    # --- what is told -------------------------------------------------------------------------------------------------

    def _tell_pose(self) -> None:
        if self._state is None or self._estimate is None or not self._server_has_pages():
            return
        links, hands = self._robot.place(self._state, self._estimate)
        pose = {"links": links, "hands": hands, **place_robot(self._estimate), "totes": self._totes, "targets": self._hand_targets(), "openings": rounded(self._state.gripper_openings),
                "map": None if self._odom_from_map is None else rounded(to_pose(self._odom_from_map))}  # fmt: skip
        self._exchange.pose = pose
        self._exchange.on_change()

    def _server_has_pages(self) -> bool:
        return bool(self._exchange.figures.get("pages"))

    def _hand_targets(self) -> list | None:
        """Where the hands are told to be, in base_footprint; None: nobody tells them there."""
        heard_s, target = self._heard.get(topics.WHOLE_BODY_TARGET.name, (-math.inf, None))
        if time.monotonic() - heard_s > STALE_S or target.header.frame_id != target.FRAME_BASE_FOOTPRINT:
            return None
        return [rounded(conversions.pose_from_message(pose)) for pose in target.hand_poses]

    def _tell_status(self) -> None:
        now = time.monotonic()
        for future, (since_s, asked) in list(self._waiting.items()):
            if now - since_s > ANSWER_S:
                del self._waiting[future]
                self._callers[asked.ask.what].remove_pending_request(future)
                self._answer(asked, False, f"/{SERVICES[asked.ask.what][1]} did not answer for {ANSWER_S:g} s")
        rivals = self.count_publishers(topics.JOY.name) - 1
        self._exchange.status = {
            "control": self._told(topics.CONTROL_STATUS, "mode", "reason", "step_count"),
            "policy": self._told(topics.POLICY_STATUS, "policy", "sub_task", "reason", "next_sub_task", "problem", "progress", "uncertainty",
                                 "outcome", "tier"),
            "recorder": self._told(topics.RECORDER_STATUS, "episode", "duration", "missed", "free_space", "problem"),
            "order": self._told(topics.CURRENT_ORDER, "tote", "to", "shelf", "on"),
            "diagnostics": {name: {**row, "age": round(now - heard_s, 1)} for name, (heard_s, row) in sorted(self._diagnostics.items())},
            "services": [what for what, caller in self._callers.items() if caller.service_is_ready()],
            "rivals": max(rivals, 0), "listeners": self._joy.get_subscription_count(),
        }  # fmt: skip
        self._exchange.on_change()
        figures = self._exchange.figures
        self.health.values.update(figures)
        if rivals > 0:
            self.health.set(WARN, f"another {rivals} publish /joy: end them, or hands and walking get mixed orders", kind="rivals")
        elif self._trouble:
            self.health.set(WARN, self._trouble, kind="trouble")
        else:
            self.health.set(OK, f"{figures.get('operator', 'nobody')} is in control, {figures.get('pages', 0)} pages are open", kind="serves")

    def _told(self, topic: topics.Topic, *names: str) -> dict | None:
        """The newest message of a topic, as a page shows it; None: there was none yet."""
        if topic.name not in self._heard:
            return None
        heard_s, message = self._heard[topic.name]
        values = {name: getattr(message, name) for name in names}
        if "tier" in values:
            values["tier"] = conversions.tier_name(values["tier"])
        finite = {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}
        return {**finite, "age": round(time.monotonic() - heard_s, 2)}


def main() -> int:
    """Runs the node."""
    return run_node(lambda: start(OperatorPageNode()), make_executor=lambda: PollingExecutor(LOOK_PERIOD_S))


if __name__ == "__main__":
    sys.exit(main())
