"""The rungs that see, in a simulation that runs in this process: cameras, perception, and nothing privileged between them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from humanoid_control.mission.factory import Factory
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from humanoid_control.types import BaseEstimate, RobotState
from perception.camera_model import CameraModel
from perception.camera_rig import CameraRig
from perception.poses import PoseSet
from perception.simulated_calibration import drawn_calibration
from perception.simulated_cameras import SimulatedCameras
from perception.vision import POSE_CAMERAS, VisionHealth, VisionPoses


class SimulatedVision:
    """A pose source of `run_episode` that sees through the simulated robot's cameras.

    Attributes:
        vision: what looks at the images.
    """

    is_privileged = False

    def __init__(self, rung: str, floor: SimulatedFactory, factory: Factory) -> None:
        """Begins an episode.

        Args:
            rung: `fiducial`, `detector` or `tracker`.
            floor: the running simulation.
            factory: as in its file, not as drawn.

        Raises:
            PerceptionError: a network cannot be loaded.
            SimulationError: there is no OpenGL.
        """
        self._cameras = _shared_cameras()
        models = self._cameras.use(floor.scene, floor.robot.data, floor.episode.stream("images"))
        self.vision = VisionPoses(rung, factory, calibrated_rig(floor, models))

    @property
    def health(self) -> VisionHealth:
        """How cameras and computing do."""
        return self.vision.health

    def update(self, state: RobotState, estimate: BaseEstimate) -> None:
        """See `PoseSource.update`; images that have come since are looked at."""
        self.vision.update(state, estimate)
        self.vision.take(self._cameras.poll())

    def read(self) -> PoseSet:
        """See `PoseSource.read`."""
        return self.vision.read()


def calibrated_rig(floor: SimulatedFactory, models: Mapping[str, CameraModel]) -> CameraRig:
    """The cameras of an episode as the robot knows them: calibrated, with the error that is left drawn from the episode.

    Args:
        floor: the running simulation.
        models: intrinsics by camera.
    """
    estimates = drawn_calibration(floor.episode, models)
    return CameraRig(floor.robot.model, models, mounting={name: estimate.error for name, estimate in estimates.items()},
                     mounting_covariance={name: estimate.covariance for name, estimate in estimates.items()})  # fmt: skip


@cache
def _shared_cameras() -> SimulatedCameras:
    """One for all episodes of a process: OpenGL starts slowly."""
    return SimulatedCameras(POSE_CAMERAS)
