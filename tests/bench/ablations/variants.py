"""How a film is made: the recipe as shipped, and that with one thing changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from manifests.clip import Clip
from stages.diffusion.animator import Animator, Driving, PosePictures, Segment, Segments
from stages.diffusion.sampling.windows import Window, window_plan
from stages.diffusion.segments import segments_of


@dataclass(frozen=True)
class Variant:
    """What is changed."""

    fields: dict[str, Any] = field(default_factory=dict)  # of the clip
    options: dict[str, Any] = field(default_factory=dict)  # of the animator
    ring: bool = False  # the published windows in place of open ones
    segments: Segments | None = None  # none: the clip as a whole

    def of(self, clip: Clip) -> Clip:
        """The clip as this variant makes it."""
        return clip.model_copy(update={**self.fields, "options": self.options})


def four_segments(frames: int, halo: int) -> Segments:
    """Of a clip of so many frames."""
    return Segments(-(-frames // 4), halo=halo)


def variants(frames: int) -> dict[str, Variant]:
    """Those of a clip of so many frames, by name; the first is the recipe as shipped."""
    return {
        "as shipped": Variant(),
        "without temporal modules": Variant(options={"motion": False}),
        "overlap 0": Variant({"overlap": 0}),
        "overlap 2": Variant({"overlap": 2}),
        "overlap 8": Variant({"overlap": 8}),
        "published ring": Variant(ring=True),
        **{f"4 segments, halo {halo}": Variant(segments=four_segments(frames, halo)) for halo in (0, 8, 16)},
        "loop": Variant({"loop": True}),
        "loop, 4 segments, halo 16": Variant({"loop": True}, segments=four_segments(frames, 16)),
    }


def independent_noise(frames: int) -> dict[str, Variant]:
    """Some of them with noise of each frame's own, as published systems have it: temporal modules have more to do."""
    own = {"noise": "independent"}
    return {
        "independent noise": Variant(options=own),
        "independent noise, without temporal modules": Variant(options={"motion": False, **own}),
        "independent noise, overlap 0": Variant({"overlap": 0}, own),
        "independent noise, published ring": Variant(options=own, ring=True),
        **{
            f"independent noise, 4 segments, halo {halo}": Variant(options=own, segments=four_segments(frames, halo))
            for halo in (0, 16)
        },
    }


def parts_of(
    animator: Animator, clip: Clip, reference: np.ndarray, poses: PosePictures, variant: Variant
) -> list[tuple[Segment, torch.Tensor]]:
    """The denoised segments of a clip."""
    clip = variant.of(clip)
    segments = segments_of(clip, replace(animator.facts, segments=variant.segments), len(poses))
    room = sys.modules[type(animator).__module__]
    with patch.object(room, "window_plan", ring if variant.ring else window_plan):
        made = [animator.segment(clip, reference, Driving(poses), one) for one in segments]
    return [(replace(one, kept=of.kept), of.latents) for one, of in zip(segments, made, strict=True)]


def ring(
    clip: Clip, num_frames: int, stride: int, begin: int = 0, whole: bool = True
) -> Callable[[int], Sequence[Window]]:
    """The published windows, in a clip that is otherwise of standard mode."""
    return window_plan(clip.model_copy(update={"mode": "parity"}), num_frames, stride, begin, whole)


def window_borders(clip: Clip, frames: int, variant: Variant) -> list[int]:
    """Frames that, at some step, do not lie in the same windows as the frame before them."""
    plan = (ring if variant.ring else window_plan)(variant.of(clip), frames, 1)
    found = set()
    for step in range(clip.steps):
        holding = [set[int]() for _ in range(frames)]
        for number, window in enumerate(plan(step)):
            for frame in window.frames:
                holding[frame].add(number)
        found |= {frame for frame in range(1, frames) if holding[frame] != holding[frame - 1]}
    return sorted(found)


def segment_borders(frames: int, segments: Segments | None) -> list[int]:
    """The first frame of each segment but the first."""
    return [] if segments is None else list(range(segments.frames, frames - segments.frames // 2 + 1, segments.frames))
