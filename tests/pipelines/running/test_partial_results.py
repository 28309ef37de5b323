"""Results that can be read while a run goes on."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from manifests.results import RESULTS_SCHEMA, Result
from pipelines.running import partial_results
from pipelines.running.partial_results import PartialResults


def done(row: int, **fields: object) -> Result:
    return Result(row=row, id=f"clip-{row}", status="done", **fields)


def test_parts_read_together_are_one_table_whatever_rows_carry(tmp_path: Path) -> None:
    partial = PartialResults(str(tmp_path / "night"), interval=0)
    partial.add([done(1, metadata={"sku": "A"}), done(0, pose={"held": [[0, 3]]})])
    partial.write()
    partial.add([done(5, metadata={"sku": 7, "colour": None})])
    partial.write()
    partial.write()
    parts = sorted((tmp_path / "night" / "results").iterdir())
    assert [part.name for part in parts] == ["part-00000.parquet", "part-00001.parquet"]
    table = pq.read_table(tmp_path / "night" / "results")
    assert table["row"].to_pylist() == [0, 1, 5]
    assert table["metadata"].to_pylist() == ["{}", '{"sku": "A"}', '{"sku": 7}']
    assert set(table.column_names) == {*RESULTS_SCHEMA.names, "pose", "metadata"}
    partial.clear()
    assert not list((tmp_path / "night" / "results").iterdir())


def test_a_part_is_written_now_and_then_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(partial_results.time, "monotonic", lambda: clock[0])
    partial = PartialResults(str(tmp_path), interval=30)
    for second in range(0, 10_800, 30):  # three hours
        clock[0] = 1000.0 + second
        partial.add([done(second)])
        partial.write()
    parts = list((tmp_path / "results").iterdir())
    assert 100 < len(parts) < 260
    assert sum(pq.read_metadata(part).num_rows for part in parts) > 350


def test_what_cannot_be_written_now_is_written_later(tmp_path: Path) -> None:
    blocked = tmp_path / "results"
    blocked.write_text("in the way")
    partial = PartialResults(str(tmp_path), interval=0)
    partial.add([done(0)])
    partial.write()
    blocked.unlink()
    partial.add([done(1)])
    partial.write()
    assert pq.read_table(blocked)["row"].to_pylist() == [0, 1]
