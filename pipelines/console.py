"""What a command says to the person who runs it, and how it takes the order to end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from manifests.shown_text import visible, visible_json


class Terminated(KeyboardInterrupt):
    """The process was told to end (SIGTERM): it unwinds as after ctrl-C, and leaves nothing behind."""


class Console:
    """Lines for a person on stderr, so that stdout can be piped; on a terminal the last one may be written over."""

    def __init__(self, quiet: bool = False, verbose: bool = False, structured: bool = False) -> None:
        """`quiet` says nothing but why a command failed; `verbose` says where it did; `structured` says it in JSON."""
        self.quiet = quiet
        self.verbose = verbose
        self.structured = structured
        self._written_over = False

    @property
    def terminal(self) -> bool:
        """Whether a line can be written over, and is wanted."""
        return sys.stderr.isatty() and not self.quiet and not self.structured

    def say(self, line: str) -> None:
        """One line."""
        if not self.quiet:
            self._tell("info", line)

    def pass_on(self, text: str) -> None:
        """What another process has said, as it comes."""
        if not self.quiet:
            self._write(text, colours=True)

    def live(self, line: str) -> None:
        """A line that the next one replaces."""
        self._write(line[: shutil.get_terminal_size().columns - 1])
        self._written_over = True

    def failed(self, error: str, remedy: str = "") -> None:
        """Why the command ends badly; inside a handler, with the traceback if it is wanted."""
        if self.verbose and sys.exc_info()[0] is not None:
            self.unforeseen()
        if self.structured:
            self._tell("error", error, remedy=remedy)
            return
        self._write(_without_secrets(f"catwalk: {error}\n" + (f"  → {remedy}\n" if remedy else "")))

    def unforeseen(self) -> None:
        """Inside a handler, an exception that nobody has words for: where it arose, without the secrets of URIs."""
        if self.structured:
            self._tell("error", "traceback", exception=traceback.format_exc())
            return
        self._write(_without_secrets(traceback.format_exc()))

    def _tell(self, level: str, line: str, **more: str) -> None:
        if self.structured:
            from pipelines.watching.logs import json_line

            line = json_line(level, line.strip(), more)
        self._write(line + "\n")

    def _write(self, text: str, colours: bool = False) -> None:
        clear = "\r\x1b[2K" if self._written_over else ""
        self._written_over = False
        print(clear + visible(text, colours), end="", file=sys.stderr, flush=True)  # noqa: T201


def _without_secrets(text: str) -> str:
    """Any text, without the secrets of URIs."""
    from manifests.storage import redact_text  # whose packages a command that only explains itself need not load

    return redact_text(text)


def print_json(value: dict[str, Any]) -> None:
    """For other programs, on stdout."""
    print_part(visible_json(json.dumps(value, ensure_ascii=False, indent=2)) + "\n")


def print_text(text: str) -> None:
    """What a command was asked for, on stdout; a reader who has read enough, such as `head`, may close it."""
    print_part(visible(text, colours=True) + "\n")


def print_part(text: str) -> None:
    """The same, without a line's end."""
    try:
        print(text, end="", flush=True)  # noqa: T201
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends


class Orders:
    """Which signal told the process to end first: "SIGTERM" or "Ctrl-C"; None while nobody has."""

    def __init__(self) -> None:
        self.first: str | None = None


@contextmanager
def orders_noted() -> Iterator[Orders]:
    """Within the block the first SIGTERM or ctrl-C is noted, so that what goes on can end well; a second one is raised.

    Python takes handlers from the main thread alone: in any other one nothing is noted.
    """
    orders = Orders()
    if threading.current_thread() is not threading.main_thread():
        yield orders
        return

    def note(number: int, frame: FrameType | None) -> None:
        if orders.first is not None:
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
        orders.first = "SIGTERM" if number == signal.SIGTERM else "Ctrl-C"

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield orders
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def told_to_end() -> Iterator[None]:
    """Within the block, SIGTERM is raised as `Terminated`, so that files in the making are removed.

    It and ctrl-C leave the block as such, even where a library that was at work made an error of its own out of them.
    """
    orders: list[KeyboardInterrupt] = []

    def end(number: int, frame: FrameType | None) -> None:
        orders.append(Terminated() if number == signal.SIGTERM else KeyboardInterrupt())
        raise orders[-1]

    if threading.current_thread() is not threading.main_thread():
        yield  # Python takes handlers from the main thread alone
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except Exception as error:
        if orders:
            raise orders[0] from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
