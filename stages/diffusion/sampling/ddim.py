"""DDIM built from the scheduler file of a Stable Diffusion base model, which is written for another scheduler.

Source: text2video_zero/SPEC.md section 4.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler

from manifests.errors import Problem
from stages.diffusion.weights.checkpoint import read_object

# What the DDIM of the published code (diffusers 0.14) took from such a file.
PUBLISHED: tuple[str, ...] = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
PUBLISHED += ("clip_sample", "set_alpha_to_one", "steps_offset", "prediction_type")
# What newer base models say as well, and 0.14 did not know.
LATER = ("timestep_spacing", "rescale_betas_zero_snr")

log = logging.getLogger(__name__)


def read_scheduler_config(folder: Path) -> dict[str, Any]:
    """`scheduler_config.json` of a base model's `scheduler/`. Raises `Problem` when no scheduler can be made of it."""
    path = folder / "scheduler_config.json"
    config = read_object(path)
    try:
        for names in (PUBLISHED, PUBLISHED + LATER):
            _scheduler(config, names, clips=False).set_timesteps(2)
    except Exception as wrong:  # whatever diffusers makes of values it does not expect
        raise Problem(f"checkpoint file {path} describes no scheduler: {wrong}", "copy the published file") from None
    return config


def ddim(config: dict[str, Any], published: bool) -> DDIMScheduler:
    """The scheduler; `published` as diffusers 0.14 made it.

    Otherwise what newer files say counts.
    """
    names = PUBLISHED if published else PUBLISHED + LATER
    return _scheduler(config, names, clips_unasked(config, published))


def clips_unasked(config: Mapping[str, Any], parity: bool) -> bool:
    """Whether DDIM clips its samples although the scheduler file does not state `clip_sample`; warns where it does.

    That is DDIM's own default, meant for pixels, and spoils latents: it is kept in parity alone.
    """
    if not parity or "clip_sample" in config:
        return False
    log.warning("the checkpoint's scheduler does not state clip_sample: in parity mode, DDIM clips its samples")
    return True


def _scheduler(config: Mapping[str, Any], names: Sequence[str], clips: bool) -> DDIMScheduler:
    return DDIMScheduler(**{"clip_sample": clips, **{name: config[name] for name in names if name in config}})
