"""Every row of a run is accounted for, whenever it ends; and every film is looked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manifests import results
from manifests.clip import Clip
from manifests.layout import Film
from manifests.results import Result
from manifests.work import Work
from pipelines.configuration import RunConfig
from pipelines.planned_clip import planned_clip
from pipelines.running.outcomes import Outcomes, checked, films_of
from pipelines.settings import RunSettings, settled


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    unsigned = RunConfig.load(None, {"provenance": {"credentials": {"sign": False}}})  # these films are no films
    return settled(unsigned, str(tmp_path / "m.parquet"), str(tmp_path / "out"), "night")


def work(row: int) -> Work:
    clip = Clip(id=f"c{row}", animator="drawn", width=32, height=32, steps=2, metadata={"sku": row})
    return Work(row=row, clip=clip, frames=4, film_key=f"{row:032}")


def publish(settings: RunSettings, one: Work, run: str = "night") -> Result:
    """The film of a clip, as a worker leaves it behind."""
    film, layout = Film(one.clip.id, one.film_key), settings.layout
    made = results.of_clip(one, "done", frames=4, fps="25", film_bytes=5, attempts=2, seconds={"denoise": 1.5})
    for place in (layout.film, layout.poster, layout.film_marker):
        Path(place(film)).parent.mkdir(parents=True, exist_ok=True)
        Path(place(film)).write_bytes(b"bytes")
    marker = results.marker(made, run)
    results.storage.publish_json(marker, layout.film_marker(film))
    return results.of_marker(one, marker, "done", layout)


def test_rows_without_a_result_are_not_reached_where_the_run_was_ended_and_vanished_where_it_was_not(
    settings: RunSettings,
) -> None:
    outcomes = Outcomes(range(4), settings)
    outcomes.plan(map(planned_clip, [work(0), work(1), work(2)]))
    outcomes.take([publish(settings, work(0))])
    ended = outcomes.so_far("the run was told to end (SIGTERM)", {1: "pose"})
    assert [one.status for one in ended] == ["done", "not_reached", "not_reached", "not_reached"]
    assert (ended[1].stage, ended[1].error) == ("pose", "not finished: the run was told to end (SIGTERM)")
    assert (ended[2].error, ended[2].id, ended[2].metadata) == (
        "not begun: the run was told to end (SIGTERM)",
        "c2",
        {"sku": 2},
    )
    assert all("same run id" in one.remedy for one in ended[1:])
    vanished = outcomes.so_far(None)
    assert [one.status for one in vanished] == ["done", "failed", "failed", "failed"]
    assert "vanished" in vanished[2].error


def test_a_row_that_is_done_once_more_has_no_result_until_it_comes_back(settings: RunSettings) -> None:
    outcomes = Outcomes([0], settings)
    outcomes.plan(map(planned_clip, [work(0)]))
    outcomes.take([results.of_clip(work(0), "failed", error="damaged", remedy="wait")])
    outcomes.plan(map(planned_clip, [work(0)]))
    assert outcomes.so_far("the deadline came")[0].status == "not_reached"


def test_a_film_whose_worker_was_not_heard_any_more_is_found(settings: RunSettings) -> None:
    outcomes = Outcomes(range(4), settings)
    outcomes.plan(map(planned_clip, [work(row) for row in range(4)]))
    publish(settings, work(1))
    publish(settings, work(2), run="another night")
    os.unlink(settings.layout.film_marker(Film("c2", work(2).film_key)))
    publish(settings, work(3), run="another night")
    outcomes.take(outcomes.found(films_of(settings.layout)))
    ended = outcomes.so_far("the run was told to end (SIGTERM)")
    assert [one.status for one in ended] == ["not_reached", "done", "not_reached", "cached"]
    assert (ended[1].attempts, ended[1].seconds) == (2, {"denoise": 1.5}), "as it was made"


def test_a_film_that_another_run_made_meanwhile_is_taken_over_by_the_row_that_waited_for_it(
    settings: RunSettings,
) -> None:
    outcomes = Outcomes(range(3), settings)
    mine, same, none = work(0), work(1).model_copy(update={"film_key": "f" * 32}), work(2)
    outcomes.plan(map(planned_clip, [mine, same, none]))
    outcomes.take(results.of_clip(one, "failed", error="made elsewhere", remedy="wait") for one in (mine, same, none))
    outcomes.wait(range(3))
    assert [one.status for one in outcomes.so_far("the deadline came")] == ["not_reached"] * 3
    publish(settings, mine, run="another night")
    publish(settings, work(7).model_copy(update={"film_key": "f" * 32}), run="another night")  # under an id of its own
    outcomes.take(outcomes.found(films_of(settings.layout)))
    ended = outcomes.so_far("the deadline came")
    assert [one.status for one in ended] == ["cached", "cached", "not_reached"]
    assert checked(ended, films_of(settings.layout), settings.layout)[1] == 0
    outcomes.stand([2])
    assert outcomes.so_far("the deadline came")[2].error == "made elsewhere"


def test_a_film_that_is_gone_or_cut_short_at_the_end_fails_its_row(settings: RunSettings) -> None:
    good, gone, short = (publish(settings, work(row)) for row in range(3))
    bad = results.of_clip(work(3), "rejected", error="bad", remedy="mend")
    os.unlink(gone.film)
    os.truncate(short.film, 3)
    looked, lost = checked([good, gone, short, bad], films_of(settings.layout), settings.layout)
    assert (looked[0], looked[3], lost) == (good, bad, 2)
    assert [one.status for one in looked[1:3]] == ["failed", "failed"]
    assert "is not there at the end" in looked[1].error
    assert "has 3 bytes instead of 5" in looked[2].error
    assert looked[1].remedy
    assert looked[1].film is None
