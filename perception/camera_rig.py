"""Where the robot's cameras are at the time of an image: kinematics, mounting errors, and what was measured back then."""

from __future__ import annotations

import bisect
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from humanoid_control.errors import ConfigurationError
from humanoid_control.robot_model import RobotModel
from humanoid_control.transforms import from_pose, interpolated, rotation_of_vector, transform
from humanoid_control.types import BaseEstimate, RobotState
from perception.camera_model import CameraModel
from perception.errors import PerceptionError

MAX_MOUNTING_ERROR = np.repeat([0.1, 0.5], 3)  # m and rad; more is no mounting error but another camera
UNCALIBRATED = np.repeat([4e-3, 8e-3], 3)  # m and rad: standard deviations of a mounting error nobody has estimated
MAX_GAP_S = 0.05  # between two states, for what happened in between to be known
BUFFER_S = 2.0


class CameraRig:
    """All cameras on the robot.

    A mounting error is where the camera really sits in the optical frame the URDF gives it: translation (m) and rotation
    vector (rad).

    Attributes:
        model: the robot's.
        cameras: intrinsics by name; None where they are not known yet.
        mounting: (6,) mounting error by camera; all cameras are in it.
        mounting_covariance: (6, 6) of it by camera: an error that all images of a camera share.
    """

    def __init__(
        self, model: RobotModel, cameras: Mapping[str, CameraModel | None], *, mounting: Mapping[str, np.ndarray] | None = None,
        mounting_covariance: Mapping[str, np.ndarray] | None = None,
    ) -> None:  # fmt: skip
        """Finds the cameras on the robot.

        Args:
            model: the robot's; each camera is its frame `<name>_optical`.
            cameras: intrinsics by name; None where they will be known by `set_intrinsics`.
            mounting: (6,) estimated mounting errors by camera; those missing are 0.
            mounting_covariance: (6, 6) by camera; those missing are what is usual without calibration.

        Raises:
            ConfigurationError: the robot has no such camera, or a mounting error cannot be one.
        """
        self.model = model
        self.cameras = dict(cameras)
        self.mounting = {name: np.zeros(6) for name in self.cameras}
        self.mounting_covariance = {name: np.diag(UNCALIBRATED**2) for name in self.cameras}
        self._corrections = {}
        pinocchio_model = model.pinocchio_model
        self._lock = threading.Lock()  # of the data that kinematics are computed in
        self._data = pinocchio_model.createData()
        self._configuration = pin.neutral(pinocchio_model)
        for name in self.cameras:
            if not pinocchio_model.existFrame(f"{name}_optical"):
                raise ConfigurationError(f"the robot has no camera '{name}': its URDF lacks the frame {name}_optical")
            self._corrections[name] = np.eye(4)
        for name, error in (mounting or {}).items():
            self.set_mounting(name, error, covariance=(mounting_covariance or {}).get(name))

    def set_intrinsics(self, name: str, camera: CameraModel | None) -> None:
        """Takes over a camera's intrinsics, or that they are not known.

        Raises:
            ConfigurationError: there is no such camera.
        """
        self._check(name)
        self.cameras[name] = camera

    def set_mounting(self, name: str, error: np.ndarray, *, covariance: np.ndarray | None = None) -> None:
        """Takes over a camera's mounting error (6,) and, where it is known, its covariance (6, 6).

        Raises:
            ConfigurationError: there is no such camera, or the error cannot be one.
        """
        self._check(name)
        error = np.array(error, float)
        if error.shape != (6,) or not (np.abs(error) <= MAX_MOUNTING_ERROR).all():
            raise ConfigurationError(f"{name}: a mounting error is 6 numbers, the first three at most {MAX_MOUNTING_ERROR[0]} m, "
                                     f"the others at most {MAX_MOUNTING_ERROR[3]} rad; got {error.tolist()}")  # fmt: skip
        self.mounting[name] = error
        if covariance is not None:
            self.mounting_covariance[name] = np.array(covariance, float)
        self._corrections[name] = mounting_transform(error)

    def base_from_camera(self, name: str, joint_positions: np.ndarray) -> np.ndarray:
        """Returns (4, 4) pose of a camera's optical frame in `base_link`.

        Args:
            name: of the camera.
            joint_positions: (29,) rad.

        Raises:
            ConfigurationError: there is no such camera.
        """
        self._check(name)
        return self.frame_pose(f"{name}_optical", joint_positions) @ self._corrections[name]

    def frame_pose(self, frame: str, joint_positions: np.ndarray) -> np.ndarray:
        """Returns (4, 4) pose in `base_link` of any frame of the URDF, such as `l_gripper`."""
        model = self.model.pinocchio_model
        if not model.existFrame(frame):
            raise ConfigurationError(f"the robot's URDF has no frame '{frame}'")
        with self._lock:
            self._configuration[7:] = joint_positions
            pin.forwardKinematics(model, self._data, self._configuration)
            return pin.updateFramePlacement(model, self._data, model.getFrameId(frame)).homogeneous.copy()

    def up_in_camera(self, name: str, joint_positions: np.ndarray, odom_from_base: np.ndarray) -> np.ndarray:
        """Returns the (3,) unit vector against gravity in a camera's optical frame.

        Args:
            name: of the camera.
            joint_positions: (29,) rad.
            odom_from_base: (4, 4), whose tilt is the IMU's.
        """
        odom_from_camera = odom_from_base[:3, :3] @ self.base_from_camera(name, joint_positions)[:3, :3]
        return odom_from_camera[2].copy()

    def _check(self, name: str) -> None:
        if name not in self.cameras:
            raise ConfigurationError(f"no camera '{name}'; there is {', '.join(self.cameras)}")


