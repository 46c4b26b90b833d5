"""Shipped networks: an ONNX file and a card beside it that names it and its sha256."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import onnxruntime

from perception.errors import PerceptionError

DEFAULT_FOLDER = Path(__file__).resolve().parent / "models"


def open_network(name: str, folder: Path | str | None = None, *, threads: int = 1) -> tuple[onnxruntime.InferenceSession, str]:
    """Opens a network after checking that it is the one its card tells of; returns it and its sha256.

    Args:
        name: of the network; its file is `<name>.onnx`, its card `<name>.json`.
        folder: where both lie; by default what is shipped.
        threads: it may compute on.

    Raises:
        PerceptionError: a file is missing, corrupt or another network's; the text has the hash.
    """
    folder = Path(folder) if folder is not None else DEFAULT_FOLDER
    path, card_path = folder / f"{name}.onnx", folder / f"{name}.json"
    try:
        data = path.read_bytes()
        card = json.loads(card_path.read_text())
    except (OSError, ValueError) as error:
        raise PerceptionError(f"the network {name} cannot be read: {error}") from None
    digest = hashlib.sha256(data).hexdigest()
    if card.get("sha256") != digest:
        raise PerceptionError(f"{path} has sha256 {digest}, its card {card_path.name} says {card.get('sha256')}: it is corrupt or another")
    if card.get("network") != name:
        raise PerceptionError(f"{path} (sha256 {digest}) is the network {card.get('network')}; {name} is needed")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"]), digest
    except Exception as error:  # ONNX Runtime raises classes of its own, which it does not export
        raise PerceptionError(f"{path} (sha256 {digest}) is no network: {str(error).splitlines()[0]}") from None
