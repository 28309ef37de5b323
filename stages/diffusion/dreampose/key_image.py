"""DreamPose's key image: tokens that every frame attends to, and the latents that every frame starts from.

Source: SPEC.md sections 3, 4 and 6.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from stages.diffusion.dreampose.clip_tokens import ClipTokens
from stages.diffusion.dreampose.embedding_adapter import EmbeddingAdapter
from stages.diffusion.dreampose.facts import VAE_SCALE
from stages.diffusion.networks.clip_vision import normalised
from stages.diffusion.networks.feature_cache import FeatureCache
from stages.diffusion.networks.latent_images import LatentImages
from stages.diffusion.networks.reference_attention import Features
from stages.diffusion.sampling.noise import frame_noise

if TYPE_CHECKING:
    from manifests.clip import Clip
    from stages.diffusion.animator import Segment
    from stages.diffusion.sampling.schedulers import Scheduled


@dataclass(frozen=True)
class Draws:
    """What of a clip is random: standard normal values.

    `noise` (1 or frames, 4, h, w), one for all frames as published; the three posterior draws (frames, 4, h, w), of
    `empty` (frames, 4, w, h), are None where the posterior's mean is used.
    """

    noise: torch.Tensor
    tokens: torch.Tensor | None = None
    empty: torch.Tensor | None = None
    start: torch.Tensor | None = None


def random_draws(clip: Clip, segment: Segment) -> Draws:
    """The mode's noise rule: one noise for all frames; parity draws the posteriors anew for each (quirk 9)."""
    shape = (4, clip.height // 8, clip.width // 8)
    if clip.mode != "parity":
        return Draws(frame_noise(clip.seed, [0], shape))
    generator, swapped = torch.Generator("cpu").manual_seed(clip.seed), (4, shape[2], shape[1])
    drawn, noise = [], torch.empty(0)
    for frame in range(segment.stop):
        drawn.append([torch.randn(1, *size, generator=generator) for size in (shape, swapped, shape)])
        if frame == 0:
            noise = torch.randn(1, *shape, generator=generator)
    tokens, empty, start = (torch.cat(one) for one in zip(*drawn[segment.start :], strict=True))
    return Draws(noise, tokens, empty, start)


class KeyImages:
    """The networks that look at a key image, and what they saw of the last ones."""

    def __init__(self, images: LatentImages, encoder: ClipTokens, adapter: EmbeddingAdapter) -> None:
        self.images = images
        self.encoder = encoder
        self.adapter = adapter
        self.features = FeatureCache()

    @torch.inference_mode()
    def seen(self, image: np.ndarray, tokens: Literal["published", "trained"]) -> Features:
        """uint8 (height, width, 3) → everything of it and of the unconditional image that all frames share.

        `hidden` are CLIP's tokens of [unconditional, key image]: (2, 50, width). Of three posteriors mean and
        deviation, (2, 4, height/8, width/8): `tokens` and `empty` (height and width swapped) for the adapter, `start`.
        """
        key = hashlib.sha256(image.tobytes()).hexdigest(), image.shape, tokens
        own = self.features.get(key, lambda: self._seen(image, tokens))
        empty = self.features.get(("empty", image.shape), lambda: self._seen_of_nothing(*image.shape[:2]))
        return {**own, **empty, "hidden": torch.cat([empty["hidden"], own["hidden"]])}

    def _seen(self, image: np.ndarray, tokens: str) -> Features:
        raw = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        return {
            "hidden": self.encoder.tokens(self.encoder.pixels(image)),
            # the published code shows the adapter 0 … 255, its training did 0 … 1 (quirk 1)
            "tokens": self._posterior(raw if tokens == "published" else raw / 255),
            "start": self._posterior(raw / 255 * 2 - 1),
        }

    def _seen_of_nothing(self, height: int, width: int) -> Features:
        """Of an image of zeros, whose width and height the published code swaps (quirk 2)."""
        side = self.encoder.model.config.image_size
        return {
            "hidden": self.encoder.tokens(normalised(torch.zeros(side, side, 3))),
            "empty": self._posterior(torch.zeros(1, 3, width, height)),
        }

    def _posterior(self, pixels: torch.Tensor) -> torch.Tensor:
        mean, logvar = self.images.posterior(pixels)
        return torch.cat([mean, (0.5 * logvar).exp()])

    @torch.inference_mode()
    def contexts(self, seen: Features, draws: Draws) -> torch.Tensor:
        """What frames attend to, [unconditional, key image]: float32 (2, 1 or frames, 50, width)."""
        latents = sampled(seen["empty"], draws.empty), sampled(seen["tokens"], draws.tokens)
        return torch.stack(
            [
                self.adapter(hidden.expand(len(one), -1, -1), one)
                for hidden, one in zip(seen["hidden"], latents, strict=True)
            ]
        )

    @staticmethod
    def start_latents(seen: Features, draws: Draws, scheduler: Scheduled) -> torch.Tensor:
        """The key image under the noise of the first timestep: float32 (1 or frames, 4, height/8, width/8)."""
        image = sampled(seen["start"], draws.start)
        return scheduler.add_noise(image, draws.noise.to(image.device), scheduler.timesteps[:1].to(image.device))


def sampled(posterior: torch.Tensor, draws: torch.Tensor | None) -> torch.Tensor:
    """[mean, deviation] → scaled latents: the mean's (1, …), or one for each draw (frames, …)."""
    mean, deviation = posterior[:1], posterior[1:]
    return (mean if draws is None else mean + deviation * draws.to(mean.device)) * VAE_SCALE
