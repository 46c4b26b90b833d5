"""Writes `g1.urdf` from the maker's figures in `g1_facts.json` and this project's own primitive geometry.

Run `python urdf/generate.py` after changing either; a test checks that the committed URDF is what this writes.
The geometry fits the bounds in the facts. A `<collision>` cylinder stands for the capsule inscribed in it: both the
simulation and the self-collision distances read it that way.
"""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
FACTS_FILE = HERE / "g1_facts.json"
URDF_FILE = HERE / "g1.urdf"

COLOURS = {
    "shell": "0.82 0.84 0.86 1",
    "dark": "0.12 0.13 0.15 1",
    "joint": "0.30 0.32 0.35 1",
    "accent": "0.05 0.45 0.75 1",
    "pad": "0.08 0.08 0.08 1",
    "visor": "0.02 0.05 0.09 1",
}

VISUAL, COLLISION, BOTH = range(3)
# (shape, colour, role, figures): `rod` from a to b with radius r, `box` between two corners, `ball` centre, radius.
# Left side and middle; the right side is the mirror image in y.
GEOMETRY = {
    "pelvis": [
        ("box", "dark", VISUAL, (-0.045, -0.060, -0.110, 0.045, 0.060, -0.010)),
        ("rod", "shell", BOTH, (0.0, -0.030, -0.100, 0.0, 0.030, -0.100, 0.046)),
    ],
    "left_hip_pitch_link": [("rod", "joint", VISUAL, (0.0, 0.004, -0.012, 0.0, 0.098, -0.024, 0.038))],
    "left_hip_roll_link": [
        ("rod", "shell", VISUAL, (-0.024, 0.0, 0.0, 0.078, 0.0, 0.0, 0.042)),
        ("rod", "dark", VISUAL, (0.026, 0.0, -0.020, 0.026, 0.0, -0.120, 0.040)),
    ],
    "left_hip_yaw_link": [
        ("rod", "shell", BOTH, (0.000, 0.0, -0.002, -0.070, 0.0, -0.200, 0.044)),
        ("rod", "joint", VISUAL, (-0.078, -0.040, -0.180, -0.078, 0.040, -0.180, 0.044)),
    ],
    "left_knee_link": [
        ("rod", "shell", BOTH, (0.014, 0.0, 0.020, 0.004, 0.0, -0.300, 0.036)),
        ("rod", "dark", VISUAL, (0.0, -0.020, -0.295, 0.0, 0.020, -0.295, 0.024)),
    ],
    "left_ankle_pitch_link": [("rod", "joint", VISUAL, (-0.006, -0.006, -0.006, -0.006, 0.006, -0.006, 0.012))],
    "left_ankle_roll_link": [
        ("box", "dark", VISUAL, (-0.062, -0.034, -0.035, 0.136, 0.034, -0.018)),
        ("box", "shell", VISUAL, (-0.045, -0.026, -0.018, 0.070, 0.026, 0.006)),
        ("rod", "dark", COLLISION, (-0.060, 0.019, -0.016, 0.130, 0.019, -0.016, 0.015)),
        ("rod", "dark", COLLISION, (-0.060, -0.019, -0.016, 0.130, -0.019, -0.016, 0.015)),
    ],
    "waist_yaw_link": [("rod", "joint", VISUAL, (0.0, 0.0, 0.0, 0.0, 0.0, 0.053, 0.042))],
    "waist_roll_link": [("box", "joint", VISUAL, (-0.016, -0.010, -0.011, 0.016, 0.010, 0.011))],
    "torso_link": [
        ("box", "shell", VISUAL, (-0.062, -0.095, 0.060, 0.074, 0.095, 0.300)),
        ("rod", "dark", VISUAL, (0.0, 0.0, 0.000, 0.0, 0.0, 0.080, 0.060)),
        ("box", "accent", VISUAL, (0.072, -0.060, 0.180, 0.082, 0.060, 0.240)),
        ("rod", "shell", COLLISION, (0.008, 0.0, 0.000, 0.008, 0.0, 0.300, 0.078)),
    ],
    "head_link": [
        ("rod", "dark", VISUAL, (0.0, 0.0, 0.326, 0.0, 0.0, 0.380, 0.040)),
        ("rod", "shell", BOTH, (0.002, 0.0, 0.370, 0.002, 0.0, 0.528, 0.066)),
        ("box", "visor", VISUAL, (0.050, -0.052, 0.410, 0.073, 0.052, 0.500)),
    ],
    "left_shoulder_pitch_link": [("rod", "joint", VISUAL, (0.0, 0.002, -0.006, 0.0, 0.072, -0.010, 0.030))],
    "left_shoulder_roll_link": [("rod", "shell", BOTH, (0.0, 0.004, 0.030, 0.0, 0.004, -0.102, 0.033))],
    "left_shoulder_yaw_link": [
        ("rod", "dark", VISUAL, (0.0, 0.0, 0.028, 0.008, 0.0, -0.084, 0.031)),
        ("rod", "joint", VISUAL, (0.016, -0.036, -0.080, 0.016, 0.030, -0.080, 0.031)),
    ],
    "left_elbow_link": [("rod", "shell", BOTH, (-0.026, 0.002, -0.010, 0.100, 0.002, -0.010, 0.029))],
    "left_wrist_roll_link": [("rod", "dark", VISUAL, (0.002, 0.0, 0.0, 0.056, 0.0, 0.0, 0.029))],
    "left_wrist_pitch_link": [("rod", "shell", BOTH, (-0.028, 0.0, 0.0, 0.078, 0.0, 0.0, 0.028))],
    "left_wrist_yaw_link": [("rod", "dark", VISUAL, (-0.018, 0.0, 0.0, 0.040, 0.0, 0.0, 0.023))],
    "left_dex1_base_link": [
        ("box", "shell", VISUAL, (0.001, -0.028, -0.030, 0.052, 0.028, 0.030)),
        ("rod", "shell", COLLISION, (0.000, 0.0, 0.0, 0.069, 0.0, 0.0, 0.028)),
    ],
    "left_dex1_finger_link_1": [
        ("box", "joint", VISUAL, (0.0535, -0.0380, 0.001, 0.0775, 0.0380, 0.0190)),
        ("box", "pad", BOTH, (0.0770, -0.0389, -0.0145, 0.1433, -0.0229, 0.0145)),
    ],
    "left_dex1_finger_link_2": [
        ("box", "joint", VISUAL, (0.0535, -0.0380, -0.0190, 0.0775, 0.0380, -0.001)),
        ("box", "pad", BOTH, (0.0791, 0.0229, -0.0145, 0.1433, 0.0389, 0.0145)),
    ],
}

