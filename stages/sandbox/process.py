"""A worker's side of the sandbox: asks for readings, and turns however they end into answers or reasons."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

import numpy as np

from manifests.errors import Damaged, Problem, Rejected
from manifests.shown_text import visible
from stages.sandbox.child import FIRST_FILE, LONGEST_TRACEBACK, Answer
from stages.sandbox.confinement import Bounds
from stages.sandbox.held_file import PROC, HeldFile
from stages.sandbox.messages import Closed, Malformed, Message, Silent, receive, send
from stages.sandbox.template import ENDED, NAME_BYTES

log = logging.getLogger(__name__)

# All that the reading process finds in its environment: no credential of the worker's is among it.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")
FFMPEG = "IMAGEIO_FFMPEG_EXE"  # passed on as well: which ffmpeg to start
SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
# What a frame took is kept for the next one: given back, it would be mapped and cleared for each anew.
KEEPING = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20)}
BUFFER = 4 * 2**20  # bytes on their way
END_SECONDS = 10.0  # for the end of a reading to be told
LEAVE_SECONDS = 2.0  # for the template, which nobody asks any more
LONGEST_TEXT = 2000
WRITE_ANEW = "write it anew with another program"
MORE_MEMORY = f"if it is meant to be so large, raise `limits.memory_bytes`; if not, {WRITE_ANEW}"
MORE_TIME = (
    "if it is meant to be so large, raise `limits.cpu_seconds` and `limits.most_cpu_seconds`; if not, " + WRITE_ANEW
)
LESS_BUSY = f"run again when the machine has less to do; if nothing comes then either, {WRITE_ANEW}"
_PROBLEMS: dict[str, type[Problem]] = {kind.__name__: kind for kind in (Rejected, Damaged, Problem)}


class Fault(Exception):
    """A reader raised what nobody foresaw; the text is its traceback."""


class _Lost(Exception):
    """The process that readings are copies of has ended."""


@dataclass(frozen=True)
class Reading:
    """What is asked for: a reader, the files for it, what it is told, and what it may take.

    what: the file, in the words of messages; silence: seconds after which nothing came; most_bytes: of one answer.
    """

    reader: str
    files: Sequence[HeldFile | Path]
    arguments: dict[str, Any]
    bounds: Bounds
    what: str
    silence: float
    most_bytes: int
    target: HeldFile | None = None  # a file to write
    arrays: tuple[np.ndarray, ...] = ()  # given to the reader after the files


class Sandbox:
    """Readings in processes of their own. For any number of threads; started when it is first asked."""

    def __init__(self, registry: str) -> None:
        """`registry` is the module whose `READERS` may be asked for."""
        self._registry = registry
        self._lock = threading.Lock()
        self._template: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        os.register_at_fork(after_in_child=self._forget)

    def read(self, reading: Reading) -> Answer:
        """The one answer of a reader. Raises as `stream`."""
        with closing(self.stream(reading)) as answers:
            return next(answers)

    def stream(self, reading: Reading) -> Generator[Answer, None, None]:
        """The answers of a reader as they come, at last the one that it ends with.

        Raises what the reader raised of `Problem`s; `Rejected` where the file ended its process, was too much for its
        bounds, or was silent for too long; `Fault` for any other exception of the reader's.
        """
        for again in (True, False):
            begun = False
            try:
                for answer in self._once(reading):
                    begun = True
                    yield answer
                return
            except _Lost:
                if begun or not again:
                    raise Problem(f"{reading.what}: the process that reads files has ended", "run again") from None
                log.warning("the process that reads files has ended; it is started again")

    def stop(self) -> None:
        """End all of it."""
        with self._lock:
            self._end()

    def _once(self, reading: Reading) -> Iterator[Answer]:
        with self._begun(reading) as (asked, ended):
            try:
                send(asked, Message("read", _request(reading), list(reading.arrays)))
                while True:
                    message = receive(asked, reading.most_bytes)
                    if message.kind not in ("item", "end"):
                        _raise(reading, message)
                    yield Answer(message.data, tuple(message.arrays), message.kind == "end")
                    if message.kind == "end":
                        return
            except Closed:
                _raise_end(reading, ended)
            except Silent:
                text = f"{reading.what}: nothing came of reading it for {reading.silence:,.0f} s"
                raise Rejected(text, LESS_BUSY) from None
            except Malformed as wrong:
                raise Rejected(f"{reading.what} made its reader answer nonsense: {wrong}", WRITE_ANEW) from None

    @contextmanager
    def _begun(self, reading: Reading) -> Iterator[tuple[socket.socket, socket.socket]]:
        """(for the request and its answers, for how it ends); when they are closed, the reading is ended."""
        asked, its_asked = socket.socketpair()
        ended, its_ended = socket.socketpair()
        with asked, ended, its_asked, its_ended:
            for end in (asked, its_asked):
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            _patient(asked, reading.silence)
            _patient(ended, END_SECONDS)
            files = [file.fd for file in _all_files(reading) if _is_open(file)]
            descriptors = [its_asked.fileno(), its_ended.fileno(), *files]
            name = reading.reader.encode().ljust(NAME_BYTES, b"\0")
            with self._lock:
                try:
                    socket.send_fds(self._started(), [name], descriptors)
                except OSError:  # it has ended since
                    self._end()
                    socket.send_fds(self._started(), [name], descriptors)
            its_asked.close()
            its_ended.close()
            yield asked, ended

    def _started(self) -> socket.socket:
        if self._control is None or self._template is None or self._template.poll() is not None:
            self._end()
            mine, its = socket.socketpair()
            with its:
                command = [sys.executable, "-P", "-m", "stages.sandbox.template", str(its.fileno()), self._registry]
                self._template = subprocess.Popen(  # noqa: S603 (our own module)
                    command,
                    env=_environment(),
                    cwd="/",
                    pass_fds=[its.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
            self._control = mine
        return self._control

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._template is not None:
            try:
                self._template.wait(LEAVE_SECONDS)  # it ends its copies, as not every kernel does
            except subprocess.TimeoutExpired:
                self._template.kill()
                self._template.wait()
            self._template = None

    def _forget(self) -> None:
        """In a copy of this process: what it holds is the other's."""
        self._lock = threading.Lock()
        if self._control is not None:
            self._control.close()
        self._template = self._control = None


