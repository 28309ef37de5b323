"""The published size rule of Animate Anyone: poses are brought to sides that are multiples of 64."""

from __future__ import annotations

MULTIPLE = 64
RESOLUTION = 512


def resized_size(height: int, width: int, resolution: int = RESOLUTION) -> tuple[int, int]:
    """(height, width) whose short side is about `resolution`; both sides rounded to 64, halves to even.

    The aspect ratio changes by that rounding.
    """
    scale = resolution / min(height, width)
    return round(height * scale / MULTIPLE) * MULTIPLE, round(width * scale / MULTIPLE) * MULTIPLE
