"""Which camera sees the tote, and where its place is: by what is being done, by station kind and by height.

The scripted policy carries out the orders of the shipped factories with true poses. Ten times a second it is looked at,
without rendering, which of the tote's eight corners (or, once it is carried, of the four corners of its place on the
goal's surface) each camera has in sight: inside its image, and nothing drawn in front. A tote counts as seen from three
corners of its rim and five in all, which is what a pose needs; a place from three of its corners.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import mujoco
import numpy as np
from rich.progress import Progress

from humanoid_control.bench.report import Report
from humanoid_control.mission.factory import load_factory
from humanoid_control.mission.placement import initial_placements, ordered_placement
from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation.cameras import camera_matrix
from humanoid_control.simulation.robot_spec import CAMERA_FIELD_OF_VIEW
from humanoid_control.transforms import planar
from perception.keypoints import RIM, tote_corners
from policies import runtime
from policies.registry import make_policy

FACTORIES = Path(__file__).parents[2] / "config" / "factories"
CAMERAS = tuple(CAMERA_FIELD_OF_VIEW)
WIDTH, HEIGHT = 640, 360
PERIOD_TICKS = 25
BEFORE_GRIP = ("approach", "ready", "reach_lip", "grip_lip", "reach", "grip")
BEFORE_PLACE = ("carry", "align", "set_down")
NEAR = 1.5  # m from the base, within which an approach is looked at
OWN_HOUSING = 0.05  # m before a camera in which nothing stands in its way
SLACK = 0.012  # m that what a ray meets may be nearer than the corner it was aimed at
DRAWN = np.array([1, 1, 1, 0, 0, 0], np.uint8)  # geom groups


class GazeWatch:
    """Counts what is in sight. A listener for `run_episode`.

    Attributes:
        seen: by (what is looked at, sub-task): one row for each look, of whether each camera sees it.
    """

    def __init__(self) -> None:
        """Starts with nothing seen."""
        self.seen: dict[tuple[str, str], list[list[bool]]] = defaultdict(list)
        self._ticks = 0
        self._order, self._order_height = None, 0.0
        self._hit = np.zeros(1, np.int32)

    def __call__(self, floor, loop, output) -> None:
        """See `run_episode`."""
        self._ticks += 1
        if output is None or self._ticks % PERIOD_TICKS:
            return
        factory, data = floor.episode.factory, floor.robot.data
        order = floor.order
        tote = factory.tote(order.tote)
        if output.subtask in BEFORE_GRIP:
            station = factory.station(self._places(floor)[order.tote].station)
            map_from_tote = floor.world.tote_pose(data, order.tote)
            points = tote_corners(tote.carrier) @ map_from_tote[:3, :3].T + map_from_tote[:3, 3]
            enough = lambda sight: sight[RIM].sum() >= 3 and sight.sum() >= 5  # noqa: E731
            height = map_from_tote[2, 3]
        elif output.subtask in BEFORE_PLACE:
            place = ordered_placement(factory, order, self._places(floor))
            station = factory.station(place.station)
            height = station.surface_height(place.shelf)
            middle = station.map_from_station @ planar(*place.pose)
            half = np.array([tote.carrier.width, tote.carrier.length]) / 2
            corners = np.array([(x, y, height) for x in (-half[0], half[0]) for y in (-half[1], half[1])])
            points = corners @ middle[:3, :3].T + [middle[0, 3], middle[1, 3], 0.0]
            enough = lambda sight: sight.sum() >= 3  # noqa: E731
        else:
            return
        if np.linalg.norm(points[:, :2].mean(axis=0) - data.qpos[:2]) > NEAR:
            return
        what = f"{station.kind} at {height:.1f} m"
        self.seen[what, output.subtask].append([bool(enough(self._in_sight(floor, camera, points))) for camera in CAMERAS])

    def fetched_from(self, floor) -> str:
        """What the ordered tote stood on when its order began: the kind of station, and at what height."""
        factory, place = floor.episode.factory, self._places(floor)[floor.order.tote]
        return f"{factory.station(place.station).kind} at {self._height(floor):.1f} m"

    def _height(self, floor) -> float:
        """m of the ordered tote's bottom when its order was first looked at."""
        if self._order is not floor.order:
            self._order = floor.order
            self._order_height = float(floor.world.tote_pose(floor.robot.data, floor.order.tote)[2, 3])
        return self._order_height

    def _places(self, floor):
        """Where totes stand when the order being carried out begins."""
        factory, places = floor.episode.factory, initial_placements(floor.episode.factory)
        for order in factory.orders:
            if order is floor.order:
                break
            places[order.tote] = ordered_placement(factory, order, places)
        return places

    def _in_sight(self, floor, camera: str, points: np.ndarray) -> np.ndarray:
        """(N,) whether a camera has points (N, 3) of the map in sight."""
        scene, data = floor.scene, floor.robot.data
        index = scene.camera(camera).id
        position, axes = data.cam_xpos[index], data.cam_xmat[index].reshape(3, 3)
        seen = (points - position) @ axes * (1, -1, -1)  # MuJoCo's cameras look along -z
        pixels = seen @ camera_matrix(scene, camera, width=WIDTH, height=HEIGHT).T
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = pixels[:, :2] / pixels[:, 2:]
        sight = (seen[:, 2] > OWN_HOUSING) & (pixels >= 0).all(axis=1) & (pixels <= (WIDTH - 1, HEIGHT - 1)).all(axis=1)
        for k in np.flatnonzero(sight):
            way = points[k] - position
            length = float(np.linalg.norm(way))
            way /= length
            reached = mujoco.mj_ray(scene, data, position + OWN_HOUSING * way, way, DRAWN, 1, -1, self._hit)
            sight[k] = reached < 0 or reached > length - OWN_HOUSING - SLACK
        return sight


def run(report: Report, *, quick: bool = False, n: int = 6, seed: int = 900) -> None:
    """Adds a row for each kind and height of station, sub-task and camera, and for all cameras together.

    Args:
        report: takes the rows.
        quick: one episode a factory.
        n: episodes of each factory.
        seed: of the first.
    """
    model = RobotModel.load()
    policy = make_policy("scripted", model)
    watch = GazeWatch()
    files = sorted(FACTORIES.glob("*.yaml"))
    seeds = range(seed, seed + (1 if quick else n))
    with Progress(transient=True) as progress:
        task = progress.add_task("looking", total=len(files) * len(seeds))
        for file in files:
            for one in seeds:
                runtime.run_episode(model, load_factory(file), one, policy=policy, on_tick=watch)
                progress.advance(task)
    order = {name: k for k, name in enumerate(BEFORE_GRIP + BEFORE_PLACE)}
    for (what, subtask), rows in sorted(watch.seen.items(), key=lambda item: (item[0][0], order[item[0][1]])):
        seen = np.array(rows)
        each = ", ".join(f"{camera} {share:.0%}" for camera, share in zip(CAMERAS, seen.mean(axis=0)) if share > 0.005)
        report.add_value(f"{what}, {subtask}: any camera", float(seen.any(axis=1).mean()), "share", n=len(rows))
        report.notes.append(f"{what}, {subtask}: {each or 'none'}")
