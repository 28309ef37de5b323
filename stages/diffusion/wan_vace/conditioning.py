"""What a segment is made from, as latents beside the noise: control video, its mask, and the reference before them."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from stages.diffusion.chained_segments import PER_LATENT
from stages.diffusion.networks.film_pixels import LANCZOS, to_pixels
from stages.diffusion.networks.video_latents import VideoLatents

WHITE = 1.0


def on_white(image: np.ndarray, width: int, height: int, unit: int) -> torch.Tensor:
    """uint8 (h, w, 3) → float32 (1, 3, 1, height, width) in [-1, 1], whole, in the middle of white.

    As published, it is brought to multiples of `unit` pixels first.
    """
    rows, columns = image.shape[:2]
    size = max(columns // unit, 1) * unit, max(rows // unit, 1) * unit
    if size != (columns, rows):
        image = np.asarray(Image.fromarray(image).resize(size, LANCZOS))
    pixels = to_pixels([image])[:, :, 0]
    scale = min(height / size[1], width / size[0])
    inner = max(1, int(size[1] * scale)), max(1, int(size[0] * scale))
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas = torch.full((1, 3, 1, height, width), WHITE)
    shown = interpolate(pixels, size=inner, mode="bilinear", align_corners=False)
    canvas[:, :, 0, top : top + inner[0], left : left + inner[1]] = shown
    return canvas


def conditioning_latents(
    images: VideoLatents, control: torch.Tensor, carry: torch.Tensor | None, reference: torch.Tensor, patch: int
) -> torch.Tensor:
    """(1, 2 · channels + scale², 1 + latent frames, h, w) of a segment that follows `control`.

    `control` (1, 3, frames, height, width) and `reference` (1, 3, 1, height, width) in [-1, 1]. The frames of `carry`
    (1, 3, carried, height, width) stand at its beginning and are to be kept; all others are to be drawn.
    """
    drawn = torch.ones_like(control)
    # what is kept and what is to be drawn, each with the other left grey
    if carry is None:
        latents = torch.cat([images.encode_grey(*control.shape[2:]), images.encode(control)], dim=1)
    else:
        film = control.clone()
        film[:, :, : carry.shape[2]] = carry
        drawn[:, :, : carry.shape[2]] = 0
        latents = torch.cat([images.encode(film * (1 - drawn)), images.encode(film * drawn)], dim=1)
    shown = images.encode(reference)
    latents = torch.cat([torch.cat([shown, torch.zeros_like(shown)], dim=1), latents], dim=2)
    return torch.cat([latents, _masks(drawn.to(latents), images.scale, patch)], dim=1)


def _masks(drawn: torch.Tensor, scale: int, patch: int) -> torch.Tensor:
    """(1, 3, frames, height, width) of 0 and 1 → (1, scale², 1 + latent frames, h, w): one channel for each pixel."""
    _, _, frames, height, width = drawn.shape
    h, w = height // (scale * patch) * patch, width // (scale * patch) * patch
    cells = drawn[0, 0].view(frames, h, scale, w, scale).permute(2, 4, 0, 1, 3).flatten(0, 1)
    latent_frames = (frames + PER_LATENT - 1) // PER_LATENT
    # published: of each latent frame, the mask of one of its frames
    mask = interpolate(cells[None], size=(latent_frames, h, w), mode="nearest-exact")
    return torch.cat([torch.zeros_like(mask[:, :, :1]), mask], dim=2)
