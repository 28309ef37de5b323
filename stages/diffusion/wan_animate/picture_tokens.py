"""What Wan-Animate sees of the reference beside its latents. Source: SPEC.md section 4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from manifests.errors import Problem
from stages.diffusion.networks.clip_vision import read_clip_vision
from stages.diffusion.networks.offload import at_work
from stages.diffusion.weights.checkpoint import read_object


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
        model = read_clip_vision(CLIPVisionModel, checkpoint / "image_encoder", device, dtype)
        processor, size = CLIPImageProcessorPil(**about), model.config.image_size
        edge, cut = dict(processor.size).get("shortest_edge"), dict(processor.crop_size)
        if (edge, cut.get("height"), cut.get("width")) != (size, size, size):  # of any other, who knows how large
            raise Problem(
                f"checkpoint {checkpoint}: image_processor/ makes pictures of {edge}, cut to "
                f"{cut.get('width')}×{cut.get('height')}, and image_encoder/ takes {size}×{size}",
                "use the parts of one checkpoint",
            )
        return cls(processor, model)

    @property
    def channels(self) -> int:
        """Of a token."""
        return self.model.config.hidden_size

    def pixels(self, image: np.ndarray) -> torch.Tensor:
        """uint8 (height, width, 3) → (1, 3, size, size), its middle, normalised."""
        return self.processor(images=Image.fromarray(image), return_tensors="pt").pixel_values

    @torch.inference_mode()
    def encode(self, image: np.ndarray) -> torch.Tensor:
        """uint8 (height, width, 3) → (1, tokens, width): what comes out before the last layer."""
        with at_work(self.model):
            pixels = self.pixels(image).to(self.model.device, self.model.dtype)
            return self.model(pixels, output_hidden_states=True).hidden_states[-2]
