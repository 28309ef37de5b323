"""The chunks that Text2Video-Zero denoises together: each is the clip's first frame, the anchor, and some new ones.

Source: specs/text2video_zero.md section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from stages.diffusion.windows import Window, averaged


def frame_chunks(num_frames: int, size: int) -> list[list[int]]:
    """Published chunks of at most `size` (≥ 2) frames: the anchor, whose picture is dropped, then the next ones."""
    starts = range(0, num_frames, size - 1)
    return [[0, *range(start, min(start + size - 1, num_frames))] for start in starts]


def micro_batches(num_frames: int, size: int) -> Sequence[Window]:
    """The frames in order, `size` at a time. The anchor, frame 0, is in the first and nowhere else."""
    return averaged([list(range(start, min(start + size, num_frames))) for start in range(0, num_frames, size)])
