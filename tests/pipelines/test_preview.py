"""`catwalk preview`: what is on the page, for a clip and for a row, and that it costs a few frames."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines import cli
from pipelines.demo import CATALOGUE
from stages.video.limits import Limits
from stages.video.read import Frames
from tests.made.sample_media import CHECKPOINT, clip_row, write_driving, write_manifest, write_reference


def pictures(page: Path) -> dict[str, np.ndarray]:
    """What a page shows, by the words that stand for it."""
    found = re.findall(r'alt="([^"]+)" src="data:image/jpeg;base64,([^"]+)"', page.read_text(encoding="utf-8"))
    return {name: np.array(Image.open(io.BytesIO(base64.b64decode(data)))) for name, data in found}


def test_a_preview_shows_frames_near_those_of_the_film_beside_what_they_are_drawn_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    media = [str(CATALOGUE / "heart-tee.png"), str(CATALOGUE / "turn.mp4")]
    part = ["--set", "first_frame=4", "--set", "frame_count=9", "--cache", str(tmp_path / "cache")]
    page, film = tmp_path / "preview.html", tmp_path / "film.mp4"
    assert cli.main(["preview", *media, "-o", str(page), "--frames", "3", *part, "--json"]) == cli.OK
    said = capsys.readouterr()
    assert json.loads(said.out)["frames"] == [0, 4, 8]
    assert "the whole film takes about" in said.err
    seen = pictures(page)
    rows = [f"{row}, frame {number}" for row in ("filmed", "pose", "drawn") for number in (0, 4, 8)]
    assert list(seen) == ["reference", *rows]

    assert cli.main(["clip", *media, str(film), *part]) == cli.OK
    made = np.stack(list(Frames(film, Limits()).read())).astype(float)
    for number in (0, 4, 8):
        apart = [np.abs(seen[f"drawn, frame {number}"] - frame).mean() for frame in made]
        assert min(apart) < 12
        assert apart[number] <= min(apart) + 1.5, "another frame of the film is nearer"
    driving = list(Frames(Path(media[1]), Limits()).read([4, 8, 12]))
    for number, frame in zip((0, 4, 8), driving, strict=True):
        shown = seen[f"filmed, frame {number}"].astype(float)
        assert np.abs(shown - frame).mean() < 5


@pytest.mark.parametrize("row", ["second", "1"])
def test_a_row_of_a_manifest_is_previewed(tmp_path: Path, row: str) -> None:
    write_reference(tmp_path / "reference.png")
    write_driving(tmp_path / "driving.mp4")
    manifest = write_manifest(tmp_path / "m.parquet", [clip_row("first"), clip_row("second", width=128, height=96)])
    page = tmp_path / "page.html"
    weights = ["--checkpoint", f"magicanimate={CHECKPOINT}"]
    assert cli.main(["preview", manifest, "--row", row, "-o", str(page), "--frames", "2", *weights]) == cli.OK
    seen = pictures(page)
    assert list(seen) == ["reference", "pose, frame 0", "pose, frame 5", "drawn, frame 0", "drawn, frame 5"]
    assert seen["drawn, frame 5"].shape == (96, 128, 3)
    assert "<h1>Preview of second</h1>" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["m.parquet", "--row", "nobody"], "row 'nobody' is not in"),
        (["m.parquet", "--frames", "0"], "--frames 0"),
        (["a.png", "b.mp4", "c.mp4"], "give a manifest (and --row), or a reference and a driving video"),
        (["a.png", "b.mp4", "--row", "1"], "give a manifest (and --row), or a reference and a driving video"),
        (["m.parquet", "-o", "m.parquet"], "m.parquet"),
    ],
)
def test_what_cannot_be_previewed_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_manifest(tmp_path / "m.parquet", [clip_row("first")])
    before = (tmp_path / "m.parquet").read_bytes()
    assert cli.main(["preview", *words]) == cli.WRONG_USAGE
    assert said in capsys.readouterr().err
    assert (tmp_path / "m.parquet").read_bytes() == before
