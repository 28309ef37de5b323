"""MagicAnimate as published: the whole of SPEC sections 6 to 11 between pictures in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from diffusers import DDIMScheduler
from transformers import CLIPTokenizer

from tests.bench.published.networks import Networks
from tests.bench.published.norms import tell_frames
from tests.bench.published.windows import uniform

VAE_SCALE = 0.18215
UNIT = 16  # frames that a clip is padded to multiples of, and of a window of ControlNet
SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "linear",
    "clip_sample": False,
    "steps_offset": 1,
    "set_alpha_to_one": True,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
}


class Run(NamedTuple):
    """Parameters of a run, by the names of the published configuration."""

    num_inference_steps: int = 25
    guidance_scale: float = 7.5
    context_frames: int = 16
    context_stride: int = 1
    context_overlap: int = 4
    prompt: str = ""
    negative_prompt: str = ""


class Step(NamedTuple):
    """What is left of a step: (1, 4, frames, height, width) each."""

    timestep: int
    noise: torch.Tensor  # averaged and guided
    latents: torch.Tensor


class Conditions(NamedTuple):
    """What a clip is conditioned on."""

    text: torch.Tensor  # (2, words, width), negative and positive
    reference: torch.Tensor  # (1, 4, height, width)


class PublishedMagicAnimate:
    """The published pipeline. Guidance must be above 1, as there."""

    def __init__(self, tokenizer: CLIPTokenizer, networks: Networks) -> None:
        self.tokenizer = tokenizer
        self.networks = networks
        self.device, self.dtype = networks.unet.device, networks.unet.dtype

    @torch.inference_mode()
    def encode(self, source: np.ndarray, run: Run) -> Conditions:
        """uint8 (height, width, 3) and both prompts, which are encoded one after the other."""
        pixels = torch.from_numpy(source).to(self.device, torch.float32).permute(2, 0, 1)[None] / 127.5 - 1
        posterior = self.networks.vae.encode(pixels.to(self.dtype)).latent_dist
        negative, positive = self._words(run.negative_prompt), self._words(run.prompt)
        return Conditions(torch.cat([negative, positive]), posterior.mean * VAE_SCALE)

    def _words(self, prompt: str) -> torch.Tensor:
        length = self.networks.text.config.max_position_embeddings
        ids = self.tokenizer([prompt], padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return self.networks.text(ids.input_ids.to(self.device)).last_hidden_state

    @torch.inference_mode()
    def steps(self, conditions: Conditions, control: np.ndarray, noise: torch.Tensor, run: Run) -> Iterator[Step]:
        """Section 9. `control` is uint8 (frames, height, width, 3) and `noise` (1, 4, frames, …), both padded."""
        networks, frames = self.networks, len(control)
        pictures = torch.from_numpy(control).to(self.device).permute(0, 3, 1, 2).to(self.dtype) / 255
        scheduler = DDIMScheduler(**SCHEDULER)
        scheduler.set_timesteps(run.num_inference_steps)
        latents = noise.to(self.device, self.dtype)
        for timestep in scheduler.timesteps.tolist():
            networks.appearance(conditions.reference.repeat(2, 1, 1, 1), timestep, conditions.text)
            for name, reader in networks.readers.items():
                reader.bank, reader.reads = networks.writers[name].bank, True
            residuals = self._residuals(latents, timestep, conditions.text, pictures)
            total = torch.zeros(2, *latents.shape[1:], device=self.device, dtype=self.dtype)
            count = torch.zeros(1, 1, frames, 1, 1, device=self.device, dtype=self.dtype)
            for window in uniform(frames, run.context_frames, run.context_stride, run.context_overlap):
                total[:, :, window] = total[:, :, window] + self._predict(
                    latents[:, :, window], timestep, conditions.text, [residuals[frame] for frame in window]
                )
                count[:, :, window] = count[:, :, window] + 1
            unconditional, conditional = (total / count).chunk(2)
            guided = unconditional + run.guidance_scale * (conditional - unconditional)
            latents = scheduler.step(guided, timestep, latents).prev_sample
            yield Step(timestep, guided, latents)

    def _residuals(
        self, latents: torch.Tensor, timestep: int, text: torch.Tensor, pictures: torch.Tensor
    ) -> dict[int, tuple[torch.Tensor, ...]]:
        """By frame: those of the skips and, last, of the middle block (section 6). Kept for the whole clip."""
        kept = {}
        for window in uniform(len(pictures), UNIT, 1, 0):
            down, mid = self.networks.control(
                latents[0].permute(1, 0, 2, 3)[window],
                timestep,
                text[1:].repeat(len(window), 1, 1),
                controlnet_cond=pictures[window],
                return_dict=False,
            )
            for place, frame in enumerate(window):
                kept[frame] = tuple(layer[place : place + 1].clone() for layer in (*down, mid))
        return kept

    def _predict(
        self, latents: torch.Tensor, timestep: int, text: torch.Tensor, residuals: list[tuple[torch.Tensor, ...]]
    ) -> torch.Tensor:
        """One window (1, 4, frames, …) → its two rows."""
        frames = len(residuals)
        *down, mid = (torch.cat([torch.cat(layer)] * 2) for layer in zip(*residuals, strict=True))
        tell_frames(self.networks.unet, frames)
        return self.networks.unet(
            torch.cat([latents] * 2),
            timestep,
            text.repeat_interleave(frames, dim=0),
            down_block_additional_residuals=tuple(down),
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0]

    @torch.inference_mode()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(1, 4, frames, height, width) → float32 (1, 3, frames, 8 · height, 8 · width) in [0, 1], on the CPU."""
        scaled = (latents / VAE_SCALE)[0].permute(1, 0, 2, 3)
        frames = [
            self.networks.vae.decode(scaled[place : place + 1], return_dict=False)[0] for place in range(len(scaled))
        ]
        video = torch.cat(frames).permute(1, 0, 2, 3)[None]
        return (video / 2 + 0.5).clamp(0, 1).cpu().float()


def padded(control: np.ndarray) -> np.ndarray:
    """The last frame repeated up to a multiple of 16 (section 11)."""
    missing = -len(control) % UNIT
    return np.concatenate([control, control[-1:].repeat(missing, axis=0)])


def tiled_noise(seed: int, frames: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """(1, 4, frames, …): one block of 16 frames, repeated (section 8)."""
    channels, height, width = shape
    block = torch.randn((1, channels, UNIT, height, width), generator=torch.Generator().manual_seed(seed))
    return block.repeat(1, 1, frames // UNIT, 1, 1)


def film(video: torch.Tensor, frames: int) -> np.ndarray:
    """The first `frames` of a decoded clip as uint8 (frames, height, width, 3), truncated."""
    return (video[0, :, :frames].permute(1, 2, 3, 0).numpy() * 255).astype(np.uint8)
