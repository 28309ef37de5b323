"""The result table: one row for every manifest row, whatever happened to it."""

import datetime
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.clip import Clip
from manifests.errors import Problem
from manifests.result_summary import exit_code, summarise
from manifests.results import FREE, RESULTS_SCHEMA, STAGES, Result, read, reconcile, write

NOON = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC)


def done(row: int, **fields: object) -> Result:
    return Result(row=row, id=f"clip-{row}", status="done", **fields)


def failed(row: int, error: str = "it broke", **fields: object) -> Result:
    return Result(row=row, id=f"clip-{row}", **{"status": "failed", "error": error, "remedy": "mend it", **fields})


def fixed_columns(uri: str) -> pa.Schema:
    """The columns whose types are the same in every run."""
    return pa.schema([field for field in pq.read_schema(uri) if field.name not in FREE])


def test_results_survive_parquet_in_the_order_of_rows(tmp_path: Path) -> None:
    rate = Clip(id="a", animator="x", fps=29.97).fps
    full = done(
        2, stage="publish", film="s3://films/a.mp4", poster="s3://films/a.jpg", frames=225, fps=rate,
        width=512, height=768, mode="standard", animator="drawn", checkpoint="tiny",
        seconds={"pose": 1.5, "denoise": 2.25}, pose_key="p", latents_key="l", film_key="f", reference_digest="r",
        driving_digest="d", checkpoint_digest="c", code="1.0", attempts=2, metadata={"sku": "Ä", "n": [1, None]},
        reference_left_out=0.25, warnings=["fit cover: 25 % lies outside", "another"],
        started=NOON, finished=NOON + datetime.timedelta(microseconds=1),
    )  # fmt: skip
    bare = Result(row=0, status="rejected", error="id: is missing", remedy="give one")
    uri = str(tmp_path / "runs" / "results.parquet")
    write([full, bare], uri)
    assert read(uri) == [bare, full]
    assert read(uri)[1].fps == "30000/1001"
    derived = {"fps_float", "film_seconds"}
    assert {*RESULTS_SCHEMA.names, *FREE, "remarks"} == {*Result.model_fields, *derived}
    assert fixed_columns(uri).equals(RESULTS_SCHEMA)
    stored = pq.read_table(uri).to_pylist()[1]
    assert stored["fps_float"] == pytest.approx(29.97003)
    assert stored["film_seconds"] == pytest.approx(7.5075)
    assert stored["seconds"] == {**dict.fromkeys(STAGES), "pose": 1.5, "denoise": 2.25}
    assert stored["metadata"] == {"sku": "Ä", "n": "[1, null]"}


@pytest.mark.parametrize(
    "rows",
    [
        [{"sku": "CW-1", "price": 9.5, "sold": True, "n": 2**62}, {"sku": "CW-2"}, {}],
        [{"mixed": 1}, {"mixed": "1"}, {"mixed": None}, {"mixed": [1, {"a": None}]}],
        [{"number": 1}, {"number": 1.5}],
        [{"huge": 2**70}, {"huge": 1}],
        [{"a.b": "dots", "with space": "x", "Ä": "umlaut"}],
        [{"": "nameless"}, {"b": 1}],
        [{f"name{row}-{number}": number for number in range(150)} for row in range(2)],
        [{"nothing": None}],
        [{}, {}],
    ],
    ids=lambda rows: str(rows)[:30],
)
def test_metadata_of_any_kind_comes_back_exactly(rows: list[dict], tmp_path: Path) -> None:
    uri = str(tmp_path / "results.parquet")
    made = [done(number, metadata=row, pose=row) for number, row in enumerate(rows)]
    write(made, uri)
    assert read(uri) == made
    assert [set(one.metadata) for one in made] == [
        {name for name, value in row.items() if value is not None} for row in rows
    ]


def test_metadata_of_one_kind_is_a_column_of_that_kind(tmp_path: Path) -> None:
    uri = str(tmp_path / "results.parquet")
    write([done(0, metadata={"sku": "a", "n": 1, "x": 0.5, "ok": True}), done(1, metadata={"sku": "b"})], uri)
    kinds = {field.name: field.type for field in pq.read_schema(uri).field("metadata").type}
    assert kinds == {"sku": pa.string(), "n": pa.int64(), "x": pa.float64(), "ok": pa.bool_()}
    assert pq.read_table(uri).flatten()["metadata.sku"].to_pylist() == ["a", "b"]


def test_tables_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    uri = str(tmp_path / "results.parquet")
    full = done(0, seconds={"pose": 1.5}, metadata={"sku": 1}, pose={"frames": 3})
    write([full], uri)
    now = pq.read_table(uri)
    earlier = now.drop_columns(["seconds", "metadata", "pose", "seed", "reference", "fps_float"])
    seconds = pa.array([[("pose", 1.5)]], pa.map_(pa.string(), pa.float64()))
    earlier = earlier.append_column("seconds", seconds)
    for name, text in (("metadata", '{"sku": 1}'), ("pose", '{"frames": 3}')):
        earlier = earlier.append_column(name, pa.array([text]))
    pq.write_table(earlier, uri)
    assert read(uri) == [full]


def test_tables_of_before_there_were_warnings_are_read(tmp_path: Path) -> None:
    uri = str(tmp_path / "results.parquet")
    write([done(0)], uri)
    pq.write_table(pq.read_table(uri).drop_columns(["warnings", "reference_left_out"]), uri)
    assert read(uri) == [done(0)]


