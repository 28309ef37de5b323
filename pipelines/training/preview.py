"""How good the animator is by now: sheets and decibels of characters that it does not train on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler

from pipelines.training.batches import HELD_BACK, Batch, Latents, gathered
from pipelines.training.codec import as_pictures
from pipelines.training.pictures import STILLS
from pipelines.training.sheets import sheet
from stages.diffusion.drawn.codec import DrawnCodec
from stages.diffusion.drawn.networks import DrawnNetworks

SHOWN = 6
STEPS = 4


class Preview:
    """Draws the dataset's held-back characters from their first still."""

    def __init__(self, dataset: Latents, codec: DrawnCodec, scheduler: DDIMScheduler, folder: Path) -> None:
        """Sheets and `preview.jsonl` go to `folder`."""
        first, each = len(dataset.latents) - HELD_BACK, 3
        # every held-back character from its first still: a frame of its motion, and another
        self._batch = gathered(dataset, codec, [(first + at, 0, [STILLS + at % each]) for at in range(HELD_BACK)])
        self._std, self._codec, self._scheduler, self._folder = dataset.latent_std, codec, scheduler, folder

    @torch.no_grad()
    def __call__(self, networks: DrawnNetworks, name: str) -> dict[str, float]:
        """Write the sheet `name`.png: reference, skeleton, result, truth. → decibels, also of copied references."""
        batch = self._batch
        made = animated(networks, batch, self._scheduler)
        pictures = {
            kind: np.concatenate([self._decoded(part) for part in latents.split(8)])
            for kind, latents in (("reference", batch.references), ("result", made), ("truth", batch.targets))
        }
        skeletons = (batch.poses * 255).byte().permute(0, 2, 3, 1).numpy()
        figures = {
            "latent": _decibels(made - batch.targets, 4.0),
            "latent_copied": _decibels(batch.references - batch.targets, 4.0),
            "pixel": _pixel_decibels(pictures["result"], pictures["truth"]),
            "pixel_copied": _pixel_decibels(pictures["reference"], pictures["truth"]),
        }
        with (self._folder / "preview.jsonl").open("a") as log:
            log.write(json.dumps({"name": name, **figures}) + "\n")
        shown = [
            [pictures["reference"][at], skeletons[at], pictures["result"][at], pictures["truth"][at]]
            for at in range(SHOWN)
        ]
        rows = [one + other for one, other in zip(shown[::2], shown[1::2], strict=True)]
        sheet(rows, self._folder / f"{name}.png", note=" ".join(f"{key} {value:.2f}" for key, value in figures.items()))
        return figures

    def _decoded(self, latents: torch.Tensor) -> np.ndarray:
        return as_pictures(self._codec.decode(latents * self._std))


def animated(networks: DrawnNetworks, batch: Batch, scheduler: DDIMScheduler, steps: int = STEPS) -> torch.Tensor:
    """The batch's targets as the networks make them of its references and poses, all from the same noise."""
    device = next(networks.parameters()).device
    noise = torch.randn(batch.targets[:1].shape, generator=torch.Generator().manual_seed(0))
    latents, moved = noise.expand_as(batch.targets).to(device), batch.to(device)
    scheduler.set_timesteps(steps)
    for timestep in scheduler.timesteps.tolist():
        predicted = networks(
            latents, torch.tensor([timestep], device=device), moved.references, moved.poses, moved.warped
        )
        latents = scheduler.step(predicted.flatten(0, 1).float(), timestep, latents).prev_sample
    return latents.cpu()


def _decibels(error: torch.Tensor, peak_square: float) -> float:
    return round(float((10 * torch.log10(peak_square / error.square().mean((1, 2, 3)))).mean()), 3)


def _pixel_decibels(made: np.ndarray, truth: np.ndarray) -> float:
    return _decibels(torch.from_numpy(made.astype(np.float32) - truth), 255.0**2)
