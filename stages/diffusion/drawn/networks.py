"""`drawn`: a denoising UNet, a reference network and a pose guider, put together for training and use.

The family is Animate Anyone's without text and image tokens: the blocks have no cross-attention. The reference reaches
the UNet three times: as features beside the keys and values of every self-attention, as latents beside the noisy ones,
and as latents of the reference warped into the pose (`warp`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch import nn
from torch.nn.functional import pixel_unshuffle

from manifests.errors import Problem
from stages.diffusion.drawn.unet import Conditioning, DrawnUNet, build_unet, without_text
from stages.diffusion.drawn.warp import MAPS
from stages.diffusion.networks.reference_attention import transformer_blocks
from stages.diffusion.networks.reference_network import ReferenceNetwork, build_reference_network, end_at_last_feature
from stages.diffusion.weights.bounds import on_meta
from stages.diffusion.weights.checkpoint import State, load_strictly, read_config, read_state, weights_file
from stages.diffusion.weights.motion_checkpoint import motion_unet_state

LATENT_CHANNELS = 8
WARP_CHANNELS = 2 * LATENT_CHANNELS + MAPS
REFERENCE_TIMESTEP = 0  # the reference is clean

PARTS = ("unet", "reference", "pose_guider")


class SkeletonEmbedding(ControlNetConditioningEmbedding):
    """The pose guider: ControlNet's conditioning embedding on 2×2 blocks of pixels, a quarter of its cost."""

    def __init__(self, channels: int, hidden_channels: tuple[int, ...]) -> None:
        super().__init__(channels, conditioning_channels=12, block_out_channels=tuple(hidden_channels))

    def forward(self, conditioning: torch.Tensor) -> torch.Tensor:
        """(n, 3, height, width) in [0, 1] → (n, channels, height/8, width/8) with three hidden widths."""
        return super().forward(pixel_unshuffle(conditioning, 2))


def build_reference(config: Mapping[str, Any]) -> nn.Module:
    """The reference network on the meta device: it ends at the last feature that the UNet reads."""
    network = without_text(build_reference_network(dict(config)))
    reading = max(at for at, block in enumerate(network.up_blocks) if getattr(block, "has_cross_attention", False))
    network.up_blocks = network.up_blocks[: reading + 1]
    network.up_blocks[-1].upsamplers = None
    return end_at_last_feature(network)


def build_pose_guider(config: Mapping[str, Any]) -> SkeletonEmbedding:
    """The pose guider on the meta device."""
    with on_meta():
        return SkeletonEmbedding(config["channels"], config["hidden_channels"])


class DrawnNetworks(nn.Module):
    """The three networks as one, with the configurations that they were built from by part of the checkpoint."""

    def __init__(self, configs: Mapping[str, Mapping[str, Any]]) -> None:
        """`configs` of `unet`, `reference`, `pose_guider` and, where there are motion modules, `motion`.

        The networks are on the meta device, without weights.
        """
        super().__init__()
        self.configs = dict(configs)
        self.unet = build_unet(configs["unet"], configs.get("motion"))
        self.reference = build_reference(configs["reference"])
        self.pose_guider = build_pose_guider(configs["pose_guider"])
        self.denoiser = DrawnUNet(self.unet)
        self._features = ReferenceNetwork(self.reference, transformer_blocks(self.unet))

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> DrawnNetworks:
        """Read the parts of a checkpoint folder. Raises `Problem` where one is missing or does not fit."""
        configs = {part: read_config(checkpoint / part) for part in (*PARTS, "motion")}
        try:
            networks = cls(configs)
        except Exception as wrong:  # whatever a foreign configuration makes of the constructors
            reason = (str(wrong) or type(wrong).__name__).splitlines()[0]
            error = f"the configurations in checkpoint {checkpoint} describe no networks of `drawn`: {reason}"
            raise Problem(error, "copy the folder again") from None
        networks.fill(checkpoint, read_state(weights_file(checkpoint / "motion")), dtype)
        return networks.to(device)

    def fill(self, checkpoint: Path, motion: State, dtype: torch.dtype) -> None:
        """Give the networks the weights of a folder's PARTS and those of the motion modules, frozen.

        Raises `Problem` where they do not fit.
        """
        states = {part: read_state(weights_file(checkpoint / part)) for part in PARTS}
        states["unet"] = motion_unet_state(self.unet, states["unet"], motion, checkpoint / "motion")
        for part, state in states.items():
            load_strictly(self.get_submodule(part), state, checkpoint / part, dtype)

    def condition(self, latents: torch.Tensor) -> Conditioning:
        """Clean reference latents (rows, channels, height, width) → what the UNet is given of them."""
        no_words = latents.new_empty(len(latents), 0, 0)
        return self.denoiser.condition(latents, self._features.features(latents, REFERENCE_TIMESTEP, no_words))

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        references: torch.Tensor,
        poses: torch.Tensor,
        warped: torch.Tensor,
    ) -> torch.Tensor:
        """v of noisy latents (rows · frames, channels, height, width) → (rows, frames, channels, height, width).

        `references` (rows, channels, height, width) are clean latents, `poses` (rows · frames, 3, 8·height, 8·width)
        skeleton pictures in [0, 1], `warped` (rows · frames, 19, height, width) the references warped into
        them, as latents with their maps, or zeros.
        """
        given = self.condition(references), self.pose_guider(poses), warped
        return self.denoiser.predict(latents, timesteps, *given)
