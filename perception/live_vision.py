"""Vision on a live robot: who hands something over never waits, and images that come too fast replace older ones.

Two threads work. One keeps up with the robot's states and tells poses at their rate; the other looks at the newest image of
each camera in turn. An image waits until the robot's states reach up to its time; meanwhile a newer one takes its place.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

import numpy as np

from humanoid_control.types import BaseEstimate, RobotState
from perception.camera_model import CameraModel
from perception.errors import PerceptionError
from perception.frame import CameraFrame
from perception.poses import PoseSet
from perception.vision import LOST_CAMERA_S, VisionPoses
from perception.vision_report import VisionReport, report

LOG = logging.getLogger(__name__)
WAIT_S = 0.1  # after which a thread looks whether it is to end
BEFORE_S = 5.0  # by which an image may be older than the first state: it was taken before work began, and is dropped
AHEAD_S = 0.5  # by which an image may be ahead of the states and wait for them; further ahead its stamp is wrong
MEMORY = 500  # figures of time that are remembered
RATE_WINDOW_S = 5.0
ENDING_S = 5.0
LOOKING_NICENESS = 3  # who looks waits for who keeps up: computing time for poses first


class LiveVision:
    """Feeds a `VisionPoses` from outside, in threads of its own.

    Args:
        vision: whose alone these threads are.
        rung: its name, for reports.
        rate_hz: of poses, on the robot's clock.
        on_poses: called with poses and map_from_odom (4, 4), in the thread that keeps up.
        on_look: called with each image that was looked at, in the thread that looks.
        stale_s: without a state of the robot, after which nothing is told.
        lost_s: without a usable image, after which a camera counts as lost; without any camera nothing is told.
        people: of the factory's file, whom no camera's rung sees.
        uncalibrated: cameras nobody has calibrated.
        clock: s, a clock that never goes back.
    """

    def __init__(
        self, vision: VisionPoses, *, rung: str, rate_hz: float, on_poses: Callable[[PoseSet, np.ndarray], None],
        on_look: Callable[[CameraFrame], None] | None = None, stale_s: float = 0.5, lost_s: float = LOST_CAMERA_S,
        people: tuple[str, ...] = (), uncalibrated: tuple[str, ...] = (), clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._vision, self._rung = vision, rung
        self._period_s = 1.0 / rate_hz
        self._on_poses, self._on_look = on_poses, on_look
        self._limits = {"stale_s": stale_s, "lost_s": lost_s}
        self._people, self._uncalibrated = people, uncalibrated
        self._clock = clock
        self._began = clock()
        self._ending = threading.Event()
        self._changed = threading.Condition()  # of what follows, up to the figures
        self._states: deque[tuple[RobotState, BaseEstimate]] = deque()
        self._newest: tuple[float, float] | None = None  # stamp of the newest state handed over, and when that was
        self._due_s = -np.inf  # when poses are to be told next, on the robot's clock
        self._first_s = np.inf  # stamp of the first state
        self._reached_s = -np.inf  # stamp up to which states were taken in
        self._restarts = 0  # how often the robot's clock went back
        self._frames: dict[str, CameraFrame] = {}
        self._arrived: dict[str, float] = {}  # when each camera's newest image came, on the robot's clock
        self._cameras: dict[str, CameraModel | str] = {}  # as handed over; text: why its intrinsics are no use
        self._faulty: dict[str, str] = {}  # the looking thread's
        self._looked: dict[str, float] = {}
        self._dropped: Counter[str] = Counter()
        self._untold: list[float] = []  # stamps of images that were looked at since poses were told
        self._latencies, self._looking = deque(maxlen=MEMORY), deque(maxlen=MEMORY)
        self._told: deque[float] = deque(maxlen=MEMORY)
        self._poses: PoseSet | None = None
        self._problem = ""
        self.failure: BaseException | None = None
        self._threads = [threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
                         for name, work in (("keeps up", self._keep_up), ("looks", self._look))]  # fmt: skip

    def start(self) -> None:
        """Begins to work."""
        self._began = self._clock()
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Works no more; what was handed over is forgotten."""
        self._ending.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(ENDING_S)

    # --- handing over: never waits --------------------------------------------------------------------------------

    def add_state(self, state: RobotState, estimate: BaseEstimate) -> None:
        """Takes over one state of the robot."""
        with self._changed:
            if self._newest is None:
                self._first_s = state.stamp_s
            elif state.stamp_s < self._newest[0]:
                self._restarts += 1
                self._first_s, self._reached_s = state.stamp_s, -np.inf
                self._frames.clear()  # of another time, as are the following
                self._arrived.clear()
                self._untold.clear()
            self._newest = state.stamp_s, self._clock()
            self._states.append((state, estimate))
            self._changed.notify_all()

    def add_frame(self, frame: CameraFrame) -> None:
        """Takes over an image; one of the same camera that nobody has looked at yet is dropped and counted."""
        with self._changed:
            if frame.camera in self._frames:
                self._dropped[frame.camera] += 1
            self._frames[frame.camera] = frame
            self._arrived[frame.camera] = self._newest[0] if self._newest is not None else frame.stamp_s  # stamps may be wrong
            self._changed.notify_all()

    def set_camera(self, name: str, camera: CameraModel | str) -> None:
        """Takes over a camera's intrinsics, or why they are no use."""
        with self._changed:
            self._cameras[name] = camera

    def note(self, problem: str) -> None:
        """Remembers what was wrong with something that could not be handed over, until the next such thing."""
        self._problem = problem

    # --- telling --------------------------------------------------------------------------------------------------

    def report(self) -> VisionReport:
        """How it all does, and whether poses are told."""
        now = self._clock()
        with self._changed:
            newest, arrived = self._newest, dict(self._arrived)
        if self.failure is not None:
            return VisionReport("error", f"{self._rung} failed: {self.failure}", "failed", tells=False)
        now_s, silence_s = (newest[0], now - newest[1]) if newest is not None else (None, np.inf)
        return report(self._vision.health, rung=self._rung, now_s=now_s, silence_s=silence_s, waited_s=now - self._began,
                      arrived=arrived, people=self._people, uncalibrated=self._uncalibrated, poses=self._poses, problem=self._problem,
                      **self._limits)  # fmt: skip

    def figures(self) -> dict[str, str]:
        """Rates, times and counts, for people to read."""
        now, health, poses = self._clock(), self._vision.health, self._poses
        told = sum(now - at < RATE_WINDOW_S for at in list(self._told))
        figures = {"poses a second": f"{told / RATE_WINDOW_S:.1f}"}
        for name, times in (("image to poses", list(self._latencies)), ("looking", list(self._looking))):
            if times:
                figures |= {f"{name} p{share} ms": f"{1e3 * np.percentile(times, share):.0f}" for share in (50, 99)}
        for name, camera in list(health.cameras.items()):
            last = f" (last: {camera.last_problem})" if camera.last_problem else ""
            figures[name] = f"{camera.used} used, {camera.refused} refused{last}, {self._dropped[name]} dropped"
        if poses is not None:
            for name, tote in poses.totes.items():
                spread = 1e3 * np.sqrt(np.linalg.eigvalsh(tote.covariance[:3, :3])[-1])
                seen = f"seen {max(poses.stamp_s - tote.stamp_s, 0.0):.1f} s ago" if np.isfinite(tote.stamp_s) else "not seen yet"
                figures[f"tote {name}"] = f"{seen}, {spread:.0f} mm uncertain"
        figures["not calibrated"] = ", ".join(self._uncalibrated) or "none"
        figures["people"] = "not seen by this rung"
        if health.restarts:
            figures["clock went back"] = f"{health.restarts} times"
        return figures

    # --- the threads ----------------------------------------------------------------------------------------------

    def _run(self, work: Callable[[], None]) -> None:
        try:
            if work == self._look and sys.platform == "linux":  # where threads have priorities of their own
                _yield_to_others()
            while not self._ending.is_set():
                work()
        except BaseException as error:
            if not self._ending.is_set():
                self.failure = error
                raise

    def _keep_up(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._states or self._ending.is_set(), WAIT_S)
            states, restarts = list(self._states), self._restarts
            self._states.clear()
        for state, estimate in states:
            self._vision.update(state, estimate)
        if not states:
            return
        with self._changed:
            if restarts != self._restarts:
                return  # these were of another time
            self._reached_s = reached_s = states[-1][0].stamp_s
            self._changed.notify_all()
        if self._due_s - self._period_s <= reached_s < self._due_s or not self.report().tells:
            return
        late_s = reached_s - self._due_s
        self._due_s = self._period_s + (self._due_s if 0 <= late_s < self._period_s else reached_s)
        with self._changed:
            (untold, self._untold), (newest_s, came) = (self._untold, []), self._newest
        poses, now = self._vision.read(), self._clock()
        self._on_poses(poses, self._vision.map_from_odom)
        self._poses = poses
        self._latencies.extend(newest_s + (now - came) - stamp_s for stamp_s in untold)
        self._told.append(now)

    def _look(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._due_camera() or self._ending.is_set(), WAIT_S)
            name = self._due_camera()
            frame, restarts = self._frames.pop(name) if name else None, self._restarts
            cameras, self._cameras = self._cameras, {}
        for camera, model in cameras.items():
            self._vision.set_camera(camera, None if isinstance(model, str) else model)
            self._faulty[camera] = model if isinstance(model, str) else ""
        if frame is None or self._ending.is_set():
            return
        if 0 < self._first_s - frame.stamp_s < BEFORE_S:
            self._dropped[frame.camera] += 1
            return
        self._looked[frame.camera] = began = self._clock()
        used = self._vision.health.cameras[frame.camera].used if frame.camera in self._vision.health.cameras else 0
        try:
            if self._faulty.get(frame.camera):
                raise PerceptionError(self._faulty[frame.camera])
            self._vision.take([frame])
        except PerceptionError as error:
            self._vision.health.refuse(frame.camera, str(error))
            return
        if self._vision.health.cameras[frame.camera].used == used:
            return  # it was refused, and its reason is noted
        self._looking.append(self._clock() - began)
        with self._changed:
            if restarts != self._restarts:
                return  # it was of another time
            self._untold.append(frame.stamp_s)
        if self._on_look is not None:
            self._on_look(frame)

    def _due_camera(self) -> str:
        """The camera that was longest not looked at, of those with an image whose time the states cover; empty if none."""
        due = [name for name, frame in self._frames.items()
               if not self._reached_s < frame.stamp_s <= self._reached_s + AHEAD_S and np.isfinite(self._reached_s)]  # fmt: skip
        return min(due, key=lambda name: self._looked.get(name, -np.inf), default="")


def _yield_to_others() -> None:
    """Makes the thread that calls it nicer than the rest, unless it already is; who may not goes on as it was."""
    thread = threading.get_native_id()
    try:
        os.setpriority(os.PRIO_PROCESS, thread, max(LOOKING_NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
    except OSError as error:
        LOG.warning("looking at images keeps its priority, and may hold up poses: %s", error)
