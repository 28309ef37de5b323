"""Manifests as Parquet: one file, a folder or a glob of them, read as rows whose columns may differ by file."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import cell, storage
from manifests.clip import Clip
from manifests.errors import Problem
from manifests.field_error import closest, shown
from manifests.partitions import ManifestFile, manifest_files
from manifests.storage_fault import storage_fault
from manifests.table_limits import require_modest
from manifests.temporary import temporary_folder

_WHOLE = ("width", "height", "first_frame", "frame_count", "seed", "steps", "window", "overlap", "priority")
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

# what pyarrow and storage raise for a file that is damaged, of another kind, or not to be had
UNREADABLE = (pa.ArrowException, OSError, ValueError, MemoryError)

MOST_NOTES = 20
# what pandas calls an index without a name in Parquet, and a column without one in CSV
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+(\.1)*")


class UnknownColumn(NamedTuple):
    """A column that is no field of a clip."""

    name: str

    @property
    def suggestion(self) -> str | None:
        """The field it may have been meant to be. Sought when asked for: a table may have 50,000 columns."""
        begins = [name for name in Clip.model_fields if self.name.lower().startswith(f"{name}_")]
        # nearer than words need to be: owners have columns of their own, and `night` is not `height`
        return begins[0] if begins else closest(self.name, Clip.model_fields, cutoff=0.75)

    def __str__(self) -> str:
        if _INDEX.fullmatch(self.name):
            return f"unknown column {shown(self.name)} (it has no name: pandas leaves its index out with index=False)"
        meant = self.suggestion
        hint = f", did you mean '{meant}'?" if meant else ""
        return f"unknown column {shown(self.name)}{hint}"


def unknown_columns(names: Iterable[str]) -> list[UnknownColumn]:
    """Those of the columns that are no field of a clip, each once and in their order."""
    return [UnknownColumn(name) for name in dict.fromkeys(names) if name not in Clip.model_fields]


def first_of(unknown: Sequence[UnknownColumn]) -> list[str]:
    """The first unknown columns in words, and how many more there are."""
    named = [str(column) for column in unknown[:MOST_NOTES]]
    more = len(unknown) - len(named)
    return [*named, *([f"{more} more unknown columns"] if more else [])]


def unknown_notes(unknown: Sequence[UnknownColumn]) -> list[str]:
    """What becomes of unknown columns, a line for each of the first."""
    return [f"{column} → carried as metadata" for column in first_of(unknown)]


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


# Given a file's URI and a copy of it, raises Problem where reading it would take too much.
Trial = Callable[[str, Path], None]


def read_files(uri: str, trial: Trial = require_modest) -> list[tuple[ManifestFile, pa.Table]]:
    """Every Parquet file of the manifest, in sorted order, as it lies there: without the columns of its folders.

    Raises Problem, naming the file, when there is none or one is not readable Parquet.
    """
    try:
        files = manifest_files(uri)
    except OSError as error:
        raise unreadable(uri, error) from error
    return [(file, read_file(file.uri, trial)) for file in files]


def read_file(uri: str, trial: Trial = require_modest) -> pa.Table:
    """One Parquet file of a manifest. Raises Problem, naming it, when it cannot be read whole."""
    with temporary_folder("manifest") as folder:
        try:
            # ParquetFile, not read_table: that one would make columns of every folder on the way from the root
            path = storage.fetch(uri, folder, None)
            trial(uri, path)
            with pq.ParquetFile(path) as file:
                require_single(uri, file.schema_arrow.names)
                table = file.read(use_threads=False)
            _validate(table)
        except UNREADABLE as error:
            raise unreadable(uri, error) from error
    return table


def _validate(table: pa.Table) -> None:
    """Raise ArrowInvalid for a table that is damaged; text that is not UTF-8 is the fault of its rows alone."""
    for column in table.columns:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise


def require_single(uri: str, names: Iterable[str]) -> None:
    """Raise Problem for the first column name, of the file `uri`, that appears more than once."""
    for name, count in Counter(names).items():
        if count > 1:
            raise Problem(
                f"manifest file {storage.redact(uri)}: column '{name}' appears {count} times",
                "keep one column of each name",
            )


def unreadable(uri: str, error: Exception) -> Problem:
    """What is to be said of a file of a manifest, or of a folder, that could not be read."""
    shown = storage.redact(uri)
    if isinstance(error, FileNotFoundError):
        return Problem(f"manifest {shown}: does not exist", "check the path, and that this user may read it")
    plainly_denied = isinstance(error, PermissionError) and "expired" not in str(error)
    if not plainly_denied and (fault := storage_fault(error)):
        return Problem(f"manifest {shown}: {fault.error}", fault.remedy)
    if plainly_denied:
        return Problem(f"manifest {shown}: may not be read", "give this user, or its credentials, access to it")
    if isinstance(error, ConnectionError | TimeoutError):
        return Problem(f"manifest {shown}: its store does not answer ({type(error).__name__})", "run again")
    reason = " ".join(str(error).replace(uri, shown).split())[:200]
    return Problem(
        f"manifest file {shown}: is not readable Parquet ({reason})",
        "write the file again; 'catwalk manifest build' makes one from CSV or JSON Lines",
    )


def rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows as plain dicts, a batch at a time.

    No cell fails: moments and durations beyond Python's own types come as text, text that is not UTF-8 as its bytes.
    """
    for batch in table.to_batches(max_chunksize=4096):
        try:
            yield from batch.to_pylist()
        except Exception:  # OverflowError, UnicodeDecodeError, what zoneinfo raises: as many as there are types
            columns = [[_value(scalar) for scalar in column] for column in batch.columns]
            yield from (dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True))


def _value(scalar: pa.Scalar) -> Any:
    """The Python value of one cell, or what comes nearest to it."""
    try:
        return scalar.as_py()
    except Exception:
        if isinstance(scalar, pa.StructScalar):
            return {name: _value(item) for name, item in scalar.items()}
        if isinstance(scalar, pa.MapScalar):
            return [(_value(key), _value(item)) for key, item in zip(*scalar.values.flatten(), strict=True)]
        if isinstance(scalar, pa.ListScalar):
            return [_value(item) for item in scalar.values]
        if isinstance(scalar, pa.DictionaryScalar | pa.ExtensionScalar):
            return _value(scalar.value)
        if isinstance(scalar, pa.StringScalar):
            return scalar.as_buffer().to_pybytes()
        return f"{scalar.type} {scalar.value}"
