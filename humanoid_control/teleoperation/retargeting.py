"""From an operator's hands to targets for the whole body, by inverse kinematics of a ghost that goes ahead of the robot.

The ghost is the robot's model, on feet that stay. Its hands follow the operator's while a clutch is held, no faster
than allowed; squat, torso and arms follow from whole-body inverse kinematics, within joint limits and clear of itself. What is
asked of the robot is where the ghost is: it cannot be asked what the ghost cannot do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pinocchio as pin

from humanoid_control.footprint import footprint_from_base
from humanoid_control.inverse_kinematics import IkOptions, IkTasks, InverseKinematics
from humanoid_control.robot_model import RobotModel
from humanoid_control.standing_body import SOLES_AHEAD, BodyPosture, LimbKinematics, reaching_targets
from humanoid_control.teleoperation.operator_input import OperatorInput, check_input
from humanoid_control.transforms import from_pose, inverse, planar, rotation_of_vector, rotation_vector, to_pose, yaw_of
from humanoid_control.types import FRAME_BASE_FOOTPRINT, BaseEstimate, RobotState, WholeBodyTarget
from humanoid_control.whole_body_control.controller import standing_posture

TIMEOUT_S = 0.1  # without input, from which on the robot holds
SLACK_S = 0.02  # by which what is newest may be ahead of the clock
RAMP_S = 0.5  # from no speed to all of it, when input comes (again)
WORKSPACE = np.array([[0.05, 0.75], [-0.75, 0.75], [0.10, 1.60]])  # m before, beside and above where it stands, of hands
LEASH, TURN_LEASH = 0.015, 0.10  # m, rad that a hand is led ahead of the ghost's, which is at its limits then
IK_GAIN, IK_DAMPING, JOINT_SPEED_SHARE = 0.3, 0.1, 0.3  # what it cannot reach does not shake it
FASTEST_SHARE = 1.2  # of the speed allowed, that hands may have with the body's motion
BODY_SPEED = (0.15, 0.5)  # m/s of squatting, rad/s of bending
GRIP_MET = 0.1  # of a grip's way, within which the operator's meets what the gripper was told before


@dataclass(frozen=True)
class TeleoperationLimits:
    """How the robot follows.

    Attributes:
        scale: m of the robot's hand for each m of the operator's.
        hand_speed, hand_acceleration: m/s, m/s^2, where it stands; with the body's own motion hands may be 1.4 times as fast.
        turn_speed, turn_acceleration: rad/s, rad/s^2, of hands.
        quickness: 1/s, how fast a hand makes up for its distance.
        walk: (forward, left, turning) m/s, m/s, rad/s at full stick.
        walk_acceleration: the same, a second.
        opening: m between the pads of an open gripper.
        grip_force: N.
    """

    scale: float = 1.0
    hand_speed: float = 0.6
    hand_acceleration: float = 4.0
    turn_speed: float = 2.0
    turn_acceleration: float = 12.0
    quickness: float = 10.0
    walk: tuple[float, float, float] = (0.35, 0.14, 0.6)
    walk_acceleration: tuple[float, float, float] = (0.6, 0.4, 1.5)
    opening: float = 0.09
    grip_force: float = 20.0


class Retargeting:
    """Makes targets of an operator's input.

    Args:
        model: the robot.
        limits: how it follows.
        period_s: between calls of `target`.

    Attributes:
        holds: why it holds: nothing came for `TIMEOUT_S`; empty while it follows.
    """

    def __init__(self, model: RobotModel, limits: TeleoperationLimits | None = None, *, period_s: float = 0.02) -> None:
        self.limits, self._period_s, self.holds = limits or TeleoperationLimits(), period_s, "nothing came yet"
        weights = np.array([[10.0, 10, 10, 3, 3, 3]] * 2 + [[100.0] * 6] * 2 + [[0, 0, 0, 0.1, 0.3, 0.1], [0, 0, 3.0, 3.0, 0.1, 10.0]])
        tasks = IkTasks(frame_weights=weights, required=np.array([True, True, True, True, False, False]))
        self._ik = InverseKinematics(model, tasks, IkOptions(dt_s=period_s, gain=IK_GAIN, error_damping=IK_DAMPING, velocity_scale=JOINT_SPEED_SHARE,
                                                             base_velocity_limit=BODY_SPEED))  # fmt: skip
        self._posture = standing_posture(model)
        self._model, self._limbs = model, LimbKinematics(model)
        self._given: OperatorInput | None = None

    def begin(self, state: RobotState, estimate: BaseEstimate, openings: np.ndarray | None = None) -> None:
        """Begins from where the robot is; what came before counts no more.

        Args:
            state, estimate: of now.
            openings: (2,) m that the grippers were told last; None: as they are measured, where nobody told them.
        """
        self._ghost = np.concatenate([to_pose(footprint_from_base(estimate)), state.joint_positions])
        # Its feet stand where they are put: it is the body that is back or ahead of them.
        between = np.mean([sole[:2, 3] for sole in self._limbs.soles(self._ghost)], axis=0)
        self._ghost[:2] = [SOLES_AHEAD, 0.0] - between
        self._followed = list(self._limbs.hands(self._ghost))
        told = state.gripper_openings if openings is None else openings
        self._openings = np.clip(np.asarray(told, float), 0.0, self.limits.opening)
        self._off_grip: list[float | None] = [0.0, 0.0]  # m of the operator's grip off what was told before; None: it has met that
        self._stand()
        self._asked_s = -math.inf
        self._given, self.holds = None, "nothing came yet"

    def _stand(self) -> None:
        self._walk, self._ramp, self._speed = np.zeros(3), 0.0, np.zeros((2, 6))
        self._anchors: list[tuple[np.ndarray, np.ndarray] | None] = [None, None]

    def take(self, given: OperatorInput) -> None:
        """Takes what the operator does now; what is a little older than the last is left out.

        Raises:
            TargetError: it is no input.
        """
        check_input(given)
        if self._given is None or not 0.0 < self._given.stamp_s - given.stamp_s < 1.0:  # older by more: of another clock
            self._given = given

    def target(self, now_s: float) -> WholeBodyTarget:
        """What the whole body shall do now; to be asked every `period_s`.

        Args:
            now_s: on the robot's clock.
        """
        given, limits = self._given, self.limits
        if not -SLACK_S <= now_s - self._asked_s <= TIMEOUT_S:  # nobody asked for a while, or the clock is another: it stood meanwhile
            self._stand()
        self._asked_s = now_s
        age_s = now_s - given.stamp_s if given is not None else math.inf
        alive = -SLACK_S <= age_s <= TIMEOUT_S
        self.holds = "" if alive else "nothing came yet" if given is None else f"nothing came for {age_s:.2f} s"
        lost = [name for name, hand in zip(("left", "right"), given.hands) if hand.clutch and hand.pose is None] if alive else []
        if lost:
            self.holds = f"the {' and '.join(lost)} hand is held, but not tracked"
        self._ramp = min(self._ramp + self._period_s / RAMP_S, 1.0) if alive else 0.0
        for side in (0, 1):
            self._follow(side, self._wanted(side, given if alive else None))
        wanted = np.array(limits.walk) * given.walk * self._ramp if alive and given.drive else np.zeros(3)
        most = self._period_s * np.array(limits.walk_acceleration) * (1.0 if alive else 3.0)  # a hold is a quick stop
        self._walk = self._walk + np.clip(wanted - self._walk, -most, most)
        if any(anchor is not None for anchor in self._anchors) or self._speed.any():
            self._step_ghost()
        base = from_pose(self._ghost[:7])
        footprint_from_world = inverse(planar(*base[:2, 3], yaw_of(base)))
        posture = BodyPosture.of(self._model, self._ghost)
        return WholeBodyTarget(
            stamp_s=now_s, frame=FRAME_BASE_FOOTPRINT, base_velocity=self._walk.copy(),
            hand_poses=np.array([to_pose(footprint_from_world @ pose) for pose in self._limbs.hands(self._ghost)]), hand_active=np.ones(2, bool), hand_velocities=self._speed.copy(),
            torso_pitch=posture.torso_pitch, pelvis_height=posture.pelvis_height,
            gripper_openings=self._openings.copy(), gripper_forces=np.full(2, limits.grip_force),
        )  # fmt: skip

    def _wanted(self, side: int, given: OperatorInput | None) -> np.ndarray | None:
        """(4, 4) where a held hand is wanted: it goes with the operator's from where both were when the clutch was closed."""
        hand = given.hands[side] if given is not None else None
        if hand is None or not hand.clutch or hand.pose is None:
            self._anchors[side] = None
            if hand is not None and not hand.clutch:  # a grip under way goes on after a dropout
                self._off_grip[side] = 0.0
            return None
        if self._anchors[side] is None:
            self._anchors[side] = np.array(hand.pose, float), self._followed[side].copy()
        operator, robot = self._anchors[side]
        wanted = robot.copy()
        wanted[:3, 3] += self.limits.scale * (hand.pose[:3, 3] - operator[:3, 3])
        wanted[:3, 3] = np.clip(wanted[:3, 3], *WORKSPACE.T)
        wanted[:3, :3] = hand.pose[:3, :3] @ operator[:3, :3].T @ robot[:3, :3]
        self._grip(side, (1.0 - hand.grip) * self.limits.opening)
        return wanted

    def _grip(self, side: int, opening: float) -> None:
        """Takes a gripper to an opening in m, once the operator's grip has met or passed what it was told before the clutch closed.

        Who takes over a hand that holds something, with fingers off the trigger, does not drop it.
        """
        off, before = opening - self._openings[side], self._off_grip[side]
        if before is not None:
            has_met = abs(off) <= GRIP_MET * self.limits.opening or off * before < 0.0
            self._off_grip[side] = None if has_met else off
        if self._off_grip[side] is None:
            most = self._period_s * 0.3  # m/s
            self._openings[side] += np.clip(off, -most, most)

    def _follow(self, side: int, wanted: np.ndarray | None) -> None:
        """Brings a hand towards where it is wanted, or to a stand, with bounded speed and acceleration."""
        limits, pose, held = self.limits, self._followed[side], wanted is not None
        wanted = wanted if held else pose
        off = np.concatenate([wanted[:3, 3] - pose[:3, 3], rotation_vector(wanted[:3, :3] @ pose[:3, :3].T)])
        for part, fastest, hardest in ((slice(0, 3), limits.hand_speed, limits.hand_acceleration),
                                       (slice(3, 6), limits.turn_speed, limits.turn_acceleration)):  # fmt: skip
            # Never faster than it could still brake on what is left.
            distance = float(np.linalg.norm(off[part]))
            most = min(fastest * self._ramp, limits.quickness * distance, math.sqrt(1.6 * hardest * distance)) if held else 0.0
            speed = off[part] * (most / max(distance, 1e-9))
            change = speed - self._speed[side, part]
            step = hardest * self._period_s * (1.0 if held else 2.0)
            self._speed[side, part] += change * min(1.0, step / max(float(np.linalg.norm(change)), 1e-9))
            if most == 0.0 and np.linalg.norm(self._speed[side, part]) < 1e-9:
                self._speed[side, part] = 0.0
        pose[:3, 3] += self._period_s * self._speed[side, :3]
        pose[:3, :3] = rotation_of_vector(self._period_s * self._speed[side, 3:]) @ pose[:3, :3]

    def _step_ghost(self) -> None:
        solution = self._ik.step(self._ghost, reaching_targets(self._followed, self._posture, self._speed))
        # What would take a hand faster than it may go is done in part: the whole body's motion counts.
        before, after = self._ghost, solution.configuration
        places = self._limbs.hands(self._ghost)
        self._ghost = after
        gone = max(float(np.linalg.norm(new[:3, 3] - old[:3, 3])) for new, old in zip(self._limbs.hands(self._ghost), places))
        share = FASTEST_SHARE * self.limits.hand_speed * self._period_s / max(gone, 1e-9)
        if share < 1.0:
            self._ghost = pin.interpolate(self._model.pinocchio_model, before, after, share)
        for followed, placed in zip(self._followed, self._limbs.hands(self._ghost)):
            ahead, turned = followed[:3, 3] - placed[:3, 3], rotation_vector(followed[:3, :3] @ placed[:3, :3].T)
            followed[:3, 3] = placed[:3, 3] + ahead * min(1.0, LEASH / max(float(np.linalg.norm(ahead)), 1e-9))
            followed[:3, :3] = rotation_of_vector(turned * min(1.0, TURN_LEASH / max(float(np.linalg.norm(turned)), 1e-9))) @ placed[:3, :3]
