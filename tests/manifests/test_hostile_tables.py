"""Promises about manifests made to cost or to confuse: both readers say the same of them, in words, for little."""

import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from time import process_time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import check, source_rows, table_limits
from manifests.errors import Problem
from manifests.field_error import shown
from manifests.row_text import plain_cells
from manifests.source_rows import read_source
from manifests.table import read_file, rows
from pipelines.manifest_reading import look_at
from stages.sandbox.reading import require_modest_table
from tests.conftest import CHECKOUT

GOOD = {"id": "a", "animator": "drawn", "reference": "r.png", "driving": "d.mp4"}
MIB = 2**20

_PEAK = """
import resource, sys
from manifests.check import check
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
said = check(sys.argv[1]).lines()[0]
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
print(said[:2000])
"""


def written(path: Path, columns: dict[str, object], count: int = 1, **options: object) -> str:
    good = {name: pa.array([value] * count) for name, value in GOOD.items() if name not in columns}
    pq.write_table(pa.table({**good, **columns}), path, **options)
    return str(path)


def repeated(text: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([text]))


def within(values: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays([values], ["a"])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: written(path, {f"c{at}": [at] for at in range(50_000)}), "50,004 columns, at most 2,000"),
        (lambda path: written(path, {"id": repeated("a", 4_000_000)}, 4_000_000), "4,000,000 rows, at most 1,000,000"),
        (lambda path: written(path, {"prompt": repeated("x" * MIB, 3000)}, 3000), "bytes unpacked, at most"),
        (
            lambda path: written(path, {"of": pa.StructArray.from_arrays([repeated("x" * MIB, 3000)], ["a"])}, 3000),
            "bytes",
        ),
    ],
    ids=["columns", "rows", "texts", "nested texts"],
)
def test_a_table_that_unpacks_to_much_is_refused_by_what_it_says_of_itself(
    tmp_path: Path, make: Callable[[Path], str], said: str
) -> None:
    uri = make(tmp_path / "m.parquet")
    command = [sys.executable, "-c", _PEAK, uri]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=True)
    grown, _, report = done.stdout.partition("\n")
    assert f"manifest file {uri}: has" in report
    assert said in report
    assert int(grown) < 150 * MIB


def test_texts_are_counted_as_often_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = pa.array([["x" * 1000, None], []] * 50)
    uri = written(tmp_path / "m.parquet", {"prompt": repeated("y" * 1000, 100), "l": lists}, 100)
    monkeypatch.setattr(table_limits, "MOST_BYTES", 160_000)
    assert read_file(uri).num_rows == 100
    monkeypatch.setattr(table_limits, "MOST_BYTES", 140_000)
    with pytest.raises(Problem, match="bytes unpacked") as refused:
        read_file(uri)
    assert "column '" in refused.value.remedy


