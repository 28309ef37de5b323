"""The denoising loop of Wan's systems: a whole segment at once, by UniPC on a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import UniPCMultistepScheduler

from manifests.errors import Problem
from stages.diffusion.sampling.denoise import Step, require_finite
from stages.diffusion.sampling.noise import frame_noise
from stages.diffusion.weights.checkpoint import read_object

if TYPE_CHECKING:
    from manifests.clip import Clip

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # latents, timestep (1,) → what changes them


def read_scheduler(folder: Path) -> dict[str, Any]:
    """What the published scheduler is made with. Raises `Problem` for another one than UniPC."""
    config, name = read_object(folder / "scheduler_config.json"), UniPCMultistepScheduler.__name__
    if config.get("_class_name") != name:
        raise Problem(
            f"checkpoint file {folder / 'scheduler_config.json'} describes no {name}", "copy the published file again"
        )
    return config


def shifted(settings: dict[str, Any], flow_shift: float | None) -> dict[str, Any]:
    """The scheduler's settings with a row's own `flow_shift`, if it has one."""
    return settings if flow_shift is None else {**settings, "flow_shift": flow_shift}


def flow_steps(
    branches: Sequence[Predict],
    latents: torch.Tensor,
    settings: dict[str, Any],
    steps: int,
    guidance: float,
    told: Callable[[float, int], None],
) -> Iterator[Step]:
    """The steps of one segment, each (1, channels, latent frames, h, w); `branches` are conditional, unconditional.

    After each of them `told` is called with the steps done and their number.
    Raises `NotFinite` where the first step leaves values that are not finite.
    """
    scheduler = UniPCMultistepScheduler.from_config(settings)  # which remembers its steps
    scheduler.set_timesteps(steps, device=latents.device)
    for index, timestep in enumerate(scheduler.timesteps):
        noise, *unconditional = (predict(latents, timestep.expand(1)) for predict in branches)
        for other in unconditional:
            noise = other + guidance * (noise - other)
        latents = scheduler.step(noise, timestep, latents, return_dict=False)[0]
        if index == 0:
            require_finite(latents, int(timestep))
        told(index + 1, steps)
        yield Step(index, int(timestep), noise, latents)


def starting_noise(clip: Clip, number: int, start: int, shape: tuple[int, int, int, int]) -> torch.Tensor:
    """The mode's noise rule for segment `number`, from frame `start` on: (1, channels, latent frames, h, w).

    Published is one generator for the film, of which each segment draws once. In standard mode the noise of a latent
    frame depends on the seed, its segment's first frame and its own number alone.
    """
    channels, frames, height, width = shape
    if clip.mode == "parity":
        generator = torch.Generator("cpu").manual_seed(clip.seed)
        for _ in range(number + 1):
            drawn = torch.randn((1, *shape), generator=generator)
        return drawn
    numbers = range(start, start + frames)  # a segment has more frames than latent ones: none comes twice
    return frame_noise(clip.seed, numbers, (channels, height, width)).transpose(0, 1)[None].contiguous()
