"""The studio's networks: a denoising UNet, a reference network and a pose guider, put together for training and use.

The family is Animate Anyone's without text and image tokens: the blocks have no cross-attention. The reference reaches
the UNet twice, as features beside the keys and values of every self-attention and as latents beside the noisy ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import pixel_unshuffle

from manifests.errors import Problem
from stages.diffusion.checkpoint import State, load_strictly, read_config, read_state, weights_file
from stages.diffusion.motion_checkpoint import motion_unet_state
from stages.diffusion.reference_attention import transformer_blocks
from stages.diffusion.reference_network import ReferenceNetwork, build_reference_network, end_at_last_feature
from stages.diffusion.studio_unet import Reference, StudioUNet, build_unet, motion_modules, motion_state, without_text

LATENT_CHANNELS = 8
REFERENCE_TIMESTEP = 0  # the reference is clean

# What the training writes beside the weights; an animator reads its folder's own.
UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "in_channels": 2 * LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": [64, 128, 96],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [2, 4, 3],  # diffusers' name for the number of heads
    "cross_attention_dim": 1,  # diffusers wants one; the layers are dropped
    "use_linear_projection": True,
}
POSE_GUIDER: dict[str, Any] = {"channels": 64, "hidden_channels": [16, 32, 64]}
SPATIAL: dict[str, dict[str, Any]] = {
    "unet": UNET,
    "reference": {**UNET, "in_channels": LATENT_CHANNELS},
    "pose_guider": POSE_GUIDER,
}
MOTION: dict[str, Any] = {
    "longest_window": 24,
    "heads": 4,
    "modules": ["up_blocks.1.motion_modules.1", "up_blocks.2.motion_modules.1"],
}
SCHEDULER: dict[str, Any] = {
    "_class_name": "DDIMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "linear",
    "rescale_betas_zero_snr": True,
    "clip_sample": False,
    "set_alpha_to_one": True,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}


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
    with torch.device("meta"):
        return SkeletonEmbedding(config["channels"], config["hidden_channels"])


def initialise(network: nn.Module) -> nn.Module:
    """Give a network on the meta device its initial weights, on the CPU; motion modules begin without effect."""
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, SinusoidalPositionalEmbedding):
            _, length, width = module.pe.shape
            module.pe = SinusoidalPositionalEmbedding(width, length).pe
        elif hasattr(module, "reset_parameters"):
            module.reset_parameters()
    for _, module in motion_modules(network):
        nn.init.zeros_(module.proj_out.weight)
        nn.init.zeros_(module.proj_out.bias)
    return network


class StudioNetworks(nn.Module):
    """The three networks as one, with the configurations that they were built from by part of the checkpoint."""

    def __init__(self, configs: Mapping[str, Mapping[str, Any]]) -> None:
        """`configs` of `unet`, `reference`, `pose_guider` and, where there are motion modules, `motion`.

        The networks are on the meta device: `initialise` or load them.
        """
        super().__init__()
        self.configs = dict(configs)
        self.unet = build_unet(configs["unet"], configs.get("motion"))
        self.reference = build_reference(configs["reference"])
        self.pose_guider = build_pose_guider(configs["pose_guider"])
        self.denoiser = StudioUNet(self.unet)
        self._features = ReferenceNetwork(self.reference, transformer_blocks(self.unet))

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> StudioNetworks:
        """Read the parts of a checkpoint folder. Raises `Problem` where one is missing or does not fit."""
        configs = {part: read_config(checkpoint / part) for part in (*SPATIAL, "motion")}
        try:
            networks = cls(configs)
        except Exception as wrong:  # whatever a foreign configuration makes of the constructors
            reason = (str(wrong) or type(wrong).__name__).splitlines()[0]
            error = f"the configurations in checkpoint {checkpoint} describe no networks of the studio: {reason}"
            raise Problem(error, "copy the folder again") from None
        networks._load(checkpoint, read_state(weights_file(checkpoint / "motion")), dtype)
        return networks.to(device)

    @classmethod
    def with_fresh_motion(cls, checkpoint: Path, motion: Mapping[str, Any]) -> StudioNetworks:
        """The networks of a folder that needs no motion yet, on the CPU in float32, with untrained motion modules.

        Only these take gradients. Draws from torch's global generator.
        """
        networks = cls({**{part: read_config(checkpoint / part) for part in SPATIAL}, "motion": motion})
        initialise(networks)
        networks._load(checkpoint, motion_state(networks.unet), torch.float32)
        for _, module in motion_modules(networks.unet):
            module.requires_grad_(True)
        return networks

    def _load(self, checkpoint: Path, motion: State, dtype: torch.dtype) -> None:
        states = {part: read_state(weights_file(checkpoint / part)) for part in SPATIAL}
        states["unet"] = motion_unet_state(self.unet, states["unet"], motion, checkpoint / "motion")
        for part, state in states.items():
            load_strictly(self.get_submodule(part), state, checkpoint / part, dtype)

    def save(self, checkpoint: Path) -> None:
        """Write every part: `config.json` and its weights as safetensors, in the dtype they have."""
        moving = motion_state(self.unet)
        spatial = {name: tensor for name, tensor in self.unet.state_dict().items() if name not in moving}
        states = {part: self.get_submodule(part).state_dict() for part in SPATIAL}
        for part, state in {**states, "unet": spatial, "motion": moving}.items():
            if part not in self.configs:
                continue
            folder = checkpoint / part
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(json.dumps(self.configs[part], indent=2) + "\n", encoding="utf-8")
            weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
            save_file(weights, folder / "diffusion_pytorch_model.safetensors")

    def look(self, latents: torch.Tensor) -> Reference:
        """Clean reference latents (rows, channels, height, width) → what the UNet is given of them."""
        no_words = latents.new_empty(len(latents), 0, 0)
        return self.denoiser.look(latents, self._features.features(latents, REFERENCE_TIMESTEP, no_words))

    def forward(
        self, latents: torch.Tensor, timesteps: torch.Tensor, references: torch.Tensor, poses: torch.Tensor
    ) -> torch.Tensor:
        """v of noisy latents (rows · frames, channels, height, width) → (rows, frames, channels, height, width).

        `references` (rows, channels, height, width) are clean latents, `poses` (rows · frames, 3, 8·height, 8·width)
        skeleton pictures in [0, 1].
        """
        return self.denoiser.predict(latents, timesteps, self.look(references), self.pose_guider(poses))
