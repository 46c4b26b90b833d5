"""Trains a policy on poses from demonstrations, and exports it: what `humanoid train teacher` does.

A run is measured in minutes, saves itself every two of them, and goes on where it was stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from humanoid_control.hashes import file_hash
from humanoid_control.robot_model import RobotModel
from perception.training.export import export_network
from perception.training.train import Run, TrainingOptions, choose_device
from policies.data.errors import DataSetError
from policies.data.generation import FAILURES
from policies.data.lerobot_dataset import INFO
from policies.data.reader import Demonstrations
from policies.learned.action_space import ACTION_NAMES
from policies.learned.observation_space import state_names
from policies.learned.pose_policy import NAME
from policies.learned.pose_space import STEP_S
from policies.learned.training.pose_network import WIDTH, PoseNetForExport
from policies.learned.training.pose_task import L1, PoseFrames, PoseTask, following, longest, read_frames, standing
from policies.subtasks import SUBTASKS

CHECK_EVERY = 20  # one demonstration in so many is not trained on, for the curves
FEWEST = 10  # demonstrations
OUTPUTS = ("chunk", "subtask", "done")
BATCH, LEARNING_RATE, WEIGHT_DECAY = 512, 2e-2, 0.01
GOING_ON_RATE = 8e-3  # of a network that has learnt from less data: a higher one begins anew
MUON = ("blocks", "choices", "doing_blocks", "heads")  # layers: with it a loss that AdamW reached in 270 s was reached in 120 s


def train_pose_policy(data: Sequence[Path], out: Path, *, minutes: float, seed: int = 1, device: str = "auto", begin_with: Path | None = None,
                      loss: str = L1, width: int = WIDTH, episodes: int | None = None, checking: Sequence[Path] = (),
                      on_progress: Callable[[Any, dict], None] = lambda progress, figures: None) -> Path:  # fmt: skip
    """Trains, exports and describes the network; returns the ONNX file's path.

    Args:
        data: folders of demonstrations, from `humanoid generate`; of failures that it kept, what the expert did before them.
        out: folder of the checkpoint, the curves and, at the end, the network.
        minutes: of training in all; a run that was stopped goes on.
        seed: of weights and samples.
        device: `auto`, `cpu` or `cuda`.
        begin_with: checkpoint of an earlier run, on less data.
        loss: of chunks, one of `pose_task.LOSSES`.
        width: of the network.
        episodes: of each folder so many, the first ones; None: all.
        checking: folders of demonstrations for the curves alone; none: one in `CHECK_EVERY` of the others.
        on_progress: called now and then with the progress and the latest figures.

    Raises:
        DataSetError: the demonstrations are broken, too few, or of another rate.
        PerceptionError: the checkpoint or the device is unfit.
    """
    sets = data_sets(data)
    used = [demonstrations.episodes[:episodes] for demonstrations in sets]
    check_count(data, used)
    out.mkdir(parents=True, exist_ok=True)
    read = [read_frames(demonstrations) for demonstrations in sets]
    frames = PoseFrames.joined([each.part(np.flatnonzero(each.episode < len(rows))) for each, rows in zip(read, used)])
    kept = frames.episode % CHECK_EVERY == 0 if not checking else np.zeros(len(frames), bool)
    training = frames.part(np.flatnonzero(~kept))
    check = PoseFrames.joined([read_frames(Demonstrations(folder)) for folder in checking]) if checking else frames.part(np.flatnonzero(kept))
    options = TrainingOptions(minutes=minutes, batch=BATCH, learning_rate=LEARNING_RATE if begin_with is None else GOING_ON_RATE, weight_decay=WEIGHT_DECAY, muon=MUON,
                              device=choose_device(device), seed=seed)  # fmt: skip
    run = Run(NAME, partial(PoseTask, loss=loss, width=width), training, check, out, options)
    if not run.resume() and begin_with is not None:
        run.go_on_from(begin_with)
    run.train(on_progress)
    network = PoseNetForExport(run.averaged_network())
    example = {"inputs": torch.randn(2, network.network.enter.in_features, generator=torch.Generator().manual_seed(0)),
               "allowed": torch.ones(2, len(SUBTASKS))}  # fmt: skip
    return export_network(NAME, network, example, out, output_names=OUTPUTS, card=described(training, sets, used) | {
        "parameters": sum(p.numel() for p in network.parameters()), "loss": loss, "command": "humanoid train teacher", **told_of(run),
    })  # fmt: skip


def data_sets(folders: Sequence[Path]) -> list[Demonstrations]:
    """The demonstrations in folders, and the failures that were kept beside them.

    Raises:
        DataSetError: one is broken, or of another rate.
    """
    sets = [Demonstrations(folder) for each in folders for folder in (each, each / FAILURES) if folder == each or (folder / INFO).is_file()]
    for demonstrations in sets:
        if abs(demonstrations.fps * STEP_S - 1.0) > 1e-6:
            raise DataSetError(f"{demonstrations.folder} has {demonstrations.fps} frames per second; {1 / STEP_S:g} are needed: "
                               f"`humanoid generate --fps {1 / STEP_S:g}`.")  # fmt: skip
    return sets


def check_count(folders: Sequence[Path], used: Sequence[Sequence[dict]]) -> None:
    """Refuses too few demonstrations.

    Args:
        folders: they are from.
        used: rows of the episodes of each data set.

    Raises:
        DataSetError: there are fewer than `FEWEST`.
    """
    count = sum(map(len, used))
    if count < FEWEST:
        raise DataSetError(f"{' and '.join(map(str, folders))}: {count} demonstrations; {FEWEST} are needed: `humanoid generate --episodes` more.")


def described(training: PoseFrames, sets: Sequence[Demonstrations], used: Sequence[Sequence[dict]]) -> dict[str, Any]:
    """What a policy's card tells of its demonstrations.

    Args:
        training: the frames that were learnt from.
        sets: they are from,
        used: rows of the episodes of each.
    """
    digest = hashlib.sha256("".join(
        file_hash(demonstrations.folder / INFO) + json.dumps([row["episode"] for row in rows]) for demonstrations, rows in zip(sets, used)
    ).encode()).hexdigest()  # fmt: skip
    return {
        "actions": list(ACTION_NAMES), "state": list(state_names(RobotModel.load())), "subtasks": list(SUBTASKS),
        "following": {name: [SUBTASKS[k] for k in np.flatnonzero(row)] for name, row in zip(SUBTASKS, following(training))},
        "standing": [SUBTASKS[k] for k in np.flatnonzero(standing(training))],
        "longest": {name: round(float(s), 2) for name, s in zip(SUBTASKS, longest(training)) if np.isfinite(s)},
        "data_hash": digest, "demonstrations": sum(map(len, used)), "frames": len(training),
        "tasks": sorted({task for demonstrations in sets for task in demonstrations.tasks}),
    }  # fmt: skip


def told_of(run: Run) -> dict[str, Any]:
    """What a card tells of a run."""
    return {"options": asdict(run.options), "steps": run.progress.steps, "torch": torch.__version__.split("+")[0],
            "not_trained_on": {k: v for k, v in run.progress.curve[-1].items() if k.startswith("check_")}}  # fmt: skip
