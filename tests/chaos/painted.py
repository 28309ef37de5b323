"""An animator from outside that costs nothing: it paints the pose over the reference, and writes down each frame."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from stages.diffusion.animator import Denoised, Driving, Facts, Options, Parts, Segment

if TYPE_CHECKING:
    import torch

    from manifests.clip import Clip
    from stages.diffusion.weights.lora import Lora

NAME = "painted"
IMPLEMENTATION = "tests.chaos.painted:Painted"
WORK_LOG = "CATWALK_CHAOS_WORK"  # folder in which every worker writes down the frames that it has painted


class PaintedOptions(Options):
    """How long it takes."""

    seconds: float = Field(0.0, ge=0, description="of a film, spent waiting, spread over its frames")


class Painted:
    """Every frame depends on its pose, the whole reference and the seed: a mistake in any of them shows in the film."""

    facts = Facts(
        name=NAME,
        implementation=IMPLEMENTATION,
        pose="skeleton",
        reference=True,
        size_multiple=2,
        native_size=(48, 64),
        window=16,
        window_limits=(1, 10_000),
        overlap=0,
        steps=1,
        guidance=(),
        checkpoint=(),
        licence="Apache-2.0",
        options=PaintedOptions,
        modes=("standard",),
        revision="1",
    )
    nbytes = 0

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype, lora: Lora | None = None) -> Self:
        return cls()

    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        """uint8 (frames, height, width, 3): half reference, half pose, shifted by the seed."""
        import torch  # which all other processes of a run do without

        assert reference is not None
        assert driving.poses is not None
        options = PaintedOptions.model_validate(clip.options)
        ground = resized(reference, clip) // 2
        painted = np.empty((len(segment), *ground.shape), np.uint8)
        for number in range(segment.start, segment.stop):
            time.sleep(options.seconds / len(segment))
            painted[number - segment.start] = (
                np.roll(ground, clip.seed, axis=1) + resized(driving.poses[number], clip) // 2
            )
            write_down(f"paint {clip.id} {number}")
            segment.told(number / segment.stop, 1)
        return Denoised(torch.from_numpy(painted))

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        for segment, latents in parts:
            for number in range(segment.start, segment.stop):
                write_down(f"encode {clip.id} {number}")
            yield latents.numpy()


def resized(picture: np.ndarray, clip: Clip) -> np.ndarray:
    """The nearest pixels of a uint8 (height, width, 3) picture at the clip's size."""
    assert clip.height is not None
    assert clip.width is not None
    rows = np.arange(clip.height) * picture.shape[0] // clip.height
    columns = np.arange(clip.width) * picture.shape[1] // clip.width
    return np.asarray(picture, np.uint8)[rows][:, columns]


def write_down(line: str) -> None:
    """Add a line to this process's own file: it is closed at once, so that a kill takes none back."""
    if folder := os.environ.get(WORK_LOG):
        with open(Path(folder) / f"{os.getpid()}.log", "a", encoding="utf-8") as log:
            log.write(line + "\n")


def written_down(folder: Path, what: str) -> int:
    """How many frames all workers have painted ("paint") or encoded ("encode"), those of killed tries too."""
    lines = (line for log in folder.glob("*.log") for line in log.read_text(encoding="utf-8").splitlines())
    return sum(line.startswith(f"{what} ") for line in lines)
