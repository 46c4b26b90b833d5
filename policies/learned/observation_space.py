"""What a learned policy is told beside images: its own body, and its order, as vectors.

The body is proprioception alone; the order is what the factory file says, placed by the surfaces that localisation
finds. Nothing in either is known only to a simulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from humanoid_control.errors import FactoryError, OrderError
from humanoid_control.footprint import footprint_from_base, odom_from_footprint
from humanoid_control.mission.factory import Conveyor, Factory, Order, Tote
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.mission.placement import Placement, initial_placements, is_to_be_pulled, ordered_placement
from humanoid_control.mission.reach import free_height, leg_distance, working_height
from humanoid_control.robot_model import RobotModel
from humanoid_control.standing_body import LimbKinematics
from humanoid_control.transforms import from_pose, planar, yaw_of
from humanoid_control.types import SIDES, BaseEstimate, ControlStatus, RobotState
from perception.poses import PoseSet, surface_name
from policies.learned.rotations import AXES, to_columns
from policies.scripted.grips import tote_facing

_XYZ = ("x", "y", "z")
_PLACE = (*_XYZ, "cos_yaw", "sin_yaw")


def state_names(model: RobotModel) -> tuple[str, ...]:
    """What each number of `BodySense.state` is."""
    return (
        *(f"{name}.position" for name in model.joint_names),
        *(f"{name}.velocity" for name in model.joint_names),
        *(f"{side}_gripper.opening" for side in SIDES),
        *(f"{side}_gripper.force" for side in SIDES),
        *(f"gravity.{axis}" for axis in _XYZ),
        *(f"angular_velocity.{axis}" for axis in _XYZ),
        "base_height",
        *(f"base_velocity.{axis}" for axis in _XYZ),
        *(f"{side}_hand.{part}" for side in SIDES for part in (*_XYZ, *AXES)),
        *(f"{side}_payload_mass" for side in SIDES),
        *(f"{side}_foot_contact" for side in SIDES),
    )


GOAL_NAMES = (
    *(f"source_surface.{part}" for part in _PLACE),
    "source_surface.front_x",
    *(f"source_place.{part}" for part in _PLACE),
    *(f"goal_surface.{part}" for part in _PLACE),
    "goal_surface.front_x",
    "goal_surface.belt_speed",
    *(f"goal_place.{part}" for part in _PLACE),
    *(f"tote.{kind}" for kind in LOAD_CARRIERS),
    *(f"{where}.{part}" for where in ("source_surface", "goal_surface") for part in ("free_height", "leg_room")),
)
GOAL_SIZE = len(GOAL_NAMES)


class BodySense:
    """Makes the vector of what the robot feels of itself.

    Args:
        model: the robot.
    """

    def __init__(self, model: RobotModel) -> None:
        self.names = state_names(model)
        self._hands = LimbKinematics(model)

    def hands(self, state: RobotState, estimate: BaseEstimate) -> list[np.ndarray]:
        """(4, 4) each, left and right, in `base_footprint`."""
        footprint = footprint_from_base(estimate)
        return [footprint @ hand for hand in self._hands.base_from_hands(state.joint_positions)]

    def state(self, state: RobotState, estimate: BaseEstimate, control: ControlStatus) -> np.ndarray:
        """(94,) in the order of `names`: rad, rad/s, m, N, m/s and kg.

        Hands and base velocity are in `base_footprint`, gravity's direction and angular velocity in the frame of the IMU.

        Args:
            state: measurements.
            estimate: of the same instant.
            control: for the masses it estimates in the hands.
        """
        hands = self.hands(state, estimate)
        imu = from_pose(np.concatenate([np.zeros(3), state.pelvis_imu.orientation]))[:3, :3]
        return np.concatenate([
            state.joint_positions, state.joint_velocities, state.gripper_openings, state.gripper_forces,
            -imu[2], state.pelvis_imu.angular_velocity,
            [estimate.position[2]], odom_from_footprint(estimate)[:3, :3].T @ estimate.linear_velocity,
            *(np.concatenate([hand[:3, 3], to_columns(hand)]) for hand in hands),
            control.payload_masses, estimate.contacts,
        ])  # fmt: skip


@dataclass(frozen=True)
class _Place:
    """Where a tote stands or shall stand, by the file.

    Attributes:
        surface: which.
        front_x, belt_speed: m, m/s of its station.
        surface_from_tote: (4, 4).
        free_height: m above the surface.
        leg_room: m that the base keeps off the station's front edge there.
        on: the tote below, if there is one,
        stacked: m from its bottom to that of the tote on it.
    """

    surface: str
    front_x: float
    belt_speed: float
    surface_from_tote: np.ndarray
    free_height: float
    leg_room: float
    on: str | None
    stacked: float


class OrderSense:
    """Makes the vector of what is to be done: from where, to where, what kind of tote.

    It keeps where the file's totes stand while orders are carried out, as the scripted policy does.

    Attributes:
        text: the order in words, the same for orders of one kind: which kind of tote, from what, to what.
    """

    def __init__(self, factory: Factory) -> None:
        """Begins with all totes where the file has them.

        Args:
            factory: as in its file.
        """
        self._factory, self.text = factory, ""
        self._placements = initial_placements(factory)
        self._source = self._goal = None

    def begin(self, order: Order) -> None:
        """An order begins.

        Raises:
            OrderError: there is no such tote or station, or no room for it.
        """
        try:
            tote = self._factory.tote(order.tote)
            place = ordered_placement(self._factory, order, self._placements)
        except (FactoryError, KeyError) as error:
            raise OrderError(f"the order names what is not there: {error}") from None
        if place is None:
            raise OrderError(f"There is no free place for {order.tote} on {order.to}.")
        self._from = self._placements[order.tote]
        self._source = self._place(self._from)
        self._goal = self._place(place)
        self._kind = np.array([float(tote.kind == kind) for kind in LOAD_CARRIERS])
        self._order, self._ordered = order, place
        from_, to = (self._factory.station(where.station).kind for where in (self._placements[order.tote], place))
        onto = "onto another tote on" if place.on is not None else "to"
        self.text = f"bring a {tote.kind} from a {from_} {onto} a {to}"

    @property
    def place(self) -> Placement:
        """Where the tote shall stand."""
        return self._ordered

    @property
    def belt_speed(self) -> float:
        """Speed in m/s of the belt that the tote shall stand on; 0 where there is none."""
        return self._goal.belt_speed

    @property
    def placements(self) -> tuple[Placement, Placement]:
        """Where the tote stood when the order began, and where it shall stand."""
        return self._from, self._ordered

    def is_to_be_pulled(self, source_from_tote: np.ndarray) -> bool:
        """Whether the tote (4, 4) stands too far back on its surface to be gripped as usual, where it can be pulled."""
        seen = replace(self._from, pose=(float(source_from_tote[0, 3]), float(source_from_tote[1, 3]), yaw_of(source_from_tote)))
        return is_to_be_pulled(self._factory, self._order.tote, self._placements | {self._order.tote: seen})

    def done(self) -> None:
        """The order is done: its tote stands where it was to."""
        self._placements[self._order.tote] = self._ordered

    def _place(self, placement: Placement) -> _Place:
        station = self._factory.station(placement.station)
        x, y, yaw = placement.pose
        height, below = 0.0, placement.on
        while below is not None:
            under: Tote = self._factory.tote(below)
            height += under.carrier.stacking_height
            below = self._placements[below].on
        speed = station.speed if isinstance(station, Conveyor) else 0.0
        bottom = station.surface_height(placement.shelf) + height
        legs = leg_distance(station, y, pelvis_height=working_height(bottom))
        stacked = self._factory.tote(placement.on).carrier.stacking_height if placement.on is not None else 0.0
        return _Place(surface_name(station.name, placement.shelf), station.front_x, speed, planar(x, y, yaw, height),
                      free_height(station, placement.shelf), legs, placement.on, stacked)  # fmt: skip

    def goal(self, poses: PoseSet, estimate: BaseEstimate, *, before: np.ndarray | None = None) -> np.ndarray:
        """(`GOAL_SIZE`,) m, m/s and unit vectors in `base_footprint`, in the order of `GOAL_NAMES`.

        Args:
            poses: with both surfaces, or the goal stays as it was `before`; and with the tote below the goal, if there is one.
            estimate: where the robot believes it is.
            before: what was given last.

        Raises:
            OrderError: a surface is not among the poses, and there is nothing before.
        """
        missing = [place.surface for place in (self._source, self._goal) if place.surface not in poses.surfaces]
        if missing and before is not None:
            return before
        if missing:
            raise OrderError(f"the pose of {missing[0]} was never seen")
        footprint = footprint_from_base(estimate)
        source, goal = (self._upright(footprint, poses, place) for place in (self._source, self._goal))
        return np.concatenate([
            _numbers(source), [self._source.front_x], _numbers(source @ self._source.surface_from_tote),
            _numbers(goal), [self._goal.front_x, self._goal.belt_speed], _numbers(self._goal_tote(footprint, poses, goal)),
            self._kind, [self._source.free_height, self._source.leg_room, self._goal.free_height, self._goal.leg_room],
        ])  # fmt: skip

    def _goal_tote(self, footprint: np.ndarray, poses: PoseSet, surface: np.ndarray) -> np.ndarray:
        """(4, 4) the tote where it shall stand: on another where that is seen to be, else as the file has it."""
        below = poses.totes.get(self._goal.on) if self._goal.on is not None else None
        if below is None:
            return surface @ self._goal.surface_from_tote
        pose = tote_facing(footprint @ below.base_from_object, yaw_of(surface))
        return planar(*pose[:2, 3], yaw_of(pose), pose[2, 3] + self._goal.stacked)

    @staticmethod
    def _upright(footprint: np.ndarray, poses: PoseSet, place: _Place) -> np.ndarray:
        seen = footprint @ poses.surfaces[place.surface].base_from_object
        return planar(seen[0, 3], seen[1, 3], yaw_of(seen), seen[2, 3])


def _numbers(pose: np.ndarray) -> list[float]:
    yaw = yaw_of(pose)
    return [*pose[:3, 3], math.cos(yaw), math.sin(yaw)]