def test_no_results_are_a_table_too(tmp_path: Path) -> None:
    uri = str(tmp_path / "results.parquet")
    write([], uri)
    assert read(uri) == []
    assert fixed_columns(uri).equals(RESULTS_SCHEMA)


def test_moments_are_stored_as_utc(tmp_path: Path) -> None:
    uri = str(tmp_path / "results.parquet")
    tokyo = done(0, finished=NOON.astimezone(datetime.timezone(datetime.timedelta(hours=9))))
    assert tokyo.finished == NOON
    assert tokyo.finished.utcoffset() == datetime.timedelta(0)
    write([tokyo], uri)
    assert pq.read_table(uri)["finished"][0].as_py() == NOON
    assert read(uri) == [tokyo]
    with pytest.raises(ValueError, match="timezone"):
        done(0, finished=NOON.replace(tzinfo=None))


def test_a_file_name_that_is_not_utf8_does_not_cost_the_table(tmp_path: Path) -> None:
    uri = str(tmp_path / "results.parquet")
    write([failed(0, error="reference 'a\udcff.png': does not exist", metadata={"file": "\udcff"})], uri)
    assert "does not exist" in read(uri)[0].error


@pytest.mark.parametrize("status", ["failed", "rejected"])
def test_a_bad_end_without_reason_and_remedy_cannot_be_written(status: str) -> None:
    with pytest.raises(ValueError, match="row 3"):
        Result(row=3, status=status, error="it broke")
    with pytest.raises(ValueError, match="row 3"):
        Result(row=3, status=status, remedy="mend it")


def test_columns_of_a_later_version_are_left_out(tmp_path: Path) -> None:
    uri = str(tmp_path / "results.parquet")
    write([done(0)], uri)
    pq.write_table(pq.read_table(uri).append_column("mood", pa.array(["good"])), uri)
    assert read(uri) == [done(0)]


def test_what_is_no_result_table_is_a_problem_that_names_it(tmp_path: Path) -> None:
    uri = tmp_path / "results.parquet"
    uri.write_bytes(b"PAR1")
    with pytest.raises(Problem, match=r"results\.parquet"):
        read(str(uri))
    pq.write_table(pa.table({"id": ["a"]}), uri)
    with pytest.raises(Problem, match=r"results\.parquet"):
        read(str(uri))
    with pytest.raises(FileNotFoundError):
        read(str(tmp_path / "absent.parquet"))


def test_every_planned_row_has_exactly_one_result() -> None:
    found = reconcile(range(4), [done(3), done(1)])
    assert [(result.row, result.status) for result in found] == [(0, "failed"), (1, "done"), (2, "failed"), (3, "done")]


def test_a_vanished_row_says_where_it_was_last_seen_and_keeps_what_is_known_of_it() -> None:
    (lost,) = reconcile([7], [], {7: {"id": "dress", "stage": "animate", "metadata": {"sku": 1}}})
    assert (lost.id, lost.stage, lost.metadata) == ("dress", "animate", {"sku": 1})
    assert "the row vanished in stage animate" in lost.error
    assert lost.remedy
    (unseen,) = reconcile([7], [])
    assert "vanished" in unseen.error


def test_of_several_results_the_first_finished_is_kept_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    late = done(0, finished=NOON + datetime.timedelta(hours=1), code="late")
    early = done(0, finished=NOON, code="early")
    with caplog.at_level(logging.WARNING):
        assert reconcile([0], [done(0, code="never"), late, early]) == [early]
    assert "row 0 has 3 results" in caplog.text


def test_a_film_that_is_there_outweighs_an_earlier_failure() -> None:
    film = done(0, finished=NOON + datetime.timedelta(hours=1))
    assert reconcile([0], [failed(0, finished=NOON), film]) == [film]


def test_a_result_that_nobody_planned_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    assert reconcile([0], [done(0), done(9)]) == [done(0)]
    assert "row 9" in caplog.text


def test_the_summary_counts_rows_frames_and_seconds() -> None:
    summary = summarise(
        [
            done(0, frames=300, fps="30000/1001", seconds={"pose": 1.0, "animate": 10.0}),
            Result(row=1, status="cached", frames=50, fps=25, seconds={"animate": 99.0}, warnings=["one", "two"]),
            failed(2, seconds={"animate": 5.0}),
        ]
    )
    assert (summary["rows"], summary["done"], summary["cached"], summary["failed"], summary["rejected"]) == (
        3,
        1,
        1,
        1,
        0,
    )
    assert (summary["frames"], summary["warned"]) == (350, 1)
    assert summary["film_seconds"] == pytest.approx(10.01 + 2)
    assert summary["stage_seconds"] == {"animate": 15.0, "pose": 1.0}


def test_failures_are_grouped_by_what_went_wrong_and_the_commonest_comes_first() -> None:
    rows = [failed(n, f"reference '/shop/{n}.png': does not exist", status="rejected", stage="read") for n in range(9)]
    groups = summarise([failed(10, "out of memory", stage="animate"), *rows])["failures"]
    assert [(group["count"], group["stage"]) for group in groups] == [(9, "read"), (1, "animate")]
    assert groups[0]["error"] == "reference '/shop/0.png': does not exist"
    assert groups[0]["first_rows"] == [0, 1, 2, 3, 4]


def test_the_exit_code_is_3_as_soon_as_one_row_has_no_film() -> None:
    cached = Result(row=1, status="cached")
    assert exit_code([done(0), cached]) == 0
    assert exit_code([done(0), failed(2)]) == 3
    assert exit_code([Result(row=0, status="rejected", error="e", remedy="r")]) == 3
