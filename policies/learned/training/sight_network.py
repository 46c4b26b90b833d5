"""The network that makes a tote's place of sightings: it says how far each corner can be trusted, and a Kalman filter's step does the rest.

What geometry tells exactly is worked out, not learnt: how a corner's ray moves with the tote (Haarnoja et al. 2016, arXiv 1605.07148, train a
filter through its own steps in the same way). Learnt is what nobody can write down: which corners lie, how much the images of one camera err
together, how fast a belief grows old, and how far it is off.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.keypoints import CORNERS
from policies.learned.sight_space import (
    AGE, CAMERA, CAMERAS, CONTEXT, DEVIATIONS, INSIDE, PRESENCE, RAYS, SEEN, UNITS, VISIBLE,
)  # fmt: skip

HIDDEN, WIDTH = 48, 64
NEAREST = 0.08  # m before a camera, nearer than which a corner tells nothing
ROUNDS = 2  # of Gauss and Newton: a belief that is 10 cm off is not linear
CORNER_FEATURES, CAMERA_FEATURES = 9, 5 + len(CAMERAS)
SHARED = 2.0  # natural logarithm of what a corner's variance is multiplied by at first: corners and images err together
DOUBTFUL = 6.0  # squared deviations of a corner, beyond which it counts the less the farther it is off
SMALLEST, LARGEST = 1e-6, 100.0  # variances in squares of `UNITS`
MOST = 6.0  # in `UNITS`, of a correction


class SightNet(nn.Module):
    """One step of 0.1 s of a belief. See `policies.learned.sight_space`."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("units", torch.tensor(UNITS, dtype=torch.float32))
        self.corner, self.image, self.memory = nn.Linear(CORNER_FEATURES, WIDTH), nn.Linear(CAMERA_FEATURES, WIDTH), nn.Linear(HIDDEN, WIDTH)
        self.joined = nn.Sequential(nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU())
        self.trust = nn.Linear(WIDTH, 2)  # logarithm of the variance of a corner's x and y
        self.trust_image = nn.Linear(WIDTH, 1)  # the same for all of an image
        self.age = nn.Sequential(nn.Linear(len(CONTEXT) + HIDDEN, WIDTH), nn.GELU(), nn.Linear(WIDTH, 4))
        self.gates = nn.Linear(WIDTH + len(CONTEXT) + 9 + HIDDEN, 2 * HIDDEN)
        self.remembered = nn.Linear(WIDTH + len(CONTEXT) + 9 + HIDDEN, HIDDEN)
        self.off = nn.Linear(HIDDEN, 4)  # logarithm of how far the belief is off, over what the filter says
        for last in (self.trust, self.trust_image, self.age[2], self.off):  # it begins as a filter that trusts all alike
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self, sightings: Tensor, corners: Tensor, context: Tensor, variance: Tensor, covariance: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Correction (B, 4) in m and rad along the tote's axes, covariance (B, 4, 4), memory (B, H), and deviation (B, 4) in m and rad.

        Args:
            sightings: (B, C, S) of `sight_space.cell_inputs`.
            corners: (B, 8, 3) m of the kind of tote.
            context: (B, 4) of a step,
            variance: (B, 4) that it adds.
            covariance: (B, 4, 4) before the step.
            hidden: (B, H).
        """
        seen, presence, age = sightings[..., SEEN], sightings[..., PRESENCE], sightings[..., AGE]  # (B, C)
        camera = sightings[..., CAMERA].unflatten(-1, (3, 4))  # (B, C, 3, 4)
        rays, deviations = (sightings[..., which].unflatten(-1, (CORNERS, 2)) for which in (RAYS, DEVIATIONS))  # (B, C, 8, 2)
        visible, inside = sightings[..., VISIBLE], sightings[..., INSIDE]  # (B, C, 8)
        grown = variance * torch.exp(3.0 * torch.tanh(self.age(torch.cat([context, hidden], -1))))
        unit = torch.eye(4, device=grown.device)
        covariance = covariance + (grown + 1e-9)[..., None] * unit  # (B, 4, 4)

        correction = torch.zeros_like(variance)  # in units
        off, by, depth = self._residuals(correction, corners, camera, rays)  # (B, C, 8, 2), (B, C, 8, 2, 4), (B, C, 8)
        ahead = (depth > NEAREST).float() * inside * seen[..., None]  # (B, C, 8)
        floor = (deviations**2).clamp(min=1e-8)
        expected = floor + torch.einsum("bcnij,bjk,bcnik->bcni", by, covariance, by)
        squared = (off**2 / expected).clamp(max=1e4)
        distance = squared.sum(-1)  # (B, C, 8)

        told = torch.cat([
            _squeezed(off / expected.sqrt()), torch.log(floor) / 4.0 + 2.0, torch.log1p(distance)[..., None], visible[..., None],
            inside[..., None], depth.clamp(0.0, 3.0)[..., None], ahead[..., None],
        ], -1)  # (B, C, 8, 9)
        which = torch.eye(len(CAMERAS), device=told.device) + 0.0 * seen[..., None]  # (B, C, C), of whatever size a batch is in the exported network
        middle = (torch.log1p(distance) * ahead).sum(-1) / (ahead.sum(-1) + 1e-3)
        image = torch.cat([seen[..., None], presence[..., None], age[..., None], middle[..., None], ahead.sum(-1, keepdim=True) / CORNERS, which], -1)
        features = self.joined(self.corner(told) + self.image(image)[:, :, None] + self.memory(hidden)[:, None, None])  # (B, C, 8, W)
        shared = self.trust_image((features * ahead[..., None]).sum(2) / (ahead.sum(-1, keepdim=True) + 1e-3))  # (B, C, 1)
        doubt = torch.log1p((distance / DOUBTFUL - 1.0).clamp(min=0.0))[..., None]
        trust = SHARED + doubt + 4.0 * torch.tanh(self.trust(features)) + 4.0 * torch.tanh(shared)[..., None]
        weight = (ahead * presence[..., None])[..., None] * torch.exp(-trust) / floor  # (B, C, 8, 2)

        known = _inverse(covariance)
        for round_ in range(ROUNDS):
            if round_:
                off, by, _ = self._residuals(correction, corners, camera, rays)
            weighed = weight[..., None] * by
            told_more = torch.einsum("bcnij,bcnik->bjk", weighed, by)
            aim = torch.einsum("bcnij,bcni->bj", weighed, off + torch.einsum("bcnij,bj->bcni", by, correction))
            after = _inverse(known + told_more)  # (B, 4, 4)
            correction = torch.einsum("bij,bj->bi", after, aim).clamp(-MOST, MOST)
        spread = (after * unit).sum(-1).clamp(SMALLEST, LARGEST)  # (B, 4)

        pooled = (features * ahead[..., None]).sum((1, 2)) / (ahead.sum((1, 2)) + 1e-3)[:, None]  # (B, W)
        anything = ahead.sum((1, 2)).clamp(max=1.0)[:, None]
        heard = torch.cat([pooled * anything, context, torch.log(spread) / 4.0, _squeezed(correction / spread.sqrt()), anything, hidden], -1)
        keep, forget = torch.sigmoid(self.gates(heard)).chunk(2, -1)
        new = torch.tanh(self.remembered(torch.cat([heard[:, :-HIDDEN], forget * hidden], -1)))
        hidden = keep * hidden + (1.0 - keep) * new
        deviation = self.units * spread.sqrt() * torch.exp(2.0 * torch.tanh(self.off(hidden)))
        return self.units * correction, after, hidden, deviation

    def _residuals(self, correction: Tensor, corners: Tensor, camera: Tensor, rays: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How far rays (B, C, 8, 2) are off a tote that is corrected (B, 4), how that changes with it (B, C, 8, 2, 4), and corners' depths."""
        shift, turn = (correction * self.units).split((3, 1), -1)
        cos, sin = torch.cos(turn), torch.sin(turn)
        x, y, z = corners.unbind(-1)  # (B, 8)
        turned = torch.stack([cos * x - sin * y, sin * x + cos * y, z], -1)  # (B, 8, 3)
        placed = turned + shift[:, None]
        rotation = camera[..., :3]  # (B, C, 3, 3) tote_from_camera
        seen = torch.einsum("bcnj,bcjk->bcnk", placed[:, None] - camera[..., None, :, 3], rotation)  # (B, C, 8, 3)
        depth = seen[..., 2]
        safe = depth.clamp(min=NEAREST)[..., None]
        at = seen[..., :2] / safe
        # d(ray) = (d(xy) - ray d(z)) / z, where a point p in the tote's frame moves by shift + turn * (-y, x, 0).
        swing = torch.stack([-turned[..., 1], turned[..., 0], torch.zeros_like(z)], -1)  # (B, 8, 3)
        by_point = (rotation[..., :, :2].transpose(-1, -2)[:, :, None] - at[..., None] * rotation[..., :, 2][:, :, None, None]) / safe[..., None]  # (B, C, 8, 2, 3)
        by_turn = torch.einsum("bcnij,bnj->bcni", by_point, swing)
        by = torch.cat([by_point, by_turn[..., None]], -1) * self.units
        return (rays - at).clamp(-2.0, 2.0), by, depth


def _squeezed(value: Tensor) -> Tensor:
    """Small values as they are, large ones by their logarithm."""
    return torch.sign(value) * torch.log1p(value.abs())


def _inverse(matrix: Tensor) -> Tensor:
    """(B, 4, 4) of symmetric positive definite matrices, by blocks of two: ONNX has none."""
    a, b, d = matrix[..., :2, :2], matrix[..., :2, 2:], matrix[..., 2:, 2:]
    inverse_a = _inverse_of_two(a)
    across = inverse_a @ b
    rest = _inverse_of_two(d - b.transpose(-1, -2) @ across)  # Schur's complement
    corner = -across @ rest
    top = torch.cat([inverse_a + across @ rest @ across.transpose(-1, -2), corner], -1)
    whole = torch.cat([top, torch.cat([corner.transpose(-1, -2), rest], -1)], -2)
    return 0.5 * (whole + whole.transpose(-1, -2))


def _inverse_of_two(matrix: Tensor) -> Tensor:
    a, b, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
    inverse = torch.stack([torch.stack([d, -b], -1), torch.stack([-b, a], -1)], -2)
    return inverse / (a * d - b * b).clamp(min=1e-12)[..., None, None]
