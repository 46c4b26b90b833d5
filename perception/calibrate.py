"""Calibrates how the cameras sit, with the robot's own hands as the target: `humanoid calibrate --help`.

Each hand wears a cuff with three tags (`humanoid_control.mission.tags`). The robot, on its hoist, holds them before its
cameras in postures that together tell all of each mounting error, and `perception.mounting` explains what was seen. Here
all of it happens in simulation, with the errors an episode has drawn, so that the result can be held against the truth.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from humanoid_control.installation import share_folder
from humanoid_control.mission.factory import Factory, load_factory
from humanoid_control.mission.tags import cuff_frame, cuff_tags
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.cameras import CameraRenderer
from humanoid_control.simulation.episode import Episode, draw_episode
from humanoid_control.simulation.robot_spec import build_robot_spec
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from humanoid_control.simulation.tags import add_cuffs
from humanoid_control.transforms import inverse, rotation_of_vector, transform
from humanoid_control.types import SIDES
from perception.calibration_postures import SAMPLES, choose_postures
from perception.camera_rig import CameraRig, mounting_transform
from perception.frame import CameraFrame
from perception.mounting import MountingEstimate, TargetView, estimate_mounting, save_mounting
from perception.true_cameras import camera_models, true_mounting
from perception.tag_detector import TagDetector

WIDTH, HEIGHT = 1280, 720  # px: the cameras' full size, as nothing is in a hurry
POSTURES = 60
READINGS = 20  # of the joints in each posture, for their mean
CUFF_DEVIATION = np.repeat([2e-3, 0.02], 3)  # m, rad: how exactly a cuff sits on its hand
FREE_STEP = 0.25  # m


def views_of_cuffs(frame: CameraFrame, joint_positions: np.ndarray, rig: CameraRig, detector: TagDetector) -> list[TargetView]:
    """Returns what one image shows of the cuffs; a hand's own cuff moves with its own camera and tells nothing.

    Args:
        frame: of any camera.
        joint_positions: (29,) rad at the image's time.
        rig: whose mounting errors are not used.
        detector: of tags.
    """
    nominal = rig.base_from_camera(frame.camera, joint_positions) @ inverse(mounting_transform(rig.mounting[frame.camera]))
    sightings = {sighting.id: sighting for sighting in detector.detect(frame.rgb)}
    views = []
    for side in SIDES:
        seen = [tag for tag in cuff_tags(side) if tag.id in sightings]
        if not seen or frame.camera.startswith(side):
            continue
        views.append(TargetView(
            frame.camera, side, np.vstack([tag.corners for tag in seen]),
            np.vstack([sightings[tag.id].pixels for tag in seen]), sightings[seen[0].id].deviation, nominal,
            rig.frame_pose(cuff_frame(side), joint_positions)))  # fmt: skip
    return views


@dataclass(frozen=True, eq=False)
class CalibrationRun:
    """What a calibration in simulation gave.

    Attributes:
        estimates: by camera.
        truth: (6,) true mounting errors by camera.
        views: all that was seen.
        images: how many were taken.
    """

    estimates: dict[str, MountingEstimate]
    truth: dict[str, np.ndarray]
    views: list[TargetView]
    images: int

    def left_over(self, camera: str) -> tuple[float, float]:
        """Returns how far off (m, rad) a calibrated camera still is."""
        off = inverse(mounting_transform(self.truth[camera])) @ mounting_transform(self.estimates[camera].error)
        return _size(off)

    def at_first(self, camera: str) -> tuple[float, float]:
        """Returns how far off (m, rad) a camera was before."""
        return _size(mounting_transform(self.truth[camera]))


def _size(off: np.ndarray) -> tuple[float, float]:
    return float(np.linalg.norm(off[:3, 3])), float(np.arccos(np.clip((np.trace(off[:3, :3]) - 1) / 2, -1.0, 1.0)))


def calibrate_in_simulation(
    model: RobotModel, factory: Factory, seed: int, *, postures: int = POSTURES,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> CalibrationRun:  # fmt: skip
    """Calibrates the cameras of one episode's robot.

    Args:
        model: the robot.
        factory: its floor, on which the robot seeks a free place.
        seed: of the episode; cuffs sit off by errors drawn from it too.
        postures: how many.
        on_progress: called with what is being done, how much is done, and of how much.

    Raises:
        HumanoidControlError: the scene cannot be drawn, or no posture shows a cuff to some camera.
    """
    def report(what: str, done: int, of: int) -> None:
        if on_progress is not None:
            on_progress(what, done, of)

    episode = draw_episode(factory, seed)
    spec = build_robot_spec(model)
    add_cuffs(spec, offsets={side: _cuff_offset(episode, side) for side in SIDES})
    floor = SimulatedFactory(model, episode, robot_spec=spec)
    floor.robot.connect()
    place = _free_place(factory)
    rig = CameraRig(model, camera_models(floor.scene, width=WIDTH, height=HEIGHT))
    chosen = choose_postures(rig, postures, on_sample=lambda done: report("choosing postures", done, SAMPLES))
    detector, views, images = TagDetector(), [], 0
    with CameraRenderer(floor.scene) as renderer:
        for index, posture in enumerate(chosen):
            report("looking at the hands", index, len(chosen))
            floor.robot.place(place, posture.joint_positions)  # as if it hung from its hoist: nothing has to balance
            states = [floor.robot.read() for _ in range(READINGS)]
            joints = np.mean([state.joint_positions for state in states], axis=0)
            for camera in rig.cameras:
                rgb = renderer.rgb(floor.robot.data, camera, width=WIDTH, height=HEIGHT)
                views += views_of_cuffs(CameraFrame(camera, states[-1].stamp_s, rgb), joints, rig, detector)
                images += 1
    floor.robot.close()
    estimates = estimate_mounting(views, rig.cameras, targets=dict.fromkeys(SIDES, CUFF_DEVIATION))
    return CalibrationRun(estimates, {camera: true_mounting(episode, camera) for camera in rig.cameras}, views, images)


def _cuff_offset(episode: Episode, side: str) -> np.ndarray:
    """(4, 4) how far off a cuff sits: a millimetre and half a degree."""
    random = episode.stream(f"cuff/{side}")
    return transform(rotation_of_vector(random.normal(0.0, 0.008, 3)), random.normal(0.0, 1e-3, 3))


def _free_place(factory: Factory) -> tuple[float, float, float]:
    """The place on the floor that is farthest from stations and people's ways."""
    from shapely.geometry import LineString, Point

    things = [station.footprint for station in factory.stations]
    things += [LineString(person.path) if len(person.path) > 1 else Point(person.path[0]) for person in factory.people]
    half = np.array(factory.floor.size) / 2 - 0.6
    xs, ys = (np.arange(-side, side + 1e-9, FREE_STEP) for side in half)
    x, y = max(((x, y) for x in xs for y in ys), key=lambda at: min((Point(at).distance(thing) for thing in things), default=0.0))
    return float(x), float(y), 0.0


