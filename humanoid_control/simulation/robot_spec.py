"""The robot's MuJoCo model, compiled from its URDF: nothing about the robot is written here a second time."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import mujoco
import numpy as np

from humanoid_control.robot_model import RobotModel
from humanoid_control.simulation import collision_groups
from humanoid_control.types import SIDES

CAMERA_FIELD_OF_VIEW = {  # vertical, degrees: RealSense D435i colour is 69 x 42; wrist and forward cameras are wide
    "head_camera": 42.0,
    "head_forward_camera": 58.0,
    "left_wrist_camera": 58.0,
    "right_wrist_camera": 58.0,
}
FINGER_GAIN = 4000.0  # N/m: a finger reaches its force limit 5 mm short of its target
PAD_FRICTION_GEOM_PREFIX = "pad_"
HAND_LINKS = ("wrist", "dex1", "elbow")
FOOT_FRICTION = (1.0, 0.02, 0.001)


def _floating(model: RobotModel) -> str:
    """The URDF with a free joint above its root, and MuJoCo told to keep every link."""
    root = ET.fromstring(model.urdf)
    extension = ET.SubElement(root, "mujoco")
    ET.SubElement(extension, "compiler", fusestatic="false", discardvisual="false", strippath="false",
                  balanceinertia="false")  # fmt: skip
    ET.SubElement(root, "link", name="world")
    joint = ET.SubElement(root, "joint", name="floating_base", type="floating")
    ET.SubElement(joint, "parent", link="world")
    ET.SubElement(joint, "child", link="base_link")
    for colour in root.iter("material"):  # urdf materials by name are resolved by MuJoCo only when defined in place
        rgba = next((m.find("color") for m in root.findall("material") if m.get("name") == colour.get("name")), None)
        if colour.find("color") is None and rgba is not None:
            ET.SubElement(colour, "color", rgba=rgba.get("rgba"))
    return ET.tostring(root, encoding="unicode")


def _dress_joint(joint: mujoco.MjsJoint, element: ET.Element) -> None:
    joint.armature = float(element.find("motor").get("armature"))
    joint.damping = [float(element.find("dynamics").get("damping")), 0.0, 0.0]  # linear term first
    joint.frictionloss = float(element.find("dynamics").get("friction"))
    # Compliant stops without bounce; the actuators' limits are theirs, not the joint's.
    joint.solref_limit = [0.01, 1.0]


def _dress_geom(geom: mujoco.MjsGeom, link: str) -> None:
    collides = geom.group == 0 and geom.contype != 0
    if not collides:
        collision_groups.assign(geom, collision_groups.VISUAL)
        geom.group = 1
        return
    geom.group = 3
    geom.density = 0
    geom.condim = 3
    if geom.type == mujoco.mjtGeom.mjGEOM_CYLINDER:  # stands for the capsule inscribed in it
        geom.type = mujoco.mjtGeom.mjGEOM_CAPSULE
        size = np.array(geom.size)
        size[1] = max(size[1] - size[0], 1e-4)
        geom.size = size
        hand = any(part in link for part in HAND_LINKS)
        collision_groups.assign(geom, collision_groups.ROBOT_HAND if hand else collision_groups.ROBOT_BODY)
    elif geom.type == mujoco.mjtGeom.mjGEOM_SPHERE:
        collision_groups.assign(geom, collision_groups.ROBOT_FOOT)
        geom.friction = FOOT_FRICTION
    else:
        collision_groups.assign(geom, collision_groups.ROBOT_HAND)
        geom.name = PAD_FRICTION_GEOM_PREFIX + link


def build_robot_spec(model: RobotModel) -> mujoco.MjSpec:
    """The robot alone: a free-floating body tree, its cameras, IMU sites and actuators.

    Actuators are servos: force = ctrl - kp q - kd v, with kp and kd set per command by the driver (`ctrl` carries the
    rest), clipped to the effort limit. The two fingers of a hand are coupled, as the real gripper's are.

    Args:
        model: the robot.

    Returns:
        a specification with no floor, to be compiled alone or attached to a scene.
    """
    spec = mujoco.MjSpec.from_string(_floating(model))
    spec.modelname = "g1"
    urdf = ET.fromstring(model.urdf)
    joints = {j.get("name"): j for j in urdf.iter("joint")}
    for joint in spec.joints:
        if joint.name in joints:
            _dress_joint(joint, joints[joint.name])
    for body in spec.bodies:
        for geom in body.geoms:
            _dress_geom(geom, body.name)
    for name in model.joint_names:
        limit = float(joints[name].find("limit").get("effort"))
        _add_servo(spec, name, limit, 0.0)
    for side in SIDES:
        first, second = (f"{side}_dex1_finger_joint_{i}" for i in (1, 2))
        _add_servo(spec, first, 2 * model.gripper_force_limit, FINGER_GAIN)
        equality = spec.add_equality(name=f"{side}_fingers", type=mujoco.mjtEq.mjEQ_JOINT, name1=first, name2=second,
                                     objtype=mujoco.mjtObj.mjOBJ_JOINT)  # fmt: skip
        data = np.zeros(len(equality.data))
        data[1] = 1.0
        equality.data = data
        equality.solref = [0.005, 1.0]
    for name, fovy in CAMERA_FIELD_OF_VIEW.items():
        body = next(b for b in spec.bodies if b.name == f"{name}_optical")
        # MuJoCo's cameras look along -z with y up; optical frames along +z with y down.
        body.add_camera(name=name, quat=[0, 1, 0, 0], fovy=fovy)
    for body in spec.bodies:
        if body.name in ("imu_in_pelvis", "l_gripper", "r_gripper", "l_sole", "r_sole"):
            body.add_site(name=body.name, group=5)
    return spec


def _add_servo(spec: mujoco.MjSpec, joint: str, limit: float, gain: float) -> None:
    actuator = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    actuator.gaintype = mujoco.mjtGain.mjGAIN_FIXED
    actuator.biastype = mujoco.mjtBias.mjBIAS_AFFINE
    actuator.gainprm[0] = 1.0
    actuator.biasprm[:3] = [0.0, -gain, 0.0]
    actuator.forcelimited = True
    actuator.forcerange = [-limit, limit]
