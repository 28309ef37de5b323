"""Text2Video-Zero without a driving video: one scene from a prompt, moved by a motion field between DDIM steps.

Source: SPEC.md section 7. The batch is the anchor, which is never shown, then the film's frames.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from diffusers import DDIMScheduler

from manifests.errors import Rejected
from stages.diffusion.animator import Segment
from stages.diffusion.sampling.denoise import Step
from stages.diffusion.sampling.noise import chunked_noise, frame_noise
from stages.diffusion.text2video_zero.background import Smoothing
from stages.diffusion.text2video_zero.facts import Text2VideoZeroOptions
from stages.diffusion.text2video_zero.motion_field import STILL, MotionField

if TYPE_CHECKING:
    from manifests.clip import Clip

Pass = Literal["single_frame", "batch", "batch_smoothed"]
Noise = tuple[torch.Tensor, torch.Tensor]  # the anchor's (1, 4, h, w), the frames' (frames, 4, h, w)
GRID = 20  # t0 and t1 count timesteps 1, 21, 41 …, whatever the number of steps is


@dataclass(frozen=True)
class TextPath:
    """One segment of a clip's text path around the networks, which come as two functions."""

    clip: Clip
    segment: Segment
    scheduler: DDIMScheduler  # with the clip's timesteps set
    denoise: Callable[[torch.Tensor, DDIMScheduler], Iterator[Step]]  # anchor and frames over those timesteps
    decode: Callable[[torch.Tensor], np.ndarray]  # latents → uint8 (n, height, width, 3)
    smoothing: Smoothing | None = None

    def steps(self, noise: Noise) -> Iterator[tuple[Pass, Step]]:
        """Every step, with the pass it belongs to. The last one's latents are the anchor and the finished frames."""
        options = Text2VideoZeroOptions(**self.clip.options)
        field, begin, start = STILL, 0, torch.cat(noise)
        if options.use_motion_field:
            field = MotionField(options.motion_field_strength_x, options.motion_field_strength_y)
            later, begin = self._jump(options)
            seen = [noise[0]]
            for step in self.denoise(noise[0], between(self.scheduler, 0, later)):
                seen.append(step.latents)
                yield "single_frame", step
            start = torch.cat([seen[begin], self._moved(seen[later][0], field, noise[1], (begin, later))])
        if self.smoothing is None:
            yield from self._batch("batch", start, begin)
            return
        joins = self._jump(options)[1]
        seen = [start]
        for name, step in self._batch("batch", start, begin):
            seen.append(step.latents)
            yield name, step
        frames = [0, *range(self.segment.start, self.segment.stop)]
        masks = self.smoothing.detect(self.decode(seen[-1]))
        smoothed = self.smoothing.blend(seen[joins - begin], torch.from_numpy(masks), frames, field)
        yield from self._batch("batch_smoothed", smoothed, joins)

    def _batch(self, name: Pass, latents: torch.Tensor, begin: int) -> Iterator[tuple[Pass, Step]]:
        for step in self.denoise(latents, between(self.scheduler, begin)):
            yield name, step

    def _moved(
        self, scene: torch.Tensor, field: MotionField, noise: torch.Tensor, jump: tuple[int, int]
    ) -> torch.Tensor:
        """(frames, 4, h, w): the scene as every frame has it, taken from the later timestep back to the earlier one."""
        warped = [field.warp(scene, frame) for frame in range(self.segment.start, self.segment.stop)]
        t1, t0 = self.scheduler.timesteps[list(jump)].tolist()
        # from t0 itself on, where the textbook begins one later (quirk 12)
        kept = self.scheduler.alphas[t0:t1].prod().to(scene.device)
        return kept.sqrt() * torch.stack(warped) + (1 - kept).sqrt() * noise.to(scene)

    def _jump(self, options: Text2VideoZeroOptions) -> tuple[int, int]:
        """(step of t0, step of t1). Parity demands those very timesteps, otherwise the nearest ones serve.

        Raises `Rejected` where the clip's steps leave no room for the jump.
        """
        timesteps, parity = self.scheduler.timesteps, self.clip.mode == "parity"
        wanted = [1 + GRID * options.t0, 1 + GRID * options.t1]
        later, earlier = (int((timesteps - timestep).abs().argmin()) for timestep in wanted)
        exact = timesteps[[later, earlier]].tolist() == wanted and earlier > 0
        if not parity:
            later = max(later, earlier + 1)
        if options.t0 >= options.t1 or later == len(timesteps) or (parity and not exact):
            raise Rejected(
                f"options: t0 {options.t0} and t1 {options.t1} are timesteps {wanted[0]} and {wanted[1]}, between "
                f"which the {len(timesteps)} steps of this row cannot jump",
                "take t0 below t1, and 50 steps, or in parity mode multiples of 5 with 10 steps",
            )
        return later, earlier


def between(scheduler: DDIMScheduler, begin: int, end: int | None = None) -> DDIMScheduler:
    """The same scheduler for steps [begin, end) of its timesteps alone."""
    part = copy.copy(scheduler)
    part.timesteps = scheduler.timesteps[begin:end]
    return part


def starting_noise(clip: Clip, segment: Segment, shape: tuple[int, int, int]) -> Noise:
    """The mode's noise rule. Parity draws chunk by chunk, so `clip.window` and the film's end take part in it.

    Otherwise a frame's noise is its own, whatever the chunks are.
    """
    lengths = [len(chunk) - 1 for chunk in frame_chunks(segment.stop, clip.window)]
    first, rest = chunked_noise(clip.seed, lengths, shape)
    if clip.mode == "parity":
        return first, rest[segment.start :]
    return first, frame_noise(clip.seed, segment.start, segment.stop, shape)


def frame_chunks(num_frames: int, size: int) -> list[list[int]]:
    """The published chunks of at most `size` (≥ 2) frames: the anchor, whose picture is dropped, then new ones.

    The anchor is the clip's first frame. Source: section 2.
    """
    starts = range(0, num_frames, size - 1)
    return [[0, *range(start, min(start + size - 1, num_frames))] for start in starts]
