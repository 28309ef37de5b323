"""What a session of a run has done so far: how busy its workers are, what it made, what it is measured by."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from manifests.results import Result

HOUR = 3600.0


@dataclass
class _Worker:
    busy: float = 0.0  # seconds
    until: datetime | None = None  # when its last row ended


@dataclass
class Meter:
    """Takes in rows as they end. `workers` animate, `most` of them where pools grow, and hold `gpus` each."""

    workers: int
    gpus: float
    most: int = 0
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    counts: Counter[str] = field(default_factory=Counter)  # by status, cached rows of the plan too
    seconds: Counter[str] = field(default_factory=Counter)  # by stage, of rows that this session did
    done: int = 0
    frames: int = 0
    film_seconds: float = 0.0
    cpu_seconds: float = 0.0
    worker_deaths: int = 0
    _held: float = 0.0  # seconds of all workers that were there, before the graph that runs now
    _alone: bool = False
    _since: datetime | None = None
    _of: defaultdict[str, _Worker] = field(default_factory=lambda: defaultdict(_Worker))
    _lost: float = 0.0  # busy seconds of rows whose worker is not known

    def begins(self, alone: bool = False) -> None:
        """The workers start, or one `alone`."""
        self._since, self._alone = self.now(), alone

    def ends(self) -> None:
        """The workers are gone."""
        self._held = self.held_seconds
        self._since, self._of = None, self._closed()

    def settled(self, results: Iterable[Result]) -> None:
        """Take in rows that took this session's workers nothing: they count by their status alone."""
        self.counts.update(result.status for result in results)

    def ended(self, result: Result) -> None:
        """Take in a row that the workers were given: one that they did not do counts by its status alone."""
        self.counts[result.status] += 1
        self.worker_deaths += result.worker_deaths
        if result.status in ("cached", "rejected", "not_reached"):
            return
        self.seconds.update(result.seconds)
        if result.status == "done":
            self.done += 1
            self.frames += result.frames or 0
            self.film_seconds += result.film_seconds or 0.0
            self.cpu_seconds += result.cpu_seconds or 0.0
        busy, until = self._busy(result)
        if result.worker is None:
            self._lost += busy
            return
        worker = self._of[result.worker]
        worker.busy += busy
        worker.until = max(worker.until or until, until)

    def part_ended(self, result: Result, seconds: float) -> None:
        """Take in a segment of a clip, which took its worker so long; the clip itself has not ended.

        A segment that failed does not say how long it took, but may say for how long it held GPUs.
        """
        worker = self._of[result.worker or ""]
        worker.busy += seconds or self._busy(result)[0]
        worker.until = self.now()

    @property
    def busy_seconds(self) -> float:
        """Of all animating workers."""
        return self._lost + sum(worker.busy for worker in self._of.values())

    @property
    def held_seconds(self) -> float:
        """For which all animating workers were there."""
        going = (self.now() - self._since).total_seconds() if self._since else 0.0
        return self._held + self._there * going

    @property
    def busy_so_far(self) -> float | None:
        """Share of the time up to their last rows for which workers were busy; rows in hand are not known."""
        if self._since is None:
            return self.busy
        known = [worker for worker in self._of.values() if worker.until]
        there = sum((worker.until - self._since).total_seconds() for worker in known if worker.until)
        return min(1.0, sum(worker.busy for worker in known) / there) if there > 0 else None

    @property
    def busy(self) -> float | None:
        """Share of the time for which workers were there that they were busy."""
        return min(1.0, self.busy_seconds / self.held_seconds) if self.held_seconds else None

    def figures(self) -> dict[str, Any]:
        """For a summary: of this session."""
        return {
            "done": self.done,
            "frames": self.frames,
            "film_seconds": round(self.film_seconds, 3),
            "worker_seconds": round(self.busy_seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "gpu_hours": round(self.busy_seconds * self.gpus / HOUR, 6),
            "gpu_hours_held": round(self.held_seconds * self.gpus / HOUR, 6),
            "busy": self.busy and round(self.busy, 4),
        }

    def _busy(self, result: Result) -> tuple[float, datetime]:
        if result.started is not None and result.finished is not None:
            return (result.finished - result.started).total_seconds(), result.finished
        return (result.gpu_seconds or 0.0) / self.gpus if self.gpus else 0.0, self.now()

    @property
    def _there(self) -> int:
        """Workers at the same time. A pool may have grown; one that took a dead one's place is none beside it."""
        return 1 if self._alone else max(self.workers, min(len(self._of), self.most))

    def _closed(self) -> defaultdict[str, _Worker]:
        """The next graph has workers of its own."""
        self._lost = self.busy_seconds
        return defaultdict(_Worker)
