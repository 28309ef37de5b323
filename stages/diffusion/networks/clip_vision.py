"""CLIP's vision tower in its published folders, and pictures as it was shown them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

from stages.diffusion.weights.bounds import require_weights_for
from stages.diffusion.weights.checkpoint import described_by, load_strictly, read_config, read_state, weights_file

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
TOWER = "vision_model."

Tower = TypeVar("Tower", CLIPVisionModel, CLIPVisionModelWithProjection)


def read_clip_vision(kind: type[Tower], folder: Path, device: str, dtype: torch.dtype) -> Tower:
    """The vision tower of a folder, saved alone or with its text tower. Raises `Problem` when it holds none."""
    config, weights = read_config(folder), partial(weights_file, folder, ("model", "pytorch_model"))
    both = "vision_config" in config
    with described_by(folder / "config.json", "CLIP vision model"):
        if both:
            width = {key: config[key] for key in ("projection_dim",) if key in config}
            config = {**config["vision_config"], **width}
        described = CLIPVisionConfig(**config)

        def made() -> Tower:
            return kind(described)

        require_weights_for(made, weights)
        model = made()
    state = read_state(weights())
    projected = kind is CLIPVisionModelWithProjection
    if both:
        parts = (TOWER, "visual_projection.") if projected else (TOWER,)
        state = {key: value for key, value in state.items() if key.startswith(parts)}
    if not projected:  # today's class has no prefix for its only part
        state = {key.removeprefix(TOWER): value for key, value in state.items()}
    # files of older versions carry a buffer that is now computed
    state = {key: value for key, value in state.items() if not key.endswith("embeddings.position_ids")}
    return load_strictly(model, state, folder, dtype).to(device)


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 (height, width, 3) → (1, 3, height, width) as CLIP was shown pictures."""
    return ((pixels.float() / 255 - torch.tensor(MEAN)) / torch.tensor(DEVIATION)).permute(2, 0, 1)[None]
