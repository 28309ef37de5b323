"""The denoising network of MagicAnimate: text in every block, poses as ControlNet residuals.

Source: SPEC.md sections 3 and 5, "Wasted work" 1 and 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import Attention

from stages.diffusion.magicanimate.pose_control import Residuals
from stages.diffusion.networks.attention_heads import KeysValues, attend, keys_values_of, split_heads
from stages.diffusion.networks.motion_unet import LayerInputs, MotionUNet
from stages.diffusion.networks.reference_attention import for_each_frame, transformer_blocks
from stages.diffusion.networks.timestep import timestep_on
from stages.diffusion.sampling.shortcuts import Deep

# Keys and values that each block makes of the text, a row for each branch or one for all. Empty, it is filled before a
# forward; later ones of the same text read it.
Words = dict[str, KeysValues]


@dataclass(frozen=True)
class Conditioning:
    """What is the same for all frames and windows of a step."""

    text: torch.Tensor  # (branches, words, width), [unconditional, conditional] or the conditional one alone
    shared_text: bool = False  # all branches have the same text
    reference: Mapping[str, KeysValues] = field(default_factory=dict)  # by block, of the conditional branch
    words: Words = field(default_factory=dict)
    words_alone: dict[int, Words] = field(default_factory=dict)  # of a branch that goes by itself, by its number

    @property
    def branches(self) -> int:
        """One or two."""
        return len(self.text)

    def of(self, which: range) -> Conditioning:
        """That of some neighbouring branches alone."""
        reads, all_words = which.stop == self.branches, self.shared_text or len(which) == self.branches
        return replace(
            self,
            text=self.text[which.start : which.stop],
            reference=self.reference if reads else {},
            words=self.words if all_words else self.words_alone.setdefault(which.start, {}),
        )


class TextReader:
    """Processor of plain cross-attention to the words, which are projected once for all frames, windows and steps."""

    def __init__(self, block: str) -> None:
        self._block = block

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        *_: Any,
        conditioning: Conditioning,  # named here, else diffusers warns that nobody reads it
        **__: Any,
    ) -> torch.Tensor:
        """Pixels (branches · frames, pixels, channels), or of one branch where all have one text → the same shape."""
        key, value = conditioning.words[self._block]
        frames = len(hidden_states) // len(key)
        query = split_heads(attn, attn.to_q(hidden_states))
        return attend(attn, query, (for_each_frame(key, frames), for_each_frame(value, frames)))


class ControlledUNet(MotionUNet):
    """One denoising forward, with what all branches share computed once."""

    def __init__(self, network: UNetMotionModel) -> None:
        super().__init__(network)
        for name in transformer_blocks(network):
            network.get_submodule(name).attn2.set_processor(TextReader(name))

    def words(self, text: torch.Tensor) -> Words:
        """What each block reads of (rows, words, width)."""
        blocks = {name: self.network.get_submodule(name) for name in transformer_blocks(self.network)}
        return {name: keys_values_of(block.attn2, text) for name, block in blocks.items()}

    def predict(
        self,
        latents: torch.Tensor,
        timestep: int,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
        deep: Deep | None = None,
    ) -> torch.Tensor:
        """Noise prediction of one window; fills `deep` on its way.

        `latents` (frames, channels, height, width), the same for all branches; `residuals` the ControlNet's, added to
        every branch. → (branches, frames, channels, height, width).

        Branches of one text differ from the middle block's attention on: everything before it is computed once.
        """
        network, branches = self.network, conditioning.branches
        self.layout.frames = len(latents)
        given = self._given(latents, timestep, conditioning)

        below = 1 if conditioning.shared_text else branches
        skips = [network.conv_in(latents).repeat(below, 1, 1, 1)]
        for block in network.down_blocks:
            skips += self._down(block, skips[-1], given)
        hidden = self._resnet(network.mid_block.resnets[0], skips[-1], given)

        hidden = hidden.repeat(branches // below, 1, 1, 1)
        if residuals is not None:
            skips = [self._plus(skip, more) for skip, more in zip(skips, residuals[0], strict=True)]
        skips = [skip.repeat(branches // below, 1, 1, 1) for skip in skips]

        hidden = self._middle(hidden, given)
        if residuals is not None:
            hidden = self._plus(hidden, residuals[1])
        return self._up(hidden, skips, given, deep)

    def predict_again(
        self,
        latents: torch.Tensor,
        timestep: int,
        conditioning: Conditioning,
        residuals: Sequence[torch.Tensor] | None,
        deep: Deep,
    ) -> torch.Tensor:
        """As `predict`, around what deep layers made at an earlier step; `residuals` are the ControlNet's first."""
        branches = conditioning.branches
        self.layout.frames = len(latents)
        given = self._given(latents, timestep, conditioning)
        below = 1 if conditioning.shared_text else branches
        skips = self._entry(self.network.conv_in(latents).repeat(below, 1, 1, 1), given)
        if residuals is not None:
            skips = [self._plus(skip, more) for skip, more in zip(skips, residuals, strict=True)]
        skips = [skip.repeat(branches // below, 1, 1, 1) for skip in skips]
        return self._last(deep.of_last(branches * len(latents)), skips, given)

    def _given(self, latents: torch.Tensor, timestep: int, conditioning: Conditioning) -> LayerInputs:
        if not conditioning.words:
            conditioning.words.update(self.words(conditioning.text[: 1 if conditioning.shared_text else None]))
        return LayerInputs(self._embedding(timestep_on(latents.device, timestep), latents.dtype), conditioning)

    def _plus(self, hidden: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """Add frames (frames, channels, height, width) to those of every branch."""
        return (hidden.unflatten(0, (-1, self.layout.frames)) + residual).flatten(0, 1)
