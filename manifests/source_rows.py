"""The rows of a CSV or JSON Lines file, as people, spreadsheets and pandas write them."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from manifests.errors import Problem
from manifests.field_error import FieldError
from manifests.table_limits import MOST_COLUMNS, MOST_ROWS

CSV = (".csv", ".tsv")
JSON_LINES = (".jsonl", ".ndjson", ".json")

# Line number from 1 and the fields there, or why there are none.
SourceRow = tuple[int, dict[str, Any] | FieldError]

MOST_CHARACTERS = 128 * 2**20  # of a source; as Python's own values they take up to twenty times the memory
MOST_OF_ROW = 4 * 2**20

_SEPARATOR = re.compile(r'"?sep=(.)"?[,;\t]*', re.IGNORECASE)  # Excel's own first line


class SourceRows(NamedTuple):
    """All rows that are not blank, and what was left out, in words."""

    rows: list[SourceRow]
    notes: list[str]


class _Lines:
    """The lines of a source, which is given up where they, or those of one row, are too long."""

    def __init__(self, source: Path, stream: TextIO) -> None:
        self._source, self._stream = source, stream
        self._read = self._of_row = self._rows = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MOST_OF_ROW + 1)
        self._read += len(line)
        self._of_row += len(line)
        self._require(self._of_row, MOST_OF_ROW, "characters in one row", "look for an unclosed quote")
        self._require(self._read, MOST_CHARACTERS, "characters", "cut it into several")
        if not line:
            raise StopIteration
        return line

    def end_row(self) -> None:
        """What comes next is of another row. The first may be the names."""
        self._of_row = 0
        self._rows += 1
        self._require(self._rows - 1, MOST_ROWS, "rows", "cut it into several")

    def require_few(self, names: Iterable[str]) -> None:
        """Raise Problem for more columns than a manifest may have; those without a name are none."""
        remedy = "put values of your own into one column, metadata, as JSON objects"
        self._require(sum(map(bool, names)), MOST_COLUMNS, "columns", remedy)

    def _require(self, found: int, most: int, what: str, remedy: str) -> None:
        if found > most:
            raise Problem(f"source {self._source}: has more than {most:,} {what}, which is what is read", remedy)


def read_source(source: Path) -> SourceRows:
    """The rows of a CSV file (UTF-8, with a header line) or of JSON Lines.

    A CSV column without a name is left out where it holds nothing, and else named as pandas names it ('Unnamed: 0').
    Raises Problem when the file cannot be read at all.
    """
    kind = source.suffix.lower()
    if kind not in CSV + JSON_LINES:
        raise Problem(f"source {source}: is neither CSV nor JSON Lines", f"name it {', '.join(CSV + JSON_LINES)}")
    try:
        with source.open(encoding="utf-8-sig", newline="" if kind in CSV else None) as stream:
            lines = _Lines(source, stream)
            return _csv_rows(source, lines) if kind in CSV else SourceRows(list(_json_rows(lines)), [])
    except UnicodeDecodeError as error:
        raise Problem(f"source {source}: is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise Problem(f"source {source}: cannot be read ({error.strerror})", "check the path") from error


def _csv_rows(source: Path, lines: _Lines) -> SourceRows:
    before, header, delimiter = _header(lines)
    reader = csv.reader(itertools.chain([header], lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    line, found = before + 1, []
    try:
        names = [name.strip() for name in next(reader)]
        lines.require_few(names)
        lines.end_row()
        line = before + reader.line_num + 1
        for values in reader:
            lines.end_row()
            if any(values):
                found.append((line, values))
            line = before + reader.line_num + 1  # a quoted cell may span lines
    except csv.Error as error:
        raise Problem(f"source {source}, line {line}: is not CSV ({error})", "look for an unclosed quote") from error
    _require_names(f"source {source}: line {before + 1}", names)
    names = _named(names, [values for _, values in found])
    lines.require_few(names)
    rows = [(line, _csv_row(names, values, delimiter)) for line, values in found]
    beyond = max((len(values) - len(names) for _, values in found if not any(values[len(names) :])), default=0)
    empty = names.count("") + max(0, beyond)
    return SourceRows(rows, [f"{empty} columns without name and value → left out"] if empty else [])


def _header(lines: Iterator[str]) -> tuple[int, str, str]:
    """How many lines stand before the one that names the columns, that line, and what divides its cells."""
    separator = None
    for before, line in enumerate(lines):
        if given := _SEPARATOR.fullmatch(line.strip("\r\n")):
            separator = given[1]
        elif line.strip(',;"\t\r\n '):
            # Spreadsheets of some countries write ';' between cells.
            return before, line, separator or max(",;\t", key=line.count)
    return 0, "", ","


def _require_names(place: str, names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice or not any(names):
        error = f"names column '{twice[0]}' more than once" if twice else "names no column"
        raise Problem(f"{place} {error}", "begin with a line that names every column once")


def _named(names: list[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The names with 'Unnamed: 0' and so on for columns without one that hold anything."""
    used = {number for values in rows for number, value in enumerate(values[: len(names)]) if value.strip()}
    named, given = list(names), set(names)
    for number in sorted(used):
        if not names[number]:
            name = f"Unnamed: {number}"
            while name in given:
                name += ".1"  # as pandas does
            named[number] = name
    return named


_GUARDED = re.compile(
    r"'['\"\s]*[=+\-@\t\r＝＋－＠]"
)  # the apostrophe that keeps a spreadsheet from running a cell as a formula


def _csv_row(names: list[str], values: list[str], delimiter: str) -> dict[str, Any] | FieldError:
    if any(names[len(values) :]) or any(values[len(names) :]):
        error = f"has {len(values)} cells where the first line names {len(names)} columns"
        return FieldError("row", "", error, f"put text that contains '{delimiter}' between double quotes")
    return {name: _unguarded(value) for name, value in zip(names, values, strict=False) if name}


def _unguarded(value: str) -> str:
    """The cell as it was before `catwalk report`, or a person, made it safe for a spreadsheet."""
    return value[1:] if _GUARDED.match(value) else value


def _json_rows(lines: _Lines) -> Iterator[SourceRow]:
    for line, text in enumerate(lines, 1):
        lines.end_row()
        if text.strip():
            yield line, _json_row(text)


def _json_row(text: str) -> dict[str, Any] | FieldError:
    try:
        row = json.loads(text)
    except json.JSONDecodeError as broken:
        row = f"is not JSON ({broken.msg}, column {broken.colno})"
    except (ValueError, RecursionError):
        row = "is not JSON that can be read"
    if isinstance(row, dict):
        return row
    error = row if isinstance(row, str) else "is not a JSON object"
    return FieldError("row", "", error, "write one JSON object on each line")
