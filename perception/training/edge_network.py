"""The network that says where in a strip an edge runs, what it learns from strips, and its export."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.edges import ACROSS, BINS
from perception.training.edge_strips import Strips
from perception.training.networks import convolution

SOFTNESS = 0.7  # bins, standard deviation of the target
BLURRED_SHARE = 0.3


class EdgeNet(nn.Module):
    """Strips (B, 3, BINS, ACROSS) from 0 to 1 to logits (B, BINS + 1): of each bin, and of the edge being in sight."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            convolution(3, 16), convolution(16, 24, stride=(1, 2)), convolution(24, 32, stride=(1, 2)), convolution(32, 48, stride=(1, 2)),
        )  # fmt: skip
        self.along = nn.Sequential(*[layer for step in (1, 2, 4, 8) for layer in (
            nn.Conv1d(48, 48, 3, padding=step, dilation=step, bias=False), nn.BatchNorm1d(48), nn.ReLU(True))])  # fmt: skip
        self.place = nn.Conv1d(48, 1, 1)
        self.sight = nn.Sequential(nn.Linear(96, 32), nn.ReLU(True), nn.Linear(32, 1))

    def forward(self, strips: Tensor) -> Tensor:
        x = self.trunk(strips - 0.45).mean(3)  # (B, 48, BINS)
        x = x + self.along(x)
        sight = self.sight(torch.cat([x.mean(2), x.amax(2)], 1))  # (B, 1)
        return torch.cat([self.place(x).squeeze(1), sight], 1)


class EdgeTask:
    """Learns from strips. See `train.Task`."""

    def __init__(self, strips: Strips, device: str) -> None:
        self._strips, self._device = strips, device
        self.network = EdgeNet().to(device)
        self._bins = (torch.arange(BINS, device=device) + 0.5) - BINS / 2

    def epoch(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of all strips, in random order."""
        return rng.permutation(len(self._strips.offsets))

    def batch(self, indices: np.ndarray, rng: np.random.Generator, *, vary: bool) -> dict[str, Tensor]:
        """Strips (B, 3, BINS, ACROSS) and offsets (B,) in bins, NaN for none."""
        images = self._strips.images[indices].astype(np.float32)
        offsets = self._strips.offsets[indices].copy()
        if vary:
            images = _varied(images, rng)
            mirrored = rng.random(len(indices)) < 0.5
            images[mirrored] = images[mirrored, :, ::-1]
        strips = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)) / 255.0).to(self._device)
        return {"strips": strips, "offsets": torch.from_numpy(offsets).to(self._device)}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Cross entropy of the bins where there is an edge, and of there being one."""
        logits, offsets = self.network(batch["strips"]), batch["offsets"]
        there = ~torch.isnan(offsets)
        sight = functional.binary_cross_entropy_with_logits(logits[:, BINS], there.float())
        chosen, true = logits[there, :BINS], offsets[there]
        target = (-((self._bins - true[:, None]) ** 2) / (2 * SOFTNESS**2)).softmax(1)
        place = -(target * chosen.log_softmax(1)).sum(1).mean() if there.any() else sight * 0.0
        with torch.no_grad():
            error = ((chosen.softmax(1) * self._bins).sum(1) - true).abs()
            figures = {"place": float(place), "error_bins": float(error.median()) if there.any() else 0.0,
                       "within_2_bins": float((error < 2).float().mean()) if there.any() else 1.0,
                       "sight_right": float(((logits[:, BINS] > 0) == there).float().mean())}  # fmt: skip
        return place + sight, figures


def _varied(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, colour, noise and blur along a random direction, each strip its own; images (B, BINS, ACROSS, 3)."""
    import cv2

    count = len(images)
    gain = np.exp(rng.normal(0.0, 0.25, (count, 1, 1, 1))) * np.exp(rng.normal(0.0, 0.06, (count, 1, 1, 3)))
    images = 255.0 * np.clip(images * gain / 255.0, 0.0, None) ** np.exp(rng.normal(0.0, 0.15, (count, 1, 1, 1)))
    for k in np.flatnonzero(rng.random(count) < BLURRED_SHARE):
        size = int(rng.integers(2, 4))
        images[k] = cv2.blur(images[k], (size, size) if rng.random() < 0.5 else (1, size))
    images += rng.normal(0.0, 1.0, images.shape) * rng.uniform(0.0, 8.0, (count, 1, 1, 1))
    return np.clip(images, 0.0, 255.0).astype(np.float32)


def example() -> Tensor:
    """An input, for export and for its check."""
    return torch.rand(3, 3, BINS, ACROSS, generator=torch.Generator().manual_seed(0))
