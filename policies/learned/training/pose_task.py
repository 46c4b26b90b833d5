"""What a policy on poses learns from demonstrations: frames with their inputs and the chunks that follow them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from policies.data import schema
from policies.data.reader import Demonstrations
from policies.learned import pose_space
from policies.learned.pose_space import ACTIVE, MOVES, MOVING, SCALES, STEPS, TURNS, VELOCITY, encode_chunk, footprints_of, pose_inputs
from policies.learned.training.pose_network import HEADS, PoseNet

POSITION_NOISE, HEADING_NOISE = 0.001, 0.003  # m, rad, of the tote's pose: no rung is exact
FORGOTTEN_SHARE = 0.15  # of samples whose memory is off by a sub-task, or by its time: it will err at run time
DONE_S = 0.3  # s before a demonstration's end that count as done
BEGIN = "begin"  # the name of the sub-task before the first, whose number is 0


@dataclass(frozen=True)
class PoseFrames:
    """Frames of many demonstrations.

    Attributes:
        state, goal, way, tote: (N, .) as `pose_space.pose_inputs` takes them.
        subtask: (N,) number of the sub-task at the frame,
        before: (N,) at the frame before it,
        elapsed_s: (N,) and for how long the robot had been in that.
        chunk: (N, STEPS, STEP_SIZE),
        valid: (N, STEPS) which of it may be learnt.
        done: (N,).
        episode: (N,).
        subtasks: names by number; the first is that of before an order.
    """

    state: np.ndarray
    goal: np.ndarray
    way: np.ndarray
    tote: np.ndarray
    subtask: np.ndarray
    before: np.ndarray
    elapsed_s: np.ndarray
    chunk: np.ndarray
    valid: np.ndarray
    done: np.ndarray
    episode: np.ndarray
    subtasks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.subtask)

    def part(self, rows: np.ndarray) -> PoseFrames:
        """Some of the frames, by index."""
        arrays = {name: getattr(self, name)[rows] for name in self.__dataclass_fields__ if name != "subtasks"}
        return PoseFrames(**arrays, subtasks=self.subtasks)


def read_frames(data: Demonstrations) -> PoseFrames:
    """All frames of a data set.

    Args:
        data: made with the frames' rate of a chunk's steps.

    Raises:
        DataSetError: a column is missing.
    """
    subtasks = (BEGIN, *data.subtasks)
    subtask = data.column(schema.SUBTASK_INDEX) + 1
    columns = {name: data.column(name) for name in (schema.STATE, schema.GOAL, schema.WAY, schema.TOTE_POSE, schema.ACTION)}
    footprints, clean = footprints_of(data.column(schema.BASE_POSE).astype(float)), data.column(schema.CLEAN_STEPS)
    chunk = np.empty((data.frames, STEPS, pose_space.STEP_SIZE), np.float32)
    valid = np.zeros((data.frames, STEPS), bool)
    before, elapsed_s, done = np.zeros(data.frames, int), np.zeros(data.frames), np.zeros(data.frames, np.float32)
    episode = np.zeros(data.frames, int)
    for index in range(len(data)):
        span = data.span(index)
        episode[span] = index
        before[span] = np.concatenate([[0], subtask[span][:-1]])
        for frame in range(span.start, span.stop):
            if frame > span.start + 1 and before[frame] == before[frame - 1]:
                elapsed_s[frame] = elapsed_s[frame - 1] + 1.0 / data.fps
        rows = np.minimum(np.arange(span.start, span.stop)[:, None] + np.arange(STEPS), span.stop - 1)  # (T, STEPS)
        chunk[span] = encode_chunk(columns[schema.ACTION][rows].astype(float), footprints[rows], columns[schema.STATE][span].astype(float))
        valid[span] = np.arange(STEPS) < np.minimum(clean[span], span.stop - np.arange(span.start, span.stop))[:, None]
        done[span.stop - round(DONE_S * data.fps) : span.stop] = 1.0
    return PoseFrames(columns[schema.STATE], columns[schema.GOAL], columns[schema.WAY], columns[schema.TOTE_POSE], subtask, before,
                      elapsed_s, chunk, valid, done, episode, subtasks)  # fmt: skip


class PoseTask:
    """Learns chunks, sub-tasks and ends. See `perception.training.train.Task`.

    Args:
        frames: to learn from.
        device: where the network runs.
    """

    def __init__(self, frames: PoseFrames, device: str) -> None:
        self._frames, self._device = frames, device
        rows = np.linspace(0, len(frames) - 1, min(len(frames), 20_000)).astype(int)
        inputs = self._inputs(rows, frames.before[rows], frames.elapsed_s[rows], frames.tote[rows])
        deviation = np.maximum(inputs.std(axis=0), 0.02)
        self.network = PoseNet(inputs.shape[1], len(frames.subtasks), torch.from_numpy(inputs.mean(axis=0)), torch.from_numpy(deviation)).to(device)
        self._scales = torch.tensor(SCALES, dtype=torch.float32, device=device)

    def _inputs(self, rows: np.ndarray, before: np.ndarray, elapsed_s: np.ndarray, tote: np.ndarray) -> np.ndarray:
        frames = self._frames
        return pose_inputs(frames.state[rows], frames.goal[rows], frames.way[rows], tote, before, elapsed_s, subtasks=len(frames.subtasks))

    def epoch(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of all frames in random order; changes of sub-task come three times as often."""
        changes = np.flatnonzero(self._frames.subtask != self._frames.before)
        near = np.unique(np.concatenate([changes + k for k in (-2, -1, 0, 1)]).clip(0, len(self._frames) - 1))
        return rng.permutation(np.concatenate([np.arange(len(self._frames)), near, near]))

    def batch(self, indices: np.ndarray, rng: np.random.Generator, *, vary: bool) -> dict[str, Tensor]:
        frames, count = self._frames, len(indices)
        before, elapsed_s, tote = frames.before[indices].copy(), frames.elapsed_s[indices].copy(), frames.tote[indices].copy()
        if vary:
            tote[:, :3] += rng.normal(0.0, POSITION_NOISE, (count, 3))
            tote[:, 3:5] += HEADING_NOISE * rng.standard_normal((count, 1)) * np.column_stack([-tote[:, 4], tote[:, 3]])
            forgotten = rng.random(count) < FORGOTTEN_SHARE
            before[forgotten] = np.where(rng.random(forgotten.sum()) < 0.5, frames.subtask[indices][forgotten],
                                         rng.integers(0, len(frames.subtasks), forgotten.sum()))  # fmt: skip
            elapsed_s[forgotten] *= rng.random(forgotten.sum())
            elapsed_s *= np.exp(rng.normal(0.0, 0.1, count))
        arrays = {
            "inputs": self._inputs(indices, before, elapsed_s, tote), "chunk": frames.chunk[indices],
            "valid": frames.valid[indices].astype(np.float32), "subtask": frames.subtask[indices], "done": frames.done[indices],
            # Each head learns from another half of the demonstrations most, so that they differ where there are few.
            "share": np.array([[0.25 + 1.5 * ((episode * 2654435761 + head * 40503) >> 7 & 1) for head in range(HEADS)]
                               for episode in frames.episode[indices].tolist()], np.float32),
        }  # fmt: skip
        return {name: torch.from_numpy(np.ascontiguousarray(array)).to(self._device) for name, array in arrays.items()}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        chunk, subtask, done = self.network(batch["inputs"])
        truth, valid, share = batch["chunk"][:, None], batch["valid"][:, None], batch["share"]  # (B, 1, T, S), (B, 1, T), (B, M)
        moving, active = truth[..., MOVING], truth[..., ACTIVE]
        off = ((chunk - truth) / self._scales).abs()  # (B, M, T, S)
        meant = torch.ones_like(truth)
        meant[..., VELOCITY] = moving[..., None]
        for which in (*MOVES, *TURNS):
            meant[..., which] = active[..., None]
        meant[..., : ACTIVE + 1] = 0.0
        count = valid.sum().clamp(min=1)
        weight = (valid * share[..., None])  # (B, M, T)
        moves = (off * meant).sum(-1)
        flags = functional.binary_cross_entropy_with_logits(
            chunk[..., : ACTIVE + 1], truth[..., : ACTIVE + 1].expand_as(chunk[..., : ACTIVE + 1]), reduction="none").sum(-1)  # fmt: skip
        heads = chunk.shape[1]
        named = functional.cross_entropy(subtask.flatten(0, 1), batch["subtask"].repeat_interleave(heads), reduction="none").view(-1, heads)
        ended = functional.binary_cross_entropy_with_logits(done, batch["done"][:, None].expand_as(done), reduction="none")
        loss = ((0.3 * moves + flags) * weight).sum() / (count * heads) + ((named + 0.5 * ended) * share).mean()
        with torch.no_grad():
            held = (active[:, 0] > 0.5) & (valid[:, 0] > 0)  # (B, T)
            hand = (chunk.mean(1)[..., MOVES[0]] - batch["chunk"][..., MOVES[0]]).norm(dim=-1)
            right = (subtask.softmax(-1).mean(1).argmax(-1) == batch["subtask"]).float().mean()
            figures = {"loss": loss.item(), "hand_mm": 1e3 * (hand * held).sum().item() / held.sum().clamp(min=1).item(),
                       "subtask_right": right.item(), "moving_right": ((chunk.mean(1)[..., MOVING] > 0) == (moving[:, 0] > 0.5)).float().mean().item()}  # fmt: skip
        return loss, figures
