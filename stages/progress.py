"""How far a stage has come with one clip, for whoever wants to show it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

Told = Callable[[str, float, float], None]  # what is being done, how much of it is done, and how much there is

Item = TypeVar("Item")
Batch = TypeVar("Batch", bound=Sized)


def silent(part: str, done: float, whole: float) -> None:
    """Nobody listens."""


def counted(items: Iterable[Item], whole: int, part: str, told: Told) -> Iterator[Item]:
    """The items, each told of when the next one is asked for."""
    for number, item in enumerate(items, 1):
        yield item
        told(part, number, whole)


def counted_batches(batches: Iterable[Batch], whole: int, part: str, told: Told) -> Iterator[Batch]:
    """The batches of `whole` items, told of in items."""
    done = 0
    for batch in batches:
        yield batch
        done += len(batch)
        told(part, done, whole)
