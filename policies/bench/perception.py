"""From the last pixel to the published pose: how long each image takes, what of it takes how long, and what peers take.

The scripted policy fetches a tote from a table with one to six of them, on true poses; three cameras' images at 15 Hz and
the robot's states are recorded. They are then played back to the rung `tracker` on one core: each image of three that were
taken at once in turn, then the poses are read. Processor time counts, of each image the quickest of several times, so that
what else runs on the machine is left out: everything runs in one thread, and an idle core takes as long. Parts are timed in the same playback; networks, poses from points
and tags also by themselves, taking turns with OpenCV's on the same images.
"""

from __future__ import annotations

import gc
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import onnxruntime

from humanoid_control.bench.report import Report, progress
from humanoid_control.mission.factory import Factory, parse_factory
from humanoid_control.mission.tags import lay_out_tags
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.cameras import CameraRenderer
from humanoid_control.simulation.image_noise import ImageNoise
from humanoid_control.simulation.robot_spec import CAMERA_FIELD_OF_VIEW
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from humanoid_control.transforms import transform
from humanoid_control.types import BaseEstimate, RobotState
from perception import detector as detector_module
from perception.camera_rig import CameraRig
from perception.crops import CROP_HEIGHT, CROP_WIDTH
from perception.detector import FILES, ToteDetector
from perception.edges import EdgeFinder
from perception.evaluation.looks import painted_floor
from perception.frame import CameraFrame
from perception.keypoints import tote_corners
from perception.localisation import Localiser
from perception.network_file import open_network
from perception.pnp import solve_tote_pose
from perception.simulated_cameras import HEIGHT, WIDTH
from perception.simulated_vision import calibrated_rig
from perception.tag_detector import TagDetector
from perception.tracking.tote_tracker import ToteTracker
from perception.training.measure import pose_error
from perception.true_cameras import camera_from_map, camera_models
from perception.vision import FIDUCIAL, TRACKER, VisionPoses
from policies import runtime
from policies.registry import make_policy

CAMERAS = tuple(CAMERA_FIELD_OF_VIEW)[:3]  # both head cameras and a wrist's
RATE_HZ = 15.0
SECONDS, QUICK_SECONDS = 5.0, 1.5  # of each recording
BEGIN_S = 0.6  # of robot time, when recording begins: it stands and turns to the first station
TOTES, QUICK_TOTES = (1, 2, 3, 4, 5, 6), (1, 6)
ROUNDS, QUICK_ROUNDS = 3, 1
SEED = 21
P99_TARGET_MS, CORE_TARGET = 50.0, 0.5
PLACES = ((-0.13, 0.0), (-0.13, -0.34), (-0.13, 0.34), (0.11, 0.0), (0.11, -0.34), (0.11, 0.34))  # on the table, front row first
FACTORY = """
version: 1
name: {totes}_totes
floor: {{size: [6.0, 6.0], friction: 0.9}}
light: {{ambient: 0.35, diffuse: 0.7, direction: [0.3, 0.2, -1.0]}}
robot: {{start: [0.0, 0.0, 0.0]}}
stations:
  - {{name: infeed, kind: table, pose: [0.85, 0.0, 0.0], size: [0.55, 1.2], height: 0.70}}
  - {{name: rack, kind: rack, pose: [0.0, 1.4, 1.5708], size: [0.45, 1.2], shelves: [0.45, 0.80]}}
  - {{name: outfeed, kind: conveyor, pose: [-1.2, 0.0, 3.1416], size: [0.5, 1.6], height: 0.65, speed: 0.0}}
totes:
{rows}
orders:
  - {{tote: t1, to: outfeed, at: [-0.08, 0.0]}}
randomise:
  tote_pose: [0.02, 0.02, 0.10]
  light: 0.5
  colours: true
  sensor_noise: 1.0
"""
TOTE = "  - {{name: t{k}, kind: klt_3147, station: infeed, at: [{x}, {y}, 0.0], mass: 1.5, colour: [0.1, 0.3, 0.8]}}"
# What is timed within the playback: the classes' public methods, called by whoever calls them.
PARTS: dict[str, tuple[type, tuple[str, ...]]] = {
    "detector (finder, crops, pnp)": (ToteDetector, ("detect", "look")),
    "finder": (ToteDetector, ("find",)),
    "edges of surfaces": (EdgeFinder, ("look",)),
    "tracker": (ToteTracker, ("take", "advance", "expect", "poses", "predicted")),
    "localiser": (Localiser, ("take", "advance", "take_totes", "surfaces")),
}
PNP_NOISE = 0.6  # px, of the corners that poses are solved from
PNP_CASES, QUICK_PNP_CASES = 300, 40


