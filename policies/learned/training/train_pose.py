"""Trains a policy on poses from demonstrations, and exports it: what `humanoid train teacher` does.

A run is measured in minutes, saves itself every two of them, and goes on where it was stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from humanoid_control.robot_model import RobotModel
from perception.training.export import export_network
from perception.training.train import Run, TrainingOptions, choose_device
from policies.data.errors import DataSetError
from policies.data.lerobot_dataset import INFO
from policies.data.reader import Demonstrations
from policies.evaluation.campaign import file_hash
from policies.learned.action_space import ACTION_NAMES
from policies.learned.observation_space import state_names
from policies.learned.pose_policy import NAME
from policies.learned.pose_space import STEP_S
from policies.learned.training.pose_network import PoseNetForExport
from policies.learned.training.pose_task import PoseTask, read_frames

CHECK_EVERY = 20  # one demonstration in so many is not trained on, for the curves
FEWEST = 20  # demonstrations
BATCH, LEARNING_RATE, WEIGHT_DECAY = 256, 1e-3, 0.01


def train_pose_policy(data: Path, out: Path, *, minutes: float, seed: int = 1, device: str = "auto",
                      on_progress: Callable[[Any, dict], None] = lambda progress, figures: None) -> Path:  # fmt: skip
    """Trains, exports and describes the network; returns the ONNX file's path.

    Args:
        data: folder of demonstrations, from `humanoid generate`.
        out: folder of the checkpoint, the curves and, at the end, the network.
        minutes: of training in all; a run that was stopped goes on.
        seed: of weights and samples.
        device: `auto`, `cpu` or `cuda`.
        on_progress: called now and then with the progress and the latest figures.

    Raises:
        DataSetError: the demonstrations are broken, too few, or of another rate.
        PerceptionError: the checkpoint or the device is unfit.
    """
    demonstrations = Demonstrations(data)
    if len(demonstrations) < FEWEST:
        raise DataSetError(f"{data} holds {len(demonstrations)} demonstrations; {FEWEST} are needed: `humanoid generate --episodes` more.")
    if abs(demonstrations.fps * STEP_S - 1.0) > 1e-6:
        raise DataSetError(f"{data} has {demonstrations.fps} frames per second; {1 / STEP_S:g} are needed: `humanoid generate --fps {1 / STEP_S:g}`.")
    out.mkdir(parents=True, exist_ok=True)
    frames = read_frames(demonstrations)
    kept = frames.episode % CHECK_EVERY == 0
    training, checking = frames.part(np.flatnonzero(~kept)), frames.part(np.flatnonzero(kept))
    options = TrainingOptions(minutes=minutes, batch=BATCH, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY,
                              device=choose_device(device), seed=seed)  # fmt: skip
    run = Run(NAME, PoseTask, training, checking, out, options)
    run.resume()
    run.train(on_progress)
    network = PoseNetForExport(run.averaged_network())
    example = torch.randn(2, network.network.enter.in_features, generator=torch.Generator().manual_seed(0))
    digest = hashlib.sha256((file_hash(data / INFO) + json.dumps([row["episode"] for row in demonstrations.episodes])).encode()).hexdigest()
    return export_network(NAME, network, example, out, input_name="inputs", output_names=("chunk", "subtask", "done"), card={
        "actions": list(ACTION_NAMES), "state": list(state_names(RobotModel.load())), "subtasks": list(frames.subtasks), "parameters": sum(p.numel() for p in network.parameters()),
        "data_hash": digest, "demonstrations": len(demonstrations), "frames": len(training), "tasks": list(demonstrations.tasks),
        "command": f"humanoid train teacher --data {data.name} --out {out.name} --minutes {minutes:g} --seed {seed}",
        "options": asdict(options), "steps": run.progress.steps, "torch": torch.__version__.split("+")[0],
        "not_trained_on": {k: v for k, v in run.progress.curve[-1].items() if k.startswith("check_")},
    })  # fmt: skip
