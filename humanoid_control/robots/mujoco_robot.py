"""The robot in MuJoCo, in lockstep: a tick waited for is a tick of physics."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import mujoco
import numba
import numpy as np

from humanoid_control.errors import RobotError, SimulationError
from humanoid_control.kernels import JIT
from humanoid_control.robot_model import RobotModel
from humanoid_control.robots.command_checks import damping_command, limited_command
from humanoid_control.simulation.robot_spec import FINGER_GAIN
from humanoid_control.simulation.sensors import SensorModel, SensorNoise
from humanoid_control.types import SIDES, ImuSample, JointCommand, RobotState


GRAVITY = 9.81  # m/s^2


@numba.njit(**JIT)
def _point_velocity(quaternion, velocity, turning, offset, out):
    """Velocity (3,) in world axes of a point fixed to a free body, whose turning is in its own axes."""
    w, x, y, z = quaternion[0], quaternion[1], quaternion[2], quaternion[3]
    a = turning[1] * offset[2] - turning[2] * offset[1]
    b = turning[2] * offset[0] - turning[0] * offset[2]
    c = turning[0] * offset[1] - turning[1] * offset[0]
    out[0] = velocity[0] + (1 - 2 * (y * y + z * z)) * a + 2 * (x * y - w * z) * b + 2 * (x * z + w * y) * c
    out[1] = velocity[1] + 2 * (x * y + w * z) * a + (1 - 2 * (x * x + z * z)) * b + 2 * (y * z - w * x) * c
    out[2] = velocity[2] + 2 * (x * z - w * y) * a + 2 * (y * z + w * x) * b + (1 - 2 * (x * x + y * y)) * c


@numba.njit(**JIT)
def _feel(quaternion, velocity, turning, offset, period, previous, out):
    """Fills what an accelerometer at a point feels (3,) in body axes, and renews the point's `previous` velocity."""
    now = np.empty(3)
    _point_velocity(quaternion, velocity, turning, offset, now)
    a = (now[0] - previous[0]) / period
    b = (now[1] - previous[1]) / period
    c = (now[2] - previous[2]) / period + GRAVITY
    w, x, y, z = quaternion[0], quaternion[1], quaternion[2], quaternion[3]
    out[0] = (1 - 2 * (y * y + z * z)) * a + 2 * (x * y + w * z) * b + 2 * (x * z - w * y) * c
    out[1] = 2 * (x * y - w * z) * a + (1 - 2 * (x * x + z * z)) * b + 2 * (y * z + w * x) * c
    out[2] = 2 * (x * z + w * y) * a + 2 * (y * z - w * x) * b + (1 - 2 * (x * x + y * y)) * c
    previous[:] = now


@numba.njit(**JIT)
def _sense(positions, velocities, forces, fingers, addresses, grippers, quaternion, turning, specific_force, pad_offset, errors,
           step, joints, imu, hands):  # fmt: skip
    """Fills joints (3, 29), imu (10,) and hands (2, 2) with what the sensors say of the true state.

    Joint by joint, `addresses` (29, 3) are those of its position, its velocity and its motor.
    """
    n = joints.shape[1]
    for j in range(n):
        position = positions[addresses[j, 0]] + errors[j]
        joints[0, j] = position if step == 0.0 else np.round(position / step) * step
        joints[1, j] = velocities[addresses[j, 1]] + errors[n + j]
        joints[2, j] = forces[addresses[j, 2]] + errors[2 * n + j]
    e = 3 * n
    for i in range(3):
        imu[4 + i] = turning[i] + errors[e + i]
        imu[7 + i] = specific_force[i] + errors[e + 3 + i]
    # MuJoCo's quaternions are wxyz; this is the one place where they are reordered. The error acts in world axes.
    a, b, c = 0.5 * errors[e + 6], 0.5 * errors[e + 7], 0.5 * errors[e + 8]
    w, x, y, z = quaternion[0], quaternion[1], quaternion[2], quaternion[3]
    imu[0] = x + a * w + b * z - c * y
    imu[1] = y + b * w + c * x - a * z
    imu[2] = z + c * w + a * y - b * x
    imu[3] = w - a * x - b * y - c * z
    length = np.sqrt(imu[0] ** 2 + imu[1] ** 2 + imu[2] ** 2 + imu[3] ** 2)
    for i in range(4):
        imu[i] /= length
    for side in range(2):
        hands[0, side] = 2 * (fingers[side] + pad_offset) + errors[e + 9 + side]
        hands[1, side] = -0.5 * forces[grippers[side]] + errors[e + 11 + side]


