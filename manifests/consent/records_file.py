"""The file that consent records stand in: JSON, JSON Lines or Parquet; read whole, or refused with all its faults."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from datetime import time as clock
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import storage, table
from manifests.consent.record import ConsentRecord, parse_record
from manifests.errors import Problem, Rejected
from manifests.field_error import FieldError, choose
from manifests.storage_fault import storage_fault
from manifests.temporary import temporary_folder

MOST_BYTES = 64 * 2**20
MOST_UNPACKED = 2**28  # bytes of a Parquet file, by its footer
MOST_RECORDS = 100_000
MOST_FAULTS = 100  # that one message names; how many more there are is said
AS_RECORDS = "write a list of records: a JSON array, an object a line, or a Parquet table"
LOCK_WAIT = 20.0  # seconds, for another who marks a record

_BLANKS = re.compile(r"[ \t\r\n]*")


class _Broken(ValueError):
    """Why a file as a whole is none of records."""


class Found(NamedTuple):
    """An object of the file: where a person finds it, its fields, and the letters it takes in JSON."""

    place: str
    fields: Any
    start: int = 0
    stop: int = 0


def read_records(uri: str) -> dict[str, ConsentRecord]:
    """The records of a file by id. Raises `Problem` that names every fault, or says why nothing can be read."""
    records: dict[str, ConsentRecord] = {}
    places: dict[str, str] = {}
    faults: list[str] = []
    for place, fields, *_ in _found(uri):
        record, errors = parse_record(fields)
        if record is not None and record.id in records:
            taken = f"is already that of {places[record.id]}"
            errors = [FieldError("id", repr(record.id), taken, "give every record its own id")]
        elif record is not None:
            records[record.id], places[record.id] = record, place
        faults += [f"{place}: {error}" for error in errors]
    if faults:
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        remedy = "correct them: no run looks past a record that it cannot read"
        raise Problem(f"consent records {storage.redact(uri)}: {'; '.join(faults[:MOST_FAULTS])}{more}", remedy)
    return records


def mark_revoked(uri: str, name: str, day: date, dry_run: bool = False) -> ConsentRecord:
    """Mark a record as revoked from `day` on, unless it is already by then; returns it as it was.

    Nothing else of the file changes, but that Parquet is packed anew. Raises `Problem` where there is no such record,
    or where the file changed meanwhile.
    """
    there = _record(uri, name)
    if there.revoked_by(day) or dry_run:
        return there
    with _alone(uri):
        before = storage.stamp(uri)
        there = _record(uri, name)
        data = _revoked_table(uri, name, day) if _is_parquet(uri) else _revoked_text(uri, name, day)
        if storage.stamp(uri) != before:
            raise Problem(f"consent records {storage.redact(uri)}: changed while they were written", "run again")
        storage.publish_bytes(data, uri)
    return there


def _record(uri: str, name: str) -> ConsentRecord:
    records = read_records(uri)
    if name not in records:
        shown = storage.redact(uri)
        raise Problem(f"consent records {shown}: none has the id {name!r}", choose(name, records) if records else "")
    return records[name]


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Hold the records, by a file beside them: of two who mark at once, the later would undo the other's mark."""
    lock, until = f"{uri}.lock", time.monotonic() + LOCK_WAIT
    while not storage.create_exclusive(lock, b"{}"):
        if time.monotonic() > until:
            remedy = f"run again; if nobody else marks any, one who did was killed: delete {storage.redact(lock)}"
            raise Problem(f"consent records {storage.redact(uri)}: somebody else is marking one", remedy)
        time.sleep(0.1)
    try:
        yield
    finally:
        storage.delete(lock)


def _is_parquet(uri: str) -> bool:
    return uri.lower().endswith(".parquet")


def _found(uri: str) -> Iterator[Found]:
    shown = storage.redact(uri)
    try:
        yield from _rows(uri) if _is_parquet(uri) else _objects(_text(uri))
    except FileNotFoundError:
        raise Problem(f"consent records {shown}: there is no such file", "correct consent.records") from None
    except Rejected:
        raise
    except _Broken as broken:
        raise Problem(f"consent records {shown}: {broken}", AS_RECORDS) from None
    except table.UNREADABLE as error:
        if fault := storage_fault(error):
            raise Problem(f"consent records {shown}: {fault.error}", fault.remedy) from error
        reason = " ".join(str(error).split())[:200]
        raise Problem(f"consent records {shown}: cannot be read ({reason})", AS_RECORDS) from error


# JSON


def _text(uri: str) -> str:
    try:
        return storage.read_bytes(uri, MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _Broken("are not text in UTF-8") from None


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1)
        raise _Broken(f"{twice!r} stands twice in one object")
    return fields


