"""Cross-frame attention: every frame of a clip attends to its first one, the anchor.

Source: SPEC.md section 3, "Wasted work" 1, 3, 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers.models.attention_processor import Attention

from stages.diffusion.networks.attention_heads import KeysValues, attend, keys_values_of, split_heads

Residuals = tuple[list[torch.Tensor], torch.Tensor]  # (down, mid) of a ControlNet, one per sample
Wiring = Literal["legacy", "modern"]
# What each self-attention layer of one network makes of the anchor at one timestep. Empty, it is filled by a forward
# that has the anchor as frame 0 of every branch; later forwards of the timestep are of other frames, and read it.
Anchor = dict[Attention, KeysValues]


@dataclass(frozen=True)
class Conditioning:
    """What a forward is given besides (branches · frames) samples, all frames of the first branch first."""

    text: torch.Tensor  # (branches, words, width)
    anchor: Anchor
    residuals: Residuals | None = None
    wiring: Wiring = "modern"  # legacy: the middle block sees the last of the down residuals already added


class AnchorAttention:
    """Processor of a self-attention layer: keys and values are the anchor's, projected once per timestep."""

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, *_: Any, conditioning: Conditioning, **__: Any
    ) -> torch.Tensor:
        """`hidden_states` (branches · frames, tokens, channels) → the same shape."""
        anchor, branches = conditioning.anchor, len(conditioning.text)
        if attn not in anchor:
            anchor[attn] = keys_values_of(attn, hidden_states.unflatten(0, (branches, -1))[:, 0])
        return attend_together(attn, hidden_states, anchor[attn])


class TextAttention:
    """Processor of a cross-attention layer: all frames of a branch attend to the one text of that branch."""

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, *_: Any, conditioning: Conditioning, **__: Any
    ) -> torch.Tensor:
        """`hidden_states` (branches · frames, tokens, channels) → the same shape."""
        return attend_together(attn, hidden_states, keys_values_of(attn, conditioning.text))


def attend_together(attn: Attention, hidden_states: torch.Tensor, shared: KeysValues) -> torch.Tensor:
    """The frames of a branch as one long query to keys and values (branches, heads, tokens, …), never repeated."""
    frames = len(hidden_states) // len(shared[0])
    branches = attn.to_q(hidden_states).unflatten(0, (-1, frames)).flatten(1, 2)
    attended = attend(attn, split_heads(attn, branches), shared)
    return attended.unflatten(1, (frames, -1)).flatten(0, 1)


def attend_across_frames(network: torch.nn.Module) -> None:
    """Let every attention layer of a UNet or ControlNet attend this way: its forwards take a `Conditioning` now.

    Raises `ValueError` where the network has no self-attention.
    """
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, Attention)}
    if not any(name.endswith("attn1") for name in layers):
        raise ValueError(f"{type(network).__name__} has no self-attention")
    for name, layer in layers.items():
        layer.set_processor(AnchorAttention() if name.endswith("attn1") else TextAttention())
