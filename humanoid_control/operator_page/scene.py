"""What the page's 3D view draws: the robot's shapes and where its links are, and what stands on the floor."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from humanoid_control.footprint import footprint_from_base, odom_from_footprint
from humanoid_control.mission.factory import Factory
from humanoid_control.mission.station_shapes import solid_parts
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import from_pose, inverse, planar, to_pose, transform, yaw_of
from humanoid_control.types import BaseEstimate, RobotState

DECIMALS = 4  # of metres and quaternions that are sent
PLAIN = (0.6, 0.6, 0.6)  # of a shape without a colour
STATION_COLOURS = {"table": (0.44, 0.37, 0.29), "rack": (0.27, 0.36, 0.48), "conveyor": (0.30, 0.34, 0.33)}


@dataclass(frozen=True)
class SeenThing:
    """A tote or a surface, as perception tells it.

    Attributes:
        name: the tote's, or the surface's: station, slash, shelf.
        base_from_object: (4, 4) as `Detection3DArray` has it in `base_link`.
        spread: of its position's covariance, m^2.
        was_seen: false: it is told where it should be.
    """

    name: str
    base_from_object: np.ndarray
    spread: float
    was_seen: bool


class RobotShapes:
    """The robot's links as boxes, cylinders and spheres.

    Attributes:
        shapes: rows for the page: index of the link, kind, (3,) size in m, (7,) pose in the link, (3,) colour.
    """

    def __init__(self, model: RobotModel) -> None:
        """Reads the shapes of the URDF.

        Args:
            model: of the robot.
        """
        self._model, self._robot = model.full, model
        self._data, self._configuration = model.full.createData(), pin.neutral(model.full)
        self._joints = [model.full.joints[model.full.getJointId(name)].idx_q for name in model.joint_names]
        self._fingers = [model.full.joints[model.full.getJointId(name)].idx_q for name in model.finger_names]
        self._hands = [model.full.getFrameId(f"{letter}_gripper") for letter in "lr"]
        root = ElementTree.fromstring(model.urdf.encode())
        colours = {material.get("name"): material.find("color").get("rgba") for material in root.findall("material") if material.find("color") is not None}
        self._links: list[int] = []
        self.shapes: list[list] = []
        for link in root.iter("link"):
            drawn = [_shape(visual, colours) for visual in link.findall("visual")]
            if drawn:
                self.shapes += [[len(self._links), *shape] for shape in drawn]
                self._links.append(model.full.getFrameId(link.get("name"), pin.FrameType.BODY))

    def place(self, state: RobotState, estimate: BaseEstimate) -> tuple[list[list[float]], list[list[float]]]:
        """Poses (7,) of the links in `odom`, and of both grippers in `base_footprint`.

        Args:
            state, estimate: of now.
        """
        q = self._configuration
        q[:3], q[3:7] = estimate.position, estimate.orientation
        q[self._joints] = state.joint_positions
        q[self._fingers] = np.repeat([self._robot.finger_from_opening(opening) for opening in state.gripper_openings], 2)
        pin.framesForwardKinematics(self._model, self._data, q)
        footprint_from_odom = inverse(odom_from_footprint(estimate))
        links = [rounded(pin.SE3ToXYZQUAT(self._data.oMf[frame])) for frame in self._links]
        return links, [rounded(to_pose(footprint_from_odom @ self._data.oMf[frame].homogeneous)) for frame in self._hands]


def _shape(visual: ElementTree.Element, colours: dict[str, str]) -> list:
    """A row of `RobotShapes.shapes` without its link."""
    origin, geometry, material = visual.find("origin"), visual.find("geometry"), visual.find("material")
    numbers = {name: [float(x) for x in (origin.get(name, "0 0 0") if origin is not None else "0 0 0").split()] for name in ("xyz", "rpy")}
    rgba = material.find("color").get("rgba") if material is not None and material.find("color") is not None else None
    rgba = rgba or (colours.get(material.get("name")) if material is not None else None)
    colour = [float(x) for x in rgba.split()[:3]] if rgba else list(PLAIN)
    pose = rounded(to_pose(transform(pin.rpy.rpyToMatrix(*numbers["rpy"]), np.array(numbers["xyz"]))))
    shape = geometry[0]
    if shape.tag == "box":
        return ["box", [float(x) for x in shape.get("size").split()], pose, colour]
    width = 2 * float(shape.get("radius"))
    return [shape.tag, [width, width, float(shape.get("length")) if shape.tag == "cylinder" else width], pose, colour]


class FloorShapes:
    """What a factory's file says of the floor.

    Attributes:
        shapes: rows for the page, in `map`: kind, (3,) size in m, (7,) pose, (3,) colour.
        labels: names of stations and where they are written, (3,) m in `map`.
        zones: name, kind and corners (m, in `map`) of each.
        totes: by name: (3,) size in m and (3,) colour.
        orders: in words.
    """

    def __init__(self, factory: Factory) -> None:
        """Takes the shapes of a factory."""
        self._surfaces = {f"{station.name}/{shelf}": station.map_from_station @ transform(np.eye(3), np.array([0.0, 0.0, height]))
                          for station in factory.stations for shelf, height in enumerate(station.surfaces)}  # fmt: skip
        self.shapes, self.labels = [], []
        for station in factory.stations:
            for part in solid_parts(station):
                low, high = np.array(part.low), np.array(part.high)
                pose = station.map_from_station @ transform(np.eye(3), (low + high) / 2)
                self.shapes.append(["box", rounded(high - low), rounded(to_pose(pose)), list(STATION_COLOURS[station.kind])])
            self.labels.append([station.name, [*rounded(station.position), max(station.surfaces) + 0.25]])
        self.zones = [[zone.name, zone.kind, [list(corner) for corner in zone.polygon]] for zone in factory.zones]
        self.totes = {tote.name: [[tote.carrier.width, tote.carrier.length, tote.carrier.height], list(tote.colour)] for tote in factory.totes}
        self.orders = [f"bring {order.tote} to {order.to}" for order in factory.orders]

    def odom_from_map(self, odom_from_base: np.ndarray, surfaces: Iterable[SeenThing]) -> np.ndarray | None:
        """(4, 4) where the floor lies, by the surface that is known best; None while none is.

        Args:
            odom_from_base: (4, 4) of the time of the surfaces.
            surfaces: that perception tells.
        """
        known = [surface for surface in surfaces if surface.name in self._surfaces]
        if not known:
            return None
        best = min(known, key=lambda surface: (not surface.was_seen, surface.spread))
        found = odom_from_base @ best.base_from_object @ inverse(self._surfaces[best.name])
        return planar(*found[:2, 3], yaw_of(found))


def place_totes(odom_from_base: np.ndarray, totes: Iterable[SeenThing]) -> list[list]:
    """Rows for the page: name, (7,) pose in `odom`, whether it was seen.

    Args:
        odom_from_base: (4, 4) of the time of the totes.
        totes: that perception tells.
    """
    return [[tote.name, rounded(to_pose(odom_from_base @ tote.base_from_object)), tote.was_seen] for tote in totes]


def place_robot(estimate: BaseEstimate) -> dict[str, list[float]]:
    """`base_footprint` in `odom`, and `base_link` in `base_footprint`, each (7,)."""
    return {"footprint": rounded(to_pose(odom_from_footprint(estimate))), "base": rounded(to_pose(footprint_from_base(estimate)))}


def base_of(estimate: BaseEstimate) -> np.ndarray:
    """(4, 4) of `base_link` in `odom`."""
    return from_pose(np.concatenate([estimate.position, estimate.orientation]))


def rounded(values: Iterable[float]) -> list[float]:
    """Numbers short enough to be sent twenty times a second."""
    return [round(float(value), DECIMALS) for value in values]
