"""The two networks: one that finds totes in a whole image, one that finds a tote's corners in a crop.

Both take uint8 images as cameras give them, (B, H, W, 3), and scale them inside, so that what is exported is complete.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.crops import CROP_HEIGHT, CROP_WIDTH
from perception.keypoints import CORNERS, KINDS

FINDER_WIDTH, FINDER_HEIGHT = 256, 144  # px; an image that is not 16:9 fills part of it, the rest is black
FINDER_STRIDE = 4
CORNER_STRIDE = 4
CORNER_FIGURES = 6  # x, y, log scale of x, log scale of y, visible, inside
LOG_SCALE_RANGE = (-3.0, 4.0)  # of a Laplace scale in crop pixels
BOX_UNIT = 32.0  # px of the finder's input: what its box outputs are multiples of


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True)
    )


class Residual(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x + self.second(self.first(x)))


class Trunk(nn.Module):
    """Features at strides 4, 8 and 16, the coarser ones added into stride 8."""

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        c2, c4, c8, c16 = channels
        self.stem = nn.Sequential(convolution(3, c2, 5, 2), convolution(c2, c4, 3, 2))
        self.middle = nn.Sequential(convolution(c4, c8, 3, 2), Residual(c8))
        self.deep = nn.Sequential(convolution(c8, c16, 3, 2), Residual(c16), Residual(c16))
        self.rise = nn.Conv2d(c16, c8, 1)
        self.everywhere = nn.Linear(c16, c8)
        self.fuse = convolution(c8, c8)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = image.permute(0, 3, 1, 2).float() * (1 / 255) - 0.45  # (B, 3, H, W)
        quarter = self.stem(x)  # (B, c4, H/4, W/4)
        eighth = self.middle(quarter)  # (B, c8, H/8, W/8)
        deep = self.deep(eighth)  # (B, c16, H/16, W/16)
        whole = self.everywhere(deep.mean((2, 3)))  # (B, c8)
        risen = functional.interpolate(self.rise(deep), scale_factor=2.0, mode="nearest")  # (B, c8, H/8, W/8)
        return quarter, self.fuse(eighth + risen + whole[:, :, None, None]), whole


class Finder(nn.Module):
    """A map of how near a tote's middle is, and the box around it; of which kind it is shows only in the crop.

    The middle is that of the box; the box is given as distances to its left, top, right and bottom.
    """

    def __init__(self, channels: tuple[int, int, int, int] = (16, 32, 64, 96)) -> None:
        super().__init__()
        self.trunk = Trunk(channels)
        _, c4, c8, _ = channels
        self.rise = nn.Conv2d(c8, c4, 1)
        self.join = convolution(c4, c4)
        self.map = nn.Conv2d(c4, 1, 1)
        self.box = nn.Conv2d(c4, 4, 1)
        nn.init.constant_(self.map.bias, -3.0)  # totes' middles are rare: begin with few

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, 1, H/4, W/4) and distances (B, 4, H/4, W/4) px of left, top, right, bottom."""
        quarter, eighth, _ = self.trunk(image)
        x = self.join(quarter + functional.interpolate(self.rise(eighth), scale_factor=2.0, mode="nearest"))
        return self.map(x).float(), functional.softplus(self.box(x).float()) * BOX_UNIT


