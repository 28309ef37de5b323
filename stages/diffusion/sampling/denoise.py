"""The denoising loop of every window-fused system."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

import torch

from manifests.errors import NotFinite
from stages.diffusion.sampling.replicas import Replicas
from stages.diffusion.sampling.shortcuts import Shortcut, Shortcuts
from stages.diffusion.sampling.windows import Fusion, Window


class WindowModel(Protocol):
    """What a system brings: its networks on one device, with everything that conditions them, for one clip."""

    device: torch.device

    def begin_step(self, timestep: int, windows: Sequence[Window], share: range) -> None:
        """Prepare what changes per timestep, not per window (MagicAnimate: the reference features).

        Of all `windows` of the step, this model is asked for those of the numbers in `share`, in this order: all of
        them, or its part where replicas of it have the others. What a window shares with earlier ones must be computed
        as if all were asked for.
        """

    def predict(self, latents: torch.Tensor, timestep: int, window: Window) -> torch.Tensor:
        """Raw predictions of one window, unguided.

        `latents` are all that is denoised, (frames, channels, height, width), on the model's device
        → (branches, window frames, channels, height, width), branches being [unconditional, conditional], or the
        conditional one alone.
        """


class Shortenable(WindowModel, Protocol):
    """A window model that can take the shortcuts of mode fast."""

    def shorten(self, shortcut: Shortcut) -> None:
        """Take this one at the step that begins next."""


@dataclass(frozen=True)
class Step:
    """One finished step: `noise` is the fused and guided prediction, both (frames, channels, height, width)."""

    index: int
    timestep: int
    noise: torch.Tensor
    latents: torch.Tensor


def denoise(
    models: Sequence[WindowModel],
    latents: torch.Tensor,
    scheduler: Scheduler,
    windows: Callable[[int], Sequence[Window]],
    guide: Callable[[torch.Tensor], torch.Tensor],
    told: Callable[[float, int], None] = lambda done, steps: None,
    shortcuts: Shortcuts | None = None,
) -> Iterator[Step]:
    """Denoise (frames, channels, height, width) over the scheduler's timesteps, yielding after every one of them.

    `models` is one, or replicas of it; `latents` are on the first one's device, and stay there. `windows(step index)`
    covers all frames; overlapping predictions are fused in the order of the windows, then guided, then one scheduler
    step is taken on the whole clip. After each window `told` is called with the steps done and their number. With
    `shortcuts`, of which every model knows how to take them, steps leave something out. Raises `NotFinite` where the
    first step leaves values that are not finite.
    """
    timesteps = scheduler.timesteps.tolist()
    with Replicas(models) as replicas:
        for index, timestep in enumerate(timesteps):
            if shortcuts:
                _shorten(models, shortcuts.at(index))
            plan, fusion = windows(shortcuts.grid(index) if shortcuts else index), Fusion(len(latents))
            progress = partial(_tell, told, index, len(timesteps), len(plan))
            for window, prediction in zip(plan, replicas.predictions(latents, timestep, plan, progress), strict=True):
                fusion.add(prediction.to(latents.device, latents.dtype), window)
            noise = guide(fusion.mean())
            latents = scheduler.step(noise, timestep, latents).prev_sample
            if index == 0:  # what overflows does so at once: better found now than after the whole work
                require_finite(latents, timestep)
            yield Step(index, timestep, noise, latents)


def _shorten(models: Sequence[WindowModel], shortcut: Shortcut) -> None:
    for model in cast(Sequence[Shortenable], models):
        model.shorten(shortcut)


def _tell(told: Callable[[float, int], None], step: int, steps: int, windows: int, predicted: int) -> None:
    told(step + predicted / windows, steps)


class Scheduler(Protocol):
    """The part of a diffusers scheduler that the loop uses."""

    timesteps: torch.Tensor

    def step(self, noise: torch.Tensor, timestep: int, latents: torch.Tensor) -> SchedulerOutput:
        """One step for all frames; shapes as `latents`."""


class SchedulerOutput(Protocol):
    """What diffusers schedulers return."""

    prev_sample: torch.Tensor


def require_finite(latents: torch.Tensor, timestep: int) -> None:
    """Raise `NotFinite` for latents of the first step that overflowed."""
    if not bool(torch.isfinite(latents).all()):
        raise NotFinite(f"the networks produced values that are not finite at their first timestep, {timestep}")


def classifier_free_guidance(scale: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """(branches, …) → (…): unconditional + scale · (conditional - unconditional); a single one is returned as it is."""

    def guide(branches: torch.Tensor) -> torch.Tensor:
        if len(branches) == 1:
            return branches[0]
        unconditional, conditional = branches
        return unconditional + scale * (conditional - unconditional)

    return guide
