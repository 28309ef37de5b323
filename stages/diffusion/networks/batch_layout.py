"""How rows and frames share the batch dimension, and the norms that have to know."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Layout:
    """The batch dimension of a video network is (rows · frames), all frames of row 0 first.

    One object per network, set by its forward and read by the layers that need it.
    """

    rows: int = 1
    frames: int = 1


class FrameSpanningGroupNorm(nn.GroupNorm):
    """GroupNorm whose statistics run over all frames of a row, not over each frame by itself."""

    def __init__(self, like: nn.GroupNorm, layout: Layout) -> None:
        super().__init__(like.num_groups, like.num_channels, eps=like.eps)
        self._layout = layout

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(rows · frames, channels, height, width) → the same shape."""
        rows, frames = self._layout.rows, self._layout.frames
        spread = hidden_states.unflatten(0, (rows, frames)).transpose(1, 2)
        return super().forward(spread).transpose(1, 2).reshape(hidden_states.shape)


class PerFrameGroupNorm(nn.GroupNorm):
    """GroupNorm that sees every frame by itself although its input is (rows, channels, frames, height, width)."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(rows, channels, frames, height, width) → the same shape."""
        rows = len(hidden_states)
        per_frame = hidden_states.transpose(1, 2).flatten(0, 1)
        return super().forward(per_frame).unflatten(0, (rows, -1)).transpose(1, 2)
