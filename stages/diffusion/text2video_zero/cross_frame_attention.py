"""Cross-frame attention: every frame of a clip attends to its first one, the anchor.

Source: SPEC.md section 3, "Wasted work" 1, 3, 4, 5 and 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import nn

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
    alike: bool = False  # all branches have the same samples: until the first words are read, one is computed for all


class AnchorAttention:
    """Processor of a self-attention layer: keys and values are the anchor's, projected once per timestep."""

    def __init__(self, wordless: bool) -> None:
        """Before a `wordless` layer no words are read: branches that are alike still are."""
        self._wordless = wordless

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, *_: Any, conditioning: Conditioning, **__: Any
    ) -> torch.Tensor:
        """`hidden_states` (branches · frames, tokens, channels) → the same shape."""
        anchor, branches = conditioning.anchor, len(conditioning.text)
        by_branch, at_once = hidden_states.unflatten(0, (branches, -1)), self._wordless and conditioning.alike
        if at_once:
            by_branch = by_branch[:1]
        if attn not in anchor:
            anchor[attn] = keys_values_of(attn, by_branch[:, 0])
        attended = attend_together(attn, by_branch.flatten(0, 1), anchor[attn])
        return attended.repeat(branches, 1, 1) if at_once else attended


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


class Entry:
    """The layers of a UNet or ControlNet before the first words, through which branches that are alike go as one."""

    def __init__(self, network: UNet2DConditionModel | ControlNetModel) -> None:
        """The samples of its next forwards are (branches · frames, channels, height, width)."""
        self._branches = 1
        first = network.down_blocks[0]
        attention = [one.proj_in for one in getattr(first, "attentions", ())[:1]]
        for layer in (network.conv_in, first.resnets[0], *attention):
            layer.register_forward_pre_hook(self._one)
            layer.register_forward_hook(self._all)

    def expect(self, conditioning: Conditioning) -> None:
        """What the next forward is given."""
        self._branches = len(conditioning.text) if conditioning.alike else 1

    def _one(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(one[: len(one) // self._branches] for one in inputs)

    def _all(self, _: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        return output if self._branches == 1 else torch.cat([output] * self._branches)


def attend_across_frames(network: UNet2DConditionModel | ControlNetModel) -> Entry:
    """Let every attention layer of a UNet or ControlNet attend this way: its forwards take a `Conditioning` now.

    Raises `ValueError` where the network has no self-attention.
    """
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, Attention)}
    if not any(name.endswith("attn1") for name in layers):
        raise ValueError(f"{type(network).__name__} has no self-attention")
    wordless = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    for name, layer in layers.items():
        layer.set_processor(AnchorAttention(name == wordless) if name.endswith("attn1") else TextAttention())
    return Entry(network)
