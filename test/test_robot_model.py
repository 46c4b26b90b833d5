"""The robot's model against the maker's figures, and pinocchio against MuJoCo."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import mujoco
import numpy as np
import pinocchio as pin
import pytest

from humanoid_control.errors import ModelError
from humanoid_control.robot_model import PACKAGE_ROOT, REQUIRED_FRAMES, RobotModel, default_urdf_path
from humanoid_control.simulation.robot_spec import build_robot_spec

FACTS = json.loads((PACKAGE_ROOT / "urdf" / "g1_facts.json").read_text())
REP_120 = (
    "base_link",
    "torso",
    "gaze",
    "l_gripper",
    "r_gripper",
    "l_wrist",
    "r_wrist",
    "l_ankle",
    "r_ankle",
    "l_sole",
    "r_sole",
)


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


@pytest.fixture(scope="module")
def urdf():
    return ET.parse(default_urdf_path()).getroot()


def numbers(text):
    return np.array([float(x) for x in text.split()])


def test_total_mass_is_the_makers(model):
    assert FACTS["total_mass_kg"] == pytest.approx(34.13, abs=0.005)
    assert model.total_mass == pytest.approx(FACTS["total_mass_kg"], abs=1e-4)
    assert pin.computeTotalMass(model.full) == pytest.approx(FACTS["total_mass_kg"], abs=1e-4)


def test_every_link_has_the_makers_inertia(urdf):
    links = {link.get("name"): link for link in urdf.iter("link")}
    for name, facts in FACTS["links"].items():
        inertial = links[name].find("inertial")
        if "mass_kg" not in facts:
            assert inertial is None
            continue
        assert float(inertial.find("mass").get("value")) == pytest.approx(facts["mass_kg"], rel=1e-9)
        np.testing.assert_allclose(numbers(inertial.find("origin").get("xyz")), facts["com_xyz_m"], atol=1e-9)
        np.testing.assert_allclose(numbers(inertial.find("origin").get("rpy")), facts["inertial_rpy_rad"], atol=1e-9)
        for key, value in facts["inertia_kg_m2"].items():
            assert float(inertial.find("inertia").get(key)) == pytest.approx(value, rel=1e-9, abs=1e-15)


def test_every_joint_has_the_makers_origin_axis_and_limits(urdf):
    joints = {joint.get("name"): joint for joint in urdf.iter("joint")}
    for name, facts in FACTS["joints"].items():
        joint = joints[name]
        assert joint.get("type") == facts["type"]
        assert joint.find("parent").get("link") == facts["parent"]
        assert joint.find("child").get("link") == facts["child"]
        np.testing.assert_allclose(numbers(joint.find("origin").get("xyz")), facts["origin_xyz_m"], atol=1e-9)
        np.testing.assert_allclose(numbers(joint.find("origin").get("rpy")), facts["origin_rpy_rad"], atol=1e-9)
        if facts["type"] != "fixed":
            np.testing.assert_allclose(numbers(joint.find("axis").get("xyz")), facts["axis"])
            for key, value in facts["limit"].items():
                assert float(joint.find("limit").get(key)) == pytest.approx(value, rel=1e-9)


def test_parsed_joints_are_where_the_facts_put_them(model):
    for name in (*model.joint_names, *model.finger_names):
        facts = FACTS["joints"][name]
        joint = model.full.getJointId(name)
        parent_link = model.full.frames[model.full.getFrameId(facts["parent"])]
        parent_from_joint = parent_link.placement.inverse() * model.full.jointPlacements[joint]
        np.testing.assert_allclose(parent_from_joint.translation, facts["origin_xyz_m"], atol=1e-9)
        np.testing.assert_allclose(
            parent_from_joint.rotation, pin.rpy.rpyToMatrix(np.array(facts["origin_rpy_rad"])), atol=1e-9
        )
        i = model.full.joints[joint].idx_q
        assert model.full.lowerPositionLimit[i] == pytest.approx(facts["limit"]["lower"])
        assert model.full.upperPositionLimit[i] == pytest.approx(facts["limit"]["upper"])


def test_limits_are_in_the_order_of_the_joint_names(model):
    for i, name in enumerate(model.joint_names):
        limit = FACTS["joints"][name]["limit"]
        figures = [limit[k] for k in ("lower", "upper", "velocity", "effort")]
        ours = [a[i] for a in (model.position_lower, model.position_upper, model.velocity_limit, model.effort_limit)]
        assert ours == pytest.approx(figures)
        assert model.joint_index(name) == i


def test_committed_urdf_is_what_the_generator_writes(tmp_path):
    for name in ("generate.py", "g1_facts.json"):
        (tmp_path / name).write_bytes((PACKAGE_ROOT / "urdf" / name).read_bytes())
    subprocess.run([sys.executable, tmp_path / "generate.py"], check=True, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "g1.urdf").read_text() == (PACKAGE_ROOT / "urdf" / "g1.urdf").read_text()


def test_humanoid_frames_exist(model):
    for name in REP_120:
        assert model.pinocchio_model.existFrame(name)


def test_standing_pelvis_is_at_the_makers_height(model):
    data = model.pinocchio_model.createData()
    pin.framesForwardKinematics(model.pinocchio_model, data, pin.neutral(model.pinocchio_model))
    sole = data.oMf[model.pinocchio_model.getFrameId("l_sole")].translation[2]
    assert -sole == pytest.approx(FACTS["standing_pelvis_height_m"], abs=0.01)


@pytest.mark.parametrize("frame", ["l_sole", "r_gripper", "gaze", "imu_in_pelvis"])
def test_urdf_without_a_needed_frame_is_refused_by_name(frame):
    assert frame in REQUIRED_FRAMES
    text = default_urdf_path().read_text().replace(f'"{frame}"', '"something_else"')
    with pytest.raises(ModelError, match=f"'{frame}'"):
        RobotModel(text)


def test_urdf_without_armature_is_refused(model):
    root = ET.fromstring(model.urdf.encode())
    joint = next(j for j in root.iter("joint") if j.get("name") == "left_knee_joint")
    joint.remove(joint.find("motor"))
    with pytest.raises(ModelError, match="left_knee_joint"):
        RobotModel(ET.tostring(root, encoding="unicode"))


def test_unreadable_urdf_is_refused_in_one_line(tmp_path):
    for text in ("", "<robot", "<robot name='x'/>"):
        with pytest.raises(ModelError) as error:
            RobotModel(text)
        assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match="cannot be opened"):
        RobotModel.load(tmp_path / "nowhere.urdf")


def test_opening_and_finger_position_are_inverse(model):
    for finger in np.linspace(model.finger_lower, model.finger_upper, 5):
        assert model.finger_from_opening(model.opening_from_finger(finger)) == pytest.approx(finger)


class Both:
    """One random state in pinocchio's and MuJoCo's conventions.

    MuJoCo: quaternion wxyz, base linear velocity in world axes, angular in the base's; pinocchio: xyzw and both local.
    """

    def __init__(self, model, seed):
        rng = np.random.default_rng(seed)
        self.pin, self.data = model.full, model.full.createData()
        self.mj = build_robot_spec(model).compile()
        self.mj_data = mujoco.MjData(self.mj)
        q, v = pin.neutral(self.pin), rng.normal(size=self.pin.nv)
        quaternion = rng.normal(size=4)
        q[:7] = np.r_[rng.normal(size=3), quaternion / np.linalg.norm(quaternion)]
        q[7:] = rng.uniform(self.pin.lowerPositionLimit[7:], self.pin.upperPositionLimit[7:])
        rotation = pin.Quaternion(q[3:7]).toRotationMatrix()
        self.q, self.v = q, v
        self.order = np.zeros(self.pin.nv, int)  # MuJoCo's velocity index of each of pinocchio's
        self.mj_data.qpos[:7] = np.r_[q[:3], q[6], q[3:6]]
        self.mj_data.qvel[:6] = np.r_[rotation @ v[:3], v[3:6]]
        self.order[:6] = range(6)
        for name in self.pin.names[2:]:
            joint = self.pin.joints[self.pin.getJointId(name)]
            other = self.mj.joint(name)
            self.mj_data.qpos[other.qposadr[0]], self.mj_data.qvel[other.dofadr[0]] = q[joint.idx_q], v[joint.idx_v]
            self.order[joint.idx_v] = other.dofadr[0]
        self.to_world = np.eye(self.pin.nv)  # v_mujoco = to_world @ v_pinocchio
        self.to_world[:3, :3] = rotation
        mujoco.mj_forward(self.mj, self.mj_data)


@pytest.fixture(scope="module", params=range(4))
def both(model, request):
    return Both(model, request.param)


def test_pinocchio_and_mujoco_have_the_same_joints(model, both):
    assert both.mj.nv == both.pin.nv == 6 + 29 + 4
    assert sorted(both.order) == list(range(both.pin.nv))
    assert both.mj.body_mass.sum() == pytest.approx(model.total_mass, rel=1e-9)


def test_pinocchio_and_mujoco_agree_on_forward_kinematics(both):
    pin.framesForwardKinematics(both.pin, both.data, both.q)
    compared = 0
    for body in range(1, both.mj.nbody):
        name = both.mj.body(body).name
        if not both.pin.existFrame(name, pin.FrameType.BODY):
            continue
        placement = both.data.oMf[both.pin.getFrameId(name, pin.FrameType.BODY)]
        np.testing.assert_allclose(both.mj_data.xpos[body], placement.translation, atol=1e-6)
        np.testing.assert_allclose(both.mj_data.xmat[body].reshape(3, 3), placement.rotation, atol=1e-6)
        compared += 1
    assert compared == sum(f.type == pin.FrameType.BODY for f in both.pin.frames)


def test_pinocchio_and_mujoco_agree_on_the_mass_matrix(both):
    M = pin.crba(both.pin, both.data, both.q)
    M = np.triu(M) + np.triu(M, 1).T
    expected = np.linalg.inv(both.to_world).T @ M @ np.linalg.inv(both.to_world)
    full = np.zeros((both.mj.nv, both.mj.nv))
    for column, unit in zip(full, np.eye(both.mj.nv), strict=True):
        mujoco.mj_mulM(both.mj, both.mj_data, column, unit)
    full = full[np.ix_(both.order, both.order)]
    np.testing.assert_allclose(full, expected, atol=1e-6 * abs(expected).max())
    np.testing.assert_allclose(np.diag(full), np.diag(expected), rtol=1e-6)


def test_pinocchio_and_mujoco_agree_on_bias_forces(both):
    # MuJoCo's base acceleration is classical in world axes; at zero of it pinocchio's spatial one is -w x v, local.
    acceleration = np.zeros(both.pin.nv)
    acceleration[:3] = -np.cross(both.v[3:6], both.v[:3])
    force = pin.rnea(both.pin, both.data, both.q, both.v, acceleration)
    expected = np.linalg.inv(both.to_world).T @ force
    np.testing.assert_allclose(both.mj_data.qfrc_bias[both.order], expected, atol=1e-6 * abs(expected).max())


def test_pinocchio_and_mujoco_agree_on_limits(model, both):
    for i, name in enumerate(model.joint_names):
        joint = both.mj.joint(name)
        np.testing.assert_allclose(joint.range, [model.position_lower[i], model.position_upper[i]], atol=1e-9)
        assert both.mj.actuator(name).forcerange[1] == pytest.approx(model.effort_limit[i])
