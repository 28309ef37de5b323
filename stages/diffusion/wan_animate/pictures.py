"""Pictures as Wan-Animate's networks are shown them.

Source: SPEC.md section 5.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image

from stages.video.image import fit

LANCZOS = Image.Resampling.LANCZOS
BLANK = -1.0  # of a face that is not seen: black


def letterboxed(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8 (h, w, 3) → (height, width, 3), whole, in the middle of black. Lengths are rounded down, as published."""
    rows, columns = image.shape[:2]
    wide = width / height < columns / rows
    inner = (width, rows * width // columns) if wide else (columns * height // rows, height)
    inner = max(1, inner[0]), max(1, inner[1])
    left, top = width // 2 - inner[0] // 2, height // 2 - inner[1] // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = fit(image, *inner, "stretch", LANCZOS)
    return canvas


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
