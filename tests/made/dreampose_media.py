"""A small DreamPose checkpoint and driving data that tests make for themselves."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import numpy as np
import torch
from diffusers import UNet2DConditionModel

from manifests.clip import Clip
from stages.diffusion.dreampose.checkpoint import IN_CHANNELS
from stages.diffusion.weights.checkpoint import read_config
from tests.conftest import CHECKOUT

RECORDED = CHECKOUT / "tests" / "golden" / "dreampose" / "checkpoint"
WIDTH, HEIGHT = 64, 128  # what the recorded adapter takes


def write_checkpoint(folder: Path) -> Path:
    """The recorded parts in the published layout, with random weights in place of the UNet."""
    copytree(RECORDED, folder)
    config = read_config(RECORDED / "checkpoint-499" / "unet")
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = UNet2DConditionModel.from_config({**config, "in_channels": IN_CHANNELS})
    torch.save(network.state_dict(), folder / "unet_epoch_499.pth")
    return folder


def clip(**fields: object) -> Clip:
    """A clip whose defaults are resolved."""
    given = {"width": WIDTH, "height": HEIGHT, "fit": "cover", "steps": 2, "guidance": (8.0, 3.0), "window": 4}
    return Clip(id="c", animator="dreampose", driving_kind="densepose_uv", **{**given, **fields})


def image(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """uint8 (height, width, 3), blocks of colour."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def uv(frames: int, width: int = 40, height: int = 72) -> np.ndarray:
    """float32 (frames, 2, height, width): a body that moves, zeros around it."""
    maps = np.zeros((frames, 2, height, width), np.float32)
    for frame in range(frames):
        left, values = (3 * frame) % (width // 2), np.random.default_rng(100 + frame).uniform(0.05, 1, (2, height, 1))
        maps[frame, :, 8 : height - 8, left : left + width // 2] = values[:, 8 : height - 8]
    return maps
