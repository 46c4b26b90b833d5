"""Trains the two networks and exports them: `python -m perception.training.train --data DIR --out DIR`.

A run is measured in minutes, so that it ends when it should on any machine; where it has to wait for others, or is
stopped, they do not count. It saves itself every two minutes and goes on
with `--resume` after it was stopped. At the end of each network's run stand its ONNX file, a model card with the data's
hash, and its curves as a picture.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import math
import os
import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from humanoid_control.errors import HumanoidControlError
from perception.errors import PerceptionError
from perception.keypoints import HALF_TURN
from perception.training.networks import (
    CORNER_STRIDE,
    FINDER_HEIGHT,
    FINDER_STRIDE,
    FINDER_WIDTH,
    CornerNet,
    Finder,
    parameter_count,
)
from perception.training.samples import Prepared, crop_sample, frame_sample, prepare

LOG = logging.getLogger(__name__)

NETWORKS = ("corners", "finder")  # in the order in which they are trained
SHARE_OF_TIME = {"corners": 0.53, "finder": 0.47}
CHECK_EVERY_SHARD = 20  # one shard in so many is not trained on, for the curves
CHECK_SAMPLES = 512
NOTHING_PER_TOTE = 0.6  # crops of no tote for each of a tote: they teach presence only
SAVE_PERIOD_S = 120.0
CHECK_PERIOD_S = 180.0
LOG_PERIOD_S = 30.0  # where the output is no terminal
WARM_UP_STEPS = 150
AVERAGE_DECAY = 0.998  # of the averaged weights, which are what is exported
CLIP_NORM = 5.0
GUIDANCE = 0.8  # weight of the maps' own cross entropy: without it the maps stay broad for thousands of steps
GROSS_ERROR = 20.0  # crop px, beyond which an error counts but little: such corners are hidden or mistaken


@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained.

    Attributes:
        minutes: of training.
        batch: samples a step.
        learning_rate: the highest.
        weight_decay: of matrices.
        muon: what the names of those layers begin with whose matrices Muon moves (Jordan et al. 2024), AdamW all else.
        device: `cpu` or `cuda`.
        seed: of weights and samples.
    """

    minutes: float
    batch: int
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    muon: tuple[str, ...] = ()
    device: str = "cpu"
    seed: int = 1


