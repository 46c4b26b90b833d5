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
from perception.detector import FILES, OUTPUTS
from perception.errors import PerceptionError
from perception.keypoints import KINDS
from perception.training.networks import FINDER_HEIGHT, FINDER_WIDTH, CornerNetForExport, FinderForExport

OPSET = 18
MAX_BYTES = 10 * 1024 * 1024
TOLERANCE = 2e-3  # of what is exported against what was trained, relative to 1 or to the value, px and probabilities alike
INPUT_SIZES = {"finder": (FINDER_HEIGHT, FINDER_WIDTH), "corners": (CROP_HEIGHT, CROP_WIDTH)}


def export_detector(name: str, network: nn.Module, folder: Path, *, card: dict) -> Path:
    """Writes the ONNX file and model card of one of the detector's networks, and returns the file's path.

    Args:
        name: `finder` or `corners`.
        network: in evaluation mode.
        folder: where to.
        card: what the model card says of how it came about.

    Raises:
        PerceptionError: what was exported computes something else, or is too large to ship.
    """
    wrapped = {"finder": FinderForExport, "corners": CornerNetForExport}[name](network)
    height, width = INPUT_SIZES[name]
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8))
    shown = {"input": {"name": "image", "height": height, "width": width, "encoding": "rgb8"}, "kinds": list(KINDS)}
    return export_network(FILES[name], wrapped, {"image": images}, folder, output_names=OUTPUTS[name], card=card | shown)


def export_network(name: str, network: nn.Module, example: dict[str, torch.Tensor], folder: Path, *, output_names: tuple[str, ...], card: dict) -> Path:
    """Writes a network's ONNX file and model card, whole or not at all, and returns the file's path.

    Args:
        name: of the network and, without what follows the dot, of its files.
        network: in evaluation mode, with a tensor or a tuple of them for an output.
        example: its inputs, by their names in the ONNX file; their first dimension may be of another size at run time.
        folder: where to.
        output_names: in the ONNX file.
        card: what the model card says of how it came about.

    Raises:
        PerceptionError: what was exported computes something else, or is too large to ship.
    """
    network = network.cpu().eval()
    path = folder / f"{name}.onnx"
    with tempfile.TemporaryDirectory(dir=folder) as work:
        part = Path(work) / path.name
        batched = {of: {0: "batch"} for of in (*example, *output_names)}
        torch.onnx.export(network, tuple(example.values()), str(part), input_names=list(example), output_names=list(output_names),
                          opset_version=OPSET, dynamic_axes=batched, dynamo=False)  # fmt: skip
        if part.stat().st_size > MAX_BYTES:
            raise PerceptionError(f"{name}: {part.stat().st_size} bytes; at most {MAX_BYTES} are shipped")
        difference = parity(part, network, example)
        if difference > TOLERANCE:
            raise PerceptionError(f"{name}: the exported network is off by {difference:.2g}; at most {TOLERANCE:g} is allowed")
        part.replace(path)
    card = card | {"network": name, "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                   "bytes": path.stat().st_size, "parity": difference}  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
    return path


def parity(path: Path, network: nn.Module, example: dict[str, torch.Tensor]) -> float:
    """The largest difference, relative to 1 or the value, of an ONNX file's outputs from a network's for inputs by name."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        outputs = network(*example.values())
    expected = [output.numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]
    found = session.run(None, {name: value.numpy() for name, value in example.items()})
    return float(max(np.max(np.abs(a - b) / np.maximum(np.abs(a), 1.0)) for a, b in zip(expected, found, strict=True)))
