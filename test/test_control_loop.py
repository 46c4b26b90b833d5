"""The loop as a whole: on a fake robot that fails on request, and on the robot in MuJoCo that walks, is pushed and falls."""

import threading
from dataclasses import replace

import mujoco
import numpy as np
import pytest

from humanoid_control import safety
from humanoid_control.control_loop import ControlLoop, check_target
from humanoid_control.errors import TargetError
from humanoid_control.robot_model import ARM_JOINTS, RobotModel
from humanoid_control.robots.command_checks import DAMPING_STOP_KD
from humanoid_control.robots.fake_robot import FakeRobot
from humanoid_control.robots.mujoco_robot import MujocoRobot
from humanoid_control.simulation.robot_spec import build_robot_spec
from humanoid_control.simulation.sensors import SensorNoise
from humanoid_control.types import FRAME_ODOM, WholeBodyTarget
from humanoid_control.whole_body_control import dynamics_qp
from humanoid_control.whole_body_control.controller import standing_posture

PERIOD = 0.004


@pytest.fixture(scope="module")
def model():
    return RobotModel.load()


@pytest.fixture(scope="module")
def scene(model):
    spec = build_robot_spec(model)
    spec.option.timestep = 0.002
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 100
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])
    return spec.compile()


@pytest.fixture
def fake(model):
    robot = FakeRobot(model, positions=standing_posture(model))
    robot.connect()
    return robot


@pytest.fixture
def loop(fake):
    return ControlLoop(fake)


class SimulatedRobot:
    """The loop on the robot in MuJoCo, standing on a floor, with the sensors' noise and a delay of 4 ms."""

    def __init__(self, model, scene, seed=0):
        data = mujoco.MjData(scene)
        self.robot = MujocoRobot(model, scene, period_s=PERIOD, noise=SensorNoise(), delay_s=0.004,
                                 rng=np.random.default_rng(seed), data=data)  # fmt: skip
        self.data, self.scene = data, scene
        self.base = int(scene.joint("floating_base").qposadr[0])
        data.qpos[self.base : self.base + 7] = (0, 0, 0.8, 1, 0, 0, 0)
        for name, angle in zip(model.joint_names, standing_posture(model), strict=True):
            data.qpos[scene.joint(name).qposadr[0]] = angle
        mujoco.mj_kinematics(scene, data)
        data.qpos[self.base + 2] -= min(data.site(s).xpos[2] for s in ("l_sole", "r_sole"))
        self.robot.connect()
        self.loop = ControlLoop(self.robot)
        self.torso = scene.body("torso_link").id

    def tick(self, target=None, push=(0.0, 0.0)):
        if target is not None:
            self.loop.submit(replace(target, stamp_s=self.data.time))
        self.data.xfrc_applied[self.torso, :2] = push
        self.loop.step()
        self.robot.wait_next_tick()

    def run(self, seconds, target=None):
        for _ in range(round(seconds / PERIOD)):
            self.tick(target)

    @property
    def height(self):
        return float(self.data.qpos[self.base + 2])

    @property
    def speed(self):
        return float(np.linalg.norm(self.data.qvel[:3]))

    def own_contacts(self):
        """Pairs of the robot's bodies that touch, the fingers of one hand apart."""
        pairs = set()
        for contact in self.data.contact:
            first, second = (self.scene.body(self.scene.geom_bodyid[g]).name for g in contact.geom)
            if contact.dist < 0 and "world" not in (first, second) and not ("finger" in first and first[:20] == second[:20]):
                pairs.add((first, second))
        return pairs


@pytest.fixture
def simulated(model, scene):
    return SimulatedRobot(model, scene)


def tick(loop, count=1, target=None):
    for _ in range(count):
        if target is not None:
            loop.submit(replace(target, stamp_s=loop.state.stamp_s if loop.state else 0.0))
        loop.step()
        loop.robot.wait_next_tick()


def is_damping(command):
    return (command.kp == 0).all() and (command.kd == DAMPING_STOP_KD).all() and (command.torques == 0).all()


# Holding


def test_without_a_target_it_holds(loop):
    tick(loop, 10)
    assert loop.status().mode == "holding" and loop.status().reason == "no target yet"
    assert not is_damping(loop.sent)


