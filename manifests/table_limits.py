"""How much a manifest may hold: what its Parquet file says of itself can refuse it; what is read of it is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests import storage
from manifests.errors import Problem

MOST_ROWS = 1_000_000
MOST_COLUMNS = 2000  # parts of nested ones too
MOST_BYTES = 2**30  # of all cells, unpacked
MOST_ITEMS = 10_000_000  # of lists in cells; as Python's own values one takes some 40 bytes
_AT_ONCE = 1024  # rows

_CUT = "cut it into several manifests"


def require_modest(uri: str, path: Path) -> None:
    """Raise `Problem` for a file of a manifest, at `path`, that would take too much memory.

    What the footer says is whatever its writer liked: it refuses, and is not believed. A column may hold a few long
    texts, each many times, and they are counted as often, but read as numbers of a dictionary. A page may unpack to
    2 GiB before anything can be counted: for a stranger's file this is done in the sandbox (`stages.sandbox.reading`).
    """
    with pq.ParquetFile(path) as file:
        footer = file.metadata
        columns = [footer.schema.column(number) for number in range(footer.num_columns)]
        _require(uri, footer.num_rows, MOST_ROWS, "rows", _CUT)
        remedy = "put values of your own into one column, metadata, as JSON objects"
        _require(uri, len(columns), MOST_COLUMNS, "columns", remedy)
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        chunks = [(group.column(number), kind) for group in groups for number, kind in enumerate(columns)]
        _require(uri, sum(chunk.total_uncompressed_size for chunk, _ in chunks), MOST_BYTES, "bytes unpacked", _CUT)
        items = sum(chunk.num_values for chunk, kind in chunks if kind.max_repetition_level)
        _require(uri, items, MOST_ITEMS, "items in lists", _CUT)
        texts = [kind.path for kind in columns if kind.physical_type == "BYTE_ARRAY"]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        _count(uri, file)


def _count(uri: str, file: pq.ParquetFile) -> None:
    """Raise `Problem` as soon as too much has been read."""
    sizes: Counter[str] = Counter()
    rows = items = 0
    for batch in file.iter_batches(_AT_ONCE, use_threads=False):
        rows += batch.num_rows
        _require(uri, rows, MOST_ROWS, "rows", _CUT)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            for array, listed in _parts(column):
                sizes[name] += _written_out(array)
                items += len(array) * listed
        _require(uri, items, MOST_ITEMS, "items in lists", _CUT)
        if sizes.total() > MOST_BYTES:
            largest = max(sizes, key=sizes.__getitem__)
            remedy = f"shorten the values of column {largest!r}, or {_CUT}"
            _require(uri, sizes.total(), MOST_BYTES, "bytes unpacked", remedy)


def _require(uri: str, found: int, most: int, what: str, remedy: str) -> None:
    if found > most:
        error = f"manifest file {storage.redact(uri)}: has {found:,} {what}, at most {most:,} are read"
        raise Problem(error, remedy)


def _written_out(array: pa.Array) -> int:
    """Bytes of the values of an array itself, texts each as often as it stands there."""
    if isinstance(array, pa.StructArray):
        return 0
    if isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return 4 * len(array)
    if isinstance(array, pa.DictionaryArray) and array.dictionary.type in _TEXTS:
        return 4 * len(array) + (pc.sum(pc.binary_length(array.dictionary).take(array.indices)).as_py() or 0)
    return array.nbytes


_TEXTS = (pa.string(), pa.binary(), pa.large_string(), pa.large_binary())


def _parts(array: pa.Array, listed: bool = False) -> Iterator[tuple[pa.Array, bool]]:
    """The array and all that it is made of, each with whether it lies in a list."""
    yield array, listed
    if isinstance(array, pa.ExtensionArray):
        yield from _parts(array.storage, listed)
    elif isinstance(array, pa.StructArray):
        for part in array.flatten():
            yield from _parts(part, listed)
    elif isinstance(array, pa.MapArray):  # a list, but Arrow does not flatten it
        first, last = (array.offsets[at].as_py() for at in (0, -1))
        for part in (array.keys, array.items):
            yield from _parts(part.slice(first, last - first), True)
    elif isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        yield from _parts(array.flatten(), True)
