"""The robot in MuJoCo, in lockstep: a tick waited for is a tick of physics."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import mujoco
import numpy as np

from humanoid_control.errors import RobotError, SimulationError
from humanoid_control.robot_model import RobotModel
from humanoid_control.robots.command_checks import damping_command, limited_command
from humanoid_control.simulation.robot_spec import FINGER_GAIN
from humanoid_control.simulation.sensors import SensorModel, SensorNoise
from humanoid_control.types import SIDES, ImuSample, JointCommand, RobotState


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
            self._fingers = np.array([scene.joint(f"{s}_dex1_finger_joint_1").qposadr[0] for s in SIDES])
            self._base = int(scene.joint("floating_base").qposadr[0])
            self._base_velocity = int(scene.joint("floating_base").dofadr[0])
            imu = scene.site("imu_in_pelvis").id
        except KeyError as error:
            raise SimulationError(f"The scene lacks a part of the robot: {error.args[0]}") from None
        self._imu_offset = scene.site_pos[imu] + scene.body_pos[scene.site_bodyid[imu]]
        q, v = [int(j.qposadr[0]) for j in joints], [int(j.dofadr[0]) for j in joints]
        self._positions, self._velocities = _run_of(q), _run_of(v)
        self._delay_steps = round(delay_s / scene.opt.timestep)
        self._sensors = SensorModel(noise or SensorNoise().scaled(0.0), len(joints), rng or np.random.default_rng(0))
        self._pending: deque[tuple[int, JointCommand]] = deque()
        self._step_count = 0
        self._on_physics_step = on_physics_step
        self._connected = False
        self._finger_goals = [0.0, 0.0]
        self._finger_targets = [0.0, 0.0]
        self._rotation_flat = np.zeros(9)  # MuJoCo writes nine numbers
        self._rotation = self._rotation_flat.reshape(3, 3)
        self._previous_velocity = np.zeros(3)
        self._acceleration = np.array([0.0, 0.0, 9.81])

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
        data.qpos[self._positions] = posture
        mujoco.mj_kinematics(self.scene, data)
        data.qpos[b + 2] -= min(data.site("l_sole").xpos[2], data.site("r_sole").xpos[2])
        mujoco.mj_forward(self.scene, data)

    def true_base_pose(self) -> np.ndarray:
        """(4, 4) world_from_base; privileged."""
        matrix = np.eye(4)
        mujoco.mju_quat2Mat(self._rotation_flat, self.data.qpos[self._base + 3 : self._base + 7])
        matrix[:3, :3] = self._rotation
        matrix[:3, 3] = self.data.qpos[self._base : self._base + 3]
        return matrix

    def connect(self) -> None:
        """See `Robot.connect`."""
        mujoco.mj_forward(self.scene, self.data)
        self._previous_velocity = self._imu_velocity()
        self._connected = True

    def _imu_velocity(self) -> np.ndarray:
        """Velocity (3,) of the IMU's point, world axes."""
        w = self._base_velocity
        mujoco.mju_quat2Mat(self._rotation_flat, self.data.qpos[self._base + 3 : self._base + 7])
        x, y, z = self.data.qvel[w + 3 : w + 6]
        a, b, c = self._imu_offset
        turning = np.array([y * c - z * b, z * a - x * c, x * b - y * a])
        return self.data.qvel[w : w + 3] + self._rotation @ turning

    def read(self) -> RobotState:
        """See `Robot.read`."""
        if not self._connected:
            raise RobotError("The simulated robot is not connected; call connect() first.")
        data, b, w = self.data, self._base, self._base_velocity
        position, velocity, torque, gyro, accelerometer, tilt, opening, force = self._sensors.draw(self.period_s)
        truth = data.qpos[b + 3 : b + 7]
        half = 0.5 * tilt
        # MuJoCo's quaternions are wxyz; this is the one place where they are reordered. The error acts in world axes.
        q0, q1, q2, q3 = truth[0], truth[1], truth[2], truth[3]
        quaternion = np.array([
            q1 + half[0] * q0 + half[1] * q3 - half[2] * q2,
            q2 + half[1] * q0 + half[2] * q1 - half[0] * q3,
            q3 + half[2] * q0 + half[0] * q2 - half[1] * q1,
            q0 - half[0] * q1 - half[1] * q2 - half[2] * q3,
        ])  # fmt: skip
        quaternion /= np.sqrt(quaternion @ quaternion)
        return RobotState(
            stamp_s=data.time,
            joint_positions=self._sensors.quantised(data.qpos[self._positions] + position),
            joint_velocities=data.qvel[self._velocities] + velocity,
            joint_torques=data.actuator_force[self._actuators] + torque,
            pelvis_imu=ImuSample(quaternion, data.qvel[w + 3 : w + 6] + gyro, self._acceleration + accelerometer),
            gripper_openings=2 * (data.qpos[self._fingers] + self.model.pad_offset) + opening,
            gripper_forces=-0.5 * data.actuator_force[self._grippers] + force,
        )

    def write(self, command: JointCommand) -> JointCommand:
        """See `Robot.write`."""
        if not self._connected:
            raise RobotError("The simulated robot is not connected; call connect() first.")
        sent = limited_command(command, self.model)
        self._pending.append((self._step_count + self._delay_steps, sent))
        return sent

    def _apply(self, command: JointCommand) -> None:
        scene, data, a = self.scene, self.data, self._actuators
        scene.actuator_biasprm[a, 1] = -command.kp
        scene.actuator_biasprm[a, 2] = -command.kd
        data.ctrl[a] = command.torques + command.kp * command.positions + command.kd * command.velocities
        for side in (0, 1):
            gripper = self._grippers[side]
            limit = 2.0 * float(command.gripper_forces[side])
            scene.actuator_forcerange[gripper, 0] = -limit
            scene.actuator_forcerange[gripper, 1] = limit
            self._finger_goals[side] = self.model.finger_from_opening(command.gripper_openings[side])

    def _move_fingers(self) -> None:
        """The gripper's own controller closes and opens no faster than it can."""
        step = 0.5 * self.model.gripper_speed_limit * self.scene.opt.timestep
        for side in (0, 1):
            change = self._finger_goals[side] - self._finger_targets[side]
            if change != 0.0:
                self._finger_targets[side] += min(max(change, -step), step)
                self.data.ctrl[self._grippers[side]] = FINGER_GAIN * self._finger_targets[side]

    def wait_next_tick(self) -> None:
        """Steps physics by one period."""
        for _ in range(self._steps):
            while self._pending and self._pending[0][0] <= self._step_count:
                self._apply(self._pending.popleft()[1])
            self._move_fingers()
            if self._on_physics_step is not None:
                self._on_physics_step(self.scene, self.data)
            mujoco.mj_step(self.scene, self.data)
            self._step_count += 1
        velocity = self._imu_velocity()
        acceleration = (velocity - self._previous_velocity) / self.period_s
        self._previous_velocity = velocity
        acceleration[2] += 9.81
        self._acceleration = self._rotation.T @ acceleration

    def stop(self) -> None:
        """See `Robot.stop`."""
        self._pending.clear()
        self._apply(damping_command(self.data.time, self.data.qpos[self._positions],
                                    2 * (self.data.qpos[self._fingers] + self.model.pad_offset)))  # fmt: skip

    def close(self) -> None:
        """See `Robot.close`."""
        if self._connected:
            self.stop()
        self._connected = False


def _run_of(indices: list[int]) -> slice | np.ndarray:
    """A slice where indices are consecutive (a view is cheaper to read), else the indices."""
    if indices == list(range(indices[0], indices[0] + len(indices))):
        return slice(indices[0], indices[0] + len(indices))
    return np.array(indices)
