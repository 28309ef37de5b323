"""A run in figures: what became of its rows, and what went wrong most often."""

from __future__ import annotations

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, get_args

from manifests.consent.record import ROLES
from manifests.field_error import without_particulars
from manifests.results import Result, Status

MOST_SLOW = 10


def summarise(results: Iterable[Result]) -> dict[str, Any]:
    """The run in figures, looked at once, one result after the other.

    `rows` and the count of each status; `warned`: films with a warning; `to_review`: films
    that somebody should look at; `without_consent`: films made although a consent is missing; `consents`: the records
    that films were made under, and how many; `signed_by`: films by the name in the signing certificate,
    "nobody" where that was asked for, "unknown" of older films; `frames` and `film_seconds` of all films that
    are there; `fast`: recipes of mode fast, and how many films are of each;
    `film_seconds_made` of those that this run made, and `film_seconds_accepted` of those of them that nobody
    has to look at; `stage_seconds` spent by this run (cached rows cost nothing now), `stages`: rows, mean and longest
    of each; `slowest`: the rows it took longest for; `failures`: status, stage, error,
    remedy, count and first rows of each kind, the most frequent kind first. Errors that differ only in names, paths and
    numbers are one kind.
    """
    counts: Counter[str] = Counter()
    spent: defaultdict[str, _Spent] = defaultdict(_Spent)
    slowest: list[tuple[float, int, str | None]] = []
    made = accepted = Fraction(0)
    frames = warned = to_review = 0
    film_seconds = Fraction(0)
    gpu_seconds = 0.0
    signers: Counter[str] = Counter()
    recipes: Counter[tuple[str | None, str]] = Counter()
    consents: Counter[tuple[str, str | None]] = Counter()
    without_consent = 0
    kinds: dict[tuple[str, str | None, str], _Kind] = {}
    for result in results:
        counts[result.status] += 1
        length = (result.frames or 0) / Fraction(result.fps) if result.fps else Fraction(0)
        if result.status != "cached":
            for stage, seconds in result.seconds.items():
                spent[stage].add(seconds)
            gpu_seconds += result.gpu_seconds or 0
            entry = sum(result.seconds.values()), result.row, result.id
            (heapq.heappush if len(slowest) < MOST_SLOW else heapq.heappushpop)(slowest, entry)
        if result.status == "done":
            made += length
            accepted += 0 if result.review else length
        if result.good:
            frames += result.frames or 0
            film_seconds += length
            warned += bool(result.warnings)
            to_review += bool(result.review)
            without_consent += bool(result.consent_missing)
            consents.update(_consents(result))
            signers[result.signed_by or "unknown"] += 1
            if "deviation" in result.recipe:  # which every recipe of mode fast has
                recipes[result.animator, json.dumps(result.recipe)] += 1
        else:
            kind = (result.status, result.stage, without_particulars(result.error or ""))
            kinds.setdefault(kind, _Kind(result, [])).rows.append(result.row)
    return {
        "rows": counts.total(),
        **{status: counts[status] for status in get_args(Status)},
        "warned": warned,
        "to_review": to_review,
        "without_consent": without_consent,
        "consents": [
            {"id": name, "digest": digest, "films": films}
            for (name, digest), films in sorted(consents.items(), key=lambda one: (one[0][0], one[0][1] or ""))
        ],
        "signed_by": dict(signers.most_common()),
        "fast": [
            {"animator": animator, "films": films, "recipe": json.loads(recipe)}
            for (animator, recipe), films in recipes.most_common()
        ],
        "frames": frames,
        "film_seconds": float(film_seconds),
        "film_seconds_made": float(made),
        "film_seconds_accepted": float(accepted),
        "stage_seconds": {stage: round(spent[stage].seconds, 3) for stage in sorted(spent)},
        "stages": {stage: spent[stage].in_figures() for stage in sorted(spent)},
        "slowest": [
            {"row": row, "id": name, "seconds": round(seconds, 3)}
            for seconds, row, name in sorted(slowest, reverse=True)
            if seconds
        ],
        "gpu_seconds": round(gpu_seconds, 3),
        "failures": [
            kind.in_figures() for kind in sorted(kinds.values(), key=lambda kind: (-len(kind.rows), min(kind.rows)))
        ],
    }


def _consents(result: Result) -> set[tuple[str, str | None]]:
    """The records that a film was made under, and the digests of their terms, where they were looked at."""
    named = ((getattr(result, f"{role}_consent"), getattr(result, f"{role}_consent_digest")) for role in ROLES)
    return {(name, digest) for name, digest in named if name}


@dataclass
class _Spent:
    """Seconds in one stage."""

    rows: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        self.rows += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)

    def in_figures(self) -> dict[str, Any]:
        return {"rows": self.rows, "mean": round(self.seconds / self.rows, 3), "longest": round(self.longest, 3)}


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