def test_fresh_target_is_followed(loop):
    tick(loop, 10, WholeBodyTarget(0.0))
    assert loop.status().mode == "standing" and loop.status().reason == ""


def test_stale_target_is_held_and_a_fresh_one_followed(loop):
    tick(loop, 5, WholeBodyTarget(0.0))
    tick(loop, 45)
    assert loop.status().mode == "standing"
    tick(loop, 25)
    status = loop.status()
    assert status.mode == "holding" and "s old (0.20 s allowed)" in status.reason
    tick(loop, 2, WholeBodyTarget(0.0))
    assert loop.status().mode == "standing"


NAN_POSES = np.tile([np.nan, 0, 0, 0, 0, 0, 1], (2, 1))


def test_target_that_is_not_finite_holds_and_a_good_one_recovers(loop):
    tick(loop, 5, WholeBodyTarget(0.0))
    with pytest.raises(TargetError, match="hand_poses is not finite"):
        loop.submit(WholeBodyTarget(loop.state.stamp_s, hand_poses=NAN_POSES))
    tick(loop, 5)
    status = loop.status()
    assert status.mode == "holding" and "refused" in status.reason and "hand_poses is not finite" in status.reason
    assert np.isfinite(loop.sent.torques).all() and not is_damping(loop.sent)
    tick(loop, 5, WholeBodyTarget(0.0))
    assert loop.status().mode == "standing" and loop.status().reason == ""


ACTIVE = np.ones(2, bool)
BAD_TARGETS = {
    "frame 'map'": {"frame": "map"},
    "frame is ''": {"frame": ""},
    "base_velocity has shape": {"base_velocity": np.zeros(2)},
    "hand_poses is no array": {"hand_poses": "here"},
    "base_velocity is not finite": {"base_velocity": np.array([0, np.inf, 0])},
    "stamp_s is not finite": {"stamp_s": np.nan},
    "pelvis_height is not finite": {"pelvis_height": np.nan},
    "hand quaternions have lengths": {"hand_poses": np.zeros((2, 7))},
    "pelvis_height is 0.3 m; 0.35 to 0.8": {"pelvis_height": 0.3},
    "torso_pitch is 1.5 rad; -0.3 to 1.2": {"torso_pitch": 1.5},
    "(forward) is 2 m/s; -0.6 to 0.6": {"base_velocity": np.array([2.0, 0, 0])},
    "(left) is -0.5 m/s; -0.3 to 0.3": {"base_velocity": np.array([0, -0.5, 0])},
    "(turning) is 3 rad/s; -1.2 to 1.2": {"base_velocity": np.array([0, 0, 3.0])},
    "hand_velocities is 9": {"hand_velocities": np.full((2, 6), 9.0)},
    "gripper_openings is 0.2 m": {"gripper_openings": np.full(2, 0.2)},
    "gripper_openings is -0.01 m": {"gripper_openings": np.full(2, -0.01)},
    "gripper_forces is 100 N": {"gripper_forces": np.full(2, 100.0)},
    "left hand is 2.01 m from the base": {"hand_poses": np.tile([2.0, 0.2, 0.72, 0, 0, 0, 1.0], (2, 1)), "hand_active": ACTIVE},
}


@pytest.mark.parametrize("text", BAD_TARGETS)
def test_malformed_targets_are_refused_by_name(loop, text):
    tick(loop, 2, WholeBodyTarget(0.0))
    text_of = text.replace("frame 'map'", "frame is 'map'")
    with pytest.raises(TargetError) as error:
        loop.submit(replace(WholeBodyTarget(loop.state.stamp_s), **BAD_TARGETS[text]))
    assert text_of in str(error.value) and "\n" not in str(error.value)
    tick(loop)
    assert loop.status().mode == "holding" and text_of in loop.status().reason


