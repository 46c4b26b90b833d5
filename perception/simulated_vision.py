"""The rungs that see, in a simulation that runs in this process: cameras, perception, and nothing privileged between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from humanoid_control.mission.factory import Factory
from humanoid_control.simulation.simulated_factory import SimulatedFactory
from humanoid_control.types import BaseEstimate, RobotState
from perception.camera_model import CameraModel
from perception.camera_rig import CameraRig
from perception.frame import CameraFrame
from perception.poses import PoseSet
from perception.simulated_calibration import drawn_calibration
from perception.simulated_cameras import SimulatedCameras
from perception.vision import POSE_CAMERAS, VisionHealth, VisionPoses


class EpisodeImages:
    """The images of an episode: rendered once, whoever looks at them.

    Attributes:
        rig: the cameras as the robot knows them.
        newest: the images that came at the last `poll`.
    """

    def __init__(self, floor: SimulatedFactory, names: tuple[str, ...] = POSE_CAMERAS, *, is_worth: Callable[[str], bool] = lambda camera: True) -> None:
        """Begins an episode.

        Args:
            floor: the running simulation.
            names: of the cameras.
            is_worth: whether a camera's images are rendered just now, where whoever looks at them can do without some.

        Raises:
            SimulationError: there is no OpenGL.
        """
        self._cameras, self._is_worth = _shared_cameras(names), is_worth
        self.rig = calibrated_rig(floor, self._cameras.use(floor.scene, floor.robot.data, floor.episode.stream("images")))
        self.newest: tuple[CameraFrame, ...] = ()

    def poll(self) -> None:
        """Renders what is due, and takes what has come."""
        self.newest = tuple(self._cameras.poll(self._is_worth))


class SimulatedVision:
    """A pose source of `run_episode` that sees through the simulated robot's cameras.

    Attributes:
        vision: what looks at the images.
    """

    is_privileged = False

    def __init__(self, rung: str, floor: SimulatedFactory, factory: Factory, *, images: EpisodeImages | None = None) -> None:
        """Begins an episode.

        Args:
            rung: `fiducial`, `detector` or `tracker`.
            floor: the running simulation.
            factory: as in its file, not as drawn.
            images: of the episode, where others look at them too, who polls them; among them those of `POSE_CAMERAS`.

        Raises:
            PerceptionError: a network cannot be loaded.
            SimulationError: there is no OpenGL.
        """
        self._images, self._polls = (EpisodeImages(floor), True) if images is None else (images, False)
        rig = self._images.rig
        self.vision = VisionPoses(rung, factory, CameraRig(
            floor.robot.model, {name: rig.cameras[name] for name in POSE_CAMERAS}, mounting={name: rig.mounting[name] for name in POSE_CAMERAS},
            mounting_covariance=rig.mounting_covariance))  # fmt: skip

    @property
    def health(self) -> VisionHealth:
        """How cameras and computing do."""
        return self.vision.health

    def update(self, state: RobotState, estimate: BaseEstimate) -> None:
        """See `PoseSource.update`; images that have come since are looked at."""
        self.vision.update(state, estimate)
        if self._polls:
            self._images.poll()
        self.vision.take([frame for frame in self._images.newest if frame.camera in POSE_CAMERAS])

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
def _shared_cameras(names: tuple[str, ...]) -> SimulatedCameras:
    """One for all episodes of a process: OpenGL starts slowly."""
    return SimulatedCameras(names)
