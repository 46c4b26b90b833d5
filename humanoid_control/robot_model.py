"""The robot as its URDF describes it: the only owner of joint order, limits, frames and inertias."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pinocchio as pin

from humanoid_control.errors import ModelError
from humanoid_control.types import SIDES

PACKAGE_ROOT = Path(__file__).resolve().parent.parent

# The frames that control, perception and policies ask for by name.
REQUIRED_FRAMES = (
    "base_link", "torso", "gaze", "imu_in_pelvis", "l_sole", "r_sole", "l_ankle", "r_ankle",
    "l_wrist", "r_wrist", "l_gripper", "r_gripper", "head_camera_optical", "head_forward_camera_optical",
    "left_wrist_camera_optical", "right_wrist_camera_optical",
)  # fmt: skip
LEG_JOINTS, WAIST_JOINTS, ARM_JOINTS = slice(0, 12), slice(12, 15), slice(15, 29)
SIDE_LEG_JOINTS = (slice(0, 6), slice(6, 12))
SIDE_ARM_JOINTS = (slice(15, 22), slice(22, 29))


def default_urdf_path() -> Path:
    """Path of the URDF this installation ships."""
    local = PACKAGE_ROOT / "urdf" / "g1.urdf"
    if local.exists():
        return local
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory("humanoid_control")) / "urdf" / "g1.urdf"


@dataclass(frozen=True)
class Capsule:
    """A capsule fixed to a body: the hull of two balls.

    Attributes:
        link: the URDF link it belongs to.
        body: index into `RigidBodyTree` arrays.
        start, end: (3,) m, the balls' centres in the body's joint frame.
        radius: m.
    """

    link: str
    body: int
    start: np.ndarray
    end: np.ndarray
    radius: float


@dataclass(frozen=True)
class RigidBodyTree:
    """The kinematic tree as plain arrays, for compiled kernels; body 0 is the floating base.

    Attributes:
        parents: (N,) index of each body's parent.
        rotations: (N, 3, 3) parent_from_body rotation at zero joint angle.
        translations: (N, 3) m, parent_from_body translation.
        axes: (N,) 0, 1 or 2: the joint's axis in its own frame.
        masses: (N,) kg.
        centres: (N, 3) m, centre of mass in the body's frame.
        inertias: (N, 3, 3) kg m^2 about the centre of mass, in the body's axes.
        armatures: (N,) kg m^2, rotor inertia seen at the joint; 0 for the base.
    """

    parents: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    axes: np.ndarray
    masses: np.ndarray
    centres: np.ndarray
    inertias: np.ndarray
    armatures: np.ndarray


@dataclass(frozen=True)
class BodyPoint:
    """A frame fixed to a body of the tree: index of the body and body_from_frame."""

    body: int
    translation: np.ndarray
    rotation: np.ndarray


class RobotModel:
    """One humanoid, read from a URDF.

    Attributes:
        urdf: the URDF's text.
        full: pinocchio model with floating base, body joints and gripper fingers.
        pinocchio_model: the same with the fingers locked half open: what control computes with.
        joint_names: the 29 body joints, in the order of every joint array.
        finger_names: the four finger joints, left then right.
    """

    def __init__(self, urdf: str) -> None:
        """Builds the model.

        Args:
            urdf: URDF text.

        Raises:
            ModelError: if the URDF cannot be read or lacks a frame, a joint or a limit this stack needs.
        """
        self.urdf = urdf
        try:
            self._xml = ET.fromstring(urdf.encode())
            self.full = pin.buildModelFromXML(urdf, pin.JointModelFreeFlyer())
        except (ET.ParseError, ValueError, RuntimeError) as error:
            raise ModelError(f"The URDF cannot be read: {str(error).strip().splitlines()[0]}") from None
        frames = {f.name for f in self.full.frames}
        missing = [name for name in REQUIRED_FRAMES if name not in frames]
        if missing:
            raise ModelError(f"The URDF lacks the frame '{missing[0]}' (needed: {', '.join(REQUIRED_FRAMES)}); "
                             "add it as a fixed joint, as urdf/generate.py does.")  # fmt: skip
        self.finger_names = tuple(n for n in self.full.names if "finger" in n)
        if len(self.finger_names) != 4:
            raise ModelError(f"The URDF has {len(self.finger_names)} finger joints; two a hand are needed.")
        locked = pin.neutral(self.full)
        self.pinocchio_model = pin.buildReducedModel(
            self.full, [self.full.getJointId(n) for n in self.finger_names], locked)  # fmt: skip
        model = self.pinocchio_model
        self.joint_names = tuple(model.names[2:])
        if len(self.joint_names) != 29:
            raise ModelError(f"The URDF has {len(self.joint_names)} body joints; this stack drives 29.")
        full = self.full
        armatures = self._armatures()
        for m in (full, model):
            armature = np.zeros(m.nv)
            for name in m.names[2:]:
                armature[m.joints[m.getJointId(name)].idx_v] = armatures[name]
            m.armature = armature
        self.position_lower = model.lowerPositionLimit[7:].copy()
        self.position_upper = model.upperPositionLimit[7:].copy()
        self.velocity_limit = model.velocityLimit[6:].copy()
        self.effort_limit = model.effortLimit[6:].copy()
        self.joint_damping = model.damping[6:].copy()
        self.joint_friction = model.friction[6:].copy()
        for name, low, high in zip(self.joint_names, self.position_lower, self.position_upper, strict=True):
            if not (np.isfinite([low, high]).all() and low < high):
                raise ModelError(f"The URDF gives joint '{name}' the limits [{low}, {high}]; lower < upper is needed.")
        finger = full.joints[full.getJointId(self.finger_names[0])]
        self.finger_lower = float(full.lowerPositionLimit[finger.idx_q])
        self.finger_upper = float(full.upperPositionLimit[finger.idx_q])
        self.gripper_force_limit = float(full.effortLimit[finger.idx_v])
        self.gripper_speed_limit = 2 * float(full.velocityLimit[finger.idx_v])
        self.total_mass = float(pin.computeTotalMass(model))

    @classmethod
    def load(cls, path: Path | str | None = None) -> RobotModel:
        """The model of a URDF file, by default the one shipped.

        Raises:
            ModelError: if the file is missing or unfit.
        """
        path = Path(path) if path else default_urdf_path()
        try:
            text = path.read_text()
        except OSError as error:
            raise ModelError(f"The URDF {path} cannot be opened: {error.strerror}.") from None
        return cls(text)

    def _armatures(self) -> dict[str, float]:
        found = {}
        for joint in self._xml.iter("joint"):
            motor = joint.find("motor")
            if motor is not None:
                found[joint.get("name")] = float(motor.get("armature"))
        missing = [n for n in self.full.names[2:] if n not in found]
        if missing:
            raise ModelError(f"The URDF's joint '{missing[0]}' lacks <motor armature=...>.")
        return found

    def joint_index(self, name: str) -> int:
        """Index of a joint in every joint array.

        Raises:
            ModelError: if there is no such joint.
        """
        try:
            return self.joint_names.index(name)
        except ValueError:
            raise ModelError(f"No joint '{name}'; there are {', '.join(self.joint_names)}.") from None

    def opening_from_finger(self, finger_position: float) -> float:
        """Gap between the pads (m) at a finger joint's position (m)."""
        return 2 * (finger_position + self.pad_offset)

    def finger_from_opening(self, opening: float) -> float:
        """Finger joint position (m) at a gap between the pads (m), within the limits."""
        return min(max(float(opening) / 2 - self.pad_offset, self.finger_lower), self.finger_upper)

    @cached_property
    def pad_offset(self) -> float:
        """Distance (m) of a pad's inner face from the hand's middle plane at finger position 0."""
        link = next(e for e in self._xml.iter("link") if e.get("name") == "left_dex1_finger_link_1")
        pad = link.find("collision")
        centre = float(pad.find("origin").get("xyz").split()[1])
        return abs(centre) - float(pad.find("geometry/box").get("size").split()[1]) / 2

    @cached_property
    def tree(self) -> RigidBodyTree:
        """The 30 bodies of `pinocchio_model` as arrays."""
        model = self.pinocchio_model
        count = model.njoints - 1
        tree = RigidBodyTree(
            parents=np.array([0] + [model.parents[j] - 1 for j in range(2, model.njoints)]),
            rotations=np.array([np.eye(3)] + [model.jointPlacements[j].rotation for j in range(2, model.njoints)]),
            translations=np.array([np.zeros(3)] + [model.jointPlacements[j].translation for j in range(2, model.njoints)]),
            axes=np.zeros(count, np.int64),
            masses=np.array([model.inertias[j].mass for j in range(1, model.njoints)]),
            centres=np.array([model.inertias[j].lever for j in range(1, model.njoints)]),
            inertias=np.array([model.inertias[j].inertia for j in range(1, model.njoints)]),
            armatures=np.zeros(count),
        )
        for body in range(1, count):
            joint = model.joints[body + 1]
            kind = joint.shortname()
            if kind not in ("JointModelRX", "JointModelRY", "JointModelRZ"):
                raise ModelError(f"Joint '{model.names[body + 1]}' turns about {kind}; only x, y or z axes are supported.")
            tree.axes[body] = "XYZ".index(kind[-1])
            tree.armatures[body] = model.armature[joint.idx_v]
        return tree

    def body_point(self, frame: str) -> BodyPoint:
        """Where a frame is fixed in `tree`.

        Raises:
            ModelError: if the URDF has no such frame.
        """
        model = self.pinocchio_model
        if not model.existFrame(frame):
            raise ModelError(f"The URDF has no frame '{frame}'.")
        f = model.frames[model.getFrameId(frame)]
        return BodyPoint(f.parentJoint - 1, f.placement.translation.copy(), f.placement.rotation.copy())

    @cached_property
    def foot_points(self) -> tuple[np.ndarray, np.ndarray]:
        """(4, 3) m contact points on each sole, in the ankle roll link's frame."""
        points = []
        for side in SIDES:
            link = next(e for e in self._xml.iter("link") if e.get("name") == f"{side}_ankle_roll_link")
            balls = [c for c in link.findall("collision") if c.find("geometry/sphere") is not None]
            xyz = np.array([[float(x) for x in c.find("origin").get("xyz").split()] for c in balls])
            radius = float(balls[0].find("geometry/sphere").get("radius"))
            points.append(xyz - [0.0, 0.0, radius])
        return tuple(points)

    @cached_property
    def capsules(self) -> tuple[Capsule, ...]:
        """The collision capsules, as bodies of `tree` carry them."""
        model = self.pinocchio_model
        found = []
        for link in self._xml.iter("link"):
            for collision in link.findall("collision"):
                cylinder = collision.find("geometry/cylinder")
                if cylinder is None:
                    continue
                frame = model.frames[model.getFrameId(link.get("name"))]
                origin = collision.find("origin")
                xyz = np.array([float(x) for x in origin.get("xyz").split()])
                rotation = pin.rpy.rpyToMatrix(np.array([float(x) for x in origin.get("rpy").split()]))
                radius = float(cylinder.get("radius"))
                half = max(0.5 * float(cylinder.get("length")) - radius, 0.0)
                ends = [frame.placement.act(xyz + rotation @ np.array([0, 0, s * half])) for s in (-1, 1)]
                found.append(Capsule(link.get("name"), frame.parentJoint - 1, *ends, radius))
        return tuple(found)