def test_every_target_that_is_let_through_quickly_passes_the_full_check(loop, model):
    """Two checks, one compiled and one that explains: the first may not let through what the second refuses."""
    rng = np.random.default_rng(0)
    tick(loop)
    refused = 0
    for _ in range(400):
        fields = {"base_velocity": rng.normal(size=3) * 0.25, "pelvis_height": rng.uniform(0.3, 0.85), "torso_pitch": rng.uniform(-0.5, 1.4),
                  "hand_active": rng.uniform(size=2) < 0.5, "frame": FRAME_ODOM if rng.uniform() < 0.5 else "base_footprint"}  # fmt: skip
        poses = rng.normal(size=(2, 7)) * 0.6
        poses[:, 3:] /= np.linalg.norm(poses[:, 3:], axis=1, keepdims=True)
        target = WholeBodyTarget(loop.state.stamp_s, hand_poses=poses, **fields)
        try:
            loop.submit(target)
            passed = True
        except TargetError:
            passed, refused = False, refused + 1
        try:
            check_target(target, model=model, base_position=loop.estimate().position)
            assert passed
        except TargetError:
            assert not passed
    assert 50 < refused < 390


def test_hand_far_from_the_robot_is_refused_in_odom(loop):
    tick(loop)
    far = np.tile([5.0, 0, 0.9, 0, 0, 0, 1.0], (2, 1))
    loop.submit(WholeBodyTarget(0.0, frame=FRAME_ODOM, hand_poses=far))  # inactive hands may be anywhere
    with pytest.raises(TargetError, match="m from the base"):
        loop.submit(WholeBodyTarget(0.0, frame=FRAME_ODOM, hand_poses=far, hand_active=ACTIVE))


def test_target_from_the_future_is_refused(loop):
    tick(loop, 3)
    with pytest.raises(TargetError, match="1.000 s ahead of the robot's clock"):
        loop.submit(WholeBodyTarget(loop.state.stamp_s + 1.0))
    tick(loop)
    assert loop.status().mode == "holding"


def test_target_that_was_overtaken_is_refused_but_the_newer_one_stays(loop):
    tick(loop, 10, WholeBodyTarget(0.0))
    with pytest.raises(TargetError, match="was taken before"):
        loop.submit(WholeBodyTarget(loop.state.stamp_s - 0.02, base_velocity=np.array([0.3, 0, 0])))
    tick(loop)
    assert loop.status().mode == "standing"


def test_targets_of_lists_and_single_precision_are_taken(loop):
    tick(loop, 2)
    loop.submit(WholeBodyTarget(0.0, base_velocity=[0, 0, 0], gripper_openings=np.full(2, 0.05, np.float32), gripper_forces=[5, 5]))
    tick(loop, 2)
    assert loop.status().mode == "standing"
    np.testing.assert_allclose(loop.sent.gripper_openings, 0.05)


# Stopping


def test_stale_state_stops_with_damping(loop, fake):
    tick(loop, 10, WholeBodyTarget(0.0))
    good = loop.sent
    fake.is_stale = True
    tick(loop)  # the first of these still reads a new state
    tick(loop)
    assert loop.status().mode == "standing" and not is_damping(loop.sent)
    np.testing.assert_allclose(loop.sent.kp, good.kp)
    tick(loop, 8)
    assert loop.status().mode == "stopped" and "no new state" in loop.status().reason
    assert is_damping(loop.sent)
    fake.is_stale = False
    tick(loop, 5)
    assert loop.status().mode == "stopped"  # latched


def test_states_that_are_not_finite_never_reach_the_estimate(loop, fake):
    tick(loop, 5, WholeBodyTarget(0.0))
    fake.next_state = {"joint_velocities": np.full(29, np.nan)}
    tick(loop, 3)
    fake.next_state = {}
    tick(loop, 5, WholeBodyTarget(0.0))
    assert loop.status().mode == "standing"
    assert np.isfinite(loop.estimate().position).all() and np.isfinite(loop.estimate().covariance).all()


def test_robot_that_fails_to_answer_is_stopped(loop, fake):
    tick(loop, 5, WholeBodyTarget(0.0))
    fake.is_silent = True
    tick(loop)
    status = loop.status()
    assert status.mode == "stopped" and "does not answer" in status.reason and "silent" in status.reason
    assert is_damping(fake.sent[-1]) and is_damping(loop.sent)


def test_robot_that_never_answered_is_stopped(loop, fake):
    fake.is_silent = True
    tick(loop)
    assert loop.status().mode == "stopped" and is_damping(loop.sent)


