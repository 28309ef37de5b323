"""What the animator's networks learn: velocities of latents under noise that ends in noise alone."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from diffusers import DDIMScheduler
from torch.nn.attention import SDPBackend, sdpa_kernel

from pipelines.training.batches import Batch
from stages.diffusion.drawn.networks import DrawnNetworks

LAST = 999  # the timestep that is noise alone: a film of one step is made there
LAST_SHARE = 0.15


def timesteps(count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` timesteps, mostly late ones (1000·√u), and a share of them the last of all."""
    late, last = torch.rand((2, count), generator=generator, device=generator.device)
    return torch.where(last < LAST_SHARE, LAST, late.sqrt().mul(1000).long())


def velocity_errors(
    networks: DrawnNetworks, batch: Batch, scheduler: DDIMScheduler, noise: torch.Tensor, steps: torch.Tensor
) -> torch.Tensor:
    """Squared errors of the predicted velocities, (rows · frames, height, width); `noise`, `steps` one per target."""
    noisy = scheduler.add_noise(batch.targets, noise, steps)
    velocity = scheduler.get_velocity(batch.targets, noise, steps)
    predicted = networks(noisy, steps, batch.references, batch.poses, batch.warped).flatten(0, 1)
    return (predicted.float() - velocity).square().mean(1)


def weighted_mean(errors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The mean of errors with their weights, both (n, height, width)."""
    return (errors * weights).sum() / weights.sum()


def last_error(errors: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """An estimate of the plain mean error at the last timestep: right in the mean over batches."""
    return (errors.mean((1, 2)) * (steps == LAST)).mean() / LAST_SHARE


def training_attention(device: str) -> AbstractContextManager:
    """Attention whose gradient is cheap: on a CPU plain matrix products, three times as fast as the fused kernel's."""
    if torch.device(device).type != "cpu":
        return nullcontext()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # despite its name the CPU's switch too
    return sdpa_kernel(SDPBackend.MATH)
