"""A picture as one CLIP token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionModelWithProjection

from stages.diffusion.networks.clip_vision import normalised, read_clip_vision
from stages.diffusion.networks.offload import at_work
from stages.video.image import Fit, fit


class ImageEncoder:
    """CLIP's vision tower with its projection."""

    def __init__(self, model: CLIPVisionModelWithProjection) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype) -> ImageEncoder:
        """Read a published folder. Raises `Problem` when it does not hold such a model."""
        return cls(read_clip_vision(CLIPVisionModelWithProjection, folder, device, dtype))

    def pixels(self, image: np.ndarray, how: Fit) -> torch.Tensor:
        """uint8 (height, width, 3) → (1, 3, 224, 224), normalised; the square is met as `how` says."""
        side = self.model.config.image_size
        square = torch.from_numpy(np.array(fit(image, side, side, how, Image.Resampling.BICUBIC)))
        return normalised(square)

    @torch.inference_mode()
    def token(self, image: np.ndarray, how: Fit) -> torch.Tensor:
        """uint8 (height, width, 3) → (1, 1, width): the projected embedding, not normalised, as one token."""
        with at_work(self.model):
            pixels = self.pixels(image, how).to(self.model.device, self.model.dtype)
            return self.model(pixels).image_embeds[:, None]
