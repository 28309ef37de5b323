"""Films to latents and back, through Wan's causal video autoencoder.

Of 4n + 1 frames, the first is one latent frame by itself, and every four after it are one more.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

from stages.diffusion.networks.offload import at_work
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
        self._grey = lru_cache(maxsize=2)(self._encoded_grey)

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype) -> VideoLatents:
        """Read a published autoencoder folder. Raises `Problem` when it does not hold one."""
        autoencoder = build(AutoencoderKLWan, read_config(folder), folder / "config.json")
        return cls(load_strictly(autoencoder, read_network_state(folder), folder, dtype).to(device))

    @property
    def channels(self) -> int:
        """Of a latent frame."""
        return self.autoencoder.config.z_dim

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
        with at_work(self.autoencoder):
            pixels = pixels.to(self.autoencoder.device, self.autoencoder.dtype)
            return (self.autoencoder.encode(pixels).latent_dist.mode() - self._mean) * self._reciprocal

    def encode_grey(self, frames: int, height: int, width: int) -> torch.Tensor:
        """What `encode` makes of so many frames that show nothing, which every clip of that size begins with."""
        return self._grey(frames, height, width)

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(1, channels, latent frames, h, w) → (1, 3, frames, height, width), clamped to [-1, 1]."""
        return torch.cat(list(self.decoded(latents)), dim=2)

    @torch.inference_mode()
    def decoded(self, latents: torch.Tensor) -> Iterator[torch.Tensor]:
        """What `decode` makes, one latent frame after the other: a frame, then four each.

        Memory is that of one latent frame, however many there are; what nobody asks for any more is not decoded.
        """
        network = self.autoencoder
        with at_work(network):
            latents = latents.to(network.device, network.dtype)
            hidden = network.post_quant_conv(latents / self._reciprocal + self._mean)
            remembered = [None] * network._cached_conv_counts["decoder"]  # what its convolutions saw before
            for place in range(hidden.shape[2]):
                first = {"first_chunk": True} if place == 0 else {}
                one = hidden[:, :, place : place + 1]
                pixels = network.decoder(one, feat_cache=remembered, feat_idx=[0], **first)
                if network.config.patch_size is not None:
                    pixels = unpatchify(pixels, patch_size=network.config.patch_size)
                yield pixels.clamp(-1.0, 1.0)

    def _encoded_grey(self, frames: int, height: int, width: int) -> torch.Tensor:
        return self.encode(torch.zeros(1, 3, frames, height, width))
