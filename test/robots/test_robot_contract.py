"""What every driver must do; a new one is added to `DRIVERS`."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from humanoid_control.errors import RobotError, TargetError
from humanoid_control.robot_model import RobotModel
from humanoid_control.robots.command_checks import DAMPING_STOP_KD, opening_range
from humanoid_control.robots.fake_robot import FakeRobot
from humanoid_control.robots.mujoco_robot import MujocoRobot
from humanoid_control.simulation.robot_spec import build_robot_spec
from humanoid_control.simulation.sensors import SensorNoise
from humanoid_control.types import JointCommand, RobotState


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


@pytest.fixture(scope="module")
def scene(model):
    """The robot hanging in the air: its pelvis is held, so that it neither falls nor touches anything."""
    spec = build_robot_spec(model)
    spec.option.timestep = 0.002
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    hook = spec.add_equality(name="hook", type=mujoco.mjtEq.mjEQ_WELD, objtype=mujoco.mjtObj.mjOBJ_BODY, name1="base_link",
                             name2="world")  # fmt: skip
    data = np.zeros(len(hook.data))
    data[10] = 1.0  # torque as stiff as force; the pose is the one at the start
    hook.data = data
    return spec.compile()


def mujoco_robot(model, scene, seed=0, noise=0.0):
    return MujocoRobot(model, scene, noise=SensorNoise().scaled(noise), rng=np.random.default_rng(seed))


DRIVERS = {"fake": lambda model, scene: FakeRobot(model), "mujoco": mujoco_robot}


@pytest.fixture(params=DRIVERS)
def new_robot(request, model, scene):
    robot = DRIVERS[request.param](model, scene)
    yield robot
    robot.close()


@pytest.fixture
def robot(new_robot):
    new_robot.connect()
    return new_robot


def command_at(positions, *, kp=50.0, kd=2.0, opening=0.05, torques=0.0):
    count = len(positions)
    return JointCommand(0.0, positions.copy(), np.zeros(count), np.full(count, torques), np.full(count, kp), np.full(count, kd),
                        np.full(2, opening), np.full(2, 20.0))  # fmt: skip


def test_reading_before_connecting_is_refused(new_robot):
    with pytest.raises(RobotError, match="connect"):
        new_robot.read()


def test_writing_before_connecting_is_refused(new_robot, model):
    with pytest.raises(RobotError, match="connect"):
        new_robot.write(command_at(np.zeros(29)))


def test_state_has_the_shapes_that_are_promised(robot):
    state = robot.read()
    assert isinstance(state, RobotState)
    for name, shape in (("joint_positions", 29), ("joint_velocities", 29), ("joint_torques", 29), ("gripper_openings", 2),
                        ("gripper_forces", 2)):  # fmt: skip
        value = getattr(state, name)
        assert value.shape == (shape,) and value.dtype == np.float64 and np.isfinite(value).all()
    imu = state.pelvis_imu
    assert np.linalg.norm(imu.orientation) == pytest.approx(1.0)
    assert imu.angular_velocity.shape == imu.linear_acceleration.shape == (3,)


def test_a_state_is_a_value_that_later_ticks_leave_alone(robot):
    before = robot.read()
    positions = before.joint_positions.copy()
    robot.write(command_at(positions + 0.2))
    for _ in range(20):
        robot.wait_next_tick()
    robot.read()
    np.testing.assert_array_equal(before.joint_positions, positions)


def test_a_tick_advances_the_stamp_by_the_period(robot):
    start = robot.read().stamp_s
    for tick in range(1, 6):
        robot.wait_next_tick()
        assert robot.read().stamp_s == pytest.approx(start + tick * robot.period_s, abs=1e-9)


def test_write_returns_what_is_within_the_limits(robot, model):
    wanted = command_at(np.full(29, 9.0), torques=-1e3, opening=0.5)
    sent = robot.write(replace(wanted, velocities=np.full(29, 99.0), gripper_forces=np.full(2, 1e3)))
    np.testing.assert_array_equal(sent.positions, model.position_upper)
    np.testing.assert_array_equal(sent.velocities, model.velocity_limit)
    np.testing.assert_array_equal(sent.torques, -model.effort_limit)
    np.testing.assert_allclose(sent.gripper_openings, opening_range(model)[1])
    np.testing.assert_array_equal(sent.gripper_forces, model.gripper_force_limit)


def test_write_returns_a_command_within_the_limits_unchanged(robot):
    wanted = command_at(robot.read().joint_positions)
    sent = robot.write(wanted)
    for name in JointCommand.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(sent, name), getattr(wanted, name))


@pytest.mark.parametrize("field", ["positions", "velocities", "torques", "kp", "kd", "gripper_openings", "gripper_forces"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_command_that_is_not_finite_is_refused_by_name(robot, field, value):
    command = command_at(robot.read().joint_positions)
    bad = getattr(command, field).copy()
    bad[-1] = value
    with pytest.raises(TargetError, match=field):
        robot.write(replace(command, **{field: bad}))


@pytest.mark.parametrize("field", ["kp", "kd"])
def test_a_negative_gain_is_refused(robot, field):
    command = command_at(robot.read().joint_positions)
    with pytest.raises(TargetError, match=field):
        robot.write(replace(command, **{field: np.full(29, -1.0)}))


def test_joints_go_where_they_are_told(robot, model):
    robot.write(command_at(robot.read().joint_positions))
    index = model.joint_index("left_elbow_joint")
    target = robot.read().joint_positions.copy()
    target[index] += 0.4
    for _ in range(250):
        robot.write(command_at(target, kp=80.0))
        robot.wait_next_tick()
    assert robot.read().joint_positions[index] == pytest.approx(target[index], abs=0.1)


def test_grippers_open_as_far_as_told(robot, model):
    for opening in (0.02, 0.08):
        for _ in range(250):
            robot.write(command_at(robot.read().joint_positions, opening=opening))
            robot.wait_next_tick()
        np.testing.assert_allclose(robot.read().gripper_openings, opening, atol=3e-3)
    low, high = opening_range(model)
    for _ in range(250):
        robot.write(command_at(robot.read().joint_positions, opening=0.0))
        robot.wait_next_tick()
    assert (robot.read().gripper_openings >= low - 2e-3).all() and high > low


def test_stop_damps_and_does_not_drive(robot):
    index = 18  # left elbow
    target = robot.read().joint_positions.copy()
    robot.write(command_at(target))
    robot.wait_next_tick()
    target[index] += 1.0
    robot.write(command_at(target, kp=80.0))
    robot.stop()
    for _ in range(100):
        robot.wait_next_tick()
    state = robot.read()
    assert np.abs(state.joint_velocities).max() < 1.5  # sinks slowly against kd 8
    assert state.joint_positions[index] < target[index] - 0.5  # not driven there
    if isinstance(robot, MujocoRobot):
        np.testing.assert_allclose(robot.scene.actuator_biasprm[robot._actuators, 2], -DAMPING_STOP_KD)
        np.testing.assert_allclose(robot.scene.actuator_biasprm[robot._actuators, 1], 0.0)


def test_stop_may_come_at_any_time_and_again(new_robot):
    new_robot.stop()
    new_robot.connect()
    new_robot.stop()
    new_robot.stop()
    assert np.isfinite(new_robot.read().joint_positions).all()


def test_close_may_come_again_and_disconnects(robot):
    robot.close()
    robot.close()
    with pytest.raises(RobotError, match="connect"):
        robot.read()
    robot.connect()
    robot.read()


def test_mujoco_repeats_itself_with_the_same_seed(model, scene):
    def positions(seed):
        robot = mujoco_robot(model, scene, seed, noise=1.0)
        robot.connect()
        states = []
        for _ in range(50):
            states.append(robot.read())
            robot.write(command_at(np.full(29, 0.1)))
            robot.wait_next_tick()
        return np.array([np.concatenate([s.joint_positions, s.joint_velocities, s.pelvis_imu.orientation]) for s in states])

    np.testing.assert_array_equal(positions(3), positions(3))
    assert not np.array_equal(positions(3), positions(4))


@pytest.mark.parametrize("fault, match", [("is_silent", "answer"), ("is_deaf", "listen")])
def test_fake_fails_as_told(model, fault, match):
    robot = FakeRobot(model)
    robot.connect()
    setattr(robot, fault, True)
    with pytest.raises(RobotError, match=match):
        robot.read()
        robot.write(command_at(np.zeros(29)))


def test_fake_stale_state_keeps_its_stamp(model):
    robot = FakeRobot(model)
    robot.connect()
    stamp = robot.read().stamp_s
    robot.is_stale = True
    robot.wait_next_tick()
    assert robot.read().stamp_s == stamp
    robot.is_stale = False
    assert robot.read().stamp_s > stamp
