"""The network of a policy on poses: one trunk and several heads, whose disagreement tells how sure it is."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn

from perception.errors import PerceptionError
from policies.learned.pose_space import (
    ACTIVE, GOAL_HEADING, HANDS_HERE, HANDS_IN_TOTE, MOVES, SCALES, STEP_SIZE, STEPS, TOTE_HEADING, TOTE_IN_GOAL,
)  # fmt: skip

WIDTH, LAYERS, DOING_LAYERS, HEADS = 320, 2, 2, 4  # layers before and after the sub-task is chosen
ANCHORS = 4  # what a hand's target is told from: where the hand is, the base, the tote, and the tote's way to its goal
SAID = STEP_SIZE + 2 * 3 * (ANCHORS - 1) + 2 * ANCHORS
PLACE_SCALE = 0.1  # m, of what is not told from where the hand is
FLOW_STEPS = 6  # from noise to a chunk
EXPORTED = "network."  # what names of weights begin with in the exported file


class PoseNet(nn.Module):
    """Inputs (B, D) to what to do, as a sub-task, and then to how, as a chunk for that sub-task.

    Told the sub-task, the chunk cannot belong to another one; and whoever knows better can choose it.

    Args:
        inputs: D.
        subtasks: how many there are.
        mean, deviation: (D,) of the inputs, kept with the weights.
        width: of the trunk.
        chunks: (2, STEP_SIZE) mean and deviation of a chunk's numbers, for a flow: chunks come of noise, which is drawn towards them step
            by step (Lipman et al. 2023); None: they are said at once.
    """

    def __init__(self, inputs: int, subtasks: int, mean: Tensor, deviation: Tensor, *, width: int = WIDTH, chunks: Tensor | None = None) -> None:
        super().__init__()
        self.subtasks, self.is_flow = subtasks, chunks is not None
        if self.is_flow:
            self.register_buffer("chunks", chunks)
            self.register_buffer("noise", torch.randn(STEPS, STEP_SIZE, generator=torch.Generator().manual_seed(0)))
            self.noisy = nn.Linear(STEPS * STEP_SIZE + 1, width)
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.register_buffer("scales", torch.tensor(SCALES, dtype=torch.float32))
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(_block(width) for _ in range(LAYERS))
        self.choices = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width // 4), nn.GELU()) for _ in range(HEADS))
        self.chosen = nn.ModuleList(nn.Linear(width // 4, subtasks + 1) for _ in range(HEADS))
        self.doing = nn.Embedding(subtasks, width)
        self.doing_blocks = nn.ModuleList(_block(width) for _ in range(DOING_LAYERS))
        self.leave = nn.LayerNorm(width)
        self.heads = nn.ModuleList(nn.Sequential(nn.Linear(width, width // 2), nn.GELU()) for _ in range(HEADS))
        self.last = nn.ModuleList(nn.Linear(width // 2, STEPS * SAID) for _ in range(HEADS))

    def choose(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, WIDTH), logits of sub-tasks (B, M, K), and of the order being done (B, M)."""
        x = self.enter(((inputs - self.mean) / self.deviation).clamp(-5.0, 5.0))
        # Half the bits are enough between the first layer and the last, and train twice as fast.
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.training):
            for block in self.blocks:
                x = x + block(x)
            hidden = [choice(x) for choice in self.choices]
        said = torch.stack([chosen(each.float()) for chosen, each in zip(self.chosen, hidden)], 1)
        return x, said[..., :-1], said[..., -1]

    def act(self, inputs: Tensor, features: Tensor, subtask: Tensor) -> Tensor:
        """Chunks (B, M, STEPS, STEP_SIZE) for sub-tasks (B,), with logits for `MOVING` and `ACTIVE`; a flow's from the same noise each time."""
        if not self.is_flow:
            return self.said(inputs, features, subtask)
        begun = 0.0 * inputs[:, 0]  # (B,), of whatever size a batch is when the exported network runs
        noisy = self.noise + begun[:, None, None]
        for step in range(FLOW_STEPS):
            chunk = self.said(inputs, features, subtask, self.with_time(noisy, begun + step / FLOW_STEPS))
            noisy = noisy + (self.scaled(chunk.mean(1)) - noisy) / (FLOW_STEPS - step)  # the last step arrives
        return chunk

    def scaled(self, chunk: Tensor) -> Tensor:
        """Chunks (..., STEPS, STEP_SIZE) as a flow has them; what is a logit counts for nothing."""
        scaled = (chunk - self.chunks[0]) / self.chunks[1]
        return torch.cat([0.0 * scaled[..., : ACTIVE + 1], scaled[..., ACTIVE + 1 :]], -1)

    def with_time(self, noisy: Tensor, share: Tensor) -> Tensor:
        """(B, .) what `said` takes: chunks (B, STEPS, STEP_SIZE) between noise and truth, and the share (B,) of the way."""
        return torch.cat([noisy.flatten(1), share[:, None]], -1)

    def said(self, inputs: Tensor, features: Tensor, subtask: Tensor, noisy: Tensor | None = None) -> Tensor:
        """Chunks (B, M, STEPS, STEP_SIZE) for sub-tasks (B,): of a flow, where it will end from what is there already."""
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.training):
            x = features + self.doing(subtask) + (0.0 if noisy is None else self.noisy(noisy))
            for block in self.doing_blocks:
                x = x + block(x)
            x = self.leave(x)
            hidden = [head(x) for head in self.heads]
        steps = torch.stack([last(each.float()) for last, each in zip(self.last, hidden)], 1).unflatten(-1, (STEPS, SAID))
        chunk = steps[..., :STEP_SIZE] * self.scales
        moves = self._moves(inputs, chunk[..., MOVES[0].start : MOVES[1].stop], steps[..., STEP_SIZE:])
        return torch.cat([chunk[..., : MOVES[0].start], moves, chunk[..., MOVES[1].stop :]], -1)

    def _moves(self, inputs: Tensor, moves: Tensor, said: Tensor) -> Tensor:
        """(B, M, T, 6) moves of both hands in `base_footprint`.

        What stays where it is on a tote, or goes to one place, is one number told from there, and need not be worked out.

        Args:
            inputs: (B, D).
            moves: (B, M, T, 6) told from where the hands are.
            said: (B, M, T, 22) told from base, tote and the tote's way for each hand, and each hand's shares of all four.
        """
        told = (PLACE_SCALE * said[..., :18]).unflatten(-1, (2, 3, 3))  # hands, anchors, xyz
        shares = said[..., 18:].unflatten(-1, (2, ANCHORS)).softmax(-1)[..., None]
        here = inputs[:, None, None, HANDS_HERE].unflatten(-1, (2, 3))  # (B, 1, 1, 2, 3)
        in_tote = inputs[:, None, None, HANDS_IN_TOTE].unflatten(-1, (2, 3))
        tote_in_goal = inputs[:, None, None, None, TOTE_IN_GOAL]
        by_base = told[..., 0, :] - here
        by_tote = _turned(told[..., 1, :] - in_tote, inputs[:, None, None, None, TOTE_HEADING])
        by_goal = _turned(told[..., 2, :] - tote_in_goal, inputs[:, None, None, None, GOAL_HEADING])
        each = torch.stack([moves.unflatten(-1, (2, 3)), by_base, by_tote, by_goal], -2)  # (B, M, T, 2, 4, 3)
        return (shares * each).sum(-2).flatten(-2)


