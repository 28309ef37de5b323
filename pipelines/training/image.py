"""The animator's first training: single pictures of a person from another picture and a skeleton."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import DDIMScheduler

from pipelines.training.batches import Batch, pictures_of
from pipelines.training.dataset import Dataset
from pipelines.training.networks import SCHEDULER, SPATIAL, continued, initialise, save
from pipelines.training.objective import LAST, Begun, errors_from, training_attention, weighted_mean
from pipelines.training.optimisation import Settings, Training
from pipelines.training.pictures import SHAPES
from pipelines.training.preview import Preview
from pipelines.training.processes import launch, rank
from stages.diffusion.drawn.codec import DrawnCodec
from stages.diffusion.drawn.networks import DrawnNetworks

SHAPE_SHARES = (0.85, 0.15)
PREVIEW_SECONDS = 600
CONTINUED_RATE = 6e-4


def run(settings: Settings) -> None:
    """Train into `output/unet`, `output/reference` and `output/pose_guider`, with sheets in `output/image`."""
    launch(train, settings, settings.processes or settings.choose(cpu=2, gpu=1))


def train(settings: Settings) -> None:
    """One process's part of the training."""
    torch.manual_seed(settings.seed)
    datasets = read_datasets(settings)
    networks = initialise(DrawnNetworks(SPATIAL))
    if settings.begin:
        continued(networks, settings.begin)
    networks = networks.to(settings.device)
    scheduler, codec = DDIMScheduler.from_config(SCHEDULER), read_codec(settings)
    training = Training(
        networks,
        torch.optim.AdamW(
            networks.parameters(),
            lr=CONTINUED_RATE if settings.begin else 1.3e-3,
            betas=(0.9, 0.98),
            weight_decay=1e-3,
            fused=True,
        ),
        settings,
        folder=settings.output / "image",
        seconds=settings.seconds or settings.choose(cpu=4500, gpu=1200),
    )
    rows, frames = settings.choose(cpu=(4, 4), gpu=(32, 6))
    shown, begun = training.spent, None
    for step in training.steps():
        random, generator = training.random(), training.generator()
        if begun is None:
            batch = pictures_of(datasets[shape_of(step)], codec, rows, frames, random).to(settings.device)
            latents = noise = some_noise(batch, generator, random)
            timestep = LAST
        else:
            batch, noise = begun.batch, begun.noise
            timestep, latents = begun.later(scheduler, random)
        with settings.autocast(), training_attention(settings.device):
            errors, clean = errors_from(networks, batch, scheduler, latents, timestep)
        loss = weighted_mean(errors, batch.weights)
        training.update(loss, **{"first" if begun is None else "later": loss})
        begun = Begun(batch, noise, clean) if begun is None else None
        if training.spent - shown >= PREVIEW_SECONDS:
            finish(training, settings, datasets)
            shown = training.spent
    finish(training, settings, datasets)


def some_noise(batch: Batch, generator: torch.Generator, random: np.random.Generator) -> torch.Tensor:
    """What films begin with: half of the time one noise for all frames, as by default, or one for each."""
    shape = batch.targets.shape
    count = 1 if random.random() < 0.5 else len(batch.targets)
    noise = torch.randn((count, *shape[1:]), generator=generator, device=batch.targets.device)
    return noise.expand(shape)


def shape_of(step: int) -> int:
    """Which shape this step is about: the same in every process, so that none waits for a larger batch."""
    return int(np.random.default_rng(step).choice(len(SHAPES), p=SHAPE_SHARES))


def read_datasets(settings: Settings) -> list[Dataset]:
    """The datasets of all shapes."""
    return [Dataset(settings.output / "data" / f"{width}x{height}") for width, height in SHAPES]


def read_codec(settings: Settings, device: str | None = None) -> DrawnCodec:
    """The trained codec, on the training's device or another."""
    codec = DrawnCodec.from_pretrained(settings.output / "codec").eval().requires_grad_(False)
    return codec.to(device or settings.device, memory_format=torch.channels_last)


def finish(training: Training, settings: Settings, datasets: Sequence[Dataset]) -> None:
    """Write the averaged weights as a checkpoint's parts, and show what they do."""
    if rank():
        return
    codec = read_codec(settings, "cpu")
    scheduler = DDIMScheduler.from_config(SCHEDULER)
    with training.averaged() as networks:
        save(networks, settings.output)
        scheduler.save_config(settings.output / "scheduler")
        for dataset, (width, height) in zip(datasets, SHAPES, strict=True):
            name = f"{width}x{height}_{training.spent:05.0f}"
            Preview(dataset, codec, scheduler, training.folder)(networks, name)