class Task(Protocol):
    """What differs between the two networks."""

    network: nn.Module

    def batch(self, indices: np.ndarray, rng: np.random.Generator, *, vary: bool) -> dict[str, Tensor]:
        """Samples, stacked."""

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """The loss and figures for the curves."""

    def epoch(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of the samples of one pass over the data, in random order."""


# --- corners ------------------------------------------------------------------------------------------------------


class CornerTask:
    """Learns corners from crops.

    Args:
        data: what was cut.
        device: where the network runs.
    """

    def __init__(self, data: Prepared, device: str) -> None:
        self._data, self._device = data, device
        self.network = CornerNet().to(device, memory_format=torch.channels_last)

    def epoch(self, rng: np.random.Generator) -> np.ndarray:
        totes = np.flatnonzero(self._data.crop_labels.kind >= 0)
        nothing = np.flatnonzero(self._data.crop_labels.kind < 0)
        some = rng.choice(nothing, min(len(nothing), int(NOTHING_PER_TOTE * len(totes))), replace=False)
        return rng.permutation(np.concatenate([totes, some]))

    def batch(self, indices: np.ndarray, rng: np.random.Generator, *, vary: bool) -> dict[str, Tensor]:
        samples = [crop_sample(self._data, int(index), rng, vary=vary) for index in indices]
        return {
            name: torch.from_numpy(np.stack([np.asarray(getattr(sample, name)) for sample in samples])).to(self._device)
            for name in ("image", "corners", "weight", "visible", "presence", "kind", "ambiguous")
        }

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        with torch.autocast(self._device, torch.bfloat16):
            corners, tote, logits = self.network(batch["image"])
        usual = self._corner_loss(corners, logits, batch, None)
        turned = self._corner_loss(corners, logits, batch, torch.from_numpy(HALF_TURN).to(self._device))
        swap = batch["ambiguous"] & (turned[0] < usual[0])  # (B,)
        each, error = torch.where(swap, turned[0], usual[0]), torch.where(swap, turned[1], usual[1])
        count = batch["weight"].sum().clamp(min=1)
        is_tote = batch["kind"] >= 0
        inside = functional.binary_cross_entropy_with_logits(corners[..., 5], batch["weight"], reduction="none")
        visible = functional.binary_cross_entropy_with_logits(corners[..., 4], batch["visible"], reduction="none")
        # Which corners are in sight or inside changes with half a turn; where either may be meant it is not learnt.
        told = (is_tote & ~batch["ambiguous"]).float()[:, None]
        judged = batch["presence"] >= 0
        presence = functional.binary_cross_entropy_with_logits(
            tote[:, 0], batch["presence"].clamp(min=0).float(), reduction="none"
        )
        kind = functional.cross_entropy(tote[:, 1:], batch["kind"].clamp(min=0).long(), reduction="none")
        loss = (
            each.sum() / count
            + 0.3 * ((inside + visible) * told).sum() / (told.sum() * corners.shape[1]).clamp(min=1)
            + (presence * judged).sum() / judged.sum().clamp(min=1)
            + 0.3 * (kind * is_tote).sum() / is_tote.sum().clamp(min=1)
        )
        with torch.no_grad():
            right = ((tote[:, 0] > 0) == (batch["presence"] > 0.5))[judged].float().mean()
            kinds = (tote[:, 1:].argmax(-1) == batch["kind"])[is_tote & judged].float().mean()
            figures = {"loss": loss.item(), "error_px": (error.sum() / count).item(), "presence_right": right.item(),
                       "kind_right": kinds.item()}  # fmt: skip
        return loss, figures

    def _corner_loss(
        self, corners: Tensor, logits: Tensor, batch: dict[str, Tensor], turn: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """(B,) loss and (B,) sum of distances of the corners in the crop, each in px, of labels turned by half or not."""
        truth, weight, visible = batch["corners"], batch["weight"], batch["visible"]  # (B, 8, 2), (B, 8), (B, 8)
        if turn is not None:
            truth, weight, visible = truth[:, turn], weight[:, turn], visible[:, turn]
        error = (corners[..., :2] - truth).abs()
        distance = error.norm(dim=-1)
        error = torch.where(error > GROSS_ERROR, GROSS_ERROR + 0.1 * (error - GROSS_ERROR), error)
        log_scale = corners[..., 2:4]
        likelihood = (error * torch.exp(-log_scale) + log_scale).sum(-1)  # of a Laplace distribution, negative, logarithm
        # The likelihood alone neglects what is hard; the plain error keeps pulling.
        plain = 0.12 * error.sum(-1) * (0.3 + 0.7 * visible)
        columns, rows = self.network.columns, self.network.rows
        off_x = (columns[None, None] - truth[..., :1]) ** 2  # (B, 8, W/4)
        off_y = (rows[None, None] - truth[..., 1:]) ** 2  # (B, 8, H/4)
        width = 2 * (0.8 * CORNER_STRIDE) ** 2
        target = (-(off_x[:, :, None, :] + off_y[:, :, :, None]) / width).flatten(2).softmax(-1)
        guidance = -(target * logits.flatten(2).log_softmax(-1)).sum(-1)
        return ((likelihood + plain + GUIDANCE * guidance) * weight).sum(-1), (distance * weight).sum(-1)


# --- finder -------------------------------------------------------------------------------------------------------


class FinderTask:
    """Learns where totes are from whole frames.

    Args:
        data: what was cut.
        device: where the network runs.
    """

    def __init__(self, data: Prepared, device: str) -> None:
        self._data, self._device = data, device
        self.network = Finder().to(device, memory_format=torch.channels_last)

    def epoch(self, rng: np.random.Generator) -> np.ndarray:
        return rng.permutation(len(self._data.frames))

    def batch(self, indices: np.ndarray, rng: np.random.Generator, *, vary: bool) -> dict[str, Tensor]:
        samples = [frame_sample(self._data, int(index), rng, vary=vary) for index in indices]
        targets = [finder_targets(sample.boxes, sample.sure) for sample in samples]
        arrays = {"image": np.stack([sample.image for sample in samples])}
        for name in targets[0]:
            arrays[name] = np.stack([target[name] for target in targets])
        return {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        with torch.autocast(self._device, torch.bfloat16):
            logits, boxes = self.network(batch["image"])
        truth, learnt = batch["map"][:, None], batch["learnt"][:, None]  # (B, 1, h, w)
        likely = logits.sigmoid()
        peaks = (truth > 0.999).float()
        # Quality focal loss (Li et al. 2020, equation 2): with a target that falls off around a middle, all of a tote teaches.
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        heat = (cross_entropy * (likely.detach() - truth) ** 2 * learnt).sum() / (truth * learnt).sum().clamp(min=1)
        near = batch["box_weight"][:, None]  # (B, 1, h, w)
        size = (batch["box"][:, :2] + batch["box"][:, 2:]).repeat(1, 2, 1, 1).clamp(min=8.0)
        off = functional.smooth_l1_loss(boxes / size, batch["box"] / size, beta=0.02, reduction="none") * near
        box = off.sum() / near.sum().clamp(min=1)
        with torch.no_grad():
            overlap = (_overlap(boxes, batch["box"]) * near[:, 0]).sum() / near.sum().clamp(min=1)
            found = ((likely > 0.4).float() * peaks * learnt).sum() / (peaks * learnt).sum().clamp(min=1)
        loss = 4.0 * heat + 4.0 * box
        return loss, {"loss": loss.item(), "heat": heat.item(), "overlap": overlap.item(), "found": found.item()}


def finder_targets(boxes: np.ndarray, sure: np.ndarray) -> dict[str, np.ndarray]:
    """What the finder shall say of totes in boxes (K, 4) px of its input.

    Returns:
        `map` (h, w) with 1 at middles and less around them, `learnt` (h, w) 0 around those it may find or not, `box` (4, h, w) px
        and `box_weight` (h, w).
    """
    height, width = FINDER_HEIGHT // FINDER_STRIDE, FINDER_WIDTH // FINDER_STRIDE
    target = np.zeros((height, width), np.float32)
    learnt = np.ones((height, width), np.float32)
    distances, box_weight = np.zeros((4, height, width), np.float32), np.zeros((height, width), np.float32)
    x = (np.arange(width) + 0.5) * FINDER_STRIDE - 0.5
    y = (np.arange(height) + 0.5) * FINDER_STRIDE - 0.5
    largest_first = np.argsort(-(boxes[:, 2:] - boxes[:, :2]).prod(axis=1)) if len(boxes) else []
    for k in largest_first:
        left, top, right, bottom = boxes[k]
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        column = int(np.clip(round((middle_x + 0.5) / FINDER_STRIDE - 0.5), 0, width - 1))
        row = int(np.clip(round((middle_y + 0.5) / FINDER_STRIDE - 0.5), 0, height - 1))
        spread = np.clip(np.array([right - left, bottom - top]) / 8, 0.6 * FINDER_STRIDE, None)
        bump = np.exp(-0.5 * ((x - x[column]) / spread[0])[None, :] ** 2 - 0.5 * ((y - y[row]) / spread[1])[:, None] ** 2)
        if not sure[k]:
            learnt[bump > 0.1] = 0.0
            continue
        target = np.maximum(target, bump)
        learnt[row, column] = 1.0
        rows, columns = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
        distances[0, rows, columns], distances[2, rows, columns] = x[None, columns] - left, right - x[None, columns]
        distances[1, rows, columns], distances[3, rows, columns] = y[rows, None] - top, bottom - y[rows, None]
        box_weight[rows, columns] = 1.0
    box_weight[(distances <= 0).any(axis=0)] = 0.0
    return {"map": target, "learnt": learnt, "box": distances, "box_weight": box_weight}


def _overlap(first: Tensor, second: Tensor) -> Tensor:
    """(B, h, w) intersection over union of boxes given as distances (B, 4, h, w) from the same point."""
    smaller = torch.minimum(first, second)
    common = (smaller[:, 0] + smaller[:, 2]) * (smaller[:, 1] + smaller[:, 3])
    areas = [(box[:, 0] + box[:, 2]) * (box[:, 1] + box[:, 3]) for box in (first, second)]
    return common / (areas[0] + areas[1] - common).clamp(min=1e-6)


# --- a run --------------------------------------------------------------------------------------------------------

TASKS = {"finder": FinderTask, "corners": CornerTask}
CLASSES = {"finder": Finder, "corners": CornerNet}
BATCH = {"finder": 8, "corners": 24}


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        steps: done.
        trained_s: seconds of training, without those in which the process had to wait for a core.
        curve: figures, by the time they were taken at.
    """

    steps: int = 0
    trained_s: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)


