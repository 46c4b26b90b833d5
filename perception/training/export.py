"""From a trained network to what ships: an ONNX file, checked against the network it came from, and its model card."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from perception.crops import CROP_HEIGHT, CROP_WIDTH
from perception.errors import PerceptionError
from perception.keypoints import KINDS
from perception.training.networks import FINDER_HEIGHT, FINDER_WIDTH, CornerNetForExport, FinderForExport

OPSET = 18
MAX_BYTES = 10 * 1024 * 1024
TOLERANCE = 2e-3  # of what is exported against what was trained, relative to 1 or to the value, px and probabilities alike
FILES = {"finder": "tote_finder.onnx", "corners": "tote_corners.onnx"}
OUTPUTS = {"finder": ("likely", "boxes"), "corners": ("corners", "tote")}
INPUT_SIZES = {"finder": (FINDER_HEIGHT, FINDER_WIDTH), "corners": (CROP_HEIGHT, CROP_WIDTH)}


def export_network(name: str, network: nn.Module, folder: Path, *, card: dict) -> Path:
    """Writes a network's ONNX file and model card, and returns the file's path.

    Args:
        name: `finder` or `corners`.
        network: in evaluation mode.
        folder: where to.
        card: what the model card says of how it came about.

    Raises:
        PerceptionError: what was exported computes something else, or is too large to ship.
    """
    wrapped = {"finder": FinderForExport, "corners": CornerNetForExport}[name](network).cpu().eval()
    height, width = INPUT_SIZES[name]
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (2, height, width, 3), np.uint8))
    path = folder / FILES[name]
    with tempfile.TemporaryDirectory(dir=folder) as work:
        part = Path(work) / path.name
        batched = {name: {0: "batch"} for name in ("image", *OUTPUTS[name])}
        torch.onnx.export(wrapped, (images,), str(part), input_names=["image"], output_names=list(OUTPUTS[name]),
                          opset_version=OPSET, dynamic_axes=batched, dynamo=False)  # fmt: skip
        if part.stat().st_size > MAX_BYTES:
            raise PerceptionError(f"{name}: {part.stat().st_size} bytes; at most {MAX_BYTES} are shipped")
        difference = parity(part, wrapped, images)
        if difference > TOLERANCE:
            raise PerceptionError(f"{name}: the exported network is off by {difference:.2g}; at most {TOLERANCE:g} is allowed")
        part.replace(path)
    card = card | {
        "network": path.stem,
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "input": {"name": "image", "height": height, "width": width, "encoding": "rgb8"},
        "kinds": list(KINDS),
        "parity": difference,
    }
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
    return path


def parity(path: Path, network: nn.Module, images: torch.Tensor) -> float:
    """The largest difference, relative to 1 or the value, of an ONNX file's outputs from a network's for images (B, H, W, 3)."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = [output.numpy() for output in network(images)]
    found = session.run(None, {"image": images.numpy()})
    return float(max(np.max(np.abs(a - b) / np.maximum(np.abs(a), 1.0)) for a, b in zip(expected, found, strict=True)))
