"""The keypoint net of drawn people: a small U-net of heat maps that answers as RTMPose does, in curves per axis.

The heat map of a keypoint is a probability over cells of 4 × 4 pixels. Its sums along each axis are one curve for x
and one for y (SimCC, arXiv:2107.03332), interpolated to half pixels and scaled by the probability that the point is to
be seen at all, so that the curves' maxima serve as scores.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from stages.poses.estimators.rtmpose import KEYPOINTS, SPLIT_RATIO

POINTS = 23  # body and feet, the first of COCO-WholeBody's 133
WIDTH, HEIGHT = 192, 256  # of the crop, in pixels
STRIDE = 4  # pixels per cell
SPREAD = 1.25  # standard deviation of the heat map taught, in cells
PEAK = (2 * np.pi) ** -0.5 / SPREAD  # the highest sum along an axis of the heat map taught
FLOOR = 1e-6  # added to a curve before its logarithm is taken
CAUTION = 3.0  # exponent of the presence: a score of 0.3, from which on a point counts as seen, takes one of 0.67


class KeypointNet(nn.Module):
    """Crops (n, 3, 256, 192), normalised as RTMPose's → heat and presence logits (n, 46, 64, 48).

    The first 23 channels are logits of the heat maps; the mean of the others, weighted by the heat maps, is the logit
    of the keypoint's presence.
    """

    def __init__(self, channels: tuple[int, int, int, int, int] = (16, 32, 48, 96, 112)) -> None:
        """`channels` at a half, a quarter … a thirty-second of the resolution."""
        super().__init__()
        half, quarter, eighth, sixteenth, coarsest = channels
        self.stem = nn.Sequential(_halving(3, half), _halving(half, quarter))
        self.down8 = nn.Sequential(_halving(quarter, eighth), _Residual(eighth))
        self.down16 = nn.Sequential(_halving(eighth, sixteenth), _Residual(sixteenth))
        self.down32 = nn.Sequential(_halving(sixteenth, coarsest), _Residual(coarsest))
        self.up16 = _Rise(coarsest, sixteenth)
        self.up8 = _Rise(sixteenth, eighth)
        self.up4 = _Rise(eighth, quarter)
        self.head = nn.Conv2d(quarter, 2 * POINTS, 1)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        quarter = self.stem(crops)
        eighth = self.down8(quarter)
        sixteenth = self.down16(eighth)
        sixteenth = self.up16(self.down32(sixteenth), sixteenth)
        eighth = self.up8(sixteenth, eighth)
        return self.head(self.up4(eighth, quarter))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))
        self.activation = nn.ReLU()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.activation(features + self.second(self.first(features)))


class _Rise(nn.Module):
    """Twice the resolution, joined with the features that had it."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(coarse, fine, 1)
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.join = _convolution(fine, fine)

    def forward(self, coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
        return self.join(fine + self.enlarge(self.project(coarse)))


def _convolution(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def _halving(before: int, after: int) -> nn.Sequential:
    # An even kernel keeps a cell's middle in the middle of its pixels, so that mirrored pictures have mirrored maps.
    return nn.Sequential(nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def losses(
    logits: torch.Tensor, points: torch.Tensor, located: torch.Tensor, present: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the heat maps with Gaussians at the located points; binary cross-entropy of the presences.

    `logits` (n, 46, rows, columns); `points` (n, 23, 2) in pixels of the crop; `located`, `present` bool (n, 23):
    a place is taught, which may be that of a hidden point; the point is to be seen. Two scalars.
    """
    heat, presence = logits.float().flatten(2).split(POINTS, dim=1)
    along_x, along_y = (
        _gaussian(points[..., axis], count) for axis, count in ((0, logits.shape[3]), (1, logits.shape[2]))
    )
    target = (along_y[..., :, None] * along_x[..., None, :]).flatten(2)
    place = -(target * heat.log_softmax(dim=2)).sum(dim=2)
    seen = (heat.softmax(dim=2) * presence).sum(dim=2)
    return place[located].mean(), functional.binary_cross_entropy_with_logits(seen, present.float())


def _gaussian(points: torch.Tensor, cells: int) -> torch.Tensor:
    """Pixels (…) → probabilities (…, cells)."""
    middles = torch.arange(cells, device=points.device) * STRIDE + (STRIDE - 1) / 2
    return (-0.5 * ((middles - points[..., None]) / (SPREAD * STRIDE)) ** 2).softmax(dim=-1)


def interpolation(cells: int) -> np.ndarray:
    """float32 (cells, bins): values at cells → at the bins of half a pixel, Catmull-Rom, edges repeated.

    Exact for the logarithm of a Gaussian, which is a parabola, except beside the edges.
    """
    bins = int(cells * STRIDE * SPLIT_RATIO)
    place = (np.arange(bins) / SPLIT_RATIO - (STRIDE - 1) / 2) / STRIDE
    before = np.floor(place).astype(int)
    t = place - before
    weights = np.stack([-(t**3) + 2 * t**2 - t, 3 * t**3 - 5 * t**2 + 2, -3 * t**3 + 4 * t**2 + t, t**3 - t**2], axis=1)
    matrix = np.zeros((cells, bins), np.float32)
    for offset in range(4):
        cell = np.clip(before + offset - 1, 0, cells - 1)
        np.add.at(matrix, (cell, np.arange(bins)), weights[:, offset] / 2)
    return matrix


def responses(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, 46, rows, columns) → curves (n, 133, 8 · columns) and (n, 133, 8 · rows); what is not learnt is 0."""
    heat, presence = logits.float().split(POINTS, dim=1)
    maps = heat.flatten(2).softmax(dim=2)
    seen = (maps * presence.flatten(2)).sum(dim=2, keepdim=True).sigmoid() ** CAUTION
    maps = maps.unflatten(2, heat.shape[2:])
    curves = []
    for axis in (2, 3):
        marginal = (maps.sum(dim=axis) / PEAK + FLOOR).log()
        matrix = torch.from_numpy(interpolation(marginal.shape[2])).to(marginal)
        curve = (marginal @ matrix).exp() * seen
        curves.append(functional.pad(curve, (0, 0, 0, KEYPOINTS - POINTS)))
    return curves[0], curves[1]
