"""The codec's training: principal components of patches first, then the convolutions that correct them."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch.nn import functional

from pipelines.training.optimisation import Settings, Training
from pipelines.training.pictures import HELD_OUT, SHAPES, Album, album
from pipelines.training.sheets import sheet
from stages.diffusion.drawn.codec import PATCH, DrawnCodec

CROP = 64
CHECKED = 200  # held-out pictures that the quality is measured on


def run(settings: Settings) -> None:
    """Train the codec into `output/codec` and show it on people it has never seen in `output/codec/sheet.png`."""
    people = settings.choose(cpu=750, gpu=4000)
    (tall, tall_size), (square, square_size) = zip((people, people // 5), SHAPES, strict=True)
    albums = [album(0, tall, *tall_size), album(tall, square, *square_size)]
    codec = train(albums, settings, settings.seconds or settings.choose(cpu=1300, gpu=240))
    codec.save_pretrained(settings.output / "codec")
    check(codec.to("cpu"), settings)


def train(albums: list[Album], settings: Settings, seconds: float) -> DrawnCodec:
    """The codec after `seconds` of training on crops of the pictures, with its averaged weights."""
    torch.manual_seed(settings.seed)
    codec = DrawnCodec().to(settings.device, memory_format=torch.channels_last)
    initialise(codec, crops(albums, 256, np.random.default_rng(settings.seed)))
    optimiser = torch.optim.AdamW(codec.parameters(), lr=1.5e-3, betas=(0.9, 0.98), fused=True)
    training = Training(codec, optimiser, settings, folder=settings.output / "codec", seconds=seconds, warm_up=100)
    batch = settings.choose(cpu=12, gpu=256)
    for _ in training.steps():
        pictures = crops(albums, batch, training.random()).to(settings.device)
        with settings.autocast():
            decoded, latents = codec(pictures)
        loss = reconstruction_loss(decoded.float(), pictures) + 2e-3 * latents.float().square().mean()
        training.update(loss, decibels=decibels(decoded.detach().float(), pictures))
    with training.averaged() as codec:
        return copy.deepcopy(codec).eval()


def crops(albums: list[Album], count: int, random: np.random.Generator) -> torch.Tensor:
    """Square crops (count, 3, 64, 64) in [-1, 1] of random pictures, half of them around a visible keypoint.

    A body fills a fifth of its picture and a face a hundredth, but they are what a viewer looks at.
    """
    sizes = np.array([len(one.pictures) for one in albums])
    made = []
    for number, chosen in enumerate(random.choice(len(albums), count, p=sizes / sizes.sum())):
        one = albums[chosen]
        at = random.integers(len(one.pictures))
        height, width = one.pictures.shape[1:3]
        points = one.keypoints[at][one.keypoints[at, :, 2] > 0, :2]
        if number % 2 and len(points):
            middle = points[random.integers(len(points))] + random.integers(-CROP // 4, CROP // 4 + 1, 2)
            x, y = np.clip(middle - CROP // 2, 0, (width - CROP, height - CROP)).astype(int)
        else:
            x, y = random.integers((width - CROP + 1, height - CROP + 1))
        made.append(one.pictures[at, y : y + CROP, x : x + CROP])
    return as_input(np.stack(made))


def as_input(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (n, height, width, 3) → float32 (n, 3, height, width) in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def initialise(codec: DrawnCodec, pictures: torch.Tensor) -> None:
    """Give the codec's linear maps the principal components of the pictures' 8×8 patches, at unit variance in all."""
    patches = functional.unfold(pictures, PATCH, stride=PATCH).transpose(1, 2).reshape(-1, 3 * PATCH * PATCH).double()
    mean = patches.mean(0)
    channels = codec.config.latent_channels
    components = torch.linalg.svd(patches - mean, full_matrices=False)[2][:channels]
    scale = ((patches - mean) @ components.T).square().mean().sqrt()
    kernels = components.view(channels, 3, PATCH, PATCH)
    codec.patches_in.weight.copy_(kernels / scale)
    codec.patches_in.bias.copy_(-(components @ mean) / scale)
    codec.patches_out.weight.copy_(kernels * scale)
    # a bias has one value per colour, and the mean patch is all but flat
    codec.patches_out.bias.copy_(mean.view(3, -1).mean(1))


def reconstruction_loss(decoded: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """L1, squared error, L1 of differences between neighbours (edges) and L1 of 4×4 means (no colour shifts)."""
    error = decoded - pictures
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    coarse = functional.avg_pool2d(error, 4).abs().mean()
    return error.abs().mean() + 0.5 * edges + error.square().mean() + coarse


def decibels(decoded: torch.Tensor, pictures: torch.Tensor) -> float:
    """Mean over the pictures of their peak signal-to-noise ratio; both in [-1, 1]."""
    error = (decoded.clamp(-1, 1) - pictures).square().mean((1, 2, 3))
    return float((10 * torch.log10(4 / error.clamp_min(1e-10))).mean())


@torch.inference_mode()
def check(codec: DrawnCodec, settings: Settings) -> float:
    """Decibels on held-out pictures; the first of them beside their reconstructions as `sheet.png`."""
    found, rows = [], []
    for width, height in SHAPES:
        shown = album(HELD_OUT, CHECKED // len(SHAPES) // 2, width, height, each=2).pictures
        for first in range(0, len(shown), 10):
            batch = shown[first : first + 10]
            decoded = codec(as_input(batch))[0]
            found.append(decibels(decoded, as_input(batch)))
            if first == 0:
                drawn = as_pictures(decoded)
                rows += [[*batch[:5:2], *batch[1:6:2]], [*drawn[:5:2], *drawn[1:6:2]]]
    sheet(rows, settings.output / "codec" / "sheet.png", note=f"{np.mean(found):.2f} dB")
    return float(np.mean(found))


def as_pictures(decoded: torch.Tensor) -> np.ndarray:
    """float (n, 3, height, width) about [-1, 1] → uint8 (n, height, width, 3)."""
    return ((decoded.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
