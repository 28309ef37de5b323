"""Temporary folders that say whose they are: what a killed process left is found, and removed by the next one."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manifests.processes import machine, started

# purpose, machine, process and its start, some letters
_NAME = re.compile(r"catwalk-[a-z]+-([0-9a-f]{8}|unknown)-(\d+)-(\d+)-\w+")


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A folder for the block, gone afterwards; `purpose` is a word of lower case letters."""
    pid = os.getpid()
    with tempfile.TemporaryDirectory(prefix=f"catwalk-{purpose}-{_here()}-{pid}-{started(pid) or 0}-") as folder:
        yield Path(folder)


def dead_folders() -> list[Path]:
    """Temporary folders of processes of this machine that are gone; those of other machines are not judged."""
    here = _here()
    named = [(path, _NAME.fullmatch(path.name)) for path in Path(tempfile.gettempdir()).glob("catwalk-*")]
    ours = [(path, match) for path, match in named if match and match[1] == here != "unknown"]
    return sorted(path for path, match in ours if started(int(match[2])) != match[3])


def remove_dead_folders() -> None:
    """Remove them, as far as this user may."""
    for path in dead_folders():
        shutil.rmtree(path, ignore_errors=True)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _here() -> str:
    known = machine()
    return hashlib.sha256(known.encode()).hexdigest()[:8] if known else "unknown"
