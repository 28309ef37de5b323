"""Short forwards: the first and last layers of a network around what its deep ones made at an earlier step.

DeepCache (Ma et al. 2023). diffusers' caches know neither motion modules nor ControlNets.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from stages.diffusion.sampling.shortcuts import Deep

# Layers of the last up block that a short forward makes, and with the entry as many skips that they read.
SHALLOW_LAYERS = 2


def first_skips(
    network: UNet2DConditionModel | ControlNetModel, entry: torch.Tensor, emb: torch.Tensor, **given: Any
) -> list[torch.Tensor]:
    """What the first layers leave to the last ones: `entry`, behind `conv_in`, and the results of layers.

    `given` is what attention is called with.
    """
    block, skips = network.down_blocks[0], [entry]
    for layer in range(SHALLOW_LAYERS - 1):
        hidden = block.resnets[layer](skips[-1], emb)
        if hasattr(block, "attentions"):
            hidden = block.attentions[layer](hidden, return_dict=False, **given)[0]
        skips.append(hidden)
    return skips


def embedded_time(network: UNet2DConditionModel | ControlNetModel, timestep: int, sample: torch.Tensor) -> torch.Tensor:
    """(samples, channels) of a timestep, for a `sample` of the networks' type."""
    times = torch.full((len(sample),), timestep, device=sample.device)
    return network.time_embedding(network.time_proj(times).to(sample.dtype))


def first_residuals(
    network: ControlNetModel,
    sample: torch.Tensor,
    timestep: int,
    embedded: torch.Tensor,
    scale: float,
    **given: Any,
) -> list[torch.Tensor]:
    """The first of a ControlNet's residuals, those that a short forward reads, without the layers below them.

    `embedded` (samples, channels, height, width) are the poses as the network embeds them.
    """
    emb = embedded_time(network, timestep, sample)
    skips = first_skips(network, network.conv_in(sample) + embedded, emb, **given)
    return [scale * made(skip) for skip, made in zip(skips, network.controlnet_down_blocks, strict=False)]


class ShortUNet:
    """A UNet2DConditionModel that can be run in short."""

    def __init__(self, network: UNet2DConditionModel) -> None:
        self._network = network
        self._filling: Deep | None = None
        network.up_blocks[-1].resnets[-SHALLOW_LAYERS].register_forward_pre_hook(self._keep)

    def whole(self, deep: Deep | None, sample: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
        """diffusers' forward, which fills `deep` on its way."""
        self._filling = deep
        try:
            return self._network(sample, *given, return_dict=False, **more)[0]
        finally:
            self._filling = None

    def short(
        self,
        deep: Deep,
        sample: torch.Tensor,
        timestep: int,
        residuals: list[torch.Tensor] | None = None,
        **given: Any,
    ) -> torch.Tensor:
        """(samples, out channels, height, width); `residuals` are the first of a ControlNet, as many as are read."""
        network = self._network
        emb = embedded_time(network, timestep, sample)
        skips = first_skips(network, network.conv_in(sample), emb, **given)
        if residuals is not None:
            skips = [skip + more for skip, more in zip(skips, residuals, strict=True)]
        block, hidden = network.up_blocks[-1], deep.of_last(len(sample))
        for layer in range(len(block.resnets) - SHALLOW_LAYERS, len(block.resnets)):
            hidden = block.resnets[layer](torch.cat([hidden, skips.pop()], dim=1), emb)
            if hasattr(block, "attentions"):
                hidden = block.attentions[layer](hidden, return_dict=False, **given)[0]
        return network.conv_out(network.conv_act(network.conv_norm_out(hidden)))

    def _keep(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        """What comes into the first of the last layers is deep features with a skip behind them."""
        if self._filling is not None:
            skip = self._network.conv_in.out_channels
            self._filling.hidden = inputs[0][:, :-skip].clone()
