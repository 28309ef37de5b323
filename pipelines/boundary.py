"""The row-level error boundary: whatever a stage does to one clip, the clip ends as one result and the run goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, TypeVar

from manifests import storage
from manifests.errors import Problem, Rejected
from manifests.results import Result
from manifests.work import Work

log = logging.getLogger(__name__)

Made = TypeVar("Made")


def guarded(stage: str, work: Work, call: Callable[[], Made]) -> Made | Result:
    """What `call` makes, or the result that its exception means for the clip."""
    try:
        return call()
    except Exception as error:
        if not isinstance(error, Problem):
            log.exception("row %d (%s) failed in %s", work.row, work.clip.id, stage)
        return ended(work, stage, error)


def ended(work: Work, stage: str, error: Exception) -> Result:
    """The result of a clip that an exception ended."""
    text, remedy = explained(error)
    return Result(
        row=work.row,
        id=work.clip.id,
        status=status_of(error),
        stage=stage,
        error=text,
        remedy=remedy,
        mode=work.clip.mode,
        animator=work.clip.animator,
        checkpoint=work.checkpoint,
        seconds=work.seconds,
        pose_key=work.pose_key,
        latents_key=work.latents_key or None,
        film_key=work.film_key or None,
        reference_digest=work.reference and work.reference.digest,
        driving_digest=work.driving and work.driving.digest,
        checkpoint_digest=work.checkpoint_digest or None,
        lora_digest=work.lora and work.lora.digest,
        metadata=work.clip.metadata,
    )


def status_of(error: Exception) -> Literal["rejected", "failed"]:
    """Rejected: the row's own input is at fault. Failed: anything else."""
    return "rejected" if isinstance(error, Rejected) else "failed"


def explained(error: Exception) -> tuple[str, str]:
    """(what went wrong, what to do about it) for any exception."""
    if isinstance(error, Problem):
        return error.error, error.remedy
    lines = str(error).strip().splitlines() or [""]
    text = f"{type(error).__name__}: {storage.redact_text(lines[0])}"
    if isinstance(error, MemoryError) or type(error).__name__ in ("OutOfMemoryError", "AcceleratorError"):
        return text, "use a smaller size or window, or a worker with more memory"
    if isinstance(error, PermissionError):
        return text, "give the workers access to the file or bucket"
    if isinstance(error, OSError):
        return text, "storage or network failed: run again, finished clips are kept"
    return text, "run again; if it happens every time, report it with the worker's log, which has the traceback"


class AttemptLedger:
    """Counts how often a worker has died on a clip: an exclusive marker per try, written before the heavy work.

    Ray restarts a row that kills its process for ever. A death counts only if its node is still alive: when a node is
    lost, the clips on it are not to blame.
    """

    def __init__(self, folder: str, limit: int, node: str, alive_nodes: Callable[[], set[str]]) -> None:
        self._folder = folder
        self._limit = limit
        self._node = node
        self._alive_nodes = alive_nodes

    def begin(self, name: str) -> int:
        """Number of this try, from 1. Raises `WorkerDied` when earlier tries were the worker's death too often."""
        earlier: list[str] = []
        while True:
            uri = storage.join(self._folder, f"{name}.{len(earlier) + 1}.json")
            marker = storage.read_json(uri)
            if marker is None:
                self._judge(earlier)
                if storage.create_exclusive(uri, f'{{"node": "{self._node}"}}\n'.encode()):
                    return len(earlier) + 1
            earlier.append((marker or {}).get("node", ""))

    def _judge(self, nodes: list[str]) -> None:
        """Raise `WorkerDied` when too many of the tries were begun on nodes that are still alive."""
        alive = self._alive_nodes() if nodes else set()
        deaths = sum(node in alive for node in nodes)
        if deaths >= self._limit:
            raise WorkerDied(deaths)


class WorkerDied(Problem):
    """A clip whose worker died every time."""

    SIGN = "its worker died"  # how results of this kind begin, wherever they come back from

    def __init__(self, deaths: int) -> None:
        super().__init__(
            f"{self.SIGN} {deaths} times",
            "most often memory: use a smaller size, window or model, or a worker with more memory",
        )
