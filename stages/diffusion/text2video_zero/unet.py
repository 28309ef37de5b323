"""An SD 1.x UNet whose frames attend to the first one of the clip.

Source: SPEC.md sections 3 and 6.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel

from stages.diffusion.networks.shallow import ShortUNet
from stages.diffusion.networks.timestep import timestep_on
from stages.diffusion.sampling.shortcuts import Deep
from stages.diffusion.text2video_zero.cross_frame_attention import Conditioning, attend_across_frames


class AnchoredUNet:
    """One denoising forward of some frames of a clip."""

    def __init__(self, network: UNet2DConditionModel) -> None:
        self.network = network
        self._forwards = ShortUNet(network)
        self._entry = attend_across_frames(network)
        network.mid_block.register_forward_pre_hook(_enter_middle, with_kwargs=True)

    def predict(
        self, sample: torch.Tensor, timestep: int, conditioning: Conditioning, deep: Deep | None = None
    ) -> torch.Tensor:
        """Noise prediction (branches · frames, 4, height, width) of a `sample` of that shape; fills `deep`."""
        self._entry.expect(conditioning)
        down, mid = conditioning.residuals or (None, None)
        return self._forwards.whole(
            deep,
            sample,
            timestep_on(sample.device, timestep),
            conditioning.text,
            cross_attention_kwargs={"conditioning": conditioning},
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
        )

    def predict_again(
        self,
        sample: torch.Tensor,
        timestep: int,
        conditioning: Conditioning,
        residuals: list[torch.Tensor] | None,
        deep: Deep,
    ) -> torch.Tensor:
        """As `predict`, around what deep layers made at an earlier step; `residuals` are the ControlNet's first."""
        self._entry.expect(conditioning)
        given = {"encoder_hidden_states": conditioning.text, "cross_attention_kwargs": {"conditioning": conditioning}}
        return self._forwards.short(deep, sample, timestep, residuals, **given)


def _enter_middle(
    _: torch.nn.Module, inputs: tuple[torch.Tensor, ...], given: dict[str, Any]
) -> tuple[tuple[torch.Tensor, ...], dict[str, Any]] | None:
    """The legacy wiring: what comes into the middle block, as diffusers 0.14 had it."""
    conditioning: Conditioning = given["cross_attention_kwargs"]["conditioning"]
    if conditioning.wiring == "modern" or conditioning.residuals is None:
        return None
    down, _mid = conditioning.residuals
    return (inputs[0] + down[-1], *inputs[1:]), given
