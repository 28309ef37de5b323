"""What a segment is made from, as latents beside the noise.

Source: SPEC.md sections 5 and 6.
"""

from __future__ import annotations

import torch

from stages.diffusion.chained_segments import PER_LATENT
from stages.diffusion.networks.video_latents import VideoLatents


def reference_latents(images: VideoLatents, pixels: torch.Tensor) -> torch.Tensor:
    """The letterboxed reference, (1, 3, 1, height, width) → (1, 4 + channels, 1, h, w): all of it is known."""
    latents = images.encode(pixels)
    return torch.cat([known_frames(1, 1, latents), latents], dim=1)


def carried_latents(
    images: VideoLatents,
    carry: torch.Tensor | None,
    frames: int,
    size: tuple[int, int],
    background: torch.Tensor | None = None,
    kept: torch.Tensor | None = None,
) -> torch.Tensor:
    """What a segment of `frames` knows of itself → (1, 4 + channels, latent frames, h, w).

    `carry` (1, 3, carried, height, width) are the frames taken over; the others are grey, and to be drawn. Where a
    person is replaced they are the `background` (1, 3, frames, height, width), of which `kept` (frames, h, w) says
    where it stays (section 9).
    """
    known = 0 if carry is None else carry.shape[2]
    if carry is None and background is None:
        latents = images.encode_grey(frames, *size)
    else:
        film = torch.zeros((1, 3, frames, *size), dtype=images.autoencoder.dtype)
        if background is not None:
            film = background.to(film, copy=True)
        if carry is not None:
            film[:, :, :known] = carry.to(film)
        latents = images.encode(film)
    return torch.cat([known_frames(known, frames, latents, kept), latents], dim=1)


def known_frames(known: int, frames: int, latents: torch.Tensor, kept: torch.Tensor | None = None) -> torch.Tensor:
    """Four channels of each latent frame, (1, 4, latent frames, h, w): 1 where one of the first `known` frames lies.

    In the others what of `kept` (frames, h, w) there is.
    """
    mask = torch.zeros((frames, *latents.shape[-2:]), dtype=latents.dtype, device=latents.device)
    if kept is not None:
        mask = kept.to(mask, copy=True)
    mask[:known] = 1
    # the first frame stands for four
    grouped = torch.cat([mask[:1].repeat(PER_LATENT, 1, 1), mask[1:]])
    return grouped.view(-1, PER_LATENT, *mask.shape[1:]).transpose(0, 1)[None]
