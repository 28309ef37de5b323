"""One reading, in the process that was made for it: ask, give up everything else, read, answer, end."""

from __future__ import annotations

import errno
import os
import socket
import traceback
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from manifests.errors import Problem
from stages.sandbox.confinement import Bounds, confine, die_with
from stages.sandbox.messages import Closed, Malformed, Message, receive, send

FIRST_FILE = 100  # the descriptor that the first file is given; decoders take theirs from below
MOST_ARRAY_BYTES = 2**28  # in a request, which the worker has written
LONGEST_TRACEBACK = 8000


class Answer(NamedTuple):
    """What a reader gives, once, or one after the other and a `last` one: JSON and arrays."""

    data: Any = None
    arrays: tuple[np.ndarray, ...] = ()
    last: bool = True


Answers = Generator[Answer, None, Answer | None]


class Reader(NamedTuple):
    """`call` is given the paths of a request's files, then its arrays, and its arguments by name.

    modules: imported before the first copy of the process is made; program: whose path a reader asks for that starts
    it; told: whether `call` is told, as `active`, what the process is denied.
    """

    call: Callable[..., Answer | Answers | None]
    modules: tuple[str, ...] = ()
    program: Callable[[], str] | None = None
    told: bool = False


class NamedPath(type(Path())):  # type: ignore[misc]
    """The path under which a descriptor opens anew, which calls itself by the file's own name."""

    __slots__ = ("_shown",)

    @classmethod
    def of(cls, descriptor: int, shown: str) -> NamedPath:
        """By this process' number, not as `self`: a program that is started looks into the same place."""
        path = cls(f"/proc/{os.getpid()}/fd/{descriptor}")
        path._shown = shown
        return path

    @property
    def name(self) -> str:
        """The file's own."""
        return self._shown

    @property
    def suffix(self) -> str:
        """The file's own."""
        return Path(self._shown).suffix


def read_one(asked: socket.socket, descriptors: list[int], registry: ModuleType, parent: int) -> NoReturn:
    """Answer one request and end this process. `parent` is who it is a copy of."""
    status = 1
    try:
        die_with(parent)
        message = receive(asked, MOST_ARRAY_BYTES)
        request = message.data
        reader = registry.READERS[request["reader"]]
        files, read, write = _files(request["files"], descriptors)
        bounds = Bounds(*request["bounds"])._replace(program=reader.program is not None)
        active = confine(bounds, read, write, reader.program and reader.program())
        arguments = {**request["arguments"], **({"active": active} if reader.told else {})}
        _answer(asked, reader.call(*files, *message.arrays, **arguments))
        status = 0
    except Closed:
        pass
    except BaseException as error:
        status = _fail(asked, error)
    finally:
        os._exit(status)


def _files(asked: list[Mapping[str, Any]], descriptors: list[int]) -> tuple[list[Path], list[int], list[int]]:
    """The paths to read, those descriptors, and those that may be written to. One that is not open stays a path."""
    paths: list[Path] = []
    read: list[int] = []
    write: list[int] = []
    for one in asked:
        if one["open"]:
            number = FIRST_FILE + len(paths)
            os.dup2(descriptors.pop(0), number, inheritable=False)
            (write if one["write"] else read).append(number)
            paths.append(NamedPath.of(number, one["name"]))
        else:
            paths.append(Path(one["path"]))
    return paths, read, write


def _answer(asked: socket.socket, given: Answer | Answers | None) -> None:
    last = given if isinstance(given, Answer) else None
    if isinstance(given, Generator):
        try:
            while True:
                one = next(given)
                send(asked, Message("item", one.data, list(one.arrays)))
        except StopIteration as end:
            last = end.value
    data, arrays, _ = last or Answer()
    send(asked, Message("end", data, list(arrays)))


def _fail(asked: socket.socket, error: BaseException) -> int:
    message = Message("fault", "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:])
    if _of_memory(error):
        message = Message("memory")
    elif isinstance(error, Problem):
        message = Message("problem", [type(error).__name__, error.error, error.remedy])
    try:
        send(asked, message)
    except (Closed, Malformed):
        return 1
    return 0


def _of_memory(error: BaseException | None) -> bool:
    """Whether an exception began with memory that was not to be had, whatever it was called on the way."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        error = error.__cause__ or error.__context__
    return False
