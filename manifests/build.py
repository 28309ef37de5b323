"""From CSV or JSON Lines, as people and shops write them, to a typed Parquet manifest."""

import csv
import itertools
import json
import os
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import storage
from manifests.check import CheckReport, judge
from manifests.clip import MAPPINGS, Clip
from manifests.errors import Problem
from manifests.field_error import FieldError
from manifests.table import MANIFEST_SCHEMA, UnknownColumn, columns

CSV = (".csv", ".tsv")
JSON_LINES = (".jsonl", ".ndjson", ".json")

# Line number from 1 and the fields there, or why there are none.
SourceRow = tuple[int, dict[str, Any] | FieldError]


@dataclass(frozen=True)
class BuildReport(CheckReport):
    """What `build` did. `manifest` is the target, which was written only if the report is `ok`."""

    unknown: list[UnknownColumn] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report as text: unknown columns and bad rows first, what became of the target last."""
        notes = [f"{column} → carried as metadata" for column in self.unknown]
        outcome = [] if self.ok else [f"nothing was written to {self.manifest}: mend the rows above and build again"]
        return [*notes, *super().lines(), *outcome]


def build(source: Path, target: str, known_animators: Collection[str] | None = None) -> BuildReport:
    """Writes the clips of a CSV (UTF-8, header line) or JSON Lines file as one Parquet file.

    All or nothing: one bad row, named with its line, and nothing is written. Columns that are no field of a clip
    become metadata. Relative paths are relative to their manifest: where it is written to another folder than the
    source's, media paths are made absolute. Raises Problem when the source cannot be read at all.
    """
    if not target.endswith(".parquet"):
        raise Problem(f"target {storage.redact(target)}: is not a Parquet file name", "let it end in .parquet")
    placed = [(f"line {line}", row) for line, row in _source_rows(source) if row]
    clips, bad = judge(placed, known_animators)
    names = dict.fromkeys(name for _, row in placed if isinstance(row, dict) for name in row)
    _, unknown = columns(names)
    problems = [] if placed else [f"{source}: there is no row → add a row for each film"]
    report = BuildReport(storage.redact(target), len(placed), bad, problems, unknown)
    if report.ok:
        moved = storage.resolve(storage.parent(target), os.getcwd()) != storage.resolve(str(source.parent), os.getcwd())
        whole = [clip for clip in clips if clip is not None]
        _publish([_absolute(clip, source.parent) for clip in whole] if moved else whole, target)
    return report


def _absolute(clip: Clip, folder: Path) -> Clip:
    """The clip with media paths that no longer depend on where its manifest lies. A checkpoint may be a label."""
    base = storage.resolve(str(folder), os.getcwd())
    given = {name: getattr(clip, name) for name in ("reference", "driving", "lora") if getattr(clip, name)}
    return clip.model_copy(update={name: storage.resolve(uri, base) for name, uri in given.items()})


def _publish(clips: list[Clip], target: str) -> None:
    with tempfile.TemporaryDirectory(prefix="catwalk-build-") as folder:
        local = Path(folder) / "manifest.parquet"
        pq.write_table(to_table(clips), local)
        storage.publish(local, target)


def to_table(clips: list[Clip]) -> pa.Table:
    """The clips as a table of MANIFEST_SCHEMA, with the columns that any of them sets; null where one does not."""
    given = set().union(*(clip.model_fields_set for clip in clips))
    schema = pa.schema([column for column in MANIFEST_SCHEMA if column.name in given])
    return pa.Table.from_pylist([_cells(clip) for clip in clips], schema=schema)


def _cells(clip: Clip) -> dict[str, Any]:
    cells = clip.model_dump(exclude_unset=True)
    return cells | {name: json.dumps(cells[name], ensure_ascii=False) for name in MAPPINGS.intersection(cells)}


def _source_rows(source: Path) -> Iterator[SourceRow]:
    kind = source.suffix.lower()
    if kind not in CSV + JSON_LINES:
        raise Problem(f"source {source}: is neither CSV nor JSON Lines", f"name it {', '.join(CSV + JSON_LINES)}")
    try:
        with source.open(encoding="utf-8-sig", newline="" if kind in CSV else None) as lines:
            yield from _csv_rows(source, lines) if kind in CSV else map(_json_row, enumerate(lines, 1))
    except UnicodeDecodeError as error:
        raise Problem(f"source {source}: is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise Problem(f"source {source}: cannot be read ({error.strerror})", "check the path") from error


def _csv_rows(source: Path, lines: Iterator[str]) -> Iterator[SourceRow]:
    header = next(lines, "")
    # Spreadsheets of some countries write ';' between cells.
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(itertools.chain([header], lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    line = 1
    try:
        names = [name.strip() for name in next(reader)]
        if not names or not all(names) or len(set(names)) < len(names):
            raise Problem(f"source {source}: line 1 does not name every column once", "name each column once")
        line = reader.line_num + 1
        for values in reader:
            if any(values):
                yield line, _csv_row(names, values, delimiter)
            line = reader.line_num + 1  # a quoted cell may span lines
    except csv.Error as error:
        raise Problem(f"source {source}, line {line}: is not CSV ({error})", "look for an unclosed quote") from error


def _csv_row(names: list[str], values: list[str], delimiter: str) -> dict[str, Any] | FieldError:
    if len(values) == len(names):
        return dict(zip(names, values, strict=True))
    error = f"has {len(values)} cells where the first line names {len(names)} columns"
    return FieldError("row", "", error, f"put text that contains '{delimiter}' between double quotes")


def _json_row(numbered: tuple[int, str]) -> SourceRow:
    line, text = numbered
    if not text.strip():
        return line, {}
    try:
        row = json.loads(text)
    except json.JSONDecodeError as broken:
        row = f"is not JSON ({broken.msg}, column {broken.colno})"
    except (ValueError, RecursionError):
        row = "is not JSON that can be read"
    if isinstance(row, dict):
        return line, row
    error = row if isinstance(row, str) else "is not a JSON object"
    return line, FieldError("row", "", error, "write one JSON object on each line")
