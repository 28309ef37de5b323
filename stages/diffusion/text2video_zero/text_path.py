"""Text2Video-Zero without a driving video: one scene from a prompt, moved by a motion field between DDIM steps.

Source: SPEC.md section 7. The batch is the anchor, which is never shown, then the film's frames.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from manifests.errors import Rejected
from stages.diffusion.animator import Segment
from stages.diffusion.sampling.denoise import Step
from stages.diffusion.sampling.noise import chunked_noise, frame_noise
from stages.diffusion.sampling.schedulers import Scheduled, between
from stages.diffusion.text2video_zero.facts import Text2VideoZeroOptions
from stages.diffusion.text2video_zero.motion_field import STILL, MotionField

if TYPE_CHECKING:
    from manifests.clip import Clip

Pass = Literal["single_frame", "batch"]
Noise = tuple[torch.Tensor, torch.Tensor]  # the anchor's (1, 4, h, w), the frames' (frames, 4, h, w)
GRID = 20  # t0 and t1 count timesteps 1, 21, 41 …, whatever the number of steps is


@dataclass(frozen=True)
class TextPath:
    """One segment of a clip's text path around the networks, which come as a function."""

    clip: Clip
    segment: Segment
    scheduler: Scheduled  # with the clip's timesteps set
    noise: Noise
    # anchor and frames over those timesteps, before which so many of the clip's are done
    denoise: Callable[[torch.Tensor, Scheduled, int], Iterator[Step]]

    def steps(self) -> Iterator[tuple[Pass, Step]]:
        """Every step, with the pass it belongs to. The last one's latents are the anchor and the finished frames."""
        begin, latents = yield from self.opening()
        yield from self.batch(latents, begin)

    def opening(self) -> Generator[tuple[Pass, Step], None, tuple[int, torch.Tensor]]:
        """The scene alone, up to t0, where it moves. Returns the step that the batch begins with, and its latents."""
        if not self.options.use_motion_field:
            return 0, torch.cat(self.noise)
        later, earlier = self.jump
        seen = [self.noise[0]]
        for step in self.denoise(seen[0], between(self.scheduler, 0, later), 0):
            seen.append(step.latents)
            yield "single_frame", step
        return earlier, torch.cat([seen[earlier], self._moved(seen[later][0])])

    def batch(self, latents: torch.Tensor, begin: int) -> Iterator[tuple[Pass, Step]]:
        """The anchor and the frames from a step on."""
        for step in self.denoise(latents, between(self.scheduler, begin), begin):
            yield "batch", step

    @property
    def options(self) -> Text2VideoZeroOptions:
        """The clip's own."""
        return Text2VideoZeroOptions(**self.clip.options)

    @property
    def field(self) -> MotionField:
        """How the scene moves."""
        options = self.options
        if not options.use_motion_field:
            return STILL
        return MotionField(options.motion_field_strength_x, options.motion_field_strength_y)

    @property
    def jump(self) -> tuple[int, int]:
        """(step of t0, step of t1). Parity demands those very timesteps, otherwise the nearest ones serve.

        Raises `Rejected` where the clip's steps leave no room for the jump.
        """
        options, timesteps, parity = self.options, self.scheduler.timesteps, self.clip.mode == "parity"
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

    def _moved(self, scene: torch.Tensor) -> torch.Tensor:
        """(frames, 4, h, w): the scene as every frame has it, taken from t0 back to t1."""
        field = self.field
        warped = [field.warp(scene, frame) for frame in range(self.segment.start, self.segment.stop)]
        t0, t1 = self.scheduler.timesteps[list(self.jump)].tolist()
        # from t0 itself on, where the textbook begins one later (quirk 12)
        kept = self.scheduler.alphas[t0:t1].prod().to(scene.device)
        return kept.sqrt() * torch.stack(warped) + (1 - kept).sqrt() * self.noise[1].to(scene)


def starting_noise(clip: Clip, segment: Segment, shape: tuple[int, int, int]) -> Noise:
    """The mode's noise rule. Parity draws chunk by chunk, so `clip.window` and the film's end take part in it.

    Otherwise a frame's noise is its own, whatever the chunks are.
    """
    lengths = [len(chunk) - 1 for chunk in frame_chunks(segment.stop, clip.window)]
    if clip.mode == "parity":
        first, rest = chunked_noise(clip.seed, lengths, shape)
        return first, rest[segment.start :]
    first, _ = chunked_noise(clip.seed, lengths[:1], shape)  # every chunk begins with the same
    return first, frame_noise(clip.seed, range(segment.start, segment.stop), shape)


def frame_chunks(num_frames: int, size: int) -> list[list[int]]:
    """The published chunks of at most `size` (≥ 2) frames: the anchor, whose picture is dropped, then new ones.

    The anchor is the clip's first frame. Source: section 2.
    """
    starts = range(0, num_frames, size - 1)
    return [[0, *range(start, min(start + size - 1, num_frames))] for start in starts]
