"""Results kept as text."""

from datetime import UTC, datetime

from manifests import results
from manifests.kept_results import KeptResults, text_of
from manifests.result_summary import summarise
from manifests.results import Result


def some() -> list[Result]:
    moment = datetime(2026, 11, 29, 6, 0, 0, 123456, UTC)
    film = {"film": "/films/a.mp4", "frames": 30, "fps": "30000/1001", "film_bytes": 7, "seconds": {"pose": 1.5}}
    return [
        Result(row=2, id="a", status="done", **film, started=moment, pose={"held": [[0, 3]]}, metadata={"sku": "ä"}),
        Result(row=0, id="b", status="rejected", stage="validate", error="no file", remedy="correct the path"),
        Result(row=1, status="not_reached", error="not begun", remedy="run again"),
    ]


def test_results_are_the_same_when_they_were_kept() -> None:
    kept = KeptResults(some())
    assert kept == some()
    assert kept != some()[1:]
    assert kept[-1] == some()[-1]
    assert list(kept[1:]) == some()[1:]
    assert [one.row for one in kept.in_order()] == [0, 1, 2]
    assert results.to_table(kept).equals(results.to_table(some()))
    assert summarise(kept) == summarise(some())


def test_what_was_kept_is_taken_over_as_text() -> None:
    kept = KeptResults()
    kept.add(5, text_of(some()[1].model_copy(update={"row": 5})))
    kept.extend(KeptResults(some()))
    assert len(kept) == 4
    assert [row for row, _ in kept.texts()] == [5, 2, 0, 1]
    assert kept[0].error == "no file"


def test_a_kept_result_takes_a_fraction_of_an_object() -> None:
    assert len(text_of(some()[1])) < 200
