"""Tries at a row that are in hand, and those that were a worker's death, so that no row holds a night up for ever.

`runs/ID/attempts/STAGE.NAME.N.json` is written before the work of a stage and removed when it ends, well or by an
exception: what the folder holds is in hand or dead. Ray does again for ever what kills its process.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from manifests import storage
from manifests.errors import Problem
from manifests.out_of_memory import out_of_memory

log = logging.getLogger(__name__)

NODE_LOSS_SECONDS = 5.0  # until a cluster knows of most lost nodes
DIED = "died"  # the cause of a death that nobody saw coming, once a row was set aside for it

Note = Callable[[str, str], None]  # cause, and what happened in words
Watch = Callable[[float, Note], AbstractContextManager[None]]  # of the seconds that a try is given


@dataclass(frozen=True)
class Attempt:
    """One try: what it is at, where, since when, and (of a death that was foreseen) why the process was ended."""

    stage: str
    row: int
    id: str | None
    unit: str  # what is tried: rows that share it share its deaths. "": the row alone
    what: str  # the same for people
    number: int  # of the row's tries at it, from 1
    node: str
    session: str
    limit_seconds: float
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    started: str = field(default_factory=lambda: process_start(os.getpid()))  # of the process: pids are used again
    begun: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    cause: str = ""
    detail: str = ""

    @property
    def file(self) -> str:
        """Its name in the folder of attempts."""
        return f"{prefix(self.stage, self.unit, self.row)}{self.number}.json"

    def to_json(self) -> bytes:
        """What the file holds."""
        return (json.dumps(asdict(self), ensure_ascii=False) + "\n").encode()


def prefix(stage: str, unit: str, row: int) -> str:
    """How the files of a row's tries begin."""
    return f"{stage}.{unit}-{row}." if unit else f"{stage}.{row}."


def process_start(pid: int) -> str:
    """When a process was started, in ticks since its machine was; "" where that is not to be known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def note_cause(folder: str, attempt: Attempt, cause: str, detail: str) -> None:
    """Write into a try's file why its process is about to be ended: then it counts whatever comes after."""
    storage.publish_bytes(replace(attempt, cause=cause, detail=detail).to_json(), storage.join(folder, attempt.file))


def attempts_in(folder: str, begin: str = "") -> list[Attempt]:
    """Tries whose file's name begins so. One that has ended meanwhile, or that cannot be read, is left out."""
    names = (name for name in sorted(storage.listing(folder)) if name.startswith(begin))
    return [attempt for name in names if (attempt := _read(storage.join(folder, name)))]


def _read(uri: str) -> Attempt | None:
    try:
        values = storage.read_json(uri)
        known = {one.name for one in fields(Attempt)}
        return Attempt(**{name: value for name, value in values.items() if name in known}) if values else None
    except (Problem, TypeError):
        return None


def forgive(folder: str) -> None:
    """Forget all deaths of a run, as it is told to try again what failed; nothing of it may be in hand."""
    for name in storage.listing(folder):
        storage.delete(storage.join(folder, name))


@dataclass(frozen=True)
class Place:
    """Where tries are made: a node of the cluster, in a session of a run."""

    node: str
    session: str
    nodes: Callable[[], Mapping[str, bool]]  # all that the cluster knows of: whether it is alive


