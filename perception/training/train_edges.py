"""Trains the network that finds edges of surfaces: `python -m perception.training.train_edges --data DIR --out DIR`.

Strips are cut first, those to train on and, of looks that are never trained on, those to check with. A run that was
stopped goes on with `--resume`.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from humanoid_control.errors import HumanoidControlError
from perception.edges import NETWORK
from perception.errors import PerceptionError
from perception.training.edge_network import EdgeTask, example
from perception.training.edge_strips import Strips, generate_strips
from perception.training.export import export_network
from perception.training.networks import parameter_count
from perception.training.train import Progress, Run, TrainingOptions, choose_device

LOG = logging.getLogger(__name__)

BATCH = 128
CHECK_IMAGES = 100
CHECK_SEED = 1_000_000  # added to the data's
LOG_PERIOD_S = 20.0


def train_edges(data: Path, out: Path, *, images: int, minutes: float, seed: int = 11, resume: bool = False,
                device: str = "auto") -> Path:  # fmt: skip
    """Cuts strips where there are none yet, trains, and exports; returns the network's file.

    Args:
        data: folder of strips.
        out: folder of the checkpoint, the curves and the model.
        images: from which strips are cut.
        minutes: of training.
        seed: of data, weights and samples.
        resume: whether to go on from the checkpoint.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        PerceptionError: the checkpoint or the device is unfit, or what was exported computes something else.
    """
    if minutes <= 0:
        raise PerceptionError(f"minutes must be more than 0; got {minutes:g}")
    generate_strips(data / "train", images=images, seed=seed)
    generate_strips(data / "held_out", images=CHECK_IMAGES, seed=seed + CHECK_SEED, look="held_out")
    training, checking = Strips.load(data / "train"), Strips.load(data / "held_out")
    out.mkdir(parents=True, exist_ok=True)
    options = TrainingOptions(minutes=minutes, batch=BATCH, device=choose_device(device), seed=seed)
    run = Run("edges", EdgeTask, training, checking, out, options)
    if resume:
        run.resume()
    logged_s = -np.inf

    def log(progress: Progress, figures: dict[str, float]) -> None:
        nonlocal logged_s
        if progress.trained_s - logged_s > LOG_PERIOD_S:
            logged_s = progress.trained_s
            LOG.info("%.1f of %.1f min, step %d: %s", progress.trained_s / 60, minutes, progress.steps,
                     ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))  # fmt: skip

    run.train(log)
    network = run.averaged_network()
    return export_network(NETWORK, network, {"strips": example()}, out, output_names=("logits",), card={
        "parameters": parameter_count(network), "strips": len(training.offsets), "images": images, "steps": run.progress.steps, "options": asdict(options),
        "command": f"python -m perception.training.train_edges --images {images} --minutes {minutes:g} --seed {seed}",
        "data_hash": hashlib.sha256(training.offsets.tobytes()).hexdigest(), "torch": torch.__version__.split("+")[0],
        "not_trained_on": {name: value for name, value in run.progress.curve[-1].items() if name.startswith("check_")},
    })  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Runs from a command line."""
    parser = argparse.ArgumentParser(prog="python -m perception.training.train_edges", description="Train the edge network.")
    parser.add_argument("--data", type=Path, required=True, help="folder of strips, filled where it is empty")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint, curves and model")
    parser.add_argument("--images", type=int, default=1200, help="from which strips are cut (default: 1200)")
    parser.add_argument("--minutes", type=float, default=15.0, help="of training (default: 15)")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        path = train_edges(options.data, options.out, images=options.images, minutes=options.minutes, seed=options.seed,
                           resume=options.resume, device=options.device)  # fmt: skip
    except HumanoidControlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
