"""How diffusers' attention layers split tokens into heads and join them again, for the processors of this package."""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers.models.attention_processor import Attention
from torch.nn.functional import scaled_dot_product_attention

KeysValues = tuple[torch.Tensor, torch.Tensor]  # each (samples, heads, tokens, channels/heads)
# queries, keys and values (samples, heads, tokens, channels/heads) → what queries attend to, of their shape
Operator = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def split_heads(attn: Attention, projected: torch.Tensor) -> torch.Tensor:
    """(samples, tokens, channels) → (samples, heads, tokens, channels/heads)."""
    return projected.unflatten(-1, (attn.heads, -1)).transpose(1, 2)


def keys_values_of(attn: Attention, tokens: torch.Tensor) -> KeysValues:
    """Keys and values that this layer makes of (samples, tokens, channels)."""
    return split_heads(attn, attn.to_k(tokens)), split_heads(attn, attn.to_v(tokens))


def attend(attn: Attention, query: torch.Tensor, keys_values: KeysValues) -> torch.Tensor:
    """The layer's output (samples, tokens, channels) for queries (samples, heads, tokens, channels/heads)."""
    operator: Operator = getattr(attn, "operator", scaled_dot_product_attention)  # see `memory_efficient.py`
    merged = operator(query, *keys_values).transpose(1, 2).flatten(2)
    return attn.to_out[1](attn.to_out[0](merged))
