"""A picture as one CLIP token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from stages.diffusion.checkpoint import load_strictly, read_config, read_state, weights_file
from stages.video.image import Fit, fit

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


class ImageEncoder:
    """CLIP's vision tower with its projection."""

    def __init__(self, model: CLIPVisionModelWithProjection) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype) -> ImageEncoder:
        """Read a published folder. Raises `Problem` when it does not hold such a model."""
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(**read_config(folder)))
        # files of older versions carry a buffer that is now computed
        state = {
            key: value
            for key, value in read_state(weights_file(folder, ("model", "pytorch_model"))).items()
            if not key.endswith("embeddings.position_ids")
        }
        return cls(load_strictly(model, state, folder, dtype).to(device))

    def pixels(self, image: np.ndarray, how: Fit) -> torch.Tensor:
        """uint8 (height, width, 3) → (1, 3, 224, 224), normalised; the square is met as `how` says."""
        side = self.model.config.image_size
        square = torch.from_numpy(np.array(fit(image, side, side, how, Image.Resampling.BICUBIC)))
        return ((square.float() / 255 - torch.tensor(MEAN)) / torch.tensor(DEVIATION)).permute(2, 0, 1)[None]

    @torch.inference_mode()
    def token(self, image: np.ndarray, how: Fit) -> torch.Tensor:
        """uint8 (height, width, 3) → (1, 1, width): the projected embedding, not normalised, as one token."""
        pixels = self.pixels(image, how).to(self.model.device, self.model.dtype)
        return self.model(pixels).image_embeds[:, None]
