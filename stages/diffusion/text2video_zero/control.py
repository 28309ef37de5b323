"""A ControlNet whose frames attend to the first one of the clip, with each pose embedded once.

Source: SPEC.md sections 3 and 5, "Wasted work" 6.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from diffusers import ControlNetModel
from torch import nn

from stages.diffusion.networks.shallow import first_residuals
from stages.diffusion.networks.timestep import timestep_on
from stages.diffusion.sampling.transfer import sent
from stages.diffusion.text2video_zero.cross_frame_attention import Conditioning, Residuals, attend_across_frames


class AnchoredControl:
    """Residuals of some frames of a clip."""

    def __init__(self, network: ControlNetModel) -> None:
        """`network` gives up the layers that see the picture: its forward takes what they make of it."""
        self.network = network
        self.embedding = network.controlnet_cond_embedding
        network.controlnet_cond_embedding = nn.Identity()
        self._entry = attend_across_frames(network)

    @torch.inference_mode()
    def embed(self, batches: Iterable[torch.Tensor]) -> torch.Tensor:
        """Batches of pictures (n, 3, 8·h, 8·w) in [0, 1] → (frames, channels, h, w), in main memory.

        2.6 MB per frame at 512×512 in half precision.
        """
        weight = self.embedding.conv_in.weight
        return torch.cat([self.embedding(batch.to(weight.device, weight.dtype)).cpu() for batch in batches])

    def residuals(
        self, sample: torch.Tensor, timestep: int, conditioning: Conditioning, embedded: torch.Tensor, scale: float
    ) -> Residuals:
        """`sample` (branches · frames, 4, h, w); `embedded` (frames, channels, h, w) is the same for all branches."""
        self._entry.expect(conditioning)
        down, mid = self.network(
            sample,
            timestep_on(sample.device, timestep),
            conditioning.text,
            cross_attention_kwargs={"conditioning": conditioning},
            controlnet_cond=sent(embedded, sample.device).repeat(len(conditioning.text), 1, 1, 1),
            conditioning_scale=scale,
            return_dict=False,
        )
        return down, mid

    def first_residuals(
        self, sample: torch.Tensor, timestep: int, conditioning: Conditioning, embedded: torch.Tensor, scale: float
    ) -> list[torch.Tensor]:
        """Those of them that a short forward reads, without the layers below."""
        self._entry.expect(conditioning)
        poses = sent(embedded, sample.device).repeat(len(conditioning.text), 1, 1, 1)
        given = {"encoder_hidden_states": conditioning.text, "cross_attention_kwargs": {"conditioning": conditioning}}
        return first_residuals(self.network, sample, timestep, poses, scale, **given)
