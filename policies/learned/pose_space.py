"""What a policy on poses is given and says: inputs from body, order, way, the tote's pose and its own memory; outputs as chunks.

The same functions make the inputs of training, evaluation and the robot, over any leading dimensions. Everything is in
`base_footprint` of the instant of the observation. A tote looks the same after half a turn: of its two equal poses the one
is taken that faces as its station does, from whose front it is fetched, and once it is carried the one that faces as the robot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from humanoid_control.control_loop import BASE_VELOCITY_LIMIT, HAND_REACH, PELVIS_HEIGHT_RANGE, TORSO_PITCH_RANGE
from humanoid_control.mission.load_carriers import LOAD_CARRIERS
from humanoid_control.mission.reach import HEAVY, bearable_reach, pull_distance, pull_reach, stance_distance
from humanoid_control.transforms import rotation_of_vector, to_pose
from humanoid_control.types import FRAME_BASE_FOOTPRINT, FRAME_ODOM, WholeBodyTarget
from policies.learned import action_space
from policies.learned.rotations import SIZE as ROTATION_SIZE
from policies.scripted.navigation import FACE_FORWARD_BEYOND

STEPS, STEP_S = 12, 0.1  # of a chunk
REPLAN_S = 0.5  # s between two chunks: long enough for a motion that begins slowly to show, or each chunk would begin it again
NEAR = 0.05  # m, within which distances are told once more, as shares of it: millimetres decide at the lip
TURNED = 0.1  # rad, the same of headings
AT_SOURCE = 0.5  # m from where the file has it, within which a tote is where it was
JOINTS = 29
WAIST, UPPER_VELOCITIES = slice(12, 15), slice(JOINTS + 12, 2 * JOINTS)  # in the state: of the joints above the legs
HANDS = slice(72, 90)  # in the state: position and two columns, left and right
HAND_SIZE = 3 + ROTATION_SIZE
SOURCE_SURFACE, SOURCE_PLACE, GOAL_PLACE = slice(0, 6), slice(6, 11), slice(18, 23)  # in the goal: x, y, z, cosine and sine of the heading; the front edge's x
GOAL_SURFACE = slice(11, 17)
KIND = slice(23, 23 + len(LOAD_CARRIERS))
SOURCE_ROOM, GOAL_ROOM = slice(KIND.stop, KIND.stop + 2), slice(KIND.stop + 2, KIND.stop + 4)  # free height, room for legs
FINGERS_OPEN = slice(2 * JOINTS, 2 * JOINTS + 2)  # in the state: m between pads
FINGERS_FORCE = slice(FINGERS_OPEN.stop, FINGERS_OPEN.stop + 2)  # in the state: N
HOLDING_BELOW = 0.05  # m between pads, of hands that hold something, or are about to
MASSES = slice(90, 92)  # in the state: kg in the hands
LIFTED = 0.3  # kg in both, from which a tote is carried
ELAPSED_S = (0.5, 4.0)  # s in a sub-task, of which shares up to 1 are told
VELOCITY_SHARE = 0.2  # what joint velocities are multiplied by

# Of a chunk's step: whether the base walks and whether hands have a task (logits), then velocity, both hands' moves from where
# they are and their turns (rotation vectors), pitch and height of the body, openings.
MOVING, ACTIVE = 0, 1
VELOCITY = slice(2, 5)
MOVES = (slice(5, 8), slice(8, 11))
TURNS = (slice(11, 14), slice(14, 17))
PITCH, HEIGHT = 17, 18
OPENINGS = slice(19, 21)
STEP_SIZE = 21
SCALES = np.ones(STEP_SIZE)  # of a step's numbers: what counts as one unit of error
SCALES[VELOCITY] = 0.1, 0.05, 0.2
for _side in (0, 1):
    SCALES[MOVES[_side]], SCALES[TURNS[_side]] = 0.03, 0.1
SCALES[PITCH], SCALES[HEIGHT], SCALES[OPENINGS] = 0.05, 0.02, 0.02
WIDEST = 0.09  # m between the pads
FARTHEST = 0.95 * HAND_REACH  # m, of a hand's target from the base
STILL = np.array([0.0, 0.0, 0.0])

# What inputs begin with, in m and unit vectors: what hands' moves are worked out from. Hands as of `reference_hands`.
HANDS_HERE, HANDS_IN_TOTE, TOTE_IN_GOAL = slice(0, 6), slice(6, 12), slice(12, 15)
TOTE_HEADING, GOAL_HEADING = slice(15, 17), slice(17, 19)


@dataclass(frozen=True)
class Memory:
    """What a policy remembers of itself.

    Attributes:
        subtask: number of the sub-task it was in.
        elapsed_s: for how long.
    """

    subtask: int
    elapsed_s: float


def reference_hands(action: np.ndarray, state: np.ndarray) -> np.ndarray:
    """(..., 18) what hands' moves are told from, as in the state: where hands are wanted now while they hold, else where they are.

    What is held must not sink by a little with each chunk; empty hands that are a little off must not go on resting there.

    Args:
        action: (..., 29) of `action_space`, what control follows.
        state: (..., 94) of `BodySense`.
    """
    wanted = action[..., action_space.HANDS[0].start : action_space.HANDS[1].stop]
    active = (action[..., action_space.HANDS_ACTIVE] >= action_space.ACTIVE_FROM).all(axis=-1, keepdims=True)
    holding = (state[..., FINGERS_OPEN] < HOLDING_BELOW).all(axis=-1, keepdims=True)
    return np.where(active & holding, wanted, state[..., HANDS])


def pose_inputs(
    state: np.ndarray, reference: np.ndarray, goal: np.ndarray, way: np.ndarray, tote: np.ndarray, subtask: np.ndarray, elapsed_s: np.ndarray,
    *, subtasks: int,
) -> np.ndarray:  # fmt: skip
    """(..., D) float32 what the network is given.

    Args:
        state: (..., 94) of `BodySense`.
        reference: (..., 18) of `reference_hands`.
        goal: (..., G) of `OrderSense`.
        way: (..., 6) of `WaySense`.
        tote: (..., 9) position in m and two columns of the rotation of the order's tote, in `base_footprint`.
        subtask: (...) number of the sub-task that the policy was in a step ago.
        elapsed_s: (...) for how long.
        subtasks: how many there are.
    """
    hands = state[..., HANDS].reshape(*state.shape[:-1], 2, HAND_SIZE)
    # Of the joints, the waist's and how fast arms move: hands say the rest, and legs are another's matter.
    body = np.concatenate([state[..., WAIST], VELOCITY_SHARE * state[..., UPPER_VELOCITIES], state[..., FINGERS_OPEN] / NEAR,
                           state[..., FINGERS_FORCE] / 20.0, state[..., FINGERS_FORCE.stop : MASSES.stop]], axis=-1)  # fmt: skip
    place, source = goal[..., GOAL_PLACE], goal[..., SOURCE_PLACE]
    cos, sin = _tote_heading(goal, tote)
    tote_in_goal = _turned(tote[..., :3] - place[..., :3], place[..., 3], place[..., 4])
    tote_in_source = _behind_edge(tote, goal[..., SOURCE_SURFACE])
    hands_in_tote = _turned(hands[..., :3] - tote[..., None, :3], cos[..., None], sin[..., None])
    hands_in_goal = _turned(hands[..., :3] - place[..., None, :3], place[..., None, 3], place[..., None, 4])
    columns = hands[..., 3:].reshape(*hands.shape[:-1], 2, 3)
    turned_in_tote = _turned(columns, cos[..., None, None], sin[..., None, None]).reshape(*hands.shape[:-2], 2 * ROTATION_SIZE)
    told_from = reference.reshape(hands.shape)
    told_from_in_tote = _turned(told_from[..., :3] - tote[..., None, :3], cos[..., None], sin[..., None])
    told = [_flat(told_from[..., :3]), _flat(told_from_in_tote), tote_in_goal, cos[..., None], sin[..., None], place[..., 3:5], turned_in_tote,
            body, np.clip(goal, -3.0, 3.0), np.clip(way, -3.0, 3.0), _ahead(way[..., :3], source), _ahead(way[..., 3:], place), np.clip(tote[..., :3], -2.0, 2.0)]  # fmt: skip
    for offset in (tote_in_goal, tote_in_source, _flat(hands_in_tote), _flat(hands_in_goal)):
        told += [np.clip(offset, -1.5, 1.5), np.clip(offset / NEAR, -2.0, 2.0)]
    off = 2 * (cos * place[..., 4] - sin * place[..., 3]) * (cos * place[..., 3] + sin * place[..., 4])  # sine of twice the angle
    told += [np.clip(off[..., None] / scale, -2.0, 2.0) for scale in (2 * TURNED, 1.0)]
    at_source, at_goal = _stance_distances(state, goal, tote)
    told += [_stood_before(tote[..., :2], cos, sin, *at_source), _stood_before(place[..., :2], place[..., 3], place[..., 4], *at_goal)]
    told += [_flat(_fine(hands_in_tote)), np.eye(subtasks)[subtask], *(np.clip(elapsed_s / s, 0.0, 1.0)[..., None] for s in ELAPSED_S)]
    return np.concatenate(told, axis=-1).astype(np.float32)


def stances(state: np.ndarray, goal: np.ndarray, tote: np.ndarray) -> np.ndarray:
    """(..., 3, 3) x, y in m and heading in `base_footprint` of where to stand to grip the tote, to pull it, and to set it down.

    Args:
        state, goal, tote: as of `pose_inputs`.
    """
    (grip, pull), (set_down, _) = _stance_distances(state, goal, tote)
    cos, sin = _tote_heading(goal, tote)
    place = goal[..., GOAL_PLACE]
    return np.stack([
        np.stack([x - distance * cos_, y - distance * sin_, np.arctan2(sin_, cos_)], axis=-1)
        for x, y, cos_, sin_, distance in ((tote[..., 0], tote[..., 1], cos, sin, grip), (tote[..., 0], tote[..., 1], cos, sin, pull),
                                           (*np.moveaxis(place, -1, 0)[[0, 1, 3, 4]], set_down))
    ], axis=-2)  # fmt: skip


def way_to_pull(goal: np.ndarray, tote: np.ndarray) -> np.ndarray:
    """(...) m to pull the tote to the edge of its surface; arguments as of `pose_inputs`."""
    bottom, behind = tote[..., 2], _behind_edge(tote, goal[..., SOURCE_SURFACE])[..., 0]
    length, width = _sizes(goal)
    return pull_distance(behind, width, goal[..., SOURCE_ROOM][..., 1], bearable_reach(length, HEAVY, bottom))


def too_far_to_lift(goal: np.ndarray, tote: np.ndarray) -> np.ndarray:
    """(...) m that the tote is further away than the waist bears it, from where the robot stood before it bent; arguments as of `pose_inputs`."""
    length, _ = _sizes(goal)
    return tote[..., 0] - bearable_reach(length, HEAVY, tote[..., 2])


def _tote_heading(goal: np.ndarray, tote: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(...) cosine and sine of the tote's heading, of two equal ones that which faces as its station does while it is there, and later
    as the robot does."""
    cos, sin, source = tote[..., 3], tote[..., 4], goal[..., SOURCE_PLACE]
    there = np.hypot(tote[..., 0] - source[..., 0], tote[..., 1] - source[..., 1]) < AT_SOURCE
    faces = np.where(there, cos * source[..., 3] + sin * source[..., 4], cos)
    length = np.maximum(np.hypot(cos, sin), 1e-6) * np.where(faces < 0, -1.0, 1.0)
    return cos / length, sin / length


