"""The denoising network of MagicAnimate: text in every block, poses as ControlNet residuals.

Source: SPEC.md sections 3 and 5, "Wasted work" 1 and 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import Attention

from stages.diffusion.magicanimate.pose_control import Residuals
from stages.diffusion.networks.attention_heads import KeysValues, attend, keys_values_of, split_heads
from stages.diffusion.networks.motion_unet import LayerInputs, MotionUNet
from stages.diffusion.networks.reference_attention import transformer_blocks
from stages.diffusion.networks.timestep import timestep_on


@dataclass(frozen=True)
class Conditioning:
    """What is the same for all frames and windows of a step."""

    text: torch.Tensor  # (branches, words, width), [unconditional, conditional] or the conditional one alone
    shared_text: bool = False  # all branches have the same text
    reference: Mapping[str, KeysValues] = field(default_factory=dict)  # by block, of the conditional branch

    @property
    def branches(self) -> int:
        """One or two."""
        return len(self.text)

    def of(self, which: range) -> Conditioning:
        """That of some neighbouring branches alone."""
        reads = which.stop == self.branches
        return replace(self, text=self.text[which.start : which.stop], reference=self.reference if reads else {})


class TextReader:
    """Processor of plain cross-attention to the words."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        *_: Any,
        conditioning: Conditioning,  # named here, else diffusers warns that nobody reads it
        **__: Any,
    ) -> torch.Tensor:
        """Pixels (n, pixels, channels) and words (n, words, width) → (n, pixels, channels)."""
        return attend(attn, split_heads(attn, attn.to_q(hidden_states)), keys_values_of(attn, encoder_hidden_states))


class ControlledUNet(MotionUNet):
    """One denoising forward, with what all branches share computed once."""

    def __init__(self, network: UNetMotionModel) -> None:
        super().__init__(network)
        for name in transformer_blocks(network):
            network.get_submodule(name).attn2.set_processor(TextReader())

    def predict(
        self, latents: torch.Tensor, timestep: int, conditioning: Conditioning, residuals: Residuals | None = None
    ) -> torch.Tensor:
        """Noise prediction of one window.

        `latents` (frames, channels, height, width), the same for all branches; `residuals` the ControlNet's, added to
        every branch. → (branches, frames, channels, height, width).

        Branches of one text differ from the middle block's attention on: everything before it is computed once.
        """
        network, branches = self.network, conditioning.branches
        self.layout.frames = len(latents)
        words = conditioning.text.repeat_interleave(len(latents), dim=0)
        emb = self._embedding(timestep_on(latents.device, timestep), latents.dtype)
        given = LayerInputs(emb, conditioning, words)

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
        return self._up(hidden, skips, given)

    def _plus(self, hidden: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """Add frames (frames, channels, height, width) to those of every branch."""
        return (hidden.unflatten(0, (-1, self.layout.frames)) + residual).flatten(0, 1)