@dataclass
class Recording:
    """What the robot and its cameras saw of one scene.

    Attributes:
        factory: as its file would have it.
        rig: the cameras.
        steps: states and estimates as they came, each with the images that were taken then, if any.
        views: every image with its true camera_from_tote by name, wherever the totes are.
    """

    factory: Factory
    rig: CameraRig
    steps: list[tuple[RobotState, BaseEstimate, list[CameraFrame]]] = field(default_factory=list)
    views: list[tuple[CameraFrame, dict[str, np.ndarray]]] = field(default_factory=list)


class _Enough(Exception):
    """Ends an episode that was recorded for long enough."""


def make_factory(totes: int) -> Factory:
    """A table with so many totes, a rack, and where the first tote is to go."""
    rows = "\n".join(TOTE.format(k=k + 1, x=x, y=y) for k, (x, y) in enumerate(PLACES[:totes]))
    return parse_factory(FACTORY.format(totes=totes, rows=rows))


def record(model: RobotModel, totes: int, *, seconds: float, tags: bool = False) -> Recording:
    """Records an episode's first seconds.

    Args:
        model: the robot.
        totes: 1 to 6.
        seconds: of robot time.
        tags: totes and stations carry AprilTags.
    """
    factory = make_factory(totes)
    policy = make_policy("scripted", model)
    recorder = _Recorder(factory, policy.period_s, seconds)
    try:
        runtime.run_episode(model, factory, SEED, policy=policy, on_tick=recorder,
                            build=lambda robot, episode: painted_floor(robot, episode, "held_out", tags=tags))  # fmt: skip
    except _Enough:
        pass
    finally:
        recorder.close()
    return recorder.recording


class _Recorder:
    """A listener for `run_episode`."""

    def __init__(self, factory: Factory, period_s: float, seconds: float) -> None:
        self._factory, self._period_s, self._seconds = factory, period_s, seconds
        self.recording: Recording | None = None
        self._ticks = 0

    def __call__(self, floor: SimulatedFactory, loop, output) -> None:
        if self.recording is None:
            models = camera_models(floor.scene, width=WIDTH, height=HEIGHT)
            self._renderer = CameraRenderer(floor.scene)
            self._noise = ImageNoise(floor.episode.stream("images"))
            self._due_s = BEGIN_S
            self.recording = Recording(self._factory, calibrated_rig(floor, {name: models[name] for name in CAMERAS}))
        self._ticks += 1
        if output is None or self._ticks % max(round(self._period_s / floor.robot.period_s), 1):
            return
        now, frames = float(floor.robot.data.time), []
        if now >= self._due_s:
            self._due_s += 1.0 / RATE_HZ
            frames = [self._taken(floor, camera, now) for camera in CAMERAS]
        self.recording.steps.append((loop.state, loop.estimate(), frames))
        if now > BEGIN_S + self._seconds:
            raise _Enough

    def _taken(self, floor: SimulatedFactory, camera: str, now: float) -> CameraFrame:
        data = floor.robot.data
        image = self._renderer.rgb(data, camera, width=WIDTH, height=HEIGHT)
        noisy = self._noise.added_to(image)
        from_map = camera_from_map(data, camera)
        truth = {name: from_map @ floor.world.tote_pose(data, name) for name in floor.world.tote_bodies}
        frame = CameraFrame(camera, now, noisy)
        self.recording.views.append((frame, truth))
        return frame

    def close(self) -> None:
        """Frees OpenGL."""
        if self.recording is not None:
            self._renderer.close()


# --- playing back -------------------------------------------------------------------------------------------------


@dataclass
class Times:
    """Seconds of processor time, the quickest of all rounds.

    Attributes:
        image: of each image.
        three: of three images taken at once, the reading of the poses included.
        read: of each reading of the poses.
        part: by part, of each image.
        busy: of all of it, states taken in included.
        robot: s of robot time.
    """

    image: list[float] = field(default_factory=list)
    three: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)
    part: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    busy: float = 0.0
    robot: float = 0.0


