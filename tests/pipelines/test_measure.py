"""`catwalk measure`: every metric of a film is told, or why it is not, and what is beyond its limit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines import cli
from stages.video.encode import Encoder, EncodeRecipe
from tests.made.faults import FAULTS, FPS, Footage, footage

RIGHT = ("striped-dress", "dance")


def written(path: Path, clip: Footage, crf: int = 1) -> str:
    with Encoder(path, 192, 256, FPS, EncodeRecipe(crf=crf, preset="ultrafast")) as encoder:
        encoder.write(clip.film)
    return str(path)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("truth") / "truth.mp4", footage(*RIGHT))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("reference") / "reference.png"
    Image.fromarray(footage(*RIGHT).reference).save(path)
    return str(path)


def measured(capsys: pytest.CaptureFixture, *arguments: str) -> tuple[int, dict]:
    capsys.readouterr()
    code = cli.main(["measure", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_film_beside_the_truth_has_every_metric(
    truth: str, reference: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    film = written(tmp_path / "film.mp4", footage(*RIGHT), crf=12)
    beside = ["--reference", reference, "--truth", truth, "--estimator", "drawn", "--border", "20", "--loop"]
    code, found = measured(capsys, film, *beside)
    assert found["skipped"] == dict.fromkeys(["fid", "lpips", "fvd"], "no weights")
    values = {name: one["value"] for name, one in found["quality"].items()}
    assert values["psnr"] > 38
    assert values["psnr_uint8"] > 38
    assert values["ssim"] > 0.97
    assert values["ssim_grey"] > 0.97
    assert values["l1"] < 0.01
    assert values["vmaf"] > 90
    assert values["warping_ratio"] == pytest.approx(1, abs=0.15)
    assert values["pose"] > 0.95
    assert values["pose_oks"] > 0.95
    assert values["container"] == 0
    assert [reason.split()[0] for reason in found["review"]] == ["loop"], "it does not come round"
    assert code == cli.SOME_FAILED


def test_a_film_is_as_good_as_itself(truth: str, capsys: pytest.CaptureFixture) -> None:
    code, found = measured(capsys, truth, "--truth", truth)
    assert code == cli.OK
    assert found["quality"]["vmaf"]["value"] > 90


def test_a_film_by_itself_is_told_what_is_missing(truth: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["measure", truth]) == cli.OK
    told = capsys.readouterr().out
    assert "psnr          skipped: give --truth\n" in told
    assert "frozen        skipped: give --estimator" in told
    assert "flicker" in told.splitlines()[3]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same dance, at the right of a canvas of another shape."""
    film = footage(*RIGHT).film
    wide = np.pad(film, ((0, 0), (0, 0), (160, 32), (0, 0)), mode="edge")
    path = tmp_path_factory.mktemp("driving") / "driving.mp4"
    with Encoder(path, 384, 256, FPS, EncodeRecipe(crf=1, preset="ultrafast")) as encoder:
        encoder.write(wide)
    return str(path)


def test_who_dances_elsewhere_in_the_driving_video_is_looked_for_where_the_film_has_them(
    elsewhere: str, truth: str, reference: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    beside = ["--reference", reference, "--driving", elsewhere, "--estimator", "drawn"]
    _, found = measured(capsys, truth, *beside)
    assert {"frozen", "background", "garment", "pose"} <= set(found["quality"])
    place = {"frozen", "background", "garment"}  # the net finds joints less well on a wide canvas, which counts as pose
    assert not place & {reason.split()[0] for reason in found["review"]}
    right = footage(*RIGHT)
    film = written(tmp_path / "film.mp4", right.faulty(FAULTS["six frames frozen"][0](right)))
    _, found = measured(capsys, film, *beside)
    assert "frozen" in {reason.split()[0] for reason in found["review"]}


def test_a_film_beside_one_that_stands_still_is_told_why_it_has_no_ratio(
    truth: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    still = written(tmp_path / "still.mp4", footage(*RIGHT).of([0] * 30))
    black = footage(*RIGHT)
    dark = written(tmp_path / "dark.mp4", black.faulty(np.zeros_like(black.film)))
    for driving in (still, dark):
        _, found = measured(capsys, truth, "--driving", driving)
        assert ("warping_ratio" in found["quality"]) != ("warping_ratio" in found["skipped"])
    assert "driving video" in found["skipped"]["warping_ratio"]


@pytest.mark.parametrize(
    ("fault", "options", "alarms"),
    [
        ("1 % flicker", [], {"flicker"}),
        ("legs that boil", ["truth"], {"warping_error", "warping_ratio"}),
        ("six frames frozen", ["truth", "drawn"], {"frozen", "pose"}),
    ],
)
def test_a_fault_is_found_in_an_encoded_film(
    fault: str, options: list[str], alarms: set[str], truth: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    right = footage(*RIGHT)
    film = written(tmp_path / "film.mp4", right.faulty(FAULTS[fault][0](right)))
    given = {"truth": ["--truth", truth], "drawn": ["--estimator", "drawn"]}
    code, found = measured(capsys, film, *(word for option in options for word in given[option]))
    assert {reason.split()[0] for reason in found["review"]} == alarms
    assert code == cli.SOME_FAILED


def test_a_shorter_film_is_told_so_and_measured_as_far_as_it_goes(
    truth: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    film = written(tmp_path / "film.mp4", footage(*RIGHT).of(range(24)))
    assert cli.main(["measure", film, "--truth", truth]) == cli.SOME_FAILED
    told = capsys.readouterr().out
    assert "container: 24 frames instead of 30" in told
    assert "container 1 > 0" in told


def test_what_cannot_be_compared_is_wrong_usage(truth: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small = footage(*RIGHT).film[:, :128].copy()
    with Encoder(tmp_path / "small.mp4", 192, 128, FPS, EncodeRecipe()) as encoder:
        encoder.write(np.ascontiguousarray(small))
    assert cli.main(["measure", str(tmp_path / "small.mp4"), "--truth", truth]) == cli.WRONG_USAGE
    assert "192×128 and 192×256" in capsys.readouterr().err
    assert cli.main(["measure", str(tmp_path / "none.mp4")]) == cli.WRONG_USAGE
    assert cli.main(["measure", truth, "--estimator", "dwpose"]) == cli.WRONG_USAGE
