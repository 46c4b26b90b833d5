"""What the student's eyes learn from: demonstrations with sightings, as sequences of steps; the privileged pose of the tote is the answer.

A belief is followed through some seconds at a time, as the robot does it, and the error after each step is learnt from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from humanoid_control.transforms import planar, rotation_z, wrapped, yaw_of
from policies.data import schema
from policies.data.errors import DataSetError
from policies.data.reader import Demonstrations
from policies.learned.pose_space import STEP_S
from policies.learned.rotations import from_columns
from policies.learned.sight_space import (
    CAMERA, CAMERAS, CORNERS_OF_KIND, PRIOR, SEEN, SIGHTING_SIZE, UNITS, Holding, Posture, footprint_of, kind_of, place_of,
)  # fmt: skip
from policies.learned.training.frames import Frames
from policies.learned.training.sight_network import HIDDEN, SightNet

STEPS = 40  # of a sequence
FROM_FILE_SHARE = 0.4  # of sequences that begin with nothing but the factory's file; the others with a belief that is known already
KNOWN = (0.02, 0.6)  # in `UNITS`, standard deviations between which a known belief is off at first
MOST = 2.5  # standard deviations that a belief is off at first
PLAIN = 0.3  # weight of the error itself: the likelihood alone neglects what is hard
PLACE_NOISE = np.array([0.01, 0.01, 0.003, 0.005])  # m, m, m, rad of localisation, from step to step
WARM_STEPS = 4  # of a sequence, which count for nothing yet


@dataclass(frozen=True)
class SightFrames(Frames):
    """Steps of many demonstrations; everything in `odom` but for cameras, which are in `base_footprint`.

    Attributes:
        sightings: (N, C, SIGHTING_SIZE) float32.
        footprint: (N, 4) x, y, z = 0 and heading of `base_footprint`.
        moved: (N, 4) how the tote was moved since the step before: turn about z (rad) and shift (m).
        variance: (N, 4),
        context: (N, 4) as `sight_space.Holding.step` has them.
        truth: (N, 4) x, y, z, yaw.
        place: (N, 4) of the factory's file.
        kind: (N,) of the tote.
    """

    sightings: np.ndarray
    footprint: np.ndarray
    moved: np.ndarray
    variance: np.ndarray
    context: np.ndarray
    truth: np.ndarray
    place: np.ndarray
    kind: np.ndarray


def read_sightings(data: Demonstrations) -> SightFrames:
    """All steps of a data set.

    Raises:
        DataSetError: it has no sightings.
    """
    if schema.SIGHTINGS not in data.features:
        raise DataSetError(f"{data.folder} has no {schema.SIGHTINGS}: make it with `humanoid generate --sightings`.")
    state, goal, base = (data.column(name) for name in (schema.STATE, schema.GOAL, schema.BASE_ESTIMATE))
    tote, sightings = data.column(schema.TOTE_POSE).astype(float), data.column(schema.SIGHTINGS)
    columns = {name: np.zeros((data.frames, 4)) for name in ("footprint", "moved", "variance", "context", "truth", "place")}
    kind, episode = np.zeros(data.frames, int), np.zeros(data.frames, int)
    for index in range(len(data)):
        holding, span = Holding(), data.span(index)
        episode[span], heading, before = index, None, None
        for frame in range(span.start, span.stop):
            footprint = footprint_of(base[frame])
            place = place_of(goal[frame], footprint)
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = from_columns(tote[frame, 3:]), tote[frame, :3]
            pose = footprint @ pose
            heading = yaw_of(place) if heading is None else heading
            yaw = yaw_of(pose)
            heading = yaw - np.pi * np.round((yaw - heading) / np.pi)  # a tote turned by half is the same; it does not jump
            kind[frame] = kind_of(goal[frame])
            truth = planar(*pose[:2, 3], heading, pose[2, 3])
            before = truth if before is None else before
            moved, columns["variance"][frame], columns["context"][frame] = holding.step(Posture.of_state(state[frame], footprint), before, kind[frame])
            # Hands tilt too: as a turn about z and a shift it is exact where the tote is, and a belief is not far from there.
            turn = yaw_of(moved)
            columns["moved"][frame] = np.append(turn, (moved @ before)[:3, 3] - rotation_z(turn) @ before[:3, 3])
            before = truth
            columns["footprint"][frame] = [*footprint[:2, 3], 0.0, yaw_of(footprint)]
            columns["truth"][frame] = np.append(pose[:3, 3], heading)
            columns["place"][frame] = np.append(place[:3, 3], yaw_of(place))
    return SightFrames(sightings=sightings.reshape(-1, len(CAMERAS), SIGHTING_SIZE).astype(np.float32), **columns, kind=kind, episode=episode)


def unrolled(network: SightNet, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Beliefs (B, T, 4) in `odom` after each step, and how far each says that it is off (B, T, 4), of a batch of `SightTask.batch`."""
    mean, covariance = batch["mean"], batch["covariance"]
    hidden = mean.new_zeros(len(mean), HIDDEN)
    means, deviations = [], []
    for step in range(batch["context"].shape[1]):
        turn, shift = batch["moved"][:, step, 0], batch["moved"][:, step, 1:]
        mean = torch.cat([_turned(mean[:, :3], turn) + shift, (mean[:, 3] + turn)[:, None]], -1)
        correction, covariance, hidden, deviation = network(
            in_frame_of(batch["sightings"][:, step], batch["footprint"][:, step], mean), batch["corners"], batch["context"][:, step],
            batch["variance"][:, step], covariance, hidden)  # fmt: skip
        mean = torch.cat([mean[:, :3] + _turned(correction[:, :3], mean[:, 3]), (mean[:, 3] + correction[:, 3])[:, None]], -1)
        means.append(mean)
        deviations.append(deviation)
    return torch.stack(means, 1), torch.stack(deviations, 1)


