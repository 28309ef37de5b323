"""What counts as memory that ran out, so that a film is tried again with more room, and what only speaks of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from manifests.errors import Again, NotFinite, Problem, Rejected
from manifests.out_of_memory import out_of_memory


def problem(kind: type[Problem] = Problem, cause: BaseException | None = None) -> Problem:
    made = kind("out of memory/a.mp4 is no video", "give another")
    made.__cause__ = cause
    return made


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        problem(cause=torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")),
        problem(cause=problem(cause=MemoryError())),
    ],
    ids=repr,
)
def test_memory_that_ran_out_is_told_by_its_error_or_by_the_cause_of_a_problem(error: Exception) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        problem(),
        problem(cause=ValueError("moov atom not found")),
        problem(Rejected),
        problem(Rejected, MemoryError()),
        problem(Again, MemoryError()),
        NotFinite("out of memory"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
    ],
    ids=repr,
)
def test_a_row_that_is_rejected_or_quotes_such_words_did_not_run_out_of_memory(error: Exception) -> None:
    assert not out_of_memory(error)


@pytest.mark.parametrize("module", [np, torch])
def test_what_no_machine_has_room_for_says_so(module: object) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as refused:
        module.zeros(2**60, dtype=module.uint8)
    assert out_of_memory(refused.value)
