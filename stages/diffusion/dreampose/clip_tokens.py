"""A picture as all tokens of CLIP's vision tower."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionModel

from stages.diffusion.networks.clip_vision import normalised, read_clip_vision
from stages.diffusion.networks.offload import at_work


class ClipTokens:
    """CLIP's vision tower. Its last layer's tokens are used as they are: before the final norm, not projected."""

    def __init__(self, model: CLIPVisionModel) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path, device: str) -> ClipTokens:
        """Read the vision tower, saved alone or with its text tower, in float32: it runs once per picture.

        Raises `Problem` when the folder holds none.
        """
        return cls(read_clip_vision(CLIPVisionModel, folder, device, torch.float32))

    @property
    def num_tokens(self) -> int:
        """One for the class and one for each patch."""
        return (self.model.config.image_size // self.model.config.patch_size) ** 2 + 1

    def pixels(self, image: np.ndarray) -> torch.Tensor:
        """uint8 (height, width, 3) → (1, 3, 224, 224), normalised: the centre of the picture, scaled to its side."""
        side = self.model.config.image_size
        height, width = image.shape[:2]
        short, long = min(height, width), int(side * max(height, width) / min(height, width))
        size = (side, long) if width == short else (long, side)
        scaled = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        return normalised(torch.from_numpy(scaled[top : top + side, left : left + side].copy()))

    @torch.inference_mode()
    def tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, 3, 224, 224) → (n, tokens, width), the class token first."""
        with at_work(self.model):
            return self.model(pixels.to(self.model.device)).last_hidden_state