def in_frame_of(sightings: Tensor, footprint: Tensor, mean: Tensor) -> Tensor:
    """(B, C, S) sightings with their cameras in the frame of a believed tote: `sight_space.cell_inputs`, through which gradients go.

    Args:
        sightings: (B, C, S) with cameras in `base_footprint`.
        footprint: (B, 4) x, y, z, heading in `odom`,
        mean: (B, 4) x, y, z, yaw of the tote.
    """
    turn = footprint[:, 3] - mean[:, 3]
    shift = _turned(footprint[:, :3] - mean[:, :3], -mean[:, 3])  # (B, 3) of the footprint in the tote's frame
    cos, sin, one = torch.cos(turn), torch.sin(turn), torch.ones_like(turn)
    rotation = torch.stack([cos, -sin, 0 * one, sin, cos, 0 * one, 0 * one, 0 * one, one], -1).unflatten(-1, (3, 3))
    camera = torch.einsum("bij,bcjk->bcik", rotation, sightings[..., CAMERA].unflatten(-1, (3, 4)))
    camera = torch.cat([camera[..., :3], camera[..., 3:] + shift[:, None, :, None]], -1)
    return torch.cat([sightings[..., : CAMERA.start], camera.flatten(-2), sightings[..., CAMERA.stop :]], -1)


def _turned(vector: Tensor, turn: Tensor) -> Tensor:
    cos, sin = torch.cos(turn), torch.sin(turn)
    x, y, z = vector.unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y, z], -1)


def error_of(mean: Tensor, truth: Tensor) -> Tensor:
    """(..., 4) how far beliefs (..., 4) are off the truth, m and rad along the tote's axes; half a turn is none."""
    off = truth - mean
    turn = off[..., 3] - torch.pi * torch.round(off[..., 3] / torch.pi)
    return torch.cat([_turned(off[..., :3], -truth[..., 3]), turn[..., None]], -1)


