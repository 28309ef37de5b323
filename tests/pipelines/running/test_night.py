"""A session of a run leaves a table and a summary, whatever its store refuses and whenever it is told to end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import ray.data

from manifests import results
from manifests.clip import Clip
from manifests.kept_results import KeptResults, text_of
from manifests.layout import OutputLayout
from manifests.results import Result
from manifests.work import Work
from pipelines import animate
from pipelines.configuration import RunConfig
from pipelines.console import Orders
from pipelines.manifest_reading import ManifestRows
from pipelines.plan import Plan
from pipelines.planned_clip import PlannedClip, planned_clip
from pipelines.running import night
from pipelines.running.lease import Lost, held
from pipelines.running.night import Night, shared_films, spent_before
from pipelines.running.record import RunRecord
from pipelines.running.watch import Ends, Order
from pipelines.running.workers import row_of
from pipelines.settings import RunSettings, settled


class StoreFault(Exception):
    """As stores raise them: no OSError."""


def refuse(*given: object) -> None:
    raise StoreFault("the bucket does not answer")


def clip(row: int, film_key: str = "") -> PlannedClip:
    one = Clip(id=f"c{row}", animator="drawn", width=32, height=32, steps=2)
    return planned_clip(Work(row=row, clip=one, frames=4, film_key=film_key or f"{row:032}"))


def rejected(row: int) -> Result:
    return Result(row=row, id=f"c{row}", status="rejected", stage="validate", error="is wrong", remedy="mend it")


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    config = RunConfig.load(None, {"animate_pool": {"num_gpus": 1, "device": "cpu"}})
    return settled(config, str(tmp_path / "m.parquet"), str(tmp_path / "out"), "night")


@pytest.fixture
def begin(cluster: str, settings: RunSettings) -> Iterator[Callable[..., Night]]:
    """A night of three rows, of which one was refused and two are to be made."""
    with held(settings.layout, "night", settings.session, print) as lease:

        def begun(ends: Ends | None = None, orders: Orders | None = None) -> Night:
            record = RunRecord(settings)
            one = Night(range(3), 3, settings, record, lease, orders or Orders(), ends or Ends(), print)
            one.begin(KeptResults([rejected(0)]))
            one._outcomes.plan([clip(1), clip(2)])
            return one

        yield begun


def statuses(settings: RunSettings) -> list[str]:
    return [one.status for one in results.read(settings.layout.run("night", "results.parquet"))]


def test_a_store_that_fails_between_rounds_ends_the_night_with_table_and_summary(
    begin: Callable[..., Night], settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = begin()
    monkeypatch.setattr(Night, "animate", lambda self, plan, graph: {1})
    monkeypatch.setattr(OutputLayout, "claim", refuse)
    animate.in_rounds(Plan(), ManifestRows, one, settings, print)
    monkeypatch.undo()
    done = one.end()
    assert done.broke_off == "StoreFault: the bucket does not answer"
    assert statuses(settings) == ["rejected", "not_reached", "not_reached"]
    assert json.loads(Path(settings.layout.run("night", "summary.json")).read_text())["broke_off"] == done.broke_off


def test_rows_that_end_between_rounds_are_counted(
    begin: Callable[..., Night], settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, again = begin(), [{1}, set()]
    monkeypatch.setattr(Night, "animate", lambda self, plan, graph: again.pop(0))
    monkeypatch.setattr(animate, "planned", lambda *given: (Plan(), KeptResults([rejected(1)])))
    animate.in_rounds(Plan(), ManifestRows(pa.table({"row": [0, 1, 2]})), one, settings, print)
    assert one._record.meter.counts == {"rejected": 2}
    assert not again


def test_copies_of_a_film_are_counted(begin: Callable[..., Night], monkeypatch: pytest.MonkeyPatch) -> None:
    one, first, second = begin(), clip(1, "same"), clip(2, "same")
    failed = results.of_clip(first.work, "failed", error="e", remedy="r")
    monkeypatch.setattr(night, "followed", lambda *given: [row_of(failed, first.work)])
    one.animate(Plan(todo=[first], duplicates={"same": [second]}), lambda *given: None)  # type: ignore[arg-type,return-value]
    assert one._record.meter.counts == {"rejected": 1, "failed": 2}


def test_a_run_that_was_taken_over_writes_nothing(
    begin: Callable[..., Night], settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*given: object) -> None:
        raise Lost("taken over", "nothing")

    monkeypatch.setattr(Night, "animate", lost)
    with pytest.raises(Lost):
        animate.in_rounds(Plan(), ManifestRows, begin(), settings, print)


@pytest.mark.parametrize(("where", "name"), [(night, "films_of"), (OutputLayout, "read_film_markers")])
def test_films_that_cannot_be_looked_for_at_the_end_cost_neither_table_nor_summary(
    begin: Callable[..., Night], settings: RunSettings, monkeypatch: pytest.MonkeyPatch, where: object, name: str
) -> None:
    one = begin()
    monkeypatch.setattr(where, name, refuse)
    done = one.end()
    assert done.exit_code == 1
    assert "films could not be looked for (StoreFault: the bucket does not answer)" in (done.broke_off or "")
    assert statuses(settings) == ["rejected", "not_reached", "not_reached"]


def test_an_earlier_table_is_read_before_anything_is_begun_and_not_needed_at_the_end(
    begin: Callable[..., Night], settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.write([rejected(1), rejected(2)], settings.layout.run("night", "results.parquet"))
    one = begin()
    one._outcomes._rows = [0]  # as with --only
    monkeypatch.setattr(results, "stored", refuse)
    assert one.end().exit_code == 3
    monkeypatch.undo()
    assert statuses(settings) == ["rejected"] * 3


def test_an_order_to_end_stays_one_where_the_table_cannot_be_put_down_at_once(
    begin: Callable[..., Night], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = begin()
    monkeypatch.setattr(RunRecord, "with_earlier", refuse)
    one._write_now(Order("the deadline came", None))


def test_what_killed_workers_claimed_may_stay_where_the_store_refuses_to_remove_it(
    begin: Callable[..., Night], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = begin()
    monkeypatch.setattr(one._claims, "clear", refuse)
    monkeypatch.setattr(one._partial, "_folder", None)  # which no store knows
    assert one.end().broke_off is None


def test_rows_of_a_film_that_was_not_begun_are_not_reached_either(settings: RunSettings) -> None:
    first, *others = clips = [clip(row, "f" * 32) for row in range(3)]
    left = results.of_clip(first.work, "not_reached", error="not begun: it takes about 1:00:00", remedy="run again")
    plan = Plan([first], {"f" * 32: others})
    shared = list(shared_films(plan, {0: left}, settings))
    assert [(one.row, one.id, one.status) for one in shared] == [(1, "c1", "not_reached"), (2, "c2", "not_reached")]
    assert {(one.error, one.remedy) for one in shared} == {(left.error, left.remedy)}
    assert len(clips) == 3


def test_a_film_that_cannot_be_shared_fails_the_rows_that_asked_for_it_alone(
    settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = clip(0, "f" * 32), clip(1, "f" * 32)
    made = results.of_clip(first.work, "done", frames=4, fps="25")
    monkeypatch.setattr(OutputLayout, "read_film_markers", refuse)
    (shared,) = shared_films(Plan([first], {"f" * 32: [other]}), {0: made}, settings)
    assert (shared.row, shared.status) == (1, "failed")
    assert "does not answer" in (shared.error or "")


def test_a_row_that_is_to_be_done_again_is_not_reached_when_the_night_ends_before(
    begin: Callable[..., Night], settings: RunSettings
) -> None:
    damaged = results.of_clip(clip(1).work, "failed", error="was damaged, and is removed", remedy="run again")
    row = {"work": clip(1).text, "result": text_of(damaged), "then": "again", "retried": "{}"}
    orders = Orders()
    one = begin(orders=orders)
    assert one.animate(Plan([clip(1)]), lambda groups, attempts: ray.data.from_items([row])) == {1}
    orders.first = "SIGTERM"
    assert one.over
    one.end()
    assert statuses(settings) == ["rejected", "not_reached", "not_reached"]


def test_rows_that_wait_for_another_run_are_not_reached_when_the_night_ends_and_failed_when_they_are_given_up(
    begin: Callable[..., Night], settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(self: Night, plan: object, graph: object) -> set[int]:
        self._outcomes.take(
            results.of_clip(clip(row).work, "failed", error="another run is making it", remedy="run again")
            for row in (1, 2)
        )
        self._outcomes.wait([1, 2])
        return {1, 2}

    monkeypatch.setattr(Night, "animate", elsewhere)
    monkeypatch.setattr(Night, "made_elsewhere", lambda self, rows: set(rows))
    orders = Orders()
    one = begin(orders=orders)
    orders.first = "SIGTERM"
    animate.in_rounds(Plan(), ManifestRows, one, settings, print)
    assert one.end().exit_code == 1
    assert statuses(settings) == ["rejected", "not_reached", "not_reached"]

    Path(settings.layout.run("night", "STOP")).unlink()  # as a run does when it begins
    one = begin()
    monkeypatch.setattr(Night, "first_ready", lambda self, rows: set())  # after longest_row_seconds
    animate.in_rounds(Plan(), ManifestRows, one, settings, print)
    assert one.end().exit_code == 3
    assert statuses(settings) == ["rejected", "failed", "failed"]


def test_a_budget_counts_rows_that_failed_before_or_lie_outside_this_session(
    begin: Callable[..., Night], settings: RunSettings
) -> None:
    failed = Result(row=1, status="failed", error="e", remedy="r", gpu_seconds=2000)
    results.write([failed], settings.layout.run("night", "results.parquet"))
    assert not begin(Ends(max_gpu_hours=2)).over
    assert begin(Ends(max_gpu_hours=0.5)).over


def test_a_row_of_both_sessions_counts_once() -> None:
    earlier = [
        Result(row=0, status="done", gpu_seconds=10),
        Result(row=1, status="cached", gpu_seconds=99),
        Result(row=2, status="failed", error="e", remedy="r", gpu_seconds=3),
    ]
    now = [Result(row=0, status="done", gpu_seconds=12), rejected(2)]
    assert sorted(one.gpu_seconds or 0 for one in spent_before(earlier, now)) == [3, 12]