def mounting_transform(error: np.ndarray) -> np.ndarray:
    """Returns (4, 4) nominal_from_actual optical frame of a mounting error (6,)."""
    return transform(rotation_of_vector(np.asarray(error[3:], float)), np.asarray(error[:3], float))


@dataclass(frozen=True, eq=False)
class RobotSnapshot:
    """What the robot knew of itself at one instant.

    Attributes:
        stamp_s: on the robot's clock.
        joint_positions: (29,) rad.
        odom_from_base: (4, 4) estimated pose of `base_link`.
        gripper_openings: (2,) m.
        gripper_forces: (2,) N.
    """

    stamp_s: float
    joint_positions: np.ndarray
    odom_from_base: np.ndarray
    gripper_openings: np.ndarray
    gripper_forces: np.ndarray


class StateBuffer:
    """The robot's last states, so that an image is read with the posture of its own time; for any number of threads.

    Args:
        length_s: how far it reaches back.
        max_gap_s: the longest time between two states within which it interpolates.
    """

    def __init__(self, *, length_s: float = BUFFER_S, max_gap_s: float = MAX_GAP_S) -> None:
        self._length_s = length_s
        self._max_gap_s = max_gap_s
        self._snapshots: deque[RobotSnapshot] = deque()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._snapshots)

    @property
    def newest(self) -> RobotSnapshot:
        """The newest state.

        Raises:
            PerceptionError: there is none yet.
        """
        with self._lock:
            if not self._snapshots:
                raise PerceptionError("no state of the robot has come yet")
            return self._snapshots[-1]

    def clear(self) -> None:
        """Forgets all of them."""
        with self._lock:
            self._snapshots.clear()

    def add(self, state: RobotState, estimate: BaseEstimate) -> None:
        """Takes one measured state and the base estimate made of it.

        A stamp older than the newest begins anew: the robot's clock was set back.
        """
        odom_from_base = from_pose(np.concatenate([estimate.position, estimate.orientation]))
        snapshot = RobotSnapshot(state.stamp_s, state.joint_positions.copy(), odom_from_base, state.gripper_openings.copy(),
                                 state.gripper_forces.copy())  # fmt: skip
        with self._lock:
            if self._snapshots and state.stamp_s <= self._snapshots[-1].stamp_s:
                if state.stamp_s == self._snapshots[-1].stamp_s:
                    return
                self._snapshots.clear()
            self._snapshots.append(snapshot)
            while self._snapshots[0].stamp_s < state.stamp_s - self._length_s:
                self._snapshots.popleft()

    def at(self, stamp_s: float) -> RobotSnapshot:
        """Returns the state at an image's time.

        Raises:
            PerceptionError: that time is not covered.
        """
        with self._lock:
            newest = self.newest
            oldest = self._snapshots[0]
            if not oldest.stamp_s <= stamp_s <= newest.stamp_s:
                raise PerceptionError(f"no state of the robot for {stamp_s:.3f} s: states reach from {oldest.stamp_s:.3f} to "
                                      f"{newest.stamp_s:.3f} s")  # fmt: skip
            index = bisect.bisect_left(self._snapshots, stamp_s, key=lambda snapshot: snapshot.stamp_s)
            after, before = self._snapshots[index], self._snapshots[max(index - 1, 0)]
        if after.stamp_s == stamp_s:
            return after
        gap_s = after.stamp_s - before.stamp_s
        if gap_s > self._max_gap_s:
            raise PerceptionError(f"no state of the robot for {stamp_s:.3f} s: there is none between {before.stamp_s:.3f} and "
                                  f"{after.stamp_s:.3f} s")  # fmt: skip
        share = (stamp_s - before.stamp_s) / gap_s

        def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
            return first + share * (second - first)

        return RobotSnapshot(
            stamp_s, between(before.joint_positions, after.joint_positions),
            interpolated(before.odom_from_base, after.odom_from_base, share),
            between(before.gripper_openings, after.gripper_openings), between(before.gripper_forces, after.gripper_forces),
        )  # fmt: skip