def _objects(text: str) -> Iterator[Found]:
    """The objects of an array, or of a text that has them one after the other; faults of the text are raised."""
    decoder = json.JSONDecoder(object_pairs_hook=_no_name_twice)
    at, line, number = _BLANKS.match(text).end(), 1, 0  # type: ignore[union-attr]
    listed, counted = text.startswith("[", at), 0
    if listed:
        at = _BLANKS.match(text, at + 1).end()  # type: ignore[union-attr]
    while at < len(text) and not (listed and text.startswith("]", at)):
        if number == MOST_RECORDS:
            raise _Broken(f"are more than {MOST_RECORDS:,}")
        line, counted = line + text.count("\n", counted, at), at
        place = f"record {number} (line {line})"
        try:
            fields, stop = decoder.raw_decode(text, at)
        except _Broken as broken:
            raise _Broken(f"{place}: {broken}") from None
        except json.JSONDecodeError as broken:
            raise _Broken(f"line {broken.lineno}, column {broken.colno}: {broken.msg}") from None
        except (ValueError, RecursionError):
            raise _Broken(f"{place}: is not JSON that can be read") from None
        yield Found(place, fields, at, stop)
        number, at = number + 1, _BLANKS.match(text, stop).end()  # type: ignore[union-attr]
        if listed and not text.startswith("]", at):
            if not text.startswith(",", at):
                raise _Broken(f"line {1 + text.count(chr(10), 0, at)}: a comma or ] is missing")
            at = _BLANKS.match(text, at + 1).end()  # type: ignore[union-attr]
    if listed and text[at:].strip() != "]":
        raise _Broken("the array has no end" if at >= len(text) else "something stands behind the array")
    if not listed and not number:
        raise _Broken("is an empty file")


def _revoked_text(uri: str, name: str, day: date) -> bytes:
    text = _text(uri)
    _, fields, start, stop = next(one for one in _objects(text) if parse_record(one.fields)[0].id == name)  # type: ignore[union-attr]
    spread = "\n" in text[start:stop]
    margin = text[text.rfind("\n", 0, start) + 1 : start] if spread else ""
    made = json.dumps({**fields, "revoked": day.isoformat()}, ensure_ascii=False, indent=2 if spread else None)
    if spread and not margin.strip():
        made = made.replace("\n", f"\n{margin}")
    return (text[:start] + made + text[stop:]).encode()


# Parquet


def _rows(uri: str) -> Iterator[Found]:
    for number, fields in enumerate(table.rows(_table(uri))):
        yield Found(f"row {number}", fields)


def _table(uri: str) -> pa.Table:
    with temporary_folder("consent") as folder:
        path = storage.fetch(uri, folder, MOST_BYTES)
        with pq.ParquetFile(path) as file:
            footer, columns = file.metadata, file.schema_arrow.names
            if footer.num_rows > MOST_RECORDS:
                raise _Broken(f"are {footer.num_rows:,}, at most {MOST_RECORDS:,} are read")
            # before anything is unpacked; misspelt, one of them would be a limit that nobody sees
            for column in columns:
                if column not in ConsentRecord.model_fields:
                    remedy = choose(column, ConsentRecord.model_fields)
                    raise _Broken(f"column {column!r} is not a field of a consent record ({remedy})")
            table.require_single(uri, columns)
            if sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups)) > MOST_UNPACKED:
                raise _Broken(f"unpack to more than {MOST_UNPACKED:,} bytes")
            return file.read(use_threads=False)


def _revoked_table(uri: str, name: str, day: date) -> bytes:
    there = _table(uri)
    at = next(number for number, row in enumerate(table.rows(there)) if str(row["id"]) == name)
    kind = there.schema.field("revoked").type if "revoked" in there.column_names else pa.null()
    kind = pa.date32() if pa.types.is_null(kind) else kind
    values = there["revoked"].to_pylist() if "revoked" in there.column_names else [None] * there.num_rows
    values[at] = _as(kind, day)
    column = pa.field("revoked", kind), pa.array(values, kind)
    where = there.column_names.index("revoked") if "revoked" in there.column_names else None
    made = there.append_column(*column) if where is None else there.set_column(where, *column)
    sink = pa.BufferOutputStream()
    pq.write_table(made, sink)
    return sink.getvalue().to_pybytes()


def _as(kind: pa.DataType, day: date) -> Any:
    if pa.types.is_boolean(kind):
        return True
    if pa.types.is_timestamp(kind):
        return datetime.combine(day, clock(), UTC if kind.tz else None)
    return day if pa.types.is_date(kind) else day.isoformat()
