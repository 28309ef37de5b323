"""A manifest's rows, read with Ray Data and numbered as its owner counts them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data

from manifests import cell, storage, table
from manifests.errors import Problem, WrongUsage
from manifests.field_error import choose
from manifests.storage_fault import storage_fault


@dataclass(frozen=True)
class ManifestRow:
    """One row before it is judged: its number in the manifest and its cells as JSON text."""

    number: int
    fields: str

    @property
    def id(self) -> str | None:
        """The row's id, be it valid or not."""
        return table.row_id(json.loads(self.fields))


@dataclass(frozen=True)
class Manifest:
    """All rows of a manifest: files in sorted order, rows in file order, numbered from 0."""

    uri: str
    rows: list[ManifestRow]
    unknown: list[table.UnknownColumn]

    @property
    def texts(self) -> list[str]:
        """Every row as text: the same for the same cells, however the table is cut into files and columns ordered."""
        return [_without_nulls(row.fields) for row in self.rows]

    def selected(self, limit: int | None, only: Collection[str]) -> list[ManifestRow]:
        """The rows a run is restricted to. Raises `WrongUsage` for an id in `only` that no row has."""
        rows = self.rows
        if only:
            rows = [row for row in rows if row.id in only]
            _require_ids(only, {row.id for row in rows})
        return rows[:limit]


def _without_nulls(fields: str) -> str:
    given = {name: value for name, value in json.loads(fields).items() if value is not None}
    return json.dumps(given, sort_keys=True, ensure_ascii=False)


def look_at(uri: str, only: Collection[str] = ()) -> None:
    """What can be known of a manifest before Ray is there, in a moment.

    Raises `WrongUsage` for a file that is no Parquet or not there, and for an id in `only` that no row has.
    """
    try:
        files = storage.expand(uri)
    except Problem as problem:
        raise WrongUsage(problem.error, problem.remedy) from None
    footers = [_footer(file) for file in files]
    if only:
        with_ids = [file for file, footer in zip(files, footers, strict=True) if "id" in footer.schema.names]
        _require_ids(only, {table.row_id({"id": given}) for file in with_ids for given in _ids(file)})


def _ids(file: str) -> list[Any]:
    filesystem, path = storage.arrow_filesystem(file)
    with pq.ParquetFile(path, filesystem=filesystem) as parquet:
        return parquet.read(columns=["id"])["id"].to_pylist()


def _require_ids(only: Collection[str], there: Collection[str | None]) -> None:
    if missing := sorted(set(only) - set(there)):
        near = [choose(name, [one for one in there if one]) for name in missing[:1]]
        remedy = near[0] if near[0].startswith("did you mean") else "use ids of the manifest"
        raise WrongUsage(f"--only {', '.join(missing)}: no such id in the manifest", remedy)


def read_manifest(uri: str) -> Manifest:
    """Read one Parquet file, a folder or a glob. Raises `Problem` naming the file that is none or is damaged."""
    files = storage.expand(uri)
    footers = [_footer(file) for file in files]
    rows: dict[str, list[str]] = {}
    # Ray reads files of one schema together; a manifest usually is of one
    for _, group in itertools.groupby(sorted(zip(map(str, footers), files, strict=True)), key=lambda pair: pair[0]):
        rows |= _read([file for _, file in group], dict(zip(files, footers, strict=True)))
    numbered = [ManifestRow(number, fields) for number, fields in enumerate(f for file in files for f in rows[file])]
    names = dict.fromkeys(name for footer in footers for name in footer.schema.names)
    return Manifest(uri, numbered, table.columns(names)[1])


@dataclass(frozen=True)
class _Footer:
    schema: pa.Schema
    rows: int

    def __str__(self) -> str:
        return self.schema.to_string(show_schema_metadata=False)


def _footer(file: str) -> _Footer:
    filesystem, path = storage.arrow_filesystem(file)
    try:
        with pq.ParquetFile(path, filesystem=filesystem) as parquet:
            return _Footer(parquet.schema_arrow, parquet.metadata.num_rows)
    except (pa.ArrowException, OSError) as broken:
        if fault := storage_fault(broken):
            raise Problem(f"manifest {storage.redact(file)}: {fault.error}", fault.remedy) from None
        reason = str(broken).splitlines()[0]
        raise Problem(
            f"manifest {storage.redact(file)} cannot be read: {reason}", "write the Parquet file again"
        ) from None


def _read(files: list[str], footers: dict[str, _Footer]) -> dict[str, list[str]]:
    """Rows of files of one schema, by file, in order."""
    filesystem, _ = storage.arrow_filesystem(files[0])
    paths = [storage.arrow_filesystem(file)[1] for file in files]
    dataset = ray.data.read_parquet(paths, filesystem=filesystem, partitioning=None)
    dataset.context.execution_options.preserve_order = True
    encoded = dataset.map_batches(_as_json, batch_format="pyarrow", batch_size=4096, zero_copy_batch=True)
    rows = iter([row["fields"] for row in encoded.iter_rows()])
    by_file = {file: list(itertools.islice(rows, footers[file].rows)) for file in files}
    if sum(map(len, by_file.values())) != sum(footers[file].rows for file in files) or next(rows, None) is not None:
        raise Problem("the manifest changed while it was read", "run again when nobody writes to it")
    return by_file


def _as_json(batch: pa.Table) -> pa.Table:
    return pa.table({"fields": [_text(row) for row in batch.to_pylist()]})


def _text(row: dict[str, Any]) -> str:
    def value(given: Any) -> Any:
        try:
            return cell.plain(given)
        except ValueError:
            return str(given)

    return json.dumps({name: value(given) for name, given in row.items()}, ensure_ascii=False)
