"""What a policy on poses learns from demonstrations: frames with their inputs and the chunks that follow them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from humanoid_control.robot_model import RobotModel
from perception.network_file import open_network
from policies.data import schema
from policies.data.demonstration import SUCCESS
from policies.data.errors import DataSetError
from policies.data.reader import Demonstrations
from policies.learned import pose_space
from policies.learned.pose_policy import DONE_FROM
from policies.learned.pose_space import (
    ACTIVE, GOAL_PLACE, GOAL_SURFACE, MOVES, MOVING, REPLAN_S, SCALES, SOURCE_PLACE, SOURCE_SURFACE, STEP_S, STEPS, TURNS, VELOCITY,
    encode_chunk, footprints_of, pose_inputs, reference_hands,
)  # fmt: skip
from policies.learned.training.frames import Frames
from policies.learned.training.mirror import mirrors
from policies.learned.training.pose_network import HEADS, WIDTH, PoseNet
from policies.subtasks import SUBTASKS

L1, L2, FLOW = "l1", "l2", "flow"
LOSSES = (L1, L2, FLOW)  # of chunks: how far they are off, its square, or of a flow that leads to them from noise
ARRIVED_FROM = 0.9  # of the way from noise, from which on a flow's error is weighted alike
MIRRORED_SHARE = 0.5  # of samples
POSITION_NOISE, HEADING_NOISE = 0.001, 0.003  # m, rad, of what is seen: no rung is exact; with the tracker's 2.5 mm, hands no longer follow what they see
FORGOTTEN_SHARE = 0.15  # of samples whose memory is off by a sub-task, or by its time: it will err at run time
BEGINS_S, LATE_S = 0.15, 1.0  # s of a sub-task at whose beginning all may as well have waited so much longer: nothing moves before it is chosen
INTERVENTION_TIMES = 2  # that a frame in which a person drove comes for one of another: there the policy was wrong
EXACT = [SUBTASKS.index(name) for name in ("reach", "grip", "set_down", "let_go", "reach_lip", "grip_lip")]  # learnt more often
STEP_WEIGHTS = np.where(np.arange(STEPS) <= round((REPLAN_S + 0.3) / STEP_S), 1.5, 0.4)  # what is played counts, not what comes after
BEFORE_FAILURE_S = 3.0  # s before the end of an order that failed by turns, of which nothing is learnt
LASTED = 98.0  # percentile of how long a sub-task lasts
TIMEOUT = "timeout"
DONE_S = 0.3  # s before a demonstration's end that count as done


@dataclass(frozen=True)
class PoseFrames(Frames):
    """Frames of many demonstrations.

    Attributes:
        state, reference, goal, way, tote: (N, .) as `pose_space.pose_inputs` takes them.
        told: (N, F) what the network is told beside them; a teacher nothing.
        subtask: (N,) number of the sub-task at the frame,
        since_s: (N,) s that it had lasted by then,
        turn_s: (N,) s since the expert began or took over.
        chunk: (N, STEPS, STEP_SIZE),
        valid: (N, STEPS) which of it may be learnt.
        done: (N,).
        intervention: (N,) bool, a person drove.
        labelled: (N,) bool, a learner drove, and a teacher says what it should have done.
    """

    state: np.ndarray
    reference: np.ndarray
    goal: np.ndarray
    way: np.ndarray
    tote: np.ndarray
    told: np.ndarray
    subtask: np.ndarray
    since_s: np.ndarray
    turn_s: np.ndarray
    chunk: np.ndarray
    valid: np.ndarray
    done: np.ndarray
    intervention: np.ndarray
    labelled: np.ndarray


Teacher = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Inputs (N, D) on true poses to chunks (N, STEPS, STEP_SIZE), sub-tasks (N,) and ends (N,) bool."""


