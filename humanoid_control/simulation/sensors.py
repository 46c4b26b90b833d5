"""What the simulated robot's sensors add to the truth: noise, quantisation, bias and drift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 512  # ticks of noise drawn at once: one call a tick would cost more than all the rest of a reading


@dataclass(frozen=True)
class SensorNoise:
    """Standard deviations of the sensors' errors.

    IMU noise is the maker's (facts), the rest what public logs of such motors show.

    Attributes:
        joint_position: rad.
        joint_position_step: rad, the encoder's resolution at the joint.
        joint_velocity: rad/s.
        joint_torque: N m.
        gyro: rad/s.
        gyro_bias: rad/s, drawn once.
        accelerometer: m/s^2.
        accelerometer_bias: m/s^2, drawn once.
        tilt: rad, noise of the IMU's own roll and pitch.
        tilt_bias: rad, drawn once: mounting and calibration.
        gripper_opening: m.
        gripper_force: N.
    """

    joint_position: float = 1e-4
    joint_position_step: float = 2.7e-5
    joint_velocity: float = 0.02
    joint_torque: float = 0.15
    gyro: float = 0.0005
    gyro_bias: float = 0.0003
    accelerometer: float = 0.01
    accelerometer_bias: float = 0.03
    tilt: float = 0.0003
    tilt_bias: float = 0.003
    gripper_opening: float = 2e-4
    gripper_force: float = 0.5

    def scaled(self, factor: float) -> SensorNoise:
        """The same sensors, `factor` times as bad."""
        return SensorNoise(**{name: factor * getattr(self, name) for name in self.__dataclass_fields__})


class SensorModel:
    """Draws one episode's sensor errors, reproducibly."""

    def __init__(self, noise: SensorNoise, joints: int, rng: np.random.Generator) -> None:
        """Draws the biases.

        Args:
            noise: standard deviations.
            joints: number of joints.
            rng: source of randomness; one for each episode.
        """
        self._noise = noise
        self._rng = rng
        self._joints = joints
        n = noise
        self._scale = np.concatenate([
            np.full(joints, n.joint_position), np.full(joints, n.joint_velocity), np.full(joints, n.joint_torque),
            np.full(3, n.gyro), np.full(3, n.accelerometer), np.full(2, n.tilt), np.full(2, n.gripper_opening),
            np.full(2, n.gripper_force),
        ])  # fmt: skip
        self.gyro_bias = rng.normal(size=3) * n.gyro_bias
        self.accelerometer_bias = rng.normal(size=3) * n.accelerometer_bias
        self.tilt_bias = rng.normal(size=2) * n.tilt_bias
        self._block = np.empty((BLOCK, len(self._scale)))
        self._row = BLOCK
        self.yaw_drift = 0.0

    def draw(self, dt: float) -> tuple[np.ndarray, ...]:
        """Errors of one reading: joint positions, velocities, torques (29,), gyro, accelerometer (3,), tilt (3,), gripper (2,), (2,).

        The third component of tilt is the yaw, which drifts with the gyroscope's bias.
        """
        if self._row == BLOCK:
            self._rng.standard_normal(out=self._block)
            self._block *= self._scale
            self._row = 0
        row = self._block[self._row]
        self._row += 1
        j = self._joints
        self.yaw_drift += (self.gyro_bias[2] + row[3 * j + 2] * 0.1) * dt
        tilt = np.array([row[3 * j + 6] + self.tilt_bias[0], row[3 * j + 7] + self.tilt_bias[1], self.yaw_drift])
        return (row[:j], row[j : 2 * j], row[2 * j : 3 * j], row[3 * j : 3 * j + 3] + self.gyro_bias,
                row[3 * j + 3 : 3 * j + 6] + self.accelerometer_bias, tilt, row[3 * j + 8 : 3 * j + 10], row[3 * j + 10 :])  # fmt: skip

    def quantised(self, positions: np.ndarray) -> np.ndarray:
        """Joint positions as the encoder counts them."""
        step = self._noise.joint_position_step
        return positions if step == 0.0 else np.round(positions / step) * step
