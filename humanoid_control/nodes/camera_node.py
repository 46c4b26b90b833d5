"""Renders the simulated robot's cameras, and films the floor from outside, in a process of its own.

It follows the simulation's true state by topic. The robot's cameras show the newest state and drop what they are too
slow for; the film drops nothing, falls behind where the machine is slow, and is finished when the node is told to end.
Without OpenGL the node says so in /diagnostics, and everything else goes on.
"""

from __future__ import annotations

import array
import os
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import cv2
import mujoco
import numpy as np
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from humanoid_control.errors import ConfigurationError, HumanoidControlError
from humanoid_control.mission.factory import Factory
from humanoid_control.nodes.factory_file import DESCRIPTION, find_factory
from humanoid_control.nodes.health import ERROR, WARN
from humanoid_control.nodes.life_cycle import ManagedNode, start
from humanoid_control.nodes.polled import Polled
from humanoid_control.nodes.simulation_mirror import SimulationMirror
from humanoid_control.ros import conversions, topics
from humanoid_control.ros.node_main import run_node
from humanoid_control.ros.parameters import parameter
from humanoid_control.ros.polling_executor import PollingExecutor
from humanoid_control.ros.qos import create_publisher
from humanoid_control.simulation.cameras import CameraRenderer, camera_matrix, outside_camera
from humanoid_control.simulation.image_noise import DEVIATION, ImageNoise

NAME = "camera_node"
POLL_PERIOD_S = 0.005
START_TIMEOUT_S = 30.0
NICENESS = 10  # pictures wait for control, not the other way round


@dataclass(frozen=True)
class CameraParameters:
    """See config/camera_node.yaml."""

    factory: str = parameter("line_side", DESCRIPTION)
    seed: int = parameter(0, "of the simulated episode", minimum=0)
    tags: bool = parameter(False, "totes and stations carry AprilTags")
    cameras: bool = parameter(True, "render the robot's cameras")
    names: tuple[str, ...] = parameter(topics.CAMERAS, "of the robot's cameras", choices=topics.CAMERAS)
    rate_hz: float = parameter(15.0, "of each camera, at most", minimum=0.1, maximum=60.0)
    width: int = parameter(640, "pixels", minimum=16, maximum=3840)
    height: int = parameter(360, "pixels", minimum=16, maximum=2160)
    noise: float = parameter(DEVIATION, "standard deviation of colour images, of 255", minimum=0.0, maximum=50.0)
    jpeg_quality: int = parameter(90, "of compressed images", minimum=1, maximum=100)
    depth: bool = parameter(False, "depth images too")
    video: str = parameter("", "file to film to (mp4); empty: no film")
    video_rate_hz: float = parameter(20.0, "pictures a second of the film", minimum=1.0, maximum=50.0)
    video_width: int = parameter(960, "pixels, even", minimum=16, maximum=3840)
    video_height: int = parameter(540, "pixels, even", minimum=16, maximum=2160)
    video_pretty: bool = parameter(False, "shadows and smooth edges; without a graphics card five times slower")
    autostart: bool = parameter(True, "configure and activate by itself")


