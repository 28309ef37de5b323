"""Mappings with names of anybody's choosing as one column that table readers take apart by name, exact when read back.

pandas shows a dictionary per cell, DuckDB and Spark write `metadata.sku`. A name whose values are all text, all
numbers or all true or false is stored so; the values of any other are JSON text, which the schema marks. What has too
many names for a struct is JSON text as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

MOST_NAMES = 200
_JSON = {b"catwalk": b"json"}


def struct_column(rows: Sequence[Mapping[str, Any]]) -> tuple[pa.DataType, list[Any]]:
    """Type and cells of a column that holds a mapping per row, of values as JSON has them."""
    names = dict.fromkeys(name for row in rows for name in row)
    if not names or len(names) > MOST_NAMES or "" in names:
        return pa.string(), [json.dumps(row, ensure_ascii=False) if row else None for row in rows]
    fields = [_field(name, [row[name] for row in rows if name in row]) for name in names]
    as_json = {field.name for field in fields if field.metadata}
    cells = [
        {name: json.dumps(value, ensure_ascii=False) if name in as_json else value for name, value in row.items()}
        for row in rows
    ]
    return pa.struct(fields), cells


def mappings(column: pa.ChunkedArray) -> list[dict[str, Any] | str | None]:
    """The mappings that `struct_column` stored; of a column of JSON text, that text."""
    if not pa.types.is_struct(column.type):
        return column.to_pylist()
    as_json = {field.name for field in column.type if (field.metadata or {}).get(b"catwalk") == b"json"}
    return [
        {
            name: json.loads(value) if name in as_json else value
            for name, value in (cell or {}).items()
            if value is not None
        }
        for cell in column.to_pylist()
    ]


def _field(name: str, values: Sequence[Any]) -> pa.Field:
    kinds = {type(value) for value in values}
    if kinds == {str}:
        return pa.field(name, pa.string())
    if kinds == {bool}:
        return pa.field(name, pa.bool_())
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return pa.field(name, pa.int64())
    if kinds in ({float}, {int, float}) and all(abs(value) <= 2**53 for value in values):
        return pa.field(name, pa.float64())
    return pa.field(name, pa.string(), metadata=_JSON)
