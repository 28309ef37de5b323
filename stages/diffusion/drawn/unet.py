"""The denoising UNet of `drawn`: a reference per row beside its self-attention, poses after `conv_in`, no text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNetMotionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import nn

from stages.diffusion.networks.attention_heads import KeysValues, attend, row_keys_values, split_heads
from stages.diffusion.networks.batch_layout import Layout
from stages.diffusion.networks.motion_unet import MotionUNet, build_motion_unet
from stages.diffusion.networks.reference_attention import transformer_blocks
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


class RowReader:
    """Processor that lets the frames of each row attend to that row's reference beside themselves."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.reference: KeysValues | None = None  # each (rows, heads, tokens, channels/heads)

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """`hidden_states` (rows · frames, tokens, channels) → the same shape."""
        keys_values = tuple(
            torch.cat([own, read.repeat_interleave(self._layout.frames, dim=0)], dim=2)
            for own, read in zip(row_keys_values(attn, hidden_states), self.reference, strict=True)
        )
        return attend(attn, split_heads(attn, attn.to_q(hidden_states)), keys_values)


@dataclass(frozen=True)
class Reference:
    """What the UNet is given of the reference of each row."""

    latents: torch.Tensor  # (rows, channels, height, width)
    read: Mapping[str, KeysValues]  # by transformer block


class DrawnUNet(MotionUNet):
    """The denoising UNet: every block reads the references, poses are added after `conv_in`."""

    def __init__(self, network: UNetMotionModel) -> None:
        super().__init__(network, ())
        self._rows: dict[str, tuple[Attention, RowReader]] = {}
        for name in transformer_blocks(network):
            attn, reader = network.get_submodule(name).attn1, RowReader(self.layout)
            attn.set_processor(reader)
            self._rows[name] = attn, reader
        self._motion = dict(motion_modules(network))

    def look(self, latents: torch.Tensor, features: Mapping[str, torch.Tensor]) -> Reference:
        """References of rows: latents (rows, channels, height, width), features (rows, tokens, channels) by block."""
        return Reference(latents, {name: row_keys_values(self._rows[name][0], one) for name, one in features.items()})

    def predict(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        reference: Reference,
        pose: torch.Tensor,
        motion: bool = True,
    ) -> torch.Tensor:
        """v of (rows · frames, channels, height, width) → (rows, frames, channels, height, width).

        `timesteps` are one for all, or one for each frame of each row; `pose` (rows · frames, features, height,
        width); without `motion` every frame is predicted by itself.
        """
        network, rows = self.network, len(reference.latents)
        self.layout.rows, self.layout.frames = rows, len(latents) // rows
        for name, (_, reader) in self._rows.items():
            reader.reference = reference.read[name]
        for name, module in self._motion.items():
            network.set_submodule(name, module if motion else NoMotion())

        emb = network.time_embedding(network.time_proj(timesteps).to(latents.dtype))
        beside = reference.latents.repeat_interleave(self.layout.frames, dim=0)
        hidden = network.conv_in(torch.cat([latents, beside], dim=1)) + pose
        skips = [hidden]
        for block in network.down_blocks:
            hidden, taken = self._block(block, hidden, emb, None)
            skips += taken
        hidden = self._block(network.mid_block, hidden, emb, None)
        return self._up(hidden, skips, emb)
