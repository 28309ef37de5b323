"""Pose pictures as Text2Video-Zero's ControlNet is shown them.

Source: SPEC.md section 5 ("Driving video").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import interpolate

from stages.video.image import fit

if TYPE_CHECKING:
    from manifests.clip import Clip


def control_picture(picture: np.ndarray, clip: Clip) -> torch.Tensor:
    """uint8 (h, w, 3) → float32 (3, height, width) in [0, 1], of the clip's size and fitted as it says.

    Parity resizes as published: stretched in floating point, then truncated, not rounded (quirk 7).
    """
    if clip.mode == "parity" and clip.fit == "stretch":
        return resized(picture, clip.height, clip.width).to(torch.uint8).float() / 255
    fitted = fit(picture, clip.width, clip.height, clip.fit)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).float() / 255


def resized(picture: np.ndarray, height: int, width: int) -> torch.Tensor:
    """uint8 (h, w, 3) → float32 (3, height, width) in 0…255, bilinear with antialiasing, not rounded."""
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()
    if pixels.shape[1:] == (height, width):
        return pixels
    return interpolate(pixels[None], (height, width), mode="bilinear", antialias=True, align_corners=False)[0]
