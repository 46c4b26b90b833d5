"""The rung `fiducial`: totes and surfaces of stations from AprilTags on them, each with its name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from humanoid_control.mission.factory import Factory
from humanoid_control.mission.tags import Tag, lay_out_tags
from perception.camera_rig import CameraRig, StateBuffer
from perception.frame import CameraFrame
from perception.pnp import solve_pose
from perception.poses import surface_name
from perception.tag_detector import TagDetector, TagSighting

TOTE, SURFACE = "tote", "surface"
UP_DEVIATION = {TOTE: 0.03, SURFACE: 0.01}  # rad: how far each may tilt; of a tote in hands too
DEVIATION_FACTOR = 2.0  # what a camera in motion, at its small image size, adds to a tag's own deviation
FIXING = np.repeat([1e-3, 3e-3], 3)  # m and rad: how exactly tags are fixed to what carries them
MAX_CHI2 = 16.0  # beyond, the tags contradict each other or are none


@dataclass(frozen=True, eq=False)
class TaggedObject:
    """A tote or a surface seen in one image.

    Attributes:
        kind: `tote` or `surface`.
        name: the tote's, or the surface's as `surface_name` gives it.
        camera: whose image it was.
        stamp_s: of the image, on the robot's clock.
        camera_from_object: (4, 4) in optical axes; frames are those of `ObjectPose`.
        covariance: (6, 6) of translation (m) and rotation vector (rad), in camera axes.
        tags: how many were seen of it.
    """

    kind: str
    name: str
    camera: str
    stamp_s: float
    camera_from_object: np.ndarray
    covariance: np.ndarray
    tags: int


class FiducialPoses:
    """Finds what carries tags.

    Args:
        factory: whose totes and stations they are on.
        rig: the cameras.
    """

    def __init__(self, factory: Factory, rig: CameraRig) -> None:
        """Lays out the tags.

        Raises:
            FactoryError: there are not enough tags for that many totes and stations.
        """
        layout = lay_out_tags(factory)
        self._rig = rig
        self._detector = TagDetector()
        self._places: dict[int, tuple[str, str, Tag]] = {}
        for name, tags in layout.totes.items():
            self._places |= {tag.id: (TOTE, name, tag) for tag in tags}
        for (station, shelf), tags in layout.surfaces.items():
            self._places |= {tag.id: (SURFACE, surface_name(station, shelf), tag) for tag in tags}

    def look(self, frames: Sequence[CameraFrame], states: StateBuffer) -> list[TaggedObject]:
        """Returns what is seen in each image; what several images show comes several times.

        Args:
            frames: of any cameras of the rig.
            states: of the robot, at the images' times.

        Raises:
            PerceptionError: the robot's state at an image's time is not known.
        """
        seen = []
        for frame in frames:
            at = states.at(frame.stamp_s)
            up = self._rig.up_in_camera(frame.camera, at.joint_positions, at.odom_from_base)
            groups: dict[tuple[str, str], list[tuple[Tag, TagSighting]]] = defaultdict(list)
            for sighting in self._detector.detect(frame.rgb):
                if sighting.id in self._places:
                    kind, name, tag = self._places[sighting.id]
                    groups[kind, name].append((tag, sighting))
            for (kind, name), pairs in groups.items():
                found = self._locate(kind, name, frame, pairs, up)
                if found is not None:
                    seen.append(found)
        return seen

    def _locate(
        self, kind: str, name: str, frame: CameraFrame, pairs: list[tuple[Tag, TagSighting]], up: np.ndarray
    ) -> TaggedObject | None:
        points = np.vstack([tag.corners for tag, _ in pairs])
        pixels = np.vstack([sighting.pixels for _, sighting in pairs])
        deviations = np.repeat([DEVIATION_FACTOR * sighting.deviation for _, sighting in pairs], 8).reshape(-1, 2)
        pose = solve_pose(points, pixels, deviations=deviations, use=np.ones(len(points), bool), up_in_camera=up,
                          camera=self._rig.cameras[frame.camera], up_deviation=UP_DEVIATION[kind])  # fmt: skip
        if not pose.ok or pose.reduced_chi2 > MAX_CHI2:
            return None
        covariance = pose.covariance + np.diag(FIXING**2)
        return TaggedObject(kind, name, frame.camera, frame.stamp_s, pose.camera_from_object, covariance, len(pairs))
