"""A file that is held open, so that what is hashed is what is decoded, whatever its name comes to stand for."""

from __future__ import annotations

import hashlib
import os
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROC = Path("/proc/self/fd").is_dir()  # where a descriptor has a name under which it opens anew


class HeldFile:
    """One opened regular file. `name` is what messages call it."""

    def __init__(self, path: Path) -> None:
        """Raises `OSError` where there is no regular file that can be read."""
        self.path, self.name = path, path.name
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # of a FIFO it would wait for a writer
        try:
            if not stat.S_ISREG(os.fstat(self.fd).st_mode):
                raise OSError(f"{path.name} is no regular file")
            self._state = self._now()
        except BaseException:
            os.close(self.fd)
            raise
        self._let_go = weakref.finalize(self, os.close, self.fd)

    @property
    def size(self) -> int:
        """Bytes."""
        return os.fstat(self.fd).st_size

    @property
    def place(self) -> str:
        """Where the file itself lies, whatever links led there; without /proc, where they lead now."""
        return os.readlink(f"/proc/self/fd/{self.fd}") if PROC else os.path.realpath(self.path)

    @property
    def changed(self) -> bool:
        """Whether it was written to since it was opened; without /proc, also whether its name stands for another."""
        return self._now() != self._state

    def sha256(self) -> str:
        """Hex SHA-256 of its bytes."""
        with open(os.dup(self.fd), "rb") as stream:
            stream.seek(0)
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def close(self) -> None:
        """Let it go, which is done in any case when nobody has it any more."""
        self._let_go()

    def _now(self) -> tuple[int, ...]:
        """The time of the last change of the file's state (`ctime`) is the kernel's: no owner can set it back."""
        told = [os.fstat(self.fd)] + ([] if PROC else [os.stat(self.path)])
        return tuple(number for one in told for number in (one.st_dev, one.st_ino, one.st_size, one.st_ctime_ns))


@contextmanager
def held(path: Path) -> Iterator[HeldFile]:
    """The file, open for the block. Raises `OSError` as `HeldFile` does."""
    file = HeldFile(path)
    try:
        yield file
    finally:
        file.close()
