"""How branches and frames share the batch dimension, and the norms that have to know."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class BatchLayout:
    """The batch dimension of a video network is (branches · frames), all frames of branch 0 first.

    Branches are guidance's, [unconditional, conditional] or the conditional one alone; in training, rows of a batch.
    One object per network, set by its forward: diffusers calls norms with hidden states alone, so they look it up here.
    """

    frames: int = 1


class FrameSpanningGroupNorm(nn.GroupNorm):
    """GroupNorm whose statistics run over all frames of a branch, not over each frame by itself."""

    def __init__(self, like: nn.GroupNorm, layout: BatchLayout) -> None:
        super().__init__(like.num_groups, like.num_channels, eps=like.eps)
        self._layout = layout

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(branches · frames, channels, height, width) → the same shape."""
        spread = hidden_states.unflatten(0, (-1, self._layout.frames)).transpose(1, 2)
        return super().forward(spread).transpose(1, 2).reshape(hidden_states.shape)


class PerFrameGroupNorm(nn.GroupNorm):
    """GroupNorm that sees every frame by itself although its input is (branches, channels, frames, height, width)."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(branches, channels, frames, height, width) → the same shape."""
        branches = len(hidden_states)
        per_frame = hidden_states.transpose(1, 2).flatten(0, 1)
        return super().forward(per_frame).unflatten(0, (branches, -1)).transpose(1, 2)
