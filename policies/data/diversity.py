"""What a data set of demonstrations holds: counts, coverage, entropy, near-duplicates; and the gate against a collapse."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from humanoid_control.control_loop import BASE_VELOCITY_LIMIT
from humanoid_control.transforms import wrapped
from policies.data import schema
from policies.data.errors import DataSetError
from policies.data.reader import Demonstrations
from policies.evaluation.journal import write_whole
from policies.learned import action_space

CARD, CARD_TEXT = "data_card.json", "data_card.md"
LIFTING = ("grip", "draw_near", "lift")
# Of each quantity of an episode: the size of a cell, and how much two episodes may differ and still be the same.
CELLS = {
    "tote x in base at grip (m)": (0.005, 0.003),
    "tote y in base at grip (m)": (0.005, 0.003),
    "tote yaw in base at grip (rad)": (0.015, 0.01),
    "source height (m)": (0.01, 0.002),
    "goal height (m)": (0.01, 0.002),
    "tote mass (kg)": (0.25, 0.05),
    "tote x in base at begin (m)": (0.04, 0.01),
    "tote y in base at begin (m)": (0.04, 0.01),
    "tote yaw in base at begin (rad)": (0.05, 0.01),
}
GRIP_QUANTITIES = 3  # the first ones: they come from a grip, which a failure may lack
WAY_CELL, WAY_TURN = 0.10, math.radians(30.0)  # of the base's path
MOST_PAIRS = 400  # of episodes whose ways are compared
ACTION_BINS = 40
ACTION_GROUPS = {
    "base velocity": (action_space.BASE_VELOCITY, -BASE_VELOCITY_LIMIT, BASE_VELOCITY_LIMIT),
    "hand positions": (np.r_[3:6, 12:15], -0.8, 1.2),
    "hand turns": (np.r_[6:12, 15:21], -1.0, 1.0),
    "torso pitch": ([action_space.TORSO_PITCH], -0.3, 1.2),
    "pelvis height": ([action_space.PELVIS_HEIGHT], 0.5, 0.8),
    "gripper openings": (action_space.GRIPPER_OPENINGS, 0.0, 0.1),
}


@dataclass(frozen=True)
class Gate:
    """What a data set must have at least.

    Attributes:
        episodes: below which shares mean nothing, and are not checked.
        cells: of each quantity, as the number of equally filled cells with the same entropy.
        way_difference: mean share of the base's way that one of two episodes has alone.
        action_bits: entropy of each group of actions.
        near_duplicates: largest share of episodes.
    """

    episodes: int = 20
    cells: float = 2.5
    way_difference: float = 0.2
    action_bits: float = 0.5
    near_duplicates: float = 0.05


def quantities(data: Demonstrations) -> np.ndarray:
    """(episodes, len(`CELLS`)) the named quantities of each episode; NaN where there is none."""
    tote, goal, mass = data.column(schema.TOTE_POSE), data.column(schema.GOAL_POSE), data.column(schema.MASS)
    subtasks = data.column(schema.SUBTASK_INDEX)
    lifting = [data.subtasks.index(name) for name in LIFTING if name in data.subtasks]
    rows = []
    for episode in range(len(data)):
        span = data.span(episode)
        first = span.start
        grips = np.flatnonzero(np.isin(subtasks[span], lifting))
        at_grip = [math.nan] * GRIP_QUANTITIES
        if grips.size:
            pose = tote[first + grips[0]]
            at_grip = [pose[0], pose[1], _half_turn(math.atan2(pose[4], pose[3]))]
        begin = tote[first]
        rows.append([*at_grip, begin[2], goal[first, 2], mass[first], begin[0], begin[1], math.atan2(begin[4], begin[3])])
    return np.array(rows).reshape(-1, len(CELLS))


def _half_turn(angle: float) -> float:
    """A tote turned by half a turn is the same."""
    return wrapped(2.0 * angle) / 2.0


def equal_cells(values: np.ndarray, size: float) -> float:
    """How many equally filled cells have the entropy of these values (N,) in cells of a size; 0 without values."""
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0
    _, counts = np.unique(np.floor(values / size), return_counts=True)
    shares = counts / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def entropy_bits(values: np.ndarray, low: float, high: float) -> float:
    """Entropy in bits of values (N,) over `ACTION_BINS` equal intervals from low to high."""
    counts, _ = np.histogram(np.clip(values, low, high), ACTION_BINS, (low, high))
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def ways(data: Demonstrations) -> list[set[tuple[int, int, int]]]:
    """The cells of (x, y, heading) in `map` that each episode's base was in."""
    base, found = data.column(schema.BASE_POSE), []
    for episode in range(len(data)):
        poses = base[data.span(episode)]
        x, y, z, w = poses[:, 3:].T
        yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        cells = np.floor(np.column_stack([poses[:, :2] / WAY_CELL, yaw / WAY_TURN])).astype(int)
        found.append(set(map(tuple, cells.tolist())))
    return found


