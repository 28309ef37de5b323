"""How much memory something takes while it runs: Python's and numpy's, not what C++ libraries take for themselves."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")


def peak_of(work: Callable[[], Made]) -> tuple[Made, int]:
    """What `work` returns, and the bytes that it had taken at most, the result's own included."""
    tracemalloc.start()
    try:
        made = work()
        return made, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
