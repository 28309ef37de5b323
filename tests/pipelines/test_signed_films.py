"""Films of a run carry credentials; who signs may change, and no film is made again for that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from c2pa import Reader

from manifests import storage
from manifests.errors import Problem
from manifests.layout import Film
from manifests.results import Result
from manifests.work import Work
from pipelines.animate import run
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from pipelines.doctor import credentials
from pipelines.plan import Plan, make_plan
from pipelines.planned_clip import planned_clip
from stages.provenance.credentials.embedding import sign_file
from stages.provenance.credentials.signing import signing_of
from stages.provenance.facts import FilmFacts
from stages.provenance.settings import Credentials
from tests.made.certificates import issue
from tests.made.sample_media import clip_row, write_manifest

pytestmark = pytest.mark.usefixtures("plain_animators")
UNSIGNED = {"credentials": {"sign": False}}


def chain(media: Path, output: str = "out", **provenance: Any) -> StageChain:
    return StageChain(RunConfig.load(None, {"provenance": provenance}), str(media / output))


def row(media: Path, name: str = "clip", reference: str = "reference.png", **fields: Any) -> dict[str, Any]:
    files = {"reference": str(media / reference), "driving": str(media / "driving.mp4")}
    return clip_row(name, **{**files, "driving_kind": "skeleton", "animator": "plain", "steps": None, **fields})


def made(stages: StageChain, fields: dict[str, Any]) -> tuple[Work, Result]:
    work = stages.work(fields)
    return work, stages.film(work)


def planned(stages: StageChain, *works: Work) -> Plan:
    settings = stages.settings
    return make_plan(map(planned_clip, works), settings.layout, "another", signing=settings.signing())


def said(film: str | None) -> dict[str, Any]:
    with Reader(Path(str(film))) as reader:
        return json.loads(reader.json())


def active(film: str | None) -> dict[str, Any]:
    found = said(film)
    return found["manifests"][found["active_manifest"]]


def stated(film: str | None) -> dict[str, Any]:
    return next(one["data"] for one in active(film)["assertions"] if one["label"] == "catwalk.film")


@pytest.fixture
def nobody_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a film was made again")

    monkeypatch.setattr("stages.animate.Animate._film", refuse)
    monkeypatch.setattr("stages.animate.Animate._encode", refuse)


def test_a_film_and_its_poster_carry_credentials_and_the_result_says_whose(media: Path) -> None:
    house = issue(media / "house")
    _, film = made(chain(media, **house.section()), row(media))
    assert film.signed_by == "House of Tests"
    assert film.film_bytes == Path(str(film.film)).stat().st_size
    for file in (film.film, film.poster):
        assert active(file)["signature_info"]["common_name"] == "House of Tests"
    told = stated(film.film)
    assert (told["film_key"], told["animator"]) == (film.film_key, "plain")
    assert [one["digest"] for one in told["inputs"]] == [film.reference_digest, film.driving_digest]
    again = chain(media, "again", **house.section())
    assert Path(str(made(again, row(media))[1].film)).read_bytes() == Path(str(film.film)).read_bytes()


def test_another_certificate_signs_the_stored_film_and_draws_nothing(
    media: Path, request: pytest.FixtureRequest
) -> None:
    first, second = (issue(media / name, name) for name in ("first", "second"))
    work, film = made(chain(media, **first.section()), row(media))
    _, fresh = made(chain(media, "fresh", **second.section()), row(media))
    request.getfixturevalue("nobody_draws")
    later = chain(media, **second.section())
    plan = planned(later, work)
    assert plan.todo == []
    (renewed,) = plan.finished
    assert (renewed.status, renewed.signed_by) == ("cached", "second")
    assert renewed.film == film.film
    for place in ("film", "poster"):
        assert Path(getattr(renewed, place)).read_bytes() == Path(getattr(fresh, place)).read_bytes()
    assert renewed.film_bytes == Path(str(renewed.film)).stat().st_size
    before = Path(str(film.film)).stat().st_mtime_ns
    assert [one.status for one in planned(later, work).finished] == ["cached"]
    assert Path(str(film.film)).stat().st_mtime_ns == before, "signed once"
    worker = chain(media, **first.section()).animate()(work)  # one that finds it only when it begins
    assert (worker.status, active(worker.film)["signature_info"]["common_name"]) == ("cached", "first")


@pytest.mark.parametrize("what", ["pictures", "credentials", "poster", "gone"])
def test_a_film_changed_since_it_was_signed_is_made_anew_and_never_signed_again(media: Path, what: str) -> None:
    first, second = (issue(media / name, name) for name in ("first", "second"))
    stages = chain(media, **first.section())
    work, film = made(stages, row(media))
    changed = Path(str(film.poster if what == "poster" else film.film))
    data = bytearray(changed.read_bytes())
    if what == "gone":  # of the same size: a box of that kind is passed over
        data[data.index(b"uuid") : data.index(b"uuid") + 4] = b"free"
    elif what == "pictures":
        data[data.index(b"mdat") + 64 : data.index(b"mdat") + 128] = bytes(64)
    else:
        at = data.index(b"jumb") + (600 if what == "credentials" else 900)
        data[at : at + 64] = b"\xff" * 64
    changed.write_bytes(data)
    later = chain(media, **second.section())
    plan = planned(later, work)
    assert (len(plan.finished), [clip.row for clip in plan.todo]) == (0, [0])
    (said,) = plan.warnings()
    assert changed.name in said
    assert "changed since it was signed" in said
    renewed = later.animate()(work)
    assert (renewed.status, active(renewed.film)["signature_info"]["common_name"]) == ("done", "second")
    _, fresh = made(chain(media, "fresh", **second.section()), row(media))
    for place in ("film", "poster"):
        assert Path(getattr(renewed, place)).read_bytes() == Path(getattr(fresh, place)).read_bytes()


def test_whoever_dies_while_signing_again_leaves_a_film_that_the_next_run_signs(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = issue(media / "first", "first"), issue(media / "second", "a name of another length", "P-384")
    work, film = made(chain(media, **first.section()), row(media))
    later = chain(media, **second.section())
    publish = storage.publish

    def dies(local: Path, uri: str) -> None:
        publish(local, uri)
        if uri == film.film:
            raise KeyboardInterrupt

    signing, layout = later.settings.signing(), later.settings.layout
    found = marker(later, work)
    with monkeypatch.context() as dying:
        dying.setattr("manifests.storage.publish", dies)
        with pytest.raises(KeyboardInterrupt):
            signing.renewed(work, Film("clip", work.film_key), found, layout)
    assert film.film_bytes != Path(str(film.film)).stat().st_size
    plan = planned(later, work)
    assert ([one.signed_by for one in plan.finished], plan.todo) == (["a name of another length"], [])


def marker(stages: StageChain, work: Work) -> dict[str, Any]:
    (found,) = stages.settings.layout.read_film_markers([Film("clip", work.film_key)])
    assert found is not None
    return found


def test_a_film_is_unsigned_where_that_is_asked_for_alone_and_its_result_says_so(media: Path) -> None:
    unsigned = chain(media, **UNSIGNED)
    work, film = made(unsigned, row(media))
    assert (film.signed_by, film.signed_key) == ("nobody", None)
    assert b"c2pa" not in Path(str(film.film)).read_bytes()
    house = issue(media / "house")
    (signed,) = planned(chain(media, **house.section()), work).finished
    assert (signed.signed_by, said(signed.film)["validation_state"]) == ("House of Tests", "Valid")
    (kept,) = planned(unsigned, work).finished
    assert kept.signed_by == "House of Tests", "credentials are never taken away"


def test_what_cannot_be_signed_is_a_failed_row_and_no_film(media: Path) -> None:
    house = issue(media / "house")
    stages = chain(media, **house.section())
    work = stages.work(row(media))
    house.private_key.unlink()
    with pytest.raises(Problem, match="private_key"):
        stages.film(work)
    assert not Path(stages.settings.layout.film(Film("clip", work.film_key))).exists()
    with pytest.raises(Problem, match="private_key"):
        stages.settings.signing().require_possible()


def test_a_run_that_could_sign_no_film_does_not_begin(media: Path) -> None:
    house = issue(media / "house").section()["credentials"]
    absent = {"provenance": {"credentials": {**house, "private_key": "env:CATWALK_ABSENT"}}}
    manifest = write_manifest(media / "m.parquet", [row(media)])
    with pytest.raises(Problem, match="'CATWALK_ABSENT' is not set"):
        run(RunConfig.load(None, absent), manifest, str(media / "out"))
    unfit = {"provenance": issue(media / "servers", purpose=False).section()}
    with pytest.raises(Problem, match="credentials"):
        run(RunConfig.load(None, unfit), manifest, str(media / "out"))
    assert not (media / "out" / "runs").exists()


def test_one_film_under_two_articles_states_each_with_its_own(media: Path) -> None:
    credentials = {"credentials": {"sku": "article"}}
    stages = chain(media, **credentials)
    work, film = made(stages, row(media, metadata={"article": "dress-1"}))
    other = stages.work(row(media, "other", metadata={"article": "dress-2"})).model_copy(update={"row": 1})
    assert other.film_key == work.film_key
    shared = {one.id: one for one in planned(stages, work, other).finished}
    assert [stated(shared[name].film)["sku"] for name in ("clip", "other")] == ["dress-1", "dress-2"]
    assert Path(str(shared["clip"].film)).read_bytes() == Path(str(film.film)).read_bytes()
    silent = chain(media, "silent")
    assert "sku" not in stated(made(silent, row(media, metadata={"article": "dress-1"}))[1].film)


def photograph(media: Path, target: str = "photograph.png") -> None:
    """A reference image whose camera signed it."""
    signing = signing_of(Credentials(**issue(media / "camera", "A Camera").section()["credentials"]), None)
    assert signing is not None
    facts = FilmFacts(film_key="0" * 32, animator="none", mode="none", checkpoint_digest="")
    from PIL import Image

    Image.open(media / "reference.png").save(media / "camera.jpg")
    sign_file(media / "camera.jpg", media / target, facts, "34" * 16, "1", signing)


def signers(film: str | None) -> list[str]:
    return sorted(one["signature_info"]["common_name"] for one in said(film)["manifests"].values())


def test_credentials_of_the_reference_go_on_in_the_films_also_when_it_is_signed_again(media: Path) -> None:
    photograph(media, "photograph.jpg")
    first, second = (issue(media / name, name) for name in ("first", "second"))
    work, film = made(chain(media, **first.section()), row(media, reference="photograph.jpg"))
    assert signers(film.film) == ["A Camera", "first"]
    assert said(film.film)["validation_state"] == "Valid"
    (ingredient,) = (one for one in active(film.film)["ingredients"] if one.get("active_manifest"))
    assert ingredient["instance_id"] == f"sha256:{film.reference_digest}"
    before = Path(str(film.film)).read_bytes()
    (other,) = planned(chain(media, **second.section()), work).finished
    assert signers(other.film) == ["A Camera", "second"]
    for entry in (media / "out" / "cache" / "references").iterdir():
        entry.unlink()
    (back,) = planned(chain(media, **first.section()), work).finished
    assert Path(str(back.film)).read_bytes() == before
    hashed = {"credentials": {**first.section()["credentials"], "input_credentials": False}}
    (bare,) = planned(chain(media, **hashed), work).finished
    assert signers(bare.film) == ["first"]


def test_a_reference_whose_credentials_were_tampered_with_says_so_in_the_films(media: Path) -> None:
    photograph(media, "photograph.jpg")
    data = bytearray((media / "photograph.jpg").read_bytes())
    data[-40] ^= 1
    (media / "photograph.jpg").write_bytes(data)
    _, film = made(chain(media), row(media, reference="photograph.jpg"))
    assert said(film.film)["validation_state"] == "Valid"
    (ingredient,) = (one for one in active(film.film)["ingredients"] if one.get("active_manifest"))
    codes = {one["code"] for one in ingredient["validation_results"]["activeManifest"]["failure"]}
    assert "assertion.dataHash.mismatch" in codes


def test_a_poster_that_somebody_took_away_does_not_keep_a_film_from_being_signed(media: Path) -> None:
    work, film = made(chain(media, **issue(media / "first").section()), row(media))
    Path(str(film.poster)).unlink()
    (renewed,) = planned(chain(media, **issue(media / "second", "second").section()), work).finished
    assert (renewed.status, renewed.signed_by) == ("cached", "second")


@pytest.mark.parametrize(("days", "told"), [(20, True), (300, False)])
def test_a_certificate_that_ends_soon_is_said_before_films_are_made(
    media: Path, days: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    section = issue(media / "house", days=days).section()
    chain(media, **section).settings.signing().require_possible()
    assert ("House of Tests' ends on" in caplog.text) is told
    found = list(credentials(RunConfig(provenance=section)))
    assert [one.verdict for one in found] == ["ok", *["warning"] * told]


def test_a_result_says_that_the_reference_s_credentials_could_not_go_on(
    media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.animate.FilmSigning.carried", lambda *_: b"no archive")
    _, film = made(chain(media, **issue(media / "house").section()), row(media))
    assert (film.status, film.signed_by) == ("done", "House of Tests")
    assert any("could not go on in the film" in said for said in film.warnings)