class SightTask:
    """Learns how far each corner can be trusted, so that beliefs come true. See `perception.training.train.Task`.

    Args:
        frames: to learn from.
        device: where the network runs.
    """

    def __init__(self, frames: SightFrames, device: str) -> None:
        self._frames, self._device = frames, device
        self.network = SightNet().to(device)
        self._units = torch.tensor(UNITS, dtype=torch.float32, device=device)
        last = np.searchsorted(frames.episode, frames.episode, side="right") - STEPS
        self._begins = np.flatnonzero(np.arange(len(frames)) <= last)
        if not len(self._begins):
            raise DataSetError(f"no demonstration is {STEPS * STEP_S:g} s long; longer ones are needed.")

    def epoch(self, rng: np.random.Generator) -> np.ndarray:
        """Indices of sequences, by their first steps."""
        return rng.permutation(self._begins)

    def batch(self, indices: np.ndarray, rng: np.random.Generator, *, vary: bool) -> dict[str, Tensor]:
        frames, count = self._frames, len(indices)
        rows = indices[:, None] + np.arange(STEPS)
        first, moved = frames.truth[indices], frames.moved[rows]
        moved[:, 0] = 0.0  # a sequence begins with the step that the belief is of
        draws = np.clip(rng.standard_normal((count, 4)), -MOST, MOST)
        from_file = rng.random(count) < FROM_FILE_SHARE
        deviation = np.where(from_file[:, None], PRIOR / UNITS, np.exp(rng.uniform(*np.log(KNOWN), (count, 1))) * np.ones(4))
        off = draws * deviation * UNITS
        cos, sin = np.cos(first[:, 3]), np.sin(first[:, 3])
        mean = first + np.column_stack([cos * off[:, 0] - sin * off[:, 1], sin * off[:, 0] + cos * off[:, 1], off[:, 2:]])
        arrays = {
            "sightings": frames.sightings[rows], "footprint": frames.footprint[rows], "moved": moved, "variance": frames.variance[rows],
            "context": frames.context[rows], "truth": frames.truth[rows], "corners": CORNERS_OF_KIND[frames.kind[indices]], "mean": mean,
            "covariance": deviation[:, :, None] ** 2 * np.eye(4),
        }  # fmt: skip
        origin = first[:, :3]  # float32 is coarse far from it
        arrays["mean"][:, :3] -= origin
        for name in ("footprint", "truth"):
            arrays[name] = arrays[name].copy()
            arrays[name][..., :3] -= origin[:, None]
        arrays["moved"] = _about(moved, origin[:, None])
        return {name: torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self._device) for name, array in arrays.items()}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        mean, deviation = unrolled(self.network, batch)
        off = error_of(mean, batch["truth"]).abs()  # (B, T, 4)
        told = torch.log(deviation / self._units)
        likelihood = off / deviation + told  # of a Laplace distribution, negative, logarithm
        loss = (likelihood + PLAIN * torch.asinh(10.0 * off / self._units))[:, WARM_STEPS:].sum(-1).mean()
        with torch.no_grad():
            seen = (batch["sightings"][..., SEEN].sum(-1).cumsum(1) > 2.5)[:, WARM_STEPS:]  # (B, T) of which a few images told
            position = 1e3 * off[:, WARM_STEPS:, :3].norm(dim=-1)[seen]
            inside = (off < 2.3 * deviation)[:, WARM_STEPS:][seen].float()  # 90% of a Laplace distribution's
            figures = {"loss": loss.item(), "off_mm": position.mean().item() if seen.any() else 0.0,
                       "median_mm": position.median().item() if seen.any() else 0.0,
                       "turned_degrees": torch.rad2deg(off[:, WARM_STEPS:, 3][seen]).mean().item() if seen.any() else 0.0,
                       "in_90_percent": inside.mean().item() if seen.any() else 0.0}  # fmt: skip
        return loss, figures


def believed(network: SightNet, frames: SightFrames, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a student would believe at each step of whole demonstrations: (N, 4) in `odom`, (N, 4) how far off, and (N,) s since a sighting.

    Args:
        network: in evaluation mode.
        frames: of demonstrations.
        rng: how far the place in the file is off at first.
    """
    mean, deviation, unseen_s = np.zeros((len(frames), 4)), np.zeros((len(frames), 4)), np.full(len(frames), np.inf)
    place = placed(frames, rng)
    for episode in np.unique(frames.episode):
        rows = np.flatnonzero(frames.episode == episode)
        steps = frames.part(rows)
        origin = steps.truth[0, :3]
        seen = steps.sightings[..., SEEN].any(axis=1)
        first = int(seen.argmax()) if seen.any() else len(rows) - 1  # until then the belief is the file's, as at run time
        begin = place[rows[first]]
        begin[3] = steps.truth[first, 3] + wrapped(begin[3] - steps.truth[first, 3])
        mean[rows[:first]], deviation[rows[:first]] = place[rows[:first]], PRIOR
        batch = {"sightings": steps.sightings, "footprint": steps.footprint - np.append(origin, 0.0), "variance": steps.variance,
                 "context": steps.context, "moved": _about(steps.moved, origin)}  # fmt: skip
        batch = {name: array[None, first:] for name, array in batch.items()}
        batch["moved"][:, 0] = 0.0
        batch |= {"corners": CORNERS_OF_KIND[steps.kind[:1]], "mean": (begin - np.append(origin, 0.0))[None],
                  "covariance": np.diag((PRIOR / UNITS) ** 2)[None]}  # fmt: skip
        with torch.no_grad():
            found = unrolled(network, {name: torch.from_numpy(np.ascontiguousarray(array, np.float32)) for name, array in batch.items()})
        mean[rows[first:]], deviation[rows[first:]] = found[0][0].numpy() + np.append(origin, 0.0), found[1][0].numpy()
        ago = np.arange(len(rows)) - np.maximum.accumulate(np.where(seen, np.arange(len(rows)), -1))
        unseen_s[rows] = np.where(np.maximum.accumulate(seen), STEP_S * ago, np.inf)
    return mean, deviation, unseen_s


def placed(frames: SightFrames, rng: np.random.Generator) -> np.ndarray:
    """(N, 4) where the factory's file has the totes, as a localisation tells it that is not exact."""
    return frames.place + PLACE_NOISE * rng.standard_normal((len(frames), 4))


def _about(moved: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """(..., 4) turns and shifts of points that are told from another origin (..., 3)."""
    turn = moved[..., 0]
    x, y, z = np.broadcast_to(origin, (*turn.shape, 3)).transpose(-1, *range(turn.ndim))
    turned = np.stack([np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y, z], -1)
    return np.concatenate([turn[..., None], moved[..., 1:] + turned - origin], -1)

