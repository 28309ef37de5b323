"""Cross-attention of many rows to few contexts, whose keys and values are projected once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from stages.diffusion.networks.attention_heads import KeysValues, attend, row_keys_values, split_heads


class ShownContext:
    """What the rows of a batch attend to: set before the network's forward, read by its layers."""

    def __init__(self) -> None:
        self.contexts: torch.Tensor | None = None  # (contexts, tokens, width)
        self.rows: torch.Tensor | None = None  # the context of every row of the batch


class ContextAttention:
    """Attention processor that keeps keys and values for as long as it is shown the very same contexts."""

    def __init__(self, shown: ShownContext) -> None:
        self._shown = shown
        self._projected: torch.Tensor | None = None
        self._keys_values: KeysValues | None = None

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """`hidden_states` (rows, pixels, channels) → the same shape."""
        if self._projected is not self._shown.contexts:
            self._projected = self._shown.contexts
            self._keys_values = row_keys_values(attn, self._projected)
        key, value = self._keys_values
        rows = self._shown.rows
        return attend(attn, split_heads(attn, attn.to_q(hidden_states)), (key[rows], value[rows]))


class ContextUNet:
    """An SD UNet whose rows read contexts by number."""

    def __init__(self, network: UNet2DConditionModel) -> None:
        self.network = network
        self._shown = ShownContext()
        for name, module in network.named_modules():
            if name.endswith(".attn2"):
                module.set_processor(ContextAttention(self._shown))

    def predict(self, sample: torch.Tensor, timestep: int, contexts: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Noise prediction: `sample` (rows, in channels, height, width) → (rows, 4, height, width).

        `contexts` (contexts, tokens, width); `rows` says which of them each row reads.
        """
        self._shown.contexts = contexts
        self._shown.rows = torch.tensor(rows, device=sample.device)
        return self.network(sample, timestep, contexts, return_dict=False)[0]
