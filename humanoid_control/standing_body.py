"""The body on feet that stand side by side: where hands and soles are, and how it squats and bends for what hands reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from humanoid_control.inverse_kinematics import IkTargets
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import to_pose, transform

SOLES_AHEAD, SOLES_APART = 0.035, 0.22  # m, of the soles' middle before the base that stands upright; between them
SQUATTING, BENDING = (0.55, 0.74), (-0.1, 1.15)  # m of the pelvis, rad of the torso: what walks and stands well
LOWEST_SQUAT, UPRIGHT_HEIGHT = 0.58, 0.72  # m of the pelvis, at the lowest hand and at an easy one


class LimbKinematics:
    """Where hands and feet are, from the joint encoders or in a configuration of the whole body."""

    def __init__(self, model: RobotModel) -> None:
        """Prepares the model.

        Args:
            model: the robot.
        """
        self._model = model.pinocchio_model
        self._data = self._model.createData()
        self._hands, self._soles = ([self._model.getFrameId(f"{letter}_{name}") for letter in "lr"] for name in ("gripper", "sole"))
        self._at_base = pin.neutral(self._model)

    def base_from_hands(self, joint_positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(4, 4) each, of `l_gripper` and `r_gripper` in `base_link`, at joint positions (29,) rad."""
        self._at_base[7:] = joint_positions
        return self.hands(self._at_base)

    def base_from_soles(self, joint_positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(4, 4) each, of `l_sole` and `r_sole` in `base_link`, at joint positions (29,) rad."""
        self._at_base[7:] = joint_positions
        return self.soles(self._at_base)

    def hands(self, configuration: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(4, 4) each, of `l_gripper` and `r_gripper` in the world of a configuration (36,): base pose, then joints."""
        return self._placed(configuration, self._hands)

    def soles(self, configuration: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(4, 4) each, of `l_sole` and `r_sole` in the world of a configuration (36,): base pose, then joints."""
        return self._placed(configuration, self._soles)

    def _placed(self, configuration: np.ndarray, frames: list[int]) -> tuple[np.ndarray, np.ndarray]:
        pin.forwardKinematics(self._model, self._data, configuration)
        return tuple(pin.updateFramePlacement(self._model, self._data, frame).homogeneous.copy() for frame in frames)


def reaching_targets(hands: Sequence[np.ndarray], posture: np.ndarray, hand_velocities: np.ndarray | None = None) -> IkTargets:
    """What whole-body inverse kinematics is asked for where hands reach: feet that stay, a trunk that is low for a low hand.

    Frames are in the order of `IkTasks.frames`: hands, soles, torso, pelvis.

    Args:
        hands: (4, 4) each, in the footprint of the base that stands upright.
        posture: (29,) rad, to stay near.
        hand_velocities: (2, 6) m/s, rad/s; zero by default.
    """
    poses = np.zeros((6, 7))
    for side in (0, 1):
        poses[side] = to_pose(hands[side])
        poses[2 + side] = to_pose(transform(np.eye(3), np.array([SOLES_AHEAD, (0.5 - side) * SOLES_APART, 0.0])))
    lowest = min(hands[0][2, 3], hands[1][2, 3])
    height = float(np.clip(0.60 + 0.16 * (lowest - 0.5) / 0.45, LOWEST_SQUAT, UPRIGHT_HEIGHT))
    poses[4, 6] = 1.0
    poses[5] = [0, 0, height, 0, 0, 0, 1]
    velocities = None
    if hand_velocities is not None:
        velocities = np.zeros((6, 6))
        velocities[:2] = hand_velocities
    return IkTargets(poses, np.array([SOLES_AHEAD, 0.0, 0.6]), posture, frame_velocities=velocities)


@dataclass(frozen=True)
class BodyPosture:
    """How low and how bent the body is.

    Attributes:
        pelvis_height: m.
        torso_pitch: rad.
    """

    pelvis_height: float
    torso_pitch: float

    @classmethod
    def of(cls, model: RobotModel, configuration: np.ndarray) -> BodyPosture:
        """The posture of a configuration (36,) that stands, as far as targets may ask for it."""
        x, y, z, w = configuration[3:7]
        pelvis_pitch = math.asin(float(np.clip(2 * (w * y - z * x), -1, 1)))
        waist_pitch = float(configuration[7 + model.joint_names.index("waist_pitch_joint")])
        return cls(float(np.clip(configuration[2], *SQUATTING)), float(np.clip(pelvis_pitch + waist_pitch, *BENDING)))

    def towards(self, other: BodyPosture, share: float) -> BodyPosture:
        """A posture a share of the way to another."""
        return BodyPosture(self.pelvis_height + share * (other.pelvis_height - self.pelvis_height),
                           self.torso_pitch + share * (other.torso_pitch - self.torso_pitch))  # fmt: skip


UPRIGHT = BodyPosture(UPRIGHT_HEIGHT, 0.0)
