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

    def __init__(self, noise: SensorNoise, joints: int, rng: np.random.Generator, period_s: float) -> None:
        """Draws the biases.

        Args:
            noise: standard deviations.
            joints: number of joints.
            rng: source of randomness; one for each episode.
            period_s: time between readings.
        """
        self.position_step = noise.joint_position_step
        self._rng = rng
        self._period_s = period_s
        n = noise
        self._scale = np.concatenate([
            np.full(joints, n.joint_position), np.full(joints, n.joint_velocity), np.full(joints, n.joint_torque),
            np.full(3, n.gyro), np.full(3, n.accelerometer), np.full(2, n.tilt), [0.0], np.full(2, n.gripper_opening),
            np.full(2, n.gripper_force),
        ])  # fmt: skip
        self._bias = np.zeros(len(self._scale))
        gyro = 3 * joints
        self._bias[gyro : gyro + 3] = rng.normal(size=3) * n.gyro_bias
        self._bias[gyro + 3 : gyro + 6] = rng.normal(size=3) * n.accelerometer_bias
        self._bias[gyro + 6 : gyro + 8] = rng.normal(size=2) * n.tilt_bias
        self._turning, self._yaw = gyro + 2, gyro + 8
        self._yaw_drift = 0.0
        self._block = np.empty((BLOCK, len(self._scale)))
        self._row = BLOCK

    def draw(self) -> np.ndarray:
        """Errors of one reading in a row (3 * joints + 13,), good until the next: `joints` each of position, velocity and
        torque; gyro, accelerometer, tilt, three each; gripper openings and forces, two each.

        The third component of tilt is the yaw, which drifts with the gyroscope's bias.
        """
        if self._row == BLOCK:
            block = self._block
            self._rng.standard_normal(out=block)
            block *= self._scale
            turning = 0.1 * block[:, self._turning] + self._bias[self._turning]
            block += self._bias
            block[:, self._yaw] = self._yaw_drift + np.cumsum(turning) * self._period_s
            self._yaw_drift = float(block[-1, self._yaw])
            self._row = 0
        row = self._block[self._row]
        self._row += 1
        return row
