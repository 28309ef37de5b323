"""Judging the rows of a manifest before anything is spent on them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from manifests import cell, storage
from manifests.clip import REQUIRED, Clip, parse_clip
from manifests.errors import Problem
from manifests.field_error import FieldError, choose, shown
from manifests.table import columns, duplicate_rows, read_files, row_id, rows, split_row


class BadRow(NamedTuple):
    """One thing wrong with one row: its number from 0, where its author finds it, and the field at fault."""

    row: int
    place: str
    error: FieldError

    def __str__(self) -> str:
        return f"{self.place}: {self.error}"


@dataclass(frozen=True)
class CheckReport:
    """What `check` found. `problems` concern the manifest as a whole, `bad` its rows."""

    manifest: str
    rows: int = 0
    bad: list[BadRow] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.bad and not self.problems

    def lines(self) -> list[str]:
        """The report as text: one line for each thing that is wrong, a headline last."""
        found = [*self.problems, *map(str, self.bad)]
        rows_at_fault = len({bad.row for bad in self.bad})
        verdict = "all good" if self.ok else f"{rows_at_fault} with errors, {len(self.problems)} other problems"
        return [*found, f"{self.manifest}: {self.rows} rows, {verdict}"]


def check(uri: str, known_animators: Collection[str] | None = None) -> CheckReport:
    """Every bad row and unknown column of a manifest. Media files are not opened; None accepts every animator name."""
    shown_uri = storage.redact(uri)
    try:
        files = read_files(uri)
    except Problem as problem:
        return CheckReport(shown_uri, problems=[str(problem)])
    known, unknown = columns(name for file, table in files for name in (*table.column_names, *file.partitions))
    total = sum(table.num_rows for _, table in files)
    problems = [f"{column} → rename it, or move its values into metadata" for column in unknown]
    absent = [name for name in REQUIRED if name not in known]
    problems += [f"column '{name}' is missing → add it: {Clip.model_fields[name].description}" for name in absent]
    if not total:
        problems.append("the manifest has no rows → add a row for each film")
    places = (
        f"row {number} ({file.name})"
        for number, file in enumerate(file for file, part in files for _ in range(part.num_rows))
    )
    every_row = (file.partitions | row for file, table in files for row in rows(table))
    _, bad = judge(zip(places, every_row, strict=True), known_animators)
    # A column that is absent altogether was named once above.
    bad = [one for one in bad if one.error.field not in absent]
    return CheckReport(shown_uri, total, bad, problems)


def judge(
    placed_rows: Iterable[tuple[str, dict[str, Any] | FieldError]], known_animators: Collection[str] | None = None
) -> tuple[list[Clip | None], list[BadRow]]:
    """The clip of each (place, row), None where the row is bad, and everything that is wrong, in the order of rows.

    A row that could not even be split into fields comes as the error that says so.
    """
    clips: list[Clip | None] = []
    places: list[str] = []
    ids: list[str | None] = []
    found: list[BadRow] = []
    for number, (place, row) in enumerate(placed_rows):
        clip, errors = (None, [row]) if isinstance(row, FieldError) else _parse(row, known_animators)
        found += [BadRow(number, place, error) for error in errors]
        clips.append(None if errors else clip)
        places.append(place)
        ids.append(None if isinstance(row, FieldError) else row_id(row))
    for number, first in duplicate_rows(ids).items():
        error = FieldError("id", shown(ids[number]), f"is already that of {places[first]}", "give every row its own id")
        found.append(BadRow(number, places[number], error))
        clips[number] = None
    return clips, sorted(found, key=lambda bad: bad.row)


def _parse(row: dict[str, Any], known: Collection[str] | None) -> tuple[Clip | None, list[FieldError]]:
    clip, errors = parse_clip(split_row(row))
    animator = row.get("animator")
    if known is not None and not cell.is_null(animator) and str(animator).strip() not in known:
        remedy = choose(str(animator), known)
        errors = [*errors, FieldError("animator", shown(animator), "is not a known animator", remedy)]
    return clip, errors
