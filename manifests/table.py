"""Manifests as Parquet: one file, a folder or a glob of them, read as one table of rows."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import cell, storage
from manifests.clip import Clip
from manifests.errors import Problem
from manifests.field_error import closest
from manifests.storage_fault import storage_fault

_WHOLE = ("width", "height", "first_frame", "frame_count", "seed", "steps", "window", "overlap")
_TYPES = (
    dict.fromkeys(Clip.model_fields, pa.string())
    | dict.fromkeys(_WHOLE, pa.int64())
    | {
        "start": pa.float64(),
        "duration": pa.float64(),
        "lora_scale": pa.float64(),
        "loop": pa.bool_(),
        "guidance": pa.list_(pa.float64()),
    }
)
# How Catwalk itself writes a manifest. Options and metadata are JSON text and fps is text, so that rows may differ.
MANIFEST_SCHEMA = pa.schema(list(_TYPES.items()))

_UNREADABLE = (pa.ArrowException, OSError, ValueError)


class UnknownColumn(NamedTuple):
    """A column that is no field of a clip, and the field it may have been meant to be."""

    name: str
    suggestion: str | None

    def __str__(self) -> str:
        hint = f", did you mean '{self.suggestion}'?" if self.suggestion else ""
        return f"unknown column '{self.name}'{hint}"


def columns(schema_names: Iterable[str]) -> tuple[list[str], list[UnknownColumn]]:
    """The columns that are fields of a clip, and those that are not, in their order."""
    names = list(schema_names)
    known = [name for name in names if name in Clip.model_fields]
    unknown = [UnknownColumn(name, closest(name, Clip.model_fields)) for name in names if name not in Clip.model_fields]
    return known, unknown


def split_row(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its unknown columns moved into `metadata`, where an explicit value of the same name wins.

    Metadata that cannot be read stays as it is, for `parse_clip` to report.
    """
    fields = {name: value for name, value in row.items() if name in Clip.model_fields}
    extra = {name: value for name, value in row.items() if name not in fields and not cell.is_null(value)}
    if not extra:
        return fields
    given = fields.get("metadata")
    try:
        explicit = {} if cell.is_null(given) else cell.mapping(given)
    except ValueError:
        return fields
    return {**fields, "metadata": {**extra, **explicit}}


def row_metadata(row: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a row, be the rest of it valid or not, so that even a rejected row can be traced back."""
    try:
        return cell.mapping(split_row(row).get("metadata") or {})
    except ValueError:
        return {}


def row_id(row: dict[str, Any]) -> str | None:
    """The row's id as text, be it valid or not; None where there is none."""
    value = row.get("id")
    try:
        return None if cell.is_null(value) else str(cell.plain(value)).strip()
    except ValueError:
        return None


def duplicate_rows(ids: Iterable[str | None]) -> dict[int, int]:
    """For every row whose id an earlier row has: that row. The first keeps the id, the later ones are rejected."""
    first: dict[str, int] = {}
    later: dict[int, int] = {}
    for row, name in enumerate(ids):
        if name is not None and first.setdefault(name, row) != row:
            later[row] = first[name]
    return later


def read(uri: str) -> pa.Table:
    """The rows of all files in sorted order as one table; a column that a file lacks is null in its rows.

    Raises Problem, naming the file, when there is none or one is not readable Parquet.
    """
    return unify([table for _, table in read_files(uri)])


def read_files(uri: str) -> list[tuple[str, pa.Table]]:
    """Every Parquet file of the manifest with its URI, in sorted order. Raises Problem as `read` does."""
    try:
        files = storage.expand(uri)
    except OSError as error:
        raise _unreadable(uri, error) from error
    return [(file, _read_file(file)) for file in files]


def rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows as plain dicts, a batch at a time."""
    for batch in table.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def unify(tables: Sequence[pa.Table]) -> pa.Table:
    """One table from files whose columns may differ. A column whose types have nothing in common becomes text."""
    clashing = {name for table in tables for name in table.column_names if not _agree(tables, name)}
    tables = [_with_text(table, clashing) for table in tables]
    return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


def _agree(tables: Sequence[pa.Table], name: str) -> bool:
    """Whether the files' values of a column fit one type without loss, such as int64 and float64 below 2**53."""
    try:
        pa.concat_tables([t.select([name]) for t in tables if name in t.column_names], promote_options="permissive")
    except pa.ArrowException:
        return False
    return True


def _with_text(table: pa.Table, names: set[str]) -> pa.Table:
    for name in names.intersection(table.column_names):
        texts = [_text(name, value) for value in table.column(name).to_pylist()]
        table = table.set_column(table.column_names.index(name), name, pa.array(texts, pa.string()))
    return table


def _text(name: str, value: Any) -> str | None:
    """The value as `parse_clip` reads it from text."""
    if cell.is_null(value):
        return None
    try:
        value = cell.mapping(value) if name in ("options", "metadata") else cell.plain(value)
    except ValueError:
        value = str(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _read_file(uri: str) -> pa.Table:
    with tempfile.TemporaryDirectory(prefix="catwalk-manifest-") as folder:
        try:
            # ParquetFile, not read_table: that one would invent columns from folder names such as `night=3/`.
            with pq.ParquetFile(storage.fetch(uri, Path(folder), None)) as file:
                table = file.read(use_threads=False)
            table.validate(full=True)  # text that is not UTF-8 would otherwise surface in the middle of a night
        except _UNREADABLE as error:
            raise _unreadable(uri, error) from error
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise Problem(
            f"manifest file {storage.redact(uri)}: column '{min(twice)}' appears more than once",
            "keep one column of each name",
        )
    return table


def _unreadable(uri: str, error: Exception) -> Problem:
    if isinstance(error, FileNotFoundError):
        return Problem(
            f"manifest {storage.redact(uri)}: does not exist", "check the path, and that this user may read it"
        )
    if fault := storage_fault(error):
        return Problem(f"manifest {storage.redact(uri)}: {fault.error}", fault.remedy)
    reason = " ".join(str(error).replace(uri, storage.redact(uri)).split())[:200]
    return Problem(
        f"manifest file {storage.redact(uri)}: is not readable Parquet ({reason})",
        "write the file again; 'catwalk manifest build' makes one from CSV or JSON Lines",
    )
