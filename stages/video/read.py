"""Reading driving videos, frame by frame. The decoders parse hostile bytes: see stages/sandbox/reading.py."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from stages.video.image import fit
from stages.video.limits import Limits
from stages.video.probe import VideoFacts, examine, probe
from stages.video.stream import UPLOAD_AGAIN, decoded, rejected

__all__ = ["Frames", "VideoFacts", "probe"]


class Frames:
    """An opened driving video.

    facts: what it is; timestamps: seconds from 0, ascending, one per frame. Raises Rejected as `probe` does.
    """

    facts: VideoFacts
    timestamps: list[Fraction]

    def __init__(self, path: Path, limits: Limits, facts: VideoFacts | None = None) -> None:
        """With `facts` of the same file it is not examined, and there are no timestamps."""
        self._path = path
        self._limits = limits
        self.facts, self.timestamps = examine(path, limits) if facts is None else (facts, [])

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield frames as uint8 RGB (height, width, 3), as shown, in presentation order, a few in memory at a time.

        `indices` (not descending, repeats allowed, as `timing.select` gives them) chooses frames; by default all.
        Raises Rejected at a damaged frame, also at one between the chosen ones, and at the end where fewer come out
        than announced: what was made of frames before is only to be kept once the last has been given.
        """
        chosen = list(range(self.facts.frames) if indices is None else indices)
        if chosen != sorted(chosen) or (chosen and not 0 <= chosen[0] <= chosen[-1] < self.facts.frames):
            raise ValueError(f"indices must not descend or leave 0…{self.facts.frames - 1}: {chosen[:8]}…")
        repeats = [(index, len(list(group))) for index, group in groupby(chosen)]
        # strict: the pictures are run to their end, where they are counted.
        for (_, times), stored in zip(repeats, self._pictures([index for index, _ in repeats]), strict=True):
            picture = self._shown(stored)
            for _ in range(times):
                yield picture

    def _pictures(self, indices: list[int]) -> Iterator[np.ndarray]:
        if not indices:
            return
        wanted, colours = set(indices), VideoReformatter()  # which sets up its conversion once
        for index, frame in enumerate(self._decoded(indices[-1])):
            if index in wanted:
                # One thread: for frames of this size PyAV's default of all of them is three times slower.
                yield colours.reformat(frame, format="rgb24", threads=1).to_ndarray()

    def _decoded(self, last: int) -> Iterator[av.VideoFrame]:
        """Decode frames 0…last; where that is all of them, hold their count against the announced one."""
        count = 0
        for count, frame in enumerate(decoded(self._path, self._limits), start=1):
            yield frame
            if count == last + 1 < self.facts.frames:
                return
        if count != self.facts.frames:
            raise rejected(self._path, f"announces {self.facts.frames} frames, of which {count} decode", UPLOAD_AGAIN)

    def _shown(self, stored: np.ndarray) -> np.ndarray:
        """The picture of square pixels, upright."""
        width, height = self.facts.width, self.facts.height
        if self.facts.rotation % 180:
            width, height = height, width
        picture = fit(stored, width, height, "stretch")
        picture = np.rot90(picture, self.facts.rotation // 90)
        return np.ascontiguousarray(picture[:, ::-1] if self.facts.mirrored else picture)