# --- the command --------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--factory", default=share_folder() / "config/factories/line_side.yaml", help="factory file (default: line_side)")
    parser.add_argument("--seed", type=int, default=0, help="of the episode that draws the mounting errors (default: 0)")
    parser.add_argument("--postures", type=int, default=POSTURES, help="how many (default: %(default)s)")
    parser.add_argument("--out", metavar="FILE", help="calibration file to write (yaml)")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Calibrates, prints errors before and after, and writes what was asked for; 0 if every camera can be relied upon."""
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("building the scene", total=None)
        result = calibrate_in_simulation(
            RobotModel.load(), load_factory(arguments.factory), arguments.seed, postures=arguments.postures,
            on_progress=lambda what, done, of: progress.update(task, description=what, completed=done, total=of))  # fmt: skip
    console.print(_table(result))
    print(f"{result.images} images, {len(result.views)} views of cuffs")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(_figures(result), indent=1))
    problems = {name: estimate.problem for name, estimate in result.estimates.items() if estimate.problem}
    for name, problem in problems.items():
        print(f"error: {name}: {problem}", file=sys.stderr)
    if problems:
        return 1
    if arguments.out:
        save_mounting(arguments.out, result.estimates)
        print(f"wrote {arguments.out}")
    return 0


def _table(result: CalibrationRun) -> Table:
    table = Table("camera", "views", "residual px",
                  *(f"{when} {unit}" for when in ("before", "after", "claimed") for unit in ("mm", "deg")))  # fmt: skip
    for name, estimate in result.estimates.items():
        before, after = result.at_first(name), result.left_over(name)
        claimed = [np.linalg.norm(part) for part in (estimate.deviations[:3], estimate.deviations[3:])]
        figures = [figure for m, rad in (before, after, claimed) for figure in (f"{1e3 * m:.2f}", f"{np.degrees(rad):.3f}")]
        table.add_row(name, str(estimate.views), f"{estimate.residual:.2f}", *figures)
    return table


def _figures(result: CalibrationRun) -> dict:
    rows = {}
    for name, estimate in result.estimates.items():
        before, after = result.at_first(name), result.left_over(name)
        rows[name] = {"views": estimate.views, "residual_px": estimate.residual, "chi2": estimate.chi2,
                      "problem": estimate.problem, "before_mm": 1e3 * before[0], "before_deg": np.degrees(before[1]),
                      "after_mm": 1e3 * after[0], "after_deg": np.degrees(after[1]), "claimed": estimate.deviations.tolist()}  # fmt: skip
    return {"cameras": rows, "images": result.images, "views": len(result.views)}