class CornerNet(nn.Module):
    """The eight corners of the tote in the middle of a crop, each with a scale, and what kind of tote it is, if one."""

    def __init__(self, channels: tuple[int, int, int, int] = (16, 32, 64, 96), hidden: int = 64) -> None:
        super().__init__()
        self.trunk = Trunk(channels)
        _, c4, c8, _ = channels
        self.near = convolution(c4, c4)
        self.coarse = nn.Conv2d(c8, CORNERS * 4, 1)
        self.fine = nn.Conv2d(c4, CORNERS, 1, bias=False)
        self.identity = nn.Parameter(torch.randn(CORNERS, 16) * 0.1)
        self.read = nn.Sequential(nn.Linear(c8 + c4 + c8 + 16 + 4, hidden), nn.ReLU(True), nn.Linear(hidden, CORNER_FIGURES))
        self.judge = nn.Sequential(nn.Linear(c8 + CORNERS * 4, hidden), nn.ReLU(True), nn.Linear(hidden, 1 + len(KINDS)))
        columns = (torch.arange(CROP_WIDTH // CORNER_STRIDE) + 0.5) * CORNER_STRIDE - 0.5
        rows = (torch.arange(CROP_HEIGHT // CORNER_STRIDE) + 0.5) * CORNER_STRIDE - 0.5
        self.register_buffer("columns", columns)
        self.register_buffer("rows", rows)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Corners (B, 8, 6), tote (B, 1 + kinds) logits of presence and kinds, and log maps (B, 8, H/4, W/4)."""
        quarter, eighth, whole = self.trunk(image)
        near = self.near(quarter)  # (B, c4, H/4, W/4)
        logits = (functional.pixel_shuffle(self.coarse(eighth), 2) + self.fine(near)).float()  # (B, 8, H/4, W/4)
        maps = logits.flatten(2).softmax(-1).view_as(logits)
        x = (maps.sum(2) * self.columns).sum(-1)  # (B, 8)
        y = (maps.sum(3) * self.rows).sum(-1)
        spread_x = ((maps.sum(2) * self.columns**2).sum(-1) - x**2).clamp(min=0.01).sqrt() / 10
        spread_y = ((maps.sum(3) * self.rows**2).sum(-1) - y**2).clamp(min=0.01).sqrt() / 10
        halved = functional.avg_pool2d(maps, 2) * 4  # (B, 8, H/8, W/8)
        at_eighth = halved.flatten(2) @ eighth.float().flatten(2).transpose(1, 2)  # (B, 8, c8)
        at_quarter = maps.flatten(2) @ near.float().flatten(2).transpose(1, 2)  # (B, 8, c4)
        batch = image.shape[0]
        place = torch.stack([x / CROP_WIDTH - 0.5, y / CROP_HEIGHT - 0.5, spread_x, spread_y], -1)  # (B, 8, 4)
        read = self.read(torch.cat([
            at_eighth, at_quarter, whole.float()[:, None].expand(-1, CORNERS, -1),
            self.identity.expand(batch, -1, -1), place,
        ], -1)).float()  # (B, 8, 6)  # fmt: skip
        corners = torch.cat([
            (x + CORNER_STRIDE * read[..., 0])[..., None], (y + CORNER_STRIDE * read[..., 1])[..., None],
            read[..., 2:4].clamp(*LOG_SCALE_RANGE), read[..., 4:],
        ], -1)  # fmt: skip
        tote = self.judge(torch.cat([whole.float(), place.flatten(1)], -1)).float()
        return corners, tote, logits


class FinderForExport(nn.Module):
    """A finder whose map holds probabilities, and 0 where a neighbour is higher."""

    def __init__(self, finder: Finder) -> None:
        super().__init__()
        self.finder = finder

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, boxes = self.finder(image)
        likely = logits.sigmoid()
        highest = functional.max_pool2d(likely, 3, 1, 1)
        return likely * (likely >= highest), boxes


class CornerNetForExport(nn.Module):
    """A corner network without its maps, with probabilities for logits, and standard deviations in pixels for scales."""

    def __init__(self, network: CornerNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        corners, tote, _ = self.network(image)
        deviations = corners[..., 2:4].exp() * 2**0.5  # of a Laplace distribution of that scale
        corners = torch.cat([corners[..., :2], deviations, corners[..., 4:].sigmoid()], -1)
        return corners, torch.cat([tote[:, :1].sigmoid(), tote[:, 1:].softmax(-1)], -1)


def parameter_count(network: nn.Module) -> int:
    """How many numbers are learnt."""
    return sum(parameter.numel() for parameter in network.parameters())
