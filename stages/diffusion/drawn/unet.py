"""The denoising UNet of `drawn`: a reference per row beside its self-attention, poses after `conv_in`, no text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNetMotionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn

from stages.diffusion.networks.attention_heads import KeysValues
from stages.diffusion.networks.motion_unet import LayerInputs, MotionUNet, build_motion_unet
from stages.diffusion.networks.reference_attention import Features
from stages.diffusion.sampling.shortcuts import Deep
from stages.diffusion.weights.checkpoint import State

_NO_MOTION: dict[str, Any] = {"longest_window": 1, "heads": 1, "modules": []}


class NoMotion(nn.Module):
    """In place of a motion module: frames stay by themselves."""

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """The hidden states as they are."""
        return hidden_states


def build_unet(config: Mapping[str, Any], motion: Mapping[str, Any] | None = None) -> UNetMotionModel:
    """The denoising UNet on the meta device, under the names of the UNet2DConditionModel of `config`, without text.

    `motion` says which motion modules there are, with how many heads and positions; None: there are none.
    """
    motion = motion or _NO_MOTION
    network = build_motion_unet(dict(config), motion["longest_window"], mid_block=True, motion_heads=motion["heads"])
    for name, _ in motion_modules(network):
        if name not in motion["modules"]:
            network.set_submodule(name, NoMotion())
    return without_text(network)


def without_text(network: nn.Module) -> nn.Module:
    """Drop every cross-attention and its norm."""
    for name, module in network.named_modules():
        if isinstance(module, BasicTransformerBlock) and ".attentions." in name:
            module.attn2 = module.norm2 = None
    return network


def motion_modules(network: nn.Module) -> list[tuple[str, AnimateDiffTransformer3D]]:
    """The motion modules of a UNet by name."""
    return [(name, module) for name, module in network.named_modules() if isinstance(module, AnimateDiffTransformer3D)]


def motion_state(network: nn.Module) -> State:
    """The weights of a UNet's motion modules."""
    return {name: tensor for name, tensor in network.state_dict().items() if ".motion_modules." in name}


@dataclass(frozen=True)
class Conditioning:
    """What the UNet is given of the references: one for each row of the batch, there is no guidance."""

    latents: torch.Tensor  # (rows, channels, height, width), clean
    reference: Mapping[str, KeysValues]  # by transformer block, of every row

    @property
    def branches(self) -> int:
        """Rows of the batch; a film is a single one."""
        return len(self.latents)


class DrawnUNet(MotionUNet):
    """The denoising UNet: every block reads the references, poses are added after `conv_in`."""

    def condition(self, latents: torch.Tensor, features: Features) -> Conditioning:
        """References of rows: latents (rows, channels, height, width), features (rows, tokens, channels) by block."""
        return Conditioning(latents, self.project(features))

    def predict(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        pose: torch.Tensor,
        warped: torch.Tensor,
        motion: bool = True,
        deep: Deep | None = None,
    ) -> torch.Tensor:
        """v of (rows · frames, channels, height, width) → (rows, frames, channels, height, width).

        `timesteps` are one for all, or one for each frame of each row; `pose` (rows · frames, features, height,
        width); `warped` (rows · frames, channels, height, width), zeros where there is none; without `motion` every
        frame is predicted by itself. Fills `deep` on its way.
        """
        network = self.network
        given = self._given(latents, timesteps, conditioning, motion)
        skips = [self._seen(latents, conditioning, warped) + pose]
        for block in network.down_blocks:
            skips += self._down(block, skips[-1], given)
        hidden = self._resnet(network.mid_block.resnets[0], skips[-1], given)
        return self._up(self._middle(hidden, given), skips, given, deep)

    def predict_again(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        pose: torch.Tensor,
        warped: torch.Tensor,
        motion: bool,
        deep: Deep,
    ) -> torch.Tensor:
        """As `predict`, around what deep layers made at an earlier step."""
        given = self._given(latents, timesteps, conditioning, motion)
        skips = self._entry(self._seen(latents, conditioning, warped) + pose, given)
        return self._last(deep.of_last(len(latents)), skips, given)

    def _given(
        self, latents: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning, motion: bool
    ) -> LayerInputs:
        self.layout.frames = len(latents) // conditioning.branches
        return LayerInputs(self._embedding(timesteps, latents.dtype), conditioning, motion=motion)

    def _seen(self, latents: torch.Tensor, conditioning: Conditioning, warped: torch.Tensor) -> torch.Tensor:
        """What `conv_in` makes of the noisy latents beside the reference's and the warped reference's."""
        beside = conditioning.latents.repeat_interleave(self.layout.frames, dim=0)
        return self.network.conv_in(torch.cat([latents, beside, warped], dim=1))
