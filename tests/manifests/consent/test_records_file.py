"""The file of consent records: what is wrong with it is named where it stands, and marking one changes nothing else."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import storage
from manifests.consent import records_file
from manifests.consent.records_file import mark_revoked, read_records
from manifests.errors import Problem
from tests.made.consents import record

DAY = date(2026, 11, 29)
TWO = [record("C-1"), record("C-2", role="performer", ends="2027-03-31")]

WRITE = {
    "array.json": lambda path, records: path.write_text(json.dumps(records, indent=2)),
    "dense.json": lambda path, records: path.write_text(json.dumps(records)),
    "lines.jsonl": lambda path, records: path.write_text("".join(json.dumps(one) + "\n" for one in records)),
    "table.parquet": lambda path, records: pq.write_table(pa.Table.from_pylist(_even(records)), path),
}


def _even(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for one in records for name in one)
    return [{name: one.get(name) for name in names} for one in records]


@pytest.fixture(params=WRITE)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Writes records in one of the formats; returns where."""

    def write(records: list[dict[str, Any]]) -> str:
        path = tmp_path / request.param
        WRITE[request.param](path, records)
        return str(path)

    return write


def test_the_same_records_are_read_from_every_format(written: Any) -> None:
    records = read_records(written(TWO))
    assert [*records] == ["C-1", "C-2"]
    assert records["C-2"].ends == date(2027, 3, 31)
    assert records["C-1"].digest == read_records(written([TWO[1], TWO[0]]))["C-1"].digest


