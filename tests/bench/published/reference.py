"""What the appearance encoder writes and the denoising UNet reads (SPEC sections 4 and 5)."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel, UNetMotionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import nn

ATTEND = AttnProcessor2_0()


class Writer:
    """Keeps the input of self-attention, for both rows, and attends."""

    bank: torch.Tensor

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """(rows, tokens, channels) → the same shape."""
        self.bank = hidden_states
        return ATTEND(attn, hidden_states)


class WritingNorm(nn.LayerNorm):
    """The last block's only layer: its output is the last feature."""

    bank: torch.Tensor

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(rows, tokens, channels) → the same shape."""
        self.bank = super().forward(hidden)
        return self.bank


class Zero(nn.Module):
    """In place of a branch of the last block that has no weights."""

    def forward(self, hidden: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """(rows, tokens, channels) → zeros of the same shape."""
        return torch.zeros_like(hidden)


class Reader:
    """Every row attends to itself and the reference; then the unconditional rows attend again, to themselves."""

    bank: torch.Tensor  # (2, tokens, channels), of which row 1 is read
    reads = False

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """(2 · frames, tokens, channels), the unconditional half first → the same shape."""
        if not self.reads:
            return ATTEND(attn, hidden_states)
        reference = self.bank[1:].repeat(len(hidden_states), 1, 1)
        result = ATTEND(attn, hidden_states, encoder_hidden_states=torch.cat([hidden_states, reference], dim=1))
        half = len(hidden_states) // 2
        result[:half] = ATTEND(attn, hidden_states[:half])
        return result


def blocks(network: nn.Module) -> list[str]:
    """Names of the paired transformer blocks: those of the middle and of the up path."""
    return [
        name
        for name, _ in network.named_modules()
        if name.startswith(("mid_block.attentions", "up_blocks")) and name.endswith(".transformer_blocks.0")
        if ".attentions." in name
    ]


def as_writer(network: UNet2DConditionModel) -> dict[str, Writer | WritingNorm]:
    """Cut the network to what its checkpoint holds, and let it write. On the meta device."""
    network.conv_norm_out = None
    network.conv_act = nn.Identity()
    network.conv_out = nn.Identity()
    last = network.up_blocks[-1].attentions[-1]
    last.proj_out = nn.Identity()
    block = last.transformer_blocks[0]
    norm = block.norm1
    with torch.device("meta"):
        block.norm1 = WritingNorm(norm.normalized_shape, eps=norm.eps)
    block.norm2 = block.norm3 = nn.Identity()
    block.attn1 = block.attn2 = block.ff = Zero()
    writers: dict[str, Writer | WritingNorm] = {}
    for name in blocks(network):
        if name.startswith("up_blocks.3.attentions.2."):
            writers[name] = block.norm1
        else:
            writers[name] = Writer()
            network.get_submodule(name).attn1.set_processor(writers[name])
    return writers


def as_reader(network: UNetMotionModel) -> dict[str, Reader]:
    """Let the network's middle and up blocks read."""
    readers = {name: Reader() for name in blocks(network)}
    for name, reader in readers.items():
        network.get_submodule(name).attn1.set_processor(reader)
    return readers
