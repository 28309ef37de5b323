"""A run and `catwalk manifest check` read the same rows of the same manifest, each with a reader of its own."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from manifests import table
from manifests.check import check
from manifests.clip import Clip, parse_clip
from manifests.errors import Problem, WrongUsage
from pipelines.animate import report_unknown
from pipelines.manifest_reading import read_manifest
from tests.manifests.test_hostile_tables import CELLS, FIELDS, written

pytestmark = pytest.mark.usefixtures("cluster")

DAY = datetime.datetime(2026, 11, 29, 8, 30, tzinfo=datetime.UTC)
ROW = {"id": "a", "animator": "magicanimate", "reference": "r.png", "driving": "d.mp4"}
MANIFESTS: dict[str, list[dict[str, Any]]] = {
    "plain": [{"columns": [ROW, {**ROW, "id": "b", "seed": 7}]}],
    "numbers that pandas made floating": [{"columns": [{**ROW, "seed": 3.0, "width": None, "steps": float("nan")}]}],
    "foreign values": [
        {"columns": [{**ROW, "price": decimal.Decimal("9.90"), "shot": DAY, "raw": b"\xff\x00", "sku": 12}]}
    ],
    "bytes for text": [{"columns": [{**ROW, "id": b"a", "reference": b"\xff.png", "sku": b"\xff"}]}],
    "nested": [{"columns": [{**ROW, "options": {"context_stride": 2}, "metadata": {"a": [{"b": None}, {"b": 2}]}}]}],
    "text for objects": [{"columns": [{**ROW, "options": '{"context_stride": 2}', "metadata": "no object"}]}],
    "lists": [{"columns": [{**ROW, "guidance": [7.5]}, {**ROW, "id": "b", "guidance": None}]}],
    "rows that are wrong": [
        {"columns": [{**ROW, "width": 64, "fps": "many", "seed": -1, "start": 1.0, "frame_count": 3, "id": "../up"}]}
    ],
    "files of several kinds": [
        {"columns": [{**ROW, "seed": 1, "fps": 25, "colour": "red"}], "folder": "night=3"},
        {"columns": [{**ROW, "id": 12, "seed": "9", "fps": "30000/1001"}], "folder": "night=3"},
        {"columns": [{**ROW, "id": "c", "guidance": 7.5, "colour": 4}], "folder": "night=4/seed=5"},
    ],
}


def write(folder: Path, files: list[dict[str, Any]]) -> str:
    for number, file in enumerate(files):
        path = folder / file.get("folder", "") / f"{number}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(file["columns"]), path)
    return str(folder / "**" / "*.parquet")


def parsed(row: dict[str, Any]) -> tuple[Clip | None, list[str], set[str]]:
    """Clip, errors and names of metadata; of metadata, a check joins values of several types as text."""
    clip, errors = parse_clip(table.split_row(row))
    bare = clip and clip.model_copy(update={"metadata": {}})
    return bare, list(map(str, errors)), set(clip.metadata if clip else ())


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_run_and_a_check_see_the_same_clips_and_the_same_errors(name: str, tmp_path: Path) -> None:
    uri = write(tmp_path, MANIFESTS[name])
    checked = [parsed(file.partitions | row) for file, part in table.read_files(uri) for row in table.rows(part)]
    manifest = read_manifest(uri)
    ran = [parsed(json.loads(fields)) for fields in manifest.rows.table["fields"].to_pylist()]
    assert len(ran) == sum(len(file["columns"]) for file in MANIFESTS[name])
    assert ran == checked
    # a check says of the manifest as a whole what a run says of its columns
    assert check(uri).notes[:-1] == table.unknown_notes(manifest.unknown)


def write_columns(path: Path, **columns: pa.Array) -> str:
    rows = len(next(iter(columns.values())))
    names = {"id": pa.array([f"r{number}" for number in range(rows)]), "animator": pa.array(["drawn"] * rows)}
    pq.write_table(pa.table(names | columns), path)
    return str(path)


NOT_UTF8 = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"\xff\xfeb"))


def test_no_cell_ends_a_run_before_it_begins(tmp_path: Path) -> None:
    columns = {
        "moment": pa.array([2**62, 1], pa.timestamp("us")),
        "day": pa.array([10**7, 1], pa.date32()),
        "span": pa.array([2**62, 1], pa.duration("s")),
        "nested": pa.array([{"at": 2**62}, None], pa.struct([("at", pa.timestamp("us"))])),
        "text": NOT_UTF8,
        "reference": NOT_UTF8,
        "duration": pa.array([2**62, None], pa.duration("s")),
    }
    uri = write_columns(tmp_path / "m.parquet", **columns)
    checked = [row for _, part in table.read_files(uri) for row in table.rows(part)]
    ran = [json.loads(fields) for fields in read_manifest(uri).rows.table["fields"].to_pylist()]
    assert list(map(parsed, ran)) == list(map(parsed, checked))
    assert list(map(table.row_metadata, ran)) == list(map(table.row_metadata, checked))
    assert [[error.field for error in parse_clip(table.split_row(row))[1]] for row in ran] == [
        ["reference", "duration"],
        [],
    ]


def test_of_hostile_cells_both_readers_make_the_same(tmp_path: Path) -> None:
    written(tmp_path / "mine.parquet", {f"my {kind}": cells for kind, cells in CELLS.items()})
    for kind in ("bytes", "deep", "map", "terminal"):
        written(tmp_path / f"{kind}.parquet", dict.fromkeys(FIELDS, CELLS[kind]))
    checked = [row for _, part in table.read_files(str(tmp_path)) for row in table.rows(part)]
    ran = [json.loads(fields) for fields in read_manifest(str(tmp_path)).rows.table["fields"].to_pylist()]
    assert list(map(parsed, ran)) == list(map(parsed, checked))
    assert [clip is None for clip, *_ in map(parsed, ran)] == [True, True, True, False, True]


def doubled(path: Path) -> None:
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["id", "id"]), path)


def damaged(path: Path) -> None:
    whole = bytearray(Path(write_columns(path, sku=pa.array(["x" * number for number in range(500)]))).read_bytes())
    whole[40:400] = b"\xa5" * 360  # the footer stays whole
    path.write_bytes(whole)


def wide(path: Path) -> None:
    write_columns(path, **{f"c{number}": pa.array(["x"]) for number in range(3000)})


def unpacking(path: Path) -> None:
    write_columns(path, sku=pa.DictionaryArray.from_arrays(pa.array([0] * 2000), pa.array(["x" * 2**20])))


@pytest.mark.parametrize(
    "write_file", [doubled, damaged, wide, unpacking, lambda path: path.write_bytes(b"PAR1 and nothing more")]
)
def test_both_readers_say_the_same_of_a_file_that_cannot_be_read(
    write_file: Callable[[Path], object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_columns(tmp_path / "good.parquet", sku=pa.array(["x"]))
    write_file(tmp_path / "wrong.parquet")
    (said,) = check(str(tmp_path)).problems
    assert "wrong.parquet" in said
    with pytest.raises(Problem) as raised:
        read_manifest(str(tmp_path))
    assert str(raised.value) == said
    assert not caplog.records, "no traceback of Ray's beside it"


def test_a_small_manifest_starts_no_crowd_of_processes(tmp_path: Path) -> None:
    def readers() -> int:
        return sum(actor["ActorClassName"] == "FooterReader" for actor in ray._private.state.actors().values())

    uri, before = write_columns(tmp_path / "m.parquet", sku=pa.array(["x"] * 100)), readers()
    assert len(read_manifest(uri).rows) == 100
    assert readers() - before == 1  # Ray's own choice is 32


def test_rows_are_chosen_by_number_and_id_and_keep_their_order(tmp_path: Path) -> None:
    manifest = read_manifest(write_columns(tmp_path / "m.parquet", sku=pa.array(["x"] * 5)))
    assert manifest.selected(2, ()).ids == ["r0", "r1"]
    assert manifest.selected(None, {"r4", "r1"}).numbers == [1, 4]
    assert manifest.selected(1, {"r4", "r1"}).numbers == [1]
    with pytest.raises(WrongUsage, match="r9"):
        manifest.selected(None, {"r9"})
    chosen = manifest.rows.where(lambda row, name: row == 3 or name == "r0")
    assert (len(chosen), chosen.numbers, [len(batch) for batch in manifest.rows.batches(2)]) == (2, [0, 3], [2, 2, 1])


def test_a_strict_run_refuses_unknown_columns_in_few_words_however_many_and_long_they_are() -> None:
    unknown = table.unknown_columns(f"{number}{'a' * 5000}" for number in range(500))
    with pytest.raises(WrongUsage, match="480 more unknown columns") as refused:
        report_unknown(unknown, True, print)
    assert len(refused.value.error) < 4000
