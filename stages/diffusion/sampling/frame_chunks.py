"""Frames that go through a network together where no two calls share any but an anchor, so that nothing is fused."""

from __future__ import annotations

from collections.abc import Sequence

from stages.diffusion.sampling.windows import Window, averaged


def frame_chunks(num_frames: int, size: int) -> list[list[int]]:
    """Text2Video-Zero's chunks of at most `size` (≥ 2) frames: the anchor, whose picture is dropped, then new ones.

    The anchor is the clip's first frame. Source: text2video_zero/SPEC.md section 2.
    """
    starts = range(0, num_frames, size - 1)
    return [[0, *range(start, min(start + size - 1, num_frames))] for start in starts]


def micro_batches(num_frames: int, size: int) -> Sequence[Window]:
    """The frames in order, `size` at a time. An anchor, frame 0, is in the first and nowhere else."""
    return averaged([list(range(start, min(start + size, num_frames))) for start in range(0, num_frames, size)])