def way_difference(cells: list[set]) -> float:
    """Mean over pairs of episodes of the share of cells that only one of them was in; 1 where there are no pairs."""
    pairs = list(combinations(range(len(cells)), 2))
    pairs = pairs[:: max(1, len(pairs) // MOST_PAIRS)]
    shares = [1.0 - len(cells[a] & cells[b]) / max(len(cells[a] | cells[b]), 1) for a, b in pairs]
    return float(np.mean(shares)) if shares else 1.0


def near_duplicates(data: Demonstrations, values: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (later, earlier) of episodes that are the same task from the same begin: one for each later episode.

    Args:
        data: all demonstrations.
        values: their `quantities`.
    """
    same = np.array([tolerance for _, tolerance in CELLS.values()])
    starts = np.array([row["dataset_from_index"] for row in data.episodes], int)
    # The grip may differ by noise alone: what was drawn, and what was ordered, decide.
    drawn = (values / same)[:, GRIP_QUANTITIES:]
    goal = data.column(schema.GOAL)[starts] / 0.02
    all_of_it = np.column_stack([drawn, goal])
    found = []
    for later in range(1, len(all_of_it)):
        alike = np.flatnonzero((np.abs(all_of_it[:later] - all_of_it[later]) < 1.0).all(axis=1))
        if alike.size:
            found.append((later, int(alike[0])))
    return found


def make_card(data: Demonstrations, attempts: list[dict]) -> dict:
    """What a data set holds.

    Args:
        data: the demonstrations.
        attempts: the record of each episode that was tried, also of those that failed.
    """
    values = quantities(data)
    actions, subtasks, clean = data.column(schema.ACTION), data.column(schema.SUBTASK_INDEX), data.column(schema.CLEAN_STEPS)
    noise, episode_of = data.column(schema.NOISE), data.column("episode_index")
    twins = near_duplicates(data, values)
    orders = [order for attempt in attempts for order in attempt["orders"]]
    by_subtask = {name: {"frames": int((subtasks == index).sum()), "episodes": len(np.unique(episode_of[subtasks == index]))}
                  for index, name in enumerate(data.subtasks)}  # fmt: skip
    return {
        "episodes": len(data),
        "frames": data.frames,
        "hours": round(data.frames / data.fps / 3600, 3),
        "fps": data.fps,
        "cameras": list(data.cameras),
        "attempts": {"episodes": len(attempts), "orders": len(orders), "done": sum(o["outcome"] == "success" for o in orders),
                     "by_outcome": dict(Counter(o["outcome"] for o in orders).most_common())},
        "by_task": dict(Counter(row["tasks"][0] for row in data.episodes).most_common()),
        "by_factory": dict(Counter(row["factory"] for row in data.episodes).most_common()),
        "by_subtask": by_subtask,
        "by_problem": {name: n for name, n in data.text_counts(schema.PROBLEM).items() if name},
        "noise": {"frames": round(float(noise.mean()), 4), "whole_chunks_of_16": round(float((clean >= 16).mean()), 4)},
        "cycle_time_s": [round(float(x), 2) for x in np.percentile([r["cycle_time_s"] for r in data.episodes], (5, 50, 95))],
        "range": {name: _range(values[:, k]) for k, name in enumerate(CELLS)},
        "cells": {name: round(equal_cells(values[:, k], size), 2) for k, (name, (size, _)) in enumerate(CELLS.items())},
        "way_difference": round(way_difference(ways(data)), 3),
        "action_bits": {name: round(float(np.mean(_entropies(actions[:, where], low, high))), 2)
                        for name, (where, low, high) in ACTION_GROUPS.items()},
        "near_duplicates": [[data.episodes[later]["episode"], data.episodes[earlier]["episode"]] for later, earlier in twins],
    }  # fmt: skip


def _entropies(values: np.ndarray, low, high) -> list[float]:
    lows, highs = np.broadcast_to(low, values.shape[1]), np.broadcast_to(high, values.shape[1])
    return [entropy_bits(values[:, k], lows[k], highs[k]) for k in range(values.shape[1])]


def _range(values: np.ndarray) -> list[float] | None:
    values = values[np.isfinite(values)]
    return [round(float(x), 3) for x in np.percentile(values, (0, 50, 100))] if values.size else None


def write_card(data: Demonstrations, attempts: list[dict]) -> dict:
    """Writes the card of a data set into its folder, as JSON and Markdown, and returns it.

    Args:
        data: the demonstrations.
        attempts: the record of each episode that was tried.

    Raises:
        ConfigurationError: it cannot be written.
    """
    card = make_card(data, attempts)
    write_whole(data.folder / CARD, json.dumps(card, indent=1) + "\n")
    write_whole(data.folder / CARD_TEXT, _text(card))
    return card


def check_diversity(card: dict, gate: Gate = Gate()) -> None:
    """Refuses a data set that lacks part of what shall be learnt.

    Args:
        card: from `write_card`.
        gate: what it must have.

    Raises:
        DataSetError: with all that it lacks.
    """
    if card["episodes"] < gate.episodes:
        return
    lacks = [f"{name}: as varied as {cells:g} cells, {gate.cells:g} needed"
             for name, cells in card["cells"].items() if cells < gate.cells]  # fmt: skip
    lacks += [f"{name}: {bits:g} bits of entropy, {gate.action_bits:g} needed"
              for name, bits in card["action_bits"].items() if bits < gate.action_bits]  # fmt: skip
    if card["way_difference"] < gate.way_difference:
        lacks.append(f"ways of the base: {card['way_difference']:.0%} of two differ, {gate.way_difference:.0%} needed")
    twins = card["near_duplicates"]
    if len(twins) > gate.near_duplicates * card["episodes"]:
        lacks.append(f"near-duplicates: {len(twins)} of {card['episodes']} episodes, at most {gate.near_duplicates:.0%}, "
                     f"such as {twins[0][0]} of {twins[0][1]}")  # fmt: skip
    if lacks:
        raise DataSetError("the demonstrations are too much alike: " + "; ".join(lacks)
                           + ". Let `randomise` of the factory file vary more, or add other factory files.")  # fmt: skip


def _text(card: dict) -> str:
    lines = ["# Data card", ""]
    for key, value in card.items():
        if not isinstance(value, dict):
            lines.append(f"- {key.replace('_', ' ')}: {value}")
    for key, value in card.items():
        if isinstance(value, dict):
            lines += ["", f"## {key.replace('_', ' ')}", ""]
            lines += [f"- {name}: {_shown(entry)}" for name, entry in value.items()]
    return "\n".join(lines) + "\n"


def _shown(entry: object) -> str:
    return ", ".join(f"{name} {value}" for name, value in entry.items()) if isinstance(entry, dict) else str(entry)