class _PartClock:
    """Adds up the time of calls, by part, while its `running` lasts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def running(self) -> Iterator[None]:
        patches = [(owner, method, lambda *_, name=name: name) for name, (owner, methods) in PARTS.items() for method in methods]
        patches += [(detector_module, "solve_tote_pose", lambda *_: "poses from points"),
                    (onnxruntime.InferenceSession, "run", _network_of)]  # fmt: skip
        originals = [(owner, method, getattr(owner, method)) for owner, method, _ in patches]
        try:
            for (owner, method, name_of), (_, _, call) in zip(patches, originals):
                setattr(owner, method, self._timed(call, name_of))
            yield
        finally:
            for owner, method, call in originals:
                setattr(owner, method, call)

    def _timed(self, call: Callable[..., Any], name_of: Callable[..., str]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds[name_of(*args)] += time.thread_time() - start

        return wrapper


def _network_of(_session: object, _outputs: object, inputs: dict[str, np.ndarray], *_: object) -> str:
    if "image" not in inputs:
        return "edges' network"
    return "corner network" if inputs["image"].shape[1:3] == (CROP_HEIGHT, CROP_WIDTH) else "finder's network"


def play_back(recording: Recording, rung: str, *, rounds: int) -> Times:
    """Times a rung on what was recorded.

    Args:
        recording: of a scene.
        rung: of perception.
        rounds: of which the quickest of each image counts.
    """
    best: list[np.ndarray] | None = None
    parts: dict[str, np.ndarray] = {}
    for _ in range(rounds):
        clock = _PartClock()
        vision = VisionPoses(rung, recording.factory, recording.rig)
        images, reads, updates, rows = [], [], [], defaultdict(list)
        waiting: list[CameraFrame] = []
        gc.collect()
        gc.disable()
        try:
            with clock.running():
                for state, estimate, frames in recording.steps:
                    start = time.thread_time()
                    vision.update(state, estimate)
                    updates.append(time.thread_time() - start)
                    for frame in waiting:
                        clock.seconds.clear()
                        start = time.thread_time()
                        vision.take([frame])
                        images.append(time.thread_time() - start)
                        for name, seconds in clock.seconds.items():
                            rows[name].append((len(images) - 1, seconds))
                    if waiting:
                        start = time.thread_time()
                        vision.read()
                        reads.append(time.thread_time() - start)
                    waiting = frames
        finally:
            gc.enable()
        measured = [np.array(images), np.array(reads), np.array(updates)]
        best = measured if best is None else [np.minimum(a, b) for a, b in zip(best, measured)]
        for name, pairs in rows.items():
            column = np.zeros(len(images))
            for index, seconds in pairs:
                column[index] = seconds
            parts[name] = np.minimum(parts[name], column) if name in parts else column
    images, reads, updates = best
    three = images.reshape(-1, len(CAMERAS)).sum(axis=1) + reads
    robot = recording.steps[-1][0].stamp_s - recording.steps[0][0].stamp_s
    return Times(images.tolist(), three.tolist(), reads.tolist(), {name: column.tolist() for name, column in parts.items()},
                 float(images.sum() + reads.sum() + updates.sum()), robot)  # fmt: skip


# --- side by side with OpenCV -------------------------------------------------------------------------------------


def _turn_points(recordings: list[Recording], rng: np.random.Generator, cases: int) -> list[tuple]:
    """(corners in the tote's frame, pixels, camera, truth, up, kind) of totes that are wholly in an image."""
    views = [(frame, recording, name, truth) for recording in recordings for frame, truths in recording.views
             for name, truth in truths.items()]  # fmt: skip
    found = []
    for index in rng.permutation(len(views)):
        frame, recording, name, truth = views[index]
        camera = recording.rig.cameras[frame.camera]
        carrier = recording.factory.tote(name).carrier
        corners = tote_corners(carrier)
        seen = corners @ truth[:3, :3].T + truth[:3, 3]
        if seen[:, 2].min() < 0.2:
            continue
        pixels, valid = camera.project(seen)
        if valid.all() and (pixels > 0).all() and (pixels < (camera.width, camera.height)).all():
            found.append((corners, pixels + rng.normal(0.0, PNP_NOISE, pixels.shape), camera, truth, truth[:3, 2].copy()))
        if len(found) == cases:
            break
    return found


def _solvers() -> list[tuple[str, bool, Callable]]:
    """(name, whether a peer, solver of a case): each gives (4, 4) camera_from_tote."""

    def ours(corners, pixels, camera, up):
        pose = solve_tote_pose(corners, pixels, np.full(pixels.shape, PNP_NOISE), np.ones(len(corners), bool), camera, up_in_camera=up)
        return pose.camera_from_object

    def without_up(corners, pixels, camera, _):
        return ours(corners, pixels, camera, None)

    def opencv(flag: int):
        def solve(corners, pixels, camera, _):
            _, rotation, translation = cv2.solvePnP(corners, pixels, camera.matrix, None, flags=flag)
            return transform(cv2.Rodrigues(rotation)[0], translation.ravel())

        return solve

    def ransac(corners, pixels, camera, _):
        _, rotation, translation, _ = cv2.solvePnPRansac(corners, pixels, camera.matrix, None, reprojectionError=4 * PNP_NOISE)
        return transform(cv2.Rodrigues(rotation)[0], translation.ravel())

    return [("ours, up known, covariance included", False, ours), ("ours, up unknown, covariance included", False, without_up),
            ("OpenCV solvePnP iterative", True, opencv(cv2.SOLVEPNP_ITERATIVE)),
            ("OpenCV solvePnP SQPNP", True, opencv(cv2.SOLVEPNP_SQPNP)), ("OpenCV solvePnPRansac", True, ransac)]  # fmt: skip


def time_poses(report: Report, recordings: list[Recording], *, cases: int) -> None:
    """Adds rows of poses from eight corners, without and with one that is 25 px off; residuals are median errors in mm."""
    rng = np.random.default_rng(SEED)
    for what, stray in (("", 0.0), (", one corner 25 px off", 25.0)):
        points = _turn_points(recordings, rng, cases)
        times, errors = defaultdict(list), defaultdict(list)
        solvers = _solvers()
        for corners, pixels, camera, truth, up in progress(points, "poses from points"):
            pixels = pixels.copy()
            pixels[rng.integers(len(pixels))] += stray
            for name, _, solve in solvers:
                quickest = np.inf
                for _ in range(3):
                    start = time.thread_time()
                    pose = solve(corners, pixels, camera, up)
                    quickest = min(quickest, time.thread_time() - start)
                times[name].append(quickest)
                errors[name].append(np.linalg.norm(pose_error(pose, truth)[:3]))
        for name, peer, _ in solvers:
            report.add_times(f"pose from 8 points{what}: {name}", times[name], peer=peer, residual=1e3 * float(np.median(errors[name])))


def time_tags(report: Report, recording: Recording) -> None:
    """Adds rows of finding tags in the same images; residuals are median errors of corners in px.

    Args:
        report: takes the rows.
        recording: of a scene with tags.
    """
    layout = lay_out_tags(recording.factory)
    family = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    peers = {}
    for name, refinement in (("no refinement", cv2.aruco.CORNER_REFINE_NONE), ("corners to parts of a pixel", cv2.aruco.CORNER_REFINE_SUBPIX),
                             ("AprilTag's lines", cv2.aruco.CORNER_REFINE_APRILTAG)):  # fmt: skip
        parameters = cv2.aruco.DetectorParameters()
        parameters.cornerRefinementMethod = refinement
        peers[f"OpenCV ArUco, {name}"] = cv2.aruco.ArucoDetector(family, parameters)
    ours = TagDetector()

    def opencv(detector):
        def find(rgb: np.ndarray) -> dict[int, np.ndarray]:
            corners, ids, _ = detector.detectMarkers(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
            return {} if ids is None else {int(tag): one.reshape(4, 2) for tag, one in zip(ids.ravel(), corners)}

        return find

    candidates = [("ours", False, lambda rgb: {one.id: one.pixels for one in ours.detect(rgb)}),
                  *((name, True, opencv(detector)) for name, detector in peers.items())]  # fmt: skip
    times, errors, counts = defaultdict(list), defaultdict(list), defaultdict(int)
    for frame, truths in progress(recording.views, "tags"):
        camera = recording.rig.cameras[frame.camera]
        for name, _, find in candidates:
            start = time.thread_time()
            found = find(frame.rgb)
            times[name].append(time.thread_time() - start)
            for tote, tags in layout.totes.items():
                for tag in tags:
                    if tag.id in found:
                        pixels, valid = camera.project(tag.corners @ truths[tote][:3, :3].T + truths[tote][:3, 3])
                        if valid.all():
                            errors[name].extend(np.linalg.norm(found[tag.id] - pixels, axis=1))
                            counts[name] += 1
    for name, peer, _ in candidates:
        report.add_times(f"tags in an image: {name}", times[name], peer=peer, residual=float(np.median(errors[name])) if errors[name] else None)
        report.notes.append(f"tags in an image: {name}: {counts[name]} tags of totes found in {len(recording.views)} images")


# --- the benchmark ------------------------------------------------------------------------------------------------


@contextmanager
def _one_core() -> Iterator[None]:
    """On one core, OpenCV included."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    if allowed is not None:
        os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        if allowed is not None:
            os.sched_setaffinity(0, allowed)


def run(report: Report, *, quick: bool = False) -> None:
    """Adds the rows of the rung `tracker`, of its parts, and of OpenCV's counterparts; prints how it stands to the targets.

    Args:
        report: takes the rows.
        quick: fewer scenes, shorter, played once.
    """
    model = RobotModel.load()
    seconds, rounds = (QUICK_SECONDS, QUICK_ROUNDS) if quick else (SECONDS, ROUNDS)
    recordings, times = [], {}
    with _one_core():
        for totes in progress(QUICK_TOTES if quick else TOTES, "scenes"):
            recordings.append(record(model, totes, seconds=seconds))
            if totes == 1:
                play_back(recordings[-1], TRACKER, rounds=1)  # what the first images load
            times[totes] = play_back(recordings[-1], TRACKER, rounds=rounds)
        _add_rows(report, times)
        time_networks(report, recordings, cases=20 if quick else 100)
        time_poses(report, recordings, cases=QUICK_PNP_CASES if quick else PNP_CASES)
        tagged = record(model, 4, seconds=seconds, tags=True)
        fiducial = play_back(tagged, FIDUCIAL, rounds=rounds)
        report.add_times("rung fiducial: three images at once to poses, 4 totes", fiducial.three, peer=False)
        report.add_value(f"rung fiducial: share of a core at {RATE_HZ:g} Hz, 4 totes", fiducial.busy / fiducial.robot, "cores")
        time_tags(report, tagged)


def _add_rows(report: Report, times: dict[int, Times]) -> None:
    for totes, one in times.items():
        report.add_times(f"three images at once to poses, {totes} totes", one.three, peer=False)
    everything = [seconds for one in times.values() for seconds in one.three]
    row = report.add_times("three images at once to poses, all scenes", everything, peer=False)
    report.add_times("one image", [seconds for one in times.values() for seconds in one.image], peer=False)
    report.add_times("reading the poses", [seconds for one in times.values() for seconds in one.read], peer=False)
    names = dict.fromkeys(name for one in times.values() for name in one.part)
    images = sum(len(one.image) for one in times.values())
    busy = sum(one.busy for one in times.values())
    for name in sorted(names, key=lambda name: -sum(sum(one.part.get(name, ())) for one in times.values())):
        values = [seconds for one in times.values() for seconds in one.part.get(name, [0.0] * len(one.image))]
        report.add_times(f"  of one image: {name}", values, peer=False)
        report.notes.append(f"{name}: {sum(values) / busy:.0%} of all time")
    for totes, one in times.items():
        report.add_value(f"share of a core at {RATE_HZ:g} Hz, {totes} totes", one.busy / one.robot, "cores")
    share = max(one.busy / one.robot for one in times.values())
    verdict = "met" if row["p99"] <= 1e3 * P99_TARGET_MS else "missed"
    report.notes.append(f"three images at once to poses: p99 {row['p99'] / 1e3:.1f} ms of {images} images; target {P99_TARGET_MS:g} ms: {verdict}")
    report.notes.append(f"the busiest scene takes {share:.2f} of a core at {RATE_HZ:g} Hz; target {CORE_TARGET:g}: "
                        f"{'met' if share <= CORE_TARGET else 'missed'}")  # fmt: skip


def time_networks(report: Report, recordings: list[Recording], *, cases: int) -> None:
    """Adds rows of the networks by themselves: the finder on whole images, corners of one and of four crops."""
    rng = np.random.default_rng(SEED)
    frames = [frame for recording in recordings for frame, _ in recording.views]
    chosen = [frames[index] for index in rng.choice(len(frames), min(cases, len(frames)), replace=False)]
    detector = ToteDetector()
    session, _ = open_network(FILES["corners"])
    times = defaultdict(list)
    for frame in progress(chosen, "networks"):
        start = time.thread_time()
        detector.find(frame.rgb)
        times["finder on an image"].append(time.thread_time() - start)
        for count in (1, 4):
            crops = np.stack([_crop(frame.rgb, rng) for _ in range(count)])
            start = time.thread_time()
            session.run(None, {"image": crops})
            times[f"corners of {count} crop{'s' if count > 1 else ''}"].append(time.thread_time() - start)
    for name, seconds in times.items():
        report.add_times(f"network: {name}", seconds, peer=False)


def _crop(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    top, left = rng.integers(rgb.shape[0] - CROP_HEIGHT), rng.integers(rgb.shape[1] - CROP_WIDTH)
    return rgb[top : top + CROP_HEIGHT, left : left + CROP_WIDTH]
