"""The rungs `fiducial`, `detector` and `tracker` on topics: colour images, the robot's state and its estimate, as poses.

They subscribe to nothing else, and a test over the imports keeps the simulation out of their reach. What takes time is done
by the threads of `perception.live_vision`; the executor's callbacks only hand over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from humanoid_interfaces import msg
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.mission.factory import Factory
from humanoid_control.nodes.health import ERROR, OK, WARN
from humanoid_control.nodes.life_cycle import ManagedNode
from humanoid_control.nodes.polled import Polled
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import conversions, standard_messages, topics
from humanoid_control.ros.qos import create_publisher
from humanoid_control.transforms import to_pose
from humanoid_control.types import FRAME_ODOM
from perception.errors import PerceptionError
from perception.frame import CameraFrame
from perception.live_vision import LiveVision
from perception.matching_states import MatchingStates
from perception.mounting import rig_from_file
from perception.pnp import warm_up
from perception.poses import PoseSet
from perception.ros.image_messages import camera_from_message, frame_from_message, frame_to_message
from perception.ros.pose_messages import poses_to_message
from perception.vision import VisionPoses

FRAME_MAP = "map"
WATCH_PERIOD_S = 0.2
STATE_PERIOD_S = 0.016  # between the states that are kept, at least: every fourth of 250 a second
STATES_WAITING = 100
LEVELS = {"ok": OK, "warn": WARN, "error": ERROR}


class VisionRung:
    """See the module; each method is one of the node's life cycle."""

    def __init__(self, node: ManagedNode, factory: Factory) -> None:
        """Takes the node's parameters over."""
        self._node, self._factory = node, factory
        self._live: LiveVision | None = None

    def configure(self) -> None:
        """Loads calibration and networks.

        Raises:
            HumanoidControlError: one of them cannot be read, or is another's.
        """
        node, p = self._node, self._node.parameters
        warm_up()  # quick where kernels were compiled at set-up; elsewhere images must not wait for the compiler
        rig, self._uncalibrated = rig_from_file(RobotModel.load(), p.cameras, p.calibration)
        self._vision = VisionPoses(p.poses, self._factory, rig, models=p.models or None)
        self._detections = create_publisher(node, topics.DETECTIONS)
        self._transforms = create_publisher(node, topics.TF)
        self._drawn = {camera: create_publisher(node, topics.DRAWN[camera]) for camera in p.cameras}

    def activate(self) -> None:
        """Begins to listen and to look."""
        node, p = self._node, self._node.parameters
        people = tuple(person.name for person in self._factory.people)
        self._vision.forget()
        self._live = LiveVision(
            self._vision, rung=p.poses, rate_hz=p.rate_hz, on_poses=self._publish, on_look=self._draw, stale_s=p.stale_s,
            lost_s=p.lost_s, people=people, uncalibrated=self._uncalibrated)  # fmt: skip
        # Raw: most of them are not read.
        self._states = Polled(node, topics.ROBOT_STATE, depth=STATES_WAITING, raw=True)
        self._estimates = Polled(node, topics.BASE_ESTIMATE, depth=STATES_WAITING, raw=True)
        self._matching: MatchingStates[bytes, bytes] = MatchingStates(period_ns=round(1e9 * STATE_PERIOD_S))
        self._images = {camera: Polled(node, topics.camera_topics(camera)["image_raw"]) for camera in p.cameras}
        self._infos = {camera: Polled(node, topics.camera_topics(camera)["camera_info"]) for camera in p.cameras}
        self._known: dict[str, CameraInfo] = {}
        self._live.start()
        self._watch_timer = node.create_timer(WATCH_PERIOD_S, self._watch)

    def deactivate(self) -> None:
        """Looks no more."""
        self._node.destroy_timer(self._watch_timer)
        self._live.end()
        self._live = None
        for polled in (self._states, self._estimates, *self._images.values(), *self._infos.values()):
            polled.destroy()

    # --- in -------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Hands over what has come."""
        for state, estimate in self._matching.add(_stamped(self._states), _stamped(self._estimates)):
            try:
                measured = conversions.robot_state_from_message(deserialize_message(state, msg.RobotState))
                believed = conversions.base_estimate_from_message(deserialize_message(estimate, msg.BaseEstimate))
            except HumanoidControlError as error:
                self._live.note(str(error))
            else:
                self._live.add_state(measured, believed)
        for camera, infos in self._infos.items():
            for message in infos.take():
                self._take_camera_info(camera, message)
        for camera, images in self._images.items():
            for message in images.take():
                self._live.add_frame(frame_from_message(camera, message))

    def _take_camera_info(self, camera: str, message: CameraInfo) -> None:
        message.header.stamp.sec = message.header.stamp.nanosec = 0
        if message == self._known.get(camera):
            return
        self._known[camera] = message
        try:
            self._live.set_camera(camera, camera_from_message(camera, message))
        except ConfigurationError as error:
            self._live.set_camera(camera, f"its camera info is wrong: {error}")

    # --- out, in the threads of `LiveVision` ----------------------------------------------------------------------

    def _publish(self, poses: PoseSet, map_from_odom: np.ndarray) -> None:
        pose = to_pose(map_from_odom)
        transform = standard_messages.transform(poses.stamp_s, FRAME_MAP, FRAME_ODOM, pose[:3], pose[3:])
        self._send(self._detections, poses_to_message(poses))
        self._send(self._transforms, TFMessage(transforms=[transform]))

    def _draw(self, frame: CameraFrame) -> None:
        publisher = self._drawn[frame.camera]
        with self._unless_ros_is_down():
            if not publisher.get_subscription_count():
                return
            try:
                picture = self._vision.picture(frame)
            except PerceptionError:
                return  # all began anew meanwhile
            publisher.publish(frame_to_message(replace(frame, rgb=picture)))

    def _send(self, publisher, message: object) -> None:
        with self._unless_ros_is_down():
            publisher.publish(message)

    @contextmanager
    def _unless_ros_is_down(self) -> Iterator[None]:
        """Lets pass what rclpy raises when ROS goes down beneath this thread."""
        try:
            yield
        except Exception:
            if self._node.context.ok():
                raise

    # --- watching -------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        report = self._live.report()
        self._node.health.values = self._live.figures()
        self._node.health.set(LEVELS[report.level], report.message, kind=report.kind)
        if self._live.failure is not None:
            raise PerceptionError(report.message)


def _stamped(polled: Polled) -> list[tuple[int, bytes]]:
    return [(conversions.stamp_of_data(data), data) for data in polled.take()]
