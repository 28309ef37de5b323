"""The animator's training data: procedural people as latents of the codec, with their keypoints."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manifests.errors import Problem
from pipelines.training.codec import as_input
from pipelines.training.optimisation import Settings, autocast
from pipelines.training.pictures import SHAPES, STILLS, sitting
from stages.diffusion.drawn.codec import DrawnCodec

SHARD = 50  # characters of one file of pictures
ARRAYS = ("latents", "keypoints", "stills")


class Dataset:
    """Encoded pictures of one shape, as `run` wrote them into `folder`.

    `latents` float16 (characters, 12, 8, height/8, width/8), as the codec gives them: divide by `latent_std`.
    `keypoints` float32 (characters, 12, 23, 3): x, y in pixels and visibility. Of the 12 pictures of a character
    4 are stills and 8 consecutive frames (`pipelines.training.pictures`). `stills` uint8 (characters, 4, height, width,
    3): these are the references, to be warped. Raises `Problem` when there is no dataset.
    """

    def __init__(self, folder: Path) -> None:
        try:
            index = json.loads((folder / "index.json").read_text())
        except FileNotFoundError:
            raise Problem(f"there is no dataset in {folder}", "run python -m pipelines.training dataset") from None
        self.width: int = index["width"]
        self.height: int = index["height"]
        self.latent_std: float = index["latent_std"]
        self.latents = np.load(folder / "latents.npy", mmap_mode="r")
        self.keypoints = np.load(folder / "keypoints.npy")
        self.stills = np.load(folder / "stills.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self.latents)


@dataclass(frozen=True)
class Shard:
    """Pictures of consecutive characters on disk."""

    file: Path
    first_seed: int
    characters: int
    width: int
    height: int


def run(settings: Settings) -> None:
    """Build the dataset of the recipe's size."""
    build(settings, settings.choose(cpu=(3800, 600), gpu=(20_000, 4000)))


def build(settings: Settings, people: tuple[int, int]) -> None:
    """Draw `people` of each shape and encode them into `output/data/<width>x<height>`, one folder per shape.

    The codec's `latent_std` becomes what it is over everything. What an interrupted run has drawn is used again.
    """
    codec = settings.output / "codec"
    if not (codec / "config.json").exists():
        raise Problem(f"there is no codec in {codec}", "run python -m pipelines.training codec first")
    planned = plan(settings.output / "pictures", people)
    with workers() as pool:
        draw_missing(planned, pool)
        encode = functools.partial(encode_shard, codec=codec, device=settings.device)
        written = {data_folder(settings, shards): shards for shards in planned}
        moments = [write(pool.map(encode, shards), folder, characters_of(shards)) for folder, shards in written.items()]
    std = latent_std(np.sum(moments, axis=0))
    config = json.loads((codec / "config.json").read_text()) | {"latent_std": std}
    (codec / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for folder, shards in written.items():
        write_index(shards, folder, std)
        for shard in shards:
            shard.file.unlink()


def data_folder(settings: Settings, shards: Sequence[Shard]) -> Path:
    """Where the dataset of these shards' shape is."""
    return settings.output / "data" / f"{shards[0].width}x{shards[0].height}"


def characters_of(shards: Sequence[Shard]) -> int:
    """How many characters all shards hold."""
    return sum(shard.characters for shard in shards)


def plan(folder: Path, people: tuple[int, int]) -> list[list[Shard]]:
    """The shards of every shape; characters are numbered through all shapes, so that none is drawn in two."""
    first, planned = 0, []
    for (width, height), count in zip(SHAPES, people, strict=True):
        within = folder / f"{width}x{height}"
        seeds = range(first, first + count, SHARD)
        first += count
        planned.append(
            [Shard(within / f"{seed:06d}.npz", seed, min(SHARD, first - seed), width, height) for seed in seeds]
        )
    return planned


def draw_missing(planned: Sequence[Sequence[Shard]], pool: Executor) -> None:
    """Draw the pictures of all shards whose files are not there yet."""
    missing = [shard for shards in planned for shard in shards if not shard.file.exists()]
    for _ in pool.map(draw_shard, missing):
        pass


def draw_shard(shard: Shard) -> None:
    """Draw one shard's pictures into its file, whole or not at all."""
    sittings = [
        sitting(seed, shard.width, shard.height)
        for seed in range(shard.first_seed, shard.first_seed + shard.characters)
    ]
    shard.file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = shard.file.with_suffix(".part.npz")
    pictures, keypoints = ([getattr(sat, field) for sat in sittings] for field in ("pictures", "keypoints"))
    np.savez(unfinished, pictures=np.stack(pictures), keypoints=np.stack(keypoints))
    os.replace(unfinished, shard.file)


def write(encoded: Iterable[tuple[np.ndarray, ...]], folder: Path, characters: int) -> np.ndarray:
    """Write the ARRAYS of one shape, shard by shard; returns count, sum and sum of squares of its latents, float64."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[np.memmap] = []
    first, moments = 0, np.zeros(3)
    for arrays in encoded:
        if not files:
            files = [
                np.lib.format.open_memmap(folder / f"{name}.npy", "w+", array.dtype, (characters, *array.shape[1:]))
                for name, array in zip(ARRAYS, arrays, strict=True)
            ]
        for file, array in zip(files, arrays, strict=True):
            file[first : first + len(array)] = array
        first += len(arrays[0])
        latents = arrays[0].astype(np.float64)
        moments += latents.size, latents.sum(), np.square(latents).sum()
    for file in files:
        file.flush()
    return moments


@torch.inference_mode()
def encode_shard(shard: Shard, codec: Path, device: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One shard's latents, float16, keypoints and stills."""
    network = _codec(codec, device)
    with np.load(shard.file) as stored:
        pictures, keypoints = stored["pictures"], stored["keypoints"]
    encoded = []
    for of_one in pictures:
        with autocast(device):
            encoded.append(network.encode(as_input(of_one).to(device)).half().cpu().numpy())
    return np.stack(encoded), keypoints, pictures[:, :STILLS]


@functools.cache
def _codec(folder: Path, device: str) -> DrawnCodec:
    return DrawnCodec.from_pretrained(folder).to(device, memory_format=torch.channels_last).eval()


def latent_std(moments: np.ndarray) -> float:
    """The standard deviation of everything that count, sum and sum of squares are of."""
    count, total, squares = moments
    return float(np.sqrt(squares / count - (total / count) ** 2))


def write_index(shards: Sequence[Shard], folder: Path, std: float) -> None:
    """`index.json`, last of a dataset's files: where it is, the dataset is complete."""
    index: dict[str, Any] = {
        "width": shards[0].width,
        "height": shards[0].height,
        "characters": characters_of(shards),
        "first_seed": shards[0].first_seed,
        "latent_std": std,
    }
    (folder / "index.json").write_text(json.dumps(index, indent=2) + "\n")


def workers() -> Executor:
    """One process for each core."""
    context = get_context("forkserver")
    return ProcessPoolExecutor(mp_context=context, initializer=torch.set_num_threads, initargs=(1,))
