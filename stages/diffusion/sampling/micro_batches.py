"""Frames that go through a network together where none is in two windows, so that nothing is fused."""

from __future__ import annotations

from collections.abc import Sequence

from stages.diffusion.sampling.windows import Window, averaged


def micro_batches(num_frames: int, size: int) -> Sequence[Window]:
    """The frames in order, `size` at a time: frame 0 is in the first and nowhere else."""
    return averaged([list(range(start, min(start + size, num_frames))) for start in range(0, num_frames, size)])
