"""What the student knows of its tote by its own eyes: sightings of corners, and a belief that goes with odometry and hands.

The same functions make it for recording, training and the robot. A step is 0.1 s, and takes the newest image of each camera that came
since the last one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.transforms import from_pose, inverse, planar, rotation_z, yaw_of
from perception.keypoints import CORNERS, tote_corners
from perception.tracking import hands
from perception.tracking.odometry_drift import HEIGHT, POSITION, TURN_SHARE, WALKING_SPEED, YAW
from perception.tracking.tote_tracker import CHANGE_OF_HANDS, HELD_NOISE, NEAR_HANDS_NOISE, STANDING_NOISE
from policies.learned.pose_space import FINGERS_FORCE, FINGERS_OPEN, HAND_SIZE, HANDS, KIND, SOURCE_PLACE, STEP_S
from policies.learned.rotations import from_columns

CAMERAS = ("head_camera", "head_forward_camera", "left_wrist_camera", "right_wrist_camera")  # the student's, in the order of a frame
PRIOR = np.array([0.08, 0.12, 0.05, 0.20])  # m, m, m, rad along the tote's axes: how badly the factory's file alone tells where it stands
# Of one camera's sighting, all in `base_footprint` of the step: whether there is one, its age in s, how likely there is a tote at all;
# where the camera was (rows of a 3 x 4 matrix; while a tote is held, as seen from the tote as the hands have it now); then of each of the
# corners its ray (x / z, y / z), the ray's deviation, whether it is in sight, and in the crop.
SEEN, AGE, PRESENCE, CAMERA = 0, 1, 2, slice(3, 15)
RAYS, DEVIATIONS = slice(15, 15 + 2 * CORNERS), slice(15 + 2 * CORNERS, 15 + 4 * CORNERS)
VISIBLE, INSIDE = slice(DEVIATIONS.stop, DEVIATIONS.stop + CORNERS), slice(DEVIATIONS.stop + CORNERS, DEVIATIONS.stop + 2 * CORNERS)
SIGHTING_SIZE = INSIDE.stop
SIGHTING_NAMES = (
    "seen", "age", "presence", *(f"camera_{row}{column}" for row in "xyz" for column in ("x", "y", "z", "at")),
    *(f"ray_{corner}.{axis}" for corner in range(CORNERS) for axis in "xy"), *(f"deviation_{corner}.{axis}" for corner in range(CORNERS) for axis in "xy"),
    *(f"visible_{corner}" for corner in range(CORNERS)), *(f"inside_{corner}" for corner in range(CORNERS)),
)  # fmt: skip
SIGHTINGS_NAMES = tuple(f"{camera}.{name}" for camera in CAMERAS for name in SIGHTING_NAMES)
CONTEXT = ("held", "changes_hands", "walked", "near_hands")  # of a step, what else tells how well the belief still fits
UNITS = np.array([0.05, 0.05, 0.05, 0.10])  # m, m, m, rad that count as one in a belief's covariance
TOLD = ("log_x", "log_y", "log_z", "log_yaw", "unseen")  # what the trunk is told of a belief, beside the pose
LONGEST_UNSEEN_S = 5.0
CORNERS_OF_KIND = np.stack([tote_corners(carrier) for carrier in LOAD_CARRIERS.values()])  # (K, 8, 3) m
CARRIERS = tuple(LOAD_CARRIERS.values())


@dataclass(frozen=True)
class Belief:
    """Where the tote is believed to be.

    Attributes:
        mean: (4,) x, y, z in m and yaw in rad, in `odom`.
        covariance: (4, 4) of it along the tote's axes, in squares of `UNITS`.
        hidden: (H,) what the network remembers of sightings.
        deviation: (4,) m, m, m, rad along the tote's axes that it says it is off by.
        unseen_s: s since a sighting was last taken in; infinite before the first.
    """

    mean: np.ndarray
    covariance: np.ndarray
    hidden: np.ndarray
    deviation: np.ndarray
    unseen_s: float = np.inf

    @classmethod
    def at(cls, odom_from_tote: np.ndarray, hidden: int) -> Belief:
        """One that nothing but the factory's file is known of.

        Args:
            odom_from_tote: (4, 4).
            hidden: how many numbers the network remembers.
        """
        mean = np.append(odom_from_tote[:3, 3], yaw_of(odom_from_tote))
        return cls(mean, np.diag((PRIOR / UNITS) ** 2), np.zeros(hidden), PRIOR.copy())

    @property
    def pose(self) -> np.ndarray:
        """(4, 4) odom_from_tote."""
        return planar(*self.mean[:2], self.mean[3], self.mean[2])


@dataclass(frozen=True)
class Posture:
    """What a step knows of the robot.

    Attributes:
        odom_from_footprint: (4, 4).
        grippers: (2, 4, 4) in `odom`.
        openings, forces: (2,) m and N.
    """

    odom_from_footprint: np.ndarray
    grippers: np.ndarray
    openings: np.ndarray
    forces: np.ndarray

    @classmethod
    def of_state(cls, state: np.ndarray, odom_from_footprint: np.ndarray) -> Posture:
        """Of the state (94,) of `BodySense`, as robot and demonstrations have it."""
        numbers = np.asarray(state[HANDS], float).reshape(2, HAND_SIZE)
        grippers = np.tile(np.eye(4), (2, 1, 1))
        grippers[:, :3, 3] = numbers[:, :3]
        grippers[:, :3, :3] = [from_columns(columns) for columns in numbers[:, 3:]]
        return cls(odom_from_footprint, odom_from_footprint @ grippers, np.asarray(state[FINGERS_OPEN], float), np.asarray(state[FINGERS_FORCE], float))

    @property
    def hands(self) -> np.ndarray:
        """(4, 4) in `odom`, the frame that a tote goes with that both hold."""
        return hands.frame_of_hands(self.grippers)

    @property
    def feels(self) -> bool:
        """Whether a hand has anything between its fingers."""
        return bool((self.forces > hands.HOLD_FORCE).any())

    def grips(self, *, already: bool) -> bool:
        """Whether both hands have something between their fingers."""
        force = hands.LET_GO_FORCE if already else hands.HOLD_FORCE
        return bool((self.forces > force).all() and (self.openings > hands.CLOSED_OPENING).all() and (self.openings < hands.WIDEST_OPENING).all())


class Holding:
    """Whether the hands hold the tote, and what a step does to a belief: where to it moves it, and what it adds to its variance."""

    def __init__(self) -> None:
        self.is_held = False
        self._last: Posture | None = None

    def step(self, posture: Posture, odom_from_tote: np.ndarray, kind: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Goes on by a step.

        Args:
            posture: now.
            odom_from_tote: (4, 4) as believed a step ago.
            kind: of the tote, by the order of `LOAD_CARRIERS`.

        Returns:
            (4, 4) how the tote was moved in `odom`, (4,) variances in squares of `UNITS` along its axes, and the step's `CONTEXT` (4,).
        """
        last, was_held, carrier = self._last or posture, self.is_held, CARRIERS[kind]
        moved = posture.hands @ inverse(last.hands) if was_held else np.eye(4)
        tote = moved @ odom_from_tote
        near = hands.nearest_hand(posture.grippers, tote[:3, 3]) < hands.NEAR + carrier.length / 2
        self.is_held = posture.grips(already=was_held) and (was_held or hands.grip_distance(posture.grippers, tote, carrier) < hands.GRIP_TOLERANCE)
        changes, way = self.is_held != was_held, _walked(last, posture)
        variance = STEP_S * (HELD_NOISE if self.is_held else STANDING_NOISE + near * NEAR_HANDS_NOISE) + changes * CHANGE_OF_HANDS
        if not self.is_held:
            arm = float(np.linalg.norm(tote[:2, 3] - posture.odom_from_footprint[:2, 3]))
            across = POSITION**2 + (YAW * arm) ** 2
            variance = variance + way * np.array([across, across, HEIGHT**2, YAW**2])
        self._last = posture
        return moved, variance / UNITS**2, np.array([self.is_held, changes, np.sqrt(way), near], float)

    def since(self, posture: Posture) -> np.ndarray:
        """(4, 4) how the tote was moved in `odom` since the last step."""
        return posture.hands @ inverse(self._last.hands) if self.is_held else np.eye(4)