def _behind_edge(place: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """(..., 3) m that a place (..., 3 or more) is behind the front edge of a surface (..., 6), beside its middle, and above it."""
    at = _turned(place[..., :3] - surface[..., :3], surface[..., 3], surface[..., 4])
    at[..., 0] -= surface[..., 5]
    return at


def _stance_distances(state: np.ndarray, goal: np.ndarray, tote: np.ndarray) -> tuple[tuple, tuple]:
    """For the tote and for its place: (...) each, m before its middle where it is handled, and where it is pulled from."""
    place = goal[..., GOAL_PLACE]
    carried = state[..., MASSES].sum(axis=-1)
    mass = np.where(carried > LIFTED, carried, HEAVY)
    return (_stances(tote[..., 2], _behind_edge(tote, goal[..., SOURCE_SURFACE])[..., 0], HEAVY, goal, SOURCE_ROOM),
            _stances(place[..., 2], _behind_edge(place, goal[..., GOAL_SURFACE])[..., 0], mass, goal, GOAL_ROOM))  # fmt: skip


def _turned(offset: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """(..., 3) an offset seen from what has this heading."""
    x, y = offset[..., 0], offset[..., 1]
    return np.stack([cos * x + sin * y, cos * y - sin * x, offset[..., 2]], axis=-1)


def _ahead(way: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(..., 8) where a way (..., 3) to a place (..., 5) goes from here, how far it still is, and where to face: ahead, at its end as
    the place does."""
    distance = np.maximum(np.hypot(way[..., 0], way[..., 1]), 1e-3)
    bearing, facing = np.arctan2(way[..., 1], way[..., 0]), np.arctan2(end[..., 4], end[..., 3])
    turn = np.where(way[..., 2] > FACE_FORWARD_BEYOND, bearing, facing)
    figures = [way[..., 0] / distance, way[..., 1] / distance, distance / 0.4, way[..., 2] / FACE_FORWARD_BEYOND, way[..., 2] / 0.2,
               turn / 1.5, turn / 0.3, np.where(way[..., 2] > FACE_FORWARD_BEYOND, 1.0, -1.0)]  # fmt: skip
    return np.clip(np.stack(figures, axis=-1), -2.0, 2.0)


def _stances(bottom: np.ndarray, behind_edge: np.ndarray, mass: np.ndarray | float, goal: np.ndarray, room: slice) -> tuple:
    """(...) each: m before the middle of a tote from where it is handled, and from where it is pulled. See `mission.reach`."""
    length, width = _sizes(goal)
    legs = goal[..., room][..., 1]
    return tuple(stance_distance(behind_edge, legs, reach) for reach in (bearable_reach(length, mass, bottom), pull_reach(width, bottom)))


def _sizes(goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(...) m, length and width of the tote."""
    length, width = (goal[..., KIND] @ np.array([getattr(carrier, of) for carrier in LOAD_CARRIERS.values()]) for of in ("length", "width"))
    return length, width


def _stood_before(place: np.ndarray, cos: np.ndarray, sin: np.ndarray, stance: np.ndarray, pulling: np.ndarray) -> np.ndarray:
    """(..., 9) where the base stands before a place (..., 2) of this heading, by finer and finer measures near where it should."""
    ahead, left = -(cos * place[..., 0] + sin * place[..., 1]), sin * place[..., 0] - cos * place[..., 1]
    figures = [(ahead + stance) / 0.5, (ahead + stance) / 0.1, (ahead + pulling) / 0.1, left / 0.2, left / NEAR, sin / TURNED, sin / 0.5,
               np.where(cos < 0, -1.0, 1.0), stance / NEAR - 8.0]  # fmt: skip
    return np.clip(np.stack(figures, axis=-1), -2.0, 2.0)


def _flat(offsets: np.ndarray) -> np.ndarray:
    return offsets.reshape(*offsets.shape[:-2], -1)


def _fine(offsets: np.ndarray) -> np.ndarray:
    """Centimetres, as waves: what a lip's thickness is to a hand."""
    phases = 2 * np.pi * offsets / (2 * NEAR)
    return np.concatenate([np.sin(phases), np.cos(phases)], axis=-1)


def encode_chunk(actions: np.ndarray, footprints: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(..., T, STEP_SIZE) the coming actions as chunks.

    Args:
        actions: (..., T, 29) of `action_space`, each in `base_footprint` of its own instant, the first of now.
        footprints: (..., T, 3) x, y and heading of `base_footprint` at those instants, in any frame that stays.
        reference: (..., 18) of now, of `reference_hands`.
    """
    chunk = np.zeros((*actions.shape[:-1], STEP_SIZE))
    chunk[..., VELOCITY] = actions[..., action_space.BASE_VELOCITY]
    chunk[..., MOVING] = (actions[..., action_space.BASE_VELOCITY] != 0.0).any(axis=-1)
    chunk[..., ACTIVE] = (actions[..., action_space.HANDS_ACTIVE] >= action_space.ACTIVE_FROM).all(axis=-1)
    chunk[..., PITCH], chunk[..., HEIGHT] = actions[..., action_space.TORSO_PITCH], actions[..., action_space.PELVIS_HEIGHT]
    chunk[..., OPENINGS] = actions[..., action_space.GRIPPER_OPENINGS]
    # While the base stands, hands are meant to stay where they are on the floor, however the base sways.
    turn = _turns(footprints[..., 2] - footprints[..., :1, 2])  # (..., T, 3, 3)
    away = footprints[..., :2] - footprints[..., :1, :2]
    away = np.concatenate([away, np.zeros_like(away[..., :1])], axis=-1)
    moved = np.einsum("...ij,...i->...j", _turns(footprints[..., :1, 2]), away)
    carried = chunk[..., MOVING] > 0.5
    turn[carried], moved[carried] = np.eye(3), 0.0
    active = chunk[..., ACTIVE, None] > 0.5
    for side in (0, 1):
        numbers = actions[..., action_space.HANDS[side]]
        here = reference[..., None, side * HAND_SIZE : (side + 1) * HAND_SIZE]  # (..., 1, 9)
        positions = moved + np.einsum("...ij,...j->...i", turn, numbers[..., :3])
        turns = turn @ matrices_of(numbers[..., 3:]) @ np.swapaxes(matrices_of(here[..., 3:]), -1, -2)
        vectors = Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_rotvec().reshape(positions.shape)
        chunk[..., MOVES[side]] = np.where(active, positions - here[..., :3], 0.0)
        chunk[..., TURNS[side]] = np.where(active, vectors, 0.0)
    return chunk


def matrices_of(columns: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations of two columns each (..., 6), made proper ones."""
    x = columns[..., :3] / np.maximum(np.linalg.norm(columns[..., :3], axis=-1, keepdims=True), 1e-9)
    y = columns[..., 3:] - (x * columns[..., 3:]).sum(axis=-1, keepdims=True) * x
    y /= np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-9)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _turns(angles: np.ndarray) -> np.ndarray:
    """(..., 3, 3) about z."""
    cos, sin, zero = np.cos(angles), np.sin(angles), np.zeros_like(angles)
    return np.stack([cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1.0], axis=-1).reshape(*angles.shape, 3, 3)


def decode_step(step: np.ndarray, reference: np.ndarray, odom_from_footprint: np.ndarray, *, stamp_s: float, gripper_force: float) -> WholeBodyTarget:
    """The target of one step (STEP_SIZE,) of a chunk, in which `MOVING` and `ACTIVE` are likelihoods; within what control takes.

    Args:
        step: as the network says it, or between two steps.
        reference: (18,) at the chunk's observation.
        odom_from_footprint: (4, 4) then.
        stamp_s: of the target.
        gripper_force: N, the most a finger may press.
    """
    moves, active = step[MOVING] > 0.5, bool(step[ACTIVE] > 0.5)
    height = float(np.clip(step[HEIGHT], *PELVIS_HEIGHT_RANGE))
    poses = np.tile([0.0, 0, 0, 0, 0, 0, 1], (2, 1))
    for side in (0, 1):
        if active:
            here = reference[side * HAND_SIZE : (side + 1) * HAND_SIZE]
            pose = np.eye(4)
            away = here[:3] + step[MOVES[side]] - [0.0, 0.0, height]
            pose[:3, 3] = away * min(1.0, FARTHEST / max(np.linalg.norm(away), 1e-6)) + [0.0, 0.0, height]
            pose[:3, :3] = rotation_of_vector(step[TURNS[side]]) @ matrices_of(here[3:])
            poses[side] = to_pose(pose if moves else odom_from_footprint @ pose)
    return WholeBodyTarget(
        stamp_s=stamp_s, frame=FRAME_BASE_FOOTPRINT if moves else FRAME_ODOM,
        base_velocity=np.clip(step[VELOCITY], -BASE_VELOCITY_LIMIT, BASE_VELOCITY_LIMIT) if moves else STILL.copy(), hand_poses=poses, hand_active=np.full(2, active),
        torso_pitch=float(np.clip(step[PITCH], *TORSO_PITCH_RANGE)), pelvis_height=height,
        gripper_openings=np.clip(step[OPENINGS], 0.0, WIDEST), gripper_forces=np.full(2, gripper_force),
    )  # fmt: skip


def footprints_of(base_poses: np.ndarray) -> np.ndarray:
    """(N, 3) x, y and heading of `base_footprint`, from poses (N, 7) of `base_link`."""
    forward = Rotation.from_quat(base_poses[:, 3:]).as_matrix()[:, :2, 0]
    return np.column_stack([base_poses[:, :2], np.arctan2(forward[:, 1], forward[:, 0])])


def tote_numbers(odom_from_footprint: np.ndarray, odom_from_tote: np.ndarray) -> np.ndarray:
    """(9,) position and two columns of a tote in `base_footprint`."""
    tote = np.linalg.solve(odom_from_footprint, odom_from_tote)
    return np.concatenate([tote[:3, 3], tote[:3, :2].T.ravel()])
