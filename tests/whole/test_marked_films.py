"""Films as runs mark them: found again when changed, the same when made again, encoded anew without the mark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manifests.results import Result
from manifests.work import Work
from pipelines import cli
from pipelines.clip import StageChain
from pipelines.configuration import RunConfig
from tests.conftest import CHECKOUT
from tests.made.attacks import encoded_again, halved
from tests.made.sample_media import UNMARKED

SAMPLES = CHECKOUT / "manifests" / "sample" / "catalogue"
ROW = {"id": "dress", "reference": str(SAMPLES / "striped-dress.png"), "driving": str(SAMPLES / "dance.mp4")}
ROW |= {"animator": "drawn", "steps": 1, "duration": "1"}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("out"))


def made(output: str, **config: Any) -> tuple[Work, Result]:
    chain = StageChain(RunConfig.load(None, config), output)
    work = chain.work(ROW)
    return work, chain.film(work)


@pytest.fixture(scope="module")
def film(output: str) -> tuple[Work, Result]:
    return made(output)


def verified(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    capsys.readouterr()
    cli.main(["verify", *map(str, words), "--json"])
    (one,) = json.loads(capsys.readouterr().out)["files"]
    return one


def test_a_film_that_lost_its_credentials_leads_to_its_clip(
    film: tuple[Work, Result], output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, result = film
    again = encoded_again(Path(result.film), tmp_path / "somewhere.mp4", halved)
    said = verified(capsys, again, "--in", output)
    assert (said["summary"], said["credentials"]["state"]) == ("marked", "none")
    mark = said["watermark"]
    assert (mark["found"], mark["id"], mark["clip"], mark["film"]) == (True, work.film_key[:16], "dress", result.film)
    assert mark["public_key"], "which anyone could have made"


@pytest.mark.parametrize("file", ["film", "poster"])
def test_the_mark_is_the_one_that_credentials_and_result_name(
    file: str, film: tuple[Work, Result], capsys: pytest.CaptureFixture[str]
) -> None:
    result = film[1]
    said = verified(capsys, getattr(result, file))
    assert said["watermark"]["id"] == said["credentials"]["watermark"] == result.watermark_id
    assert said["watermark"]["agrees"]
    assert (result.watermark, result.watermark_sure) == ("catwalk.spread_spectrum.1", True)


def test_a_film_made_again_is_the_same_to_the_byte(film: tuple[Work, Result], output: str) -> None:
    before = Path(film[1].film).read_bytes()
    for path in Path(output, "films").iterdir():
        path.unlink()
    assert Path(made(output)[1].film).read_bytes() == before


def test_without_the_mark_a_film_is_encoded_anew_and_nothing_is_animated(
    film: tuple[Work, Result], output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = {
        path: path.stat().st_mtime_ns for kind in ("latents", "poses") for path in Path(output, "cache", kind).iterdir()
    }
    work, result = made(output, **UNMARKED)
    assert (work.pose_key, work.latents_key) == (film[0].pose_key, film[0].latents_key)
    assert work.film_key != film[0].film_key
    assert {path: path.stat().st_mtime_ns for path in stored} == stored
    assert (result.watermark, result.watermark_id, result.watermark_sure) == ("none", None, None)
    said = verified(capsys, result.film, "--in", output)
    assert not said["watermark"]["found"]
    assert said["credentials"]["watermark"] is None


def test_another_key_makes_another_film_and_is_needed_to_find_it(
    film: tuple[Work, Result], output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("only this shop has this key")
    (tmp_path / "night.yaml").write_text(f"provenance: {{watermark: {{key: {tmp_path / 'secret'}}}}}")
    work, result = made(output, provenance={"watermark": {"key": str(tmp_path / "secret")}})
    assert work.film_key != film[0].film_key
    assert not verified(capsys, result.film)["watermark"]["found"]
    mark = verified(capsys, result.film, "--config", tmp_path / "night.yaml")["watermark"]
    assert (mark["id"], mark["agrees"], mark["public_key"]) == (work.film_key[:16], True, False)
    everything = [path.read_bytes() for path in Path(output).rglob("*") if path.is_file()]
    assert not any(b"only this shop" in data for data in everything)
