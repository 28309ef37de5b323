"""An SD 1.x UNet whose frames attend to the first one of the clip.

Source: SPEC.md sections 3 and 6.
"""

from __future__ import annotations

from typing import Literal

import torch
from diffusers import UNet2DConditionModel

from stages.diffusion.magicanimate.pose_control import Residuals
from stages.diffusion.text2video_zero.cross_frame_attention import attend_across_frames

Wiring = Literal["legacy", "modern"]


class AnchoredUNet:
    """One denoising forward of some frames of a clip."""

    def __init__(self, network: UNet2DConditionModel) -> None:
        self.network = network
        self._batch = attend_across_frames(network)
        self._added: torch.Tensor | None = None
        network.mid_block.register_forward_pre_hook(self._enter_middle)

    def predict(
        self,
        sample: torch.Tensor,
        timestep: int,
        text: torch.Tensor,
        residuals: Residuals | None = None,
        wiring: Wiring = "modern",
        holds_anchor: bool = True,
    ) -> torch.Tensor:
        """Noise prediction (rows · frames, 4, height, width) of a `sample` of that shape, all frames of row 0 first.

        `text` (rows, words, width). `residuals` (down, mid) are a ControlNet's, one per entry of `sample`. With the
        `legacy` wiring the middle block sees the last of the down residuals already added, as diffusers 0.14 had it.
        `holds_anchor`: frame 0 of each row is the anchor; else it was in an earlier forward of this timestep.
        """
        self._batch.rows, self._batch.holds_anchor = len(text), holds_anchor
        down, mid = residuals or (None, None)
        self._added = down[-1] if down and wiring == "legacy" else None
        return self.network(
            sample,
            timestep,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0]

    def _enter_middle(self, _: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        return None if self._added is None else (inputs[0] + self._added, *inputs[1:])
