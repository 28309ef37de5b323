"""What the animator's networks learn: velocities of latents, from noise alone and from what they made of it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipelines.training.batches import Batch
from stages.diffusion.drawn.networks import DrawnNetworks

LAST = 999  # the timestep that is noise alone: where every film begins
# Second steps of films of 2, 3 and 4 steps, and how often each is trained.
SECOND, SECOND_SHARES = (499, 666, 749), (0.75, 0.1, 0.15)
ANY_SHARE = 0.1  # of the later steps: any timestep, from noisy targets, for films of more steps


@dataclass(frozen=True)
class Begun:
    """A batch of which the first step was taken."""

    batch: Batch
    noise: torch.Tensor  # (rows · frames, channels, height, width)
    clean: torch.Tensor  # what that step makes of the noise

    def later(self, scheduler: DDIMScheduler, random: np.random.Generator) -> tuple[int, torch.Tensor]:
        """A later timestep, and latents as they come to it.

        Mostly those that the networks have made themselves, as DDIM does without added noise. Unlike noisy targets
        they give nothing of the targets away: the step learns to mend what the first one has left.
        """
        if random.random() < ANY_SHARE:
            step, clean = int(1000 * np.sqrt(random.random())), self.batch.targets
        else:
            step, clean = int(random.choice(SECOND, p=SECOND_SHARES)), self.clean
        return step, scheduler.add_noise(clean, self.noise, torch.full((len(clean),), step, device=clean.device))


def errors_from(
    networks: DrawnNetworks, batch: Batch, scheduler: DDIMScheduler, latents: torch.Tensor, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared errors of the velocities that would lead from `latents` to the targets, and where those predicted lead.

    (rows · frames, height, width), and clean latents without a gradient.
    """
    kept = scheduler.alphas_cumprod[step].to(latents)
    signal, rest = kept.sqrt(), (1 - kept).sqrt()
    steps = torch.full((len(latents),), step, device=latents.device)
    predicted = networks(latents, steps, batch.references, batch.poses, batch.warped).flatten(0, 1).float()
    wanted = (signal * latents - batch.targets) / rest
    return (predicted - wanted).square().mean(1), (signal * latents - rest * predicted).detach()


def weighted_mean(errors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The mean of errors with their weights, both (n, height, width)."""
    return (errors * weights).sum() / weights.sum()


def training_attention(device: str) -> AbstractContextManager:
    """Attention whose gradient is cheap: on a CPU plain matrix products, three times as fast as the fused kernel's."""
    if torch.device(device).type != "cpu":
        return nullcontext()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # despite its name the CPU's switch too
    return sdpa_kernel(SDPBackend.MATH)
