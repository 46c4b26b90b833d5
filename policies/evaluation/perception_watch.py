"""Several rungs of perception look at the same images of one episode, beside a policy that is told the truth."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from humanoid_control.transforms import inverse
from perception.camera_rig import CameraRig, StateBuffer
from perception.evaluation.comparison import PoseComparison, compare
from perception.evaluation.gallery import draw_case
from perception.evaluation.matching import match_sightings
from perception.evaluation.truth import TrueTotes, TrueView
from perception.frame import CameraFrame
from perception.keypoints import tote_corners
from perception.oracle import OraclePoses
from perception.simulated_cameras import LATENCY_S, SimulatedCameras
from perception.simulated_vision import calibrated_rig
from perception.tracking.sighting import ToteSighting, pose_covariance
from perception.training.measure import CLEAR_SHARE, FAIR_SHARE
from perception.vision import DETECTOR, FIDUCIAL, POSE_CAMERAS, VisionPoses
from policies.bench.gaze import GazeWatch

IMAGE_RUNGS = (DETECTOR, FIDUCIAL)  # that tell of each image what it shows; the others tell where everything is
NOWHERE_NEAR = 0.25  # m from the nearest tote, beyond which a track is of none
NO_SUBTASK = "-"
KEPT_CASES, CASE_GAP_S = 3, 1.5  # of each sort and episode, for the gallery, and how far apart in time
ERROR, MISS, FALSE = "error", "miss", "false"
LEAST_ERROR = 0.003  # m, from which an error is worth showing
MISS_DISTANCE = 1.5  # m, within which a miss is worth showing
EXPOSURE_SLACK_S = 1e-9


@dataclass(frozen=True, eq=False)
class _Estimate:
    """What a rung says of a tote: its kind, `base_from_tote` at the time `stamp_s`, and its covariance in `base_link`."""

    name: str
    kind: str
    base_from_tote: np.ndarray
    covariance: np.ndarray
    stamp_s: float


class RungLog:
    """What one rung did in one episode.

    Attributes:
        rows: a tuple for each tote in each image, as `COLUMNS` names it.
        images, refused: looked at, and those it could not use.
        false_alarms, doubles: what it took for totes, and second sightings of one tote.
        image_rows: (camera, false alarms) of each image.
        cases: (sort, how bad, when, dict) for the gallery.
    """

    COLUMNS = ("camera", "tote", "subtask", "station", "distance", "seen_share", "told", "found", "kind_right", "position",
               "angle", "nees", "deviation", "stamp_s")  # fmt: skip

    def __init__(self) -> None:
        self.rows: list[tuple] = []
        self.images = self.refused = self.false_alarms = self.doubles = 0
        self.image_rows: list[tuple[str, int]] = []
        self.cases: dict[str, list[tuple[float, float, dict]]] = {ERROR: [], MISS: [], FALSE: []}

    def keep(self, sort: str, badness: float, stamp_s: float, case: dict) -> None:
        """Keeps a case for the gallery if it is among the worst of its sort; one that lasts is kept once."""
        kept = self.cases[sort]
        like = [k for k, (_, when, other) in enumerate(kept) if abs(when - stamp_s) < CASE_GAP_S and other["tote"] == case["tote"]]
        if like:
            if kept[like[0]][0] >= badness:
                return
            del kept[like[0]]
        kept.append((badness, stamp_s, case))
        kept.sort(key=lambda entry: -entry[0])
        del kept[KEPT_CASES:]

    def result(self, *, gallery: bool) -> dict:
        """All of it as plain values; pictures are drawn now, of the cases that stayed."""
        columns = {name: [row[k] for row in self.rows] for k, name in enumerate(self.COLUMNS)}
        cases = []
        for sort, kept in self.cases.items():
            for badness, stamp_s, case in kept if gallery else ():
                told = {name: value for name, value in case.items() if name not in ("rgb", "truth", "estimate")}
                picture = draw_case(case["rgb"], case["truth"], case["estimate"])
                cases.append({"sort": sort, "badness": badness, "stamp_s": round(stamp_s, 3), **told, "jpeg": picture})
        return {"rows": columns, "images": self.images, "refused": self.refused, "false_alarms": self.false_alarms,
                "doubles": self.doubles, "image_rows": self.image_rows, "cases": cases}  # fmt: skip


class PerceptionWatch:
    """Shows the rungs what the robot's cameras see, and compares what they say with the truth. A listener for `run_episode`.

    Args:
        factory: as in its file, which is all that the rungs know of it.
        rungs: names, as `perception.poses.RUNGS` has them.
        period_ticks: control ticks between two looks at the cameras, as between two calls of the policy.
        gallery: whether to keep pictures of what went wrong.

    Attributes:
        gaze: which camera had the tote in sight, by what was being done.
    """

    def __init__(self, factory: Factory, rungs: Sequence[str], *, period_ticks: int, gallery: bool = False) -> None:
        self._factory, self._rungs = factory, tuple(rungs)
        self._period_ticks, self._gallery = period_ticks, gallery
        self.gaze = GazeWatch()
        self._logs = {rung: RungLog() for rung in rungs}
        self._floor: SimulatedFactory | None = None
        self._ticks = 0

    def __call__(self, floor, loop, output) -> None:
        """See `run_episode`."""
        if self._floor is None:
            self._begin(floor)
        self._truth.note()
        self.gaze(floor, loop, output)
        if output is None:
            return
        self._ticks += 1
        if self._ticks % self._period_ticks:
            return
        state, estimate = loop.state, loop.estimate()
        self._states.add(state, estimate)
        for vision in self._visions.values():
            vision.update(state, estimate)
        ordered = self._ordered(floor)
        for frame in self._cameras.poll():
            self._waiting.append((frame, self._truth.views(frame.camera), output.subtask or NO_SUBTASK, ordered))
        now = float(floor.robot.data.time)
        while self._waiting and self._waiting[0][0].stamp_s + LATENCY_S <= now + EXPOSURE_SLACK_S:
            self._look(*self._waiting.popleft())

    def result(self) -> dict:
        """What every rung did, and what was in sight, as plain values."""
        gaze = [{"what": what, "subtask": subtask, "seen": np.array(rows).sum(axis=0).tolist(),
                 "any": int(np.array(rows).any(axis=1).sum()), "looks": len(rows)}
                for (what, subtask), rows in self.gaze.seen.items()]  # fmt: skip
        return {"rungs": {rung: log.result(gallery=self._gallery) for rung, log in self._logs.items()}, "gaze": gaze}

    def _begin(self, floor: SimulatedFactory) -> None:
        self._floor = floor
        self._truth = TrueTotes(floor)
        self._cameras = _shared_cameras()
        models = self._cameras.use(floor.scene, floor.robot.data, floor.episode.stream("images"))
        self._rig: CameraRig = calibrated_rig(floor, models)
        self._oracle = OraclePoses(floor.world, floor.robot.data)
        self._visions = {rung: VisionPoses(rung, self._factory, self._rig) for rung in self._rungs if rung != "oracle"}
        self._states = StateBuffer()
        self._waiting: deque[tuple[CameraFrame, list[TrueView], str, tuple[str, str]]] = deque()

    def _ordered(self, floor: SimulatedFactory) -> tuple[str, str]:
        """The ordered tote, and what it stands on while it is fetched: a kind of station and a height."""
        return (floor.order.tote, self.gaze.fetched_from(floor)) if floor.order is not None else ("", "")

    # --- one image ------------------------------------------------------------------------------------------------

    def _look(self, frame: CameraFrame, views: list[TrueView], subtask: str, ordered: tuple[str, str]) -> None:
        for rung in self._rungs:
            log = self._logs[rung]
            if rung == "oracle":
                poses = self._oracle.read()
            else:
                vision = self._visions[rung]
                vision.take([frame])
                if vision.health.cameras[frame.camera].problem:
                    log.refused += 1
                    continue
                poses = None if rung in IMAGE_RUNGS else vision.read()
            log.images += 1
            if poses is None:
                told, false = self._matched(log, frame, rung, views)
            else:
                told = {name: _Estimate(name, self._factory.tote(name).kind, pose.base_from_object, pose.covariance, poses.stamp_s)
                        for name, pose in poses.totes.items() if np.isfinite(pose.stamp_s)}  # fmt: skip
                false = self._of_nothing(list(told.values()), poses.stamp_s)
            log.false_alarms += len(false)
            log.image_rows.append((frame.camera, len(false)))
            for estimate in false if self._gallery else ():
                self._keep_case(log, FALSE, 1.0 / _deviation(estimate), frame, None, estimate, None, subtask)
            for view in views:
                self._add_row(log, rung, frame, view, told.get(view.name), subtask, ordered)

    def _matched(
        self, log: RungLog, frame: CameraFrame, rung: str, views: list[TrueView]
    ) -> tuple[dict[str, _Estimate], list[_Estimate]]:
        """What one image showed, by the tote that it is of, and what it showed that is none."""
        at = self._states.at(frame.stamp_s)
        base_from_camera = self._rig.base_from_camera(frame.camera, at.joint_positions)
        truths = {name: inverse(base_from_camera) @ pose for name, pose in self._truth.at(frame.stamp_s).items()}
        shown = [one for one in self._visions[rung].sightings if (one.stamp_s, one.camera) == (frame.stamp_s, frame.camera)]
        matches = match_sightings(shown, truths, [view.name for view in views])
        log.doubles += len(matches.doubles)
        told = {name: self._from_sighting(shown[index], base_from_camera, name) for name, index in matches.told.items()}
        return told, [self._from_sighting(shown[index], base_from_camera, "") for index in matches.false]

    def _from_sighting(self, sighting: ToteSighting, base_from_camera: np.ndarray, name: str) -> _Estimate:
        covariance = pose_covariance(sighting, base_from_camera, self._rig.mounting_covariance[sighting.camera])
        return _Estimate(name, sighting.kind, base_from_camera @ sighting.camera_from_tote, covariance, sighting.stamp_s)

    def _of_nothing(self, told: list[_Estimate], stamp_s: float) -> list[_Estimate]:
        places = np.array([pose[:3, 3] for pose in self._truth.at(stamp_s).values()])
        return [one for one in told if np.linalg.norm(places - one.base_from_tote[:3, 3], axis=1).min() > NOWHERE_NEAR]

    def _add_row(self, log: RungLog, rung: str, frame: CameraFrame, view: TrueView, estimate: _Estimate | None, subtask: str,
                 ordered: tuple[str, str]) -> None:  # fmt: skip
        compared: PoseComparison | None = None
        if estimate is not None:
            compared = compare(estimate.base_from_tote, estimate.covariance, self._truth.at(estimate.stamp_s)[view.name])
        kind_right = estimate is not None and estimate.kind == self._factory.tote(view.name).kind
        found = kind_right and (rung in IMAGE_RUNGS or not compared.is_gross)
        station = ordered[1] if view.name == ordered[0] else ""
        figures = (compared.position, compared.angle, compared.nees, compared.deviation) if compared else (np.nan,) * 4
        log.rows.append((frame.camera, view.name, subtask, station, view.distance, view.seen_share, compared is not None, found,
                         kind_right, *figures, frame.stamp_s))  # fmt: skip
        if not self._gallery:
            return
        if compared is not None and compared.position >= LEAST_ERROR and view.seen_share >= FAIR_SHARE:
            self._keep_case(log, ERROR, compared.position, frame, view, estimate, compared, subtask)
        if not found and view.seen_share >= CLEAR_SHARE and view.distance < MISS_DISTANCE:
            self._keep_case(log, MISS, 1.0 / view.distance, frame, view, estimate, compared, subtask)

    def _keep_case(self, log: RungLog, sort: str, badness: float, frame: CameraFrame, view: TrueView | None,
                   estimate: _Estimate | None, compared: PoseComparison | None, subtask: str) -> None:  # fmt: skip
        log.keep(sort, badness, frame.stamp_s, {
            "camera": frame.camera, "tote": view.name if view else "", "subtask": subtask,
            "distance": round(view.distance, 3) if view else None, "seen_share": round(view.seen_share, 2) if view else None,
            "error_mm": round(1e3 * compared.position, 1) if compared else None,
            "angle_deg": round(float(np.degrees(compared.angle)), 1) if compared else None,
            "sigma_mm": round(1e3 * _deviation(estimate), 1) if estimate else None,
            "nees": round(compared.nees, 1) if compared else None,
            "wrong_kind": estimate.kind if view and estimate and estimate.kind != self._factory.tote(view.name).kind else "",
            "rgb": frame.rgb, "truth": view.corners if view else None,
            "estimate": self._corners(frame, estimate) if estimate else None,
        })  # fmt: skip

    def _corners(self, frame: CameraFrame, estimate: _Estimate) -> np.ndarray:
        """(8, 2) px of an estimate in an image that may be a little older than it is."""
        at, then = self._states.at(frame.stamp_s), self._states.at(min(estimate.stamp_s, self._states.newest.stamp_s))
        camera_from_base = inverse(at.odom_from_base @ self._rig.base_from_camera(frame.camera, at.joint_positions))
        pose = camera_from_base @ then.odom_from_base @ estimate.base_from_tote
        corners = tote_corners(LOAD_CARRIERS[estimate.kind]) @ pose[:3, :3].T + pose[:3, 3]
        pixels, valid = self._rig.cameras[frame.camera].project(corners)
        return np.where(valid[:, None], pixels, np.nan)


def _deviation(estimate: _Estimate) -> float:
    return float(np.sqrt(np.linalg.eigvalsh(estimate.covariance[:3, :3])[-1]))


@cache
def _shared_cameras() -> SimulatedCameras:
    """One for all episodes of a process; images come at once, so that the truth of their instant is at hand."""
    return SimulatedCameras(POSE_CAMERAS, latency_s=0.0)
