"""DreamPose's denoising network: SD's UNet, whose cross-attention reads contexts that were projected beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from stages.diffusion.networks.attention_heads import KeysValues, attend, keys_values_of, split_heads
from stages.diffusion.networks.shallow import ShortUNet
from stages.diffusion.networks.timestep import timestep_on
from stages.diffusion.sampling.shortcuts import Deep

Projections = Mapping[str, KeysValues]  # of each cross-attention layer, (contexts, heads, tokens, channels/heads)


@dataclass(frozen=True)
class Conditioning:
    """What the samples of a forward attend to: contexts, of which each sample reads one."""

    contexts: Projections
    read: torch.Tensor  # (samples,): the number of a context


class ContextAttention:
    """Processor of a cross-attention layer: diffusers hands it the conditioning in the place of a context."""

    def __init__(self, layer: str) -> None:
        self._layer = layer

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, encoder_hidden_states: Conditioning, **_: Any
    ) -> torch.Tensor:
        """`hidden_states` (samples, pixels, channels) → the same shape."""
        read, (key, value) = encoder_hidden_states.read, encoder_hidden_states.contexts[self._layer]
        return attend(attn, split_heads(attn, attn.to_q(hidden_states)), (key[read], value[read]))


class ContextUNet:
    """An SD UNet whose samples read contexts by number."""

    def __init__(self, network: UNet2DConditionModel) -> None:
        self.network = network
        self._forwards = ShortUNet(network)
        self._readers = {name: layer for name, layer in network.named_modules() if name.endswith(".attn2")}
        for name, layer in self._readers.items():
            layer.set_processor(ContextAttention(name))

    def project(self, contexts: torch.Tensor) -> Projections:
        """(contexts, tokens, width) → for a `Conditioning`. 2.5 MB per context of CLIP ViT-B/32 in half precision."""
        return {name: keys_values_of(layer, contexts) for name, layer in self._readers.items()}

    def predict(
        self, sample: torch.Tensor, timestep: int, conditioning: Conditioning, deep: Deep | None = None
    ) -> torch.Tensor:
        """Noise prediction: (samples, in channels, height, width) → (samples, 4, height, width); fills `deep`."""
        return self._forwards.whole(deep, sample, timestep_on(sample.device, timestep), conditioning)

    def predict_again(
        self, sample: torch.Tensor, timestep: int, conditioning: Conditioning, deep: Deep
    ) -> torch.Tensor:
        """As `predict`, around what deep layers made at an earlier step."""
        return self._forwards.short(deep, sample, timestep, encoder_hidden_states=conditioning)