OPTICAL = (-math.pi / 2, 0.0, -math.pi / 2)
# REP-120 and camera frames: name, parent, xyz, rpy.
FRAMES = [
    ("torso", "torso_link", (0, 0, 0), (0, 0, 0)),
    ("gaze", "torso_link", (0.0616, 0.0, 0.4299), (0, 0, 0)),
    ("head_camera", "d435_link", (0, 0, 0), (0, 0, 0)),
    ("head_camera_optical", "head_camera", (0, 0, 0), OPTICAL),
    ("head_forward_camera", "torso_link", (0.076, 0.0, 0.400), (0, 0.35, 0)),
    ("head_forward_camera_optical", "head_forward_camera", (0, 0, 0), OPTICAL),
]
for _side, _l in (("left", "l"), ("right", "r")):
    FRAMES += [
        (f"{_l}_sole", f"{_side}_ankle_roll_link", (0.035, 0, -0.035), (0, 0, 0)),
        (f"{_l}_ankle", f"{_side}_ankle_roll_link", (0, 0, 0), (0, 0, 0)),
        (f"{_l}_wrist", f"{_side}_wrist_yaw_link", (0, 0, 0), (0, 0, 0)),
        (f"{_l}_gripper", f"{_side}_dex1_base_link", (0.110, 0, 0), (0, 0, 0)),
        (f"{_side}_wrist_camera", f"{_side}_dex1_base_link", (0.030, 0.0, 0.045), (0, 0.45, 0)),
        (f"{_side}_wrist_camera_optical", f"{_side}_wrist_camera", (0, 0, 0), OPTICAL),
    ]

# Rotor inertia seen at the joint (kg m^2), damping (N m s/rad), dry friction (N m) and the motors' default gains.
# The maker publishes none of them; armatures are those in public use for this robot, gains follow from them.
ARMATURE = [
    ("hip_pitch", 0.0102), ("hip_roll", 0.0251), ("hip_yaw", 0.0102), ("knee", 0.0251), ("ankle", 0.0072),
    ("waist_yaw", 0.0102), ("waist", 0.0072), ("wrist_pitch", 0.00425), ("wrist_yaw", 0.00425),
    ("shoulder", 0.0036), ("elbow", 0.0036), ("wrist_roll", 0.0036),
]  # fmt: skip
DAMPING, DRY_FRICTION = 0.05, 0.1
FINGER_DAMPING, FINGER_FRICTION, FINGER_ARMATURE = 20.0, 0.5, 0.1


def _numbers(values) -> str:
    return " ".join(f"{v:.10g}" for v in values)


def _origin(parent: ET.Element, xyz, rpy=(0, 0, 0)) -> None:
    ET.SubElement(parent, "origin", xyz=_numbers(xyz), rpy=_numbers(rpy))


def _mirrored(name: str, shape: str, figures: tuple) -> tuple:
    """The figures of a right-hand primitive, from its left-hand twin."""
    f = list(figures)
    if shape == "ball":
        f[1] = -f[1]
    elif shape == "rod":
        f[1], f[4] = -f[1], -f[4]
    elif "finger" not in name:  # the fingers are not mirrored: both hands carry the same gripper
        f[1], f[4] = -f[4], -f[1]
    return tuple(f)


