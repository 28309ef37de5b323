"""How bright a film gets: half precision that overflowed gives frames without a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

DARK = 8  # of 255: nothing in a film that reaches it can be seen
BRIGHT = 32  # a reference that reaches it shows something


class Brightest:
    """The brightest value of all frames that pass through."""

    def __init__(self) -> None:
        self.value = 0

    def of(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The batches of uint8 (n, height, width, 3), looked at."""
        for batch in batches:
            self.value = max(self.value, int(batch.max(initial=0)))
            yield batch