SANDBOX = Sandbox(registry="stages.sandbox.readers")


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    if program := os.environ.get(FFMPEG):
        kept[FFMPEG] = os.path.abspath(shutil.which(program) or program)
    places = [os.path.abspath(path) for path in sys.path if path or os.getcwd()]
    return kept | SINGLE | KEEPING | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(places))}


def _all_files(reading: Reading) -> list[HeldFile | Path]:
    return [*reading.files, *([reading.target] if reading.target else [])]


def _is_open(file: HeldFile | Path) -> TypeGuard[HeldFile]:
    return PROC and isinstance(file, HeldFile)


def _request(reading: Reading) -> dict[str, Any]:
    files = []
    for file in _all_files(reading):
        path = file.path if isinstance(file, HeldFile) else file
        write = file is reading.target
        files.append({"open": _is_open(file), "name": path.name, "path": str(path.absolute()), "write": write})
    return {
        "reader": reading.reader,
        "files": files,
        "arguments": reading.arguments,
        "bounds": list(reading.bounds),
    }


def _patient(end: socket.socket, seconds: float) -> None:
    """Let the kernel give up waiting on a socket after so long."""
    whole = int(seconds)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", whole, int((seconds - whole) * 1e6)))


def _raise(reading: Reading, message: Message) -> NoReturn:
    match message.kind, message.data:
        case "memory", _:
            raise _too_much_memory(reading)
        case "problem", [str() as kind, str() as error, str() as remedy] if kind in _PROBLEMS:
            raise _PROBLEMS[kind](_named(reading, error)[:LONGEST_TEXT], remedy[:LONGEST_TEXT])
        case "fault", str() as text:
            raise Fault(visible(text[:LONGEST_TRACEBACK]))
    raise Malformed(f"{message.kind[:40]!r}")


def _named(reading: Reading, text: str) -> str:
    """The text with the files called by their names, where it calls them by their descriptors."""
    names = [file.name for file in _all_files(reading) if _is_open(file)]

    def name(found: re.Match[str]) -> str:
        number = int(found[1]) - FIRST_FILE
        return names[number] if 0 <= number < len(names) else "a file"

    return re.sub(r"(?:file:)?/proc/\d{1,9}/fd/(\d{1,9})", name, text[: 4 * LONGEST_TEXT])


def _raise_end(reading: Reading, ended: socket.socket) -> NoReturn:
    """Say how a reading ended that gave no answer."""
    try:
        told = ended.recv(ENDED.size)
    except (BlockingIOError, TimeoutError):  # which the template would tell: it has not ended, but answers no more
        raise Rejected(f"{reading.what} made its reader close without an answer", WRITE_ANEW) from None
    except OSError:
        told = b""
    if len(told) < ENDED.size:
        raise _Lost
    status, peak, seconds = ENDED.unpack(told)
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGXCPU or (number == signal.SIGKILL and seconds >= reading.bounds.cpu_seconds):
        took = f"{reading.bounds.cpu_seconds:,} s of processor time"
        raise Rejected(f"{reading.what}: reading it takes more than {took}", MORE_TIME)
    if not number:
        raise Rejected(f"{reading.what} ended its reader with status {os.waitstatus_to_exitcode(status)}", WRITE_ANEW)
    name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
    log.warning("a reading of %s ended by %s after %.1f s, at most %.2f GB", reading.what, name, seconds, peak / 1e9)
    remedy = WRITE_ANEW
    if number == signal.SIGABRT:  # so C++ answers both a broken promise and memory that is not to be had
        name = f"{name}; it may have asked for more than {_gigabytes(reading.bounds.memory_bytes)}"
        remedy = MORE_MEMORY
    raise Rejected(f"{reading.what} crashes its reader ({name})", remedy)


def _too_much_memory(reading: Reading) -> Rejected:
    most = f"{_gigabytes(reading.bounds.memory_bytes)} of memory"
    return Rejected(f"{reading.what}: reading it takes more than {most}", MORE_MEMORY)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2g} GB"