def _add_primitive(link: ET.Element, tag: str, shape: str, colour: str, figures: tuple) -> None:
    element = ET.SubElement(link, tag)
    if shape == "ball":
        _origin(element, figures[:3])
        ET.SubElement(ET.SubElement(element, "geometry"), "sphere", radius=_numbers(figures[3:4]))
    elif shape == "box":
        low, high = np.array(figures[:3]), np.array(figures[3:])
        _origin(element, (low + high) / 2)
        ET.SubElement(ET.SubElement(element, "geometry"), "box", size=_numbers(high - low))
    else:
        a, b, radius = np.array(figures[:3]), np.array(figures[3:6]), figures[6]
        d = b - a
        pitch = math.atan2(math.hypot(d[0], d[1]), d[2])
        yaw = math.atan2(d[1], d[0]) if math.hypot(d[0], d[1]) > 1e-9 else 0.0
        _origin(element, (a + b) / 2, (0.0, pitch, yaw))
        ET.SubElement(ET.SubElement(element, "geometry"), "cylinder", radius=f"{radius:.6g}",
                      length=f"{np.linalg.norm(d):.6g}")  # fmt: skip
    if tag == "visual":
        ET.SubElement(element, "material", name=colour)


def _add_link(robot: ET.Element, name: str, facts: dict, contact_points: dict) -> None:
    link = ET.SubElement(robot, "link", name=name)
    if "mass_kg" in facts:
        inertial = ET.SubElement(link, "inertial")
        _origin(inertial, facts["com_xyz_m"], facts["inertial_rpy_rad"])
        ET.SubElement(inertial, "mass", value=f"{facts['mass_kg']:.12g}")
        ET.SubElement(inertial, "inertia", {k: f"{v:.12g}" for k, v in facts["inertia_kg_m2"].items()})
    twin = name.replace("right_", "left_")
    for shape, colour, role, figures in GEOMETRY.get(twin, ()):
        if name != twin:
            figures = _mirrored(name, shape, figures)
        if role != COLLISION:
            _add_primitive(link, "visual", shape, colour, figures)
        if role != VISUAL:
            _add_primitive(link, "collision", shape, colour, figures)
    if name in contact_points["frame"]:
        for point in contact_points["points"]:
            _add_primitive(link, "collision", "ball", "dark", (*point, contact_points["spheres_radius_m"]))


def _add_joint(robot: ET.Element, name: str, facts: dict) -> None:
    joint = ET.SubElement(robot, "joint", name=name, type=facts["type"])
    _origin(joint, facts["origin_xyz_m"], facts["origin_rpy_rad"])
    ET.SubElement(joint, "parent", link=facts["parent"])
    ET.SubElement(joint, "child", link=facts["child"])
    if facts["type"] == "fixed":
        return
    ET.SubElement(joint, "axis", xyz=_numbers(facts["axis"]))
    ET.SubElement(joint, "limit", {k: f"{v:.10g}" for k, v in facts["limit"].items()})
    finger = facts["type"] == "prismatic"
    ET.SubElement(joint, "dynamics", damping=str(FINGER_DAMPING if finger else DAMPING),
                  friction=str(FINGER_FRICTION if finger else DRY_FRICTION))  # fmt: skip
    armature = FINGER_ARMATURE if finger else next(v for key, v in ARMATURE if key in name)
    ET.SubElement(joint, "motor", armature=f"{armature:g}")


def build_urdf(facts: dict) -> str:
    """The URDF's text.

    Args:
        facts: the content of `g1_facts.json`.
    """
    robot = ET.Element("robot", name="g1")
    robot.append(ET.Comment(" Written by urdf/generate.py from urdf/g1_facts.json: change those, not this. "))
    for name, rgba in COLOURS.items():
        ET.SubElement(ET.SubElement(robot, "material", name=name), "color", rgba=rgba)
    ET.SubElement(robot, "link", name="base_link")
    root = ET.SubElement(robot, "joint", name="base_link_joint", type="fixed")
    _origin(root, (0, 0, 0))
    ET.SubElement(root, "parent", link="base_link")
    ET.SubElement(root, "child", link="pelvis")
    for name, link in facts["links"].items():
        _add_link(robot, name, link, facts["foot_contact_points_m"])
    for name, joint in facts["joints"].items():
        _add_joint(robot, name, joint)
    for name, parent, xyz, rpy in FRAMES:
        ET.SubElement(robot, "link", name=name)
        _add_joint(robot, f"{name}_joint",
                   {"type": "fixed", "origin_xyz_m": xyz, "origin_rpy_rad": rpy, "parent": parent, "child": name})  # fmt: skip
    ET.indent(robot)
    return '<?xml version="1.0"?>\n' + ET.tostring(robot, encoding="unicode") + "\n"


if __name__ == "__main__":
    URDF_FILE.write_text(build_urdf(json.loads(FACTS_FILE.read_text())))
