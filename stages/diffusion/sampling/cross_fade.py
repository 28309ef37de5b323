"""Latents of independent segments as those of one clip: where two of them overlap, one fades into the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch


class Span(Protocol):
    """Frames [start, stop) of a clip."""

    @property
    def start(self) -> int:
        """The first."""

    @property
    def stop(self) -> int:
        """That behind the last."""


class Spans(Protocol):
    """Segments in order with their latents, read when asked for."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, number: int, /) -> tuple[Span, torch.Tensor]:
        """One of them."""


def cross_faded(parts: Spans) -> Iterator[torch.Tensor]:
    """Latents (n, channels, height, width) one after the other, every frame of the clip once; two segments in memory.

    The first segment of a clip that loops begins before frame 0, and the last one ends as far behind the clip's end:
    they fade into each other there.
    """
    count, begin = len(parts), parts[0][0].start
    num_frames = parts[count - 1][0].stop + begin
    placed = [(number, parts[number][0].start) for number in range(count)]
    if begin < 0:  # the last one once more before the first, and the first behind the last
        placed = [(count - 1, placed[-1][1] - num_frames), *placed, (0, begin + num_frames)]
    tail = None  # of the segment before: its latents from the first frame of this one on
    for (number, start), following in zip(placed, [*placed[1:], None], strict=True):
        latents = parts[number][1]
        if tail is not None and len(tail):
            latents = torch.cat([_faded(tail, latents[: len(tail)]), latents[len(tail) :]])
        stop = len(latents) if following is None else following[1] - start
        tail = latents[stop:]
        inside = latents[max(0, -start) : min(stop, num_frames - start)]
        if len(inside):
            yield inside


def _faded(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """From `before` to `after`, (frames, channels, height, width) both, in even steps."""
    share = torch.arange(1, len(before) + 1, dtype=before.dtype).view(-1, 1, 1, 1) / (len(before) + 1)
    return torch.lerp(before, after, share)
