"""The row-level error boundary: whatever a stage does to one clip, the clip ends as one result and the run goes on."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from manifests import results, storage
from manifests.errors import Again, Problem, Rejected
from manifests.out_of_memory import out_of_memory
from manifests.results import Result
from manifests.shown_text import visible
from manifests.storage_fault import storage_fault
from manifests.work import Work
from pipelines.running.attempts import WorkerDied
from pipelines.running.stopping import NotReached

log = logging.getLogger(__name__)

Made = TypeVar("Made")
Then = Literal["", "alone", "again", "render"]


def guarded(stage: str, work: Work, call: Callable[[], Made]) -> Made | Result:
    """What `call` makes, or the result that its exception means for the clip."""
    try:
        return call()
    except Exception as error:
        return ended(work, stage, error)


def ended(work: Work, stage: str, error: Exception) -> Result:
    """The result of a clip that an exception ended. The traceback of one that nobody foresaw goes into the log."""
    note_unforeseen(f"row {work.row} ({work.clip.id}) failed in {stage}", error)
    return results.of_clip(work, status_of(error), stage=stage, **reasons(error))


def note_unforeseen(what: str, error: Exception) -> None:
    """Log the traceback of an exception that is no `Problem`."""
    if not isinstance(error, Problem):
        log.error("%s\n%s", what, storage.redact_text("".join(traceback.format_exception(error))))


def reasons(error: Exception) -> dict[str, Any]:
    """What an exception says of its row, as fields of Result."""
    text, remedy = explained(error)
    return {"error": text, "remedy": remedy, "worker_deaths": error.deaths if isinstance(error, WorkerDied) else 0}


def then(error: Exception) -> Then:
    """What a run does with a row that an exception ended: "alone", one last try alone; "again", do it once more."""
    if isinstance(error, WorkerDied):
        return "alone"
    return "again" if isinstance(error, Again) else ""


def status_of(error: Exception) -> Literal["rejected", "failed", "not_reached"]:
    """Rejected: the row's own input is at fault. Not reached: it was not begun. Failed: anything else."""
    if isinstance(error, NotReached):
        return "not_reached"
    return "rejected" if isinstance(error, Rejected) else "failed"


def explained(error: Exception) -> tuple[str, str]:
    """(what went wrong, what to do about it) for any exception."""
    if isinstance(error, Problem):
        return storage.redact_text(error.error), storage.redact_text(error.remedy)
    lines = str(error).strip().splitlines() or [""]
    text = visible(f"{type(error).__name__}: {storage.redact_text(lines[0])}")
    if out_of_memory(error):
        return text, "use a smaller size or window, set animate_pool.low_vram, or take a worker with more memory"
    if fault := storage_fault(error):
        return fault
    if isinstance(error, OSError):
        return text, "storage or network failed: run again, finished clips are kept"
    return text, "run again; if it happens every time, report it with the worker's log, which has the traceback"
