"""The bundled animator's picture codec: a linear patch transform with convolutional corrections.

Both directions are a linear map of 8×8 patches plus the residual that a small convolutional network adds. The
residuals end in zeros before training, so a codec whose linear maps hold the principal components of its pictures'
patches is a good one from the first step on; that is why minutes on a CPU are enough to train it.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional

PATCH = 8


class DrawnCodec(ModelMixin, ConfigMixin):
    """Pictures ↔ latents of an eighth of their width and height.

    `latent_std` is the standard deviation of all latents of the training pictures; denoisers work on latents divided
    by it. One number for all channels: the first carry most of a picture, and a denoiser gains by seeing that.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 8,
        encoder_channels: tuple[int, int] = (48, 96),
        decoder_channels: tuple[int, int, int] = (128, 64, 32),
        decoder_layers: tuple[int, int, int] = (3, 2, 1),
        latent_std: float = 1.0,
    ) -> None:
        super().__init__()
        self.patches_in = nn.Conv2d(3, latent_channels, PATCH, stride=PATCH)
        self.patches_out = nn.ConvTranspose2d(latent_channels, 3, PATCH, stride=PATCH)
        self.encoder = encoder(encoder_channels, latent_channels)
        self.decoder = decoder(decoder_channels, decoder_layers, latent_channels)

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """(n, 3, height, width) in [-1, 1], both sides multiples of 8 → (n, 8, height/8, width/8)."""
        return self.patches_in(pictures) + self.encoder(pictures)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(n, 8, height/8, width/8) → (n, 3, height, width), about [-1, 1]: not clipped."""
        return self.patches_out(latents) + self.decoder(latents)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures decoded again, and their latents."""
        latents = self.encode(pictures)
        return self.decode(latents), latents


class Residual(nn.Module):
    """Two 3×3 convolutions added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) → the same shape."""
        return features + self.second(functional.silu(self.first(functional.silu(features))))


def encoder(channels: tuple[int, int], latent_channels: int) -> nn.Sequential:
    """What is added to the patch transform: (n, 3, h, w) → (n, latent channels, h/8, w/8)."""
    fine, coarse = channels
    return nn.Sequential(
        nn.PixelUnshuffle(4),
        nn.Conv2d(48, fine, 3, padding=1),
        Residual(fine),
        nn.Conv2d(fine, coarse, 3, stride=2, padding=1),
        Residual(coarse),
        nn.SiLU(),
        _zeroed(nn.Conv2d(coarse, latent_channels, 3, padding=1)),
    )


def decoder(channels: tuple[int, int, int], layers: tuple[int, int, int], latent_channels: int) -> nn.Sequential:
    """What is added to the inverse transform: (n, latent channels, h, w) → (n, 3, 8·h, 8·w)."""
    made: list[nn.Module] = [nn.Conv2d(latent_channels, channels[0], 3, padding=1)]
    for width, following, depth in zip(channels, (*channels[1:], 3), layers, strict=True):
        made += [Residual(width) for _ in range(depth)]
        grow = nn.Conv2d(width, 4 * following, 3, padding=1)
        made += [nn.SiLU(), grow if following != 3 else _zeroed(grow), nn.PixelShuffle(2)]
    return nn.Sequential(*made)


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
