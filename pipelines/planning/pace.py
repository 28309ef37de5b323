"""How long units of work take: assumed, or measured by a calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from manifests.work import Work
from pipelines.planning.effort import Effort, steps_of
from pipelines.planning.operations import operations_of, windows_of

MEGAPIXEL = 1e6


class Pace(BaseModel):
    """Seconds of one animator's clips, near one size.

    Denoising is `clip` + `frame` for every frame and megapixel + TFLOP at `tflops`; drawing (decoding, encoding) is
    `drawing_clip` + `drawing_frame` for every frame and megapixel, + its TFLOP at `drawing_tflops` where that is given.
    `cpu` is (clip, frame and megapixel, TFLOP) in processor seconds of all of it.
    """

    model_config = ConfigDict(frozen=True)

    animator: str
    pixels: int
    tflops: float
    clip: float
    frame: float
    drawing_clip: float
    drawing_frame: float
    drawing_tflops: float | None = None
    cpu: tuple[float, float, float] | None = None

    def denoising(self, effort: Effort, pixels: int) -> float:
        """Seconds of a worker from the poses to the latents."""
        return self.clip + self.frame * effort.frames * pixels / MEGAPIXEL + effort.denoise_tflop / self.tflops

    def drawing(self, effort: Effort, pixels: int) -> float:
        """Seconds of a worker from the latents to the published film."""
        seconds = self.drawing_clip + self.drawing_frame * effort.frames * pixels / MEGAPIXEL
        return seconds + (effort.draw_tflop / self.drawing_tflops if self.drawing_tflops else 0.0)

    def cpu_seconds(self, effort: Effort, pixels: int) -> float | None:
        """Of the processor, where they have been measured."""
        if self.cpu is None:
            return None
        clip, frame, tflop = self.cpu
        return clip + frame * effort.frames * pixels / MEGAPIXEL + tflop * effort.denoise_tflop


def assumed(animator: str, pixels: int, tflops: float, together: int = 1) -> Pace:
    """Of an animator whose operations are counted, on a device that nobody has measured and that reaches so many.

    So many devices denoise `together`, as often as fast as one; one of them draws.
    """
    return Pace(
        animator=animator,
        pixels=pixels,
        tflops=tflops * together,
        clip=0.5,
        frame=0.05,
        drawing_clip=0.5,
        drawing_frame=0.1,
        drawing_tflops=tflops,
    )


def nearest(paces: Sequence[Pace], animator: str, pixels: int) -> Pace | None:
    """The pace of that animator that was measured at the most similar size."""
    own = [pace for pace in paces if pace.animator == animator]
    return min(own, key=lambda pace: abs(math.log(pace.pixels / pixels)), default=None)


def effort_of(work: Work) -> Effort:
    """What a clip takes. Of an animator that nobody has counted, a frame's megapixel at a step stands for a TFLOP."""
    clip = work.clip
    pixels = (clip.width or 0) * (clip.height or 0)
    if operations := operations_of(clip.animator, pixels, work.checkpoint):
        return operations.effort(work)
    windows, window_frames = windows_of(clip, work.frames, steps_of(clip), fused=True)
    return Effort(work.frames, 1, windows, window_frames, window_frames * pixels / MEGAPIXEL, 0.0)
