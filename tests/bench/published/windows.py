"""The published window schedule (SPEC section 10)."""

from __future__ import annotations

import math


def uniform(
    frames: int, size: int, stride: int, overlap: int, step: int = 0, closed_loop: bool = True
) -> list[list[int]]:
    """Frame numbers of each window; the clip is a ring."""
    if frames <= size:
        return [list(range(frames))]
    levels = min(stride, math.ceil(math.log2(frames / size)) + 1)
    fraction = int(f"{step:064b}"[::-1], 2) / 2**64
    pad = round(frames * fraction)
    found = []
    for spacing in [2**level for level in range(levels)]:
        start = int(fraction * spacing) + pad
        while start < frames + pad - (0 if closed_loop else overlap):
            found.append([place % frames for place in range(start, start + size * spacing, spacing)])
            start += size * spacing - overlap
    return found
