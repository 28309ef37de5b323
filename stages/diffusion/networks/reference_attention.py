"""Reference attention: a reference network writes its self-attention inputs, the denoising network reads them.

Blocks of the same name are paired. Source: magicanimate/SPEC.md sections 4 and 5; animate_anyone/SPEC.md section 3.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import Attention

from stages.diffusion.networks.attention_heads import KeysValues, attend, row_keys_values, split_heads
from stages.diffusion.networks.batch_layout import Layout

Features = dict[str, torch.Tensor]  # block name → (rows, tokens, channels)


class ReferenceWriter:
    """Processor that keeps what comes into self-attention, then attends as usual."""

    def __init__(self) -> None:
        self.written: torch.Tensor | None = None

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """`hidden_states` (rows, tokens, channels) → the same shape."""
        self.written = hidden_states
        return attend(attn, split_heads(attn, attn.to_q(hidden_states)), row_keys_values(attn, hidden_states))


class ReferenceReader:
    """Processor that lets conditional rows attend to the reference beside themselves.

    Rows come as (rows · frames, tokens, channels), the unconditional half first. Without features, or for the
    unconditional row, it is plain self-attention: nothing is computed to be thrown away.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._reference: KeysValues | None = None

    def read(self, attn: Attention, features: torch.Tensor) -> None:
        """Attend to `features` (tokens, channels) in the last row. Keys and values are projected once."""
        self.attend(keys_values(attn, features))

    def attend(self, reference: KeysValues | None) -> None:
        """Attend to a reference whose keys and values are there already; None is plain self-attention."""
        self._reference = reference

    def forget(self) -> None:
        """Back to plain self-attention."""
        self.attend(None)

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """`hidden_states` (rows · frames, tokens, channels) → the same shape."""
        query, own = split_heads(attn, attn.to_q(hidden_states)), row_keys_values(attn, hidden_states)
        if self._reference is None:
            return attend(attn, query, own)
        frames = self._layout.frames
        plain = len(hidden_states) - frames
        wider_key, wider_value = (
            torch.cat([one[plain:], reference.expand(frames, -1, -1, -1)], dim=2)
            for one, reference in zip(own, self._reference, strict=True)
        )
        read = attend(attn, query[plain:], (wider_key, wider_value))
        if plain:
            key, value = own
            read = torch.cat([attend(attn, query[:plain], (key[:plain], value[:plain])), read])
        return read


def keys_values(attn: Attention, features: torch.Tensor) -> KeysValues:
    """Reference features (tokens, channels) as keys and values of this attention, of one row."""
    return row_keys_values(attn, features[None])


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
