"""The scheduler of a DreamPose checkpoint.

Source: SPEC.md section 6.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler, PNDMScheduler

from manifests.errors import Problem
from stages.diffusion.dreampose.facts import DREAMPOSE
from stages.diffusion.fast import Fast
from stages.diffusion.sampling.ddim import clips_unasked
from stages.diffusion.sampling.schedulers import Scheduled, between, scheduled
from stages.diffusion.weights.checkpoint import read_object

KINDS = {"pndm": PNDMScheduler, "ddim": DDIMScheduler}
# PNDM begins with Runge-Kutta steps where the file does not say to skip them (DDIM's own do not), and needs four.
PROBED_STEPS = 4


@dataclass(frozen=True)
class PublishedScheduler:
    """What a `scheduler_config.json` says."""

    sampler: str  # a name of KINDS
    settings: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> PublishedScheduler:
        """Raises `Problem` for any other scheduler, or settings that make none."""
        file = folder / "scheduler_config.json"
        settings = read_object(file)
        names = {kind.__name__: name for name, kind in KINDS.items()}
        named = settings.get("_class_name")
        if named not in names:
            raise Problem(
                f"checkpoint file {file} names the scheduler {named!r}, not {' or '.join(names)}",
                "use the scheduler of Stable Diffusion 1.4",
            )
        published = cls(names[named], settings)
        for sampler in KINDS:
            try:
                published.prepared(sampler, PROBED_STEPS)
            except Exception as wrong:  # whatever foreign settings make of the constructor
                raise Problem(
                    f"checkpoint file {file} describes no {named}: {wrong}", "copy the published file again"
                ) from None
        return published

    def prepared(
        self, sampler: str, steps: int, strength: float = 1.0, parity: bool = False, fast: Fast | None = None
    ) -> Scheduled:
        """A scheduler at its first timestep: of the checkpoint's kind ("checkpoint") or of the one asked for.

        A recipe of mode fast may put another in its place. Below strength 1 its first timesteps are left out, but never
        all of them. The published code sets steps_offset, and switches off that samples are clipped, unless DDIM is
        made of another scheduler's file that says nothing.
        """
        kind = KINDS[self.sampler if sampler == "checkpoint" else sampler]
        converted = kind is DDIMScheduler and self.sampler != "ddim"
        clips = converted and clips_unasked(self.settings, parity)
        settings = {**self.settings, "steps_offset": 1, "clip_sample": clips}
        known = inspect.signature(kind).parameters
        own = kind(**{name: value for name, value in settings.items() if name in known})
        scheduler = scheduled(own, steps, fast, DREAMPOSE.steps)
        kept = max(1, min(int(steps * strength), steps))
        return between(scheduler, steps - kept)
