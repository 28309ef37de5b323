"""Batches that are used up in a thread beside the one that makes them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from stages.video.beside import Abandoned, used_beside

PATIENCE = 20.0
CLIP: ContextVar[str] = ContextVar("CLIP", default="")


def numbers(made: list[int], upto: int = 100) -> Iterator[int]:
    for number in range(upto):
        made.append(number)
        yield number


def test_every_batch_is_used_once_and_in_order_in_another_thread_of_the_same_context() -> None:
    CLIP.set("a")
    used, where = used_beside(numbers([]), lambda batches: (list(batches), (threading.get_ident(), CLIP.get())))
    assert used == list(range(100))
    assert where[0] != threading.get_ident()
    assert where[1] == "a"


def test_the_next_batches_are_made_while_one_is_in_use_and_no_more_than_may_wait() -> None:
    made: list[int] = []
    enough = threading.Event()

    def batches() -> Iterator[int]:
        for number in numbers(made, 10):
            if number == 3:  # beside the one in use, and two that wait
                enough.set()
            yield number

    def use_up(given: Iterator[int]) -> list[int]:
        first = next(given)
        assert enough.wait(PATIENCE), "made while the first one is in use"
        assert made == [0, 1, 2, 3]
        behind = [len(made) - used for used, _ in enumerate(given, 2)]
        assert max(behind) <= 4
        return [first]

    assert used_beside(batches(), use_up) == [0]


def test_where_no_more_can_be_made_the_user_is_told_and_the_reason_raised(caplog: pytest.LogCaptureFixture) -> None:
    told: list[type] = []

    def broken() -> Iterator[int]:
        yield 0
        raise ValueError("not finite")

    def use_up(given: Iterator[int]) -> None:
        try:
            list(given)
        except Abandoned:
            told.append(Abandoned)
            raise

    with pytest.raises(ValueError, match="not finite"):
        used_beside(broken(), use_up)
    assert told == [Abandoned]
    assert not caplog.records


@pytest.mark.parametrize("first", ["maker", "user"])
def test_where_both_fail_one_is_raised_and_the_other_logged(first: str, caplog: pytest.LogCaptureFixture) -> None:
    used = threading.Event()

    def broken() -> Iterator[int]:
        yield 0
        if first == "user":
            assert used.wait(PATIENCE)
        raise ValueError("not finite")

    def use_up(given: Iterator[int]) -> None:
        try:
            next(given)
            if first == "maker":
                next(given)
        except Abandoned:  # while it ends what it has begun
            pass
        used.set()
        raise OSError("no space left on device")

    with pytest.raises(ValueError, match="not finite"):
        used_beside(broken(), use_up)
    assert [record.getMessage() for record in caplog.records] == [
        "beside it, the use of what was made failed: OSError: no space left on device"
    ]


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_where_the_user_fails_no_more_are_made(taken: int) -> None:
    made: list[int] = []
    closed = threading.Event()

    def batches() -> Iterator[int]:
        try:
            yield from numbers(made)
        finally:
            closed.set()

    def use_up(given: Iterator[int]) -> None:
        for _ in range(taken):
            next(given)
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        used_beside(batches(), use_up)
    assert len(made) <= taken + 4
    assert closed.is_set()