@numba.njit(**JIT)
def _drive(positions, velocities, torques, kp, kd, gripper_forces, motors, grippers, bias, force_range, control):
    """Sets the servos of MuJoCo's motors, and what the fingers may press."""
    for j in range(motors.shape[0]):
        motor = motors[j]
        bias[motor, 1] = -kp[j]
        bias[motor, 2] = -kd[j]
        control[motor] = torques[j] + kp[j] * positions[j] + kd[j] * velocities[j]
    for side in range(2):
        gripper = grippers[side]
        force_range[gripper, 0] = -2.0 * gripper_forces[side]
        force_range[gripper, 1] = 2.0 * gripper_forces[side]


class MujocoRobot:
    """Drives the robot of a compiled MuJoCo scene.

    Motors run their position and velocity loops on the joint's true state at every physics step, as the real ones do
    inside; what is read has the sensors' errors, and a command acts after the episode's delay.

    Attributes:
        model: the robot's description.
        period_s: time between ticks.
        scene, data: MuJoCo's model and state; privileged, for the simulation's own use.
    """

    def __init__(
        self,
        model: RobotModel,
        scene: mujoco.MjModel,
        *,
        period_s: float = 0.004,
        noise: SensorNoise | None = None,
        delay_s: float = 0.0,
        rng: np.random.Generator | None = None,
        on_physics_step: Callable[[mujoco.MjModel, mujoco.MjData], None] | None = None,
        data: mujoco.MjData | None = None,
    ) -> None:
        """Finds the robot in the scene.

        Args:
            model: the robot.
            scene: a compiled scene with the robot in it.
            period_s: time between ticks; a multiple of the physics step.
            noise: of the sensors; none by default.
            delay_s: from sensing to torque; rounded to physics steps.
            rng: for the sensors' noise.
            on_physics_step: called before each physics step, for belts, people and other actors.
            data: the scene's state, if it exists already.

        Raises:
            SimulationError: if the period does not fit the physics step or the scene lacks the robot.
        """
        self.model = model
        self.period_s = period_s
        self.scene = scene
        self.data = data if data is not None else mujoco.MjData(scene)
        self._steps = round(period_s / scene.opt.timestep)
        if self._steps < 1 or abs(self._steps * scene.opt.timestep - period_s) > 1e-9:
            raise SimulationError(f"A control period of {period_s} s is no multiple of the physics step {scene.opt.timestep} s.")
        try:
            joints = [scene.joint(n) for n in model.joint_names]
            self._actuators = np.array([scene.actuator(n).id for n in model.joint_names])
            self._grippers = np.array([scene.actuator(f"{s}_dex1_finger_joint_1").id for s in SIDES])
            fingers = np.array([scene.joint(f"{s}_dex1_finger_joint_1").qposadr[0] for s in SIDES])
            self._base = int(scene.joint("floating_base").qposadr[0])
            base_velocity = int(scene.joint("floating_base").dofadr[0])
            imu = scene.site("imu_in_pelvis").id
        except KeyError as error:
            raise SimulationError(f"The scene lacks a part of the robot: {error.args[0]}") from None
        self._imu_offset = scene.site_pos[imu] + scene.body_pos[scene.site_bodyid[imu]]
        self._joints = np.array([[j.qposadr[0], j.dofadr[0], a] for j, a in zip(joints, self._actuators)], np.int64)
        # Views of MuJoCo's arrays, which stay where they are as long as its model and data live.
        self._positions, self._velocities = self.data.qpos, self.data.qvel
        self._quaternion = self.data.qpos[self._base + 3 : self._base + 7]
        self._velocity = self.data.qvel[base_velocity : base_velocity + 3]
        self._turning = self.data.qvel[base_velocity + 3 : base_velocity + 6]
        self._fingers = self.data.qpos[fingers[0] : fingers[1] + 1 : fingers[1] - fingers[0]]
        self._forces, self._control = self.data.actuator_force, self.data.ctrl
        self._bias, self._force_range = scene.actuator_biasprm, scene.actuator_forcerange
        self._delay_steps = round(delay_s / scene.opt.timestep)
        self._sensors = SensorModel(noise or SensorNoise().scaled(0.0), len(joints), rng or np.random.default_rng(0), period_s)
        self._pending: deque[tuple[int, JointCommand]] = deque()
        self._step_count = 0
        self._on_physics_step = on_physics_step
        self._connected = False
        self._finger_step = 0.5 * model.gripper_speed_limit * scene.opt.timestep
        self._finger_goals = [0.0, 0.0]
        self._finger_targets = [0.0, 0.0]
        self._point_velocity = np.zeros(3)
        self._specific_force = np.array([0.0, 0.0, GRAVITY])

    def place(self, start: tuple[float, float, float], posture: np.ndarray) -> None:
        """Puts the robot on the floor, at rest.

        Args:
            start: (x, y, yaw) m, m, rad of its base in the world.
            posture: (29,) rad.
        """
        data, b = self.data, self._base
        x, y, yaw = start
        data.qpos[b : b + 7] = x, y, 1.0, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)
        data.qvel[:] = 0.0
        data.qpos[self._joints[:, 0]] = posture
        mujoco.mj_kinematics(self.scene, data)
        data.qpos[b + 2] -= min(data.site("l_sole").xpos[2], data.site("r_sole").xpos[2])
        mujoco.mj_forward(self.scene, data)

    def true_base_pose(self) -> np.ndarray:
        """(4, 4) world_from_base; privileged."""
        matrix = np.eye(4)
        rotation = np.empty(9)  # MuJoCo writes nine numbers
        mujoco.mju_quat2Mat(rotation, self._quaternion)
        matrix[:3, :3] = rotation.reshape(3, 3)
        matrix[:3, 3] = self.data.qpos[self._base : self._base + 3]
        return matrix

    def connect(self) -> None:
        """See `Robot.connect`."""
        mujoco.mj_forward(self.scene, self.data)
        _point_velocity(self._quaternion, self._velocity, self._turning, self._imu_offset, self._point_velocity)
        self._connected = True

    def read(self) -> RobotState:
        """See `Robot.read`."""
        if not self._connected:
            raise RobotError("The simulated robot is not connected; call connect() first.")
        joints, imu, hands = np.empty((3, len(self._actuators))), np.empty(10), np.empty((2, 2))
        _sense(self._positions, self._velocities, self._forces, self._fingers, self._joints, self._grippers,
               self._quaternion, self._turning, self._specific_force, self.model.pad_offset, self._sensors.draw(),
               self._sensors.position_step, joints, imu, hands)  # fmt: skip
        return RobotState(
            stamp_s=self.data.time,
            joint_positions=joints[0],
            joint_velocities=joints[1],
            joint_torques=joints[2],
            pelvis_imu=ImuSample(imu[:4], imu[4:7], imu[7:]),
            gripper_openings=hands[0],
            gripper_forces=hands[1],
        )

    def write(self, command: JointCommand) -> JointCommand:
        """See `Robot.write`."""
        if not self._connected:
            raise RobotError("The simulated robot is not connected; call connect() first.")
        sent = limited_command(command, self.model)
        self._pending.append((self._step_count + self._delay_steps, sent))
        return sent

    def _apply(self, command: JointCommand) -> None:
        _drive(command.positions, command.velocities, command.torques, command.kp, command.kd, command.gripper_forces,
               self._actuators, self._grippers, self._bias, self._force_range, self._control)  # fmt: skip
        self._finger_goals = [self.model.finger_from_opening(opening) for opening in command.gripper_openings.tolist()]

    def _move_fingers(self) -> None:
        """The gripper's own controller closes and opens no faster than it can."""
        if self._finger_targets == self._finger_goals:
            return
        for side, gripper in enumerate(self._grippers):
            change = self._finger_goals[side] - self._finger_targets[side]
            self._finger_targets[side] += min(max(change, -self._finger_step), self._finger_step)
            self._control[gripper] = FINGER_GAIN * self._finger_targets[side]

    def wait_next_tick(self) -> None:
        """Steps physics by one period."""
        scene, data, pending, on_step = self.scene, self.data, self._pending, self._on_physics_step
        for _ in range(self._steps):
            while pending and pending[0][0] <= self._step_count:
                self._apply(pending.popleft()[1])
            self._move_fingers()
            if on_step is not None:
                on_step(scene, data)
            mujoco.mj_step(scene, data)
            self._step_count += 1
        _feel(self._quaternion, self._velocity, self._turning, self._imu_offset, self.period_s, self._point_velocity,
              self._specific_force)  # fmt: skip

    def stop(self) -> None:
        """See `Robot.stop`."""
        self._pending.clear()
        self._apply(damping_command(self.data.time, self.data.qpos[self._joints[:, 0]], 2 * (self._fingers + self.model.pad_offset)))

    def close(self) -> None:
        """See `Robot.close`."""
        if self._connected:
            self.stop()
        self._connected = False


def warm_up() -> None:
    """Calls every kernel of this module once, so that it is compiled and cached."""
    from humanoid_control.simulation.robot_spec import build_robot_spec

    model = RobotModel.load()
    spec = build_robot_spec(model)
    spec.option.timestep = 0.002
    robot = MujocoRobot(model, spec.compile())
    robot.connect()
    state = robot.read()
    robot.write(damping_command(0.0, state.joint_positions, state.gripper_openings))
    robot.wait_next_tick()
