"""Trains a student from demonstrations with sightings, and exports it: what `humanoid train student` does.

First its eyes, by the privileged pose of the tote; then, told what these make of the same demonstrations, what it does, begun as the teacher:
the expert's motions where the expert drove, and where the student did, what the teacher says, who knows the tote's pose.
Each run is measured in minutes, saves itself every two of them, and goes on where it was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from humanoid_control.hashes import file_hash
from humanoid_control.transforms import planar
from perception.detector import FILES
from perception.network_file import DEFAULT_FOLDER
from perception.training.export import export_network
from perception.training.train import Run, TrainingOptions, choose_device
from policies.data import schema
from policies.data.reader import Demonstrations
from policies.learned.pose_space import tote_numbers
from policies.learned.sight_space import CAMERAS, SIGHTINGS_NAMES, footprint_of, told_of
from policies.learned.student import NAME, SIGHT
from policies.learned.training import train_pose
from policies.learned.training.pose_network import PoseNetForExport, begin_as, weights_of
from policies.learned.training.pose_task import PoseFrames, PoseTask, read_frames, teacher_of
from policies.learned.training.rounds import Report
from policies.learned.training.sight_network import HIDDEN, SightNet
from policies.learned.training.sight_task import SightFrames, SightTask, believed, read_sightings
from policies.subtasks import SUBTASKS

EYES, POLICY = "its eyes", "what it does"  # what is trained
SIGHT_BATCH, SIGHT_RATE = 128, 3e-3  # a small batch takes nearly as long: what costs is the number of operations, one after the other
POLICY_RATE = 3e-4  # what begins as the teacher has learnt it: fast steps on few demonstrations would unlearn more than they teach
SIGHT_OUTPUTS = ("correction", "covariance_after", "remembered", "deviation")


def train_student(data: Sequence[Path], out: Path, *, teacher: Path, sight_minutes: float, minutes: float, seed: int = 1, device: str = "auto",
                  begin_with: Path | None = None, on_progress: Report = lambda what, progress, figures: None) -> Path:  # fmt: skip
    """Trains, exports and describes both networks; returns the policy's ONNX file's path.

    Args:
        data: folders of demonstrations, from `humanoid generate --sightings`; of failures that it kept, what the expert did before them.
        out: folder of checkpoints, curves and, at the end, the networks.
        teacher: ONNX file of the network that it begins as.
        sight_minutes: of training its eyes,
        minutes: of training what it does; runs that were stopped go on.
        seed: of weights and samples.
        device: `auto`, `cpu` or `cuda`.
        begin_with: folder of an earlier student, trained on less data.
        on_progress: called now and then with what is trained, the progress and the latest figures.

    Raises:
        DataSetError: the demonstrations are broken, too few, of another rate, or without sightings.
        PerceptionError: a checkpoint or the device is unfit.
    """
    sets = train_pose.data_sets(data)
    used = [demonstrations.episodes for demonstrations in sets]
    train_pose.check_count(data, used)
    out.mkdir(parents=True, exist_ok=True)
    sightings = [read_sightings(demonstrations) for demonstrations in sets]
    eyes = _trained_eyes(SightFrames.joined(sightings), out, TrainingOptions(minutes=sight_minutes, batch=SIGHT_BATCH, learning_rate=SIGHT_RATE,
                         device=choose_device(device), seed=seed), begin_with, partial(on_progress, EYES))  # fmt: skip
    rng = np.random.default_rng(seed)
    labels = teacher_of(teacher)
    frames = PoseFrames.joined([read_frames(each, seen=seen_by(eyes, each, steps, rng), teacher=labels) for each, steps in zip(sets, sightings)])
    kept = frames.episode % train_pose.CHECK_EVERY == 0
    training = frames.part(np.flatnonzero(~kept))
    options = TrainingOptions(minutes=minutes, batch=train_pose.BATCH, learning_rate=POLICY_RATE, weight_decay=train_pose.WEIGHT_DECAY,
                              muon=train_pose.MUON, device=choose_device(device), seed=seed)  # fmt: skip
    run = Run(NAME, partial(_begun_as, weights_of(teacher)), training, frames.part(np.flatnonzero(kept)), out, options)
    if not run.resume() and begin_with is not None:
        run.go_on_from(begin_with / f"{NAME}.pt")
    run.train(partial(on_progress, POLICY))
    network = PoseNetForExport(run.averaged_network())
    example = {"inputs": torch.randn(2, network.network.enter.in_features, generator=torch.Generator().manual_seed(0)),
               "allowed": torch.ones(2, len(SUBTASKS))}  # fmt: skip
    networks = {name: file_hash(DEFAULT_FOLDER / f"{file}.onnx") for name, file in FILES.items()} | {SIGHT: file_hash(out / f"{SIGHT}.onnx")}
    shown = train_pose.described(training.part(np.flatnonzero(~training.labelled)), sets, used)
    return export_network(NAME, network, example, out, output_names=train_pose.OUTPUTS, card=with_teacher_s(shown, teacher) | {
        "labelled_by_the_teacher": int(training.labelled.sum()), "parameters": sum(p.numel() for p in network.parameters()), "parameters_of_its_eyes": sum(p.numel() for p in eyes.parameters()),
        "cameras": list(CAMERAS), "sightings": list(SIGHTINGS_NAMES), "networks": networks, "teacher_sha256": file_hash(teacher),
        "command": "humanoid train student", **train_pose.told_of(run),
    })  # fmt: skip


def with_teacher_s(shown: dict[str, Any], teacher: Path) -> dict[str, Any]:
    """What demonstrations showed of sub-tasks, with what the teacher's had: few of the student's would forbid what just did not come up.

    Args:
        shown: of `train_pose.described`.
        teacher: its ONNX file, with its card beside it.
    """
    card = json.loads(teacher.with_suffix(".json").read_text())
    following = {name: [then for then in SUBTASKS if then in shown["following"][name] or then in card["following"][name]] for name in SUBTASKS}
    longest = {name: max(times) for name in SUBTASKS if (times := [each["longest"][name] for each in (shown, card) if name in each["longest"]])}
    return shown | {"following": following, "longest": longest, "standing": [name for name in shown["standing"] if name in card["standing"]]}


def seen_by(eyes: SightNet, data: Demonstrations, steps: SightFrames, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(N, 9) the tote in `base_footprint` as a student believes, and (N, F) what it is told beside it, at each frame of a data set.

    Args:
        eyes: that were trained.
        data: of the frames,
        steps: their sightings.
        rng: how far the place in the file is off.
    """
    mean, deviation, unseen_s = believed(eyes, steps, rng)
    base = data.column(schema.BASE_ESTIMATE)
    tote = np.array([tote_numbers(footprint_of(pose), planar(x, y, yaw, z)) for pose, (x, y, z, yaw) in zip(base, mean)], np.float32)
    return tote, told_of(deviation, unseen_s)