class AttemptLedger:
    """Counts the deaths of workers at one stage, over rows that share what killed them and over a run's sessions.

    A death counts that was foreseen (its cause is in the file), or that was followed by another try in its session
    while its node was alive: a lost node is not the row's fault. The last try of an earlier session was ended with its
    driver, and does not count.
    """

    def __init__(
        self,
        folder: str,
        stage: str,
        limit: int,
        place: Place,
        watch: Watch = lambda limit_seconds, note: nullcontext(),
        longest_seconds: float = math.inf,
        node_loss_seconds: float = NODE_LOSS_SECONDS,
    ) -> None:
        """`limit` is how many deaths set a row aside, `longest_seconds` the most that any try is given.

        `watch` ends the process when it must, after noting why.
        """
        self._folder = folder
        self._stage = stage
        self._limit = limit
        self._place = place
        self._watch = watch
        self._longest_seconds = longest_seconds
        self._node_loss_seconds = node_loss_seconds

    @contextmanager
    def trying(
        self, row: int, clip_id: str | None, limit_seconds: float, unit: str = "", what: str = "", parts: str = ""
    ) -> Iterator[int]:
        """Around the work: yields the number of this try. Raises `WorkerDied` when too many were a worker's death.

        Deaths at parts of the work count too, whose units begin with `parts`; none of these may be in hand.

        An exception that leaves the device of this process unusable is noted, and ends the process: Ray would have
        the next row tried here too.
        """
        attempt = self._begin(row, clip_id, min(limit_seconds, self._longest_seconds), unit, what, parts)
        note = lambda cause, detail: note_cause(self._folder, attempt, cause, detail)  # noqa: E731
        try:
            with self._watch(attempt.limit_seconds, note):
                yield attempt.number
        except Exception as error:
            if broken := broken_device(error):
                log.exception("the device cannot be used by this process any more")
                note("device", broken)
                os._exit(1)
            raise
        finally:
            self._end(attempt)

    def _begin(self, row: int, clip_id: str | None, limit_seconds: float, unit: str, what: str, parts: str) -> Attempt:
        earlier = attempts_in(self._folder, f"{self._stage}.{unit}-" if unit else prefix(self._stage, unit, row))
        earlier += attempts_in(self._folder, f"{self._stage}.{parts}") if parts else []
        own = [one for one in earlier if one.row == row]
        self._judge(earlier, row)
        nodes = self._place.nodes() if own else {}
        for lost in own:
            if not lost.cause and not nodes.get(lost.node, True):
                self._end(lost)  # with its node, which a later session could not tell any more
        attempt = Attempt(
            stage=self._stage,
            row=row,
            id=clip_id,
            unit=unit,
            what=what,
            number=max((one.number for one in own), default=0) + 1,
            node=self._place.node,
            session=self._place.session,
            limit_seconds=limit_seconds,
        )
        # taken where one was cut off while it was listed, or is being written by a worker that was taken for lost
        while not storage.create_exclusive(storage.join(self._folder, attempt.file), attempt.to_json()):
            attempt = replace(attempt, number=attempt.number + 1)
        return attempt

    def _end(self, attempt: Attempt) -> None:
        try:
            storage.delete(storage.join(self._folder, attempt.file))
        except Exception as error:  # the work stands
            log.warning("%s could not be removed: %s", attempt.file, error)

    def _judge(self, earlier: Sequence[Attempt], row: int) -> None:
        """Raise `WorkerDied` when too many of these tries were a worker's death."""
        deaths = self._deaths(earlier, row)
        if len(deaths) < self._limit:
            return
        latest = max((one for one in deaths if one.row == row), key=lambda one: one.number, default=None)
        if latest and not latest.cause:
            time.sleep(self._node_loss_seconds)  # a node's workers die before the cluster knows of its loss
            deaths = self._deaths(earlier, row)
            if len(deaths) < self._limit:
                return
            # nothing will follow this try, by which rows that share its unit and later sessions would know of its end
            note_cause(self._folder, latest, DIED, "")
        raise WorkerDied(self._stage, deaths)

    def _deaths(self, earlier: Sequence[Attempt], row: int) -> list[Attempt]:
        nodes = self._place.nodes() if earlier else {}
        last = {(one.row, one.session): one.number for one in sorted(earlier, key=lambda one: one.number)}

        def counts(one: Attempt) -> bool:
            if one.cause:
                return one.cause != DIED or nodes.get(one.node, True)
            this_session = one.session == self._place.session
            followed = one.number < last[one.row, one.session] or (one.row == row and this_session)
            return followed and nodes.get(one.node, not this_session)

        return [one for one in earlier if counts(one)]


class WorkerDied(Problem):
    """A row whose worker died, or had to be ended, too often."""

    def __init__(self, stage: str, attempts: Sequence[Attempt]) -> None:
        self.deaths = len(attempts)
        causes = Counter((one.cause or DIED, one.detail) for one in attempts)
        what = next((f"{one.what}: " for one in attempts if one.what), "")
        if len(causes) == 1:
            cause, detail = next(iter(causes))
            ending = "died" if cause == DIED else "was ended"
            text = f"{what}its worker {ending} {self.deaths} times{f': {detail}' if detail else ''} in {stage}"
        else:
            parts = ", ".join(f"{detail or 'killed, or crashed'} ({count})" for (_, detail), count in causes.items())
            text = f"{what}its worker died {self.deaths} times in {stage}: {parts}"
        super().__init__(text, _REMEDIES[causes.most_common(1)[0][0][0]])


_REMEDIES = {
    DIED: "most often memory, or a damaged file: use a smaller size, window or model, a worker with more memory, or "
    "encode the file anew",
    "time": "use a shorter clip or fewer steps, a faster worker, or allow more in `time_limits`",
    "memory": "use a smaller size, window or model, or allow more in `memory_bytes` of the stage's pool",
    "device": "run again on another machine; if it happens there too, report it with the worker's log",
}


def broken_device(error: BaseException) -> str | None:
    """What an exception says of a CUDA device that this process can no longer use; None of any other.

    After such an error every call fails in the same process. Being out of memory is none.
    """
    seen: BaseException | None = error
    while seen is not None:
        text = next(iter(str(seen).strip().splitlines()), "")
        sticky = type(seen).__name__ == "AcceleratorError" or "CUDA error" in text
        if sticky and not out_of_memory(seen):
            return text or type(seen).__name__
        seen = seen.__cause__
    return None
