"""The truth about the simulated robot's cameras: their intrinsics, which makers give, and their mounting, which is privileged."""

from __future__ import annotations

import mujoco
import numpy as np

from humanoid_control.simulation.cameras import camera_matrix
from humanoid_control.simulation.episode import Episode
from humanoid_control.simulation.robot_spec import CAMERA_FIELD_OF_VIEW
from perception.camera_model import CameraModel

# MuJoCo's cameras look along -z with y up, optical frames along z with y down.
OPTICAL_FROM_MUJOCO = np.array([1.0, -1.0, -1.0])


def camera_models(scene: mujoco.MjModel, *, width: int, height: int) -> dict[str, CameraModel]:
    """Returns the intrinsics of the robot's cameras by name, for images of `width` x `height` pixels."""
    return {name: CameraModel(name, width, height, camera_matrix(scene, name, width=width, height=height))
            for name in CAMERA_FIELD_OF_VIEW}  # fmt: skip


def camera_from_map(data: mujoco.MjData, camera: str) -> np.ndarray:
    """Returns the (4, 4) pose of the map in a camera's optical frame as it really is; privileged."""
    view = data.camera(camera)
    pose = np.eye(4)
    pose[:3, :3] = (view.xmat.reshape(3, 3) * OPTICAL_FROM_MUJOCO).T
    pose[:3, 3] = -pose[:3, :3] @ view.xpos
    return pose


def true_mounting(episode: Episode, camera: str) -> np.ndarray:
    """Returns the (6,) mounting error an episode has drawn, as `CameraRig` has it; privileged."""
    return episode.camera_error(camera) * np.tile(OPTICAL_FROM_MUJOCO, 2)