def test_robot_that_does_not_listen_is_stopped(loop, fake):
    tick(loop, 5, WholeBodyTarget(0.0))
    fake.is_deaf = True
    tick(loop)
    assert loop.status().mode == "stopped" and "does not listen" in loop.status().reason


def test_tilted_robot_stops_in_the_loop(loop, fake):
    tick(loop, 5, WholeBodyTarget(0.0))
    fake.orientation = np.array([0.0, np.sin(0.6), 0.0, np.cos(0.6)])
    tick(loop)
    assert loop.status().mode == "stopped" and "tilted by 1.20 rad" in loop.status().reason
    assert is_damping(loop.sent)


def test_failed_solver_stops_in_the_loop(loop, monkeypatch):
    tick(loop, 5, WholeBodyTarget(0.0))
    good = loop.sent
    solve = loop.controller.step
    monkeypatch.setattr(loop.controller, "step", lambda state, dt: (solve(state, dt)[0], dynamics_qp.FAILED))
    tick(loop, 5, WholeBodyTarget(0.0))
    assert loop.status().mode == "standing"
    np.testing.assert_array_equal(loop.sent.torques, good.torques)
    tick(loop, 2)
    assert loop.status().mode == "stopped" and "solver failed" in loop.status().reason


def test_requested_stop_and_reset(loop):
    tick(loop, 5, WholeBodyTarget(0.0))
    loop.controller.tuning["smoothing_s"] = 0.2
    loop.controller.kp[3] = 60.0
    loop.stop("the operator pressed stop")
    tick(loop, 3, WholeBodyTarget(0.0))
    assert loop.status().mode == "stopped" and loop.status().reason == "the operator pressed stop"
    assert is_damping(loop.sent)
    loop.reset()
    tick(loop, 3)
    assert loop.status().mode == "holding" and loop.status().reason == "no target yet" and not is_damping(loop.sent)
    assert loop.controller.tuning["smoothing_s"] == 0.2 and loop.controller.kp[3] == 60.0
    tick(loop, 3, WholeBodyTarget(0.0))
    assert loop.status().mode == "standing"


def test_reset_does_not_forgive_what_is_still_wrong(loop, fake):
    fake.orientation = np.array([np.sin(0.6), 0.0, 0.0, np.cos(0.6)])
    tick(loop)
    loop.reset()
    tick(loop)
    assert loop.status().mode == "stopped" and is_damping(loop.sent)


# Running


def test_late_ticks_are_counted(loop, fake):
    tick(loop, 5)
    assert loop.overrun_count == 0
    fake.late_ticks = 2
    tick(loop, 5)
    assert loop.overrun_count == 1 and loop.tick_count == 10


def test_run_steps_until_told_and_leaves_the_robot_damped(fake):
    loop, event = ControlLoop(fake), threading.Event()
    wait = fake.wait_next_tick

    def wait_and_count():
        wait()
        if loop.tick_count == 20:
            event.set()

    fake.wait_next_tick = wait_and_count
    loop.run(event)
    assert loop.tick_count == 20 and fake.is_stopped


def test_run_leaves_the_robot_damped_when_it_breaks_off(fake):
    loop = ControlLoop(fake)

    def wait():
        raise KeyboardInterrupt

    fake.wait_next_tick = wait
    with pytest.raises(KeyboardInterrupt):
        loop.run(threading.Event())
    assert fake.is_stopped


def test_what_was_sent_is_what_the_robot_got(loop, fake):
    tick(loop, 5, WholeBodyTarget(0.0))
    assert loop.sent is fake.sent[-1]


# The robot in MuJoCo


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_pushed_walker_never_trips_the_filter(model, scene, seed):
    simulated, rng = SimulatedRobot(model, scene, seed), np.random.default_rng(seed)
    simulated.run(1.0, WholeBodyTarget(0.0))
    start = simulated.data.time
    pushes = [(start + at + rng.uniform(0.0, 0.5), rng.uniform(-np.pi, np.pi)) for at in (1.0, 3.2)]
    while simulated.data.time < start + 5.5:
        t = simulated.data.time
        push = np.zeros(2)
        for at, angle in pushes:
            if at <= t < at + 0.2:
                push = 50.0 * np.array([np.cos(angle), np.sin(angle)])
        simulated.tick(WholeBodyTarget(0.0, base_velocity=np.array([0.3, 0.0, 0.0])), push)
        assert not simulated.loop.safety.is_stopped, simulated.loop.safety.reason
    assert simulated.loop.status().mode == "walking" and simulated.height > 0.65
    assert simulated.data.qpos[simulated.base] > 0.8


