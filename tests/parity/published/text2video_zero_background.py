"""Background smoothing of Text2Video-Zero: what moves with the scene is pulled towards the first frame's background.

The product does without: no published checkpoint finds what is salient.
Source: stages/diffusion/text2video_zero/SPEC.md section 7 ("Background smoothing").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate, max_pool2d

from manifests.clip import Clip
from stages.diffusion.animator import Denoised, Segment
from stages.diffusion.sampling.denoise import Step
from stages.diffusion.text2video_zero.animator import Text2VideoZero
from stages.diffusion.text2video_zero.motion_field import MotionField
from tests.made.seam import frames_of

GROWTH = 5  # latent pixels square by which what is salient is widened


@dataclass(frozen=True)
class Smoothing:
    """What finds the salient objects, and how much of each frame is kept."""

    detect: Callable[[np.ndarray], np.ndarray]  # uint8 (n, height, width, 3) → float32 (n, height, width) in [0, 1]
    strength: float = 0.4

    def steps(self, animator: Text2VideoZero, clip: Clip, segment: Segment) -> Iterator[tuple[str, Step]]:
        """Every step of the text path, with its pass, then those of a second batch from t1 on, which is smoothed."""
        path = animator.text_path(clip, segment)
        begin, start = yield from path.opening()
        seen = [start]
        for name, step in path.batch(start, begin):
            seen.append(step.latents)
            yield name, step
        masks = self.detect(np.concatenate(list(frames_of(animator, Denoised(seen[-1]), clip))))
        joins, frames = path.jump[1], [0, *range(segment.start, segment.stop)]
        smoothed = self.blend(seen[joins - begin], torch.from_numpy(masks), frames, path.field)
        for _, step in path.batch(smoothed, joins):
            yield "batch_smoothed", step

    def blend(
        self, latents: torch.Tensor, masks: torch.Tensor, frames: Sequence[int], field: MotionField
    ) -> torch.Tensor:
        """Latents (n, 4, h, w) at t1, the first of them the anchor's, with a common background.

        `masks` (n, height, width) are 1 where a frame shows what is salient; `frames` are numbers in the film.
        """
        salient = interpolate(masks.to(latents)[:, None], latents.shape[-2:], mode="nearest")
        salient = max_pool2d(salient, GROWTH, stride=1, padding=GROWTH // 2)
        behind = latents[0] * (1 - salient[0])
        moved = torch.stack([behind, *(field.warp(behind, frame) for frame in frames[1:])])
        hidden = torch.stack([salient[0], *(field.warp(salient[0], frame) for frame in frames[1:])])
        background = (1 - salient) * (1 - hidden)
        return (1 - background) * latents + background * (self.strength * latents + (1 - self.strength) * moved)
