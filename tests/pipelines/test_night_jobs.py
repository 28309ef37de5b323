"""How far submitted nights are, as a table; and how one is told to end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.jobs import Job
from manifests.errors import Problem, WrongUsage
from manifests.layout import OutputLayout
from pipelines.night_jobs import OUTPUT, counts, nights, states, stop, table
from pipelines.running.lease import held

BEGUN = datetime(2026, 11, 29, 22, 0, tzinfo=UTC)


def job(name: str, attempt: int, state: str, code: int | None = None, **about: str) -> Job:
    took = {"begun": BEGUN + timedelta(minutes=attempt), "ended": BEGUN + timedelta(hours=1, minutes=attempt)}
    return Job(name, attempt, f"{name}-{attempt}", state, "", about, **took, exit_code=code)


def rows_that_ended(folder: Path, name: str, *statuses: str) -> None:
    target = folder / "runs" / "night" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"row": range(len(statuses)), "status": statuses}), target)


def test_rows_are_counted_while_the_night_goes_on_and_when_it_is_over(tmp_path: Path) -> None:
    layout = OutputLayout(str(tmp_path))
    assert counts(layout, "night") is None
    rows_that_ended(tmp_path, "plan.parquet", *["planned"] * 5)
    rows_that_ended(tmp_path, "results.parquet", "done", "not_reached")  # of an earlier session
    rows_that_ended(tmp_path, "results/part-00000.parquet", "cached", "done")
    rows_that_ended(tmp_path, "results/part-00001.parquet", "failed")
    going_on = counts(layout, "night")
    assert going_on == {"rows": 5, "done": 1, "cached": 1, "rejected": 0, "failed": 1, "not_reached": 0}
    for part in (tmp_path / "runs" / "night" / "results").iterdir():
        part.unlink()
    over = counts(layout, "night")
    assert over is not None
    assert (over["done"], over["not_reached"]) == (1, 1)


def test_the_last_attempt_of_every_night_is_listed(tmp_path: Path) -> None:
    rows_that_ended(tmp_path, "plan.parquet", "planned", "planned")
    rows_that_ended(tmp_path, "results.parquet", "done", "not_reached")
    noted = {OUTPUT: str(tmp_path)}
    jobs = [job("night", 2, "FAILED", 3, **noted), job("night", 1, "STOPPED"), job("day", 1, "RUNNING")]
    found = states(jobs, None, counted=True)
    assert [(one["run_id"], one["attempt"], one["state"]) for one in found] == [("day", 1, "running"),
                                                                                 ("night", 2, "failed")]  # fmt: skip
    assert table(found) == [
        "run    attempt  state                begun (UTC)       took     rows",
        "day    1        running              2026-11-29 22:01  1:00:00",
        "night  2        failed, exit code 3  2026-11-29 22:02  1:00:00  of 2: 1 done, 1 not reached",
    ]
    assert table([]) == ["no night has been submitted to this cluster"]


def test_jobs_that_are_no_nights_are_not_listed() -> None:
    by_hand, ours = job("night", 1, "FAILED"), job("night", 2, "RUNNING", **{OUTPUT: "s3://films"})
    assert nights([job("training", 1, "RUNNING", output="s3://weights"), by_hand, ours]) == [by_hand, ours]


def nobody() -> NoReturn:
    raise Problem("no Ray cluster answers", "name it")


def test_a_night_that_goes_on_is_stopped_without_asking_its_cluster(tmp_path: Path) -> None:
    said: list[str] = []
    with held(OutputLayout(str(tmp_path)), "night", "session", print):
        stop("night", str(tmp_path), nobody, False, said.append)
    assert (tmp_path / "runs" / "night" / "STOP").read_text() == "catwalk stop"
    assert "ends when the rows in hand are finished" in said[0]


@pytest.mark.parametrize("run_id", ["night", "nihgt"])
def test_no_order_is_left_for_a_night_that_does_not_go_on(tmp_path: Path, run_id: str) -> None:
    with held(OutputLayout(str(tmp_path)), "night", "session", print):
        pass
    with pytest.raises(WrongUsage, match=f"run {run_id!r} does not go on in .*, and its job cannot be looked for"):
        stop(run_id, str(tmp_path), nobody, False, print)
    assert list(tmp_path.rglob("STOP")) == []
