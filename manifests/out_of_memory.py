"""Which errors say that a device's memory, or the machine's, did not suffice. Imports no torch."""

from __future__ import annotations

from manifests.errors import Problem

# of CUDA, of the libraries that allocate beside its allocator, and of torch's allocator on a CPU
_WORDS = ("out of memory", "_STATUS_ALLOC_FAILED", "DefaultCPUAllocator")


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an exception says. Then the device can go on, with less at once.

    CUDA's allocator has an error of its own, as Python has; others fail as a general one, in words. Those of a
    `Problem` are about a row and quote it, so that its cause is asked; one with a status of its own keeps it.
    """
    if isinstance(error, Problem):
        return type(error) is Problem and error.__cause__ is not None and out_of_memory(error.__cause__)
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or any(words in str(error) for words in _WORDS)


def first_line(error: BaseException) -> str:
    """What an exception says, in short."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
