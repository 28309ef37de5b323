"""Decoded pictures to 8 bits, over a range of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch


def stretched_frames(decoded: Iterable[torch.Tensor]) -> Iterator[np.ndarray]:
    """Batches (n, 3, height, width) in [0, 1] → uint8 (n, height, width, 3), every frame over its own full range.

    Rounded to 8 bits, then stretched and truncated, as DreamPose's script does (SPEC.md section 7). A frame
    of one colour, of which the script makes NaN, is black.
    """
    for batch in decoded:
        levels = (batch * 255).round().int()
        levels = levels - levels.amin(dim=(1, 2, 3), keepdim=True)
        highest = levels.amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)
        yield _pictures(levels * 255 // highest)


def ranged_frames(decoded: Iterable[torch.Tensor], low: float, high: float) -> Iterator[np.ndarray]:
    """The same with `low` … `high` of [0, 1] over the full range in all frames, rounded; what lies outside is cut."""
    for batch in decoded:
        yield _pictures(((batch - low) / (high - low) * 255).clamp(0, 255).round())


def extremes(decoded: Iterable[torch.Tensor]) -> tuple[float, float]:
    """Lowest and highest value of all frames; [0, 1] where they are all one value."""
    ends = [float(end) for batch in decoded for end in batch.aminmax()]
    low, high = min(ends), max(ends)
    return (low, high) if low < high else (0.0, 1.0)


def _pictures(levels: torch.Tensor) -> np.ndarray:
    return levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