def _walked(before: Posture, after: Posture) -> float:
    """m walked within a step; swaying on the spot is none."""
    moved = inverse(before.odom_from_footprint) @ after.odom_from_footprint
    way = float(np.hypot(*moved[:2, 3])) + TURN_SHARE * abs(yaw_of(moved))
    return way if way > WALKING_SPEED * STEP_S else 0.0


def place_of(goal: np.ndarray, odom_from_footprint: np.ndarray) -> np.ndarray:
    """(4, 4) odom_from_tote where the factory's file has the order's tote, on its surface as that is seen.

    Args:
        goal: (G,) of `OrderSense`.
        odom_from_footprint: (4, 4).
    """
    x, y, z, cos, sin = goal[SOURCE_PLACE]
    return odom_from_footprint @ planar(x, y, np.arctan2(sin, cos), z)


def kind_of(goal: np.ndarray) -> int:
    """Which kind of tote an order (G,) of `OrderSense` is about, by the order of `LOAD_CARRIERS`."""
    return int(np.argmax(goal[KIND]))


def cell_inputs(sightings: np.ndarray, odom_from_footprint: np.ndarray, belief_pose: np.ndarray) -> np.ndarray:
    """(C, SIGHTING_SIZE) float32 sightings with their cameras in the frame of the believed tote, as the network takes them.

    Args:
        sightings: (C, SIGHTING_SIZE) of one step.
        odom_from_footprint: (4, 4).
        belief_pose: (4, 4) odom_from_tote.
    """
    told = np.array(sightings, float)
    tote_from_footprint = inverse(belief_pose) @ odom_from_footprint
    cameras = told[:, CAMERA].reshape(-1, 3, 4)
    turned = tote_from_footprint[:3, :3] @ cameras
    turned[:, :, 3] += tote_from_footprint[:3, 3]
    told[:, CAMERA] = turned.reshape(-1, 12)
    return told.astype(np.float32)


