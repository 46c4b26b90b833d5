"""Where hands go on a tote, and how the body stands for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from humanoid_control.inverse_kinematics import IkOptions, IkTargets, IkTasks, InverseKinematics
from humanoid_control.mission.load_carriers import LONG_LIP_DEPTH, WALL_THICKNESS, LoadCarrier
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import inverse, planar, rotation_x, rotation_y, rotation_z, to_pose, transform, wrapped, yaw_of
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


@dataclass(frozen=True)
class BodyPosture:
    """How low and how bent the body is.

    Attributes:
        pelvis_height: m.
        torso_pitch: rad.
    """

    pelvis_height: float
    torso_pitch: float

    def towards(self, other: BodyPosture, share: float) -> BodyPosture:
        """A posture a share of the way to another."""
        return BodyPosture(self.pelvis_height + share * (other.pelvis_height - self.pelvis_height),
                           self.torso_pitch + share * (other.torso_pitch - self.torso_pitch))  # fmt: skip


UPRIGHT = BodyPosture(0.72, 0.0)
SOLES_AHEAD = 0.035  # m, of the soles' middle before the base that stands upright


class PosturePlanner:
    """Finds how far to bend and squat for two hand poses, by whole-body inverse kinematics."""

    def __init__(self, model: RobotModel) -> None:
        """Prepares the solver.

        Args:
            model: the robot.
        """
        weights = np.array([[3.0, 3, 3, 2, 2, 2]] * 2 + [[30.0] * 6] * 2 + [[0, 0, 0, 0.1, 0.3, 0.1], [0, 0, 1.5, 0.1, 0.1, 0.1]])
        tasks = IkTasks(frame_weights=weights, required=np.array([True, True, True, True, False, False]))
        self._ik = InverseKinematics(model, tasks, IkOptions(error_damping=1e-2))
        self._posture = standing_posture(model)
        self._start = np.concatenate([[-SOLES_AHEAD, 0.0, 0.72, 0.0, 0.0, 0.0, 1.0], self._posture])

    def plan(self, base_from_hands: tuple[np.ndarray, np.ndarray]) -> BodyPosture:
        """The posture for hands at poses (4, 4) in `base_footprint`, feet side by side under it.

        Raises:
            SolverError: if the hands cannot get there.
        """
        poses = np.zeros((6, 7))
        for side in (0, 1):
            poses[side] = to_pose(base_from_hands[side])
            poses[2 + side] = to_pose(transform(np.eye(3), np.array([SOLES_AHEAD, 0.11 * (1 - 2 * side), 0.0])))
        lowest = min(base_from_hands[0][2, 3], base_from_hands[1][2, 3])
        height = float(np.clip(0.60 + 0.16 * (lowest - 0.5) / 0.45, 0.58, 0.72))
        poses[4, 6] = 1.0
        poses[5] = [0, 0, height, 0, 0, 0, 1]
        solution = self._ik.solve(self._start, IkTargets(poses, np.array([SOLES_AHEAD, 0.0, 0.6]), self._posture), max_iterations=300)
        base = solution.configuration
        x, y, z, w = base[3:7]
        pelvis_pitch = math.asin(float(np.clip(2 * (w * y - z * x), -1, 1)))
        waist_pitch = float(base[7 + 14])
        return BodyPosture(float(np.clip(base[2], 0.55, 0.74)), float(np.clip(pelvis_pitch + waist_pitch, -0.1, 1.15)))


class LimbKinematics:
    """Where hands and feet are, from the joint encoders."""

    def __init__(self, model: RobotModel) -> None:
        """Prepares the model.

        Args:
            model: the robot.
        """
        self._model = model.pinocchio_model
        self._data = self._model.createData()
        self._hands, self._soles = ([self._model.getFrameId(f"{letter}_{name}") for letter in "lr"] for name in ("gripper", "sole"))
        self._configuration = pin.neutral(self._model)

    def base_from_hands(self, joint_positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(4, 4) each, of `l_gripper` and `r_gripper` in `base_link`, at joint positions (29,) rad."""
        return self._placed(joint_positions, self._hands)

    def base_from_soles(self, joint_positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(4, 4) each, of `l_sole` and `r_sole` in `base_link`, at joint positions (29,) rad."""
        return self._placed(joint_positions, self._soles)

    def _placed(self, joint_positions: np.ndarray, frames: list[int]) -> tuple[np.ndarray, np.ndarray]:
        self._configuration[7:] = joint_positions
        pin.forwardKinematics(self._model, self._data, self._configuration)
        return tuple(pin.updateFramePlacement(self._model, self._data, f).homogeneous.copy() for f in frames)


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
