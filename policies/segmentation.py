"""Which sub-task it was, told from what hands, grippers and base did: for what a person drove, who says nothing of it.

Two things are certain: when fingers were told to close and to open, and when the base was told to walk. Between a closing and an
opening a tote is held, if something is between the pads and a tote that is seen is near; standing and walking then tell the rest, in
the order in which an order is carried out. Names are those of `policies.subtasks`.

`humanoid episodes segment` writes it into episodes' cards.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from humanoid_control.errors import ConfigurationError
from humanoid_control.standing_body import LimbKinematics
from humanoid_control.recording.card import AUTOMATIC, CARD, Card, Segment
from humanoid_control.recording.episodes import episodes_in
from humanoid_control.recording.errors import RecordingError
from humanoid_control.recording.reading import Recording
from humanoid_control.robot_model import RobotModel
from humanoid_control.ros import topics
from humanoid_control.transforms import from_pose
from perception.ros.poses_from_messages import poses_from_message

RATE_HZ = 50.0
OPERATOR_TIER = 2  # of humanoid_interfaces/PolicyStatus
CLOSING_BELOW, OPENING_ABOVE = 0.035, 0.045  # m that pads are told to be apart
HELD_OPENING = (0.008, 0.035)  # m between pads that have something between them
NEAR_TOTE = 0.45  # m from between the hands to the bottom's middle of a tote that they hold
MOVED, RISEN, ALONG = 0.008, 0.02, 0.03  # m of hands: they have begun to move; have gone up; have gone along the surface
PAUSE_S = 0.35  # of walking: shorter ones are none
CLOSE_BY = 1.0  # m of the base from where it grips or lets go: what it walks there is stepping up
AHEAD = 0.02  # m/s: from here on it walks forward, and not back
SHORTEST_S = 0.1  # of a segment


@dataclass(frozen=True)
class Motion:
    """What is looked at, on one clock; all at `RATE_HZ`.

    Attributes:
        times_s: (T,) on the robot's clock.
        walking: (T,) bool, the base is told to walk.
        forward: (T,) m/s of it.
        closed: (T,) bool, both grippers are told to close.
        openings: (T, 2) m between pads.
        hands: (T, 3) m, the middle between both hands, in `odom`.
        base: (T, 2) m, in `odom`.
        tote: (T,) m from the middle between the hands to the nearest tote that is seen; NaN where none is.
    """

    times_s: np.ndarray
    walking: np.ndarray
    forward: np.ndarray
    closed: np.ndarray
    openings: np.ndarray
    hands: np.ndarray
    base: np.ndarray
    tote: np.ndarray


def motion_of(recording: Recording, model: RobotModel) -> Motion:
    """What was done in an episode.

    Raises:
        RecordingError: no state, estimate or target was recorded.
    """
    states, estimates, targets = (recording.stream(topic) for topic in (topics.ROBOT_STATE, topics.BASE_ESTIMATE, topics.WHOLE_BODY_TARGET))
    for stream in (states, estimates, targets):
        if not len(stream):
            raise RecordingError(f"{recording.folder.name} holds no {stream.name}, so sub-tasks cannot be told")
    begin_s = max(states.stamps_s[0], estimates.stamps_s[0])
    times = np.arange(begin_s, states.stamps_s[-1], 1.0 / RATE_HZ)
    limbs, hands, base, openings = LimbKinematics(model), [], [], []
    for state, estimate in zip(states.newest(times), estimates.newest(times)):
        said, believed = states.message(int(state)), estimates.message(int(estimate))
        odom_from_base = from_pose(np.array([*believed.position, *believed.orientation]))
        left, right = limbs.base_from_hands(np.array(said.joint_positions))
        hands.append((odom_from_base @ (0.5 * (left[:, 3] + right[:, 3])))[:3])
        base.append(believed.position[:2])
        openings.append(said.gripper_openings)
    wanted = targets.messages()
    velocities = np.array([[t.base_velocity.x, t.base_velocity.y, t.base_velocity.z] for t in wanted])
    told = np.array([max(t.gripper_openings) for t in wanted])
    at = targets.newest(times)
    known = at >= 0
    walking = known & (np.abs(velocities[at]) > 1e-6).any(axis=1)
    return Motion(
        times, _without_pauses(walking), np.where(walking, velocities[at, 0], 0.0), _closed(np.where(known, told[at], 1.0)),
        np.array(openings), np.array(hands), np.array(base), _nearest_tote(recording, times, np.array(hands)),
    )  # fmt: skip


def _nearest_tote(recording: Recording, times: np.ndarray, hands: np.ndarray) -> np.ndarray:
    seen = recording.stream(topics.DETECTIONS)
    estimates = recording.stream(topics.BASE_ESTIMATE)
    found = np.full(len(times), np.nan)
    at = seen.newest(times) if len(seen) else np.full(len(times), -1)
    for index in np.unique(at[at >= 0]):
        poses = poses_from_message(seen.message(int(index)))
        if not poses.totes:
            continue
        then = estimates.message(max(int(estimates.newest(np.array([poses.stamp_s]))[0]), 0))
        odom_from_base = from_pose(np.array([*then.position, *then.orientation]))
        places = np.array([(odom_from_base @ tote.base_from_object)[:3, 3] for tote in poses.totes.values()])
        rows = at == index
        found[rows] = np.linalg.norm(hands[rows][:, None] - places, axis=2).min(axis=1)
    return found


def _closed(openings: np.ndarray) -> np.ndarray:
    """(T,) whether fingers are told to close, with a little hysteresis."""
    closed, now = np.zeros(len(openings), bool), False
    for row, opening in enumerate(openings):
        now = opening < (OPENING_ABOVE if now else CLOSING_BELOW)
        closed[row] = now
    return closed


def _without_pauses(walking: np.ndarray) -> np.ndarray:
    """(T,) the same, with short stops walked through."""
    filled = walking.copy()
    for begin, end in _runs(~walking):
        if begin > 0 and end < len(walking) and end - begin < PAUSE_S * RATE_HZ:
            filled[begin:end] = True
    return filled


def _runs(rows: np.ndarray) -> list[tuple[int, int]]:
    """Begin and end of each stretch in which it is so."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], rows.astype(int), [0]])))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist()))


