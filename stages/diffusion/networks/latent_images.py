"""Pixels to latents and back, through an SD autoencoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from manifests.errors import NotFinite
from stages.diffusion.weights.checkpoint import (
    State,
    build,
    load_strictly,
    read_config,
    read_state,
    weights_file,
    with_current_attention_names,
)

# Frames of one decode call, by area: four at 512×512 keep a decode under about 4 GB in half precision.
BATCH_PIXELS = 4 * 512 * 512


class LatentImages:
    """An autoencoder with the scale its latents are used at."""

    def __init__(self, autoencoder: AutoencoderKL, scale: float) -> None:
        self.autoencoder = autoencoder
        self._scale = scale

    @classmethod
    def load(
        cls, folder: Path, scale: float, device: str, dtype: torch.dtype, tuned: State | None = None
    ) -> LatentImages:
        """Read a published autoencoder folder; `tuned` are weights in place of its own, of any age.

        Raises `Problem` when it does not hold one.
        """
        autoencoder = build(AutoencoderKL, read_config(folder), folder / "config.json")
        state = with_current_attention_names(read_state(weights_file(folder)) if tuned is None else tuned)
        return cls(load_strictly(autoencoder, state, folder, dtype).to(device), scale)

    @torch.inference_mode()
    def encode(self, image: np.ndarray) -> torch.Tensor:
        """uint8 (height, width, 3) → the posterior's mean, scaled: (1, 4, height/8, width/8)."""
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        pixels = pixels.to(self.autoencoder.device, torch.float32) / 127.5 - 1
        return self.autoencoder.encode(pixels.to(self.autoencoder.dtype)).latent_dist.mean * self._scale

    @torch.inference_mode()
    def posterior(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, 3, height, width) in whatever range → mean and log variance, (1, 4, height/8, width/8), not scaled.

        In float32 whatever the weights are kept in: values far from [-1, 1] overflow half precision.
        """
        kept = self.autoencoder.dtype
        convert = torch.nn.Module.to  # diffusers' own warns of layers to be kept in float32, of which there are none
        convert(self.autoencoder, torch.float32)
        try:
            found = self.autoencoder.encode(pixels.to(self.autoencoder.device, torch.float32)).latent_dist
        finally:
            convert(self.autoencoder, kept)
        return found.mean, found.logvar

    @torch.inference_mode()
    def decode(self, parts: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Some of (frames, 4, h, w) → batches of (n, 3, 8·h, 8·w) in [0, 1], float32 on the autoencoder's device."""
        for batch in _batches(parts):
            scaled = batch.to(self.autoencoder.device, self.autoencoder.dtype) / self._scale
            decoded = self.autoencoder.decode(scaled, return_dict=False)[0]
            if not bool(torch.isfinite(decoded).all()):  # as uint8 it would be black
                raise NotFinite("the decoder produced values that are not finite")
            yield (decoded.float() / 2 + 0.5).clamp(0, 1)

    def frames(self, parts: Iterable[torch.Tensor], rounded: bool = False) -> Iterator[np.ndarray]:
        """Some of (frames, 4, h, w) → batches of uint8 (n, 8·h, 8·w, 3), truncated as the papers' writers do.

        Or `rounded`.
        """
        for decoded in self.decode(parts):
            levels = decoded * 255 + (0.5 if rounded else 0)
            yield levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def _batches(parts: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    for latents in parts:
        pixels = latents.shape[-2] * latents.shape[-1] * 64
        yield from latents.split(max(1, BATCH_PIXELS // pixels))