class Run:
    """One network's training, that can be stopped and gone on with.

    Args:
        name: of its files.
        task: makes what is learnt from data and a device.
        training, checking: data to learn from and to check with, as the task takes them.
        folder: of checkpoints.
        options: how.
    """

    def __init__(self, name: str, task: Callable[[Any, str], Task], training: Any, checking: Any, folder: Path,
                 options: TrainingOptions) -> None:  # fmt: skip
        torch.manual_seed(options.seed)
        self.name, self.options, self.progress = name, options, Progress()
        self._folder = folder
        self._task = task(training, options.device)
        self._checks = task(checking, options.device)
        self._average = [p.detach().clone() for p in self._task.network.parameters()]
        named = list(self._task.network.named_parameters())
        by_muon = {name for name, p in named if p.ndim == 2 and options.muon and name.startswith(options.muon)}
        decayed = [p for name, p in named if p.ndim > 1 and name not in by_muon]
        plain = [p for _, p in named if p.ndim <= 1]
        self._optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW([
            {"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0},
        ], lr=options.learning_rate)]  # fmt: skip
        if by_muon:
            self._optimisers.append(torch.optim.Muon([p for name, p in named if name in by_muon], lr=options.learning_rate,
                                                     weight_decay=options.weight_decay, adjust_lr_fn="match_rms_adamw"))  # fmt: skip

    @property
    def checkpoint(self) -> Path:
        """Where the run is saved."""
        return self._folder / f"{self.name}.pt"

    def resume(self) -> bool:
        """Goes on from the checkpoint; returns whether there was one.

        Raises:
            PerceptionError: it cannot be read, or is another network's.
        """
        if not self.checkpoint.exists():
            return False
        try:
            saved = torch.load(self.checkpoint, map_location=self.options.device, weights_only=True)
            self._task.network.load_state_dict(saved["network"])
            for optimiser, state in zip(self._optimisers, saved["optimisers"], strict=True):
                optimiser.load_state_dict(state)
            self._average = [value.to(self.options.device) for value in saved["average"]]
            self.progress = Progress(**saved["progress"])
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0]
            raise PerceptionError(f"{self.checkpoint} cannot be resumed from ({reason}); delete it to begin anew") from None
        return True

    def start_from(self, checkpoint: Path) -> None:
        """Takes the trunk of another network's checkpoint.

        Crops hold a tote each and teach what totes look like hundreds of times sooner than whole images, from which a
        finder that began with nothing had learnt nothing after 20 000 of them.
        """
        average = torch.load(checkpoint, map_location=self.options.device, weights_only=True)
        weights = dict(average["network"])
        names = [name for name, _ in CLASSES[checkpoint.stem]().named_parameters()]
        weights |= dict(zip(names, average["average"], strict=True))
        trunk = {name.removeprefix("trunk."): value for name, value in weights.items() if name.startswith("trunk.")}
        self._task.network.trunk.load_state_dict(trunk)
        self._average = [p.detach().clone() for p in self._task.network.parameters()]

    def go_on_from(self, checkpoint: Path) -> None:
        """Begins with all weights of an earlier run of the same network, on other data."""
        saved = torch.load(checkpoint, map_location=self.options.device, weights_only=True)
        self._task.network.load_state_dict(saved["network"])
        with torch.no_grad():
            for parameter, average in zip(self._task.network.parameters(), saved["average"], strict=True):
                parameter.copy_(average)
        self._average = [p.detach().clone() for p in self._task.network.parameters()]

    def save(self) -> None:
        """Writes the checkpoint, whole or not at all."""
        part = self.checkpoint.with_suffix(".part")
        saved = {"network": self._task.network.state_dict(), "optimisers": [each.state_dict() for each in self._optimisers]}
        torch.save(saved | {"average": self._average, "progress": asdict(self.progress)}, part)
        os.replace(part, self.checkpoint)

    def averaged_network(self) -> nn.Module:
        """The network with averaged weights, in evaluation mode."""
        network = copy.deepcopy(self._task.network)
        with torch.no_grad():
            for parameter, average in zip(network.parameters(), self._average, strict=True):
                parameter.copy_(average)
        return network.eval()

    def train(self, on_progress=lambda progress, figures: None) -> None:
        """Trains until the time is up, saving now and then.

        Args:
            on_progress: called every second or so with the progress and the latest figures.
        """
        options, progress = self.options, self.progress
        total_s = 60 * options.minutes
        order: list[int] = []
        rng = np.random.default_rng([options.seed, progress.steps])
        last_save = last_check = progress.trained_s
        last_report, recent = -math.inf, []
        self._task.network.train()
        while progress.trained_s < total_s:
            began = self._clock()
            if len(order) < options.batch:
                order = self._task.epoch(rng).tolist()
            batch = self._task.batch(np.array(order[: options.batch]), rng, vary=True)
            del order[: options.batch]
            figures = self._step(batch, progress.trained_s / total_s)
            recent.append(figures)
            progress.steps += 1
            progress.trained_s += float((self._clock() - began).min())
            if progress.trained_s - last_report > 2.0:
                last_report = progress.trained_s
                on_progress(progress, {name: float(np.mean([f[name] for f in recent[-50:]])) for name in figures})
            if progress.trained_s - last_check > CHECK_PERIOD_S:
                last_check = progress.trained_s
                self._note(recent)
                recent = []
            if progress.trained_s - last_save > SAVE_PERIOD_S:
                last_save = progress.trained_s
                self.save()
        if recent:
            self._note(recent)
        self.save()

    def _clock(self) -> np.ndarray:
        """The clock's s; on a CPU also those of the process, so that the lesser of both is what it did not wait for a core."""
        return np.array([time.monotonic(), *((time.process_time(),) if self.options.device == "cpu" else ())])

    def _step(self, batch: dict[str, Tensor], done: float) -> dict[str, float]:
        rate = self.options.learning_rate * min(1.0, (self.progress.steps + 1) / WARM_UP_STEPS)
        rate *= 0.5 * (1 + math.cos(math.pi * min(done, 1.0))) + 1e-3
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        loss, figures = self._task.loss(batch)
        for optimiser in self._optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._task.network.parameters(), CLIP_NORM)
        for optimiser in self._optimisers:
            optimiser.step()
        decay = min(AVERAGE_DECAY, (1 + self.progress.steps) / (10 + self.progress.steps))
        with torch.no_grad():
            torch._foreach_lerp_(self._average, list(self._task.network.parameters()), 1 - decay)
        return figures

    def _note(self, recent: list[dict[str, float]]) -> None:
        """Adds a point to the curve: training's figures, and those of samples that are not trained on."""
        self._checks.network = self.averaged_network()
        rng = np.random.default_rng(0)
        indices = self._checks.epoch(rng)[:CHECK_SAMPLES]
        with torch.no_grad():
            parts = [
                self._checks.loss(self._checks.batch(indices[i : i + 32], rng, vary=False))[1]
                for i in range(0, len(indices), 32)
            ]
        point = {"trained_s": self.progress.trained_s, "steps": self.progress.steps}
        point |= {f"check_{name}": float(np.mean([part[name] for part in parts])) for name in parts[0]}
        if recent:
            point |= {name: float(np.mean([f[name] for f in recent])) for name in recent[0]}
        self.progress.curve.append(point)
        (self._folder / f"{self.name}_curve.json").write_text(json.dumps(self.progress.curve, indent=1) + "\n")
        draw_curve(self.progress.curve, self._folder / f"{self.name}_curve.png", title=self.name)


