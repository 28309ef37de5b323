"""What a log line is about: run, row, clip, stage, segment. Set where work begins, read by whoever writes lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Ids = dict[str, str | int]

_ABOUT: ContextVar[Ids] = ContextVar("catwalk_log_context", default={})  # noqa: B039 (never changed, only replaced)
_PROCESS: Ids = {}


def of_process(**ids: str | int) -> None:
    """From now on every line of this process is about these too."""
    _PROCESS.update(ids)


@contextmanager
def about(**ids: str | int | None) -> Iterator[None]:
    """Lines within the block are about these, beside what stands around it; None says nothing."""
    token = _ABOUT.set({**_ABOUT.get(), **{name: value for name, value in ids.items() if value is not None}})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def known() -> Ids:
    """What a line written now is about."""
    return {**_PROCESS, **_ABOUT.get()}
