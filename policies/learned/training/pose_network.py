"""The network of a policy on poses: one trunk and several heads, whose disagreement tells how sure it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from policies.learned.pose_space import ACTIVE, MOVING, SCALES, STEP_SIZE, STEPS

WIDTH, LAYERS, HEADS = 320, 3, 4


class PoseNet(nn.Module):
    """Inputs (B, D) to chunks, sub-tasks and whether the order is done.

    Args:
        inputs: D.
        subtasks: how many there are.
        mean, deviation: (D,) of the inputs, kept with the weights.
    """

    def __init__(self, inputs: int, subtasks: int, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.subtasks = subtasks
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.register_buffer("scales", torch.tensor(SCALES, dtype=torch.float32))
        self.enter = nn.Linear(inputs, WIDTH)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)) for _ in range(LAYERS)
        )
        self.leave = nn.LayerNorm(WIDTH)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH // 2), nn.GELU(), nn.Linear(WIDTH // 2, STEPS * STEP_SIZE + subtasks + 1))
            for _ in range(HEADS)
        )

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Chunks (B, M, STEPS, STEP_SIZE) with logits for `MOVING` and `ACTIVE`, logits of sub-tasks (B, M, K) and of done (B, M)."""
        x = self.enter(((inputs - self.mean) / self.deviation).clamp(-5.0, 5.0))  # (B, WIDTH)
        for block in self.blocks:
            x = x + block(x)
        x = self.leave(x)
        said = torch.stack([head(x) for head in self.heads], 1)  # (B, M, ...)
        chunk = said[..., : STEPS * STEP_SIZE].unflatten(-1, (STEPS, STEP_SIZE)) * self.scales
        return chunk, said[..., STEPS * STEP_SIZE : -1], said[..., -1]


class PoseNetForExport(nn.Module):
    """A pose network with likelihoods for logits."""

    def __init__(self, network: PoseNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        chunk, subtask, done = self.network(inputs)
        flags = chunk[..., : ACTIVE + 1].sigmoid()  # MOVING and ACTIVE come first
        return torch.cat([flags, chunk[..., ACTIVE + 1 :]], -1), subtask.softmax(-1), done.sigmoid()