FAULTS = {
    "misspelt": ({"revokd": "2026-01-01"}, "revokd '2026-01-01': is not a field of a consent record", "'revoked'"),
    "no id": ({"id": None}, "id: is missing", "fill it in"),
    "blank in id": ({"id": "C 1"}, "id 'C 1': is no id", "without blanks"),
    "role": ({"role": "actor"}, "role 'actor': is not a known choice", "likeness"),
    "no scope": ({"channels": []}, "channels []: names nothing", "list of names"),
    "no territory": ({"territories": None}, "territories: is missing", "countries"),
    "a number for a day": ({"starts": 20260101}, "starts 20260101: is not a day", "2027-03-31"),
    "a month too many": ({"ends": "2026-13-01"}, "ends '2026-13-01': is not a day", "2027-03-31"),
    "ends first": (
        {"starts": "2026-02-02", "ends": "2026-02-01"},
        "ends: 2026-02-01 is before it starts, 2026-02-02",
        "correct",
    ),
    "minor unsaid": ({"minor": None}, "minor: is missing", "minor"),
    "minor in words": ({"minor": "no"}, "minor 'no'", "minor"),
    "short digest": ({"document": "abc"}, "document 'abc': is not a SHA-256 digest", "sha256sum"),
    "guardian": ({"guardian_document": "yes"}, "guardian_document 'yes': is not a SHA-256 digest", "sha256sum"),
    "twice": ({"id": "C-1"}, "id 'C-1': is already that of record 0 (line 1)", "own id"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_line_its_field_and_a_remedy(name: str, tmp_path: Path) -> None:
    fields, error, remedy = FAULTS[name]
    WRITE["lines.jsonl"](tmp_path / "r.jsonl", [record("C-1"), record("C-9", **fields)])
    with pytest.raises(Problem) as raised:
        read_records(str(tmp_path / "r.jsonl"))
    assert f"record 1 (line 2): {error}" in raised.value.error
    assert remedy in raised.value.error


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    WRITE["array.json"](
        tmp_path / "r.json", [record("C-1", minor="x"), record("C-2"), record("C-3", role="x", ends="?")]
    )
    with pytest.raises(Problem) as raised:
        read_records(str(tmp_path / "r.json"))
    assert [part in raised.value.error for part in ("record 0 (line 2): minor", "role 'x'", "ends '?'")] == [True] * 3


def test_rows_of_a_table_are_named_by_number(tmp_path: Path) -> None:
    WRITE["table.parquet"](tmp_path / "r.parquet", [record("C-1"), record("C-2", document="x")])
    with pytest.raises(Problem, match=r"row 1: document 'x'"):
        read_records(str(tmp_path / "r.parquet"))


BROKEN = {
    "gone.json": (None, "there is no such file"),
    "empty.json": (b"", "empty"),
    "half.json": (b'[{"id": "a"', "line 1"),
    "endless.json": (b'[{"id": "a"}', "comma or ]"),
    "more.json": (b"[] 5", "behind the array"),
    "latin.json": ('[{"id": "é"}]'.encode("latin-1"), "UTF-8"),
    "twice.json": (b'[{"revoked": "2026-01-01", "revoked": null}]', "'revoked' stands twice"),
    "deep.json": (b"[" * 100_000, "record 0"),
    "not.parquet": (b"PAR1 and no more", "cannot be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_holds_no_records_is_refused_in_words(name: str, tmp_path: Path) -> None:
    content, said = BROKEN[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Problem, match=said):
        read_records(str(tmp_path / name))


def test_a_table_with_a_misspelt_column_is_refused(tmp_path: Path) -> None:
    WRITE["table.parquet"](tmp_path / "r.parquet", [{**record("C-1"), "revoked_on": None}])
    with pytest.raises(Problem, match=r"column 'revoked_on' .*'revoked'"):
        read_records(str(tmp_path / "r.parquet"))


def test_files_and_records_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("array.json", "table.parquet"):
        WRITE[name](tmp_path / name, TWO)
        for limit, most, said in (("MOST_BYTES", 100, "bytes"), ("MOST_RECORDS", 1, "at most 1|more than 1")):
            with monkeypatch.context() as patch:
                patch.setattr(records_file, limit, most)
                with pytest.raises(Problem, match=said):
                    read_records(str(tmp_path / name))


def test_a_record_is_marked_in_every_format_and_its_terms_keep_their_digest(written: Any) -> None:
    uri = written(TWO)
    before = read_records(uri)
    mark_revoked(uri, "C-2", DAY)
    after = read_records(uri)
    assert after["C-2"].revoked == DAY
    assert after["C-2"].digest == before["C-2"].digest
    assert after["C-1"] == before["C-1"]
    mark_revoked(uri, "C-2", date(2027, 1, 1))
    assert read_records(uri)["C-2"].revoked == DAY, "it was revoked then, and not later"


def test_a_revocation_that_was_to_come_comes_now(written: Any) -> None:
    uri = written([record("C-1", revoked="2027-06-30")])
    mark_revoked(uri, "C-1", DAY)
    assert read_records(uri)["C-1"].revoked == DAY


@pytest.mark.parametrize("revoked", [True, "2026-05-01", date(2026, 5, 1), datetime(2026, 5, 1, tzinfo=UTC)])
def test_a_table_keeps_its_own_way_to_say_revoked(revoked: object, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    WRITE["table.parquet"](path, [record("C-1", revoked=revoked), record("C-2", revoked=None)])
    kind = pq.read_schema(path).field("revoked").type
    mark_revoked(str(path), "C-2", DAY)
    assert pq.read_schema(path).field("revoked").type == kind
    assert read_records(str(path))["C-2"].revoked in (DAY, True)


def test_marking_one_record_leaves_every_letter_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    other = json.dumps(record("C-1"), indent=7)
    path.write_text(f"[\n{other},\n\n    {json.dumps(record('C-2'), ensure_ascii=False)}   \n]\n")
    mark_revoked(str(path), "C-2", DAY)
    assert path.read_text().startswith(f"[\n{other},\n\n    {{")
    assert read_records(str(path))["C-2"].revoked == DAY


@pytest.mark.parametrize("name", WRITE)
@pytest.mark.parametrize("store", ["local", "s3"])
def test_records_that_are_marked_at_once_are_all_marked(
    name: str, store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    names = [f"C-{number}" for number in range(6)]
    uri = str(tmp_path / name)
    WRITE[name](Path(uri), [record(one) for one in names])
    if store == "s3":
        local, uri = Path(uri), f"{request.getfixturevalue('s3')}/{name}"
        storage.publish(local, uri)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda one: mark_revoked(uri, one, DAY), names))
    assert [one.revoked for one in read_records(uri).values()] == [DAY] * 6
    assert not storage.exists(f"{uri}.lock")


def test_records_that_somebody_else_holds_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_file, "LOCK_WAIT", 0.0)
    WRITE["array.json"](tmp_path / "r.json", TWO)
    (tmp_path / "r.json.lock").write_text("{}")
    with pytest.raises(Problem, match=r"somebody else is marking one .*delete .*r\.json\.lock"):
        mark_revoked(str(tmp_path / "r.json"), "C-1", DAY)
    assert read_records(str(tmp_path / "r.json"))["C-1"].revoked is None
    mark_revoked(str(tmp_path / "r.json"), "C-1", DAY, dry_run=True)


def test_an_unknown_record_is_not_marked(written: Any) -> None:
    uri = written(TWO)
    digest = storage.digest(uri)
    with pytest.raises(Problem, match=r"none has the id 'C-3'.*did you mean"):
        mark_revoked(uri, "C-3", DAY)
    assert storage.digest(uri) == digest