class CameraNode(ManagedNode):
    """See the module."""

    def __init__(self) -> None:
        """Makes the node.

        Raises:
            HumanoidControlError: a parameter or the factory is wrong.
        """
        super().__init__(NAME, CameraParameters)
        p = self.parameters
        self._factory = find_factory(p.factory)
        if p.video and (p.video_width % 2 or p.video_height % 2):
            raise ConfigurationError(f"{NAME}: the film is {p.video_width} x {p.video_height}; both numbers must be even")
        if p.video and not Path(p.video).resolve().parent.is_dir():
            raise ConfigurationError(f"{NAME}: parameter 'video' is {p.video!r}; there is no folder {Path(p.video).resolve().parent}")
        self._film: Film | None = None
        self._cameras: RobotCameras | None = None
        self._states: Polled | None = None

    def configure(self) -> None:
        """See `ManagedNode.configure`."""
        p = self.parameters
        if hasattr(os, "nice"):
            os.nice(max(0, NICENESS - os.nice(0)))
        self._mirror = SimulationMirror(self._factory, p.seed, tags=p.tags)
        if p.video:
            self._film = Film(self._factory, p.seed, Path(p.video), size=(p.video_width, p.video_height),
                              rate_hz=p.video_rate_hz, pretty=p.video_pretty, tags=p.tags)  # fmt: skip
            self._film.start()
        if p.cameras:
            self._cameras = RobotCameras(self, self._factory, p)
            self._cameras.start()

    def activate(self) -> None:
        """See `ManagedNode.activate`."""
        self._states = Polled(self, topics.SIMULATION_STATE, depth=100)

    def deactivate(self) -> None:
        """See `ManagedNode.deactivate`."""
        self._take_states()
        self._states.destroy()

    def clean_up(self) -> None:
        """See `ManagedNode.clean_up`."""
        if self._cameras is not None:
            self._cameras.end()
            self._cameras = None
        if self._film is not None:
            film, self._film = self._film, None
            if not film.failure:
                # Printed: ROS, and with it the logger, may be down already.
                print(f"finishes the film: {film.behind} pictures to go", flush=True)
            count = film.end()
            if count:
                print(f"filmed {self.parameters.video}: {count} pictures", flush=True)

    def look(self) -> None:
        """Takes in where everything is."""
        if self.is_active:
            self._take_states()

    def _take_states(self) -> None:
        for message in self._states.take():
            problem = self._mirror.problem_with(message.factory, message.seed, len(message.qpos))
            if problem:
                self.health.set(WARN, problem)
                continue
            stamp, qpos = conversions.time_from_message(message.header.stamp), np.array(message.qpos)
            if self._film is not None:
                self._film.add(qpos, stamp)
            if self._cameras is not None:
                self._cameras.show(qpos, stamp)
        for worker in (self._film, self._cameras):
            if worker is not None and worker.failure:
                self.health.set(ERROR, worker.failure)
        if self._film is not None:
            self.health.values["pictures behind"] = self._film.behind


class _Worker:
    """A thread that draws: OpenGL wants everything done in the thread that began."""

    def __init__(self, factory: Factory, seed: int, *, pretty: bool = False, tags: bool = False) -> None:
        self.failure = ""
        self._factory = factory
        self._mirror = SimulationMirror(factory, seed, tags=tags)
        self._pretty = pretty
        self._ending = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def start(self) -> None:
        """Starts to draw.

        Raises:
            HumanoidControlError: OpenGL does not start.
        """
        self._thread.start()
        self._ready.wait(START_TIMEOUT_S)
        if self.failure:
            raise ConfigurationError(self.failure)

    def _run(self) -> None:
        try:
            renderer = CameraRenderer(self._mirror.scene, pretty=self._pretty)
        except HumanoidControlError as error:
            self.failure = str(error)
            return
        finally:
            self._ready.set()
        try:
            self._draw(renderer)
        except HumanoidControlError as error:
            self.failure = str(error)
        except RuntimeError:
            if rclpy.ok():  # else ROS was ended between taking a picture and publishing it
                raise
        finally:
            renderer.close()

    def _draw(self, renderer: CameraRenderer) -> None:
        raise NotImplementedError

    def _show(self, qpos: np.ndarray, stamp: float) -> mujoco.MjData:
        self._mirror.show(qpos, stamp)
        mujoco.mj_kinematics(self._mirror.scene, self._mirror.data)
        mujoco.mj_camlight(self._mirror.scene, self._mirror.data)
        return self._mirror.data


class RobotCameras(_Worker):
    """Publishes what the robot's cameras see now."""

    def __init__(self, node: Node, factory: Factory, parameters: CameraParameters) -> None:
        """Makes the publishers."""
        super().__init__(factory, parameters.seed, tags=parameters.tags)
        self._newest: tuple[np.ndarray, float] | None = None  # positions and time of the newest state
        self._is_new = threading.Event()
        self._parameters = parameters
        self._noise = ImageNoise(self._mirror.episode.stream("images"), deviation=parameters.noise)
        self._senders = {name: {kind: create_publisher(node, topic) for kind, topic in topics.camera_topics(name).items()}
                         for name in parameters.names}  # fmt: skip

    def show(self, qpos: np.ndarray, stamp: float) -> None:
        """Hands over the newest state: positions, and its time."""
        self._newest = qpos, stamp
        self._is_new.set()

    def end(self) -> None:
        """Draws no more."""
        self._ending.set()
        self._is_new.set()
        self._thread.join(5.0)

    def _draw(self, renderer: CameraRenderer) -> None:
        period_s = 1.0 / self._parameters.rate_hz
        infos = {name: self._make_info(name) for name in self._parameters.names}
        due_s = time.monotonic()
        while not self._ending.is_set():
            self._is_new.wait()
            if self._ending.wait(due_s - time.monotonic()):
                return
            self._is_new.clear()
            due_s = time.monotonic() + period_s
            qpos, stamp = self._newest
            data = self._show(qpos, stamp)
            for name, senders in self._senders.items():
                self._publish(renderer, data, name, senders, infos[name], stamp)

    def _publish(self, renderer, data, name: str, senders: dict, info: CameraInfo, stamp: float) -> None:
        p = self._parameters
        header = conversions.make_header(stamp, f"{name}_optical")
        info.header = header
        if senders["camera_info"].get_subscription_count():
            senders["camera_info"].publish(info)
        raw, compressed = (senders[kind] for kind in ("image_raw", "image_raw/compressed"))
        wanted = [sender for sender in (raw, compressed) if sender.get_subscription_count()]
        if wanted:
            pixels = self._noise.added_to(renderer.rgb(data, name, width=p.width, height=p.height))
            if raw in wanted:
                raw.publish(_image(header, pixels, "rgb8", 3))
            if compressed in wanted:
                compressed.publish(_jpeg(header, pixels, p.jpeg_quality))
        if p.depth and senders["depth/image_raw"].get_subscription_count():
            depth = renderer.depth(data, name, width=p.width, height=p.height)
            senders["depth/image_raw"].publish(_image(header, depth, "32FC1", 4))

    def _make_info(self, name: str) -> CameraInfo:
        p = self._parameters
        k = camera_matrix(self._mirror.scene, name, width=p.width, height=p.height)
        info = CameraInfo(width=p.width, height=p.height, distortion_model="plumb_bob", d=[0.0] * 5)
        info.k, info.r = k.ravel(), np.eye(3).ravel()
        info.p = np.hstack([k, np.zeros((3, 1))]).ravel()
        return info


