"""Films to latents and back, through Wan's causal video autoencoder.

Of 4n + 1 frames, the first is one latent frame by itself, and every four after it are one more.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan

from stages.diffusion.weights.checkpoint import build, load_strictly, read_config
from stages.diffusion.weights.sharded import read_network_state


class VideoLatents:
    """The autoencoder with its latents standardised, channel by channel."""

    def __init__(self, autoencoder: AutoencoderKLWan) -> None:
        self.autoencoder = autoencoder
        device, dtype = autoencoder.device, autoencoder.dtype
        channels = (1, autoencoder.config.z_dim, 1, 1, 1)
        self._mean = torch.tensor(autoencoder.config.latents_mean).view(channels).to(device, dtype)
        self._reciprocal = 1.0 / torch.tensor(autoencoder.config.latents_std).view(channels).to(device, dtype)

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype) -> VideoLatents:
        """Read a published autoencoder folder. Raises `Problem` when it does not hold one."""
        autoencoder = build(AutoencoderKLWan, read_config(folder), folder / "config.json")
        return cls(load_strictly(autoencoder, read_network_state(folder), folder, dtype).to(device))

    @property
    def scale(self) -> int:
        """Pixels of a latent pixel, along width and height."""
        return self.autoencoder.config.scale_factor_spatial

    def latent_frames(self, frames: int) -> int:
        """How many latent frames hold 4n + 1 frames."""
        return (frames - 1) // self.autoencoder.config.scale_factor_temporal + 1

    @torch.inference_mode()
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, 3, frames, height, width) in [-1, 1] → the posterior's mode, (1, channels, latent frames, h, w)."""
        pixels = pixels.to(self.autoencoder.device, self.autoencoder.dtype)
        return (self.autoencoder.encode(pixels).latent_dist.mode() - self._mean) * self._reciprocal

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(1, channels, latent frames, h, w) → (1, 3, frames, height, width), clamped to [-1, 1]."""
        latents = latents.to(self.autoencoder.device, self.autoencoder.dtype)
        return self.autoencoder.decode(latents / self._reciprocal + self._mean, return_dict=False)[0]
