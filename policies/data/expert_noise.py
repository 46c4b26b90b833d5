"""Noise in the expert: bursts that push the robot off its way, so that demonstrations hold the way back.

What is submitted is disturbed, what is taught is the expert's own target at that instant (DART, Laskey et al. 2017, arXiv
1703.09327). Between bursts the expert acts alone, so that whole chunks of its future are there to be taught.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from humanoid_control.control_loop import BASE_VELOCITY_LIMIT, PELVIS_HEIGHT_RANGE, TORSO_PITCH_RANGE
from humanoid_control.errors import ConfigurationError
from humanoid_control.transforms import from_pose, rotation_of_vector, to_pose
from humanoid_control.types import WholeBodyTarget

BURST_S = (0.3, 1.0)
STRENGTH = (0.3, 1.0)  # of a burst, times the scale
STRONG_FROM_S = 0.6  # shorter bursts are weaker: nothing is thrown about
MOST_HZ = 1.0  # of the wave within a burst
MOST = 0.5  # largest share of time in bursts that leaves room for chunks without
CLOSED_OPENING = 0.04  # m: fingers that close to less than this have something between them, or are about to
FADE_S = 0.1  # in which the noise takes a new scale


@dataclass(frozen=True)
class NoiseScale:
    """How far a burst of full strength pushes.

    Attributes:
        hands: m, both hands alike.
        apart: m, hands against each other.
        turn: rad, of each hand.
        velocity: (forward, left, turning) m/s, m/s, rad/s, of a base that walks anyway.
        pitch: rad, of the torso.
        height: m, of the pelvis.
    """

    hands: float = 0.08
    apart: float = 0.04
    turn: float = 0.20
    velocity: tuple[float, float, float] = (0.15, 0.10, 0.40)
    pitch: float = 0.10
    height: float = 0.03


# Near a tote or its place a few centimetres decide, most of all between two shelves; with a tote in the hands they must
# keep their distance.
SCALES = {
    "ready": NoiseScale(velocity=(0.10, 0.06, 0.30)),
    "reach": NoiseScale(hands=0.030, apart=0.012, turn=0.10, pitch=0.05, height=0.015),
    "grip": NoiseScale(hands=0.004, apart=0.002, turn=0.02, pitch=0.02, height=0.006),
    "draw_near": NoiseScale(hands=0.010, apart=0.0, turn=0.0, pitch=0.03, height=0.010),
    "lift": NoiseScale(hands=0.010, apart=0.0, turn=0.0, pitch=0.03, height=0.010),
    "step_back": NoiseScale(hands=0.012, apart=0.010, turn=0.05, velocity=(0.08, 0.05, 0.20), pitch=0.03, height=0.010),
    "align": NoiseScale(hands=0.020, apart=0.0, turn=0.0, velocity=(0.10, 0.06, 0.25), pitch=0.05, height=0.015),
    "set_down": NoiseScale(hands=0.015, apart=0.0, turn=0.0, pitch=0.03, height=0.010),
    "let_go": NoiseScale(hands=0.012, apart=0.005, turn=0.05, pitch=0.03, height=0.010),
}
HOLDING = NoiseScale(hands=0.04, apart=0.0, turn=0.0, velocity=(0.10, 0.06, 0.25), pitch=0.05, height=0.02)
FREE = NoiseScale()


@dataclass(frozen=True)
class _Burst:
    begin_s: float
    duration_s: float
    direction: np.ndarray  # (14,) hands, apart, turns, pitch, height
    velocity: np.ndarray  # (3,)
    swings: float  # turns of the wave within the burst
    phase: float


class ExpertNoise:
    """Bursts of smooth noise on the targets of one episode.

    Args:
        rng: what they are drawn from.
        share: of the time that lies in bursts, 0 to `MOST`.

    Raises:
        ConfigurationError: the share is out of range.
    """

    def __init__(self, rng: np.random.Generator, share: float) -> None:
        check_share(share)
        self._rng, self._share = rng, share
        self._burst: _Burst | None = None
        self._next_s = math.inf
        self._before_s = -math.inf
        self._scale = np.zeros(0)
        self._offsets = np.zeros((2, 3))

    def begin(self, now_s: float) -> None:
        """An order begins: a burst comes after a while."""
        self._burst, self._before_s = None, -math.inf
        self._next_s = now_s + self._gap() if self._share > 0.0 else math.inf

    def _gap(self) -> float:
        mean = 0.5 * sum(BURST_S) * (1.0 - self._share) / self._share
        return float(np.clip(self._rng.exponential(mean), 0.1 * mean, 3.0 * mean))

    def _draw(self, now_s: float) -> _Burst:
        rng = self._rng
        duration_s = rng.uniform(*BURST_S)
        strength = rng.uniform(*STRENGTH) * min(1.0, duration_s / STRONG_FROM_S)
        direction = np.concatenate([_unit(rng, 3), _unit(rng, 3), _unit(rng, 3), _unit(rng, 3), rng.uniform(-1, 1, 2)])
        return _Burst(now_s, duration_s, strength * direction, strength * rng.uniform(-1, 1, 3),
                      duration_s * rng.uniform(0.0, MOST_HZ), rng.uniform(0.0, 2 * math.pi))  # fmt: skip

    def is_active(self) -> bool:
        """Whether the last target was disturbed."""
        return self._burst is not None

    def disturbed(self, target: WholeBodyTarget, subtask: str, now_s: float) -> WholeBodyTarget:
        """The target as it is to be submitted; it itself where no burst is on.

        Args:
            target: the expert's.
            subtask: what the expert is doing.
            now_s: the robot's clock.
        """
        if self._burst is not None and now_s >= self._burst.begin_s + self._burst.duration_s:
            self._burst = None
            self._next_s = now_s + self._gap()
        if self._burst is None and now_s >= self._next_s:
            self._burst = self._draw(now_s)
            self._scale, self._offsets, self._before_s = _numbers(_scale_for(target, subtask)), np.zeros((2, 3)), now_s
        if self._burst is None:
            return target
        return self._pushed(target, self._burst, _numbers(_scale_for(target, subtask)), now_s)

    def _pushed(self, target: WholeBodyTarget, burst: _Burst, scale: np.ndarray, now_s: float) -> WholeBodyTarget:
        period_s, self._before_s = now_s - self._before_s, now_s
        # What becomes dangerous is taken back at once, what becomes harmless grows again: never a jump.
        self._scale = self._scale + np.clip(period_s / FADE_S, 0.0, 1.0) * (scale - self._scale)
        hands, apart, turn, *velocity, pitch, height = self._scale
        t = (now_s - burst.begin_s) / burst.duration_s
        wave = math.sin(math.pi * t) ** 2 * math.cos(2 * math.pi * burst.swings * t + burst.phase)
        push = wave * burst.direction
        offsets = np.array([hands * push[:3] + sign * apart * push[3:6] for sign in (1.0, -1.0)])
        poses, velocities = target.hand_poses.copy(), target.hand_velocities.copy()
        for side in np.flatnonzero(target.hand_active):
            pose = from_pose(poses[side])
            pose[:3, 3] += offsets[side]
            pose[:3, :3] = rotation_of_vector(turn * push[6 + 3 * side : 9 + 3 * side]) @ pose[:3, :3]
            poses[side] = to_pose(pose)
            if period_s > 0.0:
                velocities[side, :3] += (offsets[side] - self._offsets[side]) / period_s
        self._offsets = offsets
        walks = np.any(target.base_velocity != 0.0)
        base = target.base_velocity + (wave * np.array(velocity) * burst.velocity if walks else 0.0)
        return replace(
            target,
            base_velocity=np.clip(base, -BASE_VELOCITY_LIMIT, BASE_VELOCITY_LIMIT),
            hand_poses=poses,
            hand_velocities=velocities,
            torso_pitch=float(np.clip(target.torso_pitch + pitch * push[12], *TORSO_PITCH_RANGE)),
            pelvis_height=float(np.clip(target.pelvis_height + height * push[13], *PELVIS_HEIGHT_RANGE)),
        )


def check_share(share: float) -> None:
    """Refuses a share of time that bursts cannot have.

    Raises:
        ConfigurationError: it is out of range.
    """
    if not 0.0 <= share <= MOST:
        raise ConfigurationError(f"--noise is {share:g}; a share from 0 to {MOST:g} of the time is allowed.")


def _scale_for(target: WholeBodyTarget, subtask: str) -> NoiseScale:
    """The smaller of what the sub-task and what the fingers allow."""
    named = SCALES.get(subtask, FREE)
    if (target.gripper_openings >= CLOSED_OPENING).all():
        return named
    both = np.minimum(_numbers(named), _numbers(HOLDING))
    return NoiseScale(*both[:3], tuple(both[3:6]), *both[6:])


def _numbers(scale: NoiseScale) -> np.ndarray:
    """(8,) its figures."""
    return np.array([scale.hands, scale.apart, scale.turn, *scale.velocity, scale.pitch, scale.height])


def _unit(rng: np.random.Generator, size: int) -> np.ndarray:
    vector = rng.standard_normal(size)
    return vector / math.sqrt(vector @ vector)
