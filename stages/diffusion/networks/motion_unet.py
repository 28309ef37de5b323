"""SD 1.5 UNets with motion modules: diffusers' layers, and the ways through them that our forwards share.

Source: magicanimate/SPEC.md sections 3 and 5; animate_anyone/SPEC.md section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn

from stages.diffusion.networks.attention_heads import KeysValues, keys_values_of
from stages.diffusion.networks.batch_layout import BatchLayout, FrameSpanningGroupNorm, PerFrameGroupNorm
from stages.diffusion.networks.reference_attention import (
    Features,
    ReadsReference,
    ReferenceReader,
    transformer_blocks,
)
from stages.diffusion.networks.shallow import SHALLOW_LAYERS
from stages.diffusion.sampling.shortcuts import Deep
from stages.diffusion.weights.bounds import on_meta

# The same in every published system, whatever the UNet's own number of groups is.
MOTION_NORM_GROUPS = 32


def build_motion_unet(
    config: dict[str, Any], longest_window: int, mid_block: bool, motion_heads: int = 8
) -> UNetMotionModel:
    """The network of a 2-D SD 1.5 `config.json`, on the meta device, all norms per frame.

    `longest_window` is the number of positions of the motion modules; `mid_block` whether the middle block has one.
    """
    with on_meta():
        unet = UNet2DConditionModel.from_config(config)
        adapter = MotionAdapter(
            block_out_channels=unet.config.block_out_channels,
            motion_layers_per_block=unet.config.layers_per_block,
            motion_num_attention_heads=motion_heads,
            motion_norm_num_groups=MOTION_NORM_GROUPS,
            motion_max_seq_length=longest_window,
            use_motion_mid_block=mid_block,
        )
        network = UNetMotionModel.from_unet2d(unet, adapter, load_weights=False)
        for module in list(network.modules()):
            if isinstance(module, AnimateDiffTransformer3D):
                module.norm = PerFrameGroupNorm(MOTION_NORM_GROUPS, module.in_channels, eps=module.norm.eps)
    network.layout = BatchLayout()
    return network


def span_frames(network: UNetMotionModel) -> UNetMotionModel:
    """Let the norms of the resnets and of the output run over all frames of a branch together."""
    with torch.device("meta"):
        for module in list(network.modules()):
            if isinstance(module, ResnetBlock2D):
                module.norm1 = FrameSpanningGroupNorm(module.norm1, network.layout)
                module.norm2 = FrameSpanningGroupNorm(module.norm2, network.layout)
        network.conv_norm_out = FrameSpanningGroupNorm(network.conv_norm_out, network.layout)
    return network


@dataclass(frozen=True)
class LayerInputs:
    """What the layers of one forward are given beside their hidden states."""

    emb: torch.Tensor  # (1 or branches · frames, channels) of the timestep
    conditioning: ReadsReference
    motion: bool = True  # False: frames stay by themselves


class MotionUNet:
    """A motion UNet whose blocks read a reference, layer by layer: each system's forward leaves out what it can.

    Hidden states are (branches · frames, channels, height, width).
    """

    def __init__(self, network: UNetMotionModel) -> None:
        self.network = network
        self.layout: BatchLayout = network.layout
        for name in transformer_blocks(network):
            network.get_submodule(name).attn1.set_processor(ReferenceReader(name))

    def project(self, features: Features) -> dict[str, KeysValues]:
        """Keys and values that the named blocks read of `features`, (readers, tokens, channels) each."""
        return {name: keys_values_of(self.network.get_submodule(name).attn1, read) for name, read in features.items()}

    def _embedding(self, timesteps: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return self.network.time_embedding(self.network.time_proj(timesteps).to(dtype))

    def _down(self, block: Any, hidden: torch.Tensor, given: LayerInputs, first: int = 0) -> list[torch.Tensor]:
        """A block of the down path from its layer `first` on → what it leaves to the up path, its result last."""
        skips = []
        for layer in range(first, len(block.resnets)):
            hidden = self._layer(block, layer, hidden, given)
            skips.append(hidden)
        for downsampler in block.downsamplers or ():
            hidden = downsampler(hidden)
            skips.append(hidden)
        return skips

    def _middle(self, hidden: torch.Tensor, given: LayerInputs) -> torch.Tensor:
        """The middle block behind its first resnet."""
        block = self.network.mid_block
        for layer, attention in enumerate(block.attentions):
            hidden = self._attend(attention, hidden, given)
            if hasattr(block, "motion_modules"):
                hidden = self._move(block.motion_modules[layer], hidden, given)
            hidden = self._resnet(block.resnets[layer + 1], hidden, given)
        return hidden

    def _up(
        self, hidden: torch.Tensor, skips: Sequence[torch.Tensor], given: LayerInputs, deep: Deep | None = None
    ) -> torch.Tensor:
        """The up path and the output → (branches, frames, channels, height, width); fills `deep` on its way."""
        skips = list(skips)
        # named nowhere, what comes before the last layers is given free by them
        return self._last(self._before_last(hidden, skips, given, deep), skips, given)

    def _before_last(
        self, hidden: torch.Tensor, skips: list[torch.Tensor], given: LayerInputs, deep: Deep | None
    ) -> torch.Tensor:
        """The up path up to its last layers, whose skips are left over."""
        *others, last = self.network.up_blocks
        for block in others:
            for layer in range(len(block.resnets)):
                hidden = self._layer(block, layer, torch.cat([hidden, skips.pop()], dim=1), given)
            for upsampler in block.upsamplers or ():
                hidden = upsampler(hidden, output_size=skips[-1].shape[2:])
        for layer in range(len(last.resnets) - SHALLOW_LAYERS):
            hidden = self._layer(last, layer, torch.cat([hidden, skips.pop()], dim=1), given)
        if deep is not None:
            deep.hidden = hidden
        return hidden

    def _entry(self, hidden: torch.Tensor, given: LayerInputs) -> list[torch.Tensor]:
        """What the first layers leave to the last ones: `hidden`, behind `conv_in`, and the results of layers."""
        first, skips = self.network.down_blocks[0], [hidden]
        for layer in range(SHALLOW_LAYERS - 1):
            skips.append(self._layer(first, layer, skips[-1], given))
        return skips

    def _last(self, hidden: torch.Tensor, skips: Sequence[torch.Tensor], given: LayerInputs) -> torch.Tensor:
        """The last layers and the output: all that a short forward makes of deep features."""
        network, block, skips = self.network, self.network.up_blocks[-1], list(skips)
        for layer in range(len(block.resnets) - len(skips), len(block.resnets)):
            hidden = self._layer(block, layer, torch.cat([hidden, skips.pop()], dim=1), given)
        hidden = network.conv_out(network.conv_act(network.conv_norm_out(hidden)))
        return hidden.unflatten(0, (-1, self.layout.frames))

    def _layer(self, block: Any, layer: int, hidden: torch.Tensor, given: LayerInputs) -> torch.Tensor:
        hidden = self._resnet(block.resnets[layer], hidden, given)
        if hasattr(block, "attentions"):
            hidden = self._attend(block.attentions[layer], hidden, given)
        return self._move(block.motion_modules[layer], hidden, given)

    def _resnet(self, resnet: nn.Module, hidden: torch.Tensor, given: LayerInputs) -> torch.Tensor:
        return resnet(hidden, given.emb.expand(len(hidden), -1))

    def _attend(self, attention: nn.Module, hidden: torch.Tensor, given: LayerInputs) -> torch.Tensor:
        return attention(
            hidden,
            cross_attention_kwargs={"conditioning": given.conditioning},
            return_dict=False,
        )[0]

    def _move(self, module: nn.Module, hidden: torch.Tensor, given: LayerInputs) -> torch.Tensor:
        return module(hidden, num_frames=self.layout.frames) if given.motion else hidden