def draw_curve(curve: list[dict[str, float]], path: Path, *, title: str) -> None:
    """Draws figures over training time: lines for training, dots for what is not trained on."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name.removeprefix("check_") for name in curve[-1] if name.startswith("check_")]
    figure, axes = pyplot.subplots(1, len(names), figsize=(4 * len(names), 3.2), squeeze=False)
    for axis, name in zip(axes[0], names):
        for key, style in ((name, "-"), (f"check_{name}", "o--")):
            points = [(p["trained_s"] / 60, p[key]) for p in curve if key in p]
            label = "training" if style == "-" else "not trained on"
            axis.plot(*np.array(points).reshape(-1, 2).T, style, markersize=3, label=label)
        axis.set(title=f"{title}: {name}", xlabel="minutes")
        axis.grid(alpha=0.3)
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def choose_device(asked: str) -> str:
    """`cuda` or `cpu`; `auto` takes a GPU where there is one.

    Raises:
        PerceptionError: a GPU is asked for and there is none.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise PerceptionError("device cuda: PyTorch sees no GPU here; use --device cpu or auto")
    return asked


def train(data: Path, out: Path, *, minutes: float, networks: tuple[str, ...] = NETWORKS, resume: bool = False,
          device: str = "auto", seed: int = 1, on_progress=None) -> None:  # fmt: skip
    """Trains, exports and describes the networks.

    Args:
        data: folder of a data set.
        out: folder of checkpoints, curves and, at the end, models.
        minutes: for all networks together.
        networks: which.
        resume: whether to go on from checkpoints.
        device: `auto`, `cpu` or `cuda`.
        seed: of weights and samples.
        on_progress: called with a network's name, its progress, the minutes it has, and the latest figures.

    Raises:
        PerceptionError: the data, a checkpoint or the device is unfit.
    """
    from perception.training.data_card import data_hash
    from perception.training.export import export_detector

    if minutes <= 0:
        raise PerceptionError(f"minutes must be more than 0; got {minutes:g}")
    device = choose_device(device)
    cv2.setNumThreads(1)  # crops are small: threads of OpenCV's only get in the way of PyTorch's
    out.mkdir(parents=True, exist_ok=True)
    cut = data / "prepared"
    prepare(data, cut, lambda done, total: LOG.info("cut shard %d of %d", done, total))
    training = Prepared(cut, lambda number: number % CHECK_EVERY_SHARD != 0)
    checking = Prepared(cut, lambda number: number % CHECK_EVERY_SHARD == 0)
    shares = {name: SHARE_OF_TIME[name] / sum(SHARE_OF_TIME[n] for n in networks) for name in networks}
    digest = data_hash(data)
    for name in networks:
        options = TrainingOptions(minutes=minutes * shares[name], batch=BATCH[name], device=device, seed=seed)
        run = Run(name, TASKS[name], training, checking, out, options)
        if not (resume and run.resume()) and name == "finder" and (out / "corners.pt").exists():
            run.start_from(out / "corners.pt")
        if on_progress is not None:
            run.train(lambda progress, figures, run=run: on_progress(run.name, progress, run.options.minutes, figures))
        else:
            run.train()
        network = run.averaged_network()
        export_detector(name, network, out, card={
            "parameters": parameter_count(network), "data_hash": digest, "images": len(training.frames),
            "command": "python -m perception.training.train " + " ".join(_arguments(data, out, minutes, networks, seed)),
            "options": asdict(options), "steps": run.progress.steps, "torch": torch.__version__.split("+")[0],
            "not_trained_on": {k: v for k, v in run.progress.curve[-1].items() if k.startswith("check_")},
        })  # fmt: skip


