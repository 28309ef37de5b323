"""The animator's third training: the network that makes pictures of what the others have made.

People are drawn as they are needed: unlike the other stages, this one has to see the targets' pixels.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import nn

from pipelines.training.batches import REFERENCE_SHARES, gathered
from pipelines.training.codec import as_input
from pipelines.training.image import read_codec
from pipelines.training.networks import SCHEDULER, SPATIAL, continued, initialise
from pipelines.training.optimisation import Settings, Training
from pipelines.training.pictures import FRESH, PICTURES, SHAPES, STILLS, sitting
from pipelines.training.preview import animated
from pipelines.training.processes import launch, rank
from stages.diffusion.drawn.codec import PATCH, DrawnCodec
from stages.diffusion.drawn.finishing import Finishing
from stages.diffusion.drawn.looks import Look, as_tensors
from stages.diffusion.drawn.networks import DrawnNetworks

HEIGHT, WIDTH = 16, 12  # of a crop, in cells of 8×8 pixels
MARGIN = PATCH  # pixels at a crop's edges that do not count
ROWS, FRAMES = 3, 4  # people drawn every second step, and pictures of each that are made
POOL = 768  # pictures to crop from; each is chosen about five times
STEPS, STEPS_SHARES = (2, 1, 4), (0.85, 0.075, 0.075)  # of the films


@dataclass(frozen=True)
class Made:
    """A picture as the other networks leave it, and what it should become."""

    latents: torch.Tensor  # (8, height/8, width/8), as the codec decodes them
    look: Look
    weights: np.ndarray  # (height/8, width/8): how much an error counts
    truth: np.ndarray  # uint8 (height, width, 3)


@dataclass
class Sittings:
    """Characters drawn just now, as `gathered` reads them."""

    latents: np.ndarray
    keypoints: np.ndarray
    stills: np.ndarray
    latent_std: float


def run(settings: Settings) -> None:
    """Train into `output/finishing`, on the networks that the image stage left in `output`."""
    launch(train, settings, settings.processes or 1)


def train(settings: Settings) -> None:
    """One process's part of the training."""
    torch.manual_seed(settings.seed)
    codec = read_codec(settings)
    networks = continued(initialise(DrawnNetworks(SPATIAL)), settings.output).to(settings.device)
    networks.eval().requires_grad_(False)
    finishing = begun(Finishing(), codec).to(settings.device, memory_format=torch.channels_last)
    training = Training(
        finishing,
        torch.optim.AdamW(finishing.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=1e-4, fused=True),
        settings,
        folder=settings.output / "finishing",
        seconds=settings.seconds or settings.choose(cpu=5400, gpu=1200),
        warm_up=60,
    )
    pool: deque[Made] = deque(maxlen=POOL)
    for step in training.steps():
        random = training.random()
        if step % 2 == 0:
            pool += made_of(networks, codec, random)
        while not pool:  # all of the first ones may have been without a warp
            pool += made_of(networks, codec, random)
        latents, looks, weights, truth = crops(pool, settings.choose(cpu=32, gpu=128), random)
        latents = latents.to(settings.device, memory_format=torch.channels_last)
        with settings.autocast():
            finished = finishing(latents, *as_tensors(looks, latents))
        loss, square = finishing_loss(finished.float(), truth.to(settings.device), weights.to(settings.device))
        training.update(loss, square=square)
    if rank() == 0:
        with training.averaged() as network:
            network.save_pretrained(settings.output / "finishing")


@torch.no_grad()
def begun(finishing: Finishing, codec: DrawnCodec) -> Finishing:
    """The network as it begins: what it has of the codec's decoder decodes as that does, and the rest says little."""
    trunk = {
        finishing.patches_out: codec.patches_out,
        finishing.latents_in: codec.decoder[0],
        **dict(zip(finishing.coarse, codec.decoder[1:4], strict=True)),
        finishing.up_middle: codec.decoder[5],
        **dict(zip(finishing.middle, codec.decoder[7:9], strict=False)),
        finishing.up_fine: codec.decoder[10],
        finishing.fine[0]: codec.decoder[12],
    }
    for own, known in trunk.items():
        own.load_state_dict(known.state_dict())
    for layer in (finishing.middle[2].second, finishing.fine[1].second, finishing.fine[2].second, finishing.movement):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    out, known = finishing.pixels_out, codec.decoder[14]
    nn.init.zeros_(out.weight)
    out.weight[:12], out.bias[:12] = known.weight, known.bias
    out.bias[12:] = torch.tensor([1.5, 0.0, -0.5, 0.5]).repeat_interleave(4)  # of drawn, warped, skirted, backdrop
    return finishing


