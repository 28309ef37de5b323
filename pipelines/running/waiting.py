"""What a run waits for while no row comes back, and what is done about it."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from manifests.errors import Problem
from pipelines.progress import Say, clock
from pipelines.running.attempts import Attempt, attempts_in, note_cause, process_start
from pipelines.running.watchdog import GRACE_SECONDS

log = logging.getLogger(__name__)

MARGIN_SECONDS = GRACE_SECONDS + 60.0  # beyond its limit, in which a worker ends itself if it can
NODE_ANSWERS_SECONDS = 30.0
NAMED = 3


class Waiting:
    """Looks after the workers of a session from outside, through the notes of what they have in hand.

    A worker that is past its limit and did not end itself (frozen, or its storage is) is ended on its node. When
    nothing is in hand anywhere for too long, the cluster gives no worker any more, and the run has to end.
    """

    def __init__(
        self,
        folder: str,
        session: str,
        idle_seconds: float,
        say: Say,
        margin_seconds: float = MARGIN_SECONDS,
        end: Callable[[Attempt], None] | None = None,
    ) -> None:
        """`folder` is that of the attempts; `idle_seconds` may pass with nothing in hand."""
        self._folder = folder
        self._session = session
        self._idle_seconds = idle_seconds
        self._say = say
        self._margin_seconds = margin_seconds
        self._end = end or end_on_its_node
        self._first_seen: dict[str, float] = {}  # ages by this clock: those of the nodes may differ
        self._ended: set[str] = set()
        self._back: set[int] = set()
        self._parts_back: set[tuple[int, str]] = set()
        self._busy = time.monotonic()

    def row_came(self, row: int) -> None:
        """A row has come back; what is noted of earlier tries at it were deaths."""
        self.something_came()
        self._back.add(row)

    def part_came(self, row: int, unit: str) -> None:
        """The same of one part of a row."""
        self.something_came()
        self._parts_back.add((row, unit))

    def something_came(self) -> None:
        """Somebody is at work."""
        self._busy = time.monotonic()

    def goes_again(self, rows: Iterable[int]) -> None:
        """Rows that have come back are done once more."""
        again = set(rows)
        self._back -= again
        self._parts_back = {part for part in self._parts_back if part[0] not in again}

    def in_hand(self) -> list[Attempt]:
        """Tries that have not ended, longest first, as far as the notes tell; not those that a node was lost with."""
        nodes = {node["NodeID"]: node["Alive"] for node in ray.nodes()}
        there = [
            attempt
            for attempt in last_tries_of(self._folder, self._session)
            if attempt.row not in self._back
            and (attempt.row, attempt.unit) not in self._parts_back
            and nodes.get(attempt.node, True)
        ]
        return sorted(there, key=self._age, reverse=True)

    def look(self, workers: str = "", aloud: bool = True) -> None:
        """To be called now and then; `workers` tells how many there are, `aloud` whether what is waited for is said.

        Raises `Problem` when there is nothing to wait for.
        """
        now, in_time = time.monotonic(), []
        for attempt in self.in_hand():
            if self._age(attempt) <= attempt.limit_seconds + self._margin_seconds:
                in_time.append(attempt)
            elif attempt.file not in self._ended:
                self._ended.add(attempt.file)
                self._end_overdue(attempt)
        if in_time:
            self._busy = now
            if aloud:
                self._say(self._in_words(in_time))
            return
        nobody = f"no worker has had a row in hand for {clock(now - self._busy)}"
        there = ", ".join(filter(None, [workers, cluster_in_words()]))
        if now - self._busy > self._idle_seconds:
            raise Problem(
                f"{nobody}: {there}",
                "look at the cluster (`ray status`): nodes that are gone or full, workers that cannot start (their log "
                "says why); raise idle_seconds where nodes take longer to come",
            )
        if aloud:
            self._say(f"  {nobody}: {there}")

    def _age(self, attempt: Attempt) -> float:
        now = time.monotonic()
        return now - self._first_seen.setdefault(attempt.file, now)

    def _in_words(self, attempts: list[Attempt]) -> str:
        named = [
            f"row {attempt.row} ({attempt.id}) in {attempt.stage} on {attempt.host}, "
            f"{clock(self._age(attempt))} of at most {clock(attempt.limit_seconds)}"
            for attempt in attempts[:NAMED]
        ]
        more = [f"{len(attempts) - NAMED} more"] if len(attempts) > NAMED else []
        return f"  waiting for {'; '.join([*named, *more])}"

    def _end_overdue(self, attempt: Attempt) -> None:
        self._say(f"  row {attempt.row} ({attempt.id}): its worker on {attempt.host} does not end itself, and is ended")
        try:
            note_cause(self._folder, attempt, "time", f"no end after {attempt.limit_seconds:,.0f} s, nor any answer")
            self._end(attempt)
        except Exception as error:  # its node may be what is gone
            log.warning("process %d on %s could not be ended: %s", attempt.pid, attempt.host, error)


def last_tries_of(folder: str, session: str) -> list[Attempt]:
    """Tries of a session that no later one followed, and that were not ended for a cause."""
    latest: dict[tuple[str, str, int], Attempt] = {}
    for attempt in attempts_in(folder):
        name = attempt.stage, attempt.unit, attempt.row
        if attempt.session == session and (name not in latest or attempt.number > latest[name].number):
            latest[name] = attempt
    return [attempt for attempt in latest.values() if not attempt.cause]


def cluster_in_words() -> str:
    """How many nodes there are, and what of them is free."""
    alive = sum(node["Alive"] for node in ray.nodes())
    total, free = ray.cluster_resources(), ray.available_resources()
    parts = [f"{free.get(name, 0):g} of {total[name]:g} {name} free" for name in ("CPU", "GPU") if name in total]
    return ", ".join([f"{alive} nodes", *parts])


def end_on_its_node(attempt: Attempt) -> None:
    """Kill the process of a try, by a task on its node. Raises what Ray says when that node is gone."""
    there = NodeAffinitySchedulingStrategy(attempt.node, soft=False)
    ending = ray.remote(kill_process).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
    ray.get(ending.remote(attempt.pid, attempt.started), timeout=NODE_ANSWERS_SECONDS)


def kill_process(pid: int, started: str) -> bool:
    """Kill a process of this machine, if it is still the one that was started then."""
    if process_start(pid) != started:
        return False
    os.kill(pid, signal.SIGKILL)
    return True
