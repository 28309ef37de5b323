"""A row of a manifest as text: how it travels, and what tells one night's rows from another's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from manifests import cell, storage


def plain_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of a row, as JSON can hold them; one that it cannot as text."""
    return {name: _value(given) for name, given in row.items()}


def row_text(row: Mapping[str, Any]) -> str:
    """Plain cells as one text: the same for the same cells, in whatever order, absent or null."""
    return as_text({name: value for name, value in row.items() if value is not None}, sort_keys=True)


def as_text(fields: Mapping[str, Any], sort_keys: bool = False) -> str:
    """Plain cells as JSON."""
    text = json.dumps(fields, ensure_ascii=False, sort_keys=sort_keys)
    return text.encode("utf-8", "backslashreplace").decode()  # of a lone surrogate: its JSON escape


def rows_digest(texts: Iterable[str]) -> str:
    """What a run id is bound to: the rows of its manifest, as `row_text` has each."""
    return storage.sha256_text("\n".join(texts))


def _value(given: Any) -> Any:
    try:
        return cell.plain(given, lossless=True)
    except ValueError:
        return str(given)
