"""The last look at consents, at the end of a run: what it serves has them still."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manifests import storage
from manifests.consent.withdrawal import tell
from manifests.kept_results import KeptResults
from manifests.results import Result
from pipelines.configuration import RunConfig
from pipelines.consenting import consented_to_the_end
from pipelines.settings import RunSettings, settled
from tests.made.consents import USE, record, write_records


def result(row: int, likeness: str | None, **fields: object) -> Result:
    made = {"id": f"c{row}", "status": "done", "film": f"/films/{row}.mp4", "film_key": f"{row:032x}", "reference": "r"}
    return Result(row=row, likeness_consent=likeness, **{**made, **fields})


ENDED = KeptResults(
    [
        result(0, "C-1"),
        result(1, "C-2", status="cached"),
        result(2, None),
        result(3, None, reference=None),
        result(4, "C-2", status="failed", film=None, error="no room", remedy="make room"),
        result(5, "C-1"),
    ]
)


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    consent = {"mode": "required", "records": write_records(tmp_path / "r.json", record("C-1"), record("C-2")), **USE}
    return settled(RunConfig.load(None, {"consent": consent}), str(tmp_path), str(tmp_path / "out"), "night")


def test_a_film_whose_consent_ended_since_is_served_no_more(settings: RunSettings, tmp_path: Path) -> None:
    write_records(tmp_path / "r.json", record("C-1"), record("C-2", revoked=True))
    tell(settings.layout, ENDED[5].film_key, "C-1", ["c5"])
    told = consented_to_the_end(ENDED, settings)
    assert [one.status for one in told] == ["done", "rejected", "rejected", "done", "failed", "rejected"]
    assert "was revoked; film /films/1.mp4 was published before that" in told[1].error
    assert "names no consent of the person of the reference image" in told[2].error
    assert told[5].error.startswith("the film was withdrawn")
    assert (told[0], told[3], told[4]) == (ENDED[0], ENDED[3], ENDED[4])
    assert {one.film for one in told if one.status == "rejected"} == {None}


def test_records_that_cannot_be_read_serve_nothing(settings: RunSettings, tmp_path: Path) -> None:
    storage.delete(str(tmp_path / "r.json"))
    told = consented_to_the_end(ENDED, settings)
    assert [one.status for one in told] == ["failed"] * 6
    assert "there is no such file" in told[0].error


def test_a_run_that_does_not_require_consents_leaves_its_films(settings: RunSettings, tmp_path: Path) -> None:
    write_records(tmp_path / "r.json", record("C-1", revoked=True))
    for mode in ("recorded", "off"):
        consent = settings.config.consent.model_copy(update={"mode": mode})
        other = replace(settings, config=settings.config.model_copy(update={"consent": consent}))
        assert consented_to_the_end(ENDED, other) is ENDED