COLUMNS = 50_000


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("wide.csv", ",".join(f"c{at}" for at in range(COLUMNS)), "more than 2,000 columns"),
        ("nameless.csv", "id" + "," * COLUMNS + "\na" + ",1" * COLUMNS, "more than 2,000 columns"),
        ("line.csv", "id\n" + "x" * 5 * MIB, "more than 4,194,304 characters in one row"),
        ("quoted.csv", "id\na" + ',"\n"' * MIB, "more than 4,194,304 characters in one row"),
        ("line.jsonl", '{"id": "' + "x" * 5 * MIB + '"}', "more than 4,194,304 characters in one row"),
    ],
)
def test_a_source_made_to_cost_is_refused_for_little(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    begun = process_time()
    with pytest.raises(Problem, match=said):
        read_source(tmp_path / name)
    assert process_time() - begun < 8


def test_a_source_is_given_up_where_it_becomes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.csv").write_text("id\n" + "a\n" * 100)
    monkeypatch.setattr(source_rows, "MOST_CHARACTERS", 203)
    assert len(read_source(tmp_path / "m.csv").rows) == 100
    for name, most, said in (("CHARACTERS", 202, "202 characters"), ("ROWS", 99, "99 rows")):
        with monkeypatch.context() as patched:
            patched.setattr(source_rows, f"MOST_{name}", most)
            with pytest.raises(Problem, match=f"more than {said}"):
                read_source(tmp_path / "m.csv")


def test_columns_without_name_or_value_are_none_however_many_a_spreadsheet_writes(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("id" + "," * 16_383 + "\na" + "," * 16_383)
    assert read_source(tmp_path / "m.csv").rows == [(2, {"id": "a"})]


CELLS = {
    "moment": pa.array([2**62], pa.timestamp("us")),
    "date": pa.array([2**31 - 1], pa.date32()),
    "duration": pa.array([2**62], pa.duration("s")),
    "decimal": pa.array([Decimal("1e37")], pa.decimal128(38)),
    "bytes": pa.array([b"\xff\xfe\x00"]),
    "half": pa.array(np.array([np.inf], np.float16)),
    "map": pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int8())),
    "place": pa.array([0], pa.timestamp("us", "Mars/Olympus")),
    "nulls": pa.nulls(1),
    "list": pa.array([[[1.0]]]),
    "struct": pa.array([{"a": {"b": [1]}}]),
    "not UTF-8": pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xfe")),
    "terminal": pa.array(["\x1b[2J\u202e"]),
    "formula": pa.array(["=cmd|' /C calc'!A0"]),
    "long": pa.array(["x" * 5 * MIB]),
    "digits": pa.array(["9" * 5000]),
    "deep": pa.array(['{"a":' + "[" * 100_000]),
    "brackets": pa.array(['{"a":[' + "[]," * MIB + "0]}"]),
    "secret": pa.array(["s3://key:SECRET@b/k?X-Amz-Signature=SECRET"]),
}


FIELDS = ("id", "reference", "seed", "guidance", "fps", "prompt", "options", "metadata", "mine")


@pytest.mark.parametrize("field", FIELDS)
def test_a_cell_of_any_kind_is_a_rejected_row_or_a_value(tmp_path: Path, field: str) -> None:
    for kind, cells in CELLS.items():
        report = check.check(written(tmp_path / f"{kind}.parquet", {field: cells}))
        assert not report.problems or kind == "nulls", (kind, report.problems)
        assert report.rows == 1
        lines = "\n".join(report.lines())
        assert "SECRET" not in lines
        assert len(lines) < 5000
        # what a run makes of the same cells before it judges them
        (row,) = rows(read_file(str(tmp_path / f"{kind}.parquet")))
        assert plain_cells(row).keys() == row.keys()


def test_a_long_value_is_shown_by_its_beginning_without_a_look_at_the_rest() -> None:
    assert shown("x" * 50 * MIB) == "'" + "x" * 118 + "…"
    assert "SECRET" not in shown("s3://a:SECRET@b/" + "x" * MIB, is_uri=True)


def damaged(content: bytes, number: int) -> bytes:
    chance, bad = Random(number), bytearray(content)
    if number % 5 == 0:
        return bytes(bad[: chance.randrange(len(bad))])
    for _ in range(chance.randint(1, 6)):
        # the footer too, where sizes stand
        bad[chance.randrange(len(bad)) if number % 2 else -chance.randint(1, 700)] = chance.randrange(256)
    return bytes(bad)


def test_a_damaged_file_is_named_whatever_is_damaged(tmp_path: Path) -> None:
    content = Path(
        written(tmp_path / "good.parquet", {"mine": pa.array([{"a": ["x"]}])}, compression="zstd")
    ).read_bytes()
    told = []
    for number in range(120):
        path = tmp_path / "m.parquet"
        path.write_bytes(damaged(content, number))
        try:
            [*rows(read_file(str(path)))]
        except Problem as problem:  # and nothing else
            told.append(problem)
    assert len(told) > 60
    assert all(str(path) in problem.error and problem.remedy for problem in told)


def readers(uri: str) -> list[Callable[[], object]]:
    """What a run reads a manifest by, and everything else."""
    return [partial(look_at, uri), partial(read_file, uri, require_modest_table)]


def test_both_readers_are_bounded_by_what_a_file_says(tmp_path: Path) -> None:
    uri = written(tmp_path / "m.parquet", {f"c{at}": [at] for at in range(2000)})
    for reader in readers(uri):
        with pytest.raises(Problem, match="has 2,004 columns, at most 2,000 are read"):
            reader()


