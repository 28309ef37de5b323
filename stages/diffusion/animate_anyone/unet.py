"""The denoising network of Animate Anyone: one image token, reference tokens in every block, poses after `conv_in`.

Source: SPEC.md sections 2.2 and 3; section 13 ("Wasted work") items 1, 2, 4, 5 and 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import Attention
from torch import nn

from stages.diffusion.animate_anyone.settings import PublishedSettings
from stages.diffusion.networks.attention_heads import KeysValues
from stages.diffusion.networks.motion_unet import LayerInputs, MotionUNet, build_motion_unet, span_frames
from stages.diffusion.networks.reference_attention import Features, transformer_blocks
from stages.diffusion.networks.timestep import timestep_on
from stages.diffusion.sampling.shortcuts import Deep


def build_denoising_network(config: dict[str, Any], settings: PublishedSettings) -> UNetMotionModel:
    """The denoising network on the meta device (section 2.2)."""
    network = build_motion_unet(config, settings.positions, settings.mid_block, settings.motion_heads)
    return network if settings.norms_per_frame else span_frames(network)


@dataclass(frozen=True)
class Conditioning:
    """What is the same for all frames, windows and steps of a clip, by transformer block.

    Branches are [unconditional, conditional] or the conditional one alone.
    """

    reference: Mapping[str, KeysValues]  # of the conditional branch; empty: no reference
    token: Mapping[str, torch.Tensor]  # (branches, 1, channels): all that cross-attention adds
    branches: int

    def of(self, which: range) -> Conditioning:
        """That of some neighbouring branches alone."""
        token = {name: one[which.start : which.stop] for name, one in self.token.items()}
        return Conditioning(self.reference if which.stop == self.branches else {}, token, len(which))


@dataclass(frozen=True)
class Stem:
    """Frames as they are before the first motion module, where they are still independent of each other."""

    entry: torch.Tensor  # (frames, channels, height, width): the first skip, the same for all branches
    hidden: torch.Tensor  # (branches, frames, channels, height, width)

    def split(self) -> list[Stem]:
        """One stem per frame, copied: one that is kept must not hold all of them."""
        return [
            Stem(self.entry[at : at + 1].clone(), self.hidden[:, at : at + 1].clone()) for at in range(len(self.entry))
        ]

    def of(self, which: range) -> Stem:
        """That of some neighbouring branches alone."""
        return Stem(self.entry, self.hidden[which.start : which.stop])

    @classmethod
    def join(cls, stems: list[Stem]) -> Stem:
        """The stems of several frames as one."""
        return cls(torch.cat([one.entry for one in stems]), torch.cat([one.hidden for one in stems], dim=1))


class SingleTokenAttention(nn.Module):
    """Cross-attention to one token. The softmax over one key is 1: it adds `to_out(to_v(token))` to every pixel."""

    def __init__(self, attn: Attention, block: str) -> None:
        super().__init__()
        self.to_v, self.to_out = attn.to_v, attn.to_out
        self._block = block

    def vectors(self, tokens: torch.Tensor) -> torch.Tensor:
        """(branches, 1, width) → (branches, 1, channels)."""
        return self.to_out[1](self.to_out[0](self.to_v(tokens)))

    def forward(self, hidden_states: torch.Tensor, conditioning: Conditioning, **_: object) -> torch.Tensor:
        """(branches · frames, pixels, channels) → (branches · frames, 1, channels), which broadcasts."""
        frames = len(hidden_states) // conditioning.branches
        return conditioning.token[self._block].repeat_interleave(frames, dim=0)


class PosedUNet(MotionUNet):
    """The network, with everything that does not depend on the latents computed once per clip."""

    def __init__(self, network: UNetMotionModel) -> None:
        """`network` has its weights: the parts of cross-attention that one token leaves without effect are dropped."""
        super().__init__(network)
        self._crossings: dict[str, SingleTokenAttention] = {}
        for name in transformer_blocks(network):
            block = network.get_submodule(name)
            self._crossings[name] = block.attn2 = SingleTokenAttention(block.attn2, name)
            block.norm2 = nn.Identity()

    def condition(self, features: Features, tokens: torch.Tensor) -> Conditioning:
        """`features` (1, tokens, channels) by block, empty for no reference; `tokens` (branches, 1, width)."""
        token = {name: crossing.vectors(tokens) for name, crossing in self._crossings.items()}
        return Conditioning(self.project(features), token, len(tokens))

    def predict(
        self, latents: torch.Tensor, timestep: int, conditioning: Conditioning, pose: torch.Tensor | None
    ) -> torch.Tensor:
        """Raw predictions of one window: (frames, 4, height, width) → (branches, frames, 4, height, width).

        `pose` (frames, channels, height, width) is added to every branch.
        """
        return self.finish(self.stem(latents, timestep, conditioning, pose), timestep, conditioning)

    def stem(self, latents: torch.Tensor, timestep: int, conditioning: Conditioning, pose: torch.Tensor | None) -> Stem:
        """What needs no other frame: shared by all windows of a step that hold the frame. Shapes as `predict`."""
        first = self.network.down_blocks[0]
        given = self._given(latents, timestep, conditioning)
        entry = self.network.conv_in(latents)
        if pose is not None:
            entry = entry + pose
        # up to here all branches are equal
        hidden = self._resnet(first.resnets[0], entry, given).repeat(conditioning.branches, 1, 1, 1)
        hidden = self._attend(first.attentions[0], hidden, given)
        return Stem(entry, hidden.unflatten(0, (conditioning.branches, -1)))

    def finish(self, stem: Stem, timestep: int, conditioning: Conditioning, deep: Deep | None = None) -> torch.Tensor:
        """The rest of the network, on all frames of a window → (branches, frames, 4, height, width); fills `deep`."""
        first, *others = self.network.down_blocks
        given = self._given(stem.entry, timestep, conditioning)
        hidden = self._move(first.motion_modules[0], stem.hidden.flatten(0, 1), given)
        skips = [stem.entry.repeat(conditioning.branches, 1, 1, 1), hidden]
        skips += self._down(first, hidden, given, first=1)
        for block in others:
            skips += self._down(block, skips[-1], given)
        hidden = self._resnet(self.network.mid_block.resnets[0], skips[-1], given)
        return self._up(self._middle(hidden, given), skips, given, deep)

    def predict_again(
        self, latents: torch.Tensor, timestep: int, conditioning: Conditioning, pose: torch.Tensor, deep: Deep
    ) -> torch.Tensor:
        """As `predict`, around what deep layers made at an earlier step."""
        given = self._given(latents, timestep, conditioning)
        skips = self._entry((self.network.conv_in(latents) + pose).repeat(conditioning.branches, 1, 1, 1), given)
        return self._last(deep.of_last(conditioning.branches * len(latents)), skips, given)

    def _given(self, frames: torch.Tensor, timestep: int, conditioning: Conditioning) -> LayerInputs:
        """For layers that see these frames, (frames, channels, height, width)."""
        self.layout.frames = len(frames)
        emb = self._embedding(timestep_on(frames.device, timestep), frames.dtype)
        return LayerInputs(emb, conditioning)
