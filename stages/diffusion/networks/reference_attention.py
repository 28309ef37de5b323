"""Reference attention: a reference network writes its self-attention inputs, the denoising network reads them.

Blocks of the same name are paired. Source: magicanimate/SPEC.md sections 4 and 5; animate_anyone/SPEC.md section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from diffusers.models.attention_processor import Attention

from stages.diffusion.networks.attention_heads import KeysValues, attend, keys_values_of, split_heads

Features = dict[str, torch.Tensor]  # block name → (samples, tokens, channels)


class ReferenceWriter:
    """Processor that keeps what comes into self-attention, then attends as usual."""

    def __init__(self) -> None:
        self.written: torch.Tensor | None = None

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """`hidden_states` (samples, tokens, channels) → the same shape."""
        self.written = hidden_states
        return attend(attn, split_heads(attn, attn.to_q(hidden_states)), keys_values_of(attn, hidden_states))


class ReadsReference(Protocol):
    """What the reader asks of a system's conditioning, which the layers get through `cross_attention_kwargs`."""

    @property
    def reference(self) -> Mapping[str, KeysValues]:
        """By block, each (readers, heads, tokens, channels/heads): of the last `readers` branches, one for each."""

    @property
    def branches(self) -> int:
        """Branches of the batch."""


class ReferenceReader:
    """Processor that lets the frames of some branches attend to a reference beside themselves.

    The last branches read, each its own reference; those before them, and all of a block that has no reference, do
    plain self-attention: nothing is computed to be thrown away.
    """

    def __init__(self, block: str) -> None:
        self._block = block

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, *_: Any, conditioning: ReadsReference, **__: Any
    ) -> torch.Tensor:
        """`hidden_states` (branches · frames, tokens, channels) → the same shape."""
        query, own = split_heads(attn, attn.to_q(hidden_states)), keys_values_of(attn, hidden_states)
        reference = conditioning.reference.get(self._block)
        if reference is None:
            return attend(attn, query, own)
        frames = len(hidden_states) // conditioning.branches
        plain = len(hidden_states) - frames * len(reference[0])
        wider_key, wider_value = (
            torch.cat([one[plain:], for_each_frame(read, frames)], dim=2)
            for one, read in zip(own, reference, strict=True)
        )
        result = attend(attn, query[plain:], (wider_key, wider_value))
        if plain:
            key, value = own
            result = torch.cat([attend(attn, query[:plain], (key[:plain], value[:plain])), result])
        return result


def for_each_frame(read: torch.Tensor, frames: int) -> torch.Tensor:
    """(readers, …) → (readers · frames, …), without a copy for a single reader."""
    return read[:, None].expand(-1, frames, *read.shape[1:]).flatten(0, 1)


def reading_blocks(network: torch.nn.Module) -> list[str]:
    """Names of the transformer blocks in the middle and up path, in data-flow order."""
    return [name for name in transformer_blocks(network) if not name.startswith("down_blocks.")]


def transformer_blocks(network: torch.nn.Module) -> list[str]:
    """Names of all spatial transformer blocks, in data-flow order."""
    return [
        name
        for part in ("down_blocks", "mid_block", "up_blocks")
        for name, _ in getattr(network, part).named_modules(prefix=part)
        if name.endswith(".transformer_blocks.0") and ".attentions." in name
    ]
