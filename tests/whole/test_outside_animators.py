"""An animator of another package: found by its entry point or by the configuration, here and on Ray's workers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manifests import results
from manifests.errors import Rejected
from manifests.source_memo import SourceMemo
from pipelines import cli
from pipelines.configuration import RunConfig
from pipelines.doctor import animators
from stages.checkpoint_files import checkpoint_digest
from stages.diffusion import animators as registry
from stages.suitability import known_animator
from stages.video.limits import Limits
from stages.video.read import Frames
from tests.conftest import CHECKOUT
from tests.made.outside_package import MIRROR, write_package
from tests.made.sample_media import clip_row, write_manifest

ROW = {"animator": "mirror", "driving_kind": "skeleton", "steps": None}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write_package(tmp_path / "site")


@pytest.fixture
def here(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package is importable in this process, and forgotten afterwards."""
    monkeypatch.syspath_prepend(site)
    registry._installed.cache_clear()
    yield site
    registry._installed.cache_clear()
    registry.UNUSABLE.clear()
    for name in registry.ANIMATORS.keys() - registry.OWN:
        del registry.ANIMATORS[name]
    for name in [name for name in sys.modules if name.split(".")[0] == "my_package"]:
        del sys.modules[name]


def is_mirrored(film: str, reference: Path) -> bool:
    """Whether the film's first frame is the picture with left and right exchanged, but for the encoding."""
    first = next(iter(Frames(Path(film), Limits()).read())).astype(int)
    picture = np.array(Image.open(reference)).astype(int)
    return np.abs(first - picture[:, ::-1]).mean() < 12 < np.abs(first - picture).mean()


def test_ray_runs_an_animator_of_another_package(media: Path, site: Path) -> None:
    other = MIRROR.replace('revision="1"', 'revision="2"')
    (site / "my_package" / "other.py").write_text(other)
    (media / "night.yaml").write_text("animators: {mirrored: my_package.other:Mirror}\n")
    rows = [clip_row("installed", **ROW), clip_row("configured", **{**ROW, "animator": "mirrored"})]
    command = [sys.executable, "-m", "pipelines.animate", write_manifest(media / "m.parquet", rows), str(media / "out")]
    paths = os.pathsep.join([str(CHECKOUT), str(site)])
    ended = subprocess.run(
        [*command, "--config", str(media / "night.yaml"), "--run-id", "night"],
        cwd=media,
        env={**os.environ, "PYTHONPATH": paths, "RAY_ADDRESS": "local"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == cli.OK, ended.stderr
    made = results.read(str(media / "out" / "runs" / "night" / "results.parquet"))
    assert [(one.animator, one.status, one.checkpoint) for one in made] == [
        ("mirror", "done", None),
        ("mirrored", "done", None),
    ]
    assert all(is_mirrored(one.film, media / "reference.png") for one in made)


def test_a_single_clip_is_made_by_it_too(media: Path, here: Path) -> None:
    film = media / "film.mp4"
    words = [str(media / "reference.png"), str(media / "driving.mp4"), str(film), "--animator", "mirror"]
    assert cli.main(["clip", *words, "--set", "driving_kind=skeleton"]) == cli.OK
    assert is_mirrored(str(film), media / "reference.png")


def test_a_manifest_may_name_it(media: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (media / "night.yaml").write_text("animators: {mirrored: my_package.mirror:Mirror}\n")
    rows = [clip_row("a", **ROW), clip_row("b", **{**ROW, "animator": "mirrored"})]
    (media / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    build = ["manifest", "build", str(media / "clips.jsonl"), str(media / "clips.parquet")]
    assert cli.main([*build, "--config", str(media / "night.yaml")]) == cli.OK, capsys.readouterr().err
    assert cli.main(["manifest", "check", str(media / "clips.parquet")]) == cli.OK


def test_another_revision_makes_its_films_anew(media: Path, here: Path) -> None:
    registry.add_animators({})
    facts = registry.ANIMATORS["mirror"]
    memo = SourceMemo(str(media / "memo"))
    digests = {checkpoint_digest("", replace(facts, revision=revision), memo) for revision in ("", "1", "2")}
    assert len(digests) == 3


def test_the_doctor_names_animators_from_outside(here: Path) -> None:
    config = RunConfig(animators={"gone": "my_package.gone:Mirror", "path": "my_package.mirror:Path"})
    said = [str(finding) for finding in animators(config)]
    assert "ok      animator mirror: my_package.mirror:Mirror; licence: MIT" in said
    assert any(
        "FAIL    animator gone (my_package.gone:Mirror): cannot be imported: ModuleNotFound" in one for one in said
    )


@pytest.mark.parametrize(
    ("name", "implementation", "wrong"),
    [
        ("drawn", "my_package.mirror:Mirror", "is the name of one of Catwalk's own"),
        ("mine", "my_package.mirror", "is not of the form module:Class"),
        ("mine", "my_package.nothing:Mirror", "ModuleNotFoundError"),
        ("mine", "my_package.mirror:Mirrors", "has no attribute 'Mirrors'"),
        ("mine", "my_package.mirror:Facts", "is no animator: it lacks load, segment, frames, facts"),
    ],
)
def test_a_configured_animator_that_cannot_be_used_is_refused_before_anything_is_begun(
    name: str, implementation: str, wrong: str, media: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (media / "night.yaml").write_text(f"animators: {{{name}: '{implementation}'}}\n")
    words = [write_manifest(media / "m.parquet", [clip_row("a")]), str(media / "out")]
    assert cli.main(["animate", *words, "--config", str(media / "night.yaml")]) == cli.WRONG_USAGE
    said = capsys.readouterr().err
    assert wrong in said
    assert "run " not in said
    assert "drawn" in registry.ANIMATORS


def test_a_broken_package_stops_only_the_rows_that_name_it(
    media: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "my_package" / "mirror.py").write_text("import nothing_of_that_name\n")
    words = [str(media / "reference.png"), str(media / "driving.mp4"), str(media / "film.mp4")]
    assert cli.main(["clip", *words, "--animator", "mirror"]) == cli.SOME_FAILED
    assert "No module named 'nothing_of_that_name'" in capsys.readouterr().err
    assert registry.facts_of("drawn").bundled


def test_code_that_a_row_names_is_never_run(here: Path) -> None:
    with pytest.raises(Rejected, match=re.escape("configuration, animators: {NAME: my_package.mirror:Mirror}")):
        known_animator("my_package.mirror:Mirror")
    assert "my_package" not in sys.modules
