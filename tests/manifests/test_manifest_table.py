"""Manifests as tables: what is read, what is refused, and how one is made from CSV or JSON Lines."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import storage
from manifests.build import build
from manifests.check import BadRow, CheckReport, Place, check
from manifests.clip import Clip, parse_clip
from manifests.errors import Problem
from manifests.field_error import FieldError
from manifests.table import duplicate_rows, read_files, row_id, row_metadata, rows, split_row, unknown_columns

GOOD = {"id": "a", "animator": "magicanimate"}


def parquet(path: Path, table: list[dict] | dict | pa.Table) -> str:
    if isinstance(table, list):
        names = dict.fromkeys(name for row in table for name in row)
        table = {name: [row.get(name) for row in table] for name in names}
    table = pa.table(table) if isinstance(table, dict) else table
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return str(path)


def read(uri: str) -> list[dict]:
    return [file.partitions | row for file, table in read_files(uri) for row in rows(table)]


def clips(uri: str) -> list[Clip]:
    parsed = [parse_clip(split_row(row)) for row in read(uri)]
    assert not any(errors for _, errors in parsed), parsed
    return [clip for clip, _ in parsed if clip]


# Columns


def test_an_unknown_column_is_named_with_what_it_may_have_meant() -> None:
    unknown = unknown_columns(["id", "refrence", "Width", "warehouse_bin", "Width", "night", "Driving_video"])
    assert [(column.name, column.suggestion) for column in unknown] == [
        ("refrence", "reference"),
        ("Width", "width"),
        ("warehouse_bin", None),
        ("night", None),
        ("Driving_video", "driving"),
    ]


def test_unknown_columns_are_carried_as_metadata() -> None:
    assert split_row({**GOOD, "sku": 7, "empty": None}) == {**GOOD, "metadata": {"sku": 7}}


@pytest.mark.parametrize("metadata", [{"sku": 1}, '{"sku": 1}', [("sku", 1)]])
def test_explicit_metadata_wins_over_a_column_of_the_same_name(metadata: object) -> None:
    assert split_row({**GOOD, "sku": 2, "shop": "x", "metadata": metadata})["metadata"] == {"sku": 1, "shop": "x"}


def test_broken_metadata_is_reported_even_beside_unknown_columns() -> None:
    _, errors = parse_clip(split_row({**GOOD, "sku": 2, "metadata": "{"}))
    assert [error.field for error in errors] == ["metadata"]


def test_even_a_rejected_row_can_be_traced_back() -> None:
    row = {"id": " ../x ", "mode": "quick", "sku": 7, "metadata": '{"shop": "a"}'}
    assert row_id(row) == "../x"
    assert row_metadata(row) == {"sku": 7, "shop": "a"}
    assert row_id({"id": None}) is None


def test_of_equal_ids_the_first_row_keeps_it() -> None:
    assert duplicate_rows(["a", "b", "a", None, None, "a"]) == {2: 0, 5: 0}


# Reading


def test_a_folder_is_read_in_the_order_of_its_file_names(tmp_path: Path) -> None:
    parquet(tmp_path / "b.parquet", [{"id": "3"}])
    parquet(tmp_path / "a.parquet", [{"id": "1"}, {"id": "2"}])
    (tmp_path / "_SUCCESS").touch()
    assert [row["id"] for row in read(str(tmp_path))] == ["1", "2", "3"]
    assert [row["id"] for row in read(str(tmp_path / "a*.parquet"))] == ["1", "2"]


def test_files_with_differing_columns_make_one_table(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [{**GOOD, "width": 512, "height": 512, "options": {"eta": 1}}])
    parquet(tmp_path / "b.parquet", [{**GOOD, "id": "b", "prompt": "a dress", "options": {"tau": "x"}}])
    first, second = clips(str(tmp_path))
    assert (first.width, first.prompt, first.options) == (512, "", {"eta": 1})
    assert (second.width, second.prompt, second.options) == (None, "a dress", {"tau": "x"})


def test_files_that_disagree_on_types_still_mean_what_each_says(tmp_path: Path) -> None:
    some = {"id": 1, "animator": "x", "fps": 25, "seed": 2**53 + 1, "guidance": 7.5, "options": {"a": 1}, "loop": True}
    others = {
        "id": "b", "animator": "x", "fps": "30000/1001", "seed": 1.0, "guidance": [7.5, 2.0], "options": '{"a": 2}',
        "loop": None,
    }  # fmt: skip
    parquet(tmp_path / "a.parquet", [some])
    parquet(tmp_path / "b.parquet", [others])
    assert clips(str(tmp_path)) == [parse_clip(some)[0], parse_clip(others)[0]]


def test_null_struct_and_map_columns_survive_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": ["a", "b"],
            "animator": pa.array(["x", "x"]).dictionary_encode(),
            "reference": pa.nulls(2),
            "width": pa.array([None, 64], pa.int16()),
            "height": pa.array([None, 64], pa.uint64()),
            "options": pa.array([{"eta": 0.5}, None], pa.struct([("eta", pa.float32()), ("never", pa.string())])),
            "metadata": pa.array([[("sku", "A")], None], pa.map_(pa.string(), pa.string())),
        }
    )
    first, second = clips(parquet(tmp_path / "m.parquet", table))
    assert first == Clip(id="a", animator="x", options={"eta": 0.5}, metadata={"sku": "A"})
    assert second == Clip(id="b", animator="x", width=64, height=64)


def test_a_file_from_pandas_with_gaps_reads_as_meant(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "id": ["a", "b"],
            "animator": pd.Categorical(["x", "x"]),
            "width": [512, None],  # pandas turns integers with a gap into floats
            "height": [512, None],
            "steps": pd.array([20, None], "Int64"),
            "loop": [True, None],
            "prompt": ["a dress", None],
            "shot": pd.to_datetime(["2026-11-22", None]),
        }
    )
    frame.to_parquet(tmp_path / "m.parquet", index=False)
    first, second = clips(str(tmp_path / "m.parquet"))
    assert (first.width, first.steps, first.loop, first.prompt) == (512, 20, True, "a dress")
    assert first.metadata["shot"].startswith("2026-11-22")
    assert second == Clip(id="b", animator="x")


def test_partitions_of_a_folder_are_columns_of_its_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"id": ["007", "b"], "animator": ["drawn", "magicanimate"], "night": [3, None], "seed": [1, 2]}
    )
    frame.to_parquet(tmp_path / "m.parquet", partition_cols=["animator", "night"], index=False)
    first, second = clips(str(tmp_path / "m.parquet"))
    assert first == Clip(id="007", animator="drawn", seed=1, metadata={"night": "3"})
    assert second == Clip(id="b", animator="magicanimate", seed=2)
    assert check(str(tmp_path / "m.parquet") + "/").rows == 2


def test_partitions_are_found_beside_and_below_one_another_and_as_spark_escapes_them(tmp_path: Path) -> None:
    spark = "night=3/prompt=a%3A100%25 dress"
    parquet(tmp_path / "in" / "night=3" / "part.parquet", [GOOD])
    parquet(tmp_path / "in" / spark / "part.parquet", [{**GOOD, "id": "b"}])
    parquet(tmp_path / "in" / "own.parquet", [{**GOOD, "id": "c", "night": 9}])
    parquet(tmp_path / "in" / "night=4" / "part.parquet", [{**GOOD, "id": "d", "night": 9}])
    parquet(tmp_path / "in" / "out" / "results.parquet", [{**GOOD, "id": "of another table"}])
    found = {clip.id: (clip.prompt, clip.metadata.get("night")) for clip in clips(str(tmp_path / "in"))}
    assert found == {"a": ("", "3"), "b": ("a:100% dress", "3"), "c": ("", 9), "d": ("", 9)}


def test_a_row_below_a_partition_is_found_by_its_folder_and_file(tmp_path: Path) -> None:
    for number in range(2):
        parquet(tmp_path / f"night={number}" / "part.parquet", [{**GOOD, "id": f"r{number}", "steps": 1 - number}])
    assert [str(bad).partition(":")[0] for bad in check(str(tmp_path)).bad] == ["row 1 (night=1/part.parquet)"]


@pytest.mark.parametrize(
    ("named", "metadata"),
    [
        ("night=3/take=1/m.parquet", {}),
        ("night=3/take=1", {}),
        ("night=3", {"take": "1"}),
        ("night=3/*/*.parquet", {"take": "1"}),
        ("*/*/m.parquet", {"night": "3", "take": "1"}),
        ("**/*.parquet", {"night": "3", "take": "1"}),
    ],
)
def test_folders_above_what_was_named_are_only_where_it_happens_to_be(
    tmp_path: Path, named: str, metadata: dict[str, str]
) -> None:
    parquet(tmp_path / "night=3" / "take=1" / "m.parquet", [GOOD])
    assert clips(str(tmp_path / named))[0].metadata == metadata


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "flipped"])
def test_a_corrupt_file_is_named(tmp_path: Path, damage: str) -> None:
    parquet(tmp_path / "a.parquet", [GOOD])
    bad = tmp_path / "b.parquet"
    whole = Path(parquet(bad, [GOOD] * 100)).read_bytes()
    bad.write_bytes(
        {"truncated": whole[:-20], "empty": b"", "text": b"id,animator\n", "flipped": b"PAR1" + whole[9:]}[damage]
    )
    with pytest.raises(Problem, match=r"b\.parquet.*not readable Parquet"):
        read(str(tmp_path))


def test_text_that_is_not_utf8_is_the_fault_of_its_row_alone(tmp_path: Path) -> None:
    broken = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"\xff\xfeb"))
    table = {"id": ["a", "b"], "animator": ["x", "x"], "reference": broken, "sku": broken, "tag": [None, "t"]}
    bad = check(parquet(tmp_path / "m.parquet", table)).bad
    assert [(one.row, one.error.field) for one in bad] == [(0, "reference")]
    first, second = read(str(tmp_path / "m.parquet"))
    assert row_metadata(first) == {"sku": "\ufffd\ufffd"}
    assert row_metadata(second) == {"sku": "b", "tag": "t"}


BEYOND = {
    "timestamp": pa.array([2**62], pa.timestamp("us")),
    "date": pa.array([10**7], pa.date32()),
    "duration": pa.array([2**62], pa.duration("s")),
    "time zone": pa.array([1], pa.timestamp("us", "Mars/Olympus")),
    "struct": pa.array([{"a": 2**62}], pa.struct([("a", pa.timestamp("us"))])),
    "list": pa.array([[2**62]], pa.list_(pa.timestamp("us"))),
    "map": pa.array([[("a", 2**62)]], pa.map_(pa.string(), pa.timestamp("us"))),
    "dictionary": pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array([2**62], pa.timestamp("us"))),
}


@pytest.mark.parametrize("kind", BEYOND)
def test_a_value_beyond_pythons_own_types_is_carried_as_text(tmp_path: Path, kind: str) -> None:
    uri = parquet(tmp_path / "m.parquet", pa.table({"id": ["a"], "animator": ["x"], "made": BEYOND[kind]}))
    (clip,) = clips(uri)
    digits = {"date": "10000000", "time zone": " 1"}.get(kind, str(2**62))
    assert digits in json.dumps(clip.metadata["made"])
    assert not check(uri).bad
    in_a_field = pa.table({"id": ["a"], "animator": ["x"], "start": BEYOND[kind]})
    (bad,) = check(parquet(tmp_path / "m.parquet", in_a_field)).bad
    assert bad.error.field == "start"


def test_a_damaged_page_is_named_by_its_file(tmp_path: Path) -> None:
    target = tmp_path / "m.parquet"
    whole = bytearray(Path(parquet(target, [{**GOOD, "id": str(n), "sku": "x" * n} for n in range(500)])).read_bytes())
    whole[40:400] = b"\xa5" * 360  # the footer stays whole
    target.write_bytes(whole)
    with pytest.raises(Problem, match=r"m\.parquet.*not readable Parquet"):
        read(str(target))


def test_a_column_that_appears_twice_is_refused(tmp_path: Path) -> None:
    twice = pa.table([pa.array(["a"]), pa.array(["b"])], names=["id", "id"])
    with pytest.raises(Problem, match="'id' appears 2 times"):
        read(parquet(tmp_path / "m.parquet", twice))


def test_a_place_without_parquet_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Problem):
        read(str(tmp_path))
    with pytest.raises(Problem):
        read(str(tmp_path / "absent.parquet"))


@pytest.mark.parametrize(
    ("raised", "said"), [(PermissionError, "access"), (ConnectionResetError, "run again"), (TimeoutError, "run again")]
)
def test_a_manifest_out_of_reach_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: type[OSError], said: str
) -> None:
    def fetch(*_: object) -> None:
        raise raised("as a store says")

    uri = parquet(tmp_path / "m.parquet", [GOOD])
    monkeypatch.setattr(storage, "fetch", fetch)
    with pytest.raises(Problem, match=said) as problem:
        read(uri)
    assert "Parquet" not in str(problem.value)


# Checking


def test_a_good_manifest_passes(tmp_path: Path) -> None:
    report = check(parquet(tmp_path / "m.parquet", [GOOD]), {"magicanimate"})
    assert report.ok
    assert report.lines()[-1].endswith("1 rows, all good")


def test_every_bad_row_is_named_with_row_file_field_value_and_remedy(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [GOOD, {**GOOD, "id": "../b"}])
    parquet(tmp_path / "b.parquet", [{**GOOD, "id": "c"}, {**GOOD, "id": "d", "mode": "quick", "steps": 0}])
    report = check(str(tmp_path), {"magicanimate"})
    assert not report.ok
    assert [(bad.row, bad.error.field) for bad in report.bad] == [(1, "id"), (3, "steps"), (3, "mode")]
    text = "\n".join(report.lines())
    assert "row 1 (a.parquet): id '../b'" in text
    assert "row 3 (b.parquet): mode 'quick'" in text
    assert "parity" in text
    assert "4 rows, 2 with errors" in text


def test_duplicate_ids_are_named_with_the_first(tmp_path: Path) -> None:
    report = check(parquet(tmp_path / "m.parquet", [GOOD, {**GOOD, "id": "b"}, GOOD]))
    assert [(bad.row, bad.error.field, bad.error.value) for bad in report.bad] == [(2, "id", "'a'")]
    assert "row 0 (m.parquet)" in report.bad[0].error.error


def test_ids_that_differ_only_in_type_are_duplicates(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [{**GOOD, "id": 1}])
    parquet(tmp_path / "b.parquet", [{**GOOD, "id": "1"}])
    assert [bad.row for bad in check(str(tmp_path)).bad] == [1]


def test_an_unknown_column_is_noted_once_and_is_no_fault(tmp_path: Path) -> None:
    uri = parquet(tmp_path / "m.parquet", [{**GOOD, "id": str(n), "guidence": 7.5} for n in range(50)])
    report = check(uri)
    assert report.ok
    note = "unknown column 'guidence', did you mean 'guidance'? → carried as metadata"
    assert report.lines().count(note) == 1
    strict = check(uri, strict=True)
    assert not strict.ok
    assert not strict.bad
    assert len(strict.problems) == 1
    assert "'guidence', did you mean 'guidance'?" in strict.problems[0]


def test_an_index_of_pandas_is_noted_with_its_cure(tmp_path: Path) -> None:
    frame = pd.DataFrame([GOOD, {**GOOD, "id": "b"}], index=[5, 9])  # as filtering leaves it
    frame.to_parquet(tmp_path / "m.parquet")
    report = check(str(tmp_path / "m.parquet"))
    assert report.ok
    (index,) = [line for line in report.lines() if "__index_level_0__" in line]
    assert "index=False" in index
    assert index.endswith("→ carried as metadata")


def test_many_unknown_columns_are_not_all_told(tmp_path: Path) -> None:
    lines = check(parquet(tmp_path / "m.parquet", [GOOD | {f"c{n}": n for n in range(1500)}])).lines()
    assert len(lines) < 30
    assert "1480 more unknown columns → carried as metadata" in lines


@pytest.mark.parametrize("strict", [False, True])
def test_what_is_said_of_unknown_columns_is_short_however_many_and_long_they_are(tmp_path: Path, strict: bool) -> None:
    columns = {f"{name}{'a' * 5000}": 1 for name in ("driving_", "id_", *map(str, range(500)))}
    lines = check(parquet(tmp_path / "m.parquet", [columns]), strict=strict).lines()
    assert sum(map(len, lines)) < 6000
    assert max(map(len, lines)) < 400
    assert any("482 more unknown columns" in line for line in lines)


def test_errors_of_a_kind_are_told_together_and_every_row_is_named(tmp_path: Path) -> None:
    table = [{**GOOD, "id": f"r{n}", "steps": -n, "mode": "quick" if n == 9 else None} for n in range(1, 3000)]
    lines = check(parquet(tmp_path / "m.parquet", table)).lines()
    assert len(lines) < 12
    assert [line.partition(":")[0] for line in lines[:5]] == [f"row {n} (m.parquet)" for n in range(5)]
    assert lines[5] == "  … and 2994 more like the last: rows 5–2998"
    assert lines[6].startswith("row 8 (m.parquet): mode 'quick'")


def test_kinds_beyond_the_first_are_counted(tmp_path: Path) -> None:
    faults = [f"is {first}{second}" for first in "abcde" for second in "vwxyz"]
    bad = [BadRow(Place(n), FieldError("row", "", fault, "mend it")) for n, fault in enumerate(faults)]
    lines = CheckReport("m", len(bad), bad).lines()
    assert lines[-2] == "… and 5 errors of 5 more kinds"
    assert len(lines) == 22


def test_a_check_says_that_it_looked_at_no_media(tmp_path: Path) -> None:
    uri = parquet(tmp_path / "m.parquet", [GOOD, {**GOOD, "id": "b"}, {**GOOD, "id": "c", "steps": 0}])
    assert "were not looked at → --media does" in check(uri).lines()[-2]
    seen = []

    def examine(row: int, fields: dict) -> Problem | None:
        seen.append((row, fields["id"]))
        return Problem("reference 'a.png': there is no such file", "correct the path") if row else None

    report = check(uri, examine=examine)
    assert seen == [(0, "a"), (1, "b")], "a row that is bad anyway is not looked at"
    assert report.lines()[0].startswith("row 1 (m.parquet): reference 'a.png': there is no such file → correct")
    assert not any("looked at" in line for line in report.lines())


def test_a_missing_column_is_named_once_and_not_for_every_row(tmp_path: Path) -> None:
    report = check(parquet(tmp_path / "m.parquet", [{"id": str(n), "mode": "quick"} for n in range(3)]))
    assert len(report.problems) == 1
    assert "column 'animator' is missing" in report.problems[0]
    assert [bad.error.field for bad in report.bad] == ["mode"] * 3


def test_a_column_that_is_missing_may_be_a_misspelt_one(tmp_path: Path) -> None:
    (problem,) = check(parquet(tmp_path / "m.parquet", [{"id": "a", "animatr": "x"}])).problems
    assert problem.startswith("column 'animator' is missing → rename 'animatr', or add it")


def test_an_unknown_animator_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    uri = parquet(tmp_path / "m.parquet", [{**GOOD, "animator": "magic_animate"}])
    (bad,) = check(uri, {"magicanimate", "drawn"}).bad
    assert "did you mean 'magicanimate'" in bad.error.remedy
    assert check(uri, None).ok


def test_an_empty_manifest_is_refused(tmp_path: Path) -> None:
    empty = pa.table({"id": pa.array([], pa.string()), "animator": pa.array([], pa.string())})
    report = check(parquet(tmp_path / "m.parquet", empty))
    assert report.problems == ["the manifest has no rows → add a row for each film"]


def test_an_unreadable_manifest_is_a_finding_too(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    report = check(str(tmp_path / "m.parquet"))
    assert not report.ok
    assert "m.parquet" in report.lines()[0]


# Building


def test_csv_becomes_a_typed_manifest(tmp_path: Path) -> None:
    source = tmp_path / "shop.csv"
    source.write_text(
        "\ufeffid,animator,reference,width,height,fps,seed,guidance,loop,prompt,metadata,sku\n"
        '007,magicanimate,a.png,512,768,29.97,9223372036854775807,"7.5, 2",yes, "red, long","{""shop"": 3}",A-1\n'
        "008, magicanimate ,,,,,,,,,,\n",
        encoding="utf-8",
    )
    target = str(tmp_path / "out" / "m.parquet")
    report = build(source, target)
    assert report.ok, report.lines()
    schema = pq.read_schema(target)
    assert (schema.field("width").type, schema.field("seed").type) == (pa.int64(), pa.int64())
    assert (schema.field("loop").type, schema.field("guidance").type.value_type) == (pa.bool_(), pa.float64())
    assert "sku" not in schema.names
    first, second = clips(target)
    assert first == Clip(
        id="007", animator="magicanimate", reference=str(tmp_path / "a.png"), width=512, height=768,
        fps="30000/1001", seed=2**63 - 1,
        guidance=(7.5, 2.0), loop=True, prompt="red, long", metadata={"sku": "A-1", "shop": 3},
    )  # fmt: skip
    assert second == Clip(id="008", animator="magicanimate")
    assert check(target).ok


def test_json_lines_become_the_same_manifest_as_their_clips(tmp_path: Path) -> None:
    said = [
        {**GOOD, "fps": 25, "guidance": 7.5, "options": {"eta": 0, "deep": [1, {"x": "Ä"}]}},
        {**GOOD, "id": "b", "first_frame": 3, "frame_count": 5, "metadata": {"sku": 7}, "mode": None},
    ]
    source = tmp_path / "shop.jsonl"
    source.write_text("\n\n".join(map(json.dumps, said)))
    report = build(source, str(tmp_path / "m.parquet"))
    assert report.ok
    assert clips(str(tmp_path / "m.parquet")) == [parse_clip(row)[0] for row in said]


BAD_LINES = 'id,animator,steps,prompt\na,x,20,"two\nlines"\nb,x,many,\n\nc,x\na,x,20,\nd,x,,\n'


def test_good_rows_are_built_and_every_bad_one_is_named_with_its_line(tmp_path: Path) -> None:
    source = tmp_path / "shop.csv"
    source.write_text(BAD_LINES)
    target = tmp_path / "m.parquet"
    report = build(source, str(target))
    assert not report.ok
    assert [(str(bad.place), bad.error.field) for bad in report.bad] == [
        ("row 1 (line 4)", "steps"),
        ("row 2 (line 6)", "row"),
        ("row 3 (line 7)", "id"),
    ]
    assert "is already that of row 0 (line 2)" in report.bad[-1].error.error
    assert report.lines()[-1].startswith("2 of 5 rows were written")
    assert [clip.id for clip in clips(str(target))] == ["a", "d"]


def test_all_or_nothing_writes_nothing_if_one_row_is_bad(tmp_path: Path) -> None:
    source = tmp_path / "shop.csv"
    source.write_text(BAD_LINES)
    target = tmp_path / "m.parquet"
    report = build(source, str(target), all_or_nothing=True)
    assert len(report.bad) == 3
    assert not target.exists()
    assert "nothing was written" in report.lines()[-1]
    source.write_text("id,animator\na,x\n")
    assert build(source, str(target), all_or_nothing=True).lines()[-1].endswith("1 rows, all good")
    assert target.exists()


def test_bad_lines_of_a_kind_are_told_together(tmp_path: Path) -> None:
    source = tmp_path / "shop.jsonl"
    source.write_text("".join(json.dumps({**GOOD, "id": f"r{n}", "steps": -n}) + "\n\n" for n in range(100)))
    lines = build(source, str(tmp_path / "m.parquet")).lines()
    assert lines[5].startswith("  … and 95 more like the last: rows 5–99 (lines 11, 13, ")
    assert len(lines) < 10


def test_a_column_that_no_row_has_is_named_once(tmp_path: Path) -> None:
    source = tmp_path / "shop.csv"
    source.write_text("id,animatr\n" + "".join(f"r{n},x\n" for n in range(100)))
    report = build(source, str(tmp_path / "m.parquet"))
    assert not (tmp_path / "m.parquet").exists()
    assert not report.bad
    assert report.lines()[0].startswith("column 'animator' is missing → rename 'animatr', or add it")


PANDAS_INDEX = Path(__file__).parent.parent / "media" / "pandas_index.csv"


@pytest.mark.parametrize(
    ("text", "metadata", "noted"),
    [
        (",id,animator\n0,a,x\n1,b,x\n", [{"Unnamed: 0": "0"}, {"Unnamed: 0": "1"}], "index=False"),
        (",Unnamed: 0,id,animator\n0,5,a,x\n1,6,b,x\n", [
            {"Unnamed: 0.1": "0", "Unnamed: 0": "5"}, {"Unnamed: 0.1": "1", "Unnamed: 0": "6"}
        ], "index=False"),
        ("id,animator,,\na,x,,\nb,x,,\n", [{}, {}], "2 columns without name and value → left out"),
        ("id,,animator\na,,x\nb, ,x\n", [{}, {}], "1 columns without name and value → left out"),
        ("id,animator\na,x,\nb,x,,,\n", [{}, {}], "3 columns without name and value → left out"),
        ("id,animator,,\na,x\nb,x,\n", [{}, {}], "2 columns without name and value → left out"),
        ("\n,,\n  \nid,animator\na,x\nb,x\n", [{}, {}], None),
        ("sep=;\nid;animator\na;x\nb;x\n", [{}, {}], None),
        ('"sep=|"\r\n\r\nid|animator|sku\r\na|x|1,2,3\r\nb|x|\r\n', [{"sku": "1,2,3"}, {}], "'sku'"),
        ("SEP=\t\nid\tanimator\na\tx\nb\tx\n", [{}, {}], None),
    ],
)  # fmt: skip
def test_csv_as_pandas_and_spreadsheets_write_it(
    tmp_path: Path, text: str, metadata: list[dict[str, str]], noted: str | None
) -> None:
    source, target = tmp_path / "shop.csv", str(tmp_path / "m.parquet")
    source.write_text("\ufeff" + text, encoding="utf-8")
    report = build(source, target)
    assert report.ok, report.lines()
    assert [clip.metadata for clip in clips(target)] == metadata
    assert noted is None or any(noted in line for line in report.lines()[:-1]), report.lines()


def test_lines_before_the_header_are_counted(tmp_path: Path) -> None:
    source = tmp_path / "shop.csv"
    source.write_text('sep=;\n\nid;animator;steps\n"a";x;1\nb;x;0\nc;x;1;junk\n')
    places = [str(bad.place) for bad in build(source, str(tmp_path / "m.parquet")).bad]
    assert places == ["row 1 (line 5)", "row 2 (line 6)"]


def test_a_csv_of_pandas_is_built_with_its_index_as_metadata(tmp_path: Path) -> None:
    target = str(tmp_path / "m.parquet")
    report = build(PANDAS_INDEX, target)
    assert report.ok
    assert "'Unnamed: 0' (it has no name" in report.lines()[0]
    (clip,) = clips(target)
    assert (clip.id, clip.animator, clip.metadata) == ("a", "studio", {"Unnamed: 0": "0"})


def test_lines_that_are_no_json_object_are_named(tmp_path: Path) -> None:
    source = tmp_path / "shop.jsonl"
    source.write_text("\n".join(["{", json.dumps(GOOD), "[1]", '"text"', "[" * 50_000, '{"id": ' + "1" * 5000 + "}"]))
    report = build(source, str(tmp_path / "m.parquet"))
    assert [bad.place.line for bad in report.bad] == [1, 3, 4, 5, 6]


def test_a_build_over_an_earlier_manifest_leaves_that_one_when_it_fails(tmp_path: Path) -> None:
    target = tmp_path / "m.parquet"
    before = Path(parquet(target, [GOOD])).read_bytes()
    source = tmp_path / "shop.jsonl"
    source.write_text('{"id": "b"}')
    assert not build(source, str(target)).ok
    assert target.read_bytes() == before


def test_unknown_columns_are_said_and_carried(tmp_path: Path) -> None:
    source = tmp_path / "shop.csv"
    source.write_text("id;animator;guidence\na;x;7.5\n")
    report = build(source, str(tmp_path / "m.parquet"))
    assert report.ok
    assert report.lines()[0] == "unknown column 'guidence', did you mean 'guidance'? → carried as metadata"
    assert clips(str(tmp_path / "m.parquet"))[0].metadata == {"guidence": "7.5"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("shop.xlsx", b"PK", "neither CSV nor JSON Lines"),
        ("shop.csv", "id,animator\nä,x\n".encode("latin-1"), "not UTF-8"),
        ("shop.csv", "id,animator\n".encode("utf-16"), "not UTF-8"),
        ("shop.csv", b"id,id\na,b\n", "every column once"),
        ("shop.csv", b'id,animator\na,"x\n', "line 2: is not CSV"),
        ("shop.csv", b"", "every column once"),
        ("absent.csv", None, "cannot be read"),
    ],
)
def test_a_source_that_cannot_be_read_is_a_problem(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Problem, match=said):
        build(tmp_path / name, str(tmp_path / "m.parquet"))


def test_a_header_alone_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("id,animator\n")
    assert "no row" in build(tmp_path / "shop.csv", str(tmp_path / "m.parquet")).lines()[0]


def test_a_target_must_be_a_parquet_file(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("id,animator\na,x\n")
    with pytest.raises(Problem, match=r"\.parquet"):
        build(tmp_path / "shop.csv", str(tmp_path / "m.csv"))


def test_a_manifest_is_built_of_rows_that_fill_in_any_field(tmp_path: Path) -> None:
    row = {
        **{"id": "a", "reference": "r.png", "driving": "d.mp4", "driving_kind": "video", "animator": "drawn"},
        **{"checkpoint": "label", "lora": "l.safetensors", "lora_scale": 0.5, "prompt": "p", "negative_prompt": "n"},
        **{"width": 64, "height": 96, "fit": "cover", "fps": "30000/1001", "seed": 7, "steps": 3, "guidance": [7.5]},
        **{"mode": "standard", "window": 16, "overlap": 4, "loop": True, "subject": "largest", "retarget": "none"},
        **{"mask": "m.mp4", "likeness_consent": "C-1", "performer_consent": "C-2"},
        **{"audio": "drop", "priority": 10, "options": {"noise": "shared"}, "metadata": {"sku": "A"}},
    }
    ranges = {"start": 1.0, "duration": 2.0}, {"first_frame": 1, "frame_count": 2}
    assert set(row) | {name for one in ranges for name in one} == set(Clip.model_fields)
    source, target = tmp_path / "c.jsonl", str(tmp_path / "c.parquet")
    source.write_text("\n".join(json.dumps({**row, **one, "id": f"c{n}"}) for n, one in enumerate(ranges)))
    assert build(source, target).ok
    ((_, table),) = read_files(target)
    for written, one in zip(rows(table), ranges, strict=True):
        clip, errors = parse_clip(written)
        assert not errors
        assert clip == Clip.model_validate({**row, **one, "id": clip.id, "reference": clip.reference})
