"""A run in figures: what became of its rows, and what went wrong most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from fractions import Fraction
from typing import Any, get_args

from manifests.field_error import without_particulars
from manifests.results import Result, Status


def summarise(results: Sequence[Result]) -> dict[str, Any]:
    """The run in figures.

    `rows` and the count of each status; `warned`: films with a warning; `frames` and `film_seconds` of all films that
    are there; `stage_seconds` spent by this run (cached rows cost nothing now); `failures`: status, stage, error,
    remedy, count and first rows of each kind, the most frequent kind first. Errors that differ only in names, paths and
    numbers are one kind.
    """
    counts = Counter(result.status for result in results)
    films = [result for result in results if result.good]
    spent: Counter[str] = Counter()
    for result in results:
        if result.status != "cached":
            spent.update(result.seconds)
    return {
        "rows": len(results),
        **{status: counts[status] for status in get_args(Status)},
        "warned": sum(bool(film.warnings) for film in films),
        "frames": sum(film.frames or 0 for film in films),
        "film_seconds": float(sum((film.frames or 0) / Fraction(film.fps) for film in films if film.fps)),
        "stage_seconds": dict(sorted(spent.items())),
        "gpu_seconds": round(sum(result.gpu_seconds or 0 for result in results if result.status != "cached"), 3),
        "failures": _failures(result for result in results if not result.good),
    }


def _failures(results: Iterable[Result]) -> list[dict[str, Any]]:
    kinds: dict[tuple[str, str | None, str], list[Result]] = {}
    for result in results:
        kind = (result.status, result.stage, without_particulars(result.error or ""))
        kinds.setdefault(kind, []).append(result)
    return [
        {
            "status": group[0].status,
            "stage": group[0].stage,
            "error": group[0].error,
            "remedy": group[0].remedy,
            "count": len(group),
            "first_rows": sorted(result.row for result in group)[:5],
        }
        for group in sorted(kinds.values(), key=lambda group: (-len(group), min(result.row for result in group)))
    ]


def exit_code(results: Iterable[Result], ok_if: Collection[Status] = ()) -> int:
    """0 when every row has its film or ended in a way that is `ok_if`, else 3."""
    return 0 if all(result.good or result.status in ok_if for result in results) else 3
