"""How much a manifest may hold: what a Parquet file says of itself is looked at before anything in it is unpacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from manifests import storage
from manifests.errors import Problem

MOST_ROWS = 1_000_000
MOST_COLUMNS = 2000  # parts of nested ones too
MOST_BYTES = 2**30  # of all cells, unpacked
_AT_ONCE = 65_536  # rows


def require_modest(uri: str, opened: Callable[..., pq.ParquetFile]) -> None:
    """Raise `Problem` for a file of a manifest that would take too much memory. `opened` opens it, with options.

    A column may hold a few long texts, each many times: in the file that is little more than the texts.
    """
    with opened() as file:
        footer = file.metadata
        names = [footer.schema.column(number).path for number in range(footer.num_columns)]
        texts = [footer.schema.column(number).physical_type == "BYTE_ARRAY" for number in range(footer.num_columns)]
        _require(uri, footer.num_rows, MOST_ROWS, "rows", "cut it into several manifests")
        remedy = "put values of your own into one column, metadata, as JSON objects"
        _require(uri, footer.num_columns, MOST_COLUMNS, "columns", remedy)
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        sizes = [sum(group.column(number).total_uncompressed_size for group in groups) for number in range(len(names))]
        whole = sum(sizes)
        _require(uri, whole, MOST_BYTES, "bytes unpacked", "cut it into several manifests")
    for name, size, text in zip(names, sizes, texts, strict=True):
        if text and size * footer.num_rows > MOST_BYTES:
            whole += _written_out(name, opened) - size
            remedy = f"shorten the values of column {name!r}, or cut it into several manifests"
            _require(uri, whole, MOST_BYTES, "bytes unpacked", remedy)


def _require(uri: str, found: int, most: int, what: str, remedy: str) -> None:
    if found > most:
        error = f"manifest file {storage.redact(uri)}: has {found:,} {what}, at most {most:,} are read"
        raise Problem(error, remedy)


def _written_out(name: str, opened: Callable[..., pq.ParquetFile]) -> int:
    """Bytes of all texts of a column, each as often as it stands there; they are read as numbers of a dictionary."""
    found = 0
    with opened(read_dictionary=[name]) as file:
        for batch in file.iter_batches(_AT_ONCE, columns=[name], use_threads=False):
            for texts in _leaves(batch.column(0)):
                lengths = pc.binary_length(texts.dictionary)
                found += pc.sum(lengths.take(texts.indices)).as_py() or 0
    return found


def _leaves(array: pa.Array) -> Iterator[pa.DictionaryArray]:
    if isinstance(array, pa.DictionaryArray):
        yield array
    elif isinstance(array, pa.StructArray):
        for part in array.flatten():
            yield from _leaves(part)
    elif isinstance(array, pa.MapArray):
        yield from _leaves(array.keys)
        yield from _leaves(array.items)
    elif isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        yield from _leaves(array.values)
