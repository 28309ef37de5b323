"""What became of a run's rows: gathered as they end, and accounted for, every one of them, at any moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, cast

from manifests import results, storage
from manifests.kept_results import KeptResults
from manifests.layout import Film, OutputLayout, films_among
from manifests.results import Result
from manifests.work import Work
from pipelines.boundary import guarded
from pipelines.consenting import still_consented
from pipelines.plan import reused, usable
from pipelines.planned_clip import PlannedClip
from pipelines.running.stopping import CONTINUE
from pipelines.settings import RunSettings


class Outcomes:
    """One result per row of a run, whatever happens."""

    def __init__(self, rows: Iterable[int], settings: RunSettings) -> None:
        self._rows = list(rows)
        self._settings = settings
        self._layout = settings.layout
        self._run_id = settings.run_id
        self._limits = settings.config.review
        self._clips: dict[int, PlannedClip] = {}
        self._results: dict[int, str] = {}  # as text
        self._unreached: set[int] = set()
        self._waiting: set[int] = set()  # have a result, which does not count if the run ends before they have another

    def plan(self, clips: Iterable[PlannedClip]) -> None:
        """Take in clips that are to be made: what they came to before does not count."""
        for clip in clips:
            self._clips[clip.row] = clip
            self._results.pop(clip.row, None)
            self._waiting.discard(clip.row)

    def clip(self, row: int) -> PlannedClip:
        """The clip of a row that was to be made."""
        return self._clips[row]

    def take(self, ended: Iterable[Result]) -> None:
        """Take in results. A row's later one counts."""
        kept = KeptResults(ended)
        self._results |= kept.texts()
        now = {row for row, _ in kept.texts()}
        self._unreached -= now
        self._waiting -= now
        self._unreached |= {result.row for result in kept if result.status == "not_reached"}

    def wait(self, rows: Iterable[int]) -> None:
        """Rows are to be done once more: they are not reached if the run is ended before."""
        self._waiting.update(rows)

    def stand(self, rows: Iterable[int]) -> None:
        """Rows are not done once more: what they came to counts."""
        self._waiting.difference_update(rows)

    def so_far(self, ending: str | None, begun: Mapping[int, str] | None = None) -> KeptResults:
        """Every row: as it ended; not reached, if the run is `ending` for that reason; else vanished.

        `begun` names the stage of rows that were in hand when it ended.
        """
        counting = self._results.keys() - (set() if ending is None else self._waiting)
        open_rows = [row for row in self._rows if row not in counting]
        closed = [] if ending is None else [self._not_reached(row, ending, begun or {}) for row in open_rows]
        vanished = open_rows if ending is None else []
        about = {row: _about(self._clips[row]) for row in vanished if row in self._clips}
        made = KeptResults(results.reconcile(open_rows, closed, about))
        for row in self._rows:
            if row in counting:
                made.add(row, self._results[row])
        return made.in_order()

    def found(self, names: Mapping[str, int]) -> list[Result]:
        """Results of rows without one, or not reached, whose film is there all the same; `names` as in `films_of`.

        A film may have been published by a worker whose word did not come back, or by another run, under its own id.
        """
        reached = self._results.keys() - self._unreached - self._waiting
        clips = [self._clips[row] for row in self._rows if row in self._clips and row not in reached]
        by_key = films_among(names) if clips else {}
        films = {clip.row: Film(clip.id, clip.film_key) for clip in clips}
        for clip in clips:
            if not _is_there(self._layout, films[clip.row], names) and clip.film_key in by_key:
                films[clip.row] = by_key[clip.film_key]
        there = [clip for clip in clips if _is_there(self._layout, films[clip.row], names)]
        markers = self._layout.read_film_markers([films[clip.row] for clip in there])
        kept = []
        for work, marker in zip((clip.work for clip in there), markers, strict=True):
            if marker is None or self._settings.config.safety.pending(marker):
                continue
            if usable(work, marker, names[storage.name(self._layout.film(films[work.row]))]):
                kept.append(guarded("reconcile", work, partial(self._found, work, films[work.row], marker)))
        return kept

    def _found(self, work: Work, film: Film, marker: dict[str, Any]) -> Result:
        work = still_consented(work, self._settings)
        signing = self._settings.signing()
        return reused(work, film, marker, self._layout, self._run_id, self._limits, signing)

    def _not_reached(self, row: int, ending: str, begun: Mapping[int, str]) -> Result:
        error = f"{'not finished' if row in begun else 'not begun'}: {ending}"
        ended: dict[str, Any] = {"stage": begun.get(row), "error": error, "remedy": CONTINUE}
        if clip := self._clips.get(row):
            return results.of_clip(clip.work, "not_reached", **ended)
        return Result(row=row, status="not_reached", **ended)


def films_of(layout: OutputLayout) -> dict[str, int]:
    """Names and sizes of all that lies among the films: one listing."""
    return storage.listing(layout.films)


def checked(final: Iterable[Result], names: Mapping[str, int], layout: OutputLayout) -> tuple[KeptResults, int]:
    """Results as they are once their films have been looked for, and how many films are gone or cut short."""
    kept, looked, gone = KeptResults(final), KeptResults(), 0
    for (row, text), result in zip(kept.texts(), kept, strict=True):
        if _is_whole(result, names, layout):
            looked.add(row, text)
        else:
            looked.extend([_without_film(result, names)])
            gone += 1
    return looked, gone


def _is_whole(result: Result, names: Mapping[str, int], layout: OutputLayout) -> bool:
    if not result.good or result.film is None or storage.parent(result.film) != layout.films:
        return True
    size = names.get(storage.name(result.film))
    return size is not None and size == (result.film_bytes or size)


def _without_film(result: Result, names: Mapping[str, int]) -> Result:
    film = cast(str, result.film)
    size = names.get(storage.name(film))
    what = "is not there" if size is None else f"has {size:,} bytes instead of {result.film_bytes:,}"
    gone = {
        "status": "failed",
        "stage": "reconcile",
        "error": f"film {storage.redact(film)}: was made, and {what} at the end of the run",
        "remedy": "run again under the same run id: it is made again; see that nobody else writes there",
        "film": None,
        "poster": None,
    }
    return result.model_copy(update=gone)


def _is_there(layout: OutputLayout, film: Film, names: Mapping[str, int]) -> bool:
    return all(names.get(storage.name(place(film))) for place in (layout.film, layout.film_marker))


def _about(clip: PlannedClip) -> dict[str, Any]:
    return {"id": clip.id, "metadata": clip.work.clip.metadata}
