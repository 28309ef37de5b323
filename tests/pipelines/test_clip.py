"""`catwalk clip`: what it chooses where nothing is said, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import cli
from pipelines.demo import CATALOGUE
from tests.made.sample_media import CHECKPOINT

SHORT = ["--set", "frame_count=2", "--set", "steps=1"]


@pytest.fixture
def media(tmp_path: Path) -> list[str]:
    """A drawn person, somebody who turns, and a film to write."""
    return [str(CATALOGUE / "heart-tee.png"), str(CATALOGUE / "turn.mp4"), str(tmp_path / "film.mp4")]


# Which animator


def test_the_first_clip_of_a_new_user_is_made_by_what_is_there(
    media: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["clip", *media, *SHORT]) == cli.OK
    said = capsys.readouterr().err
    assert "animator drawn: bundled with Catwalk, for drawn people only; for another, --checkpoint NAME=FOLDER" in said
    assert Path(media[2]).stat().st_size > 500


def test_a_configured_animator_comes_before_the_bundled_one(
    media: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--set", "driving_kind=densepose", "--set", "width=48", "--set", "height=64"]
    weights = ["--checkpoint", f"magicanimate={CHECKPOINT}", "--checkpoint", "mine=/models"]
    assert cli.main(["clip", *media, *SHORT, *small, *weights]) == cli.OK
    said = capsys.readouterr().err
    assert "animator magicanimate: configured; --animator NAME chooses another" in said
    assert "magicanimate, standard mode, 2 frames" in said


@pytest.mark.parametrize(
    ("asked", "lacks"),
    [
        (["--checkpoint", "magicanimate=/models"], "no densepose estimator is configured"),
        (["--animator", "animate_anyone"], "no dwpose estimator is configured"),
        (["--animator", "animate_anyone", "--set", "driving_kind=skeleton"], "none is configured for animate_anyone"),
    ],
)
def test_an_animator_that_lacks_something_says_what_and_which_one_works(
    asked: list[str], lacks: str, media: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["clip", *media, *asked]) == cli.SOME_FAILED
    said = capsys.readouterr().err
    assert lacks in said
    assert "what works now: --animator drawn (bundled with Catwalk" in said


def test_what_another_animator_could_not_mend_names_none(media: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clip", "nobody.png", *media[1:], "--checkpoint", f"drawn={CHECKPOINT}"]) == cli.SOME_FAILED
    assert "what works now" not in capsys.readouterr().err


def test_weights_without_their_animator_are_wrong_usage(media: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clip", *media, "--set", "checkpoint=/models"]) == cli.WRONG_USAGE
    assert "add --animator NAME" in capsys.readouterr().err


def test_a_film_may_have_any_name(media: list[str], tmp_path: Path) -> None:
    assert cli.main(["clip", *media[:2], str(tmp_path / "Ün film, 2..mp4"), *SHORT]) == cli.OK
