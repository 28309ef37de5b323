"""One night, one driver: the lease of a run id, a file that its driver keeps fresh while it is alive."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from manifests import storage
from manifests.errors import Problem, WrongUsage
from manifests.layout import OutputLayout
from manifests.processes import machine, started
from pipelines.output_files import unwritable
from pipelines.progress import Say

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
STALE_SECONDS = 180.0  # older than this, a lease is dead; a beat may wait for a store that stalls
WATCH_SECONDS = 60.0  # where no clock can be trusted: a living driver beats within this


@dataclass
class Timing:
    """How often a lease is kept fresh, when it is stale, and how long it is watched where its age is not known."""

    beat: float = field(default_factory=lambda: BEAT_SECONDS)
    stale: float = STALE_SECONDS
    watch: float = WATCH_SECONDS


class Lost(Problem):
    """Another driver has taken the run over: this one breaks off, and writes nothing more."""


class Lease:
    """A run id held by this driver, as generation N: `runs/ID/lease/N.json`, created exclusively, then kept fresh.

    Whoever finds a dead lease creates the next generation, and of several that try one succeeds. A driver that was
    taken for dead finds the newer generation at its next beat.
    """

    def __init__(self, folder: str, generation: int, identity: dict[str, Any], timing: Timing) -> None:
        """Begin to beat; the file is there already."""
        self._folder = folder
        self._generation = generation
        self._identity = identity
        self._timing = timing
        self._ended = threading.Event()
        self._successor: dict[str, Any] | None = None
        self._beating = threading.Thread(target=self._beat, name="catwalk-lease", daemon=True)
        self._beating.start()

    @property
    def lost_to(self) -> str | None:
        """Who has taken the run over, in words; None while it is this driver's."""
        return None if self._successor is None else holder(self._successor)

    def require(self) -> None:
        """Look now, and raise `Lost` if another driver has taken the run over."""
        with suppress(Exception):  # a store that does not answer says nothing about the lease
            self._look()
        if self._successor is not None:
            error = f"the run was taken over by {holder(self._successor)}"
            raise Lost(error, "nothing: that driver goes on with it, and writes its results")

    def release(self) -> None:
        """Say that the run has ended; the next driver need not wait."""
        self._ended.set()
        self._beating.join()
        if self._successor is None:
            with suppress(Exception):  # it is found dead after a while
                storage.publish_json({**self._identity, "ended": _now()}, _uri(self._folder, self._generation))

    def _beat(self) -> None:
        beats = 0
        while not self._ended.wait(self._timing.beat) and self._successor is None:
            beats += 1
            try:
                self._look()
                if self._successor is None:
                    storage.publish_json({**self._identity, "beats": beats}, _uri(self._folder, self._generation))
            except Exception as error:
                log.warning("the lease of the run could not be kept fresh: %s", error)

    def _look(self) -> None:
        self._successor = storage.read_json(_uri(self._folder, self._generation + 1))


@contextmanager
def held(layout: OutputLayout, run_id: str, session: str, say: Say, timing: Timing | None = None) -> Iterator[Lease]:
    """The lease of a run id for the block. Raises `WrongUsage` at once where a living driver holds it.

    A dead driver's is taken over: at once where that is certain, else after it has been watched for a while.
    """
    try:
        lease = _taken(layout.run(run_id, "lease"), run_id, session, say, timing or Timing())
    except OSError as error:
        raise unwritable(layout.output, error) from None
    try:
        yield lease
    finally:
        lease.release()


def alive(layout: OutputLayout, run_id: str, timing: Timing | None = None) -> bool:
    """Whether a driver of that run is alive, as far as one look tells: in doubt it is."""
    folder = layout.run(run_id, "lease")
    generation, state = _newest(folder)
    return generation > 0 and _alive(folder, generation, state, timing or Timing()) is not False


def _taken(folder: str, run_id: str, session: str, say: Say, timing: Timing) -> Lease:
    identity = {"host": socket.gethostname(), "machine": machine(), "pid": os.getpid(), "process": started(os.getpid()),
                "since": _now(), "session": session}  # fmt: skip
    while True:
        generation, state = _newest(folder)
        if generation and _alive_for_sure(folder, generation, state, say, timing):
            raise WrongUsage(
                f"run id {run_id!r} is alive: {holder(state)} has had it since {state.get('since')}",
                "wait until it has ended, end it, or choose another run id: films are shared by all runs",
            )
        if storage.create_exclusive(_uri(folder, generation + 1), json.dumps(identity).encode()):
            return Lease(folder, generation + 1, identity, timing)


def _newest(folder: str) -> tuple[int, dict[str, Any]]:
    """Generation and content of the newest lease; (0, {}) where there is none."""
    numbers = [name.removesuffix(".json") for name in storage.listing(folder)]
    generation = max((int(number) for number in numbers if number.isdigit()), default=0)
    return generation, (_read(folder, generation) if generation else {})


def _read(folder: str, generation: int) -> dict[str, Any]:
    try:
        return storage.read_json(_uri(folder, generation)) or {}
    except Problem:  # damaged
        return {}


def _alive(folder: str, generation: int, state: dict[str, Any], timing: Timing) -> bool | None:
    """Whether the holder is alive; None where one look does not tell."""
    if "ended" in state:
        return False
    if state.get("machine") and state["machine"] == machine():
        return started(int(state["pid"])) == state.get("process")
    age = _age(folder, generation)
    return False if age is not None and age > timing.stale else None


def _alive_for_sure(folder: str, generation: int, state: dict[str, Any], say: Say, timing: Timing) -> bool:
    """The same; where one look does not tell, whether the lease changes within a while."""
    if (found := _alive(folder, generation, state, timing)) is not None:
        return found
    say(f"  {holder(state)} had this run; watching for {timing.watch:.0f} s whether it is still alive")
    until = time.monotonic() + timing.watch
    while time.monotonic() < until:
        time.sleep(min(1.0, timing.watch))
        if (newest := _newest(folder)) != (generation, state):
            return "ended" not in newest[1]
    return False


def _age(folder: str, generation: int) -> float | None:
    """Seconds since the lease was written, by the store's own clock: another machine's may be wrong, as may ours."""
    probe = storage.join(folder, f"looked-at-{uuid.uuid4().hex}")
    try:
        storage.publish_bytes(b"", probe)
        then, now = storage.written(_uri(folder, generation)), storage.written(probe)
    except OSError:
        return None
    finally:
        with suppress(Exception):
            storage.delete(probe)
    return None if then is None or now is None else now - then


def holder(state: dict[str, Any]) -> str:
    """A lease's driver in words."""
    return f"process {state.get('pid', '?')} on {state.get('host', 'an unknown host')}"


def _uri(folder: str, generation: int) -> str:
    return storage.join(folder, f"{generation}.json")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
