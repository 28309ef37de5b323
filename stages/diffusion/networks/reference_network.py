"""Reference networks: an SD 1.5 UNet that ends at its last captured feature.

Source: magicanimate/SPEC.md section 4 ("appearance encoder"); animate_anyone/SPEC.md sections 2.1 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from stages.diffusion.networks.offload import at_work
from stages.diffusion.networks.reference_attention import Features, ReferenceWriter
from stages.diffusion.networks.timestep import timestep_on
from stages.diffusion.weights.bounds import on_meta


class _LastBlock(nn.Module):
    """What is needed of the last transformer block: its first norm, whose output is the last feature."""

    def __init__(self, norm1: nn.LayerNorm) -> None:
        super().__init__()
        self.norm1 = norm1
        self.written: torch.Tensor | None = None

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        self.written = self.norm1(hidden_states)
        return hidden_states


def build_reference_network(config: dict[str, Any]) -> UNet2DConditionModel:
    """The network of a `config.json` on the meta device, without the output layers, which no published file has."""
    with on_meta():
        network = UNet2DConditionModel.from_config(config)
    network.conv_norm_out = None
    network.conv_out = nn.Identity()
    return network


def end_at_last_feature(network: UNet2DConditionModel) -> UNet2DConditionModel:
    """Drop what comes after the last feature: nothing of it is read."""
    last = network.up_blocks[-1].attentions[-1]
    last.transformer_blocks[0] = _LastBlock(last.transformer_blocks[0].norm1)
    last.proj_out = nn.Identity()
    return network


class ReferenceNetwork:
    """Reference latents → the inputs of self-attention that the denoising network reads."""

    def __init__(self, network: UNet2DConditionModel, writing: Sequence[str]) -> None:
        """`writing` names the transformer blocks whose features are wanted."""
        self.network = network
        self.writers: dict[str, ReferenceWriter | _LastBlock] = {}
        for name in writing:
            block = network.get_submodule(name)
            if isinstance(block, _LastBlock):
                self.writers[name] = block
            else:
                self.writers[name] = ReferenceWriter()
                block.attn1.set_processor(self.writers[name])

    def features(self, latents: torch.Tensor, timestep: int, text: torch.Tensor) -> Features:
        """Clean `latents` (1 or samples, channels, height, width) → (samples, tokens, channels); `text` has as many.

        The reference gets no noise; a system that gives it the current timestep gets other features every step.
        """
        samples, timesteps = len(text), timestep_on(latents.device, timestep)
        with at_work(self.network):
            self.network(latents.expand(samples, -1, -1, -1), timesteps, text, return_dict=False)
        features = {name: writer.written for name, writer in self.writers.items()}
        for writer in self.writers.values():
            writer.written = None
        return features