def moved_mean(mean: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """(4,) a belief's mean (4,) after the tote was moved in `odom`, (4, 4)."""
    return np.append(moved[:3, :3] @ mean[:3] + moved[:3, 3], mean[3] + yaw_of(moved))


def corrected_mean(mean: np.ndarray, correction: np.ndarray) -> np.ndarray:
    """(4,) a belief's mean (4,) with a correction (4,) in m and rad along the tote's axes."""
    return np.append(mean[:3] + rotation_z(mean[3]) @ correction[:3], mean[3] + correction[3])


def told_of(deviation: np.ndarray, unseen_s: np.ndarray) -> np.ndarray:
    """(..., 5) float32 `TOLD`, what the trunk is told of a belief.

    Args:
        deviation: (..., 4) m, m, m, rad.
        unseen_s: (...) s.
    """
    unseen = np.minimum(unseen_s, LONGEST_UNSEEN_S) / LONGEST_UNSEEN_S
    return np.concatenate([0.3 * np.log(deviation / (0.1 * UNITS)), np.asarray(unseen)[..., None]], axis=-1).astype(np.float32)


def footprint_of(pose: np.ndarray) -> np.ndarray:
    """(4, 4) odom_from_footprint of a base's pose (7,)."""
    base = from_pose(np.asarray(pose, float))
    return planar(*base[:2, 3], yaw_of(base))

