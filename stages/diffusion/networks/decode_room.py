"""How many frames a device decodes at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Of one call on an accelerator, by area: four at 512×512 fill it, and more would take memory for nothing.
BATCH_PIXELS = 4 * 512 * 512
SPARED = 0.5  # part of the free memory that one call may take: libraries want working space of their own


class DecodeRoom:
    """The frames of one call, for one film.

    On a CPU one. It takes the least memory, and a few per cent more time than what is fastest there: many frames are
    slower, for their tensors fall out of every cache and are new pages to the system in each layer. And a frame is then
    the same to the bit, whatever its film's length and segments are. On a GPU as many as the area allows and fit into
    what is free, which the first call, of one frame, is measured for; half as many after a call that did not fit.
    """

    def __init__(self, device: torch.device, wanted: int | None = None) -> None:
        """`wanted` frames, if they are said, on any device."""
        self._device = device
        self._wanted = wanted
        self._pixel_bytes: float | None = None  # that a call takes at most, for each pixel of its frames
        self._fitted = math.inf  # pixels of which nothing says that they are too many

    def frames(self, pixels: int) -> int:
        """Frames of so many pixels for the next call; 1 at least."""
        if self._wanted is not None:
            number = self._wanted
        elif self._device.type != "cuda" or self._pixel_bytes is None:
            number = 1
        else:
            number = frames_at_once(pixels, self._pixel_bytes, self._free())
        return max(1, int(min(number, self._fitted // pixels)))

    @contextmanager
    def measured(self, pixels: int) -> Iterator[None]:
        """Around a call with that many pixels in all its frames. The first tells how much memory a pixel takes."""
        if self._device.type != "cuda" or self._pixel_bytes is not None:
            yield
            return
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        yield
        self._pixel_bytes = (torch.cuda.max_memory_allocated(self._device) - before) / pixels

    def did_not_fit(self, pixels: int) -> None:
        """A call with that many pixels ran out of memory: later ones get half as many, and what is unused is freed."""
        self._fitted = pixels // 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _free(self) -> int:
        unused = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + unused


def frames_at_once(pixels: int, pixel_bytes: float, free_bytes: int) -> int:
    """Frames of `pixels` in one call on a GPU, where each pixel takes `pixel_bytes`; 1 at least."""
    fitting = int(SPARED * free_bytes / max(pixel_bytes * pixels, 1))
    return max(1, min(BATCH_PIXELS // pixels, fitting))
