"""Films as Wan's networks are shown them, and back."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image

LANCZOS = Image.Resampling.LANCZOS  # which diffusers resizes frames with


def to_pixels(pictures: Iterable[np.ndarray]) -> torch.Tensor:
    """uint8 (height, width, 3) each → float32 (1, 3, frames, height, width) in [-1, 1].

    Values lie in memory as they do in the pictures: convolutions round otherwise in another order.
    """
    levels = np.stack(list(pictures)).astype(np.float32) / 255.0
    frames = 2.0 * torch.from_numpy(levels.transpose(0, 3, 1, 2)) - 1.0
    return frames[None].permute(0, 2, 1, 3, 4)


def to_levels(pixels: torch.Tensor) -> np.ndarray:
    """(1, 3, frames, height, width) in [-1, 1] → uint8 (frames, height, width, 3), rounded."""
    shown = (pixels[0].float() / 2 + 0.5).clamp(0, 1)
    return (shown * 255).round().to(torch.uint8).permute(1, 2, 3, 0).cpu().numpy()
