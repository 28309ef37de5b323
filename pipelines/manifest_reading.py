"""A manifest's rows, read with Ray Data and numbered as its owner counts them."""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data
from ray.exceptions import RayTaskError

from manifests import storage, table
from manifests.errors import Problem, WrongUsage
from manifests.field_error import choose
from manifests.partitions import manifest_files
from manifests.row_text import as_text, plain_cells, row_text
from manifests.temporary import temporary_folder
from pipelines.pools import READING
from stages.sandbox import reading

ROWS = pa.schema([("row", pa.int64()), ("id", pa.string()), ("fields", pa.string())])

READ_AT_ONCE = 8192  # rows of one block of the manifest


@dataclass(frozen=True)
class ManifestRows:
    """Rows before they are judged, as a table of ROWS: number, id (valid or not), and all cells as JSON text."""

    table: pa.Table

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def numbers(self) -> list[int]:
        """Number of every row in the manifest."""
        return self.table["row"].to_pylist()

    @property
    def ids(self) -> list[str | None]:
        """Id of every row, be it valid or not."""
        return self.table["id"].to_pylist()

    def where(self, wanted: Callable[[int, str | None], bool]) -> ManifestRows:
        """Those rows whose number and id are `wanted`."""
        kept = [wanted(number, name) for number, name in zip(self.numbers, self.ids, strict=True)]
        return ManifestRows(self.table.filter(pa.array(kept, pa.bool_())))

    def numbered(self, numbers: Collection[int]) -> ManifestRows:
        """The rows of these numbers."""
        return ManifestRows(self.table.filter(pc.is_in(self.table["row"], pa.array(sorted(numbers), pa.int64()))))

    def batches(self, rows: int) -> list[pa.Table]:
        """The same rows in tables of so many."""
        return [self.table.slice(first, rows) for first in range(0, len(self), rows)]


@dataclass(frozen=True)
class Manifest:
    """All rows of a manifest: files in sorted order, rows in file order, numbered from 0.

    `texts` has every row as text: the same for the same cells, however the table is cut into files and columns ordered.
    """

    uri: str
    rows: ManifestRows
    texts: pa.ChunkedArray
    unknown: list[table.UnknownColumn]

    def selected(self, limit: int | None, only: Collection[str]) -> ManifestRows:
        """The rows a run is restricted to. Raises `WrongUsage` for an id in `only` that no row has."""
        rows = self.rows
        if only:
            rows = rows.where(lambda number, name: name in only)
            _require_ids(only, set(rows.ids))
        return ManifestRows(rows.table.slice(0, limit))


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
    read: dict[str, pa.Table] = {}
    # Ray reads files of one schema together; a manifest usually is of one
    by_schema = sorted((str(footer), file) for file, footer in footers.items())
    for _, group in itertools.groupby(by_schema, key=lambda pair: pair[0]):
        read |= _read([file for _, file in group], footers)
    every_row = pa.concat_tables(
        _partitioned(read[file.uri], file.partitions) if file.partitions else read[file.uri] for file in files
    )
    numbered = every_row.add_column(0, "row", pa.array(range(every_row.num_rows), pa.int64()))
    names = (name for file in files for name in (*footers[file.uri].schema.names, *file.partitions))
    rows = ManifestRows(numbered.select(ROWS.names))
    return Manifest(uri, rows, numbered["text"], table.unknown_columns(names))


def _partitioned(rows: pa.Table, partitions: dict[str, str | None]) -> pa.Table:
    """The rows of a file with the columns of its folders' names; one in the file itself wins."""
    return _encoded(partitions | json.loads(fields) for fields in rows["fields"].to_pylist())


@dataclass(frozen=True)
class _Footer:
    schema: pa.Schema
    rows: int

    def __str__(self) -> str:
        return self.schema.to_string(show_schema_metadata=False)


def _footer(file: str) -> _Footer:
    try:
        with temporary_folder("manifest") as folder:
            path = storage.fetch(file, folder, None)
            reading.require_modest_table(file, path)
            with pq.ParquetFile(path) as parquet:
                footer = _Footer(parquet.schema_arrow, parquet.metadata.num_rows)
                names = footer.schema.names
    except table.UNREADABLE as broken:
        raise table.unreadable(file, broken) from None
    table.require_single(file, names)
    return footer


def _read(files: list[str], footers: dict[str, _Footer]) -> dict[str, pa.Table]:
    """Rows of files of one schema, by file, in order: id, fields and text of each."""
    filesystem, _ = storage.arrow_filesystem(files[0])
    paths = [storage.arrow_filesystem(file)[1] for file in files]
    counts = [footers[file].rows for file in files]
    # Ray starts 32 processes for footers, unless it is told how many files' worth there are
    os.environ["RAY_DATA_PARQUET_FOOTER_NUM_ACTORS"] = str(min(32, 1 + len(files) // 100))
    blocks = max(1, min(len(files), 64), sum(counts) // READ_AT_ONCE)
    dataset = ray.data.read_parquet(
        paths, filesystem=filesystem, partitioning=None, override_num_blocks=blocks, num_cpus=READING
    )
    dataset.context.execution_options.preserve_order = True
    encoded = dataset.map_batches(
        _as_json, batch_format="pyarrow", batch_size=READ_AT_ONCE, zero_copy_batch=True, num_cpus=READING
    )
    try:
        with _silent("ray.data"):  # it logs a traceback of 150 lines before it raises what is said here in one
            batches = list(encoded.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
    except RayTaskError as error:
        for file in files:
            table.read_file(file, reading.require_modest_table)  # raises what is wrong with it, by its name
        raise Problem(f"the manifest could not be read ({type(error.cause).__name__})", "run again") from error
    rows = pa.concat_tables([_ENCODED.empty_table(), *(batch for batch in batches if batch.num_rows)])
    if rows.num_rows != sum(counts):
        raise Problem("the manifest changed while it was read", "run again when nobody writes to it")
    firsts = itertools.accumulate(counts, initial=0)
    return {file: rows.slice(first, count) for file, first, count in zip(files, firsts, counts, strict=False)}


@contextmanager
def _silent(name: str) -> Iterator[None]:
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


_ENCODED = pa.schema([("id", pa.string()), ("fields", pa.string()), ("text", pa.string())])


def _as_json(batch: pa.Table) -> pa.Table:
    return _encoded(map(plain_cells, table.rows(batch)))


def _encoded(rows: Iterable[dict[str, Any]]) -> pa.Table:
    ids, fields, texts = [], [], []
    for row in rows:
        ids.append(table.row_id(row))
        fields.append(as_text(row))
        texts.append(row_text(row))
    return pa.table([ids, fields, texts], schema=_ENCODED)