def subtasks_of(motion: Motion) -> list[tuple[float, float, str]]:
    """Begin and end on the robot's clock, and name, of each sub-task; one follows on the other."""
    borders: list[tuple[int, str]] = []
    end = len(motion.times_s)
    free_from = 0
    for closing, opening in _runs(motion.closed):
        borders += _fetching(motion, free_from, closing)
        borders += _holding(motion, closing, opening)
        free_from = opening
        if opening < end:
            borders.append((opening, "let_go"))
    if not borders or free_from < end:
        borders += _leaving(motion, free_from, end) if borders else _fetching(motion, 0, end, gripped=False)
    return _joined(motion, borders)


def _fetching(motion: Motion, begin: int, closing: int, *, gripped: bool = True) -> list[tuple[int, str]]:
    """From free hands to the closing: away from what was let go, there, stepping up, and reaching out."""
    borders = _leaving(motion, begin, closing) if begin > 0 else []
    walks = [run for run in _runs(motion.walking[begin:closing]) if run[1] > run[0]]
    walks = [(first + begin, last + begin) for first, last in walks]
    forward = [walk for walk in walks if motion.forward[walk[0] : walk[1]].max() > AHEAD]
    if begin > 0 and forward:
        borders.append((forward[0][0], "approach"))
    elif begin == 0 and closing > 0:
        borders.append((begin, "approach"))
    if not gripped:
        return borders
    there = motion.base[min(closing, len(motion.base) - 1)]
    stops = [last for _, last in walks if np.linalg.norm(motion.base[min(last, closing - 1)] - there) < CLOSE_BY]
    if stops:
        if len(stops) > 1:
            borders.append((stops[0], "ready"))
        borders.append((stops[-1], "reach"))
    elif closing > begin and borders:
        borders.append((borders[-1][0], "reach"))
    return borders


def _leaving(motion: Motion, begin: int, end: int) -> list[tuple[int, str]]:
    """After letting go: back, as soon as it walks."""
    walks = _runs(motion.walking[begin:end])
    return [(begin + walks[0][0], "step_back")] if walks else []


