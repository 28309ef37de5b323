"""What a run tells a person at its end, and a dry run of what it would reject."""

from __future__ import annotations

from pathlib import Path

from manifests.result_summary import summarise
from manifests.results import Result
from pipelines.configuration import RunConfig
from pipelines.plan import Plan
from pipelines.record import MOST_KINDS, RunRecord, failure_lines
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