class Film(_Worker):
    """Films the floor from outside, without leaving anything out."""

    def __init__(self, factory: Factory, seed: int, path: Path, *, size: tuple[int, int], rate_hz: float, pretty: bool,
                 tags: bool = False) -> None:  # fmt: skip
        """Prepares the film; the file is written as pictures come.

        Args:
            factory, seed: of the simulation.
            path: an mp4 file.
            size: width and height in pixels.
            rate_hz: pictures a simulated second.
            pretty: shadows and smooth edges.
            tags: totes and stations carry AprilTags.
        """
        super().__init__(factory, seed, pretty=pretty, tags=tags)
        self._path, self._size, self._rate_hz = path, size, rate_hz
        self._waiting: deque[tuple[np.ndarray, float]] = deque()
        self._next_s: float | None = None

    @property
    def behind(self) -> int:
        """Pictures still to be drawn."""
        return len(self._waiting)

    def add(self, qpos: np.ndarray, stamp: float) -> None:
        """Takes a state over if a picture of it is due."""
        if self._next_s is None:
            self._next_s = stamp
        if stamp >= self._next_s - 1e-6 and not self.failure:
            self._next_s += 1.0 / self._rate_hz
            self._waiting.append((qpos, stamp))

    def end(self) -> int:
        """Draws what is left, closes the file and returns how many pictures it has."""
        self._ending.set()
        self._thread.join()
        return self._count

    _count = 0

    def _draw(self, renderer: CameraRenderer) -> None:
        import av

        width, height = self._size
        camera = outside_camera(self._factory, aspect=width / height)
        try:
            container = av.open(str(self._path), "w")
        except OSError as error:  # PyAV's errors are its own kinds of it
            raise ConfigurationError(f"the film {self._path} cannot be written: {error.strerror}") from None
        with container:
            stream = container.add_stream("libx264", rate=round(self._rate_hz))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.thread_count = 1
            stream.options = {"preset": "veryfast", "crf": "23"}
            while self._waiting or not self._ending.is_set():
                if not self._waiting:
                    time.sleep(0.01)
                    continue
                data = self._show(*self._waiting.popleft())
                pixels = renderer.rgb(data, camera, width=width, height=height)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
                self._count += 1
            container.mux(stream.encode())


def _image(header, pixels: np.ndarray, encoding: str, bytes_per_pixel: int) -> Image:
    height, width = pixels.shape[:2]
    # Any type but array.array would be converted one byte at a time.
    return Image(header=header, height=height, width=width, encoding=encoding, step=width * bytes_per_pixel,
                 data=array.array("B", pixels.tobytes()))  # fmt: skip


def _jpeg(header, pixels: np.ndarray, quality: int) -> CompressedImage:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    # As image_transport names it: pixels before, and in the file.
    return CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=array.array("B", data.tobytes()))


def main() -> int:
    """Runs the node."""
    return run_node(lambda: start(CameraNode()), make_executor=lambda: PollingExecutor(POLL_PERIOD_S))


if __name__ == "__main__":
    sys.exit(main())
