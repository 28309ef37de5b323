"""The denoising network of MagicAnimate: text in every block, poses as ControlNet residuals.

Source: SPEC.md sections 3 and 5, "Wasted work" 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stages.diffusion.networks.motion_unet import MotionUNet


class ControlledUNet(MotionUNet):
    """One denoising forward, with what both guidance rows share computed once."""

    def predict(
        self,
        latents: torch.Tensor,
        timestep: int,
        text: torch.Tensor,
        residuals: tuple[Sequence[torch.Tensor], torch.Tensor] | None = None,
        shared_text: bool = False,
    ) -> torch.Tensor:
        """Noise prediction of one window.

        `latents` (frames, channels, height, width), the same for all rows; `text` (rows, tokens, width), rows being
        [unconditional, conditional] or the conditional one alone; `residuals` the ControlNet's (down, mid) with one row
        of frames, added to every row. → (rows, frames, channels, height, width).

        With `shared_text` (all rows of text equal) the rows differ from the middle block's attention on: everything
        before it is computed for one row.
        """
        network, layout = self.network, self.layout
        rows, layout.frames = len(text), len(latents)
        layout.rows = 1 if shared_text else rows

        emb = self._time_embedding(timestep, latents)
        words = text.repeat_interleave(layout.frames, dim=0)
        hidden = network.conv_in(latents).repeat(layout.rows, 1, 1, 1)

        skips = [hidden]
        for block in network.down_blocks:
            hidden, taken = self._block(block, hidden, emb, words)
            skips += taken
        hidden = network.mid_block.resnets[0](hidden, self._per_row(emb))

        hidden = hidden.repeat(rows // layout.rows, 1, 1, 1)
        if residuals is not None:
            skips = [self._plus(skip, more) for skip, more in zip(skips, residuals[0], strict=True)]
        skips = [skip.repeat(rows // layout.rows, 1, 1, 1) for skip in skips]
        layout.rows = rows

        for attention, resnet in zip(network.mid_block.attentions, network.mid_block.resnets[1:], strict=True):
            hidden = attention(hidden, encoder_hidden_states=words, return_dict=False)[0]
            hidden = resnet(hidden, self._per_row(emb))
        if residuals is not None:
            hidden = self._plus(hidden, residuals[1])
        return self._up(hidden, skips, emb, words)

    def _plus(self, hidden: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """Add one row of frames to every row."""
        return (hidden.unflatten(0, (-1, self.layout.frames)) + residual).flatten(0, 1)
