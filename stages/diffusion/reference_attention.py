"""Reference attention: a reference network writes its self-attention inputs, the denoising network reads them.

Blocks of the same name are paired. Source: specs/magicanimate.md sections 4 and 5; specs/animate_anyone.md section 3.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch.nn.functional import scaled_dot_product_attention

from stages.diffusion.layout import Layout

Features = dict[str, torch.Tensor]  # block name → (rows, tokens, channels)
KeysValues = tuple[torch.Tensor, torch.Tensor]  # each (1, heads, tokens, channels/heads)


class ReferenceWriter:
    """Processor that keeps what comes into self-attention, then attends as usual."""

    def __init__(self) -> None:
        self.written: torch.Tensor | None = None

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """`hidden_states` (rows, tokens, channels) → the same shape."""
        self.written = hidden_states
        query, key, value = _project(attn, hidden_states)
        return _out(attn, scaled_dot_product_attention(query, key, value))


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
        query, key, value = _project(attn, hidden_states)
        if self._reference is None:
            return _out(attn, scaled_dot_product_attention(query, key, value))
        frames = self._layout.frames
        plain = len(hidden_states) - frames
        wider_key, wider_value = (
            torch.cat([own[plain:], reference.expand(frames, -1, -1, -1)], dim=2)
            for own, reference in zip((key, value), self._reference, strict=True)
        )
        read = scaled_dot_product_attention(query[plain:], wider_key, wider_value)
        if plain:
            read = torch.cat([scaled_dot_product_attention(query[:plain], key[:plain], value[:plain]), read])
        return _out(attn, read)


def keys_values(attn: Attention, features: torch.Tensor) -> KeysValues:
    """Reference features (tokens, channels) as keys and values of this attention."""
    key, value = (
        projection(features[None]).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        for projection in (attn.to_k, attn.to_v)
    )
    return key, value


def _project(attn: Attention, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(rows, tokens, channels) → query, key, value, each (rows, heads, tokens, channels/heads)."""
    query, key, value = (
        projection(tokens).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
        for projection in (attn.to_q, attn.to_k, attn.to_v)
    )
    return query, key, value


def _out(attn: Attention, heads: torch.Tensor) -> torch.Tensor:
    """(rows, heads, tokens, channels/heads) → (rows, tokens, channels)."""
    merged = heads.transpose(1, 2).flatten(2)
    return attn.to_out[1](attn.to_out[0](merged))


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
