"""Reading driving videos, frame by frame. For CPU workers: the decoders parse hostile bytes in this process."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import av
import numpy as np

from stages.video.image import fit
from stages.video.limits import Limits
from stages.video.probe import VideoFacts, examine, probe
from stages.video.stream import DECODER_THREADS, UPLOAD_AGAIN, decoded, rejected

__all__ = ["Frames", "VideoFacts", "probe"]


class Frames:
    """An opened driving video.

    facts: what it is (`reader` and `why` change if decord fails on the way); timestamps: seconds from 0, ascending,
    one per frame. Raises Rejected as `probe` does.
    """

    facts: VideoFacts
    timestamps: list[Fraction]

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self.facts, self.timestamps = examine(path, limits)

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield frames as uint8 RGB (height, width, 3), as shown, in presentation order, a few in memory at a time.

        `indices` (not descending, repeats allowed, as `timing.select` gives them) chooses frames; by default all.
        decord shows damaged frames without a word, so PyAV decodes everything up to the last chosen frame once before
        decord hands out the first. (Of 25 damaged files each, PyAV noticed 19 of H.264, 23 of ProRes and 11 of AV1,
        decord2 3.4.0 none, none and 11.) Raises Rejected at a damaged frame and where fewer come out than announced.
        PyAV takes over, with the same pixels, where decord raises or counts other than `facts.frames`.
        """
        chosen = list(range(self.facts.frames) if indices is None else indices)
        if chosen != sorted(chosen) or (chosen and not 0 <= chosen[0] <= chosen[-1] < self.facts.frames):
            raise ValueError(f"indices must not descend or leave 0…{self.facts.frames - 1}: {chosen[:8]}…")
        repeats = [(index, len(list(group))) for index, group in groupby(chosen)]
        # strict: the readers are run to their end, where they count.
        for (_, times), stored in zip(repeats, self._pictures([index for index, _ in repeats]), strict=True):
            picture = self._shown(stored)
            for _ in range(times):
                yield picture

    def _pictures(self, indices: list[int]) -> Iterator[np.ndarray]:
        done = 0
        if indices and self.facts.reader == "decord":
            for _ in self._decoded(indices[-1]):
                pass
            try:
                for picture in self._from_decord(indices):
                    yield picture
                    done += 1
            except Exception as error:  # RuntimeError or DECORDError, as the fault may be
                why = f"decord failed after {done} frames: {_reason(error)}"
                self.facts = replace(self.facts, reader="pyav", why=why)
        if indices[done:]:
            yield from self._from_pyav(indices[done:])

    def _from_decord(self, indices: list[int]) -> Iterator[np.ndarray]:
        import decord  # only where it is used: its wheel brings another FFmpeg into the process

        decord.logging.set_level(decord.logging.QUIET)
        video = decord.VideoReader(str(self._path), num_threads=DECODER_THREADS)
        if len(video) != self.facts.frames:
            raise RuntimeError(f"it counts {len(video)} frames, there are {self.facts.frames}")
        shape = (*reversed(self.facts.stored), 3)
        wanted = set(indices)
        for index in range(indices[-1] + 1):
            # Never video[index] or skip_frames: both seek, and land on wrong frames in open GOPs (x265's default),
            # intra refresh and fragmented MP4.
            picture = video.next()
            if picture.shape != shape:
                raise RuntimeError(f"it gives a frame of {picture.shape}, not {shape}")
            if index in wanted:
                yield picture.asnumpy()

    def _from_pyav(self, indices: list[int]) -> Iterator[np.ndarray]:
        wanted = set(indices)
        for index, frame in enumerate(self._decoded(indices[-1])):
            if index in wanted:
                # One thread: for frames of this size PyAV's default of all of them is three times slower.
                yield frame.reformat(format="rgb24", threads=1).to_ndarray()

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


def _reason(error: Exception) -> str:
    """Return decord's message without its time of day, source line and path."""
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"\[[^]]*\]\s*|\S+\.cc:\d+:\s*", "", first_line)[:200]