def fixed(path: Path) -> str:
    """Few bytes of a fixed length, and many numbers that stand for them."""
    one = pa.array([b"x" * 100_000], pa.binary(100_000))
    values = pa.DictionaryArray.from_arrays(pa.array(np.zeros(11_000, np.int32)), one)
    return written(path, {"of": values}, 11_000, compression="zstd", store_schema=False, write_statistics=False)


def listing(path: Path, kind: pa.DataType, count: int) -> str:
    """One cell, a list of so many."""
    values = pa.nulls(count, kind) if pa.types.is_list(kind) else pa.array(np.zeros(count, np.int8))
    cell = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), values)
    return written(path, {"guidance": cell}, compression="zstd", write_statistics=False)


def lying(uri: str) -> str:
    """The file whose footer says that nothing in it takes more than 2,000 bytes, or holds more than 2,000 items."""
    path, footer = Path(uri), pq.read_metadata(uri)
    content = path.read_bytes()
    begin = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    told = content[begin:-8]
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(footer.num_columns)]
    large = {size for chunk in chunks for size in (chunk.total_uncompressed_size, chunk.num_values)}
    for size in large | {group.total_byte_size for group in groups}:
        if size > 100_000:
            told = told.replace(varint(size), varint(2000, len(varint(size))))
    path.write_bytes(content[:begin] + told + content[-8:])
    return uri


def varint(number: int, length: int = 0) -> bytes:
    """Thrift's compact form of a number, in no fewer bytes."""
    left, found = number << 1, []
    while left or len(found) < length:
        found.append(left & 127)
        left >>= 7
    return bytes([*(part | 128 for part in found[:-1]), found[-1]])


def plain(path: Path) -> str:
    """Texts that compress well, each written out."""
    part = pa.table({**{name: [value] * 150 for name, value in GOOD.items()}, "prompt": ["x" * MIB] * 150})
    with pq.ParquetWriter(
        path, part.schema, use_dictionary=False, compression="zstd", store_schema=False, write_statistics=False
    ) as writer:
        for _ in range(8):
            writer.write_table(part)
    return str(path)


BOMBS: dict[str, tuple[Callable[[Path], str], str]] = {
    "fixed length": (fixed, "bytes unpacked, at most"),
    "lying texts": (lambda path: lying(written(path, {"prompt": repeated("x" * MIB, 3000)}, 3000)), "bytes unpacked"),
    "lying plain texts": (lambda path: lying(plain(path)), "bytes unpacked"),
    "list": (lambda path: listing(path, pa.int8(), 12_000_000), "12,000,000 items in lists, at most 10,000,000"),
    "lying list": (lambda path: lying(listing(path, pa.int8(), 12_000_000)), "items in lists"),
    "lying lists of nothing": (lambda path: lying(listing(path, pa.list_(pa.int8()), 12_000_000)), "items in lists"),
}


def test_what_a_footer_does_not_say_is_found_by_both_readers_for_no_memory_of_theirs(tmp_path: Path) -> None:
    files = [make(tmp_path / f"{name}.parquet") for name, (make, _) in BOMBS.items()]
    command = [sys.executable, "-c", _PEAKS, *files]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=True)
    *reports, grown = done.stdout.splitlines()
    for report, (_, said) in zip(reports, [bomb for bomb in BOMBS.values() for _ in range(2)], strict=True):
        assert "manifest file" in report
        assert said in report
    assert int(grown) < 150 * MIB


_PEAKS = """
import resource, sys
from manifests.errors import Problem
from tests.manifests.test_hostile_tables import readers
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for reader in [reader for uri in sys.argv[1:] for reader in readers(uri)]:
    try:
        print("read", str(reader())[:100])
    except Problem as problem:
        print(str(problem)[:2000])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_lists_that_an_owner_writes_are_read_and_count_once(tmp_path: Path) -> None:
    structs = pa.array([[{"a": [1.0, 2.0]}, {"a": []}]] * 3000)
    maps = pa.array([[("a", "x"), ("b", "y")]] * 3000, pa.map_(pa.string(), pa.string()))
    uri = written(tmp_path / "m.parquet", {"of": structs, "map": maps}, 3000)
    assert readers(uri)[1]().num_rows == 3000
