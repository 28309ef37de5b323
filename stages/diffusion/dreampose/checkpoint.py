"""The files of a DreamPose checkpoint: fine-tuned on one subject, with numbers of epochs in their names.

Source: SPEC.md section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from manifests.errors import Problem
from stages.diffusion.dreampose.facts import DREAMPOSE, IN_CHANNELS
from stages.diffusion.weights.checkpoint import State, build, load_strictly, read_config, read_state
from stages.diffusion.weights.published_names import AS_PUBLISHED, on_disk, the_one


@dataclass(frozen=True)
class PublishedFiles:
    """Where each part lies."""

    unet: Path
    adapter: Path
    unet_config: Path
    vae: Path
    scheduler: Path
    image_encoder: Path
    tuned_vae: Path | None

    @classmethod
    def found(cls, checkpoint: Path) -> PublishedFiles:
        """The parts of a folder. Raises `Problem` where one is missing, ambiguous or of another epoch."""
        parts = {
            part: the_one(part, on_disk(checkpoint), str(checkpoint))
            for part in (*DREAMPOSE.checkpoint, *DREAMPOSE.checkpoint_settings)
        }
        missing = [part for part in DREAMPOSE.checkpoint if parts[part] is None]
        if missing:
            raise Problem(f"checkpoint {checkpoint} lacks {', '.join(missing)}", AS_PUBLISHED)
        files = cls(*(name and checkpoint / name for name in parts.values()))
        if files.adapter.name != files.unet.name.replace("unet_epoch", "adapter"):
            raise Problem(
                f"checkpoint {checkpoint} holds {files.unet.name} and {files.adapter.name}, of different epochs",
                "put the UNet and the adapter of one epoch into the folder",
            )
        return files


def read_unet(files: PublishedFiles, device: str, dtype: torch.dtype) -> UNet2DConditionModel:
    """The denoising network: SD's, with ten more input channels."""
    config = {**read_config(files.unet_config.parent), "in_channels": IN_CHANNELS}
    network = build(UNet2DConditionModel, config, files.unet_config)
    return load_strictly(network, read_wrapped(files.unet), files.unet, dtype).to(device)


def read_wrapped(path: Path) -> State:
    """A state dict that was saved from a data-parallel wrapper or not: its prefix is removed wherever it stands."""
    return {key.replace("module.", ""): value for key, value in read_state(path).items()}
