"""Wan-Animate's networks out of their published folders.

Source: SPEC.md sections 1 and 4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UniPCMultistepScheduler, WanAnimateTransformer3DModel
from PIL import Image
from transformers import CLIPVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from manifests.errors import Problem
from stages.diffusion.networks.clip_vision import read_clip_vision
from stages.diffusion.weights.checkpoint import build, load_strictly, read_config, read_object
from stages.diffusion.weights.sharded import read_network_state

# One narrow layer of the same network has all that is computed when it is built, and not stored.
_NARROW = {"num_layers": 1, "num_attention_heads": 1, "ffn_dim": 8, "inject_face_latents_blocks": 1}


def read_transformer(folder: Path, device: str, dtype: torch.dtype) -> WanAnimateTransformer3DModel:
    """The denoising network; what its class names stays in float32. Raises `Problem` for a wrong folder."""
    config, kind = read_config(folder), WanAnimateTransformer3DModel
    network = build(kind, config, folder / "config.json")
    load_strictly(network, read_network_state(folder), folder, dtype, kind._keep_in_fp32_modules)
    head = {"added_kv_proj_dim": config["attention_head_dim"]} if config.get("added_kv_proj_dim") else {}
    narrow = kind.from_config({**config, **_NARROW, **head})
    for name, computed in narrow.named_buffers():
        owner, _, attribute = name.rpartition(".")
        network.get_submodule(owner).register_buffer(attribute, computed, persistent=False)
    return network.to(device)


def read_scheduler(folder: Path) -> dict[str, Any]:
    """What the published scheduler is made with. Raises `Problem` for another one than UniPC."""
    config = read_object(folder / "scheduler_config.json")
    if config.get("_class_name") != UniPCMultistepScheduler.__name__:
        raise Problem(
            f"checkpoint file {folder / 'scheduler_config.json'} describes no {UniPCMultistepScheduler.__name__}",
            "copy the published file again",
        )
    return config


class PictureTokens:
    """What the reference shows, in CLIP's words."""

    def __init__(self, processor: CLIPImageProcessorPil, model: CLIPVisionModel) -> None:
        self.processor = processor
        self.model = model

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype) -> PictureTokens:
        """Read `image_processor/` and `image_encoder/`. Raises `Problem` for folders that hold something else."""
        about = read_object(checkpoint / "image_processor" / "preprocessor_config.json")
        about = {key: value for key, value in about.items() if not key.endswith("_type")}
        processor = CLIPImageProcessorPil(**about)
        return cls(processor, read_clip_vision(CLIPVisionModel, checkpoint / "image_encoder", device, dtype))

    def pixels(self, image: np.ndarray) -> torch.Tensor:
        """uint8 (height, width, 3) → (1, 3, size, size), its middle, normalised."""
        return self.processor(images=Image.fromarray(image), return_tensors="pt").pixel_values

    @torch.inference_mode()
    def encode(self, image: np.ndarray) -> torch.Tensor:
        """uint8 (height, width, 3) → (1, tokens, width): what comes out before the last layer."""
        pixels = self.pixels(image).to(self.model.device, self.model.dtype)
        return self.model(pixels, output_hidden_states=True).hidden_states[-2]
