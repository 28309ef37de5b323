"""A manifest's rows, read with Ray Data and numbered as its owner counts them."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray.data
from ray.exceptions import RayTaskError

from manifests import cell, storage, table
from manifests.errors import Problem, WrongUsage
from manifests.field_error import choose
from manifests.partitions import manifest_files
from pipelines.pools import READING


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
        files = [file.uri for file in manifest_files(uri)]
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
    files = manifest_files(uri)
    footers = {file.uri: _footer(file.uri) for file in files}
    rows: dict[str, list[str]] = {}
    # Ray reads files of one schema together; a manifest usually is of one
    by_schema = sorted((str(footer), file) for file, footer in footers.items())
    for _, group in itertools.groupby(by_schema, key=lambda pair: pair[0]):
        rows |= _read([file for _, file in group], footers)
    every_row = (_partitioned(fields, file.partitions) for file in files for fields in rows[file.uri])
    numbered = [ManifestRow(number, fields) for number, fields in enumerate(every_row)]
    names = (name for file in files for name in (*footers[file.uri].schema.names, *file.partitions))
    return Manifest(uri, numbered, table.unknown_columns(names))


def _partitioned(fields: str, partitions: dict[str, str | None]) -> str:
    return _json(partitions | json.loads(fields)) if partitions else fields


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
            footer = _Footer(parquet.schema_arrow, parquet.metadata.num_rows)
            names = footer.schema.names
    except table.UNREADABLE as broken:
        raise table.unreadable(file, broken) from None
    table.require_single(file, names)
    return footer


def _read(files: list[str], footers: dict[str, _Footer]) -> dict[str, list[str]]:
    """Rows of files of one schema, by file, in order."""
    filesystem, _ = storage.arrow_filesystem(files[0])
    paths = [storage.arrow_filesystem(file)[1] for file in files]
    dataset = ray.data.read_parquet(paths, filesystem=filesystem, partitioning=None, num_cpus=READING)
    dataset.context.execution_options.preserve_order = True
    encoded = dataset.map_batches(
        _as_json, batch_format="pyarrow", batch_size=4096, zero_copy_batch=True, num_cpus=READING
    )
    try:
        with _silent("ray.data"):  # it logs a traceback of 150 lines before it raises what is said here in one
            rows = iter([row["fields"] for row in encoded.iter_rows()])
    except RayTaskError as error:
        for file in files:
            table.read_file(file)  # raises what is wrong with it, by its name
        raise Problem(f"the manifest could not be read ({type(error.cause).__name__})", "run again") from error
    by_file = {file: list(itertools.islice(rows, footers[file].rows)) for file in files}
    if sum(map(len, by_file.values())) != sum(footers[file].rows for file in files) or next(rows, None) is not None:
        raise Problem("the manifest changed while it was read", "run again when nobody writes to it")
    return by_file


@contextmanager
def _silent(name: str) -> Iterator[None]:
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _as_json(batch: pa.Table) -> pa.Table:
    return pa.table({"fields": [_text(row) for row in table.rows(batch)]})


def _text(row: dict[str, Any]) -> str:
    def value(given: Any) -> Any:
        try:
            return cell.plain(given, lossless=True)
        except ValueError:
            return str(given)

    return _json({name: value(given) for name, given in row.items()})


def _json(fields: dict[str, Any]) -> str:
    text = json.dumps(fields, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()  # of a lone surrogate: its JSON escape
