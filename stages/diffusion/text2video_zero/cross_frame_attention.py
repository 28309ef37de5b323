"""Cross-frame attention: every frame of a clip attends to its first one, the anchor.

Source: SPEC.md section 3, "Wasted work" 1, 3, 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import Attention

from stages.diffusion.networks.attention_heads import KeysValues, attend, row_keys_values, split_heads


@dataclass
class Batch:
    """What is in a forward: (rows · frames), all frames of row 0 first. Set before it, read by the layers."""

    rows: int = 1
    holds_anchor: bool = True  # frame 0 of every row is the anchor; if not, the anchor was in an earlier forward


class AnchorAttention:
    """Processor of a self-attention layer: keys and values are the anchor's, projected once and kept."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._anchor: KeysValues | None = None

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """`hidden_states` (rows · frames, tokens, channels) → the same shape."""
        if self._batch.holds_anchor:
            self._anchor = row_keys_values(attn, hidden_states.unflatten(0, (self._batch.rows, -1))[:, 0])
        return attend_together(attn, hidden_states, self._anchor)


class TextAttention:
    """Processor of a cross-attention layer: all frames of a row attend to the one text of that row."""

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, *_: Any, **__: Any
    ) -> torch.Tensor:
        """(rows · frames, tokens, channels) and text (rows, words, width) → (rows · frames, tokens, channels)."""
        return attend_together(attn, hidden_states, row_keys_values(attn, encoder_hidden_states))


def attend_together(attn: Attention, hidden_states: torch.Tensor, shared: KeysValues) -> torch.Tensor:
    """The frames of a row as one long query to keys and values (rows, heads, tokens, …), which are never repeated."""
    frames = len(hidden_states) // len(shared[0])
    rows = attn.to_q(hidden_states).unflatten(0, (-1, frames)).flatten(1, 2)
    attended = attend(attn, split_heads(attn, rows), shared)
    return attended.unflatten(1, (frames, -1)).flatten(0, 1)


def attend_across_frames(network: torch.nn.Module) -> Batch:
    """Let every attention layer of a UNet or ControlNet attend this way, from now on told of its batches by the result.

    Raises `ValueError` where the network has no self-attention.
    """
    batch, found = Batch(), 0
    for name, module in network.named_modules():
        if isinstance(module, Attention):
            itself = name.endswith("attn1")
            module.set_processor(AnchorAttention(batch) if itself else TextAttention())
            found += itself
    if not found:
        raise ValueError(f"{type(network).__name__} has no self-attention")
    return batch