def _trained_eyes(frames: SightFrames, out: Path, options: TrainingOptions, begin_with: Path | None, on_progress: Callable[[Any, dict], None]) -> SightNet:
    kept = frames.episode % train_pose.CHECK_EVERY == 0
    run = Run(SIGHT, SightTask, frames.part(np.flatnonzero(~kept)), frames.part(np.flatnonzero(kept)), out, options)
    if not run.resume() and begin_with is not None:
        run.go_on_from(begin_with / f"{SIGHT}.pt")
    run.train(on_progress)
    network = run.averaged_network()
    export_network(SIGHT, network, _example(frames), out, output_names=SIGHT_OUTPUTS, card={
        "parameters": sum(p.numel() for p in network.parameters()), "cameras": list(CAMERAS), "sightings": list(SIGHTINGS_NAMES),
        "command": "humanoid train student", **train_pose.told_of(run),
    })  # fmt: skip
    return network.cpu()


def _begun_as(weights: dict[str, torch.Tensor], frames: PoseFrames, device: str) -> PoseTask:
    task = PoseTask(frames, device)
    begin_as(task.network, weights)
    return task


def _example(frames: SightFrames) -> dict[str, torch.Tensor]:
    """Inputs of the eyes' network: the first step of a batch of two."""
    batch = SightTask(frames, "cpu").batch(np.zeros(2, int), np.random.default_rng(0), vary=False)
    return {"sightings": batch["sightings"][:, 0], "corners": batch["corners"], "context": batch["context"][:, 0], "variance": batch["variance"][:, 0],
            "covariance": batch["covariance"], "hidden": torch.zeros(2, HIDDEN)}  # fmt: skip
