"""From CSV or JSON Lines, as people and shops write them, to a typed Parquet manifest."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import storage
from manifests.check import CheckReport, Place, absent_columns, absent_problems, besides, judge
from manifests.clip import MAPPINGS, Clip
from manifests.errors import Problem
from manifests.source_rows import read_source
from manifests.table import MANIFEST_SCHEMA, unknown_columns, unknown_notes
from manifests.temporary import temporary_folder


@dataclass(frozen=True)
class BuildReport(CheckReport):
    """What `build` did: `written` rows now stand in the target, `manifest`, numbered anew without the bad ones."""

    written: int = 0

    def lines(self) -> list[str]:
        """The report as text: bad rows first, what became of the target last."""
        if self.ok:
            return super().lines()
        if not self.written:
            return [*super().lines(), f"nothing was written to {self.manifest}: mend the source and build again"]
        outcome = f"{self.written} of {self.rows} rows were written: mend the others in the source and build again"
        return [*super().lines(), outcome]


def build(
    source: Path, target: str, known_animators: Collection[str] | None = None, *, all_or_nothing: bool = False
) -> BuildReport:
    """Writes the clips of a CSV (UTF-8, header line) or JSON Lines file as one Parquet file.

    A bad row is named with its line and left out; with `all_or_nothing`, or where no row is good, nothing is written.
    Columns that are no field of a clip become metadata. Relative paths are relative to their manifest: where it is
    written to another folder than the source's, media paths are made absolute. Raises Problem when the source cannot
    be read at all.
    """
    if not target.endswith(".parquet"):
        raise Problem(f"target {storage.redact(target)}: is not a Parquet file name", "let it end in .parquet")
    rows, notes = read_source(source)
    placed = [(Place(number, line=line), row) for number, (line, row) in enumerate(rows)]
    judged, bad = judge(placed, known_animators)
    names = dict.fromkeys(name for _, row in rows if isinstance(row, dict) for name in row)
    unknown, absent = unknown_columns(names), absent_columns(names)
    problems = absent_problems(absent, unknown) if placed else [f"{source}: there is no row → add a row for each film"]
    clips = [clip for clip in judged if clip is not None]
    written = 0 if all_or_nothing and len(clips) < len(placed) else len(clips)
    if written:
        moved = storage.resolve(storage.parent(target), os.getcwd()) != storage.resolve(str(source.parent), os.getcwd())
        _publish([_absolute(clip, source.parent) for clip in clips] if moved else clips, target)
    notes += unknown_notes(unknown)
    return BuildReport(storage.redact(target), len(placed), besides(bad, absent), problems, notes, written=written)


def _absolute(clip: Clip, folder: Path) -> Clip:
    """The clip with media paths that no longer depend on where its manifest lies. A checkpoint may be a label."""
    base = storage.resolve(str(folder), os.getcwd())
    given = {name: getattr(clip, name) for name in ("reference", "driving", "mask", "lora") if getattr(clip, name)}
    return clip.model_copy(update={name: storage.resolve(uri, base) for name, uri in given.items()})


def _publish(clips: list[Clip], target: str) -> None:
    with temporary_folder("build") as folder:
        local = folder / "manifest.parquet"
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
