"""Which errors say that a device's memory did not suffice. Imports no torch."""

from __future__ import annotations


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an exception says. Then the device can go on, with less at once.

    CUDA's allocator has an error of its own; what libraries allocate beside it fails as a general one, in words.
    """
    said = str(error)
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in said or "_STATUS_ALLOC_FAILED" in said


def first_line(error: BaseException) -> str:
    """What an exception says, in short."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
