"""Checkpoint folders of tiny networks with random weights, in the published layouts."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from stages.diffusion.animate_anyone.settings import PublishedSettings
from stages.diffusion.animate_anyone.unet import build_denoising_network
from stages.diffusion.networks.reference_network import build_reference_network
from stages.diffusion.weights.checkpoint import read_config
from tests.conftest import CHECKOUT
from tests.parity.runners.animate_anyone import published_file

GOLDEN = CHECKOUT / "tests" / "golden"
UNET = {
    "attention_head_dim": 4,
    "block_out_channels": [16, 24, 32, 32],
    "cross_attention_dim": 32,
    "layers_per_block": 2,
    "norm_num_groups": 8,
}
CONTROL = "stable-diffusion-v1-5-controlnet-openpose"


def randomised(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """The same network with weights that leave signals about as large as they were; on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    network = network.to_empty(device="cpu")
    for name, tensor in network.state_dict().items():
        drawn = torch.randn(tensor.shape, generator=generator)
        is_norm = tensor.dim() == 1 and name.endswith("weight")
        tensor.copy_(1 + 0.1 * drawn if is_norm else drawn * (tensor[0].numel() ** -0.5 if tensor.dim() > 1 else 0.1))
    return network


def write_text2video_zero(folder: Path) -> Path:
    """A whole checkpoint of Text2Video-Zero: text and pictures as committed for MagicAnimate, random networks."""
    base, committed = folder / "stable-diffusion-v1-5", GOLDEN / "magicanimate" / "checkpoint"
    for name in ("tokenizer", "text_encoder", "scheduler"):
        copytree(committed / "stable-diffusion-v1-5" / name, base / name)
    copytree(committed / "sd-vae-ft-mse", base / "vae")
    copytree(GOLDEN / "text2video_zero" / "checkpoint" / CONTROL, folder / CONTROL)
    network = randomised(UNet2DConditionModel(**UNET), seed=1)
    network.save_pretrained(base / "unet")
    return folder


def control_network(folder: Path) -> ControlNetModel:
    """The ControlNet of such a folder as diffusers loads it."""
    return ControlNetModel.from_pretrained(folder / CONTROL, use_safetensors=False)


def write_animate_anyone(folder: Path) -> Path:
    """A whole checkpoint of Animate Anyone: the committed parts, and random weights in place of the UNets."""
    copytree(GOLDEN / "animate_anyone" / "checkpoint", folder)
    (folder / "inference_config.json").unlink()  # a published folder has none
    config = read_config(folder / "stable-diffusion-v1-5" / "unet")
    denoising = randomised(build_denoising_network(config, PublishedSettings()), seed=1)
    for file in ("denoising_unet.pth", "motion_module.pth"):
        torch.save(published_file(file, denoising), folder / file)
    torch.save(randomised(build_reference_network(config), seed=2).state_dict(), folder / "reference_unet.pth")
    return folder
