"""What a run tells a person at its end, and a dry run of what it would reject."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from manifests import results
from manifests.result_summary import summarise
from manifests.results import Result
from pipelines.configuration import RunConfig
from pipelines.plan import Plan
from pipelines.running.record import MOST_KINDS, RunRecord, failure_lines
from pipelines.settings import settled


def rejected(row: int, error: str, remedy: str = "mend it") -> Result:
    return Result(row=row, id=f"r{row}", status="rejected", stage="validate", error=error, remedy=remedy)


def test_a_dry_run_names_rows_and_reasons_and_writes_nothing(tmp_path: Path) -> None:
    wrong = [rejected(row, f"reference 'a{row}.png': there is no such file") for row in range(7)]
    said: list[str] = []
    record = RunRecord(settled(RunConfig(), str(tmp_path / "m.parquet"), str(tmp_path / "out"), "night"))
    outcome = record.dry(Plan(), [*wrong, rejected(9, "steps 0: is below 1")], said.append)
    assert said == [
        "  rejected in validate (rows 0, 1, 2, 3, 4 and 2 more): reference 'a0.png': there is no such file",
        "    → mend it",
        "  rejected in validate (row 9): steps 0: is below 1",
        "    → mend it",
    ]
    assert outcome.exit_code == 3
    assert not (tmp_path / "out").exists()


def test_reasons_beyond_the_most_frequent_are_counted() -> None:
    faults = [f"is {first}{second}" for first in "abcde" for second in "vwxyz"]
    failures = summarise([rejected(row, fault) for row, fault in enumerate(faults)])["failures"]
    lines = failure_lines(failures)
    assert len(lines) == 2 * MOST_KINDS + 1
    assert lines[-1] == "  and 5 rows for 5 more reasons"


def test_a_table_that_cannot_be_written_is_kept_here_and_named_and_the_run_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    record = RunRecord(settled(RunConfig(), str(tmp_path / "m.parquet"), str(tmp_path / "out"), "night"))
    table = tmp_path / "out" / "runs" / "night" / "results.parquet"
    table.mkdir(parents=True)  # in the way
    said: list[str] = []
    outcome = record.finish([rejected(3, "is wrong")], None, None, True, said.append)
    kept = tmp_path / "here" / "catwalk-night-results.parquet"
    assert results.read(str(kept)) == outcome.results
    assert outcome.exit_code == 1
    assert f"results: {kept}" in said
    assert any(f"the results are in {kept}" in line for line in said)
    assert not (table.parent / "_SUCCESS").exists()
    shutil.rmtree(tmp_path / "here")
    assert record.finish([rejected(3, "is wrong")], None, None, True, said.append).exit_code == 1


def test_a_run_that_lost_a_film_or_left_rows_out_is_no_success(tmp_path: Path) -> None:
    record = RunRecord(settled(RunConfig(), str(tmp_path / "m.parquet"), str(tmp_path / "out"), "night"))
    success = tmp_path / "out" / "runs" / "night" / "_SUCCESS"
    left = Result(row=1, status="not_reached", error="not begun: the deadline came", remedy="run again")
    said: list[str] = []
    for final, stopped, films_there, whole in (
        ([rejected(0, "is wrong")], None, False, False),
        ([rejected(0, "is wrong"), left], "the deadline came", True, False),
        ([rejected(0, "is wrong")], "the deadline came", True, True),
    ):
        assert record.finish(final, None, stopped, films_there, said.append).exit_code == 3
        assert success.exists() == whole
    assert "the run ended early: the deadline came; the same run id continues it" in said
