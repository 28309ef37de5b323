"""Films as Wan's networks are shown them, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from stages.diffusion.networks.film_colours import FilmColours, Shown
    from stages.diffusion.networks.video_latents import VideoLatents

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


def film_levels(
    images: VideoLatents, parts: Iterable[tuple[Shown, torch.Tensor]], colours: FilmColours
) -> Iterator[np.ndarray]:
    """The frames that a film shows of its segments: uint8 (n, height, width, 3) of each latent frame.

    `parts` hold the reference's latent frame first. Frames that a segment took over are decoded and dropped, those that
    fill it up are not decoded. Where colours are led back, a whole segment is looked at before its first frame comes.
    """
    for segment, latents in parts:
        done = 0
        for pixels in _decoded(images, latents, segment, colours):
            shown = pixels[:, :, max(segment.taken_over - done, 0) : len(segment) - done]
            done += pixels.shape[2]
            if shown.shape[2]:
                yield to_levels(shown)
            if done >= len(segment):
                break


def last_shown(
    images: VideoLatents, latents: torch.Tensor, segment: Shown, colours: FilmColours, count: int
) -> torch.Tensor:
    """The last frames of a segment as a film shows them, (1, 3, count, height, width) in [-1, 1].

    `latents` have the reference's frame first.
    """
    kept: list[torch.Tensor] = []
    for pixels in _decoded(images, latents, segment, colours):
        kept = [torch.cat([*kept, pixels], dim=2)[:, :, -count:]]
    return kept[0]


def _decoded(
    images: VideoLatents, latents: torch.Tensor, segment: Shown, colours: FilmColours
) -> Iterator[torch.Tensor]:
    batches = images.decoded(latents[:, :, 1:])
    return iter([colours.led_back(torch.cat(list(batches), dim=2), segment)]) if colours.lead_back else batches
