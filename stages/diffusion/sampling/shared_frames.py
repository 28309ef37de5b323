"""What a network computes for each frame by itself, shared by the windows of a step that hold the frame."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from stages.diffusion.sampling.windows import Window

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Batch:
    """What is computed together when a window's turn comes, and where the results of all its frames come from."""

    frames: list[int]  # those that no earlier window has left
    sources: list[tuple[int, int]]  # of each frame of the window: (number of the window it is computed for, frame)


def batches(windows: Sequence[Window]) -> list[Batch]:
    """The batches of a step: of each window, in order, by the windows alone.

    Kept between windows is what later ones use soonest, at most one window's worth.
    """
    uses: defaultdict[int, deque[tuple[int, int]]] = defaultdict(deque)  # frame → (window, place), in order
    for number, window in enumerate(windows):
        for place, frame in enumerate(window.frames):
            uses[frame].append((number, place))
    kept: dict[int, int] = {}  # frame → number of the window it was computed for
    found = []
    for number, window in enumerate(windows):
        fresh = [frame for frame in dict.fromkeys(window.frames) if frame not in kept]
        kept |= dict.fromkeys(fresh, number)
        found.append(Batch(fresh, [(kept[frame], frame) for frame in window.frames]))
        for frame in window.frames:
            uses[frame].popleft()
        soonest = sorted((frame for frame in kept if uses[frame]), key=lambda frame: uses[frame][0])
        kept = {frame: kept[frame] for frame in soonest[: len(window.frames)]}
    return found


class SharedFrames(Generic[Kept]):
    """Per-frame results within one step, of which this model does all windows or a part of them.

    Which frames are computed together does not depend on the part: their composition may show in the last bits. For its
    first windows, a part computes a batch of earlier ones again. Memory does not grow with the clip.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], Kept] = {}
        self._batches: list[Batch] = []
        self._coming: Iterator[int] = iter(())
        self._last: dict[tuple[int, int], int] = {}  # number of the last window of the part that needs a result

    def begin_step(self, windows: Sequence[Window], share: range) -> None:
        """The results depend on timestep and latents: nothing is kept over a step. `share` are the numbers to come."""
        self._kept = {}
        self._batches = batches(windows)
        self._coming = iter(share)
        self._last = {source: number for number in share for source in self._batches[number].sources}

    def of(self, compute: Callable[[list[int]], list[Kept]]) -> list[Kept]:
        """One result per frame of the next window of the share; `compute` makes those of the frames it is given."""
        number = next(self._coming)
        sources = self._batches[number].sources
        for source in dict.fromkeys(sources):
            if source not in self._kept:
                frames = self._batches[source[0]].frames
                self._kept.update(zip(((source[0], frame) for frame in frames), compute(frames), strict=True))
        results = [self._kept[source] for source in sources]
        self._kept = {source: one for source, one in self._kept.items() if self._last.get(source, -1) > number}
        return results
