"""Guidance's branches through a network: together, or one after the other where memory is short."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from manifests.out_of_memory import first_line, out_of_memory

log = logging.getLogger(__name__)


class Branches:
    """Of one clip on one device. Together they share work; one by one, each holds a part of the memory."""

    def __init__(self, together: bool) -> None:
        self.together = together

    def predict(self, count: int, call: Callable[[range], torch.Tensor]) -> torch.Tensor:
        """(`count`, …): what `call` makes of the numbers of some branches, all of them or one at a time.

        From a call of several on that runs out of memory, one at a time.
        """
        if self.together or count == 1:
            try:
                return call(range(count))
            except RuntimeError as error:
                if count == 1 or not out_of_memory(error):
                    raise
                log.warning("branches of guidance go one by one from here on: %s", first_line(error))
            # behind the handler: the error's traceback held what had been computed
            self.together = False
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return torch.cat([call(range(branch, branch + 1)) for branch in range(count)])
