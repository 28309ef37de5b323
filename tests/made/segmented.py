"""An animator from outside whose segments are short: it paints each frame by itself, and writes down every segment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from pydantic import Field

from stages.diffusion.animator import Denoised, Driving, Facts, Options, Parts, Segment, Segments
from stages.diffusion.sampling.cross_fade import cross_faded
from stages.diffusion.sampling.noise import frame_noise

if TYPE_CHECKING:
    from manifests.clip import Clip

IMPLEMENTATION = "tests.made.segmented:Segmented"


class SegmentedOptions(Options):
    """Where it writes, and how slow it is."""

    folder: str = Field("", description="for the notes")
    seconds: float = Field(0.0, ge=0, description="that a segment takes")
    overflows: int = Field(-1, description="segment that half precision makes NaN of")
    fails: int = Field(-1, description="segment that raises")


class Segmented:
    """The reference with the noise of each frame over it, and a trace of where its segment began."""

    facts = Facts(
        name="segmented",
        implementation=IMPLEMENTATION,
        pose="skeleton",
        reference=True,
        size_multiple=2,
        native_size=(48, 64),
        window=4,
        window_limits=(1, 4),
        overlap=0,
        steps=1,
        guidance=(),
        checkpoint=(),
        licence="MIT",
        options=SegmentedOptions,
        revision="1",
        segments=Segments(8, halo=1),
    )
    nbytes = 0

    def __init__(self, half: bool) -> None:
        self.half = half

    @classmethod
    def load(cls, checkpoint: Path, device: str, dtype: torch.dtype, lora: Any = None) -> Self:
        return cls(dtype != torch.float32)

    def segment(self, clip: Clip, reference: np.ndarray | None, driving: Driving, segment: Segment) -> Denoised:
        options = SegmentedOptions.model_validate(clip.options)
        assert reference is not None
        time.sleep(options.seconds)
        if options.folder:
            note(Path(options.folder), segment)
        if segment.number == options.fails:
            raise ValueError("this segment cannot be made")
        noise = frame_noise(clip.seed, segment.shown(len(driving.poses or ())), (3, *reference.shape[:2]))
        picture = torch.from_numpy(reference).permute(2, 0, 1).float()
        overflow = float("nan") if self.half and segment.number == options.overflows else 0
        return Denoised(picture / 2 + 60 + 20 * noise + segment.start % 5 + overflow)

    def frames(self, parts: Parts, clip: Clip) -> Iterator[np.ndarray]:
        for latents in cross_faded(parts):
            yield latents.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def note(folder: Path, segment: Segment) -> None:
    """Write down who made it."""
    with open(folder / f"{segment.number}.{time.time_ns()}", "x", encoding="utf-8") as one:
        one.write(str(os.getpid()))


def made(folder: Path) -> tuple[list[int], set[str]]:
    """Numbers of the segments that were made, as often as they were, and the processes that did."""
    notes = list(folder.iterdir())
    return sorted(int(one.name.split(".")[0]) for one in notes), {one.read_text() for one in notes}
