"""Weights from elsewhere on this machine: fetched by one process for all of them, bounded in bytes, never taken away
from one that reads them.

Locks are the kernel's (flock): they end with the process that holds them, however it ends. An entry has two: one is
held by whoever fetches it, the other is shared by all who read it and taken alone to remove it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from manifests import storage
from manifests.errors import Damaged, Problem

WHOLE = ".whole"  # in an entry, last: the sizes of its files; its time is that of the entry's last use
_COMING = ".coming"  # in an entry that is being fetched: the bytes that it will have
_LOCKS = "locks"
KINDS = ("checkpoints", "loras")
GIB = 2**30

Sizes = Mapping[str, int]  # bytes of each file, by its name below the entry


def default_folder() -> Path:
    """Where weights are kept that no configuration says another place for."""
    return Path(tempfile.gettempdir()) / "catwalk"


class NodeCache:
    """Entries `KIND/NAME`: folders of files, the least recently used removed before there are too many bytes."""

    def __init__(self, folder: Path | None = None, max_bytes: int = 200 * GIB, allow_hub: bool = False) -> None:
        """`allow_hub`: files may be fetched from the Hugging Face hub."""
        self.folder = folder or default_folder()
        self.allow_hub = allow_hub
        self._max_bytes = max_bytes

    @contextmanager
    def holding(self, entry: str, sizes: Callable[[], Sizes], fetch: Callable[[Path, Sizes], None]) -> Iterator[Path]:
        """The entry's folder, which nobody removes during the block; fetched if it is not whole.

        Of several processes that want it, one fetches and the others wait. `sizes` are asked for before `fetch` is told
        to write those files below a folder; where it raises, what it wrote stays for the next try. Raises `Problem`
        where there is no room.
        """
        path = self.folder / entry
        with self._locked(f"{entry}.use", fcntl.LOCK_SH):
            if not self._touched(path):
                with self._locked(f"{entry}.fetch", fcntl.LOCK_EX):
                    if not self._touched(path):
                        self._fetch(entry, sizes(), fetch)
            yield path

    def _fetch(self, entry: str, sizes: Sizes, fetch: Callable[[Path, Sizes], None]) -> None:
        path = self.folder / entry
        self._make_room(entry, sum(sizes.values()))
        for left in [one for one in path.rglob("*") if one.is_file()]:  # by a process that was killed
            if left.name != _COMING and left.relative_to(path).as_posix() not in sizes:
                left.unlink()
        fetch(path, sizes)
        storage.publish_json({name: (path / name).stat().st_size for name in sizes}, str(path / WHOLE))
        (path / _COMING).unlink(missing_ok=True)

    def _make_room(self, entry: str, coming: int) -> None:
        """Reserve `coming` bytes. Raises `Problem` where what is in use leaves less."""
        with self._locked("room", fcntl.LOCK_EX):
            others = {one: self._bytes(one) for one in self.entries() if one != entry}
            for other in sorted(others, key=self._used):
                if sum(others.values()) + coming <= self._max_bytes:
                    break
                if self.remove(other):
                    others[other] = 0
            if (held := sum(others.values())) + coming > self._max_bytes:
                needed, bound, used = (f"{bytes_ / 1e9:,.1f} GB" for bytes_ in (coming, self._max_bytes, held))
                raise Problem(
                    f"weights of {needed} find no room in {self.folder}: of {bound}, {used} are in use",
                    "raise model_cache.bytes, or name a folder on a larger disk in model_cache.folder",
                )
            path = self.folder / entry
            path.mkdir(parents=True, exist_ok=True)
            (path / _COMING).write_text(str(coming))

    def entries(self) -> list[str]:
        """Every entry there is, whole or not."""
        return sorted(f"{kind}/{one.name}" for kind in KINDS for one in (self.folder / kind).glob("*") if one.is_dir())

    def holds(self, entry: str) -> bool:
        """Whether an entry is there, whole."""
        return self._sizes(self.folder / entry) is not None

    def remove(self, entry: str) -> bool:
        """Remove an entry unless anybody uses it; returns whether it is gone."""
        try:
            with self._locked(f"{entry}.use", fcntl.LOCK_EX | fcntl.LOCK_NB):
                (self.folder / entry / WHOLE).unlink(missing_ok=True)  # first: what is half removed is not whole
                shutil.rmtree(self.folder / entry, ignore_errors=True)
        except BlockingIOError:
            return False
        return not (self.folder / entry).exists()

    def _touched(self, path: Path) -> bool:
        """Whether an entry is whole; it counts as used now."""
        if self._sizes(path) is None:
            return False
        with suppress(OSError):  # of another user: used it is all the same
            os.utime(path / WHOLE)
        return True

    def _sizes(self, path: Path) -> Sizes | None:
        """The sizes of an entry's files, None unless every one is there in the size it had when it was fetched."""
        try:
            sizes = storage.read_json(str(path / WHOLE))
            whole = sizes and all((path / name).stat().st_size == size for name, size in sizes.items())
        except (Damaged, FileNotFoundError):
            return None
        return cast(Sizes, sizes) if whole else None

    def _bytes(self, entry: str) -> int:
        path = self.folder / entry
        there = 0
        for file in path.rglob("*"):
            with suppress(FileNotFoundError):  # what is being fetched gets its name
                there += file.stat().st_size if file.is_file() else 0
        try:
            return max(there, int((path / _COMING).read_text()))
        except (FileNotFoundError, ValueError):
            return there

    def _used(self, entry: str) -> float:
        times = [0.0]
        for name in (WHOLE, _COMING):
            with suppress(FileNotFoundError):
                times.append((self.folder / entry / name).stat().st_mtime)
        return max(times)

    @contextmanager
    def _locked(self, name: str, how: int) -> Iterator[None]:
        """Hold a lock during the block; with LOCK_NB `BlockingIOError` where another has it."""
        file = self.folder / _LOCKS / name.replace("/", "-")
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)