def made_of(networks: DrawnNetworks, codec: DrawnCodec, random: np.random.Generator) -> list[Made]:
    """Some pictures of people that are drawn for it, as the networks make them."""
    device, (width, height) = codec.device, SHAPES[0]
    pictures, keypoints = [], []
    for seed in random.integers(*FRESH, ROWS):
        reference = random.choice(STILLS, p=REFERENCE_SHARES)
        others = random.choice(np.delete(np.arange(PICTURES), reference), FRAMES, replace=False)
        sat = sitting(int(seed), width, height, [reference, *others])
        pictures.append(sat.pictures)
        keypoints.append(sat.keypoints)
    shown = np.stack(pictures)
    with torch.inference_mode():
        latents = codec.encode(as_input(shown.reshape(-1, height, width, 3)).to(device)).float().cpu().numpy()
    latents = latents.reshape(*shown.shape[:2], *latents.shape[1:])
    people = Sittings(latents, np.stack(keypoints), shown, codec.config.latent_std)
    looks: list[Look | None] = []
    batch = gathered(people, codec, [(row, 0, range(1, FRAMES + 1)) for row in range(ROWS)], random, looks)
    with torch.inference_mode():
        made = animated(
            networks, batch, DDIMScheduler.from_config(SCHEDULER), int(random.choice(STEPS, p=STEPS_SHARES))
        )
    truth = shown[:, 1:].reshape(-1, height, width, 3)
    return [
        Made(one * people.latent_std, look, weights, picture)
        for one, look, weights, picture in zip(made, looks, batch.weights.numpy(), truth, strict=True)
        if look is not None
    ]


def crops(
    pool: deque[Made], count: int, random: np.random.Generator
) -> tuple[torch.Tensor, list[Look], torch.Tensor, torch.Tensor]:
    """Latents, looks, weights and truth of `count` crops, three of four around somewhere on a person."""
    latents, looks, weights, truth = [], [], [], []
    for number in range(count):
        one = pool[random.integers(len(pool))]
        room = np.array(one.weights.shape) - np.array((HEIGHT, WIDTH))
        corner = random.integers(room + 1)
        if number % 4 and len(person := np.argwhere(one.weights > 1)):
            middle = person[random.integers(len(person))] + random.integers(-3, 4, 2)
            corner = np.clip(middle - (HEIGHT // 2, WIDTH // 2), 0, room)
        cells, halves, pixels = (_window(corner, size) for size in (1, PATCH // 2, PATCH))
        latents.append(one.latents[:, *cells])
        looks.append(Look(one.look.pictures[pixels], one.look.skeleton[pixels], one.look.maps[:, *halves]))
        weights.append(one.weights[cells])
        truth.append(one.truth[pixels])
    return torch.stack(latents), looks, torch.from_numpy(np.stack(weights)), as_input(np.stack(truth))


def _window(corner: np.ndarray, size: int) -> tuple[slice, slice]:
    """Rows and columns of a crop, in a map of `size` values for each cell."""
    top, left = corner * size
    return slice(top, top + HEIGHT * size), slice(left, left + WIDTH * size)


def finishing_loss(
    finished: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """L1, L1 of differences between neighbours (edges) and squared error; and the squared error alone.

    Pictures (n, 3, height, width) in [-1, 1]; of `weights` (n, height/8, width/8) half of what is above 1 counts.
    """
    error = (finished - truth)[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    shares = ((1 + weights) / 2)[:, None].repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    shares = shares[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    shares = shares / shares.mean()
    edges = (error.diff(dim=2).abs() * shares[:, :, 1:]).mean() + (error.diff(dim=3).abs() * shares[..., 1:]).mean()
    square = (error.square() * shares).mean()
    return (error.abs() * shares).mean() + 0.35 * edges + 12 * square, square
