"""The bundled animator's networks as they are trained: their configurations, first weights and how they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from safetensors.torch import save_file
from torch import nn

from manifests.errors import Problem
from stages.diffusion.drawn.networks import LATENT_CHANNELS, PARTS, WARP_CHANNELS, DrawnNetworks
from stages.diffusion.drawn.unet import motion_modules, motion_state
from stages.diffusion.weights.checkpoint import read_config, read_state, weights_file

# Written beside the weights; an animator reads its folder's own.
UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "in_channels": 2 * LATENT_CHANNELS + WARP_CHANNELS,  # noisy ones, the reference, the warped one
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


def continued(networks: DrawnNetworks, checkpoint: Path) -> DrawnNetworks:
    """Networks with the weights of a checkpoint folder, of any dtype; inputs that are new begin without effect."""
    for part in PARTS:
        network, state = networks.get_submodule(part), read_state(weights_file(checkpoint / part))
        missing = network.state_dict().keys() - state.keys()
        for name in missing:
            if ".motion_modules." not in name:
                raise Problem(f"there is no {name} in {checkpoint / part}", "go on from another checkpoint")
            state[name] = network.state_dict()[name]
        if part == "unet":
            known = state["conv_in.weight"]
            state["conv_in.weight"] = torch.zeros_like(network.conv_in.weight)
            state["conv_in.weight"][:, : known.shape[1]] = known
        network.load_state_dict(state)
    return networks


def with_fresh_motion(checkpoint: Path, motion: Mapping[str, Any]) -> DrawnNetworks:
    """The networks of a folder that needs no motion yet, on the CPU in float32, with untrained motion modules.

    Only these take gradients. Draws from torch's global generator.
    """
    networks = DrawnNetworks({**{part: read_config(checkpoint / part) for part in PARTS}, "motion": motion})
    initialise(networks)
    networks.fill(checkpoint, motion_state(networks.unet), torch.float32)
    for _, module in motion_modules(networks.unet):
        module.requires_grad_(True)
    return networks


def save(networks: DrawnNetworks, checkpoint: Path) -> None:
    """Write every part: `config.json` and its weights as safetensors, in the dtype they have."""
    moving = motion_state(networks.unet)
    spatial = {name: tensor for name, tensor in networks.unet.state_dict().items() if name not in moving}
    states = {part: networks.get_submodule(part).state_dict() for part in PARTS}
    for part, state in {**states, "unet": spatial, "motion": moving}.items():
        if part not in networks.configs:
            continue
        folder = checkpoint / part
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(networks.configs[part], indent=2) + "\n", encoding="utf-8")
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(weights, folder / "diffusion_pytorch_model.safetensors")
