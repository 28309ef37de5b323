"""Ends a worker's process when its row takes too long or too much memory, and says which it was."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.running.attempts import Note

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
NOTE_SECONDS = 20.0  # for storage to take the cause; the process ends without it then
GRACE_SECONDS = 60.0  # after the limit, until the process is ended without Python's help
STANDARD_ERROR = 2
NODE_FULL = 0.92  # of a node's memory in use; Ray begins to end workers at 0.95
PAGE = os.sysconf("SC_PAGE_SIZE")
_CGROUP = Path("/sys/fs/cgroup")


@contextmanager
def watched(limit_seconds: float, note: Note, memory_bytes: int | None) -> Iterator[None]:
    """Around the work of one row: ends the process after `limit_seconds`, or beyond `memory_bytes`.

    Without a number, three quarters of the node's memory. `note` is told why first. A process that holds the
    interpreter's lock all the time is ended by a timer that needs no lock, `GRACE_SECONDS` later.
    """
    ended = threading.Event()
    bounds = limit_seconds, memory_bytes or node_memory() * 3 // 4, note
    watcher = threading.Thread(target=_watch, args=(ended, *bounds), name="watchdog", daemon=True)
    faulthandler.dump_traceback_later(limit_seconds + GRACE_SECONDS, exit=True, file=STANDARD_ERROR)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        faulthandler.cancel_dump_traceback_later()
        watcher.join()


def _watch(ended: threading.Event, limit_seconds: float, memory_bytes: int, note: Note) -> None:
    until = time.monotonic() + limit_seconds
    while not ended.wait(min(POLL_SECONDS, max(0.0, until - time.monotonic()))):
        if time.monotonic() >= until:
            _end_process(note, "time", f"no end after {limit_seconds:,.0f} s")
        if (taken := memory_of("self")) > memory_bytes:
            _end_process(note, "memory", f"more than {memory_bytes / 1e9:.1f} GB of memory")
        if node_memory_used() > NODE_FULL * node_memory() and taken >= max(map(memory_of, _processes())):
            _end_process(note, "memory", "most of its node's memory, which was full,")


def _end_process(note: Note, cause: str, detail: str) -> None:
    log.error("this worker is ended: %s", detail)
    noting = threading.Thread(target=note, args=(cause, detail), daemon=True)  # storage may be what hangs
    noting.start()
    noting.join(NOTE_SECONDS)
    with suppress(Exception):
        faulthandler.dump_traceback(file=STANDARD_ERROR)
    for child in _children():
        with suppress(OSError):
            os.kill(child, signal.SIGKILL)
    os._exit(1)


def _children() -> list[int]:
    """Processes that this one started: what a row waits for may be one of them."""
    found = []
    for tasks in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found += [int(pid) for pid in tasks.read_text().split()]
    return found


def _processes() -> list[str]:
    return [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]


def memory_of(process: str) -> int:
    """Bytes of memory that a process (its id, or "self") shares with none; 0 where that is not to be known."""
    try:
        resident, shared = Path(f"/proc/{process}/statm").read_text().split()[1:3]
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * PAGE


def node_memory() -> int:
    """Bytes of memory there are for this machine or container."""
    there = PAGE * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max" where there is no limit
            there = min(there, int((_CGROUP / name).read_text()))
    return there


def node_memory_used() -> int:
    """Bytes of them that no process could be given any more; 0 where that is not to be known."""
    used = 0
    with suppress(OSError, ValueError, KeyError):
        about = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        used = (int(about["MemTotal"].split()[0]) - int(about["MemAvailable"].split()[0])) * 1024
    for folder, current, files in (("", "memory.current", "inactive_file"),
                                   ("memory", "memory.usage_in_bytes", "total_inactive_file")):  # fmt: skip
        with suppress(OSError, ValueError, KeyError):
            about = dict(line.split() for line in (_CGROUP / folder / "memory.stat").read_text().splitlines())
            container = int((_CGROUP / folder / current).read_text()) - int(about[files])
            used = container if node_memory() < PAGE * os.sysconf("SC_PHYS_PAGES") else used
    return used
