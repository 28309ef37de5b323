"""The scheduler of a film: the system's own DDIM or PNDM, or in mode fast the one that its recipe names."""

from __future__ import annotations

import copy
import inspect
from typing import Any, TypeAlias, cast

import torch
from diffusers import DDIMScheduler, UniPCMultistepScheduler

from stages.diffusion.fast import Fast

# diffusers' classes have no types of their own
Scheduled: TypeAlias = Any  # DDIMScheduler, PNDMScheduler or UniPCMultistepScheduler


def scheduled(own: Scheduled, steps: int | None, fast: Fast | None, standard_steps: int) -> Scheduled:
    """A scheduler at its first timestep: `own` without a recipe, else that of the recipe for the same noise levels.

    UniPC begins where `own` would with `standard_steps`: a film begins from the same noise at the same level in either
    mode, or it would be another film.
    """
    steps = cast(int, steps)  # defaults of clips are resolved
    if fast is None or fast.sampler == "own":
        own.set_timesteps(steps)
        return own
    config = dict(own.config)
    if fast.sampler == "trailing":
        ddim = DDIMScheduler(**_known(DDIMScheduler, config | {"timestep_spacing": "trailing"}))
        ddim.set_timesteps(steps)
        return ddim
    ends = "zero" if config.get("set_alpha_to_one", True) else "sigma_min"
    unipc = UniPCMultistepScheduler(**_known(UniPCMultistepScheduler, config | {"final_sigmas_type": ends}))
    unipc.set_timesteps(steps)
    own.set_timesteps(standard_steps)
    first = int(own.timesteps[0])
    timesteps = torch.tensor([round((first + 1) * (1 - step / steps)) - 1 for step in range(steps)])
    levels = ((1 - unipc.alphas_cumprod) / unipc.alphas_cumprod) ** 0.5
    unipc.timesteps, unipc.sigmas = timesteps, torch.cat([levels[timesteps], unipc.sigmas[-1:]])
    return unipc


def _known(kind: type, config: dict[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in inspect.signature(kind).parameters if name in config}


def between(scheduler: Scheduled, begin: int, end: int | None = None) -> Scheduled:
    """The same scheduler for steps [begin, end) of its timesteps alone, which remembers no step of another part."""
    part = copy.copy(scheduler)
    part.timesteps = scheduler.timesteps[begin:end]
    if isinstance(scheduler, UniPCMultistepScheduler):
        order, stop = scheduler.config.solver_order, len(scheduler.timesteps) if end is None else end
        part.sigmas = scheduler.sigmas[begin : stop + 1]
        part.model_outputs, part.timestep_list = [None] * order, [None] * order
        part.lower_order_nums, part.last_sample, part._step_index = 0, None, None
    return part