def _arguments(data: Path, out: Path, minutes: float, networks: tuple[str, ...], seed: int) -> list[str]:
    return ["--data", data.name, "--out", out.name, "--minutes", f"{minutes:g}", "--networks", *networks, "--seed", str(seed)]


def main(arguments: list[str] | None = None) -> int:
    """Runs from a command line."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    parser = argparse.ArgumentParser(
        prog="python -m perception.training.train", description="Train the networks of perception."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of a data set, from perception.training.generate")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints, curves and models")
    parser.add_argument("--minutes", type=float, default=60.0, help="for all networks together")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in --out")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    console = Console()
    logged_s = -math.inf
    try:
        with Live(Text("preparing"), console=console, refresh_per_second=1) as live:

            def show(name: str, progress: Progress, minutes: float, figures: dict[str, float]) -> None:
                nonlocal logged_s
                done = min(progress.trained_s / (60 * minutes), 1.0)
                bar = "#" * int(30 * done) + "." * (30 - int(30 * done))
                line = (f"{name} [{bar}] {progress.trained_s / 60:.1f}/{minutes:.1f} min, step {progress.steps}: "
                        + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))  # fmt: skip
                live.update(Text(line))
                if not console.is_terminal and progress.trained_s - logged_s > LOG_PERIOD_S:
                    logged_s = progress.trained_s
                    LOG.info(line)

            train(options.data, options.out, minutes=options.minutes, networks=tuple(options.networks), resume=options.resume,
                  device=options.device, seed=options.seed, on_progress=show)  # fmt: skip
    except HumanoidControlError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
