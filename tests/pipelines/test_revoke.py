"""`catwalk revoke`: every film under a consent is found and, if that is asked for, withdrawn; no other is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manifests import results, storage
from manifests.consent.records_file import read_records
from manifests.consent.register import utc_today
from manifests.errors import Rejected
from manifests.kept_results import KeptResults
from manifests.layout import Film, OutputLayout
from manifests.result_summary import summarise
from manifests.results import Result
from pipelines import cli
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from pipelines.plan import make_plan
from pipelines.planned_clip import planned_clip
from pipelines.running.partial_results import as_text
from pipelines.running.record import consent_lines
from stages.provenance.credentials.film_signing import FilmSigning
from stages.provenance.settings import Credentials, Provenance
from tests.made.consents import USE, record, write_records
from tests.made.made_night import in_bucket, make_night, small_media
from tests.made.plain_animators import Plain
from tests.made.sample_media import clip_row

CONSENTS = ["C-1", "C-2", "C-1", None]


@pytest.fixture(params=["local", "s3"])
def night(request: pytest.FixtureRequest, tmp_path: Path) -> OutputLayout:
    """Four films: the first and the third were made under C-1, the second under C-2; the fourth asked nobody."""
    named = [{"likeness_consent": name} if name else {} for name in CONSENTS]
    named[2] = {"performer_consent": "C-1"}
    ends = [{"status": "done", **one} for one in named]
    layout = make_night(tmp_path / "night", small_media(tmp_path / "media"), named, ends)
    return layout if request.param == "local" else in_bucket(layout, request.getfixturevalue("s3"))


def revoke(capsys: pytest.CaptureFixture[str], layout: OutputLayout, *words: str, name: str = "C-1") -> Any:
    code = cli.main(["revoke", name, layout.output, "--json", *words])
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == code
    return told


def states(told: Any) -> dict[str, str]:
    return {one["id"]: one["state"] for output in told["outputs"] for one in output["films"]}


def everything(layout: OutputLayout) -> dict[str, int]:
    return storage.listing(layout.output, recursive=True)


def test_every_film_under_a_consent_is_listed_with_the_rows_that_tell_of_it(
    night: OutputLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(night)
    told = revoke(capsys, night)
    assert states(told) == {"clip-0": "published", "clip-2": "published"}
    assert [one["runs"] for one in told["outputs"][0]["films"]] == [{"night": [0]}, {"night": [2]}]
    assert (told["exit_code"], everything(night)) == (cli.OK, before)


def test_an_id_that_nothing_knows_is_no_success(
    night: OutputLayout, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told = revoke(capsys, night, name="C-9")
    assert (states(told), told["exit_code"]) == ({}, cli.SOME_FAILED)
    assert "nothing knows it" in told["problems"][0]
    records = write_records(tmp_path / "records.json", record("C-9"))
    assert revoke(capsys, night, "--records", records, name="C-9")["exit_code"] == cli.OK
    for name in ("", "C 1", "C" * 129):
        assert cli.main(["revoke", name, night.output]) == cli.WRONG_USAGE
        assert "is no id of a consent record" in capsys.readouterr().err


def test_a_film_is_found_where_only_its_marker_or_only_a_run_in_progress_tells_of_it(
    night: OutputLayout, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    every = results.read(night.run("night", "results.parquet"))
    storage.delete(night.run("night", "results.parquet"))
    assert states(revoke(capsys, night)) == {"clip-0": "published", "clip-2": "published"}
    storage.delete(night.film_marker(Film("clip-0", every[0].film_key)))
    assert states(revoke(capsys, night)) == {"clip-2": "published"}
    part = tmp_path / "part.parquet"
    results.pq.write_table(as_text(KeptResults(every)), part)
    storage.publish(part, night.run("going", "results/part-00000.parquet"))
    told = revoke(capsys, night)
    assert states(told) == {"clip-0": "published", "clip-2": "published"}
    assert told["outputs"][0]["films"][0]["runs"] == {"going": [0]}


def test_a_withdrawn_film_is_moved_whole_once_and_for_all(
    night: OutputLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(night)
    assert states(revoke(capsys, night, "--withdraw", "--dry-run")) == {"clip-0": "published", "clip-2": "published"}
    assert everything(night) == before
    told = revoke(capsys, night, "--withdraw")
    assert (told["outputs"][0]["withdrew"], told["exit_code"]) == (2, cli.OK)
    assert states(told) == {"clip-0": "withdrawn", "clip-2": "withdrawn"}
    after = everything(night)
    moved = {name for name in before if name.startswith(("films/clip-0.", "films/clip-2."))}
    assert len(moved) == 6
    assert {name: size for name, size in after.items() if not name.startswith("withdrawn/")} == {
        name: size for name, size in before.items() if name not in moved
    }
    assert all(after[f"withdrawn/{name}"] == before[name] for name in moved), "nothing is lost"
    again = revoke(capsys, night, "--withdraw")
    assert (again["outputs"][0]["withdrew"], states(again)) == (0, states(told))
    assert everything(night) == after
    assert [one["film"] for one in again["outputs"][0]["films"]] == [one["film"] for one in told["outputs"][0]["films"]]


def test_the_same_film_under_other_ids_is_withdrawn_too_but_where_another_consent_is_named(
    night: OutputLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    key = results.read(night.run("night", "results.parquet"))[0].film_key
    marker = {**storage.read_json(night.film_marker(Film("clip-0", key))), "likeness_consent": None}
    for name, consent in (("nobody", None), ("other", "C-7")):
        night.share_film(Film("clip-0", key), Film(name, key))
        storage.publish_json({**marker, "likeness_consent": consent}, night.film_marker(Film(name, key)))
    storage.copy(night.film(Film("clip-0", key)), night.aside().film(Film("waiting", key)))
    storage.publish_json(marker, night.aside().film_marker(Film("waiting", key)))
    known = {"clip-0": "published", "clip-2": "published", "nobody": "published", "waiting": "set aside"}
    assert states(revoke(capsys, night)) == {**known, "other": "under another consent"}
    told = revoke(capsys, night, "--withdraw")
    assert states(told) == {**dict.fromkeys(known, "withdrawn"), "other": "under another consent"}
    shown = {name.partition(".")[0] for name in [*storage.listing(night.films), *storage.listing(night.set_aside)]}
    assert shown == {"clip-1", "clip-3", "other"}
    assert states(revoke(capsys, night, "--withdraw")) == states(told)


def test_a_row_that_never_had_a_film_is_none_that_was_made(
    night: OutputLayout, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first, *_ = results.read(night.run("night", "results.parquet"))
    ends = {"failed": "animate", "rejected": "consent", "not_reached": None, "done": None}
    rows = [
        first.model_copy(update={"id": status, "film_key": f"{status}-key", "status": status, "stage": stage})
        for status, stage in ends.items()
    ]
    results.write(rows, str(tmp_path / "rows.parquet"))
    storage.publish(tmp_path / "rows.parquet", night.run("other", "results.parquet"))
    told = revoke(capsys, night, "--withdraw")
    assert states(told) == {"clip-0": "withdrawn", "clip-2": "withdrawn", "done": "gone"}


@pytest.mark.parametrize("left", [("mp4", "jpg"), ("mp4",), ("jpg",)])
def test_a_withdrawal_that_was_killed_is_completed(
    left: tuple[str, ...], night: OutputLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    revoke(capsys, night, "--withdraw")
    whole = everything(night)
    (stem,) = {name.rpartition(".")[0] for name in whole if name.startswith("withdrawn/films/clip-0.")}
    for ending in left:  # not gone yet
        name = f"{stem}.{ending}"
        storage.copy(storage.join(night.output, name), storage.join(night.films, storage.name(name)))
    assert states(revoke(capsys, night))["clip-0"] == "published"
    revoke(capsys, night, "--withdraw")
    assert everything(night) == whole


def test_what_cannot_be_read_is_named_and_stops_nothing(
    night: OutputLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.publish_bytes(b"no table", night.run("other", "results.parquet"))
    told = revoke(capsys, night, "--withdraw")
    assert told["exit_code"] == cli.SOME_FAILED
    assert "runs/other/results.parquet could not be read" in told["problems"][0]
    assert states(told) == {"clip-0": "withdrawn", "clip-2": "withdrawn"}


def test_a_record_is_marked_and_a_dry_run_marks_none(
    night: OutputLayout, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    local = Path(write_records(tmp_path / "records.json", record("C-1"), record("C-2")))
    records = storage.join(night.output, "records.json")
    storage.publish(local, records)
    revoke(capsys, night, "--records", records, "--dry-run")
    assert read_records(records)["C-1"].revoked is None
    assert revoke(capsys, night, "--records", records)["marked"] == read_records(records)["C-1"].revoked.isoformat()
    assert revoke(capsys, night, "--records", records)["marked"] == "already"
    assert read_records(records)["C-2"].revoked is None


def test_films_are_withdrawn_though_the_record_cannot_be_marked(
    night: OutputLayout, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    records = write_records(tmp_path / "records.json", record("C-2"))
    told = revoke(capsys, night, "--records", records, "--withdraw")
    assert (told["exit_code"], told["marked"]) == (cli.SOME_FAILED, None)
    assert "none has the id 'C-1'" in told["problems"][0]
    assert set(states(told).values()) == {"withdrawn"}


def test_several_outputs_are_looked_through_at_once(
    night: OutputLayout, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    told = revoke(capsys, night, "--also", str(tmp_path / "empty"))
    assert [len(output["films"]) for output in told["outputs"]] == [2, 0]
    assert cli.main(["revoke", "C-1", str(tmp_path / "nowhere")]) == cli.WRONG_USAGE
    assert "there is no such folder" in capsys.readouterr().err


# What runs make of it, without Ray


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return Path(write_records(tmp_path / "records.json", record("C-1"), record("C-2")))


def chain(media: Path, mode: str = "required") -> StageChain:
    consent = {"mode": mode, "records": str(media / "records.json"), **USE} if mode != "off" else {}
    return StageChain(RunConfig.load(None, {"consent": consent}), str(media / "out"))


def film(stages: StageChain, media: Path, likeness: str | None = "C-1", clip_id: str = "clip") -> Result:
    files = {"reference": str(media / "reference.png"), "driving": str(media / "driving.mp4")}
    named = {"likeness_consent": likeness, "performer_consent": "C-2"}
    row = clip_row(clip_id, **{**files, "driving_kind": "skeleton", "animator": "plain", "steps": None, **named})
    return stages.film(stages.work(row))


@pytest.mark.usefixtures("plain_animators")
def test_a_withdrawn_film_is_made_for_nobody_but_a_row_with_another_consent(
    media: Path, records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = film(chain(media), media)
    assert (made.likeness_consent, len(made.likeness_consent_digest)) == ("C-1", 64)
    revoke(capsys, OutputLayout(str(media / "out")), "--withdraw")
    for mode in ("off", "recorded", "required"):
        with pytest.raises(Rejected, match=r"the film was withdrawn on .* under consent 'C-1', which was revoked"):
            film(chain(media, mode), media)
    assert not storage.exists(made.film)
    write_records(records, record("C-1"), record("C-2"), record("C-3"))
    again = film(chain(media), media, "C-3")
    assert (again.film, again.status, again.likeness_consent) == (made.film, "done", "C-3")
    told = revoke(capsys, OutputLayout(str(media / "out")), "--withdraw")
    assert states(told) == {"clip": "under another consent"}
    assert storage.exists(made.film)


@pytest.mark.usefixtures("plain_animators")
def test_a_film_is_not_published_when_its_consent_is_revoked_while_it_is_drawn(
    media: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, stages = Plain.frames, chain(media)

    def frames(self: Plain, *given: Any) -> Any:
        write_records(records, record("C-1", revoked=utc_today().isoformat()), record("C-2"))
        return drawn(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Plain, "frames", frames)
        with pytest.raises(Rejected, match="likeness_consent 'C-1': was revoked on"):
            film(stages, media)
    assert storage.listing(str(media / "out" / "films")) == {}
    write_records(records, record("C-1"), record("C-2"))
    assert film(stages, media).status == "done", "and from what was stored"


@pytest.mark.usefixtures("plain_animators")
def test_a_film_that_is_there_is_not_served_when_its_consent_was_revoked(media: Path, records: Path) -> None:
    film(chain(media), media)
    stages = chain(media)
    files = {"reference": str(media / "reference.png"), "driving": str(media / "driving.mp4")}
    named = {"likeness_consent": "C-1", "performer_consent": "C-2"}
    row = clip_row("clip", **{**files, "driving_kind": "skeleton", "animator": "plain", "steps": None, **named})
    work = stages.work(row)
    write_records(records, record("C-1", revoked=True), record("C-2"))
    with pytest.raises(Rejected, match="was revoked"):
        stages.film(work)
    with pytest.raises(Rejected, match="was revoked"):
        chain(media).work(row)


@pytest.mark.usefixtures("plain_animators")
def test_a_film_that_is_found_carries_the_consent_of_the_row_that_asks_for_it(media: Path, records: Path) -> None:
    first = film(chain(media, "off"), media)
    assert (first.likeness_consent, first.likeness_consent_digest) == ("C-1", None)
    write_records(records, record("C-1", ends="2040-01-01"), record("C-2"), record("C-3"))
    digests = {name: one.digest for name, one in read_records(str(records)).items()}
    layout, marker = OutputLayout(str(media / "out")), Film("clip", first.film_key)
    for name in ("C-1", "C-3"):
        found = film(chain(media), media, name)
        assert (found.status, found.film, found.started) == ("cached", first.film, first.started)
        assert (found.likeness_consent, found.likeness_consent_digest) == (name, digests[name])
        (told,) = layout.read_film_markers([marker])
        assert (told["likeness_consent"], told["likeness_consent_digest"]) == (name, digests[name])
    shared = film(chain(media), media, "C-1", "other")
    assert shared.likeness_consent == "C-1"
    stages = chain(media)
    plan = make_plan([], stages.settings.layout, "night")
    assert plan.todo == []
    off = film(chain(media, "off"), media, "C-3")
    assert off.likeness_consent_digest == digests["C-3"], "what is known is not forgotten"


@pytest.mark.usefixtures("plain_animators")
@pytest.mark.parametrize("sign", [True, False])
def test_a_plan_puts_a_film_under_the_consents_of_its_row(sign: bool, media: Path, records: Path) -> None:
    made, stages = film(chain(media), media), chain(media)
    signing = FilmSigning(Provenance(credentials=Credentials(sign=sign)))
    files = {"reference": str(media / "reference.png"), "driving": str(media / "driving.mp4")}
    named = {"likeness_consent": "C-2", "performer_consent": "C-2"}
    for name in ("clip", "other"):
        row = clip_row(name, **{**files, "driving_kind": "skeleton", "animator": "plain", "steps": None, **named})
        todo = [planned_clip(stages.work(row))]
        if name == "clip":
            (before,) = stages.settings.layout.read_film_markers([Film(name, made.film_key)])
            assert [one.likeness_consent for one in make_plan(todo, stages.settings.layout, "dry").finished] == ["C-2"]
            assert stages.settings.layout.read_film_markers([Film(name, made.film_key)]) == [before], (
                "a plan only looks"
            )
        plan = make_plan(todo, stages.settings.layout, "night", signing=signing)
        assert [one.likeness_consent for one in plan.finished] == ["C-2"]
        (told,) = stages.settings.layout.read_film_markers([Film(name, made.film_key)])
        assert told["likeness_consent"] == "C-2"


@pytest.mark.usefixtures("plain_animators")
def test_a_run_that_only_records_makes_the_film_and_says_what_is_missing(media: Path, records: Path) -> None:
    write_records(records, record("C-1", channels=["print"]), record("C-2"))
    stages = chain(media, "recorded")
    made = film(stages, media)
    assert made.consent_missing == ["likeness_consent 'C-1': does not cover channel 'web', only print"]
    assert len(made.likeness_consent_digest) == 64
    settings = stages.settings
    summary = {"consent": settings.config.consent.model_dump(mode="json"), **summarise([made])}
    assert (summary["without_consent"], len(summary["consents"])) == (1, 2)
    assert "1 films lack a consent that holds" in " ".join(consent_lines(summary))
    silent = {"consent": {"mode": "off"}, **summarise([made])}
    assert consent_lines(silent) == ["consents were not looked at (consent.mode off): films name 2 records"]
    assert consent_lines({"consent": {"mode": "off"}, "consents": []}) == []
