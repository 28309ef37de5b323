"""Batches made in one thread and used up in another, so that a GPU draws the next ones meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from queue import Empty, Queue
from typing import TypeVar

log = logging.getLogger(__name__)

Batch = TypeVar("Batch")
Done = TypeVar("Done")


class Abandoned(Exception):
    """What comes out of the batches, in the thread that uses them up, where no more can be made."""


def used_beside(batches: Iterable[Batch], use_up: Callable[[Iterator[Batch]], Done], ahead: int = 2) -> Done:
    """What `use_up` answers, in a thread of its own; this one makes the batches, `ahead` at most that nobody has taken.

    Raises what either raises; what this one raises where both do, and the other is logged. Where `use_up` fails or has
    enough, no more are made; where no more can be made, it is told by `Abandoned`, so that it leaves nothing half
    finished.
    """
    waiting: Queue[tuple[Batch] | type[Abandoned] | None] = Queue(ahead)

    def handed() -> Iterator[Batch]:
        while (one := waiting.get()) is not None:
            if not isinstance(one, tuple):
                raise Abandoned
            yield one[0]

    def drain(_: Future[Done]) -> None:  # a batch that waits for its place has it now
        try:
            while True:
                waiting.get_nowait()
        except Empty:
            return

    with ThreadPoolExecutor(1, "beside") as thread:
        user = thread.submit(copy_context().run, use_up, handed())
        user.add_done_callback(drain)
        try:
            for batch in batches:
                if user.done():
                    break
                waiting.put((batch,))
            if not user.done():
                waiting.put(None)
        except BaseException:
            if not user.done():
                waiting.put(Abandoned)
            _log_failure(user)
            raise
        finally:
            if isinstance(batches, Generator):
                batches.close()
        return user.result()


def _log_failure(user: Future[Done]) -> None:
    """Say what ended the use of the batches, which nobody will be told otherwise, unless it was told to end."""
    error = user.exception()
    if error is not None and not isinstance(error, Abandoned):
        log.warning("beside it, the use of what was made failed: %s: %s", type(error).__name__, error)
