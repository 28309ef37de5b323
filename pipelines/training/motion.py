"""The animator's second training: motion modules, on clips of a few frames, with everything else as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from diffusers import DDIMScheduler

from pipelines.training.batches import clips_of
from pipelines.training.image import read_codec, read_datasets, shape_of
from pipelines.training.networks import MOTION, SCHEDULER, save, with_fresh_motion
from pipelines.training.objective import LAST, Begun, errors_from, training_attention, weighted_mean
from pipelines.training.optimisation import Settings, Training
from pipelines.training.pictures import FRAMES
from pipelines.training.processes import launch, rank
from stages.diffusion.drawn.networks import DrawnNetworks
from stages.diffusion.drawn.unet import motion_modules


def run(settings: Settings) -> None:
    """Train into `output/motion`, on the networks that the image stage left in `output`."""
    launch(train, settings, settings.processes or settings.choose(cpu=2, gpu=1))


def train(settings: Settings) -> None:
    """One process's part of the training."""
    torch.manual_seed(settings.seed)
    datasets = read_datasets(settings)
    networks = with_fresh_motion(settings.output, MOTION).to(settings.device)
    trained = [weight for weight in networks.parameters() if weight.requires_grad]
    training = Training(
        networks,
        torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-3, fused=True),
        settings,
        folder=settings.output / "motion",
        seconds=settings.seconds or settings.choose(cpu=900, gpu=300),
    )
    rows, begun = settings.choose(cpu=2, gpu=24), None
    scheduler, codec = DDIMScheduler.from_config(SCHEDULER), read_codec(settings)
    for step in training.steps():
        random, generator = training.random(), training.generator()
        if begun is None:
            batch = clips_of(datasets[shape_of(step)], codec, rows, random).to(settings.device)
            # one noise for all frames of a clip, as in a film
            noise = torch.randn((rows, *batch.targets.shape[1:]), generator=generator, device=settings.device)
            latents = noise = noise.repeat_interleave(FRAMES, dim=0)
            timestep = LAST
        else:
            batch, noise = begun.batch, begun.noise
            timestep, latents = begun.later(scheduler, random)
        with shifted(networks, random), settings.autocast(), training_attention(settings.device):
            errors, clean = errors_from(networks, batch, scheduler, latents, timestep)
        loss = weighted_mean(errors, batch.weights)
        training.update(loss, **{"first" if begun is None else "later": loss})
        begun = Begun(batch, noise, clean) if begun is None else None
    if rank() == 0:
        with training.averaged():
            save(networks, settings.output)


@contextmanager
def shifted(networks: DrawnNetworks, random: np.random.Generator) -> Iterator[None]:
    """Let clips begin at any position of the motion modules, so that all are trained although a clip is shorter."""
    first = int(random.integers(MOTION["longest_window"] - FRAMES + 1))
    tables = [block.pos_embed for _, module in motion_modules(networks.unet) for block in module.transformer_blocks]
    whole = [table.pe for table in tables]
    for table in tables:
        table.pe = table.pe[:, first:]
    try:
        yield
    finally:
        for table, pe in zip(tables, whole, strict=True):
            table.pe = pe