def teacher_of(path: Path) -> Teacher:
    """What an exported teacher says.

    Args:
        path: of its ONNX file.

    Raises:
        PerceptionError: it cannot be read, or is not what its card tells of.
    """
    session, _ = open_network(path.stem, path.parent)

    def says(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # All sub-tasks are allowed: where a learner got to, none that it saw before need have led.
        chunks, likely, done = session.run(None, {"inputs": inputs, "allowed": np.ones((len(inputs), len(SUBTASKS)), np.float32)})
        chunk = chunks.mean(axis=1)
        chunk[..., : ACTIVE + 1] = chunk[..., : ACTIVE + 1] > 0.5
        return chunk, likely.mean(axis=1).argmax(axis=1), done.mean(axis=1) > DONE_FROM

    return says


def read_frames(data: Demonstrations, *, seen: tuple[np.ndarray, np.ndarray] | None = None, teacher: Teacher | None = None) -> PoseFrames:
    """All frames of a data set in which the expert drove; of orders that failed, those that cannot have led to it.

    Args:
        data: made with the frames' rate of a chunk's steps.
        seen: (frames, 9) the tote as a student sees it, and (frames, F) what it is told beside it; None: the tote as it is, and nothing.
        teacher: who says for the frames in which a learner drove what it should have done; None: they are left out.

    Raises:
        DataSetError: a column is missing, or a sub-task is of no known name.
    """
    unknown = set(data.subtasks) - set(SUBTASKS)
    if unknown:
        raise DataSetError(f"{data.folder} has sub-tasks that are none of {', '.join(SUBTASKS)}: {', '.join(sorted(unknown))}.")
    subtask = np.array([SUBTASKS.index(name) for name in data.subtasks])[data.column(schema.SUBTASK_INDEX)]
    expert = data.column(schema.EXPERT).astype(bool)
    # A recorded robot knows of tote and base what it saw and estimated.
    tote, base = (schema.first_there(data.features, *names) for names in ((schema.TOTE_POSE, schema.SEEN_TOTE), (schema.BASE_POSE, schema.BASE_ESTIMATE)))
    columns = {name: data.column(name) for name in (schema.STATE, schema.GOAL, schema.WAY, schema.ACTION, schema.ACTION_SENT)}
    totes, told = seen if seen is not None else (data.column(tote), np.zeros((data.frames, 0), np.float32))
    reference = reference_hands(columns[schema.ACTION_SENT], columns[schema.STATE])
    footprints, clean = footprints_of(data.column(base).astype(float)), data.column(schema.CLEAN_STEPS)
    chunk = np.empty((data.frames, STEPS, pose_space.STEP_SIZE), np.float32)
    valid = np.zeros((data.frames, STEPS), bool)
    since_s, turn_s, done = np.zeros(data.frames), np.zeros(data.frames), np.zeros(data.frames, np.float32)
    episode, learnt = np.zeros(data.frames, int), expert.copy()
    intervention = data.column(schema.INTERVENTION).astype(bool) if schema.INTERVENTION in data.features else np.zeros(data.frames, bool)
    for index in range(len(data)):
        span = data.span(index)
        episode[span] = index
        for frame in range(span.start + 1, span.stop):
            if expert[frame] == expert[frame - 1]:
                turn_s[frame] = turn_s[frame - 1] + 1.0 / data.fps
                since_s[frame] = since_s[frame - 1] + 1.0 / data.fps if subtask[frame] == subtask[frame - 1] else 0.0
        rows = np.minimum(np.arange(span.start, span.stop)[:, None] + np.arange(STEPS), span.stop - 1)  # (T, STEPS)
        chunk[span] = encode_chunk(columns[schema.ACTION][rows].astype(float), footprints[rows], reference[span].astype(float))
        clean_now = np.arange(STEPS) < np.minimum(clean[span], span.stop - np.arange(span.start, span.stop))[:, None]
        # Walking and standing begin with their sub-task, not a step too early: until then the last step goes on. Hands may go ahead.
        moving = chunk[span, :, MOVING]
        early = np.cumsum((subtask[rows] != subtask[span, None]) & (moving != moving[:, :1]), axis=1) > 0
        last = np.where(early.any(axis=1), early.argmax(axis=1), STEPS) - 1
        chunk[span] = np.take_along_axis(chunk[span], np.minimum(np.arange(STEPS), last[:, None])[..., None], axis=1)
        valid[span] = clean_now | (early & np.take_along_axis(clean_now, last[:, None], axis=1))
        if data.episodes[index]["outcome"] == SUCCESS:
            done[span.stop - round(DONE_S * data.fps) : span.stop] = 1.0
        else:
            learnt[span] &= _learnt_of_failure(data.episodes[index]["outcome"], expert[span], data.fps)
    frames = PoseFrames(state=columns[schema.STATE], reference=reference, goal=columns[schema.GOAL], way=columns[schema.WAY], tote=totes, told=told,
                        subtask=subtask, since_s=since_s, turn_s=turn_s, chunk=chunk, valid=valid, done=done, episode=episode,
                        intervention=intervention, labelled=~expert)  # fmt: skip
    if teacher is not None and not expert.all():
        frames, learnt = _labelled(frames, data.column(tote), teacher), learnt | ~expert
    return frames.part(np.flatnonzero(learnt))


def _labelled(frames: PoseFrames, totes: np.ndarray, teacher: Teacher) -> PoseFrames:
    """The frames with what a teacher says, who knows the totes (N, 9) as they are, where a learner drove."""
    rows = np.flatnonzero(frames.labelled)
    before, elapsed_s = memory_of(frames, rows, np.full(len(rows), round(REPLAN_S / STEP_S)))
    given = {name: getattr(frames, name)[rows] for name in ("state", "reference", "goal", "way")}
    chunk, subtask, done = teacher(pose_inputs(**given, tote=totes[rows], subtask=before, elapsed_s=elapsed_s, subtasks=len(SUBTASKS)))
    labelled = replace(frames, subtask=frames.subtask.copy(), since_s=frames.since_s.copy())
    labelled.chunk[rows], labelled.valid[rows], labelled.subtask[rows], labelled.done[rows] = chunk, True, subtask, done
    for row in rows:  # what it remembers is what it should have said
        goes_on = row > 0 and frames.turn_s[row] > 0.0 and labelled.subtask[row] == labelled.subtask[row - 1]
        labelled.since_s[row] = labelled.since_s[row - 1] + STEP_S if goes_on else 0.0
    return labelled


def _learnt_of_failure(outcome: str, expert: np.ndarray, fps: int) -> np.ndarray:
    """(T,) bool frames of a failed order that are learnt: what the expert made of a learner's states, but for what may have led
    to the end. An order that the expert failed alone teaches nothing.

    Args:
        outcome: why it failed; too little time, taken by turns, is nobody's fault.
        expert: (T,) whether the expert drove.
        fps: frames per second.
    """
    if expert.all():
        return np.zeros(len(expert), bool)
    return expert & (np.arange(len(expert)) < len(expert) - (0 if outcome == TIMEOUT else round(BEFORE_FAILURE_S * fps)))


def memory_of(frames: PoseFrames, rows: np.ndarray, ago: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a policy remembers at some frames that thought last so many frames ago: its sub-task then, and for how many s by now.

    Who has just taken over knows nothing of what was before.
    """
    known = frames.turn_s[rows] > (ago - 0.5) * STEP_S
    then = np.where(known, rows - ago, rows)
    return np.where(known, frames.subtask[then], 0), np.where(known, frames.since_s[then] + ago * STEP_S, frames.turn_s[rows])


def following(frames: PoseFrames) -> np.ndarray:
    """(K, K) bool which sub-tasks come after each within the time between two thoughts, as demonstrated."""
    found, rows = np.eye(len(SUBTASKS), dtype=bool), np.arange(len(frames))
    for ago in range(1, round(REPLAN_S / STEP_S) + 2):
        before, _ = memory_of(frames, rows, np.full(len(rows), ago))
        found[before, frames.subtask] = True
    return found


def standing(frames: PoseFrames) -> np.ndarray:
    """(K,) bool in which sub-tasks the base was never seen to walk."""
    return np.array([not (frames.chunk[frames.subtask == number, 0, MOVING] > 0.5).any() for number in range(len(SUBTASKS))])


def longest(frames: PoseFrames) -> np.ndarray:
    """(K,) s that a sub-task lasted, at the most but for one of fifty; infinite for one that was never seen."""
    ends = np.flatnonzero(np.append((np.diff(frames.subtask) != 0) | (np.diff(frames.episode) != 0), True))
    return np.array([np.percentile(lasted, LASTED) if len(lasted) else np.inf
                     for lasted in (frames.since_s[ends[frames.subtask[ends] == number]] for number in range(len(SUBTASKS)))])  # fmt: skip


class PoseTask:
    """Learns chunks, sub-tasks and ends. See `perception.training.train.Task`.

    Args:
        frames: to learn from.
        device: where the network runs.
        loss: of chunks, one of `LOSSES`.
        width: of the network.
    """

    def __init__(self, frames: PoseFrames, device: str, *, loss: str = L1, width: int = WIDTH) -> None:
        self._frames, self._device, self._mirrors, self._loss = frames, device, mirrors(RobotModel.load()), loss
        rows = np.linspace(0, len(frames) - 1, min(len(frames), 20_000)).astype(int)
        inputs = self.batch(rows, np.random.default_rng(0), vary=True)["inputs"].cpu().numpy()
        deviation = np.maximum(inputs.std(axis=0), 0.02)
        said = frames.chunk[rows][frames.valid[rows]]
        self.network = PoseNet(
            inputs.shape[1], len(SUBTASKS), torch.from_numpy(inputs.mean(axis=0)), torch.from_numpy(deviation), width=width,
            chunks=torch.from_numpy(np.stack([said.mean(axis=0), np.maximum(said.std(axis=0), SCALES)]).astype(np.float32)) if loss == FLOW else None,
        ).to(device)  # fmt: skip
        self._scales = torch.tensor(SCALES, dtype=torch.float32, device=device)
        self._step_weights = torch.tensor(STEP_WEIGHTS, dtype=torch.float32, device=device)

    def epoch(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of all frames in random order; more often at changes of sub-task, where millimetres count, turned away, and by a person."""
        changes = np.flatnonzero(self._frames.since_s == 0.0)
        near = np.unique(np.concatenate([changes + k for k in range(-3, 6)]).clip(0, len(self._frames) - 1))
        exact = np.flatnonzero(np.isin(self._frames.subtask, EXACT))
        goal, walks = self._frames.goal, self._frames.chunk[:, 0, MOVING] > 0.5
        ends = np.where((self._frames.subtask == SUBTASKS.index("carry"))[:, None], goal[:, GOAL_PLACE], goal[:, SOURCE_PLACE])
        behind = np.flatnonzero(walks & (ends[:, 3] < 0.0))  # turned away from where it goes: rare, and soon a collision
        corrected = np.repeat(np.flatnonzero(self._frames.intervention), INTERVENTION_TIMES - 1)
        return rng.permutation(np.concatenate([np.arange(len(self._frames)), near, near, exact, behind, corrected]))

    def batch(self, indices: np.ndarray, rng: np.random.Generator, *, vary: bool) -> dict[str, Tensor]:
        frames, count = self._frames, len(indices)
        usual = round(REPLAN_S / STEP_S)
        before, elapsed_s = memory_of(frames, indices, rng.integers(usual - 1, usual + 2, count) if vary else np.full(count, usual))
        given = {name: getattr(frames, name)[indices] for name in self._mirrors}
        if vary:
            mirrored = rng.random(count) < MIRRORED_SHARE
            for name, mirror in self._mirrors.items():
                given[name][mirrored] = mirror(given[name][mirrored])
            tote, goal = given["tote"], given["goal"]
            tote[:, :3] += POSITION_NOISE * rng.standard_normal((count, 3))
            tote[:, 3:5] += HEADING_NOISE * rng.standard_normal((count, 1)) * np.column_stack([-tote[:, 4], tote[:, 3]])
            for surface, place in ((SOURCE_SURFACE, SOURCE_PLACE), (GOAL_SURFACE, GOAL_PLACE)):  # a place is where its surface is seen
                off = POSITION_NOISE * rng.standard_normal((count, 3))
                for which in (surface, place):
                    goal[:, which.start : which.start + 3] += off
            forgotten = rng.random(count) < FORGOTTEN_SHARE
            before[forgotten] = np.where(rng.random(forgotten.sum()) < 0.5, frames.subtask[indices][forgotten],
                                         rng.integers(0, len(SUBTASKS), forgotten.sum()))  # fmt: skip
            elapsed_s[forgotten] *= rng.random(forgotten.sum())
            begins = (frames.since_s[indices] < BEGINS_S) & (before != frames.subtask[indices])
            elapsed_s[begins] += LATE_S * rng.random(begins.sum())
            elapsed_s *= np.exp(rng.normal(0.0, 0.1, count))
        chunk = given.pop("chunk")
        arrays = {
            "inputs": np.concatenate([pose_inputs(**given, subtask=before, elapsed_s=elapsed_s, subtasks=len(SUBTASKS)), frames.told[indices]], axis=-1),
            "chunk": chunk,
            "valid": frames.valid[indices].astype(np.float32), "subtask": frames.subtask[indices], "done": frames.done[indices],
            # Each head learns from another half of the demonstrations most, so that they differ where there are few.
            "share": np.array([[0.25 + 1.5 * ((episode * 2654435761 + head * 40503) >> 7 & 1) for head in range(HEADS)]
                               for episode in frames.episode[indices].tolist()], np.float32),
        }  # fmt: skip
        return {name: torch.from_numpy(np.ascontiguousarray(array)).to(self._device) for name, array in arrays.items()}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        network, inputs = self.network, batch["inputs"]
        features, subtask, done = network.choose(inputs)
        truth, valid, share = batch["chunk"][:, None], batch["valid"][:, None], batch["share"]  # (B, 1, T, S), (B, 1, T), (B, M)
        moving, active = truth[..., MOVING], truth[..., ACTIVE]
        meant = torch.ones_like(truth)
        if self._loss == FLOW:
            arrived = torch.rand(len(inputs), device=inputs.device)
            noisy = torch.lerp(torch.randn_like(batch["chunk"]), network.scaled(batch["chunk"]), arrived[:, None, None])
            chunk = network.said(inputs, features, batch["subtask"], network.with_time(noisy, arrived))
            # The error of the flow itself, told by where it ends.
            off = ((chunk - truth) / network.chunks[1] / (1.0 - arrived.clamp(max=ARRIVED_FROM))[:, None, None, None]) ** 2  # (B, M, T, S)
        else:
            chunk = network.said(inputs, features, batch["subtask"])
            off = ((chunk - truth) / self._scales).abs()  # (B, M, T, S)
            off = off**2 if self._loss == L2 else off
            meant[..., VELOCITY] = moving[..., None]
            for which in (*MOVES, *TURNS):
                meant[..., which] = active[..., None]
        meant[..., : ACTIVE + 1] = 0.0
        count = valid.sum().clamp(min=1)
        weight = valid * share[..., None] * self._step_weights  # (B, M, T)
        moves = (off * meant).sum(-1)
        flags = functional.binary_cross_entropy_with_logits(
            chunk[..., : ACTIVE + 1], truth[..., : ACTIVE + 1].expand_as(chunk[..., : ACTIVE + 1]), reduction="none").sum(-1)  # fmt: skip
        heads = chunk.shape[1]
        named = functional.cross_entropy(subtask.flatten(0, 1), batch["subtask"].repeat_interleave(heads), reduction="none").view(-1, heads)
        ended = functional.binary_cross_entropy_with_logits(done, batch["done"][:, None].expand_as(done), reduction="none")
        loss = ((0.3 * moves + flags) * weight).sum() / (count * heads) + ((named + 0.5 * ended) * share).mean()
        with torch.no_grad():
            if self._loss == FLOW and not network.training:
                chunk = network.act(inputs, features, batch["subtask"])
            held = (active[:, 0] > 0.5) & (valid[:, 0] > 0)  # (B, T)
            hand = (chunk.mean(1)[..., MOVES[0]] - batch["chunk"][..., MOVES[0]]).norm(dim=-1)
            right = (subtask.softmax(-1).mean(1).argmax(-1) == batch["subtask"]).float().mean()
            figures = {"loss": loss.item(), "hand_mm": 1e3 * (hand * held).sum().item() / held.sum().clamp(min=1).item(),
                       "subtask_right": right.item(), "moving_right": ((chunk.mean(1)[..., MOVING] > 0) == (moving[:, 0] > 0.5)).float().mean().item()}  # fmt: skip
        return loss, figures