@pytest.mark.parametrize("phase_s", [0.0, 0.17, 0.34])
def test_walker_whose_targets_stop_comes_to_a_stand(simulated, phase_s):
    simulated.run(0.8, WholeBodyTarget(0.0))
    simulated.run(2.0 + phase_s, WholeBodyTarget(0.0, base_velocity=np.array([0.3, 0.0, 0.0])))
    assert simulated.loop.status().mode == "walking"
    simulated.run(3.0)  # nobody sends targets any more
    position = simulated.data.qpos[simulated.base : simulated.base + 2].copy()
    simulated.run(4.0)
    status = simulated.loop.status()
    assert status.mode == "holding" and "s old" in status.reason
    assert simulated.height > 0.68 and simulated.speed < 0.05
    assert np.linalg.norm(simulated.data.qpos[simulated.base : simulated.base + 2] - position) < 0.02


FORWARD = [0.0, 0, 0, 1]
IN_FRONT = np.array([[0.32, 0.2, 0.9, *FORWARD], [0.32, -0.2, 0.9, *FORWARD]])
CROSSED = IN_FRONT[::-1].copy()
INTO_TORSO = np.array([[0.0, 0.0, 0.95, *FORWARD], [0.32, -0.2, 0.9, *FORWARD]])


@pytest.mark.parametrize("poses", [CROSSED, INTO_TORSO], ids=["through each other", "into the torso"])
@pytest.mark.parametrize("is_filtered", [True, False], ids=["filtered", "unfiltered"])
def test_hands_driven_through_each_other_never_touch(simulated, poses, is_filtered):
    """And without the filter they would, so that this proves something."""
    if not is_filtered:
        limits = simulated.loop.safety.limits
        limits["stiffness"], limits["damping"], limits["calm"], limits["overlap"] = 0.0, 0.0, -1.0, 1.0
    simulated.run(1.0, WholeBodyTarget(0.0, hand_poses=IN_FRONT, hand_active=ACTIVE))
    touched, smallest = set(), np.inf
    for _ in range(round(3.0 / PERIOD)):
        simulated.tick(WholeBodyTarget(0.0, hand_poses=poses, hand_active=ACTIVE))
        touched |= simulated.own_contacts()
        smallest = min(smallest, simulated.loop.safety.smallest_distance)
    assert not simulated.loop.safety.is_stopped and simulated.height > 0.65
    if is_filtered:
        assert not touched and smallest > 0.0
    else:
        assert touched


def test_falling_robot_is_stopped_before_it_lies(simulated):
    simulated.run(1.0, WholeBodyTarget(0.0))
    for _ in range(150):
        simulated.tick(WholeBodyTarget(0.0), push=(400.0, 0.0))
    simulated.run(1.5)
    assert simulated.loop.status().mode == "stopped" and simulated.loop.safety.code in (safety.TILTED, safety.VELOCITY_EXCEEDED)
    assert is_damping(simulated.loop.sent)
    assert np.abs(simulated.data.qvel[6:35][ARM_JOINTS]).max() < 5.0


def test_stale_state_of_a_standing_robot_is_bridged_without_harm(simulated, monkeypatch):
    """Four lost states in a row, twice a second: it stands, and nothing is stopped."""
    simulated.run(1.0, WholeBodyTarget(0.0))
    read, held = simulated.robot.read, {}

    def read_with_losses():
        state = read()
        if simulated.loop.tick_count % 125 < 4 and "state" in held:
            return held["state"]
        held["state"] = state
        return state

    monkeypatch.setattr(simulated.robot, "read", read_with_losses)
    simulated.run(3.0, WholeBodyTarget(0.0))
    assert simulated.loop.status().mode == "standing" and simulated.height > 0.68
