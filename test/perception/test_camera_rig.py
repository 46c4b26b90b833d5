"""Where cameras are: against MuJoCo's own, and at the time of an image."""

import mujoco
import numpy as np
import pytest

from humanoid_control.errors import ConfigurationError
from humanoid_control.mission.factory import load_factory
from humanoid_control.robot_model import PACKAGE_ROOT, RobotModel
from humanoid_control.simulation.cameras import camera_matrix
from humanoid_control.simulation.episode import draw_episode
from humanoid_control.simulation.robot_spec import CAMERA_FIELD_OF_VIEW, build_robot_spec
from humanoid_control.simulation.scene import build_scene
from humanoid_control.transforms import inverse, quaternion, rotation_of_vector, rotation_vector, transform
from humanoid_control.types import BaseEstimate, ImuSample, RobotState
from perception.camera_model import CameraModel
from perception.camera_rig import CameraRig, StateBuffer, mounting_transform
from perception.errors import PerceptionError
from perception.true_cameras import camera_models, true_mounting

CAMERAS = tuple(CAMERA_FIELD_OF_VIEW)


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


@pytest.fixture(scope="module")
def scene(model):
    factory = load_factory(PACKAGE_ROOT / "config/factories/line_side.yaml")
    episode = draw_episode(factory, 3)
    assert np.abs(episode.camera_error("head_camera")).max() > 1e-3
    return build_scene(episode, build_robot_spec(model)), episode


def true_pose(scene, data, camera):
    """map_from_camera optical frame: MuJoCo's cameras look along -z with y up."""
    index = scene.camera(camera).id
    return transform(data.cam_xmat[index].reshape(3, 3) @ np.diag([1.0, -1.0, -1.0]), data.cam_xpos[index])


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("seed", range(3))
def test_poses_are_those_of_the_simulation_with_its_mounting_errors(model, scene, camera, seed):
    scene, episode = scene
    rng = np.random.default_rng(seed)
    joints = rng.uniform(model.position_lower, model.position_upper)
    data = mujoco.MjData(scene)
    for name, angle in zip(model.joint_names, joints, strict=True):
        data.qpos[scene.joint(name).qposadr[0]] = angle
    mujoco.mj_kinematics(scene, data)
    mujoco.mj_camlight(scene, data)
    base = scene.body("base_link").id
    map_from_base = transform(data.xmat[base].reshape(3, 3), data.xpos[base])
    truth = inverse(map_from_base) @ true_pose(scene, data, camera)
    cameras = camera_models(scene, width=640, height=360)
    exact = CameraRig(model, cameras, mounting={name: true_mounting(episode, name) for name in CAMERAS})
    assert np.abs(exact.base_from_camera(camera, joints) - truth).max() < 1e-6
    off = inverse(CameraRig(model, cameras).base_from_camera(camera, joints)) @ truth
    assert np.concatenate([off[:3, 3], rotation_vector(off[:3, :3])]) == pytest.approx(true_mounting(episode, camera), abs=1e-6)


def test_intrinsics_are_those_of_the_simulation(scene):
    cameras = camera_models(scene[0], width=640, height=360)
    assert np.array_equal(cameras["head_camera"].matrix, camera_matrix(scene[0], "head_camera", width=640, height=360))


def test_up_in_a_camera_is_against_gravity(model, scene):
    rig = CameraRig(model, camera_models(scene[0], width=640, height=360))
    tilt = transform(rotation_of_vector(np.array([0.05, -0.1, 0.7])), np.zeros(3))
    up = rig.up_in_camera("head_camera", np.zeros(29), tilt)
    assert (tilt @ rig.base_from_camera("head_camera", np.zeros(29)))[:3, :3] @ up == pytest.approx([0, 0, 1])


def test_what_is_no_camera_and_no_mounting_error_is_refused(model):
    camera = CameraModel("head_camera", 640, 360, np.array([[469.0, 0, 319.5], [0, 469.0, 179.5], [0, 0, 1]]))
    rig = CameraRig(model, {"head_camera": camera})
    with pytest.raises(ConfigurationError, match="no camera 'tail_camera'; there is head_camera"):
        rig.base_from_camera("tail_camera", np.zeros(29))
    for error in (np.full(6, np.nan), np.full(6, 1.0), np.zeros(5)):
        with pytest.raises(ConfigurationError, match="mounting error"):
            rig.set_mounting("head_camera", error)
    with pytest.raises(ConfigurationError, match="tail_camera_optical"):
        CameraRig(model, {"tail_camera": camera})


def test_a_mounting_error_turns_and_shifts_in_the_camera_s_own_frame():
    error = np.array([0.01, -0.02, 0.03, 0.1, 0.2, -0.1])
    matrix = mounting_transform(error)
    assert np.concatenate([matrix[:3, 3], rotation_vector(matrix[:3, :3])]) == pytest.approx(error)


# --- time ---------------------------------------------------------------------------------------------------------


def state(stamp_s, angle=0.0):
    imu = ImuSample(np.array([0.0, 0, 0, 1]), np.zeros(3), np.array([0.0, 0, 9.81]))
    return RobotState(stamp_s, np.full(29, angle), np.zeros(29), np.zeros(29), imu, np.zeros(2), np.zeros(2))


def estimate(stamp_s, position=(0.0, 0.0, 0.7), yaw=0.0):
    turn = quaternion(rotation_of_vector(np.array([0.0, 0.0, yaw])))
    return BaseEstimate(stamp_s, np.array(position, float), turn, np.zeros(3), np.zeros(3), np.eye(6), np.ones(2, bool),
                        np.zeros(2))  # fmt: skip


def filled():
    buffer = StateBuffer(length_s=1.0)
    for i in range(51):
        t = 0.02 * i
        buffer.add(state(t, t), estimate(t, (t, 2 * t, 0.7), 0.5 * t))
    return buffer


def test_a_state_in_between_is_interpolated():
    at = filled().at(0.51)
    assert at.joint_positions == pytest.approx(np.full(29, 0.51))
    assert at.odom_from_base[:3, 3] == pytest.approx([0.51, 1.02, 0.7])
    assert rotation_vector(at.odom_from_base[:3, :3]) == pytest.approx([0, 0, 0.255])


@pytest.mark.parametrize("stamp_s", [-0.5, 1.01, np.nan])
def test_times_that_are_not_covered_are_refused(stamp_s):
    with pytest.raises(PerceptionError, match="states reach from 0.000 to 1.000 s"):
        filled().at(stamp_s)


def test_a_gap_is_not_bridged():
    buffer = filled()
    buffer.add(state(1.5), estimate(1.5))
    with pytest.raises(PerceptionError, match="none between 1.000 and 1.500 s"):
        buffer.at(1.2)


def test_old_states_are_dropped_and_a_clock_set_back_begins_anew():
    buffer = filled()
    buffer.add(state(1.02), estimate(1.02))
    with pytest.raises(PerceptionError):
        buffer.at(0.01)
    buffer.add(state(0.0), estimate(0.0))
    assert len(buffer) == 1


def test_without_states_there_is_a_clear_error():
    with pytest.raises(PerceptionError, match="no state of the robot"):
        StateBuffer().at(0.0)
