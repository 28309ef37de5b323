"""Judging the rows of a manifest before anything is spent on them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from manifests import cell, storage
from manifests.clip import REQUIRED, Clip, parse_clip
from manifests.errors import Problem
from manifests.field_error import FieldError, choose, shown, without_particulars
from manifests.table import (
    Trial,
    UnknownColumn,
    duplicate_rows,
    first_of,
    read_files,
    row_id,
    rows,
    split_row,
    unknown_columns,
    unknown_notes,
)
from manifests.table_limits import require_modest

MOST_ROWS, MOST_KINDS, MOST_RANGES = 5, 20, 30

# Looks at the media of a row that is good so far; returns what is wrong with it.
Examine = Callable[[int, dict[str, Any]], Problem | None]


class Place(NamedTuple):
    """Where a person finds a row: its number from 0, and its line from 1 or its file where that is known."""

    row: int
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = self.file if self.line is None else f"line {self.line}"
        return f"row {self.row} ({where})" if where else f"row {self.row}"


class BadRow(NamedTuple):
    """One thing wrong with one row: where its author finds it, and the field at fault or what its media are like."""

    place: Place
    error: FieldError | Problem

    @property
    def row(self) -> int:
        """The row's number from 0."""
        return self.place.row

    @property
    def kind(self) -> str:
        """The same text for the same thing wrong with another value."""
        error = self.error
        text = f"{error.field}: {error.error} → {error.remedy}" if isinstance(error, FieldError) else str(error)
        return without_particulars(text)

    def __str__(self) -> str:
        return f"{self.place}: {self.error}"


@dataclass(frozen=True)
class CheckReport:
    """What `check` found. `problems` concern the manifest as a whole, `bad` its rows; `notes` are no faults."""

    manifest: str
    rows: int = 0
    bad: list[BadRow] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.bad and not self.problems

    def lines(self) -> list[str]:
        """The report as text, bounded: what is wrong, kind by kind; the notes; a headline last."""
        verdict = [] if not self.bad else [f"{len({bad.row for bad in self.bad})} with errors"]
        verdict += [] if not self.problems else [f"other problems: {len(self.problems)}"]
        headline = f"{self.manifest}: {self.rows} rows, {', '.join(verdict) or 'all good'}"
        return [*self.problems, *_by_kind(self.bad), *self.notes, headline]


def _by_kind(bad: Sequence[BadRow]) -> Iterator[str]:
    kinds: dict[str, list[BadRow]] = {}
    for one in bad:
        kinds.setdefault(one.kind, []).append(one)
    for alike in list(kinds.values())[:MOST_KINDS]:
        yield from map(str, alike[:MOST_ROWS])
        if more := alike[MOST_ROWS:]:
            lines = [one.place.line for one in more if one.place.line is not None]
            where = f"rows {_ranges([one.row for one in more])}" + (f" (lines {_ranges(lines)})" if lines else "")
            yield f"  … and {len(more)} more like the last: {where}"
    if beyond := list(kinds.values())[MOST_KINDS:]:
        yield f"… and {sum(map(len, beyond))} errors of {len(beyond)} more kinds"


def _ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers as '3, 7–12', and an ellipsis after the first ranges."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    named = [str(first) if first == last else f"{first}–{last}" for first, last in ranges[:MOST_RANGES]]
    return ", ".join(named + ["…"] * (len(ranges) > MOST_RANGES))


def check(
    uri: str,
    known_animators: Collection[str] | None = None,
    *,
    strict: bool = False,
    examine: Examine | None = None,
    trial: Trial = require_modest,
) -> CheckReport:
    """Every bad row of a manifest. None accepts every animator name; `strict` takes unknown columns for a problem.

    Media files are looked at by `examine` alone. Each file of the manifest is first given to `trial`.
    """
    shown_uri = storage.redact(uri)
    try:
        files = read_files(uri, trial)
    except Problem as problem:
        return CheckReport(shown_uri, problems=[str(problem)])
    names = dict.fromkeys(name for file, table in files for name in (*table.column_names, *file.partitions))
    unknown, absent = unknown_columns(names), absent_columns(names)
    problems = [f"{one} → rename it, or move its values into metadata" for one in first_of(unknown)] if strict else []
    problems += absent_problems(absent, unknown)
    notes = [] if strict else unknown_notes(unknown)
    if examine is None:
        notes.append("media files, and what rows ask of them, were not looked at → --media does")
    total = sum(table.num_rows for _, table in files)
    if not total:
        problems.append("the manifest has no rows → add a row for each film")
    every_row = ((file, row) for file, table in files for row in rows(table))
    placed = ((Place(number, file.name), file.partitions | row) for number, (file, row) in enumerate(every_row))
    _, bad = judge(placed, known_animators, examine)
    return CheckReport(shown_uri, total, besides(bad, absent), problems, notes)


def absent_columns(names: Collection[str]) -> list[str]:
    """The fields that every row needs and no row has."""
    return [name for name in REQUIRED if name not in names]


def absent_problems(absent: Collection[str], unknown: Sequence[UnknownColumn]) -> list[str]:
    """What is to be said of each absent column, and which unknown one may be it."""
    meant = {column.suggestion: f"rename {shown(column.name)}, or " for column in reversed(unknown)} if absent else {}
    return [
        f"column '{name}' is missing → {meant.get(name, '')}add it: {Clip.model_fields[name].description}"
        for name in absent
    ]


def besides(bad: Iterable[BadRow], absent: Collection[str]) -> list[BadRow]:
    """The bad rows less what was said once of a column that is absent altogether."""
    return [one for one in bad if not (isinstance(one.error, FieldError) and one.error.field in absent)]


def judge(
    placed_rows: Iterable[tuple[Place, dict[str, Any] | FieldError]],
    known_animators: Collection[str] | None = None,
    examine: Examine | None = None,
) -> tuple[list[Clip | None], list[BadRow]]:
    """The clip of each (place, row), None where the row is bad, and everything that is wrong, in the order of rows.

    A row that could not even be split into fields comes as the error that says so.
    """
    clips: list[Clip | None] = []
    places: list[Place] = []
    ids: list[str | None] = []
    found: list[BadRow] = []
    for place, row in placed_rows:
        clip, errors = _judged(place.row, row, known_animators, examine)
        found += [BadRow(place, error) for error in errors]
        clips.append(None if errors else clip)
        places.append(place)
        ids.append(None if isinstance(row, FieldError) else row_id(row))
    for number, first in duplicate_rows(ids).items():
        error = FieldError("id", shown(ids[number]), f"is already that of {places[first]}", "give every row its own id")
        found.append(BadRow(places[number], error))
        clips[number] = None
    return clips, sorted(found, key=lambda bad: bad.row)


def _judged(
    number: int, row: dict[str, Any] | FieldError, known: Collection[str] | None, examine: Examine | None
) -> tuple[Clip | None, list[FieldError | Problem]]:
    if isinstance(row, FieldError):
        return None, [row]
    clip, errors = parse_clip(split_row(row))
    animator = row.get("animator")
    if known is not None and not cell.is_null(animator) and str(animator).strip() not in known:
        remedy = choose(str(animator), known)
        errors = [*errors, FieldError("animator", shown(animator), "is not a known animator", remedy)]
    problem = examine(number, row) if examine and not errors else None
    return clip, [problem] if problem else [*errors]
