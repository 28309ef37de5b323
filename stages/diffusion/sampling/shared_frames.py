"""What a network computes for each frame by itself, shared by the windows of a step that hold the frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from stages.diffusion.sampling.windows import Window

Kept = TypeVar("Kept")


class SharedFrames(Generic[Kept]):
    """Per-frame results within one step.

    Kept between windows: what later windows of the step use soonest, at most one window's worth. Memory does not grow
    with the clip.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Kept] = {}
        self._windows: list[Window] = []

    def begin_step(self, windows: Sequence[Window]) -> None:
        """The results depend on timestep and latents: nothing is kept over a step."""
        self._kept = {}
        self._windows = list(windows)

    def of(self, window: Window, compute: Callable[[list[int]], list[Kept]]) -> list[Kept]:
        """One result per frame of the window; windows must come in the order given to `begin_step`.

        `compute` gets the places in the window of the frames that no earlier window has left, and returns one result
        for each.
        """
        self._windows.remove(window)
        places = {frame: place for place, frame in enumerate(window.frames) if frame not in self._kept}
        if places:
            self._kept.update(zip(places, compute(list(places.values())), strict=True))
        results = [self._kept[frame] for frame in window.frames]
        self._drop(limit=len(window.frames))
        return results

    def _drop(self, limit: int) -> None:
        soonest = dict.fromkeys(frame for later in self._windows for frame in later.frames if frame in self._kept)
        self._kept = {frame: self._kept[frame] for frame in list(soonest)[:limit]}
