"""A run in figures: what became of its rows, and what went wrong most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from fractions import Fraction
from typing import Any, NamedTuple, get_args

from manifests.field_error import without_particulars
from manifests.results import Result, Status


def summarise(results: Iterable[Result]) -> dict[str, Any]:
    """The run in figures, looked at once, one result after the other.

    `rows` and the count of each status; `warned`: films with a warning; `to_review`: films
    that somebody should look at; `frames` and `film_seconds` of all films that
    are there; `stage_seconds` spent by this run (cached rows cost nothing now); `failures`: status, stage, error,
    remedy, count and first rows of each kind, the most frequent kind first. Errors that differ only in names, paths and
    numbers are one kind.
    """
    counts: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    frames = warned = to_review = 0
    film_seconds = Fraction(0)
    gpu_seconds = 0.0
    kinds: dict[tuple[str, str | None, str], _Kind] = {}
    for result in results:
        counts[result.status] += 1
        if result.status != "cached":
            spent.update(result.seconds)
            gpu_seconds += result.gpu_seconds or 0
        if result.good:
            frames += result.frames or 0
            film_seconds += (result.frames or 0) / Fraction(result.fps) if result.fps else 0
            warned += bool(result.warnings)
            to_review += bool(result.review)
        else:
            kind = (result.status, result.stage, without_particulars(result.error or ""))
            kinds.setdefault(kind, _Kind(result, [])).rows.append(result.row)
    return {
        "rows": counts.total(),
        **{status: counts[status] for status in get_args(Status)},
        "warned": warned,
        "to_review": to_review,
        "frames": frames,
        "film_seconds": float(film_seconds),
        "stage_seconds": dict(sorted(spent.items())),
        "gpu_seconds": round(gpu_seconds, 3),
        "failures": [
            kind.in_figures() for kind in sorted(kinds.values(), key=lambda kind: (-len(kind.rows), min(kind.rows)))
        ],
    }


class _Kind(NamedTuple):
    """Rows that ended alike."""

    first: Result
    rows: list[int]

    def in_figures(self) -> dict[str, Any]:
        said = {name: getattr(self.first, name) for name in ("status", "stage", "error", "remedy")}
        return {**said, "count": len(self.rows), "first_rows": sorted(self.rows)[:5]}


def exit_code(results: Iterable[Result], ok_if: Collection[Status] = ()) -> int:
    """0 when every row has its film or ended in a way that is `ok_if`, else 3."""
    return 0 if all(result.good or result.status in ok_if for result in results) else 3
