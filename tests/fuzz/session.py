"""A process that files are tried in, watched from outside: who dies, hangs, grows or leaves something behind."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.fuzz.specimen import Outcome, Specimen

LIMIT = float(os.environ.get("CATWALK_FUZZ_LIMIT", "120"))  # seconds that one file may take
MOST_MEMORY = 3_000_000_000  # bytes, resident, of the process and its children
LOOK = 0.05  # seconds between two looks at a process that works
WARM = 30  # files after which growth is measured


class Found(NamedTuple):
    """A file that ended as none may."""

    specimen: Specimen
    said: str


@dataclass
class Tally:
    """What became of all files of a session."""

    outcomes: Counter[str] = field(default_factory=Counter)  # by kind and status
    words: Counter[str] = field(default_factory=Counter)  # by kind and message
    found: list[Found] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    peak: int = 0  # bytes, of the process and its children
    grown: int = 0  # bytes that the process itself has grown by since it was warm
    seconds: float = 0.0
    left: list[str] = field(default_factory=list)  # files, processes, descriptors

    def note(self, specimen: Specimen, outcome: Outcome, seconds: float) -> None:
        """Count one."""
        self.outcomes[f"{specimen.kind} {outcome.status}"] += 1
        if outcome.said:
            self.words[f"{specimen.kind}: {outcome.said}"] += 1
        if outcome.status == "fault":
            self.found.append(Found(specimen, outcome.said))
        self.slowest = max(self.slowest, (seconds, specimen.name))

    @property
    def tried(self) -> int:
        """How many files there were."""
        return self.outcomes.total()


class Session:
    """Tries files one after the other in a process of its own; one that dies or is killed is replaced."""

    def __init__(
        self,
        make: Callable[[Path], Callable[[Specimen], Outcome]],
        limit: float = LIMIT,
        told: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`make` is given a folder, in that process, and answers what tries a file within `limit` seconds.

        `told` hears of every fault, and how far it is.
        """
        self._make, self._limit, self._told = make, limit, told
        self.tally = Tally()
        self._folder = Path(tempfile.mkdtemp(prefix="catwalk-fuzzing-"))
        self._begun = time.monotonic()
        self._seen: dict[int, psutil.Process] = {}
        self._start()

    def try_all(self, specimens: Iterable[Specimen], until: float = float("inf")) -> Tally:
        """Try each, as long as the clock (`time.monotonic`) is before `until`."""
        for specimen in specimens:
            if time.monotonic() > until:
                break
            self._try(specimen)
        return self.close()

    def close(self) -> Tally:
        """End the process in order, and look for what is left."""
        with suppress(OSError, EOFError):
            self._connection.send(None)
            self._settled()
            self._process.join(60)
        self._kill()
        time.sleep(0.2)
        alive = [one for one in self._seen.values() if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        self.tally.left += [f"process {one.pid}: {' '.join(one.cmdline())[:120]}" for one in alive]
        temporary = self._folder / "tmp"
        self.tally.left += [f"file {path.relative_to(temporary)}" for path in sorted(temporary.rglob("*"))][:20]
        shutil.rmtree(self._folder, ignore_errors=True)
        self.tally.seconds = time.monotonic() - self._begun
        return self.tally

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._connection, other = spawn.Pipe()
        (self._folder / "tmp").mkdir(exist_ok=True)
        self._process = spawn.Process(target=_serve, args=(other, str(self._folder), self._make))
        self._process.start()
        other.close()
        if not self._connection.poll(600):
            raise RuntimeError("the process that files are tried in does not begin")
        self._connection.recv()
        self._watched = psutil.Process(self._process.pid)

    def _try(self, specimen: Specimen) -> None:
        begun = time.monotonic()
        self._connection.send(specimen)
        outcome = self._answer(begun)
        self.tally.note(specimen, outcome, time.monotonic() - begun)
        if outcome.status == "fault":
            self._told(f"{specimen.kind} {specimen.name}: {outcome.said}")
        if self.tally.tried % 100 == 0:
            self._told(f"{self.tally.tried} after {time.monotonic() - self._begun:.0f} s")
        if not self._process.is_alive():
            self._start()

    def _answer(self, begun: float) -> Outcome:
        while not self._connection.poll(LOOK):
            memory = self._memory()
            if memory > MOST_MEMORY:
                self._kill()
                return Outcome("fault", f"{memory / 1e9:.1f} GB of memory")
            if time.monotonic() - begun > self._limit:
                self._kill()
                return Outcome("fault", f"no end after {self._limit:g} s")
        try:
            return Outcome(*self._connection.recv())
        except EOFError:
            self._process.join(10)
            return Outcome("fault", f"the process died ({self._process.exitcode})")

    def _settled(self) -> None:
        """The last word of a process that ends in order: what it has grown by, and its descriptors."""
        if not self._connection.poll(60):
            return
        told: dict[str, Any] = self._connection.recv()
        self.tally.grown = max(self.tally.grown, told["grown"])
        if told["descriptors"] > 0:
            self.tally.left.append(f"{told['descriptors']} descriptors")

    def _memory(self) -> int:
        total = 0
        with suppress(psutil.Error):
            family = [self._watched, *self._watched.children(recursive=True)]
            for one in family:
                self._seen[one.pid] = one
                with suppress(psutil.Error):
                    total += one.memory_info().rss
        self.tally.peak = max(self.tally.peak, total)
        return total

    def _kill(self) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join(60)
        if self._process.exitcode:
            for one in self._seen.values():
                with suppress(psutil.Error):
                    one.wait(5)


def _serve(connection: Connection, folder: str, make: Callable[[Path], Callable[[Specimen], Outcome]]) -> None:
    warnings.simplefilter("ignore")  # of damaged files
    os.environ["TMPDIR"] = tempfile.tempdir = str(Path(folder) / "tmp")
    os.environ |= {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": str(Path(folder) / "torch")}
    tried, here = make(Path(folder) / f"run-{os.getpid()}"), psutil.Process()
    connection.send(None)
    number, warm, descriptors = 0, 0, 0
    while (specimen := connection.recv()) is not None:
        connection.send(tuple(tried(specimen)))
        number += 1
        if number == WARM:
            warm, descriptors = here.memory_info().rss, here.num_fds()
    if number > WARM:
        told = {"grown": here.memory_info().rss - warm, "descriptors": here.num_fds() - descriptors}
    else:
        told = {"grown": 0, "descriptors": 0}
    connection.send(told)