def weights_of(path: Path) -> dict[str, Tensor]:
    """The weights of an exported pose network, by the names of `PoseNet`.

    Args:
        path: of its ONNX file.

    Raises:
        PerceptionError: it cannot be read, or is no such network.
    """
    try:
        named = {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    except (OSError, DecodeError) as error:
        raise PerceptionError(f"{path} cannot be read: {error}") from None
    weights = {name.removeprefix(EXPORTED): torch.from_numpy(value.copy()) for name, value in named.items() if name.startswith(EXPORTED)}
    if "enter.weight" not in weights:
        raise PerceptionError(f"{path} is no pose network: it has no weights called {EXPORTED}enter.weight")
    return weights


def begin_as(network: PoseNet, weights: dict[str, Tensor]) -> None:
    """Gives a network the weights of one that was told less: what that was not told counts for nothing yet.

    Args:
        network: whose first inputs are those of the other.
        weights: of `weights_of`.

    Raises:
        PerceptionError: they are of a network of another shape.
    """
    weights, known = dict(weights), len(weights["mean"])
    more = network.enter.in_features - known
    if more > 0:
        weights["enter.weight"] = torch.cat([weights["enter.weight"], weights["enter.weight"].new_zeros(len(weights["enter.weight"]), more)], 1)
        for name in ("mean", "deviation"):
            weights[name] = torch.cat([weights[name], getattr(network, name)[known:].cpu()])
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise PerceptionError(f"a network of another shape cannot be gone on from: {str(error).splitlines()[-1].strip()}") from None


def _turned(vector: Tensor, heading: Tensor) -> Tensor:
    """A vector (..., 3) of what has this heading (..., 2), cosine and sine, in `base_footprint`."""
    x, y, z = vector.unbind(-1)
    cos, sin = heading.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y, z], -1)


class PoseNetForExport(nn.Module):
    """A pose network that chooses its sub-task, among those allowed, and says likelihoods for logits."""

    def __init__(self, network: PoseNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of inputs (B, D) and which sub-tasks may follow (B, K), 0 or 1."""
        features, logits, done = self.network.choose(inputs)
        likely = logits.softmax(-1) * allowed[:, None]
        likely = likely / likely.sum(-1, keepdim=True).clamp(min=1e-9)
        chunk = self.network.act(inputs, features, likely.mean(1).argmax(-1))
        flags = chunk[..., : ACTIVE + 1].sigmoid()  # MOVING and ACTIVE come first
        return torch.cat([flags, chunk[..., ACTIVE + 1 :]], -1), likely, done.sigmoid()


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