def _holding(motion: Motion, closing: int, opening: int) -> list[tuple[int, str]]:
    """From the closing to the opening."""
    held = motion.openings[closing:opening]
    settled = closing + _first((np.abs(np.diff(held, axis=0)) < 3e-4).all(axis=1) & (held[1:] < OPENING_ABOVE).all(axis=1), len(held) // 2)
    at = motion.hands[min(settled, opening - 1)]
    away = motion.hands[settled:opening] - at
    moves = settled + _first(np.linalg.norm(away, axis=1) > MOVED, opening - settled)
    risen = settled + _first(away[:, 2] > RISEN, opening - settled)
    walks = [(first + moves, last + moves) for first, last in _runs(motion.walking[moves:opening])]
    pulled = risen >= opening or (walks and walks[0][0] < risen)
    if not _holds(motion, settled, opening):
        return [(closing, "grip")]
    if pulled:
        return [(closing, "grip_lip"), (moves, "pull")] if closing > 0 else [(closing, "pull")]
    borders = [(closing, "grip")] if closing > 0 else []
    along = settled + _first(np.linalg.norm(away[:, :2], axis=1) > ALONG, opening - settled)
    if along < risen:
        borders.append((moves, "draw_near"))
        moves = max(along, risen - round(0.2 * RATE_HZ))
    borders.append((moves, "lift"))
    forward = [walk for walk in walks if motion.forward[walk[0] : walk[1]].mean() > AHEAD]
    if walks and (not forward or walks[0][0] < forward[0][0]):
        borders.append((walks[0][0], "step_back"))
    if not forward:
        return borders
    borders.append((forward[0][0], "carry"))
    there = motion.base[min(opening, len(motion.base) - 1)]
    stops = [last for _, last in forward if np.linalg.norm(motion.base[min(last, opening - 1)] - there) < CLOSE_BY]
    if len(stops) > 1:
        borders.append((stops[0], "align"))
    if stops and stops[-1] < opening and opening < len(motion.closed):
        borders.append((stops[-1], "set_down"))
    return borders


def _holds(motion: Motion, begin: int, end: int) -> bool:
    """Whether something is between the pads, and a tote near, for most of the time."""
    inside = ((motion.openings[begin:end] > HELD_OPENING[0]) & (motion.openings[begin:end] < HELD_OPENING[1])).all(axis=1)
    near = ~(motion.tote[begin:end] > NEAR_TOTE)  # where nothing is seen, the pads alone tell
    return bool((inside & near).mean() > 0.5) if end > begin else False


def _first(rows: np.ndarray, otherwise: int) -> int:
    found = np.flatnonzero(rows)
    return int(found[0]) if len(found) else otherwise


def _joined(motion: Motion, borders: Sequence[tuple[int, str]]) -> list[tuple[float, float, str]]:
    """Borders as stretches; what is too short is left out, what is twice is one."""
    rows = sorted(borders, key=lambda border: border[0])
    ends = [begin for begin, _ in rows[1:]] + [len(motion.times_s)]
    found: list[tuple[float, float, str]] = []
    for (begin, name), end in zip(rows, ends):
        if (end - begin) / RATE_HZ < SHORTEST_S:
            continue
        end_s = float(motion.times_s[end]) if end < len(motion.times_s) else float(motion.times_s[-1]) + 1.0 / RATE_HZ
        if found and found[-1][2] == name:
            found[-1] = found[-1][0], end_s, name
        else:
            found.append((found[-1][1] if found else float(motion.times_s[0]), end_s, name))
    return found


def segments_of(recording: Recording, model: RobotModel, *, everywhere: bool = False) -> list[Segment]:
    """The sub-tasks of an episode where a person drove.

    Args:
        recording: of the episode.
        model: the robot.
        everywhere: also where a policy drove, which says itself what it does.

    Raises:
        RecordingError: it does not hold what is needed.
    """
    policy = recording.stream(topics.POLICY_STATUS)
    tiers = [status.tier for status in policy.messages()]
    ends = [*policy.stamps_s[1:], np.inf]
    driven = [(float(begin), float(end)) for begin, end, tier in zip(policy.stamps_s, ends, tiers) if tier == OPERATOR_TIER]
    if not everywhere and not driven:
        return []
    made: list[Segment] = []
    for begin_s, end_s, name in subtasks_of(motion_of(recording, model)):
        parts = [(begin_s, end_s)] if everywhere else [(max(begin_s, b), min(end_s, e)) for b, e in driven if b < end_s and e > begin_s]
        for begin, end in parts:
            first, last = (round(float(recording.episode_time_s(np.array(t))), 3) for t in (begin, end))
            if made and made[-1].subtask == name and first - made[-1].end_s < 1.5 / RATE_HZ:
                made[-1] = Segment(made[-1].begin_s, last, name)
            elif last > first:
                made.append(Segment(first, last, name))
    return made


# --- the command ------------------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `humanoid episodes segment`."""
    parser.add_argument("folder", type=Path, help="an episode, or a folder of episodes")
    parser.add_argument("--everywhere", action="store_true", help="also where a policy drove, which says itself what it does")
    parser.add_argument("--again", action="store_true", help="also episodes in which a person has put it right: that is lost")


def run(args: argparse.Namespace) -> int:
    """Carries out the command.

    Raises:
        HumanoidControlError: there is no episode, or one cannot be read.
    """
    console = Console(highlight=False, soft_wrap=True)
    model = RobotModel.load()
    for folder in track(episodes_in(args.folder), "segments", console=console, transient=True, disable=not console.is_terminal):
        card = Card.read(folder / CARD)
        if card.segmented_by not in ("", AUTOMATIC) and not args.again:
            console.print(f"{folder.name}: left as {card.segmented_by} has put it; --again does it anew")
            continue
        card.segments = segments_of(Recording(folder), model, everywhere=args.everywhere)
        card.segmented_by = AUTOMATIC if card.segments else ""
        try:
            card.write(folder / CARD)
        except OSError as error:
            raise ConfigurationError(f"{folder / CARD} cannot be written: {error.strerror}") from None
        said = ", ".join(f"{segment.subtask} {segment.begin_s:.1f} to {segment.end_s:.1f}" for segment in card.segments)
        console.print(f"{folder.name}: {said or 'no person drove'}")
    return 0
