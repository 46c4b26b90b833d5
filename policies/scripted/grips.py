"""Where hands go on a tote, and how the body stands for it."""

from __future__ import annotations

import math

import numpy as np

from humanoid_control.inverse_kinematics import IkOptions, IkTasks, InverseKinematics
from humanoid_control.mission.load_carriers import LONG_LIP_DEPTH, WALL_THICKNESS, LoadCarrier
from humanoid_control.robot_model import RobotModel
from humanoid_control.standing_body import SOLES_AHEAD, UPRIGHT, BodyPosture, reaching_targets
from humanoid_control.transforms import inverse, planar, rotation_x, rotation_y, rotation_z, transform, wrapped, yaw_of
from humanoid_control.whole_body_control.controller import standing_posture

# The hand comes diagonally from outside, fingers one above and one below the lip: the weight rests on the lower finger
# and needs no friction. Its base stays outside the tote, its finger tips just before the wall.
HAND_YAW = math.radians(40)
OUTWARD = 0.011  # m, the pads' middle beyond the lip's edge
BACKWARD = 0.018  # m, the pads' middle before the tote's: where pad and lip overlap is then beside the tote's middle
GRIP_OPENING = (0.013, 0.025)  # m between pads that have a lip between them
CARRY_DISTANCE = 0.36  # m the same while walking with it
CARRY_GRIP_HEIGHT = 0.95  # m, of the hands
LIP_PITCH = math.radians(15)  # of hands at the near lip: fingers point down a little, one above the lip, one below
LIP_DEPTH = 0.021  # m, the lip's middle beyond the pads': their tips reach the wall below it
REACH_SLACK = 0.03  # m of reach too far that is not worth pulling or pushing a tote
LIP_OPENING = (0.013, 0.032)  # m between pads that have the near lip between them
LIP_SPREAD = 0.10  # m, of each hand at the near lip from the tote's middle
READY = {"outward": 0.09, "backward": 0.17}  # m off the grip: hands beside the body, in front of the station's edge


def hand_in_tote(carrier: LoadCarrier, side: int, *, outward: float = 0.0, backward: float = 0.0, up: float = 0.0) -> np.ndarray:
    """(4, 4) tote_from_hand of the grip, or of a point off it.

    Args:
        carrier: the tote.
        side: 0 left, 1 right.
        outward, backward, up: m away from the grip: sideways away from the tote, towards the robot, upwards.
    """
    sign = 1.0 if side == 0 else -1.0
    rotation = rotation_z(-sign * HAND_YAW) @ rotation_x(sign * math.pi / 2)
    return transform(rotation, np.array([-BACKWARD - backward, sign * (carrier.length / 2 + OUTWARD + outward),
                                         carrier.grip_height + up]))  # fmt: skip


def hand_at_near_lip(carrier: LoadCarrier, side: int, *, off: float = 0.0) -> np.ndarray:
    """(4, 4) tote_from_hand of the grip at the lip of the long side that faces the robot, or of a point before it.

    Args:
        carrier: the tote.
        side: 0 left, 1 right.
        off: m away from the grip, back along the fingers.
    """
    sign = 1.0 if side == 0 else -1.0
    along = np.array([math.cos(LIP_PITCH), 0.0, -math.sin(LIP_PITCH)])
    rotation = rotation_y(LIP_PITCH) @ rotation_x(sign * math.pi / 2)
    lip = np.array([-0.5 * (carrier.width - LONG_LIP_DEPTH - WALL_THICKNESS), sign * LIP_SPREAD, carrier.grip_height])
    return transform(rotation, lip - (LIP_DEPTH + off) * along)


def holds_lip(openings: np.ndarray, within: tuple[float, float] = GRIP_OPENING) -> bool:
    """Whether both hands have a lip between their pads, which are so many m (2,) apart."""
    return bool((openings > within[0]).all() and (openings < within[1]).all())


def openings_text(openings: np.ndarray) -> str:
    """How far pads (2,) m are apart, in words."""
    return " and ".join(f"{1000 * opening:.0f} mm" for opening in openings)


class PosturePlanner:
    """Finds how far to bend and squat for two hand poses, by whole-body inverse kinematics."""

    def __init__(self, model: RobotModel) -> None:
        """Prepares the solver.

        Args:
            model: the robot.
        """
        weights = np.array([[3.0, 3, 3, 2, 2, 2]] * 2 + [[30.0] * 6] * 2 + [[0, 0, 0, 0.1, 0.3, 0.1], [0, 0, 1.5, 0.1, 0.1, 0.1]])
        tasks = IkTasks(frame_weights=weights, required=np.array([True, True, True, True, False, False]))
        self._model = model
        self._ik = InverseKinematics(model, tasks, IkOptions(error_damping=1e-2))
        self._posture = standing_posture(model)
        self._start = np.concatenate([[-SOLES_AHEAD, 0.0, UPRIGHT.pelvis_height, 0.0, 0.0, 0.0, 1.0], self._posture])

    def plan(self, base_from_hands: tuple[np.ndarray, np.ndarray]) -> BodyPosture:
        """The posture for hands at poses (4, 4) in `base_footprint`, feet side by side under it.

        Raises:
            SolverError: if the hands cannot get there.
        """
        solution = self._ik.solve(self._start, reaching_targets(base_from_hands, self._posture), max_iterations=300)
        return BodyPosture.of(self._model, solution.configuration)


def tote_facing(pose: np.ndarray, yaw: float) -> np.ndarray:
    """(4, 4) of a tote's two equal poses the one that faces about so.

    Args:
        pose: (4, 4) of the tote, in any frame.
        yaw: rad, in that frame.
    """
    return pose @ planar(0.0, 0.0, math.pi) if abs(wrapped(yaw_of(pose) - yaw)) > math.pi / 2 else pose


def tote_from_hands(odom_from_tote: np.ndarray, odom_from_hands: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(4, 4) each: where the hands really have the tote."""
    tote_from_odom = inverse(odom_from_tote)
    return tote_from_odom @ odom_from_hands[0], tote_from_odom @ odom_from_hands[1]
